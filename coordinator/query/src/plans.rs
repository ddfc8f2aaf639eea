//! What a plan would change, and the way back, beside what runs now.

use trimaran_model::id::Digest;
use trimaran_model::pipeline::IntOrPercent;
use trimaran_wire::document::{PlanDocument, PlanGate, PlanRelease, PlanStage, PlanWave, WayBack};
use trimaran_wire::v1::plan::{WirePlan, WirePlannedStage};
use trimaran_wire::v1::row;

use crate::runs::artifacts;
use crate::{RowSource, get, release_row};
use trimaran_engine::settle::assign::waves;
use trimaran_engine::settle::rollback_target::{previous_stable, rollback_target};
use trimaran_engine::state::run_name;

fn release(rows: &dyn RowSource, digest: [u8; 32]) -> PlanRelease {
    let version =
        release_row(rows, &digest).map_or_else(|| "?".to_owned(), |row| row.release.version.clone());
    PlanRelease { release: Digest(digest).to_string(), version }
}

fn installation(rows: &dyn RowSource, pipeline: &str, target: &str) -> Option<row::Installation> {
    get(rows, &(pipeline.to_owned(), target.to_owned()))
}

/// `plan`. `overrides` are the refusals that the deploy is meant to pass, by their names in `--override`.
pub fn plan(rows: &dyn RowSource, plan: &WirePlan, overrides: &[String]) -> PlanDocument {
    let mut document = PlanDocument {
        pipeline: plan.pipeline.clone(),
        plan_digest: Digest(plan.digest).to_string(),
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
                options: approve.options.clone(),
                timeout_ms: approve.timeout_ms,
            });
        }
        for stage in &environment.stages {
            one_stage(rows, &mut document, &environment.name, stage);
        }
    }
    if let Some(failed) = get::<row::Quarantine>(rows, &(plan.pipeline.clone(), plan.digest)) {
        let rest = if overrides.iter().any(|it| it == "quarantine") {
            "`--override quarantine` lets a deploy try it again"
        } else {
            "a deploy is refused without `--override quarantine --reason TEXT`"
        };
        let run = run_name(&failed.run);
        document.warnings.push(format!("this plan failed in {run}: {}; {rest}", failed.cause));
    }
    document
}

/// What the strategy comes to with the hosts that there are.
fn warn_of_budgets(document: &mut PlanDocument, stage: &WirePlannedStage, total: u32, down: u32) {
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
    if IntOrPercent::from(stage.max_failures).floor_of(total) >= total {
        warn(format!(
            "`max_failures` covers every host of `{target}`, {total}: a failing release is never stopped there"
        ));
    }
}

fn one_stage(rows: &dyn RowSource, document: &mut PlanDocument, environment: &str, stage: &WirePlannedStage) {
    let name = format!("{environment}/{}", stage.target);
    let here = installation(rows, &document.pipeline, &stage.target);
    let current = here.as_ref().and_then(|it| it.current);
    let change = match current {
        None => "create",
        Some(current) if current == stage.release_digest => "none",
        Some(_) => "update",
    };
    let to = PlanRelease {
        release: Digest(stage.release_digest).to_string(),
        version: stage.release.version.clone(),
    };
    let target = get::<row::TargetRow>(rows, &stage.target);
    let total = target.map_or(0, |target| crate::cluster::hosts(rows, &target).len());
    let total = u32::try_from(total).unwrap_or(u32::MAX);
    let down = IntOrPercent::from(stage.max_unavailable).floor_of(total).max(1);
    warn_of_budgets(document, stage, total, down);
    let numbered = waves(stage, total).into_iter().filter(|_| total > 0).zip(1..);
    document.stages.push(PlanStage {
        name: name.clone(),
        change: change.to_owned(),
        from: current.map(|digest| release(rows, digest)),
        to,
        waves: numbered
            .map(|(target_count, number)| PlanWave { number, target_count, of: total, max_unavailable: down })
            .collect(),
    });
    let good = here.as_ref().and_then(rollback_target);
    document.way_back.push(WayBack {
        stage: name,
        kind: if good.is_some() { "reversible" } else { "compensated" }.to_owned(),
        to: good.map(|digest| release(rows, digest)),
    });
}

/// What `rollback` would bring back in an environment.
pub fn rollback_plan(
    rows: &dyn RowSource,
    pipeline: &str,
    environment: &str,
    to: Option<[u8; 32]>,
) -> PlanDocument {
    let here: Vec<row::Installation> = crate::all::<row::Installation>(rows)
        .into_iter()
        .filter(|it| it.id.pipeline == pipeline && it.environment == environment)
        .collect();
    let stages = here
        .into_iter()
        .filter_map(|it| {
            let to = to.or_else(|| previous_stable(&it))?;
            Some(PlanStage {
                name: format!("{environment}/{}", it.id.target),
                change: if it.current == Some(to) { "none" } else { "update" }.to_owned(),
                from: it.current.map(|digest| release(rows, digest)),
                to: release(rows, to),
                waves: Vec::new(),
            })
        })
        .collect();
    PlanDocument {
        pipeline: pipeline.to_owned(),
        plan_digest: String::new(),
        artifacts: Vec::new(),
        stages,
        gates: Vec::new(),
        way_back: Vec::new(),
        warnings: Vec::new(),
    }
}
