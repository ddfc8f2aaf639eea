//! From an artifact to a verified file of this host.
//!
//! Bytes are hashed on their way to `CACHE/.part-…`; only what has the planned digest is renamed to
//! `CACHE/SHA256`. A file that is there already is hashed again before it is used: the cache may be
//! removed or spoiled at any time.
//!
//! Deliberately not here: what is kept in the cache and for how long, and unpacking.

mod http;
mod local;
pub(crate) mod part;
pub(crate) mod source;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use trimaran_model::id::Digest;
use trimaran_model::limits::FETCH_TRIES_MAX;
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::{Artifact, ArtifactLocation};

use self::source::source_name;
use crate::disk::Space;

pub use part::clean;

/// The first wait between two tries; it doubles.
const BACKOFF: Duration = Duration::from_millis(500);

/// Why an artifact is not in the cache. Nothing of the try is left.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("can't fetch {from}: {detail}")]
    Unreachable { from: String, detail: String },
    #[error("{from} did not arrive within {limit_ms} ms: {detail}")]
    Timeout { from: String, limit_ms: u128, detail: String },
    #[error("{from} does not exist: {detail}")]
    Missing { from: String, detail: String },
    #[error("{from} was planned with sha256:{planned}, but what is there now has sha256:{found}")]
    Digest { from: String, planned: Digest, found: Digest },
    #[error("{from} is over the limit of {max} bytes: it has {}", in_words(*length, *max))]
    TooLarge { from: String, length: Option<u64>, max: u64 },
    #[error("{from} needs {needed}, the disk of the cache has {free} free above its reserve")]
    Disk { from: String, needed: Space, free: Space },
    #[error("can't {operation} `{path}`: {source}")]
    Io { operation: &'static str, path: String, source: std::io::Error },
}

fn in_words(length: Option<u64>, max: u64) -> String {
    length.map_or_else(|| format!("more than {max}"), |length| length.to_string())
}

impl FetchError {
    pub fn code(&self) -> ReasonCode {
        match self {
            Self::Unreachable { .. } => ReasonCode::FetchUnreachable,
            Self::Timeout { .. } => ReasonCode::FetchTimeout,
            Self::Missing { .. } => ReasonCode::FetchMissing,
            Self::Digest { .. } => ReasonCode::FetchDigest,
            Self::TooLarge { .. } => ReasonCode::UnpackLimit,
            Self::Disk { .. } => ReasonCode::PreflightDisk,
            Self::Io { .. } => ReasonCode::HostInternal,
        }
    }

    /// A user removed the cache in the middle, which is allowed at any time: the next try makes it anew.
    fn is_removed_cache(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }

    pub(crate) fn io(operation: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { operation, path: path.display().to_string(), source }
    }
}

/// How one try ended when it did not succeed.
enum Failure {
    /// The same try may succeed a moment later.
    Passing(String),
    Final(FetchError),
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self::Final(error)
    }
}

/// Brings the artifact into the directory `cache` and returns its path there.
///
/// Takes no longer than `deadline`. May be dropped at any time; what was begun is removed.
pub async fn fetch(artifact: &Artifact, cache: &Path, deadline: Duration) -> Result<PathBuf, FetchError> {
    fetch_with(artifact, cache, deadline, BACKOFF).await
}

async fn fetch_with(
    artifact: &Artifact,
    cache: &Path,
    deadline: Duration,
    backoff: Duration,
) -> Result<PathBuf, FetchError> {
    let from = source_name(&artifact.location);
    let last = parking_lot::Mutex::new("it was still on its way".to_owned());
    let work = async {
        if let Some(blob) = part::find(cache, artifact.sha256).await? {
            return Ok(blob);
        }
        let mut wait = backoff;
        let mut tries = 1;
        loop {
            let detail = match attempt(artifact, cache, deadline).await {
                Ok(blob) => return Ok(blob),
                Err(Failure::Final(error)) if tries < FETCH_TRIES_MAX && error.is_removed_cache() => {
                    error.to_string()
                }
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing(detail)) => detail,
            };
            tracing::debug!(%from, tries, %detail, "a download failed");
            if tries == FETCH_TRIES_MAX {
                let detail = format!("{detail} ({tries} tries)");
                return Err(FetchError::Unreachable { from: from.clone(), detail });
            }
            tries += 1;
            *last.lock() = detail;
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
    };
    match tokio::time::timeout(deadline, work).await {
        Ok(result) => result,
        Err(_) => Err(FetchError::Timeout {
            from: from.clone(),
            limit_ms: deadline.as_millis(),
            detail: last.lock().clone(),
        }),
    }
}

async fn attempt(artifact: &Artifact, cache: &Path, deadline: Duration) -> Result<PathBuf, Failure> {
    match &artifact.location {
        ArtifactLocation::Url(url) => http::download(url, artifact.sha256, cache, deadline).await,
        ArtifactLocation::Path(path) => local::copy(Path::new(path), artifact.sha256, cache).await,
    }
}
