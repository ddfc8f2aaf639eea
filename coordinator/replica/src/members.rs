//! Changes of the members: what is refused before it is proposed, what is in force, and the end of a joint
//! configuration.
//!
//! Invariants
//! - A change that raft refuses changes nothing, on every replica alike: no entry can end all processes.
//! - A joint configuration is left by whoever leads. raft does that only where the leader that proposed the
//!   change also applies it.
//! - Nothing is said of the members, neither that a change is done nor that it is not needed, before a quorum of the
//!   members as they are now knows it. A change is committed by the members before it and takes effect where it is applied
//!   (the Raft dissertation, 4.1, has it take effect where it is appended): until the others hear of the commit they go by
//!   the old members, and the leader's loss, which the new ones are to bear, would leave no quorum. Therefore a leader that
//!   has a change in force appends an empty entry. Whoever has that entry was sent the commit of the change with it, and
//!   wrote both in one job.
//!
//! Deliberately not here: whether a learner has caught up and whether enough voters are up. The server asks that.

use bytes::Bytes;
use raft::{Changer, StateRole};
use trimaran_wire::codec::Message as _;
use trimaran_wire::raft::{Blob, ConfState, MemberChangeKind, MemberChanges};

use crate::convert;
use crate::io::{Answer, Busy, Fatal, MemberChange, MembersRefusal, Output, Waiter};
use crate::proposals::Resolved;
use crate::replica::Replica;
use crate::state_machine::{EntryMeta, StateMachine};
use crate::unconfirmed::Unconfirmed;

type Outputs<M> = Vec<Output<<M as StateMachine>::Reply, <M as StateMachine>::Event>>;

impl<M: StateMachine> Replica<M> {
    pub(crate) fn change_member(
        &mut self,
        waiter: Waiter,
        change: MemberChange,
        context: Bytes,
        out: &mut Outputs<M>,
    ) {
        if let Some(answer) = self.refusal().or_else(|| self.refuse_change(change)) {
            out.push(Output::Reply { waiter, answer });
            return;
        }
        let changes = MemberChanges { changes: single_changes(change), context: Blob(context) };
        let before = self.raw.raft.raft_log.last_index();
        let accepted = self.propose_change(&changes);
        // raft replaces a change that it refuses by an empty entry and says nothing.
        let refused = self.raw.raft.pending_conf_index != self.raw.raft.raft_log.last_index();
        let answer = match accepted && refused {
            true => Some(Answer::Busy(Busy::Members)),
            false => self.track(waiter, accepted, before, out),
        };
        if let Some(answer) = answer {
            out.push(Output::Reply { waiter, answer });
        }
    }

    fn propose_change(&mut self, changes: &MemberChanges) -> bool {
        let bytes = changes.to_bytes();
        self.raw.propose_conf_change(bytes, convert::member_changes_to_raft(changes)).is_ok()
    }

    /// Why a leader does not propose the change, if it does not.
    fn refuse_change(&self, change: MemberChange) -> Option<Answer<M::Reply>> {
        let members = self.raw.store().conf_state();
        let opened = self.applied.term == self.raw.raft.term;
        let settled = opened && self.unconfirmed.is_none() && !self.raw.raft.has_pending_conf();
        if !settled || !members.voters_outgoing.is_empty() {
            return Some(Answer::Busy(Busy::Members));
        }
        let refusal = check_change(&convert::conf_state_to_wire(members), self.settings.id, change);
        let refusal = refusal.and_then(|()| {
            let changes = MemberChanges { changes: single_changes(change), context: Blob::default() };
            let changes = convert::member_changes_to_raft(&changes);
            let mut changer = Changer::new(self.raw.raft.prs());
            let tried = match changes.enter_joint() {
                Some(auto_leave) => changer.enter_joint(auto_leave, &changes.changes),
                None => changer.simple(&changes.changes),
            };
            tried.map(|_| ()).map_err(|error| MembersRefusal::Raft { why: error.to_string() })
        });
        refusal.err().map(Answer::MembersRefused)
    }

