//! What holds a run or a stage before it starts: earlier runs, what it needs, cancellation, a rollback.

use trimaran_model::id::EnvironmentName;
use trimaran_model::run::Status;
use trimaran_model::why::{Reason, Why};

use super::assign::ask_to_cancel;
use crate::state::State;
use crate::state::run::{Run, RunGraph};
use crate::state::stage::{End, Held, Need, Stage};

/// Evaluates what concerns all stages of a run.
pub(super) fn evaluate_run(state: &mut State, graph: &mut RunGraph) {
    if graph.run.canceled_by.is_some() {
        return cancel(state, graph);
    }
    if let Some(reason) = earlier_runs(state, graph) {
        graph.run.status = Status::Queued;
        graph.run.reasons = vec![reason.clone()];
        graph.stages.iter_mut().for_each(|stage| stage.hold(Held::Queued, vec![reason.clone()]));
        return;
    }
    if matches!(graph.run.status, Status::Pending | Status::Queued) {
        graph.run.status = Status::Running;
        graph.run.reasons.clear();
    }
    if graph.run.rollback.is_some() {
        leave_as_it_is(state, graph);
    }
}

/// The live runs of the pipeline that come before this one. Rollbacks do not queue.
fn earlier_runs(state: &State, graph: &RunGraph) -> Option<Reason> {
    let run = &graph.run;
    let begun = |stage: &Stage| stage.deploy().is_some_and(|deploy| deploy.attempt.is_some());
    if run.restores() || graph.stages.iter().any(begun) {
        return None;
    }
    let earlier = |other: &&Run| other.sequence < run.sequence;
    let mut before = state.live_runs_of(&run.id.pipeline).filter(earlier);
    let first = before.next()?.id.clone();
    let position = u32::try_from(before.count()).unwrap_or(u32::MAX).saturating_add(1);
    Some(state.reason(Why::Concurrency { first, position }))
}

/// Nothing starts any more; assignments are asked to finish or revert what is in flight.
fn cancel(state: &mut State, graph: &mut RunGraph) {
    let by = graph.run.canceled_by.clone().expect("the caller looked");
    for stage in graph.stages.iter_mut().filter(|stage| !stage.is_done()) {
        match stage.assignment() {
            Some(assignment) => ask_to_cancel(state, assignment),
            None => {
                let reason = state.reason(Why::Canceled { by: by.clone(), then: None });
                let reasons = stage.with_rollback_reason(vec![reason]);
                stage.end(canceled(stage), reasons, state.wall());
            }
        }
    }
}

/// How a stage ends that is canceled.
pub(super) fn canceled(stage: &Stage) -> End {
    let goes_back = stage.deploy().is_some_and(|deploy| deploy.is_back());
    if goes_back { End::RollbackFailed } else { End::Canceled }
}

/// The run goes back: what has no part in it and no work in flight ends where it is.
fn leave_as_it_is(state: &State, graph: &mut RunGraph) {
    for stage in graph.stages.iter_mut().filter(|stage| !stage.is_done() && stage.assignment().is_none()) {
        let (begun, back) =
            stage.deploy().map_or((false, false), |deploy| (deploy.attempt.is_some(), deploy.is_back()));
        if !back {
            let why = if begun { Why::LeftAsItIs } else { Why::NeverStarts };
            stage.end(End::Canceled, vec![state.reason(why)], state.wall());
        }
    }
}

/// Holds or ends a stage that has not begun when what it needs does not let it; says whether it did.
pub(super) fn hold(state: &State, graph: &mut RunGraph, index: usize) -> bool {
    let stage = &graph.stages[index];
    debug_assert!(!stage.has_begun(), "gates hold what has not begun");
    let needed = stages(state, graph, index);
    let closed =
        if let Some(Closed::For(_)) = needed { needed } else { environments(state, graph, stage).or(needed) };
    match closed {
        None => return false,
        Some(Closed::Held(held, reason)) => graph.stages[index].hold(held, vec![reason]),
        Some(Closed::For(reason)) => graph.stages[index].end(End::Canceled, vec![reason], state.wall()),
    }
    true
}

/// A gate that is not open.
enum Closed {
    Held(Held, Reason),
    /// It never opens.
    For(Reason),
}

/// The environments that a stage needs.
fn environments(state: &State, graph: &RunGraph, stage: &Stage) -> Option<Closed> {
    let needed: Vec<&EnvironmentName> = stage
        .needs
        .iter()
        .filter_map(|need| match need {
            Need::Environment { environment } => Some(environment),
            Need::Stage { .. } => None,
        })
        .collect();
    let mut environments: Vec<EnvironmentName> = Vec::new();
    for other in graph.stages.iter().filter(|other| needed.contains(&&other.name.environment)) {
        let status = other.status();
        if status.is_done() && !status.lets_dependents_start() {
            return Some(Closed::For(upstream(state, other)));
        }
        if !status.lets_dependents_start() && !environments.contains(&other.name.environment) {
            environments.push(other.name.environment.clone());
        }
    }
    let waits = !environments.is_empty();
    waits.then(|| Closed::Held(Held::Pending, state.reason(Why::After { environments })))
}

/// The single stages that a stage needs: approvals.
fn stages(state: &State, graph: &RunGraph, index: usize) -> Option<Closed> {
    let needed = graph.stages[index].needs.iter().filter_map(|need| match need {
        Need::Stage { stage } => Some(stage),
        Need::Environment { .. } => None,
    });
    for name in needed {
        let other = &graph.stages[graph.find(name).expect("a stage needs stages of its own run")];
        let status = other.status();
        if status.lets_dependents_start() {
            continue;
        }
        if status.is_done() {
            return Some(Closed::For(upstream(state, other)));
        }
        let environments = vec![other.name.environment.clone()];
        let approval = other.approve().filter(|_| status == Status::Waiting);
        return Some(match approval {
            None => Closed::Held(Held::Pending, state.reason(Why::After { environments })),
            Some(approve) => {
                let options = approve.options.clone();
                let reason =
                    Reason { next_check: approve.expiry(), ..state.reason(Why::Approval { options }) };
                Closed::Held(Held::Blocked, reason)
            }
        });
    }
    None
}

fn upstream(state: &State, other: &Stage) -> Reason {
    state.reason(Why::UpstreamFailed { stage: other.name.clone(), status: other.status() })
}
