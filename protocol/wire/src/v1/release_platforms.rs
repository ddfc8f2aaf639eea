//! Releases for platforms that have the instances themselves. Frozen like every release.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use trimaran_model::id::Digest;
use trimaran_model::limits::CONTENT_BYTES_MAX;
use trimaran_model::pipeline::{
    FlinkHealth, FlinkRestore, FlinkRollback, FlinkSources, FlinkUpgrade, FlinkWorkload, OnConflict,
    OnStopFailure, UpgradeMode,
};
use trimaran_model::release::{Content, FlinkFiles, FlinkRelease, KubernetesRelease};
use trimaran_model::time::Millis;

use super::artifact::WireArtifact;
use super::common::{name, spelled};
use crate::codec::CodecError;

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireKubernetesRelease {
    pub objects: WireContent,
    pub manifests: Option<WireArtifact>,
    pub images: BTreeMap<String, WireArtifact>,
    pub stability_ms: u64,
    pub on_conflict: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct WireContent {
    pub sha256: [u8; 32],
    pub bytes: u64,
}

impl From<Content> for WireContent {
    fn from(content: Content) -> Self {
        Self { sha256: content.digest.0, bytes: content.bytes }
    }
}

impl TryFrom<WireContent> for Content {
    type Error = CodecError;
    fn try_from(wire: WireContent) -> Result<Self, CodecError> {
        if wire.bytes > CONTENT_BYTES_MAX {
            return Err(CodecError::value(format_args!("content of {} bytes", wire.bytes)));
        }
        Ok(Self { digest: Digest(wire.sha256), bytes: wire.bytes })
    }
}

/// Files of a job, also before there is a release of it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireFlinkFiles {
    /// SHA-256 over all bytes, in the order of the names.
    pub sha256: [u8; 32],
    pub files: BTreeMap<String, WireContent>,
}

impl From<&FlinkFiles> for WireFlinkFiles {
    fn from(files: &FlinkFiles) -> Self {
        let each = files.iter().map(|(name, content)| (name.to_owned(), content.into()));
        Self { sha256: files.whole().digest.0, files: each.collect() }
    }
}

