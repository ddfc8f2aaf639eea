//! Which state of the cluster a host obeys: never an earlier one than it has seen.
//!
//! A cluster that was restored from a backup, or a copy of it, does not know what was ordered since. Its agent is of a lower
//! epoch, or of the same one with another incarnation. Fences say this of one installation; the epoch says it of the whole
//! host, also of what was never deployed here.
//!
//! An order of an installation may have a fence of an earlier epoch than its agent: what joins a fleet gets the release that
//! was assigned before the cluster was restored. So the agent's epoch decides where it is known, and the fence otherwise.

use trimaran_model::id::{Epoch, Fence};

/// An epoch of the cluster, and which incarnation of the cluster has it; 0 and 0: not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SeenCluster {
    pub epoch: Epoch,
    pub incarnation: u64,
}

/// Why an agent, or an order of it, is not obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpochRefusal {
    /// A later epoch was seen.
    Earlier { epoch: Epoch, seen: Epoch },
    /// Another incarnation of the cluster had the same epoch.
    OtherIncarnation { epoch: Epoch },
    /// The order is of a later epoch than the agent that gives it.
    Beyond { epoch: Epoch, agent: Epoch },
}

impl SeenCluster {
    /// What is seen from now on, once this agent gives orders.
    pub fn greet(self, agent: Self) -> Result<Self, EpochRefusal> {
        if agent.epoch == Epoch(0) {
            return Ok(self);
        }
        match agent.epoch.cmp(&self.epoch) {
            std::cmp::Ordering::Greater => Ok(agent),
            std::cmp::Ordering::Less => Err(EpochRefusal::Earlier { epoch: agent.epoch, seen: self.epoch }),
            std::cmp::Ordering::Equal if self.incarnation == 0 => Ok(agent),
            std::cmp::Ordering::Equal if [0, self.incarnation].contains(&agent.incarnation) => Ok(self),
            std::cmp::Ordering::Equal => Err(EpochRefusal::OtherIncarnation { epoch: agent.epoch }),
        }
    }

    /// What is seen from now on, once this order of the agent was taken.
    pub fn admit(self, agent: Self, fence: Fence) -> Result<Self, EpochRefusal> {
        let (greeted, epoch) = (self.greet(agent)?, fence.epoch());
        if agent.epoch != Epoch(0) {
            let beyond = epoch > agent.epoch;
            return if beyond {
                Err(EpochRefusal::Beyond { epoch, agent: agent.epoch })
            } else {
                Ok(greeted)
            };
        }
        match epoch.cmp(&self.epoch) {
            std::cmp::Ordering::Greater => Ok(Self { epoch, incarnation: 0 }),
            std::cmp::Ordering::Less => Err(EpochRefusal::Earlier { epoch, seen: self.epoch }),
            std::cmp::Ordering::Equal => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNKNOWN: SeenCluster = SeenCluster { epoch: Epoch(0), incarnation: 0 };

    fn seen(epoch: u16, incarnation: u64) -> SeenCluster {
        SeenCluster { epoch: Epoch(epoch), incarnation }
    }

    #[test]
    fn a_later_epoch_is_learned_and_an_earlier_one_is_never_obeyed_again() {
        assert_eq!(UNKNOWN.greet(seen(1, 7)), Ok(seen(1, 7)));
        assert_eq!(seen(1, 7).greet(seen(2, 9)), Ok(seen(2, 9)));
        assert_eq!(seen(2, 9).greet(seen(2, 9)), Ok(seen(2, 9)));
        let earlier = EpochRefusal::Earlier { epoch: Epoch(1), seen: Epoch(2) };
        assert_eq!(seen(2, 9).greet(seen(1, 7)), Err(earlier));
        assert_eq!(seen(2, 9).admit(seen(1, 7), Fence::new(Epoch(1), 5)), Err(earlier));
        let other = EpochRefusal::OtherIncarnation { epoch: Epoch(2) };
        assert_eq!(seen(2, 9).greet(seen(2, 8)), Err(other), "a copy of the cluster");
        assert_eq!(seen(2, 0).greet(seen(2, 8)), Ok(seen(2, 8)), "only a fence had the epoch so far");
        assert_eq!(seen(2, 9).greet(UNKNOWN), Ok(seen(2, 9)), "an agent that knows nothing says nothing");
    }

    #[test]
    fn an_order_is_of_no_later_epoch_than_its_agent_and_may_be_of_an_earlier_one() {
        let (of_first, of_second) = (Fence::new(Epoch(1), 5), Fence::new(Epoch(2), 6));
        assert_eq!(seen(2, 9).admit(seen(2, 9), of_second), Ok(seen(2, 9)));
        assert_eq!(seen(2, 9).admit(seen(2, 9), of_first), Ok(seen(2, 9)), "what was assigned before");
        let beyond = EpochRefusal::Beyond { epoch: Epoch(u16::MAX), agent: Epoch(2) };
        assert_eq!(seen(2, 9).admit(seen(2, 9), Fence(u64::MAX)), Err(beyond));
    }

    #[test]
    fn where_the_agent_says_no_epoch_the_fence_does() {
        assert_eq!(seen(1, 7).admit(UNKNOWN, Fence::new(Epoch(2), 6)), Ok(seen(2, 0)));
        let earlier = EpochRefusal::Earlier { epoch: Epoch(1), seen: Epoch(2) };
        assert_eq!(seen(2, 9).admit(UNKNOWN, Fence::new(Epoch(1), 6)), Err(earlier));
        assert_eq!(seen(2, 9).admit(UNKNOWN, Fence::new(Epoch(2), 6)), Ok(seen(2, 9)));
    }
}
