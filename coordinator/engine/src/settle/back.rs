//! Ways back: within a live run, and as a run of their own after its end.

use trimaran_model::id::Digest;
use trimaran_model::pipeline::RollbackScope;
use trimaran_model::reason::ReasonCode;
use trimaran_model::run::{RunKind, Status};
use trimaran_wire::v1::assignment::{WireAmount, WireFailure};
use trimaran_wire::v1::common::WireRun;
use trimaran_wire::v1::plan::{WirePlan, WirePlannedEnvironment, WirePlannedStage, WireScope};
use trimaran_wire::v1::row::{self, WayBack};

use super::assign::withdraw;
use super::{set, stage_name};
use crate::audit;
use crate::command::{NewRun, create_run};
use crate::state::{State, run_key};

/// An installation and the release to bring back.
pub(crate) struct Way {
    pub(crate) installation: row::Installation,
    pub(crate) to: [u8; 32],
}

/// A stage failed by the release's fault: go back as far as the policy says, or just fail.
pub(super) fn after_failure(state: &mut State, run: &mut row::Run, index: usize, failure: &WireFailure) {
    let stage = run.stages[index].clone();
    let environment = run.plan.environments.iter().find(|it| it.name == stage.environment).cloned();
    let Some(environment) = environment else { return };
    let cause = words(&stage, failure);
    if !environment.rollback_on_health {
        let reason = state.reason(code(failure), cause, "wait", &[]);
        return set(state, &mut run.stages[index], Status::Failed, vec![reason]);
    }
    let scope = match environment.scope {
        WireScope::Target => RollbackScope::Target,
        WireScope::Environment => RollbackScope::Environment,
        WireScope::Run => RollbackScope::Run,
    };
    begin(state, run, &cause, code(failure), |it| match scope {
        RollbackScope::Target => it.target == stage.target && it.environment == stage.environment,
        RollbackScope::Environment => it.environment == stage.environment,
        RollbackScope::Run => true,
    });
}

/// `host-3: probe_failed: 503 Service Unavailable`.
fn words(stage: &row::Stage, failure: &WireFailure) -> String {
    let place = failure.instance.clone().unwrap_or_else(|| stage_name(stage));
    format!("{place}: {}: {}", failure.code, failure.message)
}

fn code(failure: &WireFailure) -> ReasonCode {
    ReasonCode::from_name(&failure.code).unwrap_or(ReasonCode::MaxFailures)
}

/// Somebody chose to go back: everything that the run touched.
pub(super) fn whole_run(state: &mut State, run: &mut row::Run, cause: &str) {
    begin(state, run, cause, ReasonCode::RolledBackByChoice, |_| true);
}

/// `trimaran rollback` inside of a live run.
pub(crate) fn end_with_rollback(state: &mut State, id: &WireRun, environment: &str, cause: &str) {
    let Some(mut run) = state.runs.get(&run_key(id)).cloned() else { return };
    begin(state, &mut run, cause, ReasonCode::RollbackRequested, |stage| stage.environment == environment);
    state.runs.put(run);
    state.wake(id);
}

/// Turns every touched stage of the scope around, with a larger fence than what it does now.
fn begin(
    state: &mut State,
    run: &mut row::Run,
    cause: &str,
    code: ReasonCode,
    in_scope: impl Fn(&row::Stage) -> bool,
) {
    let mut first_way = None;
    for index in 0..run.stages.len() {
        let stage = &run.stages[index];
        if stage.target.is_none() || stage.attempt == 0 || stage.way_back.is_some() {
            continue;
        }
        if !in_scope(stage) {
            if let Some(assignment) = stage.assignment {
                super::assign::ask_to_cancel(state, assignment);
            }
            continue;
        }
        if let Some(assignment) = stage.assignment {
            withdraw(state, assignment);
        }
        let way = way_back(state, run, index);
        if let WayBack::Restore(to) = way {
            first_way.get_or_insert(to);
        }
        let reason = state.reason(code, cause.to_owned(), "wait", &[]);
        let stage = &mut run.stages[index];
        (stage.assignment, stage.paused, stage.finished_ms) = (None, None, None);
        stage.way_back = Some(way);
        set(state, stage, Status::RollingBack, vec![reason]);
    }
    if run.rollback.is_none() {
        run.rollback = Some(row::Rollback { cause: cause.to_owned(), to: first_way });
        run.status = Status::RollingBack.as_str().to_owned();
        quarantine(state, &run.id, &run.plan, cause);
        let object = format!("{}#{}", run.id.pipeline, run.id.number);
        audit::record(state, "trimaran", "roll_back", &object, cause);
    }
}

