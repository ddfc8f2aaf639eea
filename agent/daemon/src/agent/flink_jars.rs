//! The agent's store of jars and of files of jobs, by digest: what a rollback needs is there when the server of artifacts is not.

use std::sync::Arc;

use trimaran_artifacts::{Artifacts, FetchError, Stored};
use trimaran_flink::{Jar, JarSource};
use trimaran_model::action::Failure;
use trimaran_model::id::Digest;
use trimaran_model::release::{Artifact, Content, Release};

/// Jars in the agent's durable store.
pub(crate) struct StoredJars(pub(crate) Artifacts);

impl JarSource for StoredJars {
    async fn jar(&self, jar: &Artifact) -> Result<Jar, Failure> {
        match self.0.artifact(jar).await {
            Ok(Stored { file, fetched_from }) => Ok(Jar { file, fetched_from }),
            Err(error) => Err(failure(&error)),
        }
    }

    async fn files(&self, release: Digest, whole: Content) -> Result<Vec<u8>, Failure> {
        self.0.content(release, &whole).await.map_err(|error| failure(&error))
    }

    async fn release(&self, release: Digest) -> Option<Arc<Release>> {
        self.0.release(release).await.ok()
    }
}

fn failure(error: &FetchError) -> Failure {
    Failure { code: error.code(), message: error.to_string(), instance: None }
}
