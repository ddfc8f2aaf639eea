//! Releases. Their digest is taken over these bytes, so this struct is frozen harder than the others.

use bincode::{Decode, Encode};
use sha2::{Digest as _, Sha256};
use trimaran_model::id::Digest;
use trimaran_model::release::{FlinkRelease, HostRelease, Release, ReleaseWorkload};

use super::artifact::WireArtifact;
use super::common::name;
use super::lifecycle::WireLifecycle;
use super::release_platforms::{WireFlinkFiles, WireFlinkRelease, WireKubernetesRelease};
use super::service::{WireHealth, WireProcess};
use crate::codec::{CodecError, Message, encode, kind};

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireRelease {
    pub pipeline: String,
    pub target: String,
    pub version: String,
    pub workload: WireReleaseWorkload,
}

impl Message for WireRelease {
    const KIND: u16 = kind::RELEASE;
    const VERSION: u16 = 1;
}

impl WireRelease {
    /// SHA-256 over the body of the frozen form: the release's address everywhere.
    pub fn digest(&self) -> Digest {
        Digest(Sha256::digest(encode(self)).into())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum WireReleaseWorkload {
    Host {
        bundle: WireArtifact,
        process: WireProcess,
        health: WireHealth,
        lifecycle: WireLifecycle,
    },
    Kubernetes(WireKubernetesRelease),
    Flink(WireFlinkRelease),
    /// Apart from `Flink`, so that a release without files has the bytes and the digest that it always had.
    FlinkWithFiles {
        release: WireFlinkRelease,
        files: WireFlinkFiles,
    },
}

impl From<&Release> for WireRelease {
    fn from(release: &Release) -> Self {
        let workload = match &release.workload {
            ReleaseWorkload::Host(host) => WireReleaseWorkload::Host {
                bundle: (&host.bundle).into(),
                process: (&host.process).into(),
                health: (&host.health).into(),
                lifecycle: (&host.lifecycle).into(),
            },
            ReleaseWorkload::Kubernetes(it) => WireReleaseWorkload::Kubernetes(it.into()),
            ReleaseWorkload::Flink(it) => match &it.files {
                None => WireReleaseWorkload::Flink(it.into()),
                Some(files) => {
                    WireReleaseWorkload::FlinkWithFiles { release: it.into(), files: files.into() }
                }
            },
        };
        Self {
            pipeline: release.pipeline.to_string(),
            target: release.target.to_string(),
            version: release.version.clone(),
            workload,
        }
    }
}

impl TryFrom<WireRelease> for Release {
    type Error = CodecError;
    fn try_from(wire: WireRelease) -> Result<Self, CodecError> {
        let workload = match wire.workload {
            WireReleaseWorkload::Host { bundle, process, health, lifecycle } => {
                ReleaseWorkload::Host(HostRelease {
                    bundle: bundle.try_into()?,
                    process: process.try_into()?,
                    health: health.try_into()?,
                    lifecycle: lifecycle.try_into()?,
                })
            }
            WireReleaseWorkload::Kubernetes(it) => ReleaseWorkload::Kubernetes(it.try_into()?),
            WireReleaseWorkload::Flink(it) => ReleaseWorkload::Flink(it.try_into()?),
            WireReleaseWorkload::FlinkWithFiles { release, files } => {
                let release: FlinkRelease = release.try_into()?;
                ReleaseWorkload::Flink(FlinkRelease { files: Some(files.try_into()?), ..release })
            }
        };
        Ok(Self {
            pipeline: name(&wire.pipeline)?,
            target: name(&wire.target)?,
            version: wire.version,
            workload,
        })
    }
}
