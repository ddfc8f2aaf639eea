//! What holds a stage before it starts: earlier runs, earlier environments, approvals, cancellation.

use trimaran_model::reason::ReasonCode;
use trimaran_model::run::Status;
use trimaran_model::time::{Millis, WallTime};
use trimaran_wire::v1::common::WireReason;
use trimaran_wire::v1::plan::WireApprove;
use trimaran_wire::v1::row;

use super::{rollback, set, stage_name, with_rollback_reason};
use crate::state::{State, is_rollback, run_name, status};

/// Opens what is free and says why the rest is not.
pub(super) fn open(state: &mut State, run: &mut row::Run) {
    if run.canceled_by.is_some() {
        return cancel(state, run);
    }
    if let Some(position) = queue_position(state, run) {
        return queue(state, run, position);
    }
    if run.status == Status::Pending.as_str() || run.status == Status::Queued.as_str() {
        run.status = Status::Running.as_str().to_owned();
        run.reasons.clear();
    }
    let environments: Vec<String> = run.plan.environments.iter().map(|it| it.name.clone()).collect();
    for environment in environments {
        environment_gate(state, run, &environment);
    }
}

/// How many live runs of the pipeline come before this one. Ways back do not queue.
fn queue_position(state: &State, run: &row::Run) -> Option<usize> {
    if is_rollback(run) || run.stages.iter().any(|stage| stage.attempt > 0) {
        return None;
    }
    let before = state.live_runs_of(&run.id.pipeline).filter(|other| other.sequence < run.sequence).count();
    (before > 0).then_some(before)
}

fn queue(state: &State, run: &mut row::Run, position: usize) {
    let first = state
        .live_runs_of(&run.id.pipeline)
        .filter(|other| other.sequence < run.sequence)
        .map(|other| run_name(&other.id))
        .next()
        .unwrap_or_default();
    let message = format!("`{first}` of the same pipeline is not done; position {position} in the queue");
    let reason = state.waits(ReasonCode::Concurrency, message);
    run.status = Status::Queued.as_str().to_owned();
    run.reasons = vec![reason.clone()];
    for stage in &mut run.stages {
        set(state, stage, Status::Queued, vec![reason.clone()]);
    }
}

/// Nothing starts any more; assignments are told to finish or revert what is in flight.
fn cancel(state: &mut State, run: &mut row::Run) {
    let by = run.canceled_by.clone().unwrap_or_default();
    for index in 0..run.stages.len() {
        if status(&run.stages[index].status).is_done() {
            continue;
        }
        if let Some(assignment) = run.stages[index].assignment {
            super::assign::ask_to_cancel(state, assignment);
            continue;
        }
        let reason = state.waits(ReasonCode::Canceled, format!("{by} canceled the run"));
        let stage = &mut run.stages[index];
        let to = if stage.rollback_target.is_some() { Status::RollbackFailed } else { Status::Canceled };
        let reasons = with_rollback_reason(stage, vec![reason]);
        set(state, stage, to, reasons);
    }
}

/// The stages of one environment: done well, failed, or not done.
fn environment_gate(state: &mut State, run: &mut row::Run, name: &str) {
    let planned = run.plan.environments.iter().find(|it| it.name == name).cloned();
    let Some(planned) = planned else { return };
    if run.rollback.is_some() {
        return leave_as_it_is(state, run, name);
    }
    let mut waits_for = Vec::new();
    for stage in run.stages.iter().filter(|stage| planned.after.contains(&stage.environment)) {
        let upstream = status(&stage.status);
        if upstream.is_done() && !upstream.lets_dependents_start() {
            let message = format!("`{}` is {}", stage_name(stage), upstream.as_str().replace('_', " "));
            let reason = state.waits(ReasonCode::UpstreamFailed, message);
            return for_untouched(state, run, name, Status::Canceled, &reason);
        }
        if !upstream.lets_dependents_start() && !waits_for.contains(&stage.environment) {
            waits_for.push(stage.environment.clone());
        }
    }
    if !waits_for.is_empty() {
        let message = format!("`{}` is not done", waits_for.join("`, `"));
        let reason = state.waits(ReasonCode::After, message);
        return for_untouched(state, run, name, Status::Pending, &reason);
    }
    if let Some(approve) = &planned.approve {
        approval(state, run, name, approve);
    }
}

