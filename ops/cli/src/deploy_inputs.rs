//! What `plan` and `deploy` take: a pipeline by name or file, versions of its artifacts, overrides.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_model::error_code;
use trimaran_model::pipeline::{Pipeline, Workload};
use trimaran_sealing::SealingKey;
use trimaran_wire::document::{SealingKey as SealingKeyDocument, SourceDocument};
use trimaran_wire::v1::operator::{ArtifactVersion, DeployRequest, OperatorBody, SourceFile};

use crate::artifact;
use crate::error::CliError;
use crate::job_files::{self, JobFiles};
use crate::manifest_archive;
use crate::manifest_set::{self, SealingKeys};
use crate::pipeline_files;
use crate::pipelines;
use crate::remote::Remote;
use crate::upload::Upload;

/// The arguments of both commands.
#[derive(Debug, clap::Args)]
pub(crate) struct Inputs {
    /// A pipeline that the cluster knows.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    pipeline: Option<String>,
    /// A pipeline file, `-` for stdin; it is stored with the run.
    #[arg(short, long, value_name = "FILE")]
    file: Option<String>,
    /// An artifact's version, with its digest where this machine can't read it.
    #[arg(long = "artifact", value_name = "NAME=VERSION[@sha256:HEX]")]
    artifacts: Vec<String>,
    /// Override a refusal; needs `--reason`.
    #[arg(long = "override", value_name = "quarantine|window|freeze|restored", value_parser = ["quarantine", "window", "freeze", "restored"], requires = "reason")]
    overrides: Vec<String>,
    /// Why; kept in the audit log.
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

/// What the inputs say without asking anyone: errors in the file come before those of the way to a cluster.
pub(crate) struct ParsedInputs<'a> {
    inputs: &'a Inputs,
    file: Option<SourceFile>,
    pipeline: Option<Pipeline>,
    artifacts: BTreeMap<String, ArtifactVersion>,
}

impl<'a> ParsedInputs<'a> {
    pub(crate) fn parse(inputs: &'a Inputs) -> Result<Self, CliError> {
        let file = inputs.file.as_deref().map(pipeline_files::read).transpose()?;
        let pipeline =
            file.as_ref().map(|file| pipeline_files::pipeline(std::slice::from_ref(file))).transpose()?;
        file.as_ref().map_or(Ok(()), |file| pipeline_files::check_job_files(std::slice::from_ref(file)))?;
        let mut artifacts = BTreeMap::new();
        for argument in &inputs.artifacts {
            let (name, version) = parse_artifact(argument)?;
            if artifacts.insert(name.clone(), version).is_some() {
                return Err(CliError::new(error_code::USAGE, format!("artifact `{name}` has two versions"))
                    .help("name each artifact once"));
            }
        }
        Ok(Self { inputs, file, pipeline, artifacts })
    }

    /// Asks for the stored file where none was named, and binds a digest to every artifact that can be read here.
    pub(crate) fn request(self, plan_digest: Option<[u8; 32]>, remote: &Remote) -> Result<Request, CliError> {
        let Self { inputs, file, pipeline, mut artifacts } = self;
        let pipeline = match pipeline {
            Some(pipeline) => pipeline,
            None => stored_pipeline(inputs.pipeline.as_deref().unwrap_or_default(), remote)?,
        };
        artifact::check_versions(&pipeline, &artifacts)?;
        let files = match pipeline.manifests_artifact() {
            // One without a version is the coordinator's to name.
            Some((name, source)) => {
                let bound = artifacts.get_mut(name.as_str());
                bound.map(|bound| manifest_archive::files(name, source, bound, remote)).transpose()?
            }
            None => manifest_set::files_beside(&pipeline, inputs.file.as_deref())?,
        };
        let job_files = job_files::read(&pipeline, inputs.file.as_deref(), &mut artifacts, remote)?;
        artifact::bind_digests(&pipeline, &mut artifacts, remote)?;
        let keys = || sealing_keys(&pipeline, remote);
        let manifests = files.map(|files| manifest_set::rendered(files, &keys)).transpose()?;
        let deploy = DeployRequest {
            pipeline: inputs.pipeline.clone(),
            file,
            artifacts,
            manifests: manifests.as_ref().map(|set| set.content.into()),
            files: job_files.as_ref().map(|it| (&it.files).into()),
            plan_digest,
            overrides: inputs.overrides.clone(),
            reason: inputs.reason.clone(),
        };
        let is_comparable = !matches!(pipeline.workload, Workload::Host(_));
        let upload = manifests.or(job_files.map(|JobFiles { upload, .. }| upload));
        Ok(Request { deploy, upload, is_comparable })
    }
}

/// What is asked of the cluster.
pub(crate) struct Request {
    pub(crate) deploy: DeployRequest,
    /// The manifests of the pipeline, or the files of its job, which a deploy has to upload first.
    pub(crate) upload: Option<Upload>,
    /// Whether agents have something to compare the deploy with: what Kubernetes or Flink runs.
    pub(crate) is_comparable: bool,
}

/// What values are sealed with for each target of a pipeline, asked of the targets' agents.
fn sealing_keys(pipeline: &Pipeline, remote: &Remote) -> Result<SealingKeys, CliError> {
    let targets: BTreeSet<String> =
        pipeline.environments.iter().flat_map(|it| &it.targets).map(ToString::to_string).collect();
    let key = |target: String| {
        let answer =
            remote.read::<SealingKeyDocument>(OperatorBody::SealingKey { target: target.clone() })?;
        let hex = &answer.document.key;
        let key = bytes_of_hex(hex).and_then(|bytes| SealingKey::from_bytes(&bytes));
        let broken = || CliError::new(error_code::BUG, format!("the key of target `{target}` is none"));
        Ok((target.clone(), key.ok_or_else(broken)?))
    };
    targets.into_iter().map(key).collect()
}

fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn stored_pipeline(name: &str, remote: &Remote) -> Result<Pipeline, CliError> {
    let stored = stored_source(name, remote)?;
    pipeline_files::pipeline(&[SourceFile { name: stored.file, text: stored.text.into_bytes() }])
}

/// The file of a pipeline as the cluster knows it: the one that was deployed or applied last.
pub(crate) fn stored_source(name: &str, remote: &Remote) -> Result<SourceDocument, CliError> {
    let body = OperatorBody::PipelineSource { pipeline: name.to_owned() };
    match remote.read::<SourceDocument>(body) {
        Ok(answer) => Ok(answer.document),
        Err(error) => Err(pipelines::with_nearest(error, name, remote)),
    }
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
