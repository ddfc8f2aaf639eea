//! Files into the state, and new runs.

use trimaran_model::error_code;
use trimaran_model::id::Identity;
use trimaran_model::limits::RUNS_QUEUED_PER_PIPELINE_MAX;
use trimaran_model::run::RunKind;
use trimaran_wire::v1::command::PipelineSource;
use trimaran_wire::v1::plan::WirePlan;
use trimaran_wire::v1::row;
use trimaran_wire::v1::target::WireTarget;

use crate::idempotency::{Outcome, Rejection, reject};
use crate::new_run::{NewRun, create_run};
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
