//! `trimaran plan` and `trimaran deploy`: the same inputs, shown or carried out.

use std::collections::BTreeMap;

use trimaran_model::error_code;
use trimaran_model::pipeline::Pipeline;
use trimaran_wire::document::{PlanDocument, RunDocument, SourceDocument};
use trimaran_wire::v1::operator::{ArtifactVersion, DeployRequest, OperatorBody, SourceFile};

use super::decide::parse_digest;
use crate::artifact;
use crate::error::CliError;
use crate::follow::{WaitArgs, started};
use crate::remote::{Remote, RequestIdArg};
use crate::sources;
use crate::ui::{Global, print_text, short};

/// What plan and deploy have in common.
#[derive(Debug, clap::Args)]
struct Inputs {
    /// A pipeline that the cluster knows.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    pipeline: Option<String>,
    /// A pipeline file, `-` for stdin; it is stored with the run.
    #[arg(short, long, value_name = "FILE")]
    file: Option<String>,
    /// An artifact's version, with its digest where it can't be read from here.
    #[arg(long = "artifact", value_name = "NAME=VERSION[@sha256:HEX]")]
    artifacts: Vec<String>,
    /// Pass a refusal that may be overridden; needs `--reason`.
    #[arg(long = "override", value_name = "quarantine|window|freeze", value_parser = ["quarantine", "window", "freeze"], requires = "reason")]
    overrides: Vec<String>,
    /// Why; kept in the audit log.
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

/// Show what a deploy would change, and the way back, without changing anything.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran plan -f trimaran.yaml --artifact bundle=v2\n  trimaran plan web --artifact bundle=v2 --detailed-exitcode"
)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    inputs: Inputs,
    /// Exit with 10 when the plan changes something.
    #[arg(long)]
    detailed_exitcode: bool,
}

/// Start a run.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran deploy -f trimaran.yaml --artifact bundle=v2\n  trimaran deploy web --artifact bundle=v2@sha256:HEX --wait --timeout 30m\n  trimaran deploy web --artifact bundle=v2 --detach -o json"
)]
pub(crate) struct DeployArgs {
    #[command(flatten)]
    inputs: Inputs,
    /// Refuse when the plan has another digest than the one that was looked at.
    #[arg(long, value_name = "PLAN")]
    digest: Option<String>,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    request: RequestIdArg,
}

pub(crate) fn plan(args: &PlanArgs, global: &Global) -> Result<u8, CliError> {
    let given = Given::of(&args.inputs)?;
    let remote = Remote::new(global)?;
    let request = request(given, &args.inputs, None, &remote)?;
    let file = request.file.clone();
    let answer = remote.read::<PlanDocument>(OperatorBody::Plan(request));
    let answer = answer.map_err(|error| error.shown_in(&sources::inputs(file.as_slice())))?;
    let changes = answer.document.stages.iter().any(|stage| stage.change != "none");
    answer.print(global, plan_table);
    Ok(if changes && args.detailed_exitcode { 10 } else { 0 })
}

pub(crate) fn deploy(args: &DeployArgs, global: &Global) -> Result<u8, CliError> {
    let given = Given::of(&args.inputs)?;
    let digest = args.digest.as_deref().map(parse_digest).transpose()?;
    let remote = Remote::new(global)?;
    let request = request(given, &args.inputs, digest, &remote)?;
    let file = request.file.clone();
    let answer = remote.change::<RunDocument>(&args.request, OperatorBody::Deploy(request));
    let answer = answer.map_err(|error| error.shown_in(&sources::inputs(file.as_slice())))?;
    started(&remote, global, &args.wait, &answer)
}

/// What the inputs say without asking anybody: errors in the file come before those of the way to a cluster.
struct Given {
    file: Option<SourceFile>,
    pipeline: Option<Pipeline>,
    artifacts: BTreeMap<String, ArtifactVersion>,
}

impl Given {
    fn of(inputs: &Inputs) -> Result<Self, CliError> {
        let file = inputs.file.as_deref().map(sources::read).transpose()?;
        let pipeline = file.as_ref().map(|file| sources::pipeline(std::slice::from_ref(file))).transpose()?;
        let mut artifacts = BTreeMap::new();
        for argument in &inputs.artifacts {
            let (name, version) = parse_artifact(argument)?;
            if artifacts.insert(name.clone(), version).is_some() {
                return Err(CliError::new(error_code::USAGE, format!("artifact `{name}` is given twice")));
            }
        }
        Ok(Self { file, pipeline, artifacts })
    }
}

