//! From a request to a plan: the file or the stored source is compiled here, and the plan travels on.

use std::collections::BTreeMap;

use trimaran_engine::{plan, query};
use trimaran_model::error_code;
use trimaran_model::id::{ArtifactName, Digest, TargetName};
use trimaran_model::pipeline::Pipeline;
use trimaran_model::target::Target;
use trimaran_spec::{Compiled, DocumentKind, Severity, SourceFile};
use trimaran_wire::v1::command::PipelineSource;
use trimaran_wire::v1::operator::{self, DeployRequest, Refusal, WireDiagnostic};
use trimaran_wire::v1::plan::WirePlan;

use super::read::stored_source;
use super::refusal;
use crate::rows::Rows;

/// What files say, or every diagnostic.
pub(super) fn compile_files(files: &[operator::SourceFile]) -> Result<Compiled, Refusal> {
    let inputs: Vec<_> =
        files.iter().map(|file| SourceFile { name: &file.name, bytes: &file.text }).collect();
    let compiled = trimaran_spec::compile(&inputs);
    if !compiled.has_errors() {
        return Ok(compiled);
    }
    let errors: Vec<_> = compiled.diagnostics.iter().filter(|it| it.severity == Severity::Error).collect();
    let message = format!(
        "{} errors in {}",
        errors.len(),
        files.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(", ")
    );
    let wire = |it: &trimaran_spec::Diagnostic| WireDiagnostic {
        code: it.code.0,
        warning: it.severity == Severity::Warning,
        message: it.message.clone(),
        file: it.file.clone(),
        line: it.line,
        column: it.column,
        length: it.length,
        help: it.help.clone(),
    };
    let code = errors.first().map_or(error_code::NOT_YAML, |first| first.code);
    let diagnostics = compiled.diagnostics.iter().map(wire).collect();
    Err(Refusal { diagnostics, ..refusal(code, message) })
}

/// The pipeline of a request with its stored form.
fn pipeline(rows: &Rows<'_>, request: &DeployRequest) -> Result<(PipelineSource, Pipeline, bool), Refusal> {
    let (file, given) = match (&request.file, &request.pipeline) {
        (Some(file), _) => (file.clone(), true),
        (None, Some(name)) => {
            let stored = stored_source(rows, name)?;
            (operator::SourceFile { name: stored.file, text: stored.text.into_bytes() }, false)
        }
        (None, None) => return Err(refusal(error_code::USAGE, "neither a pipeline nor a file was given")),
    };
    let compiled = compile_files(std::slice::from_ref(&file))?;
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
    Ok((source(&file, &pipeline), pipeline, given))
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

/// The plan of a request, and the file to store when one was given.
pub(super) fn compile(
    rows: &Rows<'_>,
    request: &DeployRequest,
) -> Result<(Option<PipelineSource>, WirePlan), Refusal> {
    let (source, pipeline, given) = pipeline(rows, request)?;
    let mut targets: BTreeMap<TargetName, Target> = BTreeMap::new();
    for name in pipeline.environments.iter().flat_map(|environment| &environment.targets) {
        let row = query::target_row(rows, name.as_str());
        if let Some(Ok(target)) = row.map(|row| Target::try_from(row.target)) {
            targets.insert(name.clone(), target);
        }
    }
    let mut versions = BTreeMap::new();
    for (name, given) in &request.artifacts {
        let bad = |error: trimaran_model::id::InvalidName| refusal(error_code::USAGE, error.to_string());
        let artifact: ArtifactName = name.parse().map_err(bad)?;
        let Some(sha256) = given.sha256 else {
            let message = format!("artifact `{name}` has no digest, and it can't be read from where you are");
            return Err(refusal(error_code::ARTIFACT_DIGEST, message));
        };
        versions.insert(artifact, (given.version.clone(), Digest(sha256)));
    }
    let plan =
        plan::compile(&pipeline, &targets, &versions).map_err(|error| refusal(error.code, error.message))?;
    if request.plan_digest.is_some_and(|wanted| wanted != plan.digest.0) {
        return Err(refusal(
            error_code::PLAN_CHANGED,
            format!("the plan that would run has the digest {}", plan.digest),
        ));
    }
    Ok((given.then_some(source), WirePlan::from(&plan)))
}
