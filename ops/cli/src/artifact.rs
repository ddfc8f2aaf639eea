//! Digests of artifacts: from a path seen here, or by streaming the URL once.

use std::collections::BTreeMap;
use std::io::Read as _;

use sha2::{Digest as _, Sha256};
use trimaran_model::error_code;
use trimaran_model::pipeline::{ArtifactSource, Pipeline};
use trimaran_wire::v1::operator::ArtifactVersion;

use crate::error::CliError;
use crate::remote::Remote;

/// Computes the digest of every artifact that has a version without one.
pub(crate) fn bind_digests(
    pipeline: &Pipeline,
    versions: &mut BTreeMap<String, ArtifactVersion>,
    remote: &Remote,
) -> Result<(), CliError> {
    for (name, bound) in versions.iter_mut().filter(|(_, bound)| bound.sha256.is_none()) {
        let source = pipeline.artifacts.iter().find(|(known, _)| known.as_str() == name);
        let Some((_, source)) = source else { continue };
        bound.sha256 = match source {
            ArtifactSource::Path(path) => {
                Some(file_digest(name, &path.replace("{version}", &bound.version))?)
            }
            ArtifactSource::File(url) => {
                Some(remote.block_on(url_digest(name, &url.replace("{version}", &bound.version)))?)
            }
            ArtifactSource::Image(_) => None,
        };
    }
    Ok(())
}

/// Refuses a command that names no version of an artifact which the pipeline has.
pub(crate) fn check_versions(
    pipeline: &Pipeline,
    versions: &BTreeMap<String, ArtifactVersion>,
) -> Result<(), CliError> {
    let missing =
        pipeline.artifacts.iter().map(|(name, _)| name.as_str()).find(|name| !versions.contains_key(*name));
    let Some(name) = missing.filter(|_| versions.keys().all(|name| knows(pipeline, name))) else {
        return Ok(());
    };
    Err(CliError::new(error_code::ARTIFACT_MISSING, format!("artifact `{name}` has no version"))
        .cause(format!("pipeline `{}` needs one of each of its artifacts", pipeline.name))
        .help(format!("add `--artifact {name}=VERSION`")))
}

/// Whether the pipeline has an artifact of this name. A misspelt one is the coordinator's to name.
fn knows(pipeline: &Pipeline, name: &str) -> bool {
    pipeline.artifacts.iter().any(|(known, _)| known.as_str() == name)
}

/// The digest of a file of this machine.
fn file_digest(name: &str, path: &str) -> Result<[u8; 32], CliError> {
    let mut file = std::fs::File::open(path).map_err(|error| unreadable(name, path, &error.to_string()))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer).map_err(|error| unreadable(name, path, &error.to_string()))?;
        if read == 0 {
            return Ok(hasher.finalize().into());
        }
        hasher.update(&buffer[..read]);
    }
}

async fn url_digest(name: &str, url: &str) -> Result<[u8; 32], CliError> {
    trimaran_client::install_crypto();
    let fail = |why: String| unreadable(name, url, &why);
    let client = reqwest::Client::builder()
        .connect_timeout(std::time::Duration::from_secs(5))
        .read_timeout(std::time::Duration::from_secs(30))
        .build()
        .map_err(|error| fail(error.to_string()))?;
    let mut response = client.get(url).send().await.map_err(|error| fail(innermost_cause(&error)))?;
    if response.status() == reqwest::StatusCode::NOT_FOUND {
        let message = format!("artifact `{name}` is not at {url}");
        return Err(CliError::new(error_code::NOT_FOUND, message)
            .cause("its server answers 404 Not Found")
            .help("check the version, or publish the artifact"));
    }
    if !response.status().is_success() {
        return Err(fail(format!("the server answers {}", response.status())));
    }
    let mut hasher = Sha256::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| fail(innermost_cause(&error)))? {
        hasher.update(&chunk);
    }
    Ok(hasher.finalize().into())
}

/// The innermost cause: "connection refused" and not "error sending request".
fn innermost_cause(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

fn unreadable(name: &str, place: &str, why: &str) -> CliError {
    CliError::new(error_code::ARTIFACT_DIGEST, format!("artifact `{name}` can't be read from this machine"))
        .cause(format!("{place}: {why}"))
        .help(format!(
            "check the version, or add its digest if only the hosts see it: `--artifact {name}=VERSION@sha256:HEX`"
        ))
}
