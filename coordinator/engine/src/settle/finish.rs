//! The end of runs, and what becomes of old ones.

use std::collections::BTreeSet;

use trimaran_model::run::Status;
use trimaran_wire::v1::common::WireRun;
use trimaran_wire::v1::row::{self, RollbackTarget, table};

use crate::state::{State, is_rollback, run_key, run_key_bytes, status};

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
    let live = [
        Status::RollingBack,
        Status::Running,
        Status::Lost,
        Status::Waiting,
        Status::Blocked,
        Status::Queued,
    ];
    let now = if run.rollback.is_some() { Some(Status::RollingBack) } else { first(&all, &live) };
    run.status = now.unwrap_or(Status::Running).as_str().to_owned();
}

/// The first of these statuses that a stage has.
fn first(all: &[Status], of: &[Status]) -> Option<Status> {
    of.iter().copied().find(|status| all.contains(status))
}

/// The worst that happened, as the whole run's outcome.
fn outcome(run: &row::Run, all: &[Status]) -> Status {
    first(all, &[Status::Broken, Status::RollbackFailed, Status::Failed])
        .or(run.rollback.is_some().then_some(Status::RolledBack))
        .or(first(all, &[Status::RolledBack]))
        .or(run.canceled_by.is_some().then_some(Status::Canceled))
        .or(first(all, &[Status::Stopped, Status::Canceled, Status::Warned]))
        .unwrap_or(Status::Succeeded)
}

/// What follows from the end of a run.
pub(super) fn done(state: &mut State, run: &row::Run) {
    if run.status == Status::Succeeded.as_str() && !is_rollback(run) {
        // It was deployed against the quarantine and became healthy.
        state.quarantine.remove(&(run.id.pipeline.clone(), run.plan.digest));
    }
    if !mutant!(NoWakeAfterRun) {
        wake_followers(state, &run.id.pipeline);
    }
    retire_old(state, &run.id.pipeline);
}

/// Runs of the same pipeline that may have waited.
pub(super) fn wake_followers(state: &mut State, pipeline: &str) {
    let followers: Vec<WireRun> = state.live_runs_of(pipeline).map(|run| run.id.clone()).collect();
    followers.iter().for_each(|run| state.wake(run));
}

/// Moves the oldest finished runs of a pipeline to cold rows, and the releases that only they name. A run
/// whose release is installed stays: its plan says what a failure in its bake means. So does a run that has
/// an assignment.
fn retire_old(state: &mut State, pipeline: &str) {
    let installed: BTreeSet<_> =
        state.installations_of(pipeline).filter_map(|it| it.run.as_ref().map(run_key)).collect();
    let may_go = |run: &&row::Run| {
        let works = run.stages.iter().any(|stage| stage.assignment.is_some());
        status(&run.status).is_done() && !works && !installed.contains(&run_key(&run.id))
    };
    let count = state.runs_of(pipeline).filter(may_go).count().saturating_sub(RUNS_HOT);
    let old: Vec<row::Run> = state.runs_of(pipeline).filter(may_go).take(count).cloned().collect();
    for run in &old {
        let key = run_key(&run.id);
        state.put_cold(table::OLD_RUN, &run_key_bytes(&key), run);
        state.runs.remove(&key);
    }
    if !old.is_empty() {
        retire_releases(state, pipeline, &old);
    }
}

/// Moves releases of a pipeline to cold rows that nothing in memory names any more. A release names its
/// pipeline, so that no other pipeline's runs and installations can name it.
fn retire_releases(state: &mut State, pipeline: &str, retired: &[row::Run]) {
    let mut named: BTreeSet<[u8; 32]> = BTreeSet::new();
    for it in state.installations_of(pipeline) {
        named.extend(it.stable_releases.iter().copied().chain(it.current).chain(it.before));
    }
    for run in state.runs_of(pipeline) {
        named.extend(releases_of(run));
    }
    for digest in retired.iter().flat_map(releases_of).filter(|digest| !named.contains(digest)) {
        let Some(row) = state.releases.remove(&digest) else { continue };
        state.put_cold(table::OLD_RELEASE, &digest, &row);
    }
}

/// Every release that a run names.
fn releases_of(run: &row::Run) -> Vec<[u8; 32]> {
    let planned = run.plan.environments.iter().flat_map(|it| &it.stages).map(|it| it.release_digest);
    let back = run.stages.iter().flat_map(|stage| {
        let way = match &stage.rollback_target {
            Some(RollbackTarget::Restore(to)) => Some(*to),
            Some(RollbackTarget::Stop) | None => None,
        };
        [way, stage.restore]
    });
    planned.chain(back.flatten()).collect()
}