/// Asks for the stored file where none was given, and binds a digest to every artifact that can be read here.
fn request(
    given: Given,
    inputs: &Inputs,
    plan_digest: Option<[u8; 32]>,
    remote: &Remote,
) -> Result<DeployRequest, CliError> {
    let mut artifacts = given.artifacts;
    let pipeline = match given.pipeline {
        Some(pipeline) => pipeline,
        None => {
            let name = inputs.pipeline.clone().unwrap_or_default();
            let stored =
                remote.read::<SourceDocument>(OperatorBody::PipelineSource { pipeline: name })?.document;
            sources::pipeline(&[SourceFile { name: stored.file, text: stored.text.into_bytes() }])?
        }
    };
    artifact::bind_digests(&pipeline, &mut artifacts, remote)?;
    Ok(DeployRequest {
        pipeline: inputs.pipeline.clone(),
        file: given.file,
        artifacts,
        plan_digest,
        overrides: inputs.overrides.clone(),
        reason: inputs.reason.clone(),
    })
}

/// Reads `NAME=VERSION[@sha256:HEX]`.
fn parse_artifact(text: &str) -> Result<(String, ArtifactVersion), CliError> {
    let bad = |why: String| {
        CliError::new(error_code::USAGE, format!("`--artifact {text}`: {why}"))
            .help("write `--artifact NAME=VERSION` or `--artifact NAME=VERSION@sha256:HEX`")
    };
    let (name, rest) = text.split_once('=').ok_or_else(|| bad("there is no `=`".to_owned()))?;
    let (version, sha256) = match rest.split_once("@sha256:") {
        Some((version, hex)) => {
            let digest = hex.parse::<trimaran_model::id::Digest>().map_err(|error| bad(error.to_string()))?;
            (version, Some(digest.0))
        }
        None => (rest, None),
    };
    if name.is_empty() {
        return Err(bad("the artifact's name is missing".to_owned()));
    }
    if let Some(why) = trimaran_model::id::version_error(version) {
        return Err(bad(why.to_owned()));
    }
    Ok((name.to_owned(), ArtifactVersion { version: version.to_owned(), sha256 }))
}

fn plan_table(plan: &PlanDocument) {
    let versions: Vec<_> =
        plan.artifacts.iter().map(|artifact| format!("{} {}", artifact.name, artifact.version)).collect();
    let mut lines =
        vec![format!("{}  {}  plan {}", plan.pipeline, versions.join(", "), short(&plan.plan_digest))];
    for stage in &plan.stages {
        let from = stage.from.as_ref().map_or("nothing".to_owned(), |from| from.version.clone());
        let waves: Vec<_> = stage.waves.iter().map(|wave| wave.target_count.to_string()).collect();
        let of = stage.waves.last().map_or(0, |wave| wave.of);
        let down = stage.waves.first().map_or(0, |wave| wave.max_unavailable);
        lines.push(format!("  {:<28} {}: {from} -> {}", stage.name, stage.change, stage.to.version));
        lines
            .push(format!("    waves up to {} of {of} hosts, at most {down} down at once", waves.join(", ")));
    }
    for gate in &plan.gates {
        let timeout = trimaran_model::time::Millis(gate.timeout_ms);
        lines.push(format!(
            "  gate {}: {} ({}), for {timeout}",
            gate.stage,
            gate.kind,
            gate.options.join(" | ")
        ));
    }
    for back in &plan.way_back {
        let to = back.to.as_ref().map_or("stopped, there is no earlier good release".to_owned(), |to| {
            format!("to {}", to.version)
        });
        lines.push(format!("  way back {}: {} {to}", back.stage, back.kind.replace('_', " ")));
    }
    for warning in &plan.warnings {
        lines.push(format!("  warning: {warning}"));
    }
    lines.push("Nothing was changed.".to_owned());
    print_text(&lines.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artifacts_are_read_with_and_without_digest() {
        let (name, version) = parse_artifact("app=v1").expect("plain");
        assert_eq!((name.as_str(), version.version.as_str(), version.sha256), ("app", "v1", None));
        let hex = "ab".repeat(32);
        let (_, version) = parse_artifact(&format!("app=v1@sha256:{hex}")).expect("with digest");
        assert_eq!(version.sha256, Some([0xab; 32]));
        for bad in ["app", "=v1", "app=", "app=v1@sha256:zz", "app=v1@md5:0", "app=../v1", "app=a b"] {
            assert!(parse_artifact(bad).is_err(), "{bad}");
        }
    }
}
