//! What is left where a stage ended before its end: some hosts may have its release, the others what was there before.
//!
//! How the hosts are, their agent says as soon as nothing works on the installation any more; until then the
//! installation is what it was before, where no work since has failed.

use crate::state::State;
use crate::state::installation::Mixed;
use crate::state::run::RunGraph;
use crate::state::stage::{DeployState, End, Stage};

/// Records the stages that ended with this change of their run.
pub(super) fn record(state: &mut State, before: &RunGraph, graph: &RunGraph) {
    for (old, stage) in before.stages.iter().zip(&graph.stages).filter(|(old, _)| !old.is_done()) {
        let Some(deploy) = stage.deploy().filter(|deploy| deploy.attempt.is_some()) else { continue };
        debug_assert_eq!(old.name, stage.name, "stages keep their places");
        match &deploy.state {
            DeployState::Done { end: End::Canceled | End::Failed } if deploy.is_back() => {}
            DeployState::Done { end: End::Canceled | End::Failed } => leave(state, stage),
            DeployState::Done { end: End::RollbackFailed } => {
                state.change_installation(&stage.run, &deploy.target, |it| it.stop_progressing());
            }
            DeployState::Done { end: End::Succeeded | End::Stopped | End::RolledBack } => {}
            DeployState::Held { .. } | DeployState::Running { .. } | DeployState::RollingBack { .. } => {}
            DeployState::Lost { .. } | DeployState::Waiting { .. } => {}
        }
    }
}

/// Nothing brings the earlier release back to the hosts that have the stage's.
fn leave(state: &mut State, stage: &Stage) {
    let deploy = stage.deploy().expect("only deploys leave something");
    let mixed = Mixed {
        run: stage.run.clone(),
        stage: stage.name.clone(),
        release: deploy.release,
        hosts: deploy.begun().done,
        cause: stage.reasons.first().map(|reason| reason.why.clone()),
    };
    let failed = deploy.begun().failed.len();
    state.change_installation(&stage.run, &deploy.target, |it| it.leave_partial(mixed, failed));
}
