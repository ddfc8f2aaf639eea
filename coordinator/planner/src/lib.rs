//! From a pipeline and versions to a plan: pure, and independent of everything that is live.
//!
//! A plan is made before the log, by the coordinator that takes the request, and travels in the command.
//!
//! Deliberately not here: what a plan would change beside what runs now (`trimaran-query`), the pipeline language.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use trimaran_model::error_code::{self, ErrorCode};
use trimaran_model::id::{ArtifactName, Digest, TargetName};
use trimaran_model::pipeline::{ArtifactSource, Environment, Pipeline, Strategy, Workload};
use trimaran_model::plan::{Plan, PlannedEnvironment, PlannedStage};
use trimaran_model::release::{Artifact, ArtifactLocation, HostRelease, Release, ReleaseWorkload};
use trimaran_model::target::{Target, TargetPlatform};
use trimaran_wire::v1::plan::plan_digest;
use trimaran_wire::v1::release::WireRelease;

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PlanError {
    pub code: ErrorCode,
    pub message: String,
}

/// A version and the digest of its bytes.
pub type Version = (String, Digest);

/// Makes the plan of a pipeline for these versions on these targets.
pub fn compile(
    pipeline: &Pipeline,
    targets: &BTreeMap<TargetName, Target>,
    versions: &BTreeMap<ArtifactName, Version>,
) -> Result<Plan, PlanError> {
    let artifacts = bind(pipeline, versions)?;
    let mut environments = Vec::new();
    for environment in &pipeline.environments {
        environments.push(plan_environment(pipeline, environment, targets, &artifacts)?);
    }
    let releases = environments.iter().flat_map(|environment: &PlannedEnvironment| &environment.stages);
    let digest = plan_digest(releases.map(|stage| (stage.target.as_str(), stage.release_digest)));
    Ok(Plan {
        pipeline: pipeline.name.clone(),
        digest,
        artifacts: artifacts.into_values().collect(),
        environments,
    })
}

fn error<T>(code: ErrorCode, message: String) -> Result<T, PlanError> {
    Err(PlanError { code, message })
}

/// Artifacts with version, digest and place.
fn bind(
    pipeline: &Pipeline,
    versions: &BTreeMap<ArtifactName, Version>,
) -> Result<BTreeMap<ArtifactName, Artifact>, PlanError> {
    if let Some(name) = versions.keys().find(|name| !pipeline.artifacts.contains_key(name)) {
        return error(error_code::NOT_FOUND, format!("the pipeline has no artifact `{name}`"));
    }
    let mut bound = BTreeMap::new();
    for (name, source) in &pipeline.artifacts {
        let Some((version, sha256)) = versions.get(name) else {
            return error(error_code::ARTIFACT_MISSING, format!("artifact `{name}` has no version"));
        };
        let place = |text: &str| text.replace("{version}", version);
        let location = match source {
            ArtifactSource::File(url) => ArtifactLocation::Url(place(url)),
            ArtifactSource::Path(path) => ArtifactLocation::Path(place(path)),
            ArtifactSource::Image(image) => ArtifactLocation::Url(image.clone()),
        };
        let artifact = Artifact { name: name.clone(), version: version.clone(), sha256: *sha256, location };
        bound.insert(name.clone(), artifact);
    }
    Ok(bound)
}

fn plan_environment(
    pipeline: &Pipeline,
    environment: &Environment,
    targets: &BTreeMap<TargetName, Target>,
    artifacts: &BTreeMap<ArtifactName, Artifact>,
) -> Result<PlannedEnvironment, PlanError> {
    let mut stages = Vec::new();
    for name in &environment.targets {
        let Some(target) = targets.get(name) else {
            return error(error_code::TARGET_UNKNOWN, format!("there is no target `{name}`"));
        };
        let release = release(pipeline, target, artifacts)?;
        let Strategy::Batches(batches) = &environment.strategy;
        stages.push(PlannedStage {
            target: name.clone(),
            release_digest: WireRelease::from(&release).digest(),
            release,
            bake: environment.rollback.bake_on(target.class),
            batches: batches.clone(),
        });
    }
    Ok(PlannedEnvironment {
        name: environment.name.clone(),
        after: environment.after.clone(),
        approve: environment.approve.clone(),
        rollback_on: environment.rollback.on.clone(),
        scope: environment.rollback.scope,
        stages,
    })
}

fn release(
    pipeline: &Pipeline,
    target: &Target,
    artifacts: &BTreeMap<ArtifactName, Artifact>,
) -> Result<Release, PlanError> {
    let Workload::Host(host) = &pipeline.workload else {
        let message =
            format!("`workload.{}` can be read and checked, not deployed yet", pipeline.workload.as_str());
        return error(error_code::WORKLOAD_UNSUPPORTED, message);
    };
    if !matches!(target.platform, TargetPlatform::Hosts { .. }) {
        let message = format!(
            "target `{}` is of platform {}, the workload is for hosts",
            target.name,
            target.platform.as_str()
        );
        return error(error_code::TARGET_PLATFORM, message);
    }
    let Some(bundle) = artifacts.get(&host.unpack) else {
        return error(error_code::ARTIFACT_MISSING, format!("artifact `{}` has no version", host.unpack));
    };
    Ok(Release {
        pipeline: pipeline.name.clone(),
        target: target.name.clone(),
        version: bundle.version.clone(),
        workload: ReleaseWorkload::Host(HostRelease {
            bundle: bundle.clone(),
            process: host.process.clone(),
            health: host.health.clone(),
        }),
    })
}
