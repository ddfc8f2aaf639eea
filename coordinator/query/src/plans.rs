//! What a plan would change, and the rollback path, beside what runs now.

use trimaran_engine::state::installation::Installation;
use trimaran_engine::state::pipeline::Quarantine;
use trimaran_engine::wave_sizes;
use trimaran_model::id::{Digest, EnvironmentName, InstallationId, PipelineName};
use trimaran_model::plan::{Plan, PlannedEnvironment, PlannedStage};
use trimaran_model::target::PlatformKind;
use trimaran_wire::document::{PlanDocument, PlanGate, PlanRelease, PlanStage, PlanWave, WayBack};

use crate::cluster;
use crate::installations::installation;
use crate::rows::{RowSource, all, get, version};
use crate::runs::artifacts;
use crate::text::{self, Owner};

fn release(rows: &dyn RowSource, digest: Digest) -> PlanRelease {
    let version = version(rows, &digest).unwrap_or_else(|| "?".to_owned());
    PlanRelease { release: digest.to_string(), version }
}

/// `plan`. `overrides` are the refusals that the deploy is meant to pass, by their names in `--override`.
pub fn plan(rows: &dyn RowSource, plan: &Plan, overrides: &[String]) -> PlanDocument {
    let mut document = PlanDocument {
        pipeline: plan.pipeline.to_string(),
        plan_digest: plan.digest.to_string(),
        artifacts: artifacts(&plan.artifacts),
        stages: Vec::new(),
        gates: Vec::new(),
        way_back: Vec::new(),
        warnings: Vec::new(),
    };
    for environment in &plan.environments {
        if let Some(approve) = &environment.approve {
            document.gates.push(PlanGate {
                stage: format!("{}/approve", environment.name),
                kind: "approval".to_owned(),
                options: approve.options.iter().map(|option| option.as_str().to_owned()).collect(),
                timeout_ms: approve.timeout.0,
            });
        }
        for stage in &environment.stages {
            add_stage(rows, &mut document, plan, (environment, stage));
        }
    }
    if let Some(failed) = get::<Quarantine>(rows, &(plan.pipeline.clone(), plan.digest)) {
        let rest = if overrides.iter().any(|it| it == "quarantine") {
            "`--override quarantine` lets a deploy try it again"
        } else {
            "a deploy is refused without `--override quarantine --reason TEXT`"
        };
        let run = &failed.run;
        let cause = text::cause(&failed.cause, Owner { run, stage: None });
        document.warnings.push(format!("this plan failed in {run}: {cause}; {rest}"));
    }
    document
}

/// What the strategy comes to with the hosts that there are.
fn warn_of_budgets(document: &mut PlanDocument, stage: &PlannedStage, total: u32, down: u32) {
    let target = &stage.target;
    let mut warn = |text: String| document.warnings.push(text);
    match total {
        0 => return warn(format!("target `{target}` has no hosts yet")),
        1 => warn(format!("`{target}` has one host: the service is down while it is replaced")),
        _ if down >= total => warn(format!(
            "`max_unavailable` covers all {total} hosts of `{target}`: the service is down while they are replaced"
        )),
        _ => {}
    }
    if stage.batches.max_failures.floor_of(total) >= total {
        warn(format!(
            "`max_failures` covers every host of `{target}`, {total}: a failing release is never stopped there"
        ));
    }
}

fn add_stage(
    rows: &dyn RowSource,
    document: &mut PlanDocument,
    plan: &Plan,
    (environment, stage): (&PlannedEnvironment, &PlannedStage),
) {
    let name = format!("{}/{}", environment.name, stage.target);
    let id = InstallationId { pipeline: plan.pipeline.clone(), target: stage.target.clone() };
    let here = installation(rows, &id);
    let current = here.as_ref().and_then(|it| it.current);
    let change = match current {
        None => "create",
        Some(current) if current == stage.release_digest => "none",
        Some(_) => "update",
    };
    let to =
        PlanRelease { release: stage.release_digest.to_string(), version: stage.release.version.clone() };
    let total = cluster::target(rows, &stage.target).map_or(0, |target| cluster::hosts(rows, &target).len());
    let total = u32::try_from(total).unwrap_or(u32::MAX);
    let down = stage.batches.max_unavailable.floor_of(total).max(1);
    if stage.release.workload.platform() == PlatformKind::Hosts {
        warn_of_budgets(document, stage, total, down);
    }
    let numbered = wave_sizes(&stage.batches, total).into_iter().filter(|_| total > 0).zip(1..);
    document.stages.push(PlanStage {
        name: name.clone(),
        change: change.to_owned(),
        from: current.map(|digest| release(rows, digest)),
        to,
        waves: numbered
            .map(|(target_count, number)| PlanWave { number, target_count, of: total, max_unavailable: down })
            .collect(),
    });
    let back = here.as_ref().and_then(Installation::rollback_target);
    document.way_back.push(WayBack {
        stage: name,
        kind: if back.is_some() { "reversible" } else { "compensated" }.to_owned(),
        to: back.map(|digest| release(rows, digest)),
    });
}

/// What `rollback` would restore in an environment.
pub fn rollback_plan(
    rows: &dyn RowSource,
    pipeline: &PipelineName,
    environment: &EnvironmentName,
    to: Option<Digest>,
) -> PlanDocument {
    let here = all::<Installation>(rows).into_iter();
    let here = here.filter(|it| it.id.pipeline == *pipeline && it.environment == *environment);
    let stages = here.filter_map(|it| {
        let to = to.or_else(|| it.previous_stable())?;
        Some(PlanStage {
            name: format!("{environment}/{}", it.id.target),
            change: if it.current == Some(to) { "none" } else { "update" }.to_owned(),
            from: it.current.map(|digest| release(rows, digest)),
            to: release(rows, to),
            waves: Vec::new(),
        })
    });
    PlanDocument {
        pipeline: pipeline.to_string(),
        plan_digest: String::new(),
        artifacts: Vec::new(),
        stages: stages.collect(),
        gates: Vec::new(),
        way_back: Vec::new(),
        warnings: Vec::new(),
    }
}
