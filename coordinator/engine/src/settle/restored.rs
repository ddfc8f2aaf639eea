//! A run that was live in a backup: after a restore it waits for a user, who resumes or cancels it.
//!
//! What it was about to do may have been done long ago, and more after that.

use trimaran_model::id::{InstallationId, StageName, StagePart, TargetName};
use trimaran_model::run::Status;
use trimaran_model::why::Why;

use crate::state::State;
use crate::state::run::RunGraph;
use crate::state::stage::{ApproveState, Held, Kind, Stage, Wait};

/// Keeps every stage where it is; what has begun waits, and what has not is blocked. Says whether the run is held.
pub(super) fn hold(state: &State, graph: &mut RunGraph) -> bool {
    if graph.run.canceled_by.is_some() || !state.is_held(&graph.run.id) {
        return false;
    }
    let why = why(state, graph);
    let reason = state.reason(why.clone());
    if matches!(graph.run.status, Status::Pending | Status::Queued) {
        graph.run.status = Status::Running;
        graph.run.reasons.clear();
    }
    for stage in graph.stages.iter_mut().filter(|stage| !stage.is_done()) {
        match &stage.kind {
            // Its question stays open, and comes again with its time when the run goes on.
            Kind::Approve { approve } if !matches!(approve.state, ApproveState::Held { .. }) => {
                stage.reasons = vec![reason.clone()];
            }
            // What it waited for before is met again when it goes on.
            Kind::Deploy { deploy } if deploy.attempt.is_some() || deploy.is_back() => {
                stage.wait(Wait::Resume { why: why.clone() }, reason.clone());
            }
            Kind::Approve { .. } | Kind::Deploy { .. } => {
                let reasons = stage.with_rollback_reason(vec![reason.clone()]);
                stage.hold(Held::Blocked, reasons);
            }
        }
    }
    true
}

/// What has to be done next for the run to go on.
fn why(state: &State, graph: &RunGraph) -> Why {
    if state.observes() {
        return Why::Observes;
    }
    Why::Restored { stage: asking(state, graph).and_then(|id| undecided(state, &id)) }
}

/// The first installation that the run works on and of which a user has to say first what is right.
pub(crate) fn asking(state: &State, graph: &RunGraph) -> Option<InstallationId> {
    let targets = working_on(graph);
    let mut here = targets
        .map(|target| InstallationId { pipeline: graph.run.id.pipeline.clone(), target: target.clone() });
    here.find(|id| state.asks_user(id))
}

/// Where an installation is that a restore left undecided.
pub(super) fn undecided(state: &State, id: &InstallationId) -> Option<StageName> {
    let it = state.installations.get(id).filter(|it| state.is_undecided(&it.id))?;
    Some(StageName { environment: it.environment.clone(), part: StagePart::Deploy(id.target.clone()) })
}

/// The targets of its deploys that are not done.
pub(crate) fn working_on(graph: &RunGraph) -> impl Iterator<Item = &TargetName> {
    let deploys = graph.stages.iter().filter_map(Stage::deploy);
    deploys.filter(|deploy| !deploy.is_done()).map(|deploy| &deploy.target)
}
