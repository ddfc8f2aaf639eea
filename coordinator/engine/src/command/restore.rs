//! The state is that of a backup: what was ordered since is not in it, and may run.
//!
//! Its member becomes the only one, as of a lost quorum. Nothing is ordered, and agents are refused, until an operator says that
//! it is this cluster that goes on ([`super::resume_cluster`]): the epoch stays that of the backup until then, because what
//! agents have seen decides which one is next. Every installation and every live run waits for a decision after that.
//!
//! Not here: the store that is made of the backup, and keys (the coordinator's command `restore`).

use trimaran_model::id::AssignmentId;
use trimaran_model::verdict::Verdict;

use super::change_member;
use super::convert::record;
use crate::audit::Record;
use crate::refusal::Refusal;
use crate::settle::{Ending, withdraw};
use crate::state::State;
use crate::state::installation::Installation;
use crate::state::request::Outcome;
use crate::state::undecided::UndecidedSubject;

pub(super) fn run(state: &mut State, raft_id: u64) -> Result<Outcome, Refusal> {
    if state.members.get(&raft_id).is_none_or(|member| member.removed) {
        return Err(Refusal::Malformed);
    }
    let others: Vec<u64> = state.members.iter().map(|it| it.raft_id).filter(|id| *id != raft_id).collect();
    others.into_iter().for_each(|id| change_member::remove(state, id));
    let live: Vec<AssignmentId> = state.assignments.iter().map(|live| live.order.id).collect();
    live.into_iter().for_each(|id| give_up(state, id));
    let now = state.now();
    let agents: Vec<_> = state.agents.iter().map(|agent| agent.name.clone()).collect();
    for name in agents {
        state.agents.update(&name, |agent| agent.lose(now));
    }
    let installations: Vec<_> = state.installations.iter().map(|it| it.id.clone()).collect();
    for id in &installations {
        state.installations.update(id, forget_health);
    }
    let installations = installations.into_iter();
    let installations = installations.map(|installation| UndecidedSubject::Installation { installation });
    let runs: Vec<_> = state.live_runs().map(|run| UndecidedSubject::Run { run: run.id.clone() }).collect();
    state.leave_undecided(installations.chain(runs).chain([UndecidedSubject::Cluster]).collect());
    state.wake_all();
    Ok(Outcome::Nothing)
}

/// The order may have ended long ago, or others may have followed it.
fn give_up(state: &mut State, id: AssignmentId) {
    let order = state.order(id).expect("it was just found").clone();
    withdraw(state, id, Ending::Superseded);
    let mut graph = state.graph(&order.run).expect("the run of an assignment is in memory");
    let index = graph.find(&order.stage).expect("an assignment names a stage of its run");
    graph.stages[index].deploy_mut().work(None);
    state.put_graph(graph);
}

/// How it is no one knows; a bake ends with the decision what runs.
fn forget_health(it: &mut Installation) {
    if it.current.is_some() || it.mixed.is_some() || it.health == Verdict::Progressing {
        (it.health, it.failure, it.blind_since) = (Verdict::Unknown, None, None);
    }
    it.bake_until = None;
    it.findings.clear();
}

pub(super) fn audit(state: &State, raft_id: u64) -> Record {
    let name = state.members.get(&raft_id).map_or_else(|| raft_id.to_string(), |it| it.name.to_string());
    record("restore_cluster", format!("coordinator/{name} epoch {}", state.cluster().epoch.0))
}
