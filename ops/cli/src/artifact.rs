//! Digests of artifacts, and their bytes where they are needed: from a path seen here, or by streaming the URL once.

use std::collections::BTreeMap;
use std::io::Read as _;

use sha2::{Digest as _, Sha256};
use trimaran_model::error_code;
use trimaran_model::id::Digest;
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
        let Some((_, source)) = source.filter(|(_, source)| !matches!(source, ArtifactSource::Image(_)))
        else {
            continue;
        };
        let mut hasher = Sha256::new();
        each_part(name, source, &bound.version, remote, &mut |part| {
            hasher.update(part);
            Ok(())
        })?;
        bound.sha256 = Some(hasher.finalize().into());
    }
    Ok(())
}

/// What is read of an artifact on this machine.
pub(crate) struct Wanted {
    pub(crate) bytes_max: usize,
    /// `the manifests in it are`.
    pub(crate) what: &'static str,
}

/// All bytes of an artifact that this machine itself has to read, at most `wanted.bytes_max`. Binds its digest.
///
/// # Errors
/// When it can't be read, is too large, or has another digest than its version was named with.
pub(crate) fn contents(
    name: &str,
    source: &ArtifactSource,
    bound: &mut ArtifactVersion,
    wanted: &Wanted,
    remote: &Remote,
) -> Result<Vec<u8>, CliError> {
    let Wanted { bytes_max, what } = wanted;
    let mut bytes = Vec::new();
    let read = each_part(name, source, &bound.version, remote, &mut |part| {
        if bytes.len() + part.len() > *bytes_max {
            let limit = bytes_max >> 20;
            let message = format!("artifact `{name}` is larger than {limit} MiB");
            return Err(CliError::new(error_code::UNREADABLE, message).help("split it"));
        }
        bytes.extend_from_slice(part);
        Ok(())
    });
    read.map_err(|error| {
        // A digest does not help: its contents are needed.
        if error.code == error_code::ARTIFACT_DIGEST {
            error.help(format!(
                "check the version; {what} read on this machine, also when its digest is named"
            ))
        } else {
            error
        }
    })?;
    let found = Digest(Sha256::digest(&bytes).into());
    match bound.sha256.replace(found.0).map(Digest) {
        Some(named) if named != found => {
            let message = format!("artifact `{name}` {} is another one than was named", bound.version);
            Err(CliError::new(error_code::UNREADABLE, message)
                .cause(format!("it has sha256:{found}, and sha256:{named} was named"))
                .help("correct the digest, or publish the change under a version of its own"))
        }
        _ => Ok(bytes),
    }
}

/// Refuses a command that names no version of an artifact which the pipeline has.
pub(crate) fn check_versions(
    pipeline: &Pipeline,
    versions: &BTreeMap<String, ArtifactVersion>,
) -> Result<(), CliError> {
    let missing =
        pipeline.artifacts.keys().map(|name| name.as_str()).find(|name| !versions.contains_key(*name));
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

/// Takes a part of an artifact's bytes; an error ends the reading.
type Take<'a> = dyn FnMut(&[u8]) -> Result<(), CliError> + 'a;

/// Reads an artifact of this version once, from this machine or its server. An image has no bytes to read.
fn each_part(
    name: &str,
    source: &ArtifactSource,
    version: &str,
    remote: &Remote,
    take: &mut Take<'_>,
) -> Result<(), CliError> {
    match source {
        ArtifactSource::Path(path) => file_parts(name, &path.replace("{version}", version), take),
        ArtifactSource::File(url) => {
            remote.block_on(url_parts(name, &url.replace("{version}", version), take))
        }
        ArtifactSource::Image(image) => Err(unreadable(name, image, "it is an image")),
    }
}

fn file_parts(name: &str, path: &str, take: &mut Take<'_>) -> Result<(), CliError> {
    let mut file = std::fs::File::open(path).map_err(|error| unreadable(name, path, &error.to_string()))?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(|error| unreadable(name, path, &error.to_string()))? {
            0 => return Ok(()),
            read => take(&buffer[..read])?,
        }
    }
}

async fn url_parts(name: &str, url: &str, take: &mut Take<'_>) -> Result<(), CliError> {
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
    while let Some(chunk) = response.chunk().await.map_err(|error| fail(innermost_cause(&error)))? {
        take(&chunk)?;
    }
    Ok(())
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