    /// A committed change. What raft refuses is answered and otherwise passed over.
    pub(crate) fn apply_members(
        &mut self,
        meta: EntryMeta,
        context: &Bytes,
        out: &mut Outputs<M>,
    ) -> Result<(), Fatal> {
        let fault = |reason: String| Fatal::Entry { index: meta.index, reason };
        // raft itself appends an empty change to leave a joint configuration.
        let changes = match context.is_empty() {
            true => MemberChanges::default(),
            false => MemberChanges::from_bytes(context).map_err(|error| fault(error.to_string()))?,
        };
        let waiter = self.proposals.resolve(meta);
        let members = match self.raw.apply_conf_change(&convert::member_changes_to_raft(&changes)) {
            Ok(members) => members,
            Err(error) => {
                self.refused_by_raft(waiter, error.to_string(), out);
                return Ok(());
            }
        };
        let wire = convert::conf_state_to_wire(&members);
        let applied = self.state_machine.apply_members(meta, &wire, &changes.context.0);
        let applied = applied.map_err(|error| fault(error.to_string()))?;
        self.pending.job.rows.changes.extend(applied.rows.changes);
        if !applied.events.is_empty() {
            out.push(Output::Events { revision: meta.index, events: applied.events });
        }
        if !mutant!(ForgetMembers) {
            self.pending.job.conf_state = Some(wire);
        }
        self.raw.mut_store().set_conf_state(members, meta.index);
        let waiter = match waiter {
            Resolved::Own(waiter) => Some((waiter, applied.reply)),
            Resolved::Lost(waiter) => {
                out.push(Output::Reply { waiter, answer: Answer::NotLeader { hint: self.leader_hint() } });
                None
            }
            Resolved::NoOne => None,
        };
        // The end of a joint configuration goes on with who waits for its begin; while one waits no other change is accepted.
        let waiter = waiter.or_else(|| self.unconfirmed.take().and_then(|it| it.waiter));
        self.unconfirmed = Some(Unconfirmed { waiter, change: meta, by: None });
        if mutant!(AnswerUnconfirmed) && !self.is_joint() {
            self.confirmed_now(out);
        }
        Ok(())
    }

    fn refused_by_raft(&self, waiter: Resolved, why: String, out: &mut Outputs<M>) {
        let (waiter, answer) = match waiter {
            Resolved::Own(waiter) => (waiter, Answer::MembersRefused(MembersRefusal::Raft { why })),
            Resolved::Lost(waiter) => (waiter, Answer::NotLeader { hint: self.leader_hint() }),
            Resolved::NoOne => return,
        };
        out.push(Output::Reply { waiter, answer });
    }

    fn is_joint(&self) -> bool {
        !self.raw.store().conf_state().voters_outgoing.is_empty()
    }

    /// As the leader, appends the entry by which a quorum learns of a change that is in force here. A transfer of
    /// leadership keeps it from that: the next step tries again.
    pub(crate) fn confirm_change(&mut self) {
        let raft = &self.raw.raft;
        let (term, before) = (raft.term, raft.raft_log.last_index());
        let may = raft.state == StateRole::Leader && self.applied.term == term && !self.is_joint();
        let Some(unconfirmed) = &mut self.unconfirmed else { return };
        if !may || unconfirmed.by.is_some_and(|by| by.term == term) {
            return;
        }
        let accepted = self.raw.step(convert::proposal(self.settings.id, Bytes::new())).is_ok();
        let index = self.raw.raft.raft_log.last_index();
        if accepted && index > before {
            unconfirmed.by = Some(EntryMeta { index, term });
        }
    }

    /// An empty entry is committed, perhaps the one that a change waits for.
    pub(crate) fn confirmed(&mut self, entry: EntryMeta, out: &mut Outputs<M>) {
        if self.unconfirmed.as_ref().is_some_and(|it| it.by == Some(entry)) {
            self.confirmed_now(out);
        }
    }

    fn confirmed_now(&mut self, out: &mut Outputs<M>) {
        let Some(Unconfirmed { waiter: Some((waiter, reply)), change: entry, .. }) = self.unconfirmed.take()
        else {
            return;
        };
        out.push(Output::Reply { waiter, answer: Answer::MembersChanged { entry, reply } });
    }

    /// Who waits for a change whose outcome no one awaits any longer.
    pub(crate) fn drop_change(&mut self) -> Option<Waiter> {
        self.unconfirmed.as_mut()?.waiter.take().map(|(waiter, _)| waiter)
    }

    /// Ends the leadership of a member whose vote is gone: it began to lead after its removal was proposed. raft would have
    /// it go on, and propose nothing. Who is left elects another one.
    pub(crate) fn leave_without_vote(&mut self) {
        let members = self.raw.store().conf_state();
        let has_vote = |id: u64| members.voters.contains(&id) || members.voters_outgoing.contains(&id);
        if self.raw.raft.state == StateRole::Leader && !has_vote(self.settings.id) {
            let term = self.raw.raft.term;
            self.raw.raft.become_follower(term, raft::INVALID_ID);
        }
    }

