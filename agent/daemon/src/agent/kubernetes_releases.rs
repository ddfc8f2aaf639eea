//! Objects of releases for targets of Kubernetes: in the agent's durable store by digest, else of the coordinators.

use std::sync::Arc;

use trimaran_artifacts::Artifacts;
use trimaran_kubernetes::Releases;
use trimaran_model::id::Digest;
use trimaran_model::release::{KubernetesRelease, Release};

/// Objects in the agent's store.
pub(crate) struct StoredReleases(pub(crate) Artifacts);

impl Releases for StoredReleases {
    async fn release(&self, digest: Digest) -> Result<Arc<Release>, String> {
        self.0.release(digest).await.map_err(|error| error.to_string())
    }

    async fn content(&self, digest: Digest, release: &KubernetesRelease) -> Result<Vec<u8>, String> {
        self.0.content(digest, &release.objects).await.map_err(|error| error.to_string())
    }
}
