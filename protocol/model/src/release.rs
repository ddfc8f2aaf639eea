//! Releases: the immutable unit that is applied and rolled back.

use std::collections::BTreeMap;

use crate::id::{ArtifactName, Digest, PipelineName, TargetName};
use crate::limits::CONTENT_PART_BYTES;
use crate::pipeline::{FlinkWorkload, HealthCheck, Lifecycle, OnConflict, Process};
use crate::target::PlatformKind;
use crate::time::Millis;

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
    Kubernetes(KubernetesRelease),
    Flink(FlinkRelease),
}

impl ReleaseWorkload {
    /// The platform that it runs on.
    pub fn platform(&self) -> PlatformKind {
        match self {
            Self::Host(_) => PlatformKind::Hosts,
            Self::Kubernetes(_) => PlatformKind::Kubernetes,
            Self::Flink(_) => PlatformKind::Flink,
        }
    }

    /// What is too large to stand in the release.
    pub fn content(&self) -> Option<Content> {
        match self {
            Self::Kubernetes(kubernetes) => Some(kubernetes.objects),
            Self::Host(_) | Self::Flink(_) => None,
        }
    }

    /// The artifacts that run, the one that gives the release its version first.
    pub fn artifacts(&self) -> Vec<&Artifact> {
        match self {
            Self::Host(host) => vec![&host.bundle],
            Self::Kubernetes(kubernetes) => kubernetes.images.values().chain(&kubernetes.manifests).collect(),
            Self::Flink(flink) => vec![&flink.jar],
        }
    }
}

/// Objects of one namespace, as they are applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesRelease {
    /// A JSON array of the objects as they were rendered, ConfigMaps and Secrets named by content, without a namespace and
    /// with the images of their files.
    pub objects: Content,
    /// The archive that they were read from; `None`: files beside the pipeline's.
    pub manifests: Option<Artifact>,
    /// The image that takes the place of the one that a container of this name has.
    pub images: BTreeMap<String, Artifact>,
    /// Healthy for so long before the stage is finished.
    pub stability: Millis,
    pub on_conflict: OnConflict,
}

/// Bytes that a release needs and that are too many to stand in it. Coordinators keep them as long as a release in memory
/// names them; agents fetch them by their digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content {
    /// SHA-256 over all of them.
    pub digest: Digest,
    /// At most `limits::CONTENT_BYTES_MAX`.
    pub bytes: u64,
}

impl Content {
    /// In how many parts of `limits::CONTENT_PART_BYTES` they travel; the last one may be shorter. Never none.
    pub fn parts(&self) -> u32 {
        let parts = self.bytes.div_ceil(CONTENT_PART_BYTES as u64).max(1);
        u32::try_from(parts).unwrap_or(u32::MAX)
    }

    /// The length of a part; `None`: there is no such part.
    pub fn part_bytes(&self, part: u32) -> Option<usize> {
        let begin = u64::from(part) * CONTENT_PART_BYTES as u64;
        let rest = usize::try_from(self.bytes.checked_sub(begin)?).unwrap_or(usize::MAX);
        (part < self.parts()).then_some(rest.min(CONTENT_PART_BYTES))
    }
}

/// A job with its artifact pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlinkRelease {
    pub jar: Artifact,
    pub job: FlinkWorkload,
}

/// A service on hosts with its artifact pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRelease {
    pub bundle: Artifact,
    pub process: Process,
    pub health: HealthCheck,
    pub lifecycle: Lifecycle,
}

impl HostRelease {
    /// Whether a process of `earlier` becomes one of this by a reload: it knows how, and nothing differs but what its
    /// environment is made of.
    pub fn is_reload_of(&self, earlier: &Self) -> bool {
        let process = Process {
            environment: self.process.environment.clone(),
            environment_files: self.process.environment_files.clone(),
            secrets: self.process.secrets.clone(),
            ..earlier.process.clone()
        };
        self.process.reload.is_some() && *self == (Self { process, ..earlier.clone() })
    }
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