impl TryFrom<WireFlinkFiles> for FlinkFiles {
    type Error = CodecError;
    fn try_from(wire: WireFlinkFiles) -> Result<Self, CodecError> {
        let each = |(name, content): (String, WireContent)| Ok((name, content.try_into()?));
        let files = wire.files.into_iter().map(each).collect::<Result<_, CodecError>>()?;
        Self::new(Digest(wire.sha256), files).map_err(|error| CodecError::value(format_args!("{error}")))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireFlinkRelease {
    pub jar: WireArtifact,
    pub entry_class: String,
    pub args: Vec<String>,
    pub parallelism: Option<u32>,
    pub config: BTreeMap<String, String>,
    pub bounded: bool,
    pub upgrade: WireFlinkUpgrade,
    pub health: WireFlinkHealth,
    pub rollback: WireFlinkRollback,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireFlinkUpgrade {
    pub mode: String,
    pub timeout_ms: u64,
    pub retries: u32,
    pub on_stop_failure: String,
    pub allow_non_restored_state: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireFlinkHealth {
    pub start_timeout_ms: u64,
    pub window_ms: u64,
    pub max_restarts: u32,
    pub min_checkpoints: u32,
    pub max_failed_checkpoints: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireFlinkRollback {
    pub prefer: String,
    pub max_replay_ms: u64,
    pub replayable: bool,
    pub retention_ms: Option<u64>,
}

impl From<&KubernetesRelease> for WireKubernetesRelease {
    fn from(release: &KubernetesRelease) -> Self {
        Self {
            objects: release.objects.into(),
            manifests: release.manifests.as_ref().map(Into::into),
            images: release
                .images
                .iter()
                .map(|(container, image)| (container.clone(), image.into()))
                .collect(),
            stability_ms: release.stability.0,
            on_conflict: release.on_conflict.as_str().to_owned(),
        }
    }
}

impl TryFrom<WireKubernetesRelease> for KubernetesRelease {
    type Error = CodecError;
    fn try_from(wire: WireKubernetesRelease) -> Result<Self, CodecError> {
        let on_conflict = OnConflict::ALL.into_iter().find(|it| it.as_str() == wire.on_conflict);
        let image = |(container, image): (String, WireArtifact)| Ok((container, image.try_into()?));
        Ok(Self {
            objects: wire.objects.try_into()?,
            manifests: wire.manifests.map(TryInto::try_into).transpose()?,
            images: wire.images.into_iter().map(image).collect::<Result<_, CodecError>>()?,
            stability: Millis(wire.stability_ms),
            on_conflict: spelled(on_conflict, "conflict rule", &wire.on_conflict)?,
        })
    }
}

impl From<&FlinkRelease> for WireFlinkRelease {
    fn from(release: &FlinkRelease) -> Self {
        let FlinkWorkload {
            jar: _,
            entry_class,
            args,
            parallelism,
            config,
            bounded,
            upgrade,
            health,
            rollback,
        } = &release.job;
        Self {
            jar: (&release.jar).into(),
            entry_class: entry_class.clone(),
            args: args.clone(),
            parallelism: *parallelism,
            config: config.clone(),
            bounded: *bounded,
            upgrade: WireFlinkUpgrade {
                mode: upgrade.mode.as_str().to_owned(),
                timeout_ms: upgrade.timeout.0,
                retries: upgrade.retries,
                on_stop_failure: upgrade.on_stop_failure.as_str().to_owned(),
                allow_non_restored_state: upgrade.allow_non_restored_state,
            },
            health: WireFlinkHealth {
                start_timeout_ms: health.start_timeout.0,
                window_ms: health.window.0,
                max_restarts: health.max_restarts,
                min_checkpoints: health.min_checkpoints,
                max_failed_checkpoints: health.max_failed_checkpoints,
            },
            rollback: WireFlinkRollback {
                prefer: rollback.prefer.as_str().to_owned(),
                max_replay_ms: rollback.max_replay.0,
                replayable: rollback.sources.replayable,
                retention_ms: rollback.sources.retention.map(|retention| retention.0),
            },
        }
    }
}

impl TryFrom<WireFlinkRelease> for FlinkRelease {
    type Error = CodecError;
    fn try_from(wire: WireFlinkRelease) -> Result<Self, CodecError> {
        let WireFlinkRelease { jar, upgrade, health, rollback, .. } = wire;
        let mode = UpgradeMode::ALL.into_iter().find(|it| it.as_str() == upgrade.mode);
        let on_stop = OnStopFailure::ALL.into_iter().find(|it| it.as_str() == upgrade.on_stop_failure);
        let prefer = FlinkRestore::ALL.into_iter().find(|it| it.as_str() == rollback.prefer);
        let job = FlinkWorkload {
            jar: name(&jar.name)?,
            entry_class: wire.entry_class,
            args: wire.args,
            parallelism: wire.parallelism,
            config: wire.config,
            bounded: wire.bounded,
            upgrade: FlinkUpgrade {
                mode: spelled(mode, "upgrade mode", &upgrade.mode)?,
                timeout: Millis(upgrade.timeout_ms),
                retries: upgrade.retries,
                on_stop_failure: spelled(on_stop, "stop failure rule", &upgrade.on_stop_failure)?,
                allow_non_restored_state: upgrade.allow_non_restored_state,
            },
            health: FlinkHealth {
                start_timeout: Millis(health.start_timeout_ms),
                window: Millis(health.window_ms),
                max_restarts: health.max_restarts,
                min_checkpoints: health.min_checkpoints,
                max_failed_checkpoints: health.max_failed_checkpoints,
            },
            rollback: FlinkRollback {
                prefer: spelled(prefer, "restore", &rollback.prefer)?,
                max_replay: Millis(rollback.max_replay_ms),
                sources: FlinkSources {
                    replayable: rollback.replayable,
                    retention: rollback.retention_ms.map(Millis),
                },
            },
        };
        Ok(Self { jar: jar.try_into()?, job, files: None })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use trimaran_model::release::{Artifact, ArtifactLocation, Release, ReleaseWorkload};

    use super::*;
    use crate::codec::Message as _;
    use crate::v1::release::WireRelease;

    fn release(workload: ReleaseWorkload) -> Release {
        Release {
            pipeline: "clicks".parse().expect("a name"),
            target: "streams".parse().expect("a name"),
            version: "7".to_owned(),
            workload,
        }
    }

    fn artifact() -> Artifact {
        Artifact {
            name: "job".parse().expect("a name"),
            version: "7".to_owned(),
            sha256: Digest([7; 32]),
            location: ArtifactLocation::Path("/srv/job-7.jar".to_owned()),
        }
    }

    #[test]
    fn releases_of_every_platform_come_back_as_they_were() {
        let job = FlinkWorkload {
            jar: artifact().name,
            entry_class: "com.corp.Clicks".to_owned(),
            args: vec!["--topic".to_owned()],
            parallelism: Some(8),
            config: BTreeMap::from([("restart-strategy.type".to_owned(), "none".to_owned())]),
            bounded: true,
            upgrade: FlinkUpgrade {
                mode: UpgradeMode::LastCheckpoint,
                on_stop_failure: OnStopFailure::Stateless,
                retries: 9,
                ..FlinkUpgrade::default()
            },
            health: FlinkHealth { max_restarts: 11, ..FlinkHealth::default() },
            rollback: FlinkRollback {
                prefer: FlinkRestore::Ask,
                max_replay: Millis(13),
                sources: FlinkSources { replayable: false, retention: Some(Millis(17)) },
            },
        };
        let kubernetes = KubernetesRelease {
            objects: Content { digest: Digest([9; 32]), bytes: CONTENT_BYTES_MAX },
            manifests: Some(Artifact { sha256: Digest([5; 32]), ..artifact() }),
            images: BTreeMap::from([("web".to_owned(), artifact())]),
            stability: Millis(19),
            on_conflict: OnConflict::Leave,
        };
        let file = |n| Content { digest: Digest([n; 32]), bytes: 5 };
        let with = |n| {
            let files = [("rules.json".to_owned(), file(n)), ("b".to_owned(), file(2))];
            FlinkFiles::new(Digest([n; 32]), files.into()).expect("two small files")
        };
        let flink = |files| ReleaseWorkload::Flink(FlinkRelease { jar: artifact(), job: job.clone(), files });
        let mut digests = BTreeSet::new();
        let kubernetes = ReleaseWorkload::Kubernetes(kubernetes);
        for workload in [flink(None), flink(Some(with(1))), flink(Some(with(3))), kubernetes] {
            assert_eq!(workload.artifacts()[0], &artifact());
            let release = release(workload);
            let wire = WireRelease::from(&release);
            digests.insert(wire.digest());
            let back = WireRelease::from_bytes(&wire.to_bytes()).expect("its own bytes");
            assert_eq!(Release::try_from(back).expect("its own values"), release);
        }
        assert_eq!(digests.len(), 4, "a file that differs is another release");
    }
}