/// The run goes back: what has no part in it and no work in flight ends where it is.
fn leave_as_it_is(state: &State, run: &mut row::Run, environment: &str) {
    for stage in run.stages.iter_mut().filter(|stage| stage.environment == environment) {
        let idle = stage.assignment.is_none() && stage.rollback_target.is_none();
        if idle && !status(&stage.status).is_done() {
            let message = match stage.attempt {
                0 => "the run goes back, so this stage never starts",
                _ => "the run goes back, and this stage is outside of what the rollback's scope restores",
            };
            let reason = state.waits(ReasonCode::UpstreamFailed, message);
            set(state, stage, Status::Canceled, vec![reason]);
        }
    }
}

/// Changes the stages of an environment that have not begun.
fn for_untouched(state: &State, run: &mut row::Run, environment: &str, to: Status, reason: &WireReason) {
    for stage in run.stages.iter_mut().filter(|stage| stage.environment == environment) {
        let begun = stage.attempt > 0 || status(&stage.status).is_done() || stage.decision.is_some();
        if !begun {
            set(state, stage, to, vec![reason.clone()]);
        }
    }
}

fn approval(state: &mut State, run: &mut row::Run, environment: &str, approve: &WireApprove) {
    let found =
        run.stages.iter().position(|stage| stage.environment == environment && stage.target.is_none());
    let Some(index) = found else { return };
    if let Some(decision) = run.stages[index].decision.clone()
        && !status(&run.stages[index].status).is_done()
    {
        decided(state, run, index, &decision);
    }
    match status(&run.stages[index].status) {
        Status::Succeeded => return,
        done if done.is_done() => {
            let message = format!("`{environment}/approve` is {}", done.as_str().replace('_', " "));
            let reason = state.waits(ReasonCode::UpstreamFailed, message);
            return for_untouched(state, run, environment, Status::Canceled, &reason);
        }
        _ => {}
    }
    let expires = *run.stages[index]
        .expires_ms
        .get_or_insert_with(|| (WallTime(state.wall().0) + Millis(approve.timeout_ms)).0);
    if state.wall().0 >= expires {
        let reason = state.waits(ReasonCode::ApprovalExpired, "nobody chose before the timeout");
        set(state, &mut run.stages[index], Status::Stopped, vec![reason]);
        return;
    }
    wait_for_approval(state, run, index, approve, expires);
}

fn wait_for_approval(state: &State, run: &mut row::Run, index: usize, approve: &WireApprove, expires: i64) {
    let environment = run.stages[index].environment.clone();
    let first = approve.options.first().cloned().unwrap_or_default();
    let clears = format!("trimaran approve {}/{environment}/approve --option {first}", run_name(&run.id));
    let message = format!("`{environment}` waits for one of: {}", approve.options.join(", "));
    let waits = |message| WireReason {
        next_check: Some(expires),
        ..state.asks(ReasonCode::Approval, message, clears.clone())
    };
    let (gate, held) = (waits(message), waits(format!("`{environment}/approve` is not decided")));
    run.stages[index].started_ms.get_or_insert(state.wall().0);
    set(state, &mut run.stages[index], Status::Waiting, vec![gate]);
    for stage in run.stages.iter_mut().filter(|it| it.environment == environment && it.target.is_some()) {
        if stage.attempt == 0 {
            set(state, stage, Status::Blocked, vec![held.clone()]);
        }
    }
}

fn decided(state: &mut State, run: &mut row::Run, index: usize, decision: &row::Decision) {
    match decision.option.as_str() {
        "promote" => set(state, &mut run.stages[index], Status::Succeeded, Vec::new()),
        "roll_back" => {
            let message = format!("{} chose to roll back", decision.by);
            let reason = state.waits(ReasonCode::RolledBackByChoice, message.clone());
            set(state, &mut run.stages[index], Status::RolledBack, vec![reason]);
            rollback::whole_run(state, run, &message);
        }
        _ => {
            let reason = state.waits(ReasonCode::Canceled, format!("{} chose to stop", decision.by));
            set(state, &mut run.stages[index], Status::Stopped, vec![reason]);
        }
    }
}
