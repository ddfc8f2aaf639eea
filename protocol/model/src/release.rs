//! Releases: the immutable unit that is applied and rolled back.

use crate::id::{ArtifactName, Digest, PipelineName, TargetName};
use crate::pipeline::{HealthCheck, Process};

/// What runs on one target: everything that is needed to apply it again, addressed by its digest.
///
/// The digest is SHA-256 over the frozen wire form of this struct (`trimaran_wire::v1::release`), so it
/// depends on nothing that is live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    pub pipeline: PipelineName,
    pub target: TargetName,
    /// The version of the artifact that the workload runs, for people.
    pub version: String,
    pub workload: ReleaseWorkload,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleaseWorkload {
    Host(HostRelease),
}

/// A service on hosts with its artifact pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRelease {
    pub bundle: Artifact,
    pub process: Process,
    pub health: HealthCheck,
}

/// An artifact with version and digest bound.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Artifact {
    pub name: ArtifactName,
    pub version: String,
    pub sha256: Digest,
    pub location: ArtifactLocation,
}

/// Where the bytes of one version are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ArtifactLocation {
    Url(String),
    /// On the runner's own host.
    Path(String),
}
