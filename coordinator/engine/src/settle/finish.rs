//! The end of runs, and what becomes of old ones.

use std::collections::BTreeSet;

use trimaran_model::id::{Digest, PipelineName, RunId};
use trimaran_model::run::Status;

use crate::contents;
use crate::rows::cold;
use crate::state::State;
use crate::state::run::{Run, RunGraph};
use crate::state::stage::{Direction, RollbackTarget, Stage};

/// Finished runs of a pipeline that stay in memory, so that late answers can say who was first.
const RUNS_HOT: usize = 8;

/// Ends the run when no stage moves any more, or gives it the status of what it waits for.
pub(super) fn update_run_status(state: &State, graph: &mut RunGraph) {
    let all = graph.statuses();
    if all.iter().all(|status| status.is_done()) {
        let outcome = outcome(&graph.run, &all);
        return graph.run.finish(outcome, state.wall());
    }
    if graph.run.status == Status::Queued {
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
    let now = if graph.run.rollback.is_some() { Some(Status::RollingBack) } else { first(&all, &live) };
    graph.run.status = now.unwrap_or(Status::Running);
}

/// The first of these statuses that a stage has.
fn first(all: &[Status], of: &[Status]) -> Option<Status> {
    of.iter().copied().find(|status| all.contains(status))
}

/// The worst that happened, as the whole run's outcome.
fn outcome(run: &Run, all: &[Status]) -> Status {
    first(all, &[Status::Broken, Status::RollbackFailed, Status::Failed])
        .or(run.rollback.is_some().then_some(Status::RolledBack))
        .or(first(all, &[Status::RolledBack]))
        .or(run.canceled_by.is_some().then_some(Status::Canceled))
        .or(first(all, &[Status::Stopped, Status::Canceled, Status::Warned]))
        .unwrap_or(Status::Succeeded)
}

/// What follows from the end of a run.
pub(super) fn end_run(state: &mut State, run: &Run) {
    if run.status == Status::Succeeded && !run.restores() {
        // It was deployed against the quarantine and became healthy.
        state.quarantine.remove(&(run.id.pipeline.clone(), run.plan));
    }
    if !mutant!(NoWakeAfterRun) {
        wake_followers(state, &run.id.pipeline);
    }
    retire_old(state, &run.id.pipeline);
}

/// Runs of the same pipeline that may have waited.
pub(super) fn wake_followers(state: &mut State, pipeline: &PipelineName) {
    let followers: Vec<RunId> = state.live_runs_of(pipeline).map(|run| run.id.clone()).collect();
    followers.iter().for_each(|run| state.wake(run));
}

/// Moves the oldest finished runs of a pipeline to cold rows, and the releases that only they name. A run whose release
/// is installed stays: its stages say what a failure in its bake means. So does a run that has an assignment.
fn retire_old(state: &mut State, pipeline: &PipelineName) {
    let installed: BTreeSet<RunId> =
        state.installations_of(pipeline).filter_map(|it| it.run.clone()).collect();
    let may_go = |run: &&Run| {
        let works = || state.stages_of(&run.id).any(|stage| stage.assignment().is_some());
        run.status.is_done() && !installed.contains(&run.id) && !works()
    };
    let going: Vec<RunId> = state.runs_of(pipeline).filter(may_go).map(|run| run.id.clone()).collect();
    let count = going.len().saturating_sub(RUNS_HOT);
    let mut releases = BTreeSet::new();
    for id in &going[..count] {
        let RunGraph { run, stages } = state.graph(id).expect("it was just found");
        state.cold.push(cold::old_run(&run));
        state.runs.remove(id);
        for stage in stages {
            releases.extend(releases_of(&stage));
            state.cold.push(cold::old_stage(&stage));
            state.stages.remove(&(stage.run.clone(), stage.index));
        }
    }
    retire_releases(state, pipeline, releases);
}

/// Moves releases of a pipeline to cold rows that nothing in memory names any more. A release names its
/// pipeline, so that no other pipeline's runs and installations can name it.
fn retire_releases(state: &mut State, pipeline: &PipelineName, retired: BTreeSet<Digest>) {
    if retired.is_empty() {
        return;
    }
    let mut named: BTreeSet<Digest> = BTreeSet::new();
    for it in state.installations_of(pipeline) {
        named.extend(it.stable_releases.iter().copied().chain(it.current).chain(it.previous));
    }
    for run in state.runs_of(pipeline) {
        named.extend(state.stages_of(&run.id).flat_map(releases_of));
    }
    for digest in retired.difference(&named) {
        if let Some(release) = state.releases.remove(digest) {
            state.cold.push(cold::old_release(&release));
            let content = release.release.workload.content().map(|content| content.digest);
            if let Some(content) = content.filter(|it| !state.releases.index().is_content_named(*it)) {
                contents::forget(state, content);
            }
        }
    }
}

/// Every release that a stage names.
fn releases_of(stage: &Stage) -> Vec<Digest> {
    let Some(deploy) = stage.deploy() else { return Vec::new() };
    let back = match &deploy.direction {
        Direction::Back { to: RollbackTarget::Restore { release }, .. } => Some(*release),
        Direction::Back { to: RollbackTarget::Stop { .. }, .. } | Direction::Forward => None,
    };
    let restore = deploy.attempt.as_ref().and_then(|attempt| attempt.restore);
    [Some(deploy.release), back, restore].into_iter().flatten().collect()
}
