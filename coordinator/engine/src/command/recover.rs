//! A quorum is lost for good: the member that is left becomes the only one, in another incarnation of the cluster.
//!
//! The others are removed like members that an operator removes. What they decided and this member never received may be at
//! work on agents, so nothing that this incarnation orders can be taken for it: the epoch is in each fence, and assignments get
//! numbers that the earlier one can't have reached. Agents refuse orders of an earlier epoch, so each order that is at work gets
//! a fence of the new one, which supersedes its old one where that was taken.
//!
//! Not here: which data directory may be recovered (the coordinator's command `recover`).

use trimaran_model::id::{AssignmentId, Epoch};

use super::change_member;
use super::convert::record;
use crate::audit::Record;
use crate::refusal::Refusal;
use crate::settle::assign_again;
use crate::state::State;
use crate::state::request::Outcome;

pub(super) fn run(state: &mut State, raft_id: u64, incarnation: u64) -> Result<Outcome, Refusal> {
    let cluster = state.cluster();
    let is_member = state.members.get(&raft_id).is_some_and(|member| !member.removed);
    let epoch = cluster.epoch.0.checked_add(1).filter(|_| is_member && incarnation != cluster.incarnation);
    let epoch = Epoch(epoch.ok_or(Refusal::Malformed)?);
    let others: Vec<u64> = state.members.iter().map(|it| it.raft_id).filter(|id| *id != raft_id).collect();
    others.into_iter().for_each(|id| change_member::remove(state, id));
    state.set_cluster(|cluster| cluster.begin_incarnation(epoch, incarnation));
    let live: Vec<AssignmentId> = state.assignments.iter().map(|live| live.order.id).collect();
    live.into_iter().for_each(|id| assign_again(state, id));
    Ok(Outcome::Nothing)
}

pub(super) fn audit(state: &State, raft_id: u64) -> Record {
    let name = state.members.get(&raft_id).map_or_else(|| raft_id.to_string(), |it| it.name.to_string());
    record("recover_cluster", format!("coordinator/{name} epoch {}", state.cluster().epoch.0))
}
