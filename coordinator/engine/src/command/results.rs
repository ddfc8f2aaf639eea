//! What agents report: progress, results, and verdicts after the end of an assignment.

use trimaran_model::error_code;
use trimaran_model::limits::INSTANCES_REPORTED_MAX;
use trimaran_wire::v1::agent::Progress;
use trimaran_wire::v1::assignment::{WireFailure, WireOutcome};
use trimaran_wire::v1::common::WireInstallation;
use trimaran_wire::v1::row;

use crate::event::Event;
use crate::request::{Outcome, Rejection, reject};
use crate::settle::{back, outcome as settle_outcome, stage_name};
use crate::state::{State, installation_key, run_key};

/// The assignment that an agent speaks of, when it is live, its own, and of this fence.
fn live(state: &State, agent: &str, assignment: u64, fence: u64) -> Option<row::AssignmentRow> {
    let row = state.assignments.get(&assignment)?;
    (row.agent == agent && row.assignment.fence == fence).then(|| row.clone())
}

fn stage_of(run: &row::Run, assignment: u64) -> Option<usize> {
    run.stages.iter().position(|stage| stage.assignment == Some(assignment))
}

pub(super) fn progress(state: &mut State, agent: &str, progress: &Progress) -> Result<Outcome, Rejection> {
    let Some(row) = live(state, agent, progress.assignment, progress.fence) else {
        return Ok(Outcome::ResultUnknown);
    };
    note(state, &row, progress);
    charge(state, row, &progress.failed);
    Ok(Outcome::ResultTaken)
}

/// What is left of the budget goes on with the assignment, so that a replaced agent can't spend it again.
fn charge(state: &mut State, mut row: row::AssignmentRow, failed: &[String]) {
    let wave = &mut row.assignment.wave;
    let new: Vec<&String> = failed.iter().filter(|host| !wave.failed.contains(host)).collect();
    if !new.is_empty() {
        wave.failures_left = wave.failures_left.saturating_sub(u32::try_from(new.len()).unwrap_or(u32::MAX));
        wave.failed.extend(new.into_iter().cloned());
        state.assignments.put(row);
    }
}

/// Takes numbers, failures and instances over into the stage and the installation.
fn note(state: &mut State, row: &row::AssignmentRow, progress: &Progress) {
    let Some(mut run) = state.runs.get(&run_key(&row.assignment.run)).cloned() else { return };
    let Some(index) = stage_of(&run, row.assignment.id) else { return };
    let stage = &mut run.stages[index];
    (stage.done, stage.total) = (progress.done, progress.total);
    for host in &progress.failed {
        if !stage.failed.contains(host) {
            stage.failed.push(host.clone());
        }
    }
    stage.failure = stage.failure.take().or_else(|| progress.failure.clone());
    stage.instances = progress.instances.iter().take(INSTANCES_REPORTED_MAX).cloned().collect();
    let name = stage_name(stage);
    let event =
        Event::Progress { run: run.id.clone(), stage: name, done: progress.done, total: progress.total };
    run.revision = state.revision;
    state.runs.put(run);
    state.events.push(event);
    if let Some(installation) = state.installations.get(&installation_key(&row.assignment.installation)) {
        let changed =
            row::Installation { desired: progress.total, updated: progress.done, ..installation.clone() };
        state.installations.put(changed);
    }
}

pub(super) fn result(
    state: &mut State,
    agent: &str,
    (assignment, fence): (u64, u64),
    outcome: &WireOutcome,
    progress: &Progress,
) -> Result<Outcome, Rejection> {
    if let Some(row) = live(state, agent, assignment, fence) {
        note(state, &row, progress);
        settle_outcome::take(state, &row, outcome);
        return Ok(Outcome::ResultTaken);
    }
    // Numbers grow and are given out once: one that was given out and is not live was answered or superseded.
    let meta = state.meta();
    if assignment == 0 || assignment > meta.assignment {
        return Ok(Outcome::ResultUnknown);
    }
    let newer = state.assignments.iter().find(|row| row.agent == agent && row.assignment.fence > fence);
    Ok(newer.map_or(Outcome::ResultTaken, |row| Outcome::ResultSuperseded { by: row.assignment.fence }))
}

pub(super) fn verdict(
    state: &mut State,
    agent: &str,
    id: &WireInstallation,
    fence: u64,
    verdict: &str,
    failure: Option<&WireFailure>,
) -> Result<Outcome, Rejection> {
    let Some(installation) = state.installations.get(&installation_key(id)).cloned() else {
        return Ok(Outcome::ResultUnknown);
    };
    let target = state.targets.get(&id.target);
    if target.is_none_or(|target| target.target.agent != agent) {
        return reject(error_code::DENIED, "another agent serves this installation");
    }
    if installation.fence != fence || installation.assignment.is_some() {
        return Ok(Outcome::ResultUnknown);
    }
    let bakes = installation.bake_until.is_some();
    let changed =
        row::Installation { health: verdict.to_owned(), failure: failure.cloned(), ..installation.clone() };
    state.installations.put(changed);
    state.events.push(Event::Installation { installation: id.clone(), health: verdict.to_owned() });
    if verdict == "degraded" && bakes {
        back::after_success(state, &installation, failure);
    }
    Ok(Outcome::ResultTaken)
}
