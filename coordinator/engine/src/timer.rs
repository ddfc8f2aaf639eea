//! Timers: bakes, pauses and handovers on cluster time; approvals on wall time.

use trimaran_model::id::{AgentName, InstallationId, RunId};
use trimaran_model::time::Timestamp;

use crate::event::Event;
use crate::state::State;
use crate::state::installation::Installation;
use crate::state::stage::{Kind, Stage};

/// Runs everything that is due.
pub(crate) fn run(state: &mut State) {
    let now = state.now();
    let due = |it: &&Installation| bake_end(state, it).is_some_and(|until| until <= now);
    let baked: Vec<InstallationId> =
        state.installations.active().filter(due).map(|it| it.id.clone()).collect();
    for id in baked {
        state.installations.update(&id, Installation::end_bake);
        let health = state.installations.get(&id).expect("it was just changed").health;
        state.events.push(Event::Installation { installation: id, health });
    }
    let over = |until: Option<Timestamp>| until.is_some_and(|until| until <= now);
    let handed = state.agents.active().filter(|it| over(it.handover_until));
    let handed: Vec<AgentName> = handed.map(|it| it.name.clone()).collect();
    for name in handed {
        state.agents.update(&name, |agent| agent.handover_until = None);
        state.events.push(Event::AgentWork { agent: name.clone(), assignment: None });
        state.wake_agent(&name);
    }
    let due = state.stages.active().filter(|stage| over(stage_timer(state, stage)));
    let due: Vec<RunId> = due.map(|stage| stage.run.clone()).collect();
    due.iter().for_each(|run| state.wake(run));
}

/// When the bake ends: never while the agent is silent, because no one observes.
fn bake_end(state: &State, it: &Installation) -> Option<Timestamp> {
    let agent = state.agents.get(&state.target(&it.id.target)?.agent)?;
    it.bake_until.filter(|_| agent.attached.is_some())
}

/// When time moves a stage of a live run: the end of a pause, or of an approval.
fn stage_timer(state: &State, stage: &Stage) -> Option<Timestamp> {
    if state.runs.get(&stage.run).is_none_or(|run| run.status.is_done()) {
        return None;
    }
    match &stage.kind {
        Kind::Deploy { deploy } => deploy.pause_end(),
        Kind::Approve { approve } => approve.expiry().map(|at| state.cluster().at_wall(at)),
    }
}

/// The next moment at which something is due.
pub(crate) fn next(state: &State) -> Option<Timestamp> {
    let bakes = state.installations.active().filter_map(|it| bake_end(state, it));
    let handovers = state.agents.active().filter_map(|it| it.handover_until);
    let stages = state.stages.active().filter_map(|stage| stage_timer(state, stage));
    bakes.chain(handovers).chain(stages).min()
}
