//! Where the objects of releases come from.

use std::future::Future;
use std::sync::Arc;

use serde_json::Value;
use trimaran_model::id::Digest;
use trimaran_model::release::{KubernetesRelease, Release, ReleaseWorkload};

/// Releases by their digest. An error is in words, and another try may help.
pub trait Releases: Send + Sync + 'static {
    fn release(&self, digest: Digest) -> impl Future<Output = Result<Arc<Release>, String>> + Send;

    /// The documents of a release, as they were planned: one JSON list.
    fn content(
        &self,
        digest: Digest,
        release: &KubernetesRelease,
    ) -> impl Future<Output = Result<Vec<u8>, String>> + Send;
}

/// The documents of a release of which the digest alone is known; none of one that is no release of objects.
pub(crate) async fn documents(releases: &impl Releases, digest: Digest) -> Result<Vec<Value>, String> {
    let release = releases.release(digest).await?;
    let ReleaseWorkload::Kubernetes(workload) = &release.workload else { return Ok(Vec::new()) };
    let content = releases.content(digest, workload).await?;
    serde_json::from_slice(&content)
        .map_err(|error| format!("release {} is no JSON: {error}", digest.short()))
}
