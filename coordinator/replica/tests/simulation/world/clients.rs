//! Clients: what they ask, and whether what they are answered is true.

use trimaran_replica::{Answer, EntryMeta, Input, Waiter};
use trimaran_wire::raft::ConfState;

use super::World;

/// What a client asked and may still learn.
pub(super) struct Asked {
    /// `None` for a read.
    value: Option<Vec<u8>>,
    /// The highest acknowledged index when it asked.
    acked: u64,
}

impl World {
    /// Clients ask the node that they believe to lead, and sometimes any other.
    pub(super) fn propose(&mut self) {
        let guess = self.leaders.last_key_value().map_or(0, |(_, node)| *node);
        let node = match self.below(10) {
            0 => self.any_node(),
            _ => guess,
        };
        if self.nodes[node].replica.is_none() || self.nodes[node].paused_until > self.now {
            return;
        }
        let waiter = self.new_waiter();
        let acked = self.acked.last_key_value().map_or(0, |(index, _)| *index);
        if self.below(4) == 0 {
            self.asked.insert(waiter, Asked { value: None, acked });
            self.step(node, Input::Read { waiter });
        } else {
            let value = format!("k{}={}", self.below(50), waiter.0).into_bytes();
            self.asked.insert(waiter, Asked { value: Some(value.clone()), acked });
            self.step(node, Input::Propose { waiter, data: value.into() });
        }
    }

    /// Asks one node; the answer will be in `answers`.
    pub(crate) fn ask(&mut self, node: usize, input: impl FnOnce(Waiter) -> Input) -> Waiter {
        let waiter = self.new_waiter();
        self.step(node, input(waiter));
        waiter
    }

    fn new_waiter(&mut self) -> Waiter {
        self.sequence += 1;
        Waiter(self.sequence)
    }

    pub(super) fn answer(
        &mut self,
        node: usize,
        waiter: Waiter,
        answer: Answer<u64>,
        members_before: &ConfState,
    ) {
        let Some(asked) = self.asked.remove(&waiter) else {
            self.counts.transfers += usize::from(matches!(answer, Answer::LeaderChanged { .. }));
            let before = self.answers.insert(waiter, answer);
            assert!(before.is_none(), "each waiter is answered once");
            return;
        };
        match (answer, asked.value) {
            (Answer::Applied { entry, reply }, Some(value)) => {
                assert_eq!(reply, entry.index);
                assert_eq!(self.entry_data(entry), Some(&value), "answered for another's entry");
                self.check_durable(node, entry, members_before);
                self.acked.insert(entry.index, value);
            }
            (Answer::Read { revision }, None) => {
                assert!(revision >= asked.acked, "a read at {revision} after an answer at {}", asked.acked);
                self.counts.reads += 1;
            }
            (Answer::NotLeader { .. } | Answer::Busy(_), Some(value)) => {
                self.refused.insert(value);
            }
            (Answer::NotLeader { .. } | Answer::Busy(_), None) | (Answer::Indeterminate, Some(_)) => {}
            (answer, value) => panic!("{answer:?} to {value:?}"),
        }
    }

    /// An acknowledged entry is on the disks of a majority of those that decided it. The step that answers may have
    /// changed the members behind it.
    fn check_durable(&self, node: usize, entry: EntryMeta, members_before: &ConfState) {
        let after = self.replica(node).members();
        let held = |members: &ConfState| {
            [&members.voters, &members.voters_outgoing].into_iter().all(|voters| {
                let holds = |id: &&u64| self.nodes[**id as usize - 1].store.holds(entry);
                voters.is_empty() || voters.iter().filter(holds).count() * 2 > voters.len()
            })
        };
        assert!(held(members_before) || held(&after), "acknowledged at {} without a majority", entry.index);
    }
}
