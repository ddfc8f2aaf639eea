//! `trimaran resume`: paused stages go on.

use trimaran_model::id::{Identity, InstallationId};
use trimaran_wire::v1::common::{WireRun, WireStage};

use super::convert::{record, run_text};
use super::find;
use crate::audit::Record;
use crate::refusal::Refusal;
use crate::settle::{self, restored, rollback};
use crate::state::State;
use crate::state::request::Outcome;
use crate::state::run::RunGraph;
use crate::state::stage::{DeployState, Stage, Wait};
use crate::state::undecided::UndecidedSubject;

pub(super) fn run(
    state: &mut State,
    identity: &Identity,
    wanted: &WireRun,
    stage: Option<&WireStage>,
) -> Result<Outcome, Refusal> {
    let mut graph = find::run(state, wanted)?;
    let before = graph.clone();
    let named = find::stage(&graph, stage)?;
    let is_paused = |stage: &Stage| {
        let deploy = stage.deploy().map(|deploy| &deploy.state);
        matches!(deploy, Some(DeployState::Waiting { wait: Wait::Resume { .. } }))
    };
    let held = state.is_held(&graph.run.id);
    // A restore holds the run as a whole.
    let named = named.filter(|_| !held);
    if held {
        release(state, &graph)?;
    }
    let paused: Vec<usize> = (0..graph.stages.len())
        .filter(|index| named.is_none_or(|named| named == *index) && is_paused(&graph.stages[*index]))
        .collect();
    let run = graph.run.id.clone();
    if paused.is_empty() && !held {
        return Err(Refusal::NothingPaused { run });
    }
    let mut ended = false;
    for index in paused {
        if rollback::keep_serving(state, &mut graph, index) {
            ended = true;
            continue;
        }
        let deploy = graph.stages[index].deploy_mut();
        deploy.work(None);
        // What was left behind was looked after meanwhile: each host is counted anew.
        if let Some(attempt) = &mut deploy.attempt {
            attempt.lost.clear();
        }
    }
    let stage = named.map(|index| graph.stages[index].name.clone());
    match ended {
        // What ends is shown; what goes on is when it is settled.
        true => settle::store(state, &before, graph),
        false => state.put_graph(graph),
    }
    state.wake(&run);
    Ok(Outcome::Decided { run, stage, decision: "resumed".to_owned(), by: identity.clone() })
}

/// A run that was live in a backup goes on when it is decided what runs where it works.
fn release(state: &mut State, graph: &RunGraph) -> Result<(), Refusal> {
    if let Some(it) = restored::asking(state, graph).and_then(|id| state.installations.get(&id)) {
        return Err(Refusal::Undecided { installation: it.id.clone(), environment: it.environment.clone() });
    }
    for target in restored::working_on(graph) {
        let installation = InstallationId { pipeline: graph.run.id.pipeline.clone(), target: target.clone() };
        state.decide(&UndecidedSubject::Installation { installation });
    }
    state.decide(&UndecidedSubject::Run { run: graph.run.id.clone() });
    Ok(())
}

pub(super) fn audit(run: &WireRun) -> Record {
    record("resume", run_text(run))
}
