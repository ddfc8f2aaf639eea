//! Whoever cares for the members: fills the places of those that lost their disk, and otherwise changes at random.
//! Asks the leader as the server would, knows as little as it, and is refused or left without an answer now and then.

use bytes::Bytes;
use trimaran_replica::{Answer, Input, MemberChange, Role};
use trimaran_wire::raft::ConfState;

use super::World;

/// Fewer voters could not lose one.
const VOTERS_MIN: usize = 3;
const VOTERS_MAX: usize = 5;

#[derive(Debug, Default)]
pub(super) struct Membership {
    /// Removed: a raft id is never used again.
    retired: Vec<u64>,
    asked: Option<(trimaran_replica::Waiter, MemberChange)>,
    /// Something was asked for since the last answer about the members that is certain: no loss is borne until there is one.
    pub(super) uncertain: bool,
}

impl World {
    pub(super) fn current_leader(&self) -> Option<usize> {
        let leads = |node: &usize| {
            let replica = self.nodes[*node].replica.as_ref();
            replica.is_some_and(|replica| replica.role().role == Role::Leader { ready: true })
                && self.nodes[*node].paused_until <= self.now
        };
        (0..self.nodes.len()).rev().find(leads)
    }

    pub(super) fn member_ids(&self, members: &ConfState) -> Vec<usize> {
        let ids = members.voters.iter().chain(&members.voters_outgoing).chain(&members.learners);
        ids.map(|id| usize::try_from(*id - 1).expect("ids are small")).collect()
    }

    pub(super) fn change_members(&mut self) {
        self.on_change();
        let Some(leader) = self.current_leader() else { return };
        let members = self.replica(leader).members();
        let Some(change) = self.choose_change(&members) else { return };
        let context = Bytes::from(format!("{change:?}"));
        let waiter = self.ask(leader, |waiter| Input::ChangeMember { waiter, change, context });
        self.membership.asked = Some((waiter, change));
        self.membership.uncertain = true;
        match change {
            MemberChange::Remove(id) | MemberChange::Replace { old: id, .. } => {
                self.membership.retired.push(id);
            }
            MemberChange::AddLearner(_) | MemberChange::AddVoter(_) => {}
        }
    }

    pub(super) fn on_change(&mut self) {
        let Some((waiter, change)) = self.membership.asked else { return };
        match self.answers.get(&waiter) {
            Some(Answer::MembersChanged { .. }) => {
                self.counts.members_changed += 1;
                self.counts.replaced += usize::from(matches!(change, MemberChange::Replace { .. }));
                self.membership.uncertain = false;
            }
            Some(Answer::MembersRefused(_)) => self.membership.uncertain = false,
            Some(_) => {}
            None => return,
        }
        self.membership.asked = None;
    }

    fn choose_change(&mut self, members: &ConfState) -> Option<MemberChange> {
        let gone = |world: &Self, id: u64| world.nodes[id as usize - 1].gone;
        let free = |world: &Self, id: &u64| {
            !members.voters.contains(id)
                && !members.learners.contains(id)
                && !world.membership.retired.contains(id)
                && !gone(world, *id)
        };
        let joiners: Vec<u64> = (1..=self.nodes.len() as u64).filter(|id| free(self, id)).collect();
        let learners: Vec<u64> = members.learners.iter().copied().filter(|id| !gone(self, *id)).collect();
        if let Some(lost) = members.voters.iter().copied().find(|id| gone(self, *id)) {
            return match (self.random.pick(&learners), self.random.pick(&joiners)) {
                (Some(new), _) => Some(MemberChange::Replace { old: lost, new }),
                (None, Some(joiner)) => Some(MemberChange::AddLearner(joiner)),
                (None, None) => None,
            };
        }
        let voters = members.voters.len();
        match self.below(6) {
            0 | 1 => self.random.pick(&joiners).map(MemberChange::AddLearner),
            2 if voters < VOTERS_MAX => self.random.pick(&learners).map(MemberChange::AddVoter),
            3 if voters > VOTERS_MIN => self.random.pick(&members.voters).map(MemberChange::Remove),
            4 => {
                let (old, new) = (self.random.pick(&members.voters)?, self.random.pick(&learners)?);
                Some(MemberChange::Replace { old, new })
            }
            _ => None,
        }
    }
}
