//! The end of runs, and what becomes of old ones.

use std::collections::BTreeSet;

use trimaran_model::run::{RunKind, Status};
use trimaran_wire::v1::common::WireRun;
use trimaran_wire::v1::row::{self, WayBack, table};

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
    } else if has(Status::Queued) {
        Status::Queued
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

/// What follows from the end of a run.
pub(super) fn done(state: &mut State, run: &row::Run) {
    if run.status == Status::Succeeded.as_str() && run.kind == RunKind::Deploy.as_str() {
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
        named.extend(it.good.iter().copied().chain(it.current).chain(it.before));
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
        let way = match &stage.way_back {
            Some(WayBack::Restore(to)) => Some(*to),
            Some(WayBack::Stop) | None => None,
        };
        [way, stage.restore]
    });
    planned.chain(back.flatten()).collect()
}
