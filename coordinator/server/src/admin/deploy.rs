//! From a request to a plan: the file or the stored source is compiled here, and the plan travels on.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_language::{Compiled, DocumentKind, Severity, SourceFile};
use trimaran_model::error_code;
use trimaran_model::id::{ArtifactName, Digest, PipelineName, TargetName, version_error};
use trimaran_model::pipeline::Pipeline;
use trimaran_model::plan::Plan;
use trimaran_model::release::{Content, FlinkFiles};
use trimaran_model::target::Target;
use trimaran_planner as planner;
use trimaran_query as query;
use trimaran_wire::codec::CodecError;
use trimaran_wire::v1::command::PipelineSource;
use trimaran_wire::v1::operator::{self, DeployRequest, Refusal, WireDiagnostic};

use super::reply::refusal;
use crate::rows::Rows;

/// What files say by themselves, or every diagnostic.
pub(super) fn compile_files(files: &[operator::SourceFile]) -> Result<Compiled, Refusal> {
    let inputs: Vec<_> = files.iter().map(input).collect();
    accepted(trimaran_language::compile(&inputs))
}

fn input(file: &operator::SourceFile) -> SourceFile<'_> {
    SourceFile { name: &file.name, bytes: &file.text }
}

fn accepted(compiled: Compiled) -> Result<Compiled, Refusal> {
    if !compiled.has_errors() {
        return Ok(compiled);
    }
    let errors: Vec<_> = compiled.diagnostics.iter().filter(|it| it.severity == Severity::Error).collect();
    let message = errors.first().map(|first| first.message.clone()).unwrap_or_default();
    let help = errors.first().map(|first| first.help.clone());
    let code = errors.first().map_or(error_code::NOT_YAML, |first| first.code);
    let diagnostics = compiled.diagnostics.iter().map(WireDiagnostic::from).collect();
    Err(Refusal { diagnostics, help, ..refusal(code, message) })
}

/// The file of a pipeline that was applied, or deployed by its file, last.
pub(super) fn stored_source(rows: &Rows<'_>, name: &str) -> Result<PipelineSource, Refusal> {
    let unknown = || refusal(error_code::PIPELINE_UNKNOWN, format!("there is no pipeline `{name}`"));
    let pipeline: PipelineName = name.parse().map_err(|_| unknown())?;
    query::pipeline_source(rows, &pipeline).ok_or_else(unknown)
}

/// A pipeline as it was given or stored.
struct Read {
    source: PipelineSource,
    pipeline: Pipeline,
    /// Those that the pipeline names.
    targets: BTreeMap<TargetName, Target>,
    /// The file came with the request, so it is stored with the run.
    given: bool,
    warnings: Vec<String>,
}

/// The pipeline of a request with its stored form.
fn pipeline(rows: &Rows<'_>, request: &DeployRequest) -> Result<Read, Refusal> {
    let (file, given) = match (&request.file, &request.pipeline) {
        (Some(file), _) => (file.clone(), true),
        (None, Some(name)) => {
            let stored = stored_source(rows, name)?;
            (operator::SourceFile { name: stored.file, text: stored.text.into_bytes() }, false)
        }
        (None, None) => return Err(refusal(error_code::USAGE, "neither a pipeline nor a file was given")),
    };
    let mut targets = BTreeMap::new();
    let compiled = accepted(trimaran_language::compile_among(&[input(&file)], |named| {
        let found = targets_among(rows, named);
        targets = found.iter().map(|target| (target.name.clone(), target.clone())).collect();
        found
    }))?;
    let warnings = compiled.diagnostics.iter().map(|it| format!("{}; {}", it.message, it.help)).collect();
    let mut pipelines = compiled.documents.into_iter().filter_map(|document| match document.kind {
        DocumentKind::Pipeline(pipeline) => Some(pipeline),
        DocumentKind::Target(_) => None,
    });
    let (Some(pipeline), None) = (pipelines.next(), pipelines.next()) else {
        return Err(refusal(
            error_code::USAGE,
            format!("`{}` does not hold exactly one pipeline", file.name),
        ));
    };
    Ok(Read { source: source(&file, &pipeline), pipeline, targets, given, warnings })
}

/// The targets of these names; all of the cluster when one of them does not exist, since another was meant then.
fn targets_among(rows: &Rows<'_>, named: &BTreeSet<&str>) -> Vec<Target> {
    let found: Option<Vec<Target>> =
        named.iter().map(|name| query::target(rows, &name.parse().ok()?)).collect();
    found.unwrap_or_else(|| query::targets_known(rows))
}

/// The stored form of a pipeline's file.
pub(super) fn source(file: &operator::SourceFile, pipeline: &Pipeline) -> PipelineSource {
    PipelineSource {
        pipeline: pipeline.name.to_string(),
        owner: pipeline.owner.clone(),
        file: file.name.clone(),
        text: String::from_utf8_lossy(&file.text).into_owned(),
    }
}

