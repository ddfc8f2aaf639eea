//! The end of runs, and what becomes of old ones.

use trimaran_model::run::Status;
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::row::{self, table};

use crate::state::{State, run_key, run_key_bytes, status};

/// Finished runs of a pipeline that stay in memory, so that late answers can be told who was first.
const RUNS_HOT: usize = 8;

/// Ends the run when no stage moves any more, or gives it the status of what it waits for.
pub(super) fn look(state: &mut State, run: &mut row::Run) {
    let all: Vec<Status> = run.stages.iter().map(|stage| status(&stage.status)).collect();
    if all.iter().all(|status| status.is_done()) {
        run.status = outcome(run, &all).as_str().to_owned();
        run.finished_ms = Some(state.wall().0);
        run.reasons.clear();
        return;
    }
    if run.status == Status::Queued.as_str() {
        return;
    }
    let has = |wanted: Status| all.contains(&wanted);
    let now = if run.rollback.is_some() || has(Status::RollingBack) {
        Status::RollingBack
    } else if has(Status::Running) {
        Status::Running
    } else if has(Status::Lost) {
        Status::Lost
    } else if has(Status::Waiting) {
        Status::Waiting
    } else if has(Status::Blocked) {
        Status::Blocked
    } else {
        Status::Running
    };
    run.status = now.as_str().to_owned();
}

/// The worst that happened, as the whole run's outcome.
fn outcome(run: &row::Run, all: &[Status]) -> Status {
    let has = |wanted: Status| all.contains(&wanted);
    if has(Status::Broken) {
        Status::Broken
    } else if has(Status::RollbackFailed) {
        Status::RollbackFailed
    } else if has(Status::Failed) {
        Status::Failed
    } else if run.rollback.is_some() || has(Status::RolledBack) {
        Status::RolledBack
    } else if run.canceled_by.is_some() {
        Status::Canceled
    } else if has(Status::Stopped) {
        Status::Stopped
    } else if has(Status::Canceled) {
        Status::Canceled
    } else if has(Status::Warned) {
        Status::Warned
    } else {
        Status::Succeeded
    }
}

/// Moves the oldest finished runs of a pipeline to cold rows.
pub(super) fn retire_old(state: &mut State, pipeline: &str) {
    let done: Vec<row::Run> = state
        .runs
        .iter()
        .filter(|run| run.id.pipeline == pipeline && status(&run.status).is_done())
        .cloned()
        .collect();
    for run in done.iter().take(done.len().saturating_sub(RUNS_HOT)) {
        let key = run_key(&run.id);
        let mut cold = vec![table::OLD_RUN];
        cold.extend(run_key_bytes(&key));
        state.cold.push((cold, Some(run.to_bytes())));
        state.runs.remove(&key);
    }
}
