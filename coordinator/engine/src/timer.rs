//! Timers: bakes, pauses and handovers on cluster time; approvals on wall time.

use trimaran_model::id::{AgentName, InstallationId, RunId};
use trimaran_model::time::Timestamp;

use crate::event::Event;
use crate::state::State;
use crate::state::installation::Installation;

/// Runs everything that is due.
pub(crate) fn run(state: &mut State) {
    let now = state.now();
    let baked = state.installations.index().bakes.until(now).filter(|id| is_observed(state, id));
    let baked: Vec<InstallationId> = baked.cloned().collect();
    for id in baked {
        state.installations.update(&id, Installation::end_bake);
        let health = state.installations.get(&id).expect("it was just changed").health;
        state.events.push(Event::Installation { installation: id, health });
    }
    let handed: Vec<AgentName> = state.agents.index().handovers.until(now).cloned().collect();
    for name in handed {
        state.agents.update(&name, |agent| agent.handover_until = None);
        state.events.push(Event::AgentWork { agent: name.clone(), assignment: None });
        state.wake_agent(&name);
    }
    let stages = state.stages.index();
    let (pauses, expiries) = (stages.pauses.until(now), stages.expiries.until(state.wall()));
    let due = pauses.chain(expiries).map(|(run, _)| run).filter(|run| is_live(state, run));
    let due: Vec<RunId> = due.cloned().collect();
    due.iter().for_each(|run| state.wake(run));
}

/// Whether the agent of an installation observes it: a bake never ends while no one does.
fn is_observed(state: &State, id: &InstallationId) -> bool {
    let agent = state.target(&id.target).and_then(|target| state.agents.get(&target.agent));
    agent.is_some_and(|agent| agent.attached.is_some())
}

/// Whether time may move a stage of the run: one that a defect stopped waits for a user, and so does one that was live in
/// a backup.
fn is_live(state: &State, run: &RunId) -> bool {
    state.runs.index().live.contains(run) && !state.is_held(run)
}

/// The next moment at which something is due.
pub(crate) fn next(state: &State) -> Option<Timestamp> {
    let (cluster, stages) = (state.cluster.get(&()), state.stages.index());
    let mut bakes = state.installations.index().bakes.iter().filter(|(_, id)| is_observed(state, id));
    let mut handovers = state.agents.index().handovers.iter();
    let mut pauses = stages.pauses.iter().filter(|(_, (run, _))| is_live(state, run));
    let mut expiries = stages.expiries.iter().filter(|(_, (run, _))| is_live(state, run));
    // Without a cluster nothing is set.
    let expiry = expiries.next().and_then(|(at, _)| Some(cluster?.at_wall(at)));
    let on_cluster_time =
        [bakes.next().map(|(at, _)| at), handovers.next().map(|(at, _)| at), pauses.next().map(|(at, _)| at)];
    on_cluster_time.into_iter().chain([expiry]).flatten().min()
}
