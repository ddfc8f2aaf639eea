//! Changes of the members and of the leader, as the leader decides them: what is refused because of who is there now, and
//! who takes over from a leader that leaves.
//!
//! Not here: how a change becomes a joint configuration (`trimaran-replica`), and what an operator may ask for by name (the
//! server).

use bytes::Bytes;
use trimaran_model::feature_level::Levels;
use trimaran_model::limits::LEARNER_LAG_MAX;
use trimaran_model::time::{Millis, Timestamp};
use trimaran_replica::{MemberChange, Role};
use trimaran_wire::codec::Message as _;
use trimaran_wire::raft::ConfState;
use trimaran_wire::v1::command::{CommandBody, Entry};
use trimaran_wire::v1::peer::MembersRequest;

use crate::io::{Output, Proposed};
use crate::member::{Asker, Member, Waits};
use crate::state_machine::{EngineMachine, EngineStateMachine};

/// A member counts as there when it gave a sign within this time.
pub const SIGN_MAX_AGE: Millis = Millis(1500);
/// What a requester reads whose request has to be repeated: the leader is the one that is to be removed.
const MOVES_FIRST: &str = "the leader gives leadership away before it is removed";

impl<M: EngineMachine, P, R> Member<M, P, R> {
    pub(crate) fn step_members(
        &mut self,
        now: Timestamp,
        asker: Asker<P>,
        (request, context): (MembersRequest, Bytes),
        out: &mut Vec<Output<P, R>>,
    ) {
        if matches!(self.replica.role().role, Role::Leader { .. })
            && let Some(answer) = self.refuse_build(&context).or_else(|| self.decide(now, request, out))
        {
            return self.answer_asker(asker, answer, out);
        }
        let context = if mutant!(ForgetContext) { Bytes::new() } else { context };
        let change = match request {
            MembersRequest::AddLearner { id } => MemberChange::AddLearner(id),
            MembersRequest::AddVoter { id } => MemberChange::AddVoter(id),
            MembersRequest::Remove { id } => MemberChange::Remove(id),
            MembersRequest::Replace { old, new } => MemberChange::Replace { old, new },
            MembersRequest::Transfer { to } => {
                let to = if to == 0 { self.successor(now).unwrap_or(0) } else { to };
                let waiter = self.wait(Waits::Members(asker));
                let input = trimaran_replica::Input::TransferLeader { waiter, to };
                return self.step_replica(now, input, out);
            }
        };
        let waiter = self.wait(Waits::Members(asker));
        self.step_replica(now, trimaran_replica::Input::ChangeMember { waiter, change, context }, out);
    }

    /// Why a coordinator does not join whose build does not support the cluster's feature level.
    fn refuse_build(&self, context: &[u8]) -> Option<Proposed> {
        let level = self.engine().level();
        Entry::from_bytes(context).ok()?.commands.into_iter().find_map(|command| match command.body {
            CommandBody::Member { name, levels: (min, max), .. } => {
                let why = EngineStateMachine::refuse_level(level, Levels { min, max })?;
                Some(Proposed::Refused(format!("`{name}` can't join: {why}")))
            }
            _ => None,
        })
    }

    /// What the leader answers at once, when the change is not for replication now.
    fn decide(
        &mut self,
        now: Timestamp,
        request: MembersRequest,
        out: &mut Vec<Output<P, R>>,
    ) -> Option<Proposed> {
        let members = self.replica.members();
        let is_voter = |id: u64| members.voters.contains(&id);
        match request {
            MembersRequest::AddLearner { id } => {
                let was = self.engine().member(id).is_some_and(|member| member.removed);
                let refused = || format!("`{}` was removed; a new member has a new directory", self.name(id));
                was.then(refused).map(Proposed::Refused)
            }
            MembersRequest::AddVoter { id } => self.refuse_promotion(now, &members, id),
            MembersRequest::Remove { id } | MembersRequest::Replace { old: id, .. } if !is_voter(id) => None,
            MembersRequest::Remove { id } if members.voters == [id] => {
                let name = self.name(id);
                Some(Proposed::Refused(format!(
                    "`{name}` is the only voter: without it 0 voters would be left, and a quorum takes 1"
                )))
            }
            MembersRequest::Remove { id } => {
                let voters: Vec<u64> = members.voters.iter().copied().filter(|it| *it != id).collect();
                let why = self.too_few(now, &voters, &format!("without `{}`", self.name(id)));
                why.map(Proposed::Refused).or_else(|| self.move_first(now, id, out))
            }
            MembersRequest::Replace { old, new } => {
                let voters = members.voters.iter().copied().filter(|it| *it != old).chain([new]);
                let change = format!("with `{}` in the place of `{}`", self.name(new), self.name(old));
                let why = self.too_few(now, &voters.collect::<Vec<_>>(), &change);
                why.map(Proposed::Refused).or_else(|| self.move_first(now, old, out))
            }
            MembersRequest::Transfer { to } => self.refuse_transfer(now, &members, to),
        }
    }

