//! Releases. Their digest is taken over these bytes, so this struct is frozen harder than the others.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use sha2::{Digest as _, Sha256};
use trimaran_model::id::Digest;
use trimaran_model::pipeline::{HealthCheck, ProbeUrl, Process, Restart, RestartOn, Stop, StopSignal};
use trimaran_model::release::{Artifact, ArtifactLocation, HostRelease, Release, ReleaseWorkload};
use trimaran_model::time::Millis;

use super::common::{name, spelled};
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
    Host { bundle: WireArtifact, process: WireProcess, health: WireHealth },
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireArtifact {
    pub name: String,
    pub version: String,
    pub sha256: [u8; 32],
    pub location: WireLocation,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum WireLocation {
    Url(String),
    Path(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireProcess {
    pub command: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub stop_signal: String,
    pub stop_grace_ms: u64,
    pub restart_on: String,
    pub restart_delay_ms: u64,
    pub restart_max: u32,
    pub restart_per_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireHealth {
    pub host: Option<String>,
    pub port: u16,
    pub path: String,
    pub interval_ms: u64,
    pub timeout_ms: u64,
    pub min_healthy_ms: u64,
    pub deadline_ms: u64,
}

impl From<&Release> for WireRelease {
    fn from(release: &Release) -> Self {
        let ReleaseWorkload::Host(host) = &release.workload;
        Self {
            pipeline: release.pipeline.to_string(),
            target: release.target.to_string(),
            version: release.version.clone(),
            workload: WireReleaseWorkload::Host {
                bundle: (&host.bundle).into(),
                process: (&host.process).into(),
                health: (&host.health).into(),
            },
        }
    }
}

impl TryFrom<WireRelease> for Release {
    type Error = CodecError;
    fn try_from(wire: WireRelease) -> Result<Self, CodecError> {
        let WireReleaseWorkload::Host { bundle, process, health } = wire.workload;
        Ok(Self {
            pipeline: name(&wire.pipeline)?,
            target: name(&wire.target)?,
            version: wire.version,
            workload: ReleaseWorkload::Host(HostRelease {
                bundle: bundle.try_into()?,
                process: process.try_into()?,
                health: health.into(),
            }),
        })
    }
}

impl From<&Artifact> for WireArtifact {
    fn from(artifact: &Artifact) -> Self {
        let location = match artifact.location.clone() {
            ArtifactLocation::Url(url) => WireLocation::Url(url),
            ArtifactLocation::Path(path) => WireLocation::Path(path),
        };
        Self {
            name: artifact.name.to_string(),
            version: artifact.version.clone(),
            sha256: artifact.sha256.0,
            location,
        }
    }
}

impl TryFrom<WireArtifact> for Artifact {
    type Error = CodecError;
    fn try_from(wire: WireArtifact) -> Result<Self, CodecError> {
        let location = match wire.location {
            WireLocation::Url(url) => ArtifactLocation::Url(url),
            WireLocation::Path(path) => ArtifactLocation::Path(path),
        };
        Ok(Self { name: name(&wire.name)?, version: wire.version, sha256: Digest(wire.sha256), location })
    }
}

impl From<&Process> for WireProcess {
    fn from(process: &Process) -> Self {
        Self {
            command: process.command.clone(),
            environment: process.environment.clone(),
            stop_signal: process.stop.signal.as_str().to_owned(),
            stop_grace_ms: process.stop.grace.0,
            restart_on: process.restart.on.as_str().to_owned(),
            restart_delay_ms: process.restart.delay.0,
            restart_max: process.restart.max,
            restart_per_ms: process.restart.per.0,
        }
    }
}

impl TryFrom<WireProcess> for Process {
    type Error = CodecError;
    fn try_from(wire: WireProcess) -> Result<Self, CodecError> {
        if wire.command.is_empty() {
            return Err(CodecError::value("an empty command"));
        }
        let signal = StopSignal::ALL.into_iter().find(|signal| signal.as_str() == wire.stop_signal);
        let on = RestartOn::ALL.into_iter().find(|on| on.as_str() == wire.restart_on);
        Ok(Self {
            command: wire.command,
            environment: wire.environment,
            stop: Stop {
                signal: spelled(signal, "signal", &wire.stop_signal)?,
                grace: Millis(wire.stop_grace_ms),
            },
            restart: Restart {
                on: spelled(on, "restart", &wire.restart_on)?,
                delay: Millis(wire.restart_delay_ms),
                max: wire.restart_max,
                per: Millis(wire.restart_per_ms),
            },
        })
    }
}

impl From<&HealthCheck> for WireHealth {
    fn from(health: &HealthCheck) -> Self {
        Self {
            host: health.http.host.clone(),
            port: health.http.port,
            path: health.http.path.clone(),
            interval_ms: health.interval.0,
            timeout_ms: health.timeout.0,
            min_healthy_ms: health.min_healthy.0,
            deadline_ms: health.deadline.0,
        }
    }
}

impl From<WireHealth> for HealthCheck {
    fn from(wire: WireHealth) -> Self {
        Self {
            http: ProbeUrl { host: wire.host, port: wire.port, path: wire.path },
            interval: Millis(wire.interval_ms),
            timeout: Millis(wire.timeout_ms),
            min_healthy: Millis(wire.min_healthy_ms),
            deadline: Millis(wire.deadline_ms),
        }
    }
}