/// What a request comes to.
pub(super) struct Planned {
    /// The file to store, when one was given.
    pub(super) source: Option<PipelineSource>,
    pub(super) plan: Plan,
    /// What the file's author should know, as `lint` would say it.
    pub(super) warnings: Vec<String>,
}

/// The plan of a request.
pub(super) fn compile(rows: &Rows<'_>, request: &DeployRequest) -> Result<Planned, Refusal> {
    let Read { source, pipeline, targets, given, warnings } = pipeline(rows, request)?;
    let mut versions = BTreeMap::new();
    for (name, given) in &request.artifacts {
        let bad = |error: trimaran_model::id::InvalidName| refusal(error_code::USAGE, error.to_string());
        let artifact: ArtifactName = name.parse().map_err(bad)?;
        if !pipeline.artifacts.contains_key(&artifact) {
            return Err(no_artifact(&pipeline, name));
        }
        if let Some(why) = version_error(&given.version) {
            return Err(refusal(error_code::USAGE, format!("artifact `{name}`: {why}")));
        }
        let Some(sha256) = given.sha256 else {
            let message = format!("artifact `{name}` has no digest, and it can't be read from this machine");
            return Err(refusal(error_code::ARTIFACT_DIGEST, message));
        };
        versions.insert(artifact, (given.version.clone(), Digest(sha256)));
    }
    if let Some(target) = query::lacking_drivers(rows, targets.values()).first() {
        return Err(no_driver(target));
    }
    let plan = planner::compile(&pipeline, &targets, &versions, uploads(request)?)
        .map_err(|error| refusal(error.code, error.message))?;
    if request.plan_digest.is_some_and(|wanted| wanted != plan.digest.0) {
        return Err(refusal(
            error_code::PLAN_CHANGED,
            format!("the plan that would run has the digest {}", plan.digest),
        ));
    }
    Ok(Planned { source: given.then_some(source), plan, warnings })
}

/// What the request says that was uploaded for it.
fn uploads(request: &DeployRequest) -> Result<planner::Uploads, Refusal> {
    let invalid = |error: CodecError| refusal(error_code::CONTENT_INVALID, error.to_string());
    let manifests = request.manifests.map(Content::try_from).transpose().map_err(invalid)?;
    let files = request.files.clone().map(FlinkFiles::try_from).transpose().map_err(invalid)?;
    Ok(planner::Uploads { manifests, files })
}

/// Refuses an environment that neither the stored pipeline has nor any of its runs had.
pub(super) fn check_environment(rows: &Rows<'_>, source: &PipelineSource, name: &str) -> Result<(), Refusal> {
    let mut known = BTreeSet::new();
    let stored = SourceFile { name: &source.file, bytes: source.text.as_bytes() };
    for document in trimaran_language::compile(&[stored]).documents {
        if let DocumentKind::Pipeline(pipeline) = document.kind {
            known.extend(pipeline.environments.iter().map(|it| it.name.to_string()));
        }
    }
    if !known.contains(name) {
        let seen = source.pipeline.parse().map(|pipeline| query::environments_seen(rows, &pipeline));
        known.extend(seen.unwrap_or_default());
    }
    if known.contains(name) {
        return Ok(());
    }
    let help = trimaran_language::suggest::did_you_mean(name, known.iter().cloned(), || {
        format!("it has: {}", known.iter().cloned().collect::<Vec<_>>().join(", "))
    });
    let message = format!("pipeline `{}` has no environment `{name}`", source.pipeline);
    Err(Refusal { help: Some(help), ..refusal(error_code::NOT_FOUND, message) })
}

/// The agent of a target can't do what would be ordered.
fn no_driver(target: &Target) -> Refusal {
    let (name, agent, platform) = (&target.name, &target.agent, target.platform.as_str());
    let message = format!("agent `{agent}` of target `{name}` has no driver for workloads of {platform}");
    let help = format!(
        "run a version of agent `{agent}` that has one; `trimaran agent list -o json` shows what each drives"
    );
    let cause = "an order for it would be paused with `unsupported_workload`".to_owned();
    let unsupported = refusal(error_code::WORKLOAD_UNSUPPORTED, message);
    Refusal { cause: Some(cause), help: Some(help), ..unsupported }
}

fn no_artifact(pipeline: &Pipeline, name: &str) -> Refusal {
    let known = || pipeline.artifacts.keys().map(ToString::to_string);
    let help = trimaran_language::suggest::did_you_mean(name, known(), || {
        format!("it has: {}", known().collect::<Vec<_>>().join(", "))
    });
    let message = format!("pipeline `{}` has no artifact `{name}`", pipeline.name);
    Refusal { help: Some(help), ..refusal(error_code::NOT_FOUND, message) }
}
