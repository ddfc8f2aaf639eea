//! `workload.flink`: a job with its state, and how the state moves between releases.

use std::collections::BTreeMap;

use crate::id::ArtifactName;
use crate::time::Millis;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlinkWorkload {
    pub jar: ArtifactName,
    pub entry_class: String,
    pub args: Vec<String>,
    /// `None`: the job's own.
    pub parallelism: Option<u32>,
    /// Flink's own keys.
    pub config: BTreeMap<String, String>,
    /// The job is expected to end automatically.
    pub bounded: bool,
    pub upgrade: FlinkUpgrade,
    pub health: FlinkHealth,
    pub rollback: FlinkRollback,
}

/// How a running job is replaced by its next release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlinkUpgrade {
    pub mode: UpgradeMode,
    /// For one savepoint.
    pub timeout: Millis,
    pub retries: u32,
    /// When no savepoint could be made after all retries.
    pub on_stop_failure: OnStopFailure,
    /// State that no operator of the new release takes is dropped.
    pub allow_non_restored_state: bool,
}

impl Default for FlinkUpgrade {
    fn default() -> Self {
        Self {
            mode: UpgradeMode::Savepoint,
            timeout: Millis::minutes(10),
            retries: 2,
            on_stop_failure: OnStopFailure::Fail,
            allow_non_restored_state: false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UpgradeMode {
    Savepoint,
    LastCheckpoint,
    Stateless,
}

impl UpgradeMode {
    pub const ALL: [Self; 3] = [Self::Savepoint, Self::LastCheckpoint, Self::Stateless];
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Savepoint => "savepoint",
            Self::LastCheckpoint => "last_checkpoint",
            Self::Stateless => "stateless",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnStopFailure {
    /// The stage fails and the old job keeps running.
    Fail,
    /// The job is canceled and continues from its last checkpoint.
    LastCheckpoint,
    /// The job is canceled and its state is dropped.
    Stateless,
}

impl OnStopFailure {
    pub const ALL: [Self; 3] = [Self::Fail, Self::LastCheckpoint, Self::Stateless];
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::LastCheckpoint => "last_checkpoint",
            Self::Stateless => "stateless",
        }
    }
}

/// When a job counts as healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlinkHealth {
    /// From the submission until all tasks run.
    pub start_timeout: Millis,
    /// It has to be healthy for so long, counted from when all tasks run.
    pub window: Millis,
    /// Restarts in the window that are forgiven.
    pub max_restarts: u32,
    /// Checkpoints that must complete after the last restart; 0 is for a job that makes none.
    pub min_checkpoints: u32,
    /// Checkpoints in a row that may fail.
    pub max_failed_checkpoints: u32,
}

impl Default for FlinkHealth {
    fn default() -> Self {
        Self {
            start_timeout: Millis::minutes(3),
            window: Millis::minutes(5),
            max_restarts: 2,
            min_checkpoints: 2,
            max_failed_checkpoints: 3,
        }
    }
}

/// From which state the earlier release continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlinkRollback {
    pub prefer: FlinkRestore,
    /// A savepoint older than this is not taken without a human.
    pub max_replay: Millis,
    pub sources: FlinkSources,
}

impl Default for FlinkRollback {
    fn default() -> Self {
        Self {
            prefer: FlinkRestore::Savepoint,
            max_replay: Millis::minutes(30),
            sources: FlinkSources { replayable: true, retention: None },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlinkRestore {
    /// The savepoint made before the upgrade.
    Savepoint,
    /// The last checkpoint of the bad release.
    LastCheckpoint,
    /// A human chooses.
    Ask,
}

impl FlinkRestore {
    pub const ALL: [Self; 3] = [Self::Savepoint, Self::LastCheckpoint, Self::Ask];
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Savepoint => "savepoint",
            Self::LastCheckpoint => "last_checkpoint",
            Self::Ask => "ask",
        }
    }
}

/// Whether the sources can be read again from an earlier position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlinkSources {
    pub replayable: bool,
    /// `None`: without a bound.
    pub retention: Option<Millis>,
}