/// The last release that was healthy and baked before this run, or nothing.
fn way_back(state: &State, run: &row::Run, index: usize) -> WayBack {
    let target = run.stages[index].target.clone().unwrap_or_default();
    let good = state.installation(&run.id.pipeline, &target).and_then(|it| {
        // A release that this very run made good (without a bake) is not the way back from it.
        let own = run.plan.environments.iter().flat_map(|it| &it.stages).find(|it| it.target == target);
        let own = own.map(|it| it.release_digest);
        let made_here = it.run.as_ref() == Some(&run.id);
        it.good.iter().copied().find(|good| !made_here || Some(*good) != own)
    });
    good.map_or(WayBack::Stop, WayBack::Restore)
}

/// The plan is not deployed again without an override.
fn quarantine(state: &mut State, run: &WireRun, plan: &WirePlan, cause: &str) {
    let at_ms = state.wall().0;
    state.quarantine.put(row::Quarantine {
        pipeline: plan.pipeline.clone(),
        plan: plan.digest,
        run: run.clone(),
        cause: cause.to_owned(),
        at_ms,
    });
}

/// A release failed in its bake: a run of kind rollback brings the environment back.
pub(crate) fn after_success(state: &mut State, failed: &row::Installation, failure: Option<&WireFailure>) {
    let Some(run) = failed.run.clone() else { return };
    let same = |it: &&row::Installation| {
        it.id.pipeline == failed.id.pipeline
            && it.environment == failed.environment
            && it.run.as_ref() == Some(&run)
            && it.assignment.is_none()
    };
    let ways: Vec<Way> = state
        .installations
        .iter()
        .filter(same)
        .filter_map(|it| {
            let to = it.good.iter().copied().find(|good| Some(*good) != it.current)?;
            Some(Way { installation: it.clone(), to })
        })
        .collect();
    let cause = match failure {
        Some(failure) => {
            let place = failure.instance.clone().unwrap_or_else(|| failed.id.target.clone());
            format!("{place}: {}: {}", failure.code, failure.message)
        }
        None => format!("{} became unhealthy in its bake", failed.id.target),
    };
    if let Some(row) = state.runs.get(&run_key(&run)) {
        let plan = row.plan.clone();
        quarantine(state, &run, &plan, &cause);
    }
    if !ways.is_empty() {
        start_rollback_run(state, &ways, "trimaran", &cause, Some(run));
    }
}

/// Makes a run whose plan is the releases to bring back.
pub(crate) fn start_rollback_run(
    state: &mut State,
    ways: &[Way],
    by: &str,
    cause: &str,
    caused_by: Option<WireRun>,
) -> WireRun {
    let first = &ways[0].installation;
    let (pipeline, environment) = (first.id.pipeline.clone(), first.environment.clone());
    let mut artifacts = Vec::new();
    let mut stages = Vec::new();
    for way in ways {
        let Some(release) = state.releases.get(&way.to).map(|row| row.release.clone()) else { continue };
        let trimaran_wire::v1::release::WireReleaseWorkload::Host { bundle, .. } = &release.workload;
        if !artifacts.contains(bundle) {
            artifacts.push(bundle.clone());
        }
        stages.push(WirePlannedStage {
            target: way.installation.id.target.clone(),
            release_digest: way.to,
            release,
            bake_ms: 0,
            sizes: vec![WireAmount::Percent(100)],
            max_unavailable: WireAmount::Count(1),
            max_failures: WireAmount::Count(0),
            pause_between_ms: 0,
        });
        let left = way.installation.run.clone().and_then(|run| state.runs.get(&run_key(&run)).cloned());
        if let Some(left) = left.filter(|left| left.kind == RunKind::Deploy.as_str()) {
            quarantine(state, &left.id, &left.plan, cause);
        }
    }
    let digest = crate::plan::digest_of(
        stages.iter().map(|stage| (stage.target.as_str(), Digest(stage.release_digest))),
    );
    let planned = WirePlannedEnvironment {
        name: environment,
        after: Vec::new(),
        approve: None,
        rollback_on_health: false,
        scope: WireScope::Environment,
        stages,
    };
    let plan = WirePlan { pipeline, digest: digest.0, artifacts, environments: vec![planned] };
    let run =
        create_run(state, NewRun { kind: RunKind::Rollback, plan: &plan, by, reason: cause, caused_by });
    let object = format!("{}#{}", run.pipeline, run.number);
    audit::record(state, by, "roll_back", &object, cause);
    run
}
