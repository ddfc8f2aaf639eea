//! Files into the state, and new runs.

use std::sync::Arc;

use trimaran_model::error_code;
use trimaran_model::id::Identity;
use trimaran_model::limits::RUNS_QUEUED_PER_PIPELINE_MAX;
use trimaran_model::reason::ReasonCode;
use trimaran_model::run::{RunKind, Status};
use trimaran_wire::v1::command::PipelineSource;
use trimaran_wire::v1::common::WireRun;
use trimaran_wire::v1::plan::WirePlan;
use trimaran_wire::v1::row;
use trimaran_wire::v1::target::WireTarget;

use crate::event::Event;
use crate::request::{Outcome, Rejection, reject};
use crate::state::{State, run_name, works_on};

pub(super) fn apply(
    state: &mut State,
    pipelines: &[PipelineSource],
    targets: &[WireTarget],
) -> Result<Outcome, Rejection> {
    for target in targets {
        state.targets.put(row::TargetRow { target: target.clone() });
        state.wake_where(|run| works_on(run, &target.name));
    }
    for source in pipelines {
        store_source(state, source);
    }
    Ok(Outcome::Applied {
        targets: targets.iter().map(|target| target.name.clone()).collect(),
        pipelines: pipelines.iter().map(|source| source.pipeline.clone()).collect(),
    })
}

fn store_source(state: &mut State, source: &PipelineSource) {
    let known = state.pipelines.get(&source.pipeline);
    let runs = known.map_or(0, |known| known.runs);
    state.pipelines.put(row::Pipeline { name: source.pipeline.clone(), source: Some(source.clone()), runs });
}

pub(super) fn start_run(
    state: &mut State,
    identity: &Identity,
    source: Option<&PipelineSource>,
    plan: &WirePlan,
    overrides: &[String],
    reason: &str,
) -> Result<Outcome, Rejection> {
    for stage in plan.environments.iter().flat_map(|environment| &environment.stages) {
        if state.targets.get(&stage.target).is_none() {
            return reject(error_code::TARGET_UNKNOWN, format!("there is no target `{}`", stage.target));
        }
    }
    let quarantined = state.quarantine.get(&(plan.pipeline.clone(), plan.digest)).cloned();
    if let Some(quarantined) = quarantined
        && !overrides.iter().any(|name| name == "quarantine")
    {
        let run = run_name(&quarantined.run);
        let message = format!("this plan failed in {run}: {}", quarantined.cause);
        return reject(error_code::QUARANTINED, message);
    }
    let waiting = state.live_runs_of(&plan.pipeline).count();
    if waiting >= RUNS_QUEUED_PER_PIPELINE_MAX {
        return reject(error_code::QUEUE_FULL, format!("{waiting} runs of `{}` wait already", plan.pipeline));
    }
    if let Some(source) = source {
        store_source(state, source);
    }
    let run = create_run(
        state,
        NewRun { kind: RunKind::Deploy, plan, by: &identity.to_string(), reason, caused_by: None },
    );
    Ok(Outcome::Run(run))
}

/// What a new run is made of.
pub(crate) struct NewRun<'a> {
    pub(crate) kind: RunKind,
    pub(crate) plan: &'a WirePlan,
    pub(crate) by: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) caused_by: Option<WireRun>,
}

/// Adds a run with its stages, all pending, and queues it.
pub(crate) fn create_run(state: &mut State, new: NewRun<'_>) -> WireRun {
    let name = new.plan.pipeline.clone();
    let mut pipeline = state.pipelines.get(&name).cloned().unwrap_or(row::Pipeline {
        name: name.clone(),
        source: None,
        runs: 0,
    });
    pipeline.runs += 1;
    let id = WireRun { pipeline: name, number: pipeline.runs };
    state.pipelines.put(pipeline);
    state.set_meta(|meta| meta.sequence += 1);
    let queued = state.waits(ReasonCode::Settle, "the scheduler has not looked at it yet");
    let mut stages = Vec::new();
    for environment in &new.plan.environments {
        let blank = |target| row::Stage {
            environment: environment.name.clone(),
            target,
            status: Status::Pending.as_str().to_owned(),
            reasons: vec![queued.clone()],
            ..row::Stage::default()
        };
        if environment.approve.is_some() {
            stages.push(blank(None));
        }
        for stage in &environment.stages {
            stages.push(blank(Some(stage.target.clone())));
            state
                .releases
                .put(row::ReleaseRow { digest: stage.release_digest, release: stage.release.clone() });
        }
    }
    let run = row::Run {
        id: id.clone(),
        sequence: state.meta().sequence,
        kind: new.kind.as_str().to_owned(),
        status: Status::Pending.as_str().to_owned(),
        plan: Arc::new(new.plan.clone()),
        by: new.by.to_owned(),
        reason: new.reason.to_owned(),
        created_ms: state.wall().0,
        finished_ms: None,
        reasons: Vec::new(),
        stages,
        rollback: None,
        caused_by: new.caused_by,
        canceled_by: None,
        revision: state.revision,
    };
    state.runs.put(run);
    state.events.push(Event::Run { run: id.clone(), status: Status::Pending.as_str().to_owned() });
    state.wake(&id);
    id
}