    /// Leaves a joint configuration that no one is about to leave: its leader lost leadership before it applied the
    /// change.
    pub(crate) fn leave_joint(&mut self) {
        let raft = &self.raw.raft;
        if self.is_joint()
            && raft.state == StateRole::Leader
            && raft.term == self.applied.term
            && !raft.has_pending_conf()
            && raft.lead_transferee.is_none()
        {
            // Not accepted while too much is uncommitted: the next step tries again.
            self.propose_change(&MemberChanges::default());
        }
    }
}

fn single_changes(change: MemberChange) -> Vec<(MemberChangeKind, u64)> {
    match change {
        MemberChange::AddLearner(id) => vec![(MemberChangeKind::AddLearner, id)],
        MemberChange::AddVoter(id) => vec![(MemberChangeKind::AddVoter, id)],
        MemberChange::Remove(id) => vec![(MemberChangeKind::Remove, id)],
        MemberChange::Replace { old, new } => {
            vec![(MemberChangeKind::AddVoter, new), (MemberChangeKind::Remove, old)]
        }
    }
}

/// The rules that give a better word than raft's own, and those that raft does not have: it would turn a voter into a
/// learner, take a change that changes nothing, and let a leader remove itself and go on without answers.
fn check_change(members: &ConfState, leader: u64, change: MemberChange) -> Result<(), MembersRefusal> {
    let is_voter = |id: u64| members.voters.contains(&id);
    let is_member = |id: u64| is_voter(id) || members.learners.contains(&id);
    match change {
        MemberChange::AddLearner(id) if is_member(id) => Err(MembersRefusal::AlreadyAMember(id)),
        MemberChange::AddVoter(id) if is_voter(id) => Err(MembersRefusal::AlreadyAMember(id)),
        MemberChange::Remove(id) if !is_member(id) => Err(MembersRefusal::NotAMember(id)),
        MemberChange::Remove(id) if members.voters == [id] => Err(MembersRefusal::LastVoter(id)),
        MemberChange::Remove(id) if id == leader => Err(MembersRefusal::IsLeader(id)),
        MemberChange::Replace { old, .. } if !is_voter(old) => Err(MembersRefusal::NotAVoter(old)),
        MemberChange::Replace { new, .. } if is_voter(new) => Err(MembersRefusal::AlreadyAMember(new)),
        MemberChange::Replace { old, .. } if old == leader => Err(MembersRefusal::IsLeader(old)),
        MemberChange::AddLearner(_)
        | MemberChange::AddVoter(_)
        | MemberChange::Remove(_)
        | MemberChange::Replace { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_change_nothing_or_too_much_is_refused_by_name() {
        let members = ConfState { voters: vec![1, 2], learners: vec![3], ..ConfState::default() };
        let alone = ConfState { voters: vec![1], learners: vec![3], ..ConfState::default() };
        let check = |change| check_change(&members, 1, change);
        assert_eq!(check(MemberChange::AddLearner(2)), Err(MembersRefusal::AlreadyAMember(2)));
        assert_eq!(check(MemberChange::AddLearner(3)), Err(MembersRefusal::AlreadyAMember(3)));
        assert_eq!(check(MemberChange::AddVoter(2)), Err(MembersRefusal::AlreadyAMember(2)));
        assert_eq!(check(MemberChange::Remove(4)), Err(MembersRefusal::NotAMember(4)));
        assert_eq!(check(MemberChange::Remove(1)), Err(MembersRefusal::IsLeader(1)));
        let replace = |old, new| MemberChange::Replace { old, new };
        assert_eq!(check(replace(3, 4)), Err(MembersRefusal::NotAVoter(3)));
        assert_eq!(check(replace(2, 1)), Err(MembersRefusal::AlreadyAMember(1)));
        assert_eq!(check(replace(2, 2)), Err(MembersRefusal::AlreadyAMember(2)));
        assert_eq!(check(replace(1, 3)), Err(MembersRefusal::IsLeader(1)));
        for change in [
            MemberChange::AddLearner(4),
            MemberChange::AddVoter(3),
            MemberChange::Remove(2),
            MemberChange::Remove(3),
            replace(2, 3),
        ] {
            assert_eq!(check(change), Ok(()), "{change:?}");
        }
        assert_eq!(check_change(&alone, 1, MemberChange::Remove(1)), Err(MembersRefusal::LastVoter(1)));
    }
}
