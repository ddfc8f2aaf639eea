//! `trimaran deploy`: a plan becomes a run.

use std::sync::Arc;

use trimaran_model::id::{Identity, InstallationId};
use trimaran_model::limits::RUNS_QUEUED_PER_PIPELINE_MAX;
use trimaran_model::plan::{Plan, PlannedStage};
use trimaran_model::run::RunKind;
use trimaran_wire::v1::command::PipelineSource;
use trimaran_wire::v1::plan::WirePlan;

use super::apply;
use super::convert::{checked, record, with_reason};
use crate::audit::Record;
use crate::contents;
use crate::new_run::{NewRun, create_run, stages_of_plan};
use crate::refusal::Refusal;
use crate::state::State;
use crate::state::pipeline::ReleaseEntry;
use crate::state::request::Outcome;
use crate::state::undecided::UndecidedSubject;

pub(super) struct Start<'a> {
    /// The file, when one came with the request.
    pub(super) source: Option<&'a PipelineSource>,
    pub(super) plan: &'a WirePlan,
    /// Refusals that the user passes.
    pub(super) overrides: &'a [String],
    pub(super) reason: &'a str,
}

pub(super) fn run(state: &mut State, identity: &Identity, start: &Start<'_>) -> Result<Outcome, Refusal> {
    let plan: Plan = checked(start.plan.clone())?;
    let planned = || plan.environments.iter().flat_map(|environment| &environment.stages);
    if let Some(stage) = planned().find(|stage| state.target(&stage.target).is_none()) {
        return Err(Refusal::NoTarget { target: stage.target.clone() });
    }
    let quarantined = state.quarantine.get(&(plan.pipeline.clone(), plan.digest));
    if let Some(quarantined) = quarantined
        && !start.overrides.iter().any(|name| name == "quarantine")
    {
        let (run, cause) = (quarantined.run.clone(), Box::new(quarantined.cause.clone()));
        return Err(Refusal::Quarantined { run, cause });
    }
    let here = |stage: &PlannedStage| InstallationId {
        pipeline: plan.pipeline.clone(),
        target: stage.target.clone(),
    };
    let undecided: Vec<InstallationId> = planned().map(here).filter(|id| state.is_undecided(id)).collect();
    if let Some(first) = undecided.first().and_then(|id| state.installations.get(id))
        && !start.overrides.iter().any(|name| name == "restored")
    {
        let (installation, environment) = (first.id.clone(), first.environment.clone());
        return Err(Refusal::Undecided { installation, environment });
    }
    let waiting = state.live_runs_of(&plan.pipeline).count();
    if waiting >= RUNS_QUEUED_PER_PIPELINE_MAX {
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        return Err(Refusal::QueueFull { pipeline: plan.pipeline, waiting });
    }
    let mut contents = planned().filter_map(|stage| stage.release.workload.content());
    contents.try_for_each(|content| contents::check_whole(state, content))?;
    if let Some(source) = start.source {
        apply::store_source(state, source)?;
    }
    // What is deployed is what should run there, whatever does now.
    for installation in undecided {
        state.decide(&UndecidedSubject::Installation { installation });
    }
    for stage in planned() {
        let (digest, release) = (stage.release_digest, Arc::new(stage.release.clone()));
        state.releases.put(ReleaseEntry { digest, release });
    }
    let run = create_run(
        state,
        NewRun {
            kind: RunKind::Deploy,
            stages: stages_of_plan(&plan),
            pipeline: plan.pipeline,
            plan: plan.digest,
            artifacts: plan.artifacts,
            by: identity.clone(),
            comment: start.reason.to_owned(),
            cause: None,
            caused_by: None,
        },
    );
    Ok(Outcome::Run(run))
}

pub(super) fn audit(plan: &WirePlan, overrides: &[String], reason: &str) -> Record {
    let versions: Vec<&str> = plan.artifacts.iter().map(|it| it.version.as_str()).collect();
    let object = format!("{} {}", plan.pipeline, versions.join(" "));
    match overrides {
        [] => record("deploy", with_reason(&object, reason)),
        overrides => {
            let object = format!("{} override {}", object.trim_end(), overrides.join(","));
            record("deploy", with_reason(&object, reason))
        }
    }
}
