//! Settling: a pure pass that moves a run as far as it can go now.
//!
//! Everything that holds a run is a reason on its stages; whatever changes a resource wakes the runs that may
//! wait for it. A defect met on the way parks the run ([`broken`]). One file a concern.

pub mod assign;
pub(crate) mod assignment_result;
pub(crate) mod broken;
mod finish;
mod gates;
mod partial;
pub(crate) mod rollback;
pub mod rollback_target;

use std::convert::Infallible;

use trimaran_model::limits::SETTLE_RUNS_PER_ENTRY_MAX;
use trimaran_model::reason::ReasonCode;
use trimaran_model::run::Status;
use trimaran_wire::v1::assignment::WireFailure;
use trimaran_wire::v1::common::{WireReason, WireRun};
use trimaran_wire::v1::plan::{WirePlan, WirePlannedEnvironment, WirePlannedStage};
use trimaran_wire::v1::row;

use crate::event::Event;
use crate::state::{State, run_key, status};
use crate::transaction::attempt;

/// `prod/lab-prod`, `prod/approve`.
pub fn stage_name(stage: &row::Stage) -> String {
    format!("{}/{}", stage.environment, stage.target.as_deref().unwrap_or("approve"))
}

/// What the plan says of a stage and of its environment; `None` for an approval.
pub fn planned<'a>(
    plan: &'a WirePlan,
    stage: &row::Stage,
) -> Option<(&'a WirePlannedEnvironment, &'a WirePlannedStage)> {
    let environment = plan.environments.iter().find(|it| it.name == stage.environment)?;
    let planned = environment.stages.iter().find(|it| Some(&it.target) == stage.target.as_ref())?;
    Some((environment, planned))
}

/// The installation that a stage works on; `None` for an approval, and before its first assignment.
fn installation<'a>(state: &'a State, run: &row::Run, stage: &row::Stage) -> Option<&'a row::Installation> {
    state.installation(&run.id.pipeline, stage.target.as_deref()?)
}

/// Settles queued runs, at most a bounded number; the rest waits for the next entry.
pub(crate) fn drain(state: &mut State) {
    for _ in 0..SETTLE_RUNS_PER_ENTRY_MAX {
        let Some(key) = state.settle.first_key() else { return };
        let Some(queued) = state.settle.remove(&key) else { return };
        let settled = attempt(state, |state| {
            settle(state, &queued.run);
            Ok::<_, Infallible>(())
        });
        if settled.is_err() {
            broken::park(state, &queued.run);
        }
    }
}

/// Moves one run until nothing more moves.
pub(crate) fn settle(state: &mut State, id: &WireRun) {
    let Some(before) = state.runs.get(&run_key(id)).cloned() else { return };
    if status(&before.status).is_done() {
        return;
    }
    if mutant!(PanicInSettle) && before.canceled_by.is_some() {
        panic!("the mutant of this name");
    }
    let mut run = before.clone();
    // Each round moves at least one stage onward, and a stage has fewer moves than there are statuses.
    for _ in 0..run.stages.len() * 4 + 4 {
        let round = run.clone();
        gates::open(state, &mut run);
        assign::all(state, &mut run);
        if run == round {
            break;
        }
    }
    finish::look(state, &mut run);
    store(state, &before, &mut run);
    if status(&run.status).is_done() {
        finish::done(state, &run);
    }
}

/// Stores the run when it changed and tells watchers what.
pub(crate) fn store(state: &mut State, before: &row::Run, run: &mut row::Run) {
    keep_since(before, run);
    if run == before {
        return;
    }
    run.revision = state.revision;
    for (old, new) in before.stages.iter().zip(&run.stages) {
        if old.status != new.status || old.reasons != new.reasons {
            let (stage, reasons) = (stage_name(new), new.reasons.clone());
            state.events.push(Event::Stage {
                run: run.id.clone(),
                stage,
                status: new.status.clone(),
                reasons,
            });
        }
    }
    partial::record(state, before, run);
    if before.status != run.status {
        state.events.push(Event::Run { run: run.id.clone(), status: run.status.clone() });
    }
    state.runs.put(run.clone());
}

/// A reason that is still the same has been so since it began.
fn keep_since(before: &row::Run, run: &mut row::Run) {
    let same = |a: &WireReason, b: &WireReason| a.code == b.code && a.message == b.message;
    let keep = |old: &[WireReason], new: &mut Vec<WireReason>| {
        for reason in new {
            if let Some(known) = old.iter().find(|known| same(known, reason)) {
                reason.since = known.since;
            }
        }
    };
    keep(&before.reasons, &mut run.reasons);
    for (old, new) in before.stages.iter().zip(&mut run.stages) {
        keep(&old.reasons, &mut new.reasons);
    }
}

/// A stage that goes back says why beside everything else.
pub(crate) fn with_rollback_reason(stage: &row::Stage, mut reasons: Vec<WireReason>) -> Vec<WireReason> {
    reasons.extend(stage.rollback_reason.clone());
    reasons
}

/// The words of a failure, where no code stands beside them: `host-3: probe_failed: 503 Service Unavailable`.
pub(crate) fn words(failure: &WireFailure, place: &str) -> String {
    let place = failure.instance.as_deref().unwrap_or(place);
    format!("{place}: {}: {}", failure.code, failure.message)
}

/// The message of a failure in a reason of this code: its own code is not said twice.
pub(crate) fn message(failure: &WireFailure, place: &str, code: ReasonCode) -> String {
    if failure.code != code.as_str() {
        return words(failure, place);
    }
    let place = failure.instance.as_deref().unwrap_or(place);
    format!("{place}: {}", failure.message)
}

/// Sets a stage's status and reasons; the first start and the end are kept.
pub(crate) fn set(state: &State, stage: &mut row::Stage, to: Status, reasons: Vec<WireReason>) {
    stage.status = to.as_str().to_owned();
    stage.reasons = reasons;
    // A stage of a rollback run that only stops something is never `running`.
    if matches!(to, Status::Running | Status::RollingBack) && stage.started_ms.is_none() {
        stage.started_ms = Some(state.wall().0);
    }
    if to.is_done() && stage.finished_ms.is_none() {
        stage.finished_ms = Some(state.wall().0);
    }
}
