//! Runs that met a defect: parked as they were, with an alarm, until a user cancels them.
//!
//! Nothing here calls `settle`, because that is where the defect is.

use trimaran_model::id::{Identity, RunId};
use trimaran_model::run::Status;
use trimaran_model::why::Why;

use super::assign::ask_to_cancel;
use super::gates::canceled;
use super::{finish, store};
use crate::state::State;
use crate::state::cluster::{ALARM_BUG, AlarmDetail, AlarmSubject};
use crate::state::run::RunGraph;
use crate::state::stage::Stage;

/// Parks a run: its assignments stay, and canceling it ends them.
pub(super) fn park(state: &mut State, id: &RunId) {
    let before = state.graph(id).expect("a run that met a defect is in memory");
    let mut graph = before.clone();
    let revision = state.revision.0;
    let reason = state.reason(Why::Bug { run: id.clone(), revision });
    graph.run.park(reason.clone(), state.wall());
    for stage in graph.stages.iter_mut().filter(|stage| !stage.is_done()) {
        stage.reasons = vec![reason.clone()];
    }
    let detail = AlarmDetail::RunBug { run: id.clone(), revision };
    state.raise_alarm(AlarmSubject::Run { run: id.clone() }, ALARM_BUG, detail);
    store::store(state, &before, graph);
    finish::wake_followers(state, &id.pipeline);
}

/// Ends a parked run: at once what does not work, the rest when its result comes.
pub(crate) fn cancel(state: &mut State, before: &RunGraph, by: &Identity) {
    let mut graph = before.clone();
    graph.run.canceled_by = Some(by.clone());
    for stage in graph.stages.iter_mut().filter(|stage| !stage.is_done()) {
        match stage.assignment() {
            Some(assignment) => {
                stage.reasons = vec![state.reason(Why::Canceling { by: Some(by.clone()) })];
                ask_to_cancel(state, assignment);
            }
            None => stop(state, stage, by),
        }
    }
    end(state, before, graph);
}

/// Applies the result of an assignment of a parked run: its end is all that counts.
pub(super) fn apply_result(state: &mut State, before: &RunGraph, mut graph: RunGraph, index: usize) {
    if let Some(by) = graph.run.canceled_by.clone() {
        stop(state, &mut graph.stages[index], &by);
    }
    end(state, before, graph);
}

fn stop(state: &State, stage: &mut Stage, by: &Identity) {
    let reason = state.reason(Why::Canceled { by: by.clone(), then: None });
    stage.end(canceled(stage), vec![reason], state.wall());
}

/// Stores the run; it is canceled when a user asked for it and nothing of it works any more.
fn end(state: &mut State, before: &RunGraph, mut graph: RunGraph) {
    if graph.run.canceled_by.is_some() && graph.stages.iter().all(Stage::is_done) {
        graph.run.status = Status::Canceled;
        graph.run.reasons.clear();
        state.clear_alarm(AlarmSubject::Run { run: graph.run.id.clone() }, ALARM_BUG);
    }
    store::store(state, before, graph);
}
