//! What is left where a stage ended before its end: some hosts may have its release, the others what was there before.
//!
//! Not here: how the hosts are. Their agent says it as soon as nothing works on the installation any more.

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
            DeployState::Done { end: End::Canceled | End::Failed } if !deploy.is_back() => {
                leave(state, stage)
            }
            DeployState::Done { end: End::RollbackFailed } => {
                state.change_installation(&stage.run, &deploy.target, |it| it.stop_progressing());
            }
            _ => {}
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
    state.change_installation(&stage.run, &deploy.target, |it| it.leave_partial(mixed));
}
