//! The agent's store of jars, by digest: what a rollback needs is there when the server of artifacts is not.

use trimaran_artifacts::{Artifacts, Stored};
use trimaran_flink::{Jar, JarSource};
use trimaran_model::action::Failure;
use trimaran_model::release::Artifact;

/// Jars in the agent's durable store.
pub(crate) struct StoredJars(pub(crate) Artifacts);

impl JarSource for StoredJars {
    async fn jar(&self, jar: &Artifact) -> Result<Jar, Failure> {
        match self.0.artifact(jar).await {
            Ok(Stored { file, fetched_from }) => Ok(Jar { file, fetched_from }),
            Err(error) => Err(Failure { code: error.code(), message: error.to_string(), instance: None }),
        }
    }
}
