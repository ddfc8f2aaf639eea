//! From a pipeline and versions to a plan: pure, and independent of everything that is live.
//!
//! A plan is made before the log, by the coordinator that takes the request, and travels in the command.
//!
//! Deliberately not here: what a plan would change beside what runs now (`trimaran-query`), the pipeline language.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use trimaran_model::error_code::{self, ErrorCode};
use trimaran_model::id::{ArtifactName, Digest, TargetName};
use trimaran_model::pipeline::{
    ArtifactSource, Environment, KubernetesWorkload, Pipeline, Strategy, Workload,
};
use trimaran_model::plan::{Plan, PlannedEnvironment, PlannedStage};
use trimaran_model::release::{
    Artifact, ArtifactLocation, Content, FlinkFiles, FlinkRelease, HostRelease, KubernetesRelease, Release,
    ReleaseWorkload,
};
use trimaran_model::target::{PlatformKind, Target};
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

/// What was uploaded for a deploy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uploads {
    /// The rendered set of a Kubernetes workload.
    pub manifests: Option<Content>,
    /// The files of a job on Flink.
    pub files: Option<FlinkFiles>,
}

/// Makes the plan of a pipeline for these versions on these targets.
///
/// # Errors
/// An artifact without a version, a target that does not exist or is of another platform, a Kubernetes workload without
/// its manifests, a job without its files or with others than it names.
pub fn compile(
    pipeline: &Pipeline,
    targets: &BTreeMap<TargetName, Target>,
    versions: &BTreeMap<ArtifactName, Version>,
    uploads: Uploads,
) -> Result<Plan, PlanError> {
    let inputs = Inputs { artifacts: bind(pipeline, versions)?, uploads };
    check_files(pipeline, &inputs)?;
    let mut environments = Vec::new();
    for environment in &pipeline.environments {
        environments.push(plan_environment(pipeline, environment, targets, &inputs)?);
    }
    let releases = environments.iter().flat_map(|environment: &PlannedEnvironment| &environment.stages);
    let digest = plan_digest(releases.map(|stage| (stage.target.as_str(), stage.release_digest)));
    Ok(Plan {
        pipeline: pipeline.name.clone(),
        digest,
        artifacts: inputs.artifacts.into_values().collect(),
        environments,
    })
}

/// What a deploy brings.
struct Inputs {
    artifacts: BTreeMap<ArtifactName, Artifact>,
    uploads: Uploads,
}

impl Inputs {
    fn artifact(&self, name: &ArtifactName) -> Result<Artifact, PlanError> {
        match self.artifacts.get(name) {
            Some(artifact) => Ok(artifact.clone()),
            None => error(error_code::ARTIFACT_MISSING, format!("artifact `{name}` has no version")),
        }
    }
}

fn error<T>(code: ErrorCode, message: String) -> Result<T, PlanError> {
    Err(PlanError { code, message })
}

