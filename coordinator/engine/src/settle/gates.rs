//! What holds a stage before it starts: earlier runs, earlier environments, approvals, cancellation.

use trimaran_model::reason::ReasonCode;
use trimaran_model::run::{RunKind, Status};
use trimaran_model::time::{Millis, Wall};
use trimaran_wire::v1::row;

use super::{back, set, stage_name};
use crate::state::{State, status};

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
    if run.kind == RunKind::Rollback.as_str() || run.stages.iter().any(|stage| stage.attempt > 0) {
        return None;
    }
    let before = state
        .live_runs()
        .filter(|other| other.id.pipeline == run.id.pipeline && other.sequence < run.sequence)
        .count();
    (before > 0).then_some(before)
}

fn queue(state: &State, run: &mut row::Run, position: usize) {
    let first = state
        .live_runs()
        .filter(|other| other.id.pipeline == run.id.pipeline && other.sequence < run.sequence)
        .map(|other| format!("{}#{}", other.id.pipeline, other.id.number))
        .next()
        .unwrap_or_default();
    let message = format!("`{first}` of the same pipeline is not done; position {position} in the queue");
    let reason = state.reason(ReasonCode::Concurrency, message, "wait", &[]);
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
            let message = format!("{by} canceled the run; hosts in flight finish or revert");
            run.stages[index].reasons = vec![state.reason(ReasonCode::Canceling, message, "wait", &[])];
        } else {
            let reason = state.reason(ReasonCode::Canceled, format!("{by} canceled the run"), "wait", &[]);
            set(state, &mut run.stages[index], Status::Canceled, vec![reason]);
        }
    }
}

/// The stages of one environment: done well, failed, or not done.
fn environment_gate(state: &mut State, run: &mut row::Run, name: &str) {
    let planned = run.plan.environments.iter().find(|it| it.name == name).cloned();
    let Some(planned) = planned else { return };
    let mut waits_for = Vec::new();
    for stage in run.stages.iter().filter(|stage| planned.after.contains(&stage.environment)) {
        let upstream = status(&stage.status);
        if upstream.is_done() && !upstream.lets_dependents_start() {
            return upstream_failed(state, run, name, &stage_name(stage).clone(), upstream);
        }
        if !upstream.lets_dependents_start() && !waits_for.contains(&stage.environment) {
            waits_for.push(stage.environment.clone());
        }
    }
    let ending = run.rollback.is_some();
    if !waits_for.is_empty() && !ending {
        let message = format!("`{}` is not done", waits_for.join("`, `"));
        let reason = state.reason(ReasonCode::After, message, "wait", &[]);
        return for_untouched(state, run, name, Status::Pending, &reason);
    }
    if ending {
        let message = "the run goes back, so this stage never starts".to_owned();
        let reason = state.reason(ReasonCode::UpstreamFailed, message, "wait", &[]);
        return for_untouched(state, run, name, Status::Canceled, &reason);
    }
    if let Some(approve) = &planned.approve {
        approval(state, run, name, approve);
    }
}

/// Changes the stages of an environment that have not begun.
fn for_untouched(
    state: &State,
    run: &mut row::Run,
    environment: &str,
    to: Status,
    reason: &trimaran_wire::v1::common::WireReason,
) {
    for stage in run.stages.iter_mut().filter(|stage| stage.environment == environment) {
        let begun = stage.attempt > 0 || status(&stage.status).is_done() || stage.decision.is_some();
        if !begun {
            set(state, stage, to, vec![reason.clone()]);
        }
    }
}

fn upstream_failed(state: &State, run: &mut row::Run, environment: &str, upstream: &str, was: Status) {
    let message = format!("`{upstream}` is {}", was.as_str().replace('_', " "));
    let reason = state.reason(ReasonCode::UpstreamFailed, message, "wait", &[]);
    for_untouched(state, run, environment, Status::Canceled, &reason);
}

fn approval(
    state: &mut State,
    run: &mut row::Run,
    environment: &str,
    approve: &trimaran_wire::v1::plan::WireApprove,
) {
    let found =
        run.stages.iter().position(|stage| stage.environment == environment && stage.target.is_none());
    let Some(index) = found else { return };
    if status(&run.stages[index].status).is_done() {
        return;
    }
    if let Some(decision) = run.stages[index].decision.clone() {
        return decided(state, run, index, &decision);
    }
    let expires = *run.stages[index]
        .expires_ms
        .get_or_insert_with(|| (Wall(state.wall().0) + Millis(approve.timeout_ms)).0);
    if state.wall().0 >= expires {
        let reason = state.reason(
            ReasonCode::ApprovalExpired,
            "nobody chose before the timeout".to_owned(),
            "wait",
            &[],
        );
        set(state, &mut run.stages[index], Status::Stopped, vec![reason]);
        return;
    }
    let id = format!("{}#{}", run.id.pipeline, run.id.number);
    let message = format!("`{environment}` waits for one of: {}", approve.options.join(", "));
    let first = approve.options.first().cloned().unwrap_or_default();
    let clears = format!("trimaran approve {id}/{environment}/approve --option {first}");
    let mut reason = state.reason(ReasonCode::Approval, message, &clears, &["operator", "admin"]);
    reason.next_check = Some(expires);
    set(state, &mut run.stages[index], Status::Waiting, vec![reason]);
    if run.stages[index].started_ms.is_none() {
        run.stages[index].started_ms = Some(state.wall().0);
    }
    let held = state.reason(
        ReasonCode::Approval,
        format!("`{environment}/approve` is not decided"),
        &clears,
        &["operator", "admin"],
    );
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
            let reason = state.reason(ReasonCode::RolledBackByChoice, message.clone(), "wait", &[]);
            set(state, &mut run.stages[index], Status::RolledBack, vec![reason]);
            back::whole_run(state, run, &message);
        }
        _ => {
            let message = format!("{} chose to stop", decision.by);
            let reason = state.reason(ReasonCode::Canceled, message, "wait", &[]);
            set(state, &mut run.stages[index], Status::Stopped, vec![reason]);
        }
    }
}
