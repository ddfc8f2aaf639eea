//! What the end of an assignment means for its stage and installation.

use std::sync::Arc;

use trimaran_model::reason::ReasonCode;
use trimaran_model::run::Status;
use trimaran_model::verdict::Verdict;
use trimaran_wire::v1::assignment::{WireFailure, WireOutcome};
use trimaran_wire::v1::row::{self, RollbackTarget};

use super::assign::{End, withdraw};
use super::{broken, installation, message, planned, rollback, set, stage_name, with_rollback_reason, words};
use crate::state::{State, is_rollback, run_key, status};

/// How many releases an installation remembers as good.
const GOOD_MAX: usize = 5;

/// Takes the result of a live assignment.
pub(crate) fn take(state: &mut State, row: &row::AssignmentRow, outcome: &WireOutcome) {
    withdraw(state, row.assignment.id, End::Taken);
    let Some(mut run) = state.runs.get(&run_key(&row.assignment.run)).cloned() else { return };
    let found = run.stages.iter().position(|stage| stage.assignment == Some(row.assignment.id));
    let Some(index) = found else { return };
    let before = run.clone();
    run.stages[index].assignment = None;
    if status(&run.status).is_done() {
        return broken::result(state, &before, run, index);
    }
    if run.stages[index].rollback_target.is_some() || is_rollback(&run) {
        rollback_target(state, &mut run, index, outcome, row.cancel);
    } else {
        forward(state, &mut run, index, outcome, row);
    }
    super::store(state, &before, &mut run);
    state.wake(&run.id);
}

fn forward(
    state: &mut State,
    run: &mut row::Run,
    index: usize,
    outcome: &WireOutcome,
    row: &row::AssignmentRow,
) {
    // Whether the run was canceled, or goes back somewhere else: nothing is restored and nothing is paused.
    let ends = |run: &row::Run| run.canceled_by.is_some() || run.rollback.is_some();
    match outcome {
        WireOutcome::Done => wave_done(state, run, index, &row.assignment.hosts),
        WireOutcome::Failed(failure) => {
            run.stages[index].failure = Some(failure.clone());
            degrade(state, run, index, failure);
            if run.canceled_by.is_some() {
                let message = words(failure, &stage_name(&run.stages[index]));
                end_early(state, run, index, Some(message));
            } else {
                rollback::after_failure(state, run, index, failure);
            }
        }
        WireOutcome::Fault(failure) if ends(run) => {
            let message = words(failure, &stage_name(&run.stages[index]));
            end_early(state, run, index, Some(message));
        }
        WireOutcome::Fault(failure) => run.stages[index].paused = Some(failure.clone()),
        WireOutcome::Stopped if ends(run) => end_early(state, run, index, None),
        WireOutcome::Stopped => run.stages[index].paused = Some(interrupted()),
    }
}

/// An agent ended work that nobody asked to end.
fn interrupted() -> WireFailure {
    WireFailure {
        code: ReasonCode::Interrupted.as_str().to_owned(),
        message: "the agent ended the work before it was finished".to_owned(),
        instance: None,
    }
}

/// The stage ends without a release of its own, because its run does.
fn end_early(state: &mut State, run: &mut row::Run, index: usize, also: Option<String>) {
    let mut message = match &run.canceled_by {
        Some(by) => format!("{by} canceled the run"),
        None => {
            "the run goes back, and this stage is outside of what the rollback's scope restores".to_owned()
        }
    };
    if let Some(also) = also {
        message = format!("{message}; at its end {also}");
    }
    let reason = state.waits(ReasonCode::Canceled, message);
    set(state, &mut run.stages[index], Status::Canceled, vec![reason]);
}

fn wave_done(state: &mut State, run: &mut row::Run, index: usize, hosts: &[String]) {
    let plan = Arc::clone(&run.plan);
    let Some((_, planned)) = planned(&plan, &run.stages[index]) else { return };
    let stage = &mut run.stages[index];
    if (stage.wave as usize) + 1 < stage.waves.len() {
        stage.wave += 1;
        if planned.pause_between_ms > 0 {
            stage.pause_until = Some(state.now().0 + planned.pause_between_ms);
        }
        return;
    }
    let target = state.targets.get(&planned.target);
    let came = target.is_some_and(|target| state.hosts_of(target).iter().any(|host| !hosts.contains(host)));
    if came {
        // Hosts that came meanwhile get the last wave's next assignment.
        return;
    }
    set(state, stage, Status::Succeeded, Vec::new());
    let now = state.now().0;
    let before = run.stages[index].restore.filter(|before| *before != planned.release_digest);
    let here = state.installation(&run.id.pipeline, &planned.target);
    // The same release once more has still the same one before it.
    let again = here.filter(|it| it.current == Some(planned.release_digest)).and_then(|it| it.before);
    installed(state, run, index, planned.release_digest, |it| {
        it.before = before.or(again);
        if planned.bake_ms == 0 {
            mark_stable(it, planned.release_digest);
        } else {
            it.bake_until = Some(now + planned.bake_ms);
        }
    });
}