/// Whether the files of a job are those that it names, and those that are artifacts have their bytes.
fn check_files(pipeline: &Pipeline, inputs: &Inputs) -> Result<(), PlanError> {
    let named: BTreeMap<&str, &str> = pipeline.flink_files().collect();
    let given: BTreeMap<&str, Content> = inputs.uploads.files.iter().flat_map(FlinkFiles::iter).collect();
    if let Some(name) = named.keys().find(|name| !given.contains_key(*name)) {
        return error(
            error_code::CONTENT_MISSING,
            format!("the file `{name}` of the job is not in the request"),
        );
    }
    if let Some(name) = given.keys().find(|name| !named.contains_key(*name)) {
        return error(error_code::CONTENT_INVALID, format!("the job names no file `{name}`"));
    }
    for (name, path) in named {
        let Some((artifact, _)) = pipeline.artifact_at(path) else { continue };
        if inputs.artifact(artifact)?.sha256 != given[name].digest {
            let message = format!("the file `{name}` of the job is not what artifact `{artifact}` is");
            return error(error_code::CONTENT_INVALID, message);
        }
    }
    Ok(())
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
    inputs: &Inputs,
) -> Result<PlannedEnvironment, PlanError> {
    let mut stages = Vec::new();
    for name in &environment.targets {
        let Some(target) = targets.get(name) else {
            return error(error_code::TARGET_UNKNOWN, format!("there is no target `{name}`"));
        };
        let release = release(pipeline, target, inputs)?;
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

fn release(pipeline: &Pipeline, target: &Target, inputs: &Inputs) -> Result<Release, PlanError> {
    let fits = matches!(
        (&pipeline.workload, target.platform.kind()),
        (Workload::Host(_), PlatformKind::Hosts)
            | (Workload::Kubernetes(_), PlatformKind::Kubernetes)
            | (Workload::Flink { .. }, PlatformKind::Flink)
    );
    if !fits {
        let (target, platform) = (&target.name, target.platform.as_str());
        let workload = pipeline.workload.as_str();
        let message =
            format!("target `{target}` is of platform {platform}, and `workload.{workload}` is not for it");
        return error(error_code::TARGET_PLATFORM, message);
    }
    let (version, workload) = match &pipeline.workload {
        Workload::Host(host) => {
            let bundle = inputs.artifact(&host.unpack)?;
            let (process, health) = (host.process.clone(), host.health.clone());
            let lifecycle = host.lifecycle.clone();
            let release = HostRelease { bundle, process, health, lifecycle };
            (release.bundle.version.clone(), ReleaseWorkload::Host(release))
        }
        Workload::Flink { job, .. } => {
            let (jar, files) = (inputs.artifact(&job.jar)?, inputs.uploads.files.clone());
            (jar.version.clone(), ReleaseWorkload::Flink(FlinkRelease { jar, job: job.clone(), files }))
        }
        Workload::Kubernetes(workload) => {
            let archive = pipeline.manifests_artifact().map(|(name, _)| inputs.artifact(name)).transpose()?;
            let workload = ReleaseWorkload::Kubernetes(kubernetes_release(workload, archive, inputs)?);
            let version = workload.artifacts().first().map(|artifact| artifact.version.clone());
            // Without an artifact the objects are the version.
            let objects = || workload.content().map(|objects| objects.digest.short()).unwrap_or_default();
            (version.unwrap_or_else(objects), workload)
        }
    };
    Ok(Release { pipeline: pipeline.name.clone(), target: target.name.clone(), version, workload })
}

fn kubernetes_release(
    workload: &KubernetesWorkload,
    manifests: Option<Artifact>,
    inputs: &Inputs,
) -> Result<KubernetesRelease, PlanError> {
    let Some(objects) = inputs.uploads.manifests else {
        let message = format!("the manifests in `{}` are not in the request", workload.manifests);
        return error(error_code::CONTENT_MISSING, message);
    };
    let mut images = BTreeMap::new();
    for (container, name) in &workload.images {
        images.insert(container.clone(), inputs.artifact(name)?);
    }
    let KubernetesWorkload { stability, on_conflict, .. } = workload;
    Ok(KubernetesRelease { objects, manifests, images, stability: *stability, on_conflict: *on_conflict })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use trimaran_model::amount::IntOrPercent;
    use trimaran_model::pipeline::{
        Batches, FlinkHealth, FlinkRollback, FlinkUpgrade, FlinkWorkload, OnConflict, RollbackPolicy,
    };
    use trimaran_model::target::{FlinkAccess, HostSettings, TargetClass, TargetPlatform};
    use trimaran_model::time::Millis;

    use super::*;

    fn job() -> Pipeline {
        let environment = Environment {
            name: "prod".parse().expect("a name"),
            after: BTreeSet::new(),
            approve: None,
            targets: vec!["streams".parse().expect("a name")],
            strategy: Strategy::Batches(Batches {
                sizes: vec![IntOrPercent::Percent(100)],
                max_unavailable: IntOrPercent::Count(1),
                max_failures: IntOrPercent::Count(0),
                max_lost: Batches::MAX_LOST,
                pause_between: Millis(0),
            }),
            rollback: RollbackPolicy { on: BTreeSet::new(), ..RollbackPolicy::default() },
        };
        Pipeline {
            name: "clicks".parse().expect("a name"),
            owner: "team".to_owned(),
            artifacts: BTreeMap::from([(
                "job".parse().expect("a name"),
                ArtifactSource::Path("/srv/{version}.jar".into()),
            )]),
            workload: Workload::Flink {
                job: FlinkWorkload {
                    jar: "job".parse().expect("a name"),
                    entry_class: "com.corp.Clicks".to_owned(),
                    args: Vec::new(),
                    parallelism: None,
                    config: BTreeMap::new(),
                    bounded: false,
                    upgrade: FlinkUpgrade::default(),
                    health: FlinkHealth::default(),
                    rollback: FlinkRollback::default(),
                },
                files: BTreeMap::new(),
            },
            environments: vec![environment],
        }
    }

    fn plan_on(platform: TargetPlatform) -> Result<Plan, PlanError> {
        let target = Target {
            name: "streams".parse().expect("a name"),
            agent: "lab".parse().expect("a name"),
            class: TargetClass::Prod,
            platform,
            parallel: 1,
        };
        let versions = BTreeMap::from([("job".parse().expect("a name"), ("v7".to_owned(), Digest([7; 32])))]);
        compile(&job(), &BTreeMap::from([(target.name.clone(), target)]), &versions, Uploads::default())
    }

    #[test]
    fn a_job_is_planned_with_its_jar_and_version() {
        let urls = vec!["http://127.0.0.1:8081".to_owned()];
        let plan = plan_on(TargetPlatform::Flink {
            urls,
            savepoints: "file:///s".to_owned(),
            access: FlinkAccess::default(),
        })
        .expect("a plan");
        let release = &plan.environments[0].stages[0].release;
        assert_eq!(release.version, "v7");
        let ReleaseWorkload::Flink(flink) = &release.workload else { panic!("{release:?}") };
        assert_eq!(flink.jar.location, ArtifactLocation::Path("/srv/v7.jar".to_owned()));
    }

    fn name<N: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> N {
        text.parse().expect("a name")
    }

    /// The release of objects from `manifests`, with these artifacts and the image `app` where it is among them.
    fn objects(manifests: &str, artifacts: &[&str]) -> Release {
        let mut pipeline = job();
        let image = artifacts.contains(&"app").then(|| ("web".to_owned(), name("app")));
        pipeline.workload = Workload::Kubernetes(KubernetesWorkload {
            manifests: manifests.to_owned(),
            images: image.into_iter().collect(),
            stability: Millis(0),
            on_conflict: OnConflict::Refuse,
        });
        let source = |artifact: &str| match artifact {
            "app" => ArtifactSource::Image("registry.corp/web".to_owned()),
            _ => ArtifactSource::File("https://builds.corp/{version}.tar".to_owned()),
        };
        pipeline.artifacts = artifacts.iter().map(|it| (name(it), source(it))).collect();
        let versions =
            artifacts.iter().map(|it| (name(it), (format!("{it}-7"), Digest([it.len() as u8; 32]))));
        let target = Target {
            name: name("streams"),
            agent: name("lab"),
            class: TargetClass::Prod,
            platform: TargetPlatform::Kubernetes { namespace: "shop".to_owned(), kubeconfig: None },
            parallel: 1,
        };
        let targets = BTreeMap::from([(target.name.clone(), target)]);
        let content = Content { digest: Digest([9; 32]), bytes: 2 };
        let uploads = Uploads { manifests: Some(content), files: None };
        let plan = compile(&pipeline, &targets, &versions.collect(), uploads).expect("a plan");
        plan.environments[0].stages[0].release.clone()
    }

    #[test]
    fn manifests_of_an_artifact_are_named_by_the_release_and_give_it_a_version() {
        let artifacts = |release: &Release| -> Vec<String> {
            release.workload.artifacts().iter().map(|it| it.version.clone()).collect()
        };
        let archive = objects("objects", &["objects"]);
        assert_eq!(
            (archive.version.as_str(), artifacts(&archive)),
            ("objects-7", vec!["objects-7".to_owned()])
        );
        let ReleaseWorkload::Kubernetes(release) = &archive.workload else { panic!("{archive:?}") };
        let place = release.manifests.as_ref().map(|it| &it.location);
        assert_eq!(place, Some(&ArtifactLocation::Url("https://builds.corp/objects-7.tar".to_owned())));
        let both = objects("objects", &["objects", "app"]);
        assert_eq!(artifacts(&both), ["app-7", "objects-7"], "the image is the version");
        assert_eq!(both.version, "app-7");
        let files = objects("deploy/k8s", &["app"]);
        assert_eq!((artifacts(&files), files.version.as_str()), (vec!["app-7".to_owned()], "app-7"));
        assert_eq!(objects("deploy/k8s", &[]).version, Digest([9; 32]).short(), "nothing else has one");
    }

    /// What comes of a job that names `rules.json` and the artifact `words`, with these files uploaded.
    fn job_with_files(uploaded: &[(&str, u8)]) -> Result<Release, PlanError> {
        let mut pipeline = job();
        let Workload::Flink { files, .. } = &mut pipeline.workload else { unreachable!("it is a job") };
        *files = [("rules.json", "conf/rules.json"), ("words", "words")]
            .map(|(name, path)| (name.to_owned(), path.to_owned()))
            .into();
        pipeline.artifacts.insert(name("words"), ArtifactSource::Path("/srv/{version}.txt".into()));
        let versions = ["job", "words"].map(|it| (name(it), ("v1".to_owned(), Digest([7; 32]))));
        let target = Target {
            name: name("streams"),
            agent: name("lab"),
            class: TargetClass::Prod,
            platform: TargetPlatform::Flink {
                urls: vec!["http://127.0.0.1:8081".to_owned()],
                savepoints: "file:///s".to_owned(),
                access: FlinkAccess::default(),
            },
            parallel: 1,
        };
        let contents = uploaded
            .iter()
            .map(|(name, n)| ((*name).to_owned(), Content { digest: Digest([*n; 32]), bytes: 3 }));
        let files = FlinkFiles::new(Digest([1; 32]), contents.collect()).ok();
        let uploads = Uploads { manifests: None, files };
        let targets = BTreeMap::from([(target.name.clone(), target)]);
        let plan = compile(&pipeline, &targets, &versions.into(), uploads)?;
        Ok(plan.environments[0].stages[0].release.clone())
    }

    #[test]
    fn files_of_a_job_are_part_of_its_release_and_are_those_that_it_names() {
        let release = job_with_files(&[("rules.json", 2), ("words", 7)]).expect("a plan");
        let ReleaseWorkload::Flink(flink) = &release.workload else { panic!("{release:?}") };
        assert_eq!(flink.files.iter().flat_map(FlinkFiles::iter).count(), 2);
        assert_eq!(release.workload.content(), Some(Content { digest: Digest([1; 32]), bytes: 6 }));
        let other = job_with_files(&[("rules.json", 3), ("words", 7)]).expect("a plan");
        assert_ne!(WireRelease::from(&release).digest(), WireRelease::from(&other).digest());
        let refused = |uploaded: &[(&str, u8)]| job_with_files(uploaded).expect_err("refused").code;
        assert_eq!(refused(&[]), error_code::CONTENT_MISSING);
        assert_eq!(refused(&[("rules.json", 2)]), error_code::CONTENT_MISSING);
        assert_eq!(refused(&[("rules.json", 2), ("words", 8)]), error_code::CONTENT_INVALID);
        assert_eq!(refused(&[("rules.json", 2), ("words", 7), ("more", 1)]), error_code::CONTENT_INVALID);
    }

    #[test]
    fn a_workload_on_a_target_of_another_platform_is_refused_by_both_names() {
        let select = BTreeMap::from([("group".to_owned(), "prod".to_owned())]);
        let error =
            plan_on(TargetPlatform::Hosts { select, require_user: false, settings: HostSettings::default() })
                .expect_err("hosts run no jobs");
        assert_eq!(error.code, error_code::TARGET_PLATFORM);
        assert_eq!(
            error.message,
            "target `streams` is of platform hosts, and `workload.flink` is not for it"
        );
    }
}
