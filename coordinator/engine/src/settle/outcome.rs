//! What the end of an assignment means for its stage and installation.

use trimaran_model::reason::ReasonCode;
use trimaran_model::run::{RunKind, Status};
use trimaran_wire::v1::assignment::{WireFailure, WireOutcome};
use trimaran_wire::v1::row::{self, WayBack};

use super::assign::withdraw;
use super::{back, set};
use crate::state::{State, installation_key, run_key, status};

/// How many releases an installation remembers as good.
const GOOD_MAX: usize = 5;

/// Takes the result of a live assignment.
pub(crate) fn take(state: &mut State, row: &row::AssignmentRow, outcome: &WireOutcome) {
    withdraw(state, row.assignment.id);
    let Some(mut run) = state.runs.get(&run_key(&row.assignment.run)).cloned() else { return };
    let found = run.stages.iter().position(|stage| stage.assignment == Some(row.assignment.id));
    let Some(index) = found else { return };
    run.stages[index].assignment = None;
    if !status(&run.status).is_done() {
        if run.stages[index].way_back.is_some() || run.kind == RunKind::Rollback.as_str() {
            way_back(state, &mut run, index, outcome);
        } else {
            forward(state, &mut run, index, outcome);
        }
    }
    let id = run.id.clone();
    run.revision = state.revision;
    state.runs.put(run);
    state.wake(&id);
}

fn forward(state: &mut State, run: &mut row::Run, index: usize, outcome: &WireOutcome) {
    match outcome {
        WireOutcome::Done => wave_done(state, run, index),
        WireOutcome::Failed(failure) => {
            run.stages[index].failure = Some(failure.clone());
            installation_health(state, run, index, "degraded", Some(failure));
            back::after_failure(state, run, index, failure);
        }
        WireOutcome::Fault(failure) => run.stages[index].paused = Some(failure.clone()),
        WireOutcome::Stopped => {
            let by = run.canceled_by.clone();
            let message = by.map_or("the work was ended".to_owned(), |by| format!("{by} canceled the run"));
            let reason = state.reason(ReasonCode::Canceled, message, "wait", &[]);
            set(state, &mut run.stages[index], Status::Canceled, vec![reason]);
        }
    }
}

fn wave_done(state: &mut State, run: &mut row::Run, index: usize) {
    let planned = run
        .plan
        .environments
        .iter()
        .find(|it| it.name == run.stages[index].environment)
        .and_then(|it| it.stages.iter().find(|it| Some(&it.target) == run.stages[index].target.as_ref()))
        .cloned();
    let Some(planned) = planned else { return };
    let stage = &mut run.stages[index];
    stage.wave += 1;
    if (stage.wave as usize) < stage.waves.len() {
        if planned.pause_between_ms > 0 {
            stage.pause_until = Some(state.now().0 + planned.pause_between_ms);
        }
        return;
    }
    stage.wave = u32::try_from(stage.waves.len()).unwrap_or(u32::MAX).saturating_sub(1);
    set(state, stage, Status::Succeeded, Vec::new());
    let now = state.now().0;
    installed(state, run, index, planned.release_digest, |it| {
        if planned.bake_ms == 0 {
            make_good(it, planned.release_digest);
        } else {
            it.bake_until = Some(now + planned.bake_ms);
        }
    });
}

fn way_back(state: &mut State, run: &mut row::Run, index: usize, outcome: &WireOutcome) {
    let own = run.kind == RunKind::Rollback.as_str();
    match outcome {
        WireOutcome::Done => match run.stages[index].way_back.clone() {
            Some(WayBack::Stop) => {
                let message = "there is no earlier good release, so the failed one was stopped".to_owned();
                let stopped = state.reason(ReasonCode::NoEarlierRelease, message, "wait", &[]);
                let mut reasons = run.stages[index].reasons.clone();
                reasons.push(stopped);
                set(state, &mut run.stages[index], Status::Failed, reasons);
                let (pipeline, target) =
                    (run.id.pipeline.clone(), run.stages[index].target.clone().unwrap_or_default());
                if let Some(it) = state.installation(&pipeline, &target).cloned() {
                    let changed =
                        row::Installation { current: None, run: None, health: "missing".to_owned(), ..it };
                    state.installations.put(changed);
                }
            }
            Some(WayBack::Restore(to)) => restored(state, run, index, to, Status::RolledBack),
            None if own => {
                let to = own_release(run, index);
                restored(state, run, index, to, Status::Succeeded);
            }
            None => {}
        },
        WireOutcome::Failed(failure) => {
            installation_health(state, run, index, "degraded", Some(failure));
            let place = failure.instance.clone().unwrap_or_default();
            let message = format!("{place}: {}: {}", failure.code, failure.message);
            let reason = state.reason(ReasonCode::RevertFailed, message, "wait", &[]);
            set(state, &mut run.stages[index], Status::RollbackFailed, vec![reason]);
        }
        WireOutcome::Fault(failure) => run.stages[index].paused = Some(failure.clone()),
        WireOutcome::Stopped => {
            let reason =
                state.reason(ReasonCode::Canceled, "the way back was canceled".to_owned(), "wait", &[]);
            set(state, &mut run.stages[index], Status::RollbackFailed, vec![reason]);
        }
    }
}

fn own_release(run: &row::Run, index: usize) -> [u8; 32] {
    let target = run.stages[index].target.as_ref();
    let stages = run.plan.environments.iter().flat_map(|it| &it.stages);
    stages.filter(|it| Some(&it.target) == target).map(|it| it.release_digest).next().unwrap_or_default()
}

/// A restored release was good before and is good again.
fn restored(state: &mut State, run: &mut row::Run, index: usize, to: [u8; 32], status: Status) {
    let reasons = if status == Status::Succeeded { Vec::new() } else { run.stages[index].reasons.clone() };
    set(state, &mut run.stages[index], status, reasons);
    installed(state, run, index, to, |it| make_good(it, to));
}

/// The installation runs `digest` now, by this run.
fn installed(
    state: &mut State,
    run: &row::Run,
    index: usize,
    digest: [u8; 32],
    change: impl FnOnce(&mut row::Installation),
) {
    let target = run.stages[index].target.clone().unwrap_or_default();
    let Some(mut it) = state.installation(&run.id.pipeline, &target).cloned() else { return };
    if it.current != Some(digest) {
        it.since_ms = state.wall().0;
    }
    it.current = Some(digest);
    it.run = Some(run.id.clone());
    it.health = "healthy".to_owned();
    it.failure = None;
    it.updated = it.desired;
    change(&mut it);
    state.installations.put(it);
}

/// Puts a release first among the good ones.
pub(crate) fn make_good(it: &mut row::Installation, digest: [u8; 32]) {
    it.bake_until = None;
    it.good.retain(|good| *good != digest);
    it.good.insert(0, digest);
    it.good.truncate(GOOD_MAX);
}

fn installation_health(
    state: &mut State,
    run: &row::Run,
    index: usize,
    health: &str,
    failure: Option<&WireFailure>,
) {
    let target = run.stages[index].target.clone().unwrap_or_default();
    let key = installation_key(&trimaran_wire::v1::common::WireInstallation {
        pipeline: run.id.pipeline.clone(),
        target,
    });
    if let Some(it) = state.installations.get(&key).cloned() {
        state.installations.put(row::Installation {
            health: health.to_owned(),
            failure: failure.cloned(),
            ..it
        });
    }
}
