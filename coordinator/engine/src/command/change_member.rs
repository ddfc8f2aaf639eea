//! An operator promotes or removes a coordinator, or makes it the leader. The change itself is replication's; here is what
//! the state has to know of it.

use trimaran_wire::v1::command::WireMemberChange as Change;

use super::convert::record;
use crate::audit::Record;
use crate::refusal::Refusal;
use crate::revocation;
use crate::state::State;
use crate::state::cluster::{Alarm, AlarmSubject};
use crate::state::request::Outcome;

pub(super) fn run(state: &mut State, change: Change, raft_id: u64) -> Result<Outcome, Refusal> {
    match change {
        Change::Promote | Change::Transfer => {}
        Change::Remove => remove(state, raft_id),
    }
    Ok(Outcome::Nothing)
}

/// Its keys are refused from now on, and what it reported of itself is of the past.
pub(super) fn remove(state: &mut State, raft_id: u64) {
    let Some(mut member) = state.members.get(&raft_id).filter(|it| !it.removed).cloned() else { return };
    revocation::of_member(state, &member);
    let subject = AlarmSubject::Member { name: member.name.clone() };
    let its = |alarm: &&Alarm| alarm.subject == subject;
    let codes: Vec<String> = state.alarms.iter().filter(its).map(|alarm| alarm.code.clone()).collect();
    codes.iter().for_each(|code| state.clear_alarm(subject.clone(), code));
    member.removed = true;
    state.members.put(member);
}

pub(super) fn audit(state: &State, change: Change, raft_id: u64) -> Record {
    let verb = match change {
        Change::Promote => "promote_member",
        Change::Remove => "remove_member",
        Change::Transfer => "transfer_leader",
    };
    record(verb, state.members.get(&raft_id).map_or_else(|| raft_id.to_string(), |it| it.name.to_string()))
}
