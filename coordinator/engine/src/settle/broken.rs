//! Runs that met a defect: parked as they were, with an alarm, until somebody cancels them.
//!
//! Nothing here calls `settle`, because that is where the defect is.

use trimaran_model::reason::ReasonCode;
use trimaran_model::run::Status;
use trimaran_wire::v1::common::WireRun;
use trimaran_wire::v1::row;

use super::assign::ask_to_cancel;
use super::{finish, set};
use crate::alarm;
use crate::state::{State, run_key, run_name, status};

/// Parks a run: its assignments stay, and canceling it ends them.
pub(super) fn park(state: &mut State, id: &WireRun) {
    let Some(before) = state.runs.get(&run_key(id)).cloned() else { return };
    let mut run = before.clone();
    let name = run_name(id);
    let message = format!("a defect stopped `{name}` at revision {}", state.revision);
    let reason = state.asks(ReasonCode::Bug, message.clone(), format!("trimaran cancel {name}"));
    run.status = Status::Broken.as_str().to_owned();
    run.finished_ms = Some(state.wall().0);
    run.reasons = vec![reason.clone()];
    for stage in run.stages.iter_mut().filter(|stage| !status(&stage.status).is_done()) {
        stage.reasons = vec![reason.clone()];
    }
    state.raise_alarm(&name, alarm::BUG, &message);
    super::store(state, &before, &mut run);
    finish::wake_followers(state, &id.pipeline);
}

/// Ends a parked run: at once what does not work, the rest when its result comes.
pub(crate) fn cancel(state: &mut State, before: &row::Run, by: &str) {
    let mut run = before.clone();
    run.canceled_by = Some(by.to_owned());
    for stage in run.stages.iter_mut().filter(|stage| !status(&stage.status).is_done()) {
        match stage.assignment {
            Some(assignment) => {
                let message = format!("{by} canceled the run; hosts in flight finish or revert");
                stage.reasons = vec![state.waits(ReasonCode::Canceling, message)];
                ask_to_cancel(state, assignment);
            }
            None => stop(state, stage, by),
        }
    }
    end(state, before, run);
}

/// Takes the result of an assignment of a parked run: its end is all that counts.
pub(super) fn result(state: &mut State, before: &row::Run, mut run: row::Run, index: usize) {
    if let Some(by) = run.canceled_by.clone() {
        stop(state, &mut run.stages[index], &by);
    }
    end(state, before, run);
}

fn stop(state: &State, stage: &mut row::Stage, by: &str) {
    let to = if stage.rollback_target.is_some() { Status::RollbackFailed } else { Status::Canceled };
    let reason = state.waits(ReasonCode::Canceled, format!("{by} canceled the run"));
    set(state, stage, to, vec![reason]);
}

/// Stores the run; it is canceled when somebody asked for it and nothing of it works any more.
fn end(state: &mut State, before: &row::Run, mut run: row::Run) {
    if run.canceled_by.is_some() && run.stages.iter().all(|stage| status(&stage.status).is_done()) {
        run.status = Status::Canceled.as_str().to_owned();
        run.reasons.clear();
        state.clear_alarm(&run_name(&run.id), alarm::BUG);
    }
    super::store(state, before, &mut run);
}