fn rollback_target(
    state: &mut State,
    run: &mut row::Run,
    index: usize,
    outcome: &WireOutcome,
    asked_to_end: bool,
) {
    match outcome {
        WireOutcome::Done => match run.stages[index].rollback_target.clone() {
            Some(RollbackTarget::Stop) => stopped(state, run, index),
            Some(RollbackTarget::Restore(to)) => {
                let left = release_of(run, index);
                restored(state, run, index, (left, to), Status::RolledBack);
            }
            None => {
                let Some(to) = release_of(run, index) else { return };
                let left = installation(state, run, &run.stages[index]).and_then(|it| it.current);
                restored(state, run, index, (left, to), Status::Succeeded);
            }
        },
        WireOutcome::Failed(failure) => {
            degrade(state, run, index, failure);
            let code = ReasonCode::RevertFailed;
            let message = message(failure, &stage_name(&run.stages[index]), code);
            failed_on_the_way(state, run, index, code, message);
        }
        WireOutcome::Fault(_) | WireOutcome::Stopped if asked_to_end => {
            failed_on_the_way(
                state,
                run,
                index,
                ReasonCode::Canceled,
                "the way back was canceled".to_owned(),
            );
        }
        WireOutcome::Fault(failure) => run.stages[index].paused = Some(failure.clone()),
        WireOutcome::Stopped => run.stages[index].paused = Some(interrupted()),
    }
}

fn failed_on_the_way(state: &State, run: &mut row::Run, index: usize, code: ReasonCode, message: String) {
    let stage = &mut run.stages[index];
    let reasons = with_rollback_reason(stage, vec![state.waits(code, message)]);
    set(state, stage, Status::RollbackFailed, reasons);
}

/// There was nothing to go back to: the release is stopped, and the stage failed.
fn stopped(state: &mut State, run: &mut row::Run, index: usize) {
    let message = "there is no earlier good release, so the failed one was stopped";
    let mut reasons = with_rollback_reason(&run.stages[index], Vec::new());
    reasons.push(state.waits(ReasonCode::NoEarlierRelease, message));
    set(state, &mut run.stages[index], Status::Failed, reasons);
    if let Some(it) = installation(state, run, &run.stages[index]).cloned() {
        let left = release_of(run, index);
        let stable_releases = it
            .stable_releases
            .iter()
            .copied()
            .filter(|stable_releases| Some(*stable_releases) != left)
            .collect();
        state.installations.put(row::Installation {
            current: None,
            run: None,
            bake_until: None,
            updated: 0,
            down: 0,
            mixed: None,
            health: Verdict::Missing.as_str().to_owned(),
            stable_releases,
            ..it
        });
    }
}

/// The release that the stage is for.
fn release_of(run: &row::Run, index: usize) -> Option<[u8; 32]> {
    planned(&run.plan, &run.stages[index]).map(|(_, planned)| planned.release_digest)
}

/// A restored release was good before and is good again, or begins its bake anew; the one that was left is good no more, so that no
/// later way back leads to it.
fn restored(
    state: &mut State,
    run: &mut row::Run,
    index: usize,
    (left, to): (Option<[u8; 32]>, [u8; 32]),
    status: Status,
) {
    let reasons = match status {
        Status::Succeeded => Vec::new(),
        _ => with_rollback_reason(&run.stages[index], Vec::new()),
    };
    set(state, &mut run.stages[index], status, reasons);
    let bake = planned(&run.plan, &run.stages[index]).map(|(_, it)| it.bake_ms).filter(|bake| *bake > 0);
    let bake_end = bake.map(|bake| state.now().0 + bake);
    installed(state, run, index, to, |it| {
        it.stable_releases.retain(|stable_releases| Some(*stable_releases) != left);
        it.before = None;
        match bake_end {
            Some(end) if status == Status::RolledBack && !it.stable_releases.contains(&to) => {
                it.bake_until = Some(end)
            }
            _ => mark_stable(it, to),
        }
    });
}

/// The installation runs `digest` now, by this run.
fn installed(
    state: &mut State,
    run: &row::Run,
    index: usize,
    digest: [u8; 32],
    change: impl FnOnce(&mut row::Installation),
) {
    let Some(mut it) = installation(state, run, &run.stages[index]).cloned() else { return };
    if it.current != Some(digest) {
        it.since_ms = state.wall().0;
    }
    it.current = Some(digest);
    it.run = Some(run.id.clone());
    it.health = Verdict::Healthy.as_str().to_owned();
    (it.failure, it.mixed) = (None, None);
    it.bake_until = None;
    // Hosts that failed within the budget have what they had before.
    it.updated = run.stages[index].done.min(it.desired);
    change(&mut it);
    state.installations.put(it);
}

/// Puts a release first among the good ones.
pub(crate) fn mark_stable(it: &mut row::Installation, digest: [u8; 32]) {
    it.bake_until = None;
    it.stable_releases.retain(|stable_releases| *stable_releases != digest);
    it.stable_releases.insert(0, digest);
    it.stable_releases.truncate(GOOD_MAX);
}

/// What the stage works on is unhealthy, for this failure.
fn degrade(state: &mut State, run: &row::Run, index: usize, failure: &WireFailure) {
    if let Some(it) = installation(state, run, &run.stages[index]).cloned() {
        let (health, failure) = (Verdict::Degraded.as_str().to_owned(), Some(failure.clone()));
        state.installations.put(row::Installation { health, failure, ..it });
    }
}