    fn refuse_transfer(&self, now: Timestamp, members: &ConfState, to: u64) -> Option<Proposed> {
        let why = if to == 0 {
            self.successor(now).is_none().then(|| "no other voter is there".to_owned())
        } else if !members.voters.contains(&to) {
            Some(format!("`{}` has no vote", self.name(to)))
        } else {
            (!self.is_there(now, to)).then(|| format!("`{}` is not there", self.name(to)))
        };
        why.map(Proposed::Refused)
    }

    /// Why a learner gets no vote now, if it does not.
    fn refuse_promotion(&self, now: Timestamp, members: &ConfState, id: u64) -> Option<Proposed> {
        if !members.learners.contains(&id) {
            return None;
        }
        let status = self.replica.status();
        let matched = status.matched.iter().find(|(member, _)| *member == id).map_or(0, |it| it.1);
        let behind = status.commit.saturating_sub(matched);
        if matched == 0 || behind > LEARNER_LAG_MAX {
            let name = self.name(id);
            let why = format!("`{name}` is {behind} entries behind; it gets its vote when it has caught up");
            return Some(Proposed::Refused(why));
        }
        let voters: Vec<u64> = members.voters.iter().copied().chain([id]).collect();
        self.too_few(now, &voters, &format!("with `{}`", self.name(id))).map(Proposed::Refused)
    }

    /// The arithmetic of a quorum that would not be there after a change.
    fn too_few(&self, now: Timestamp, voters: &[u64], change: &str) -> Option<String> {
        let (there, needed) =
            (voters.iter().filter(|id| self.is_there(now, **id)).count(), voters.len() / 2 + 1);
        let refused = || {
            format!("{change} {there} of {} voters would be there, and a quorum takes {needed}", voters.len())
        };
        (there < needed && !mutant!(RemoveBlindly)).then(refused)
    }

    /// A leader does not remove itself: another one takes over, and the request comes again.
    fn move_first(&mut self, now: Timestamp, id: u64, out: &mut Vec<Output<P, R>>) -> Option<Proposed> {
        if id != self.replica.id() {
            return None;
        }
        let to = self.successor(now)?;
        let waiter = self.wait(Waits::HandOver);
        self.step_replica(now, trimaran_replica::Input::TransferLeader { waiter, to }, out);
        Some(Proposed::Busy(MOVES_FIRST.to_owned()))
    }

    /// The voter that is there and closest behind.
    pub(crate) fn successor(&self, now: Timestamp) -> Option<u64> {
        let status = self.replica.status();
        let others = status.matched.into_iter().filter(|(id, _)| {
            *id != self.replica.id() && status.members.voters.contains(id) && self.is_there(now, *id)
        });
        others.max_by_key(|(_, matched)| *matched).map(|(id, _)| id)
    }

    fn is_there(&self, now: Timestamp, id: u64) -> bool {
        id == self.replica.id() || self.last_sign.get(&id).is_some_and(|at| now - *at <= SIGN_MAX_AGE)
    }

    /// As people call a member.
    fn name(&self, id: u64) -> String {
        self.engine().member(id).map_or_else(|| id.to_string(), |member| member.name.to_string())
    }
}
