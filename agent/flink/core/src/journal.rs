//! The bytes of a phase and of a ledger.

use trimaran_model::id::{Attempt, Digest};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::WallTime;
use trimaran_wire::codec::{CodecError, Message as _};
use trimaran_wire::v1::common::reason_code;
use trimaran_wire::v1::flink_journal::{
    WireFlinkAttempt, WireFlinkEnding, WireFlinkJarFrom, WireFlinkJob, WireFlinkLedger, WireFlinkPhase,
    WireFlinkScaled, WireFlinkStanding, WireFlinkStart, WireFlinkState,
};

use crate::id::{AttemptKey, FlinkId};
use crate::ledger::{
    Ending, JarFrom, JobRecord, JobRules, Ledger, RunRequest, Scaled, Standing, Start, StateKind, StateRef,
};

/// What survives a crash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) abort: Option<ReasonCode>,
    /// The number of the last commit of this order.
    pub(crate) commits: u32,
    pub(crate) ledger: Ledger,
}

pub(crate) fn kept_to_bytes(kept: &Kept) -> Vec<u8> {
    WireFlinkPhase {
        abort: kept.abort.map(|code| code.as_str().to_owned()),
        commits: kept.commits,
        ledger: (&kept.ledger).into(),
    }
    .to_bytes()
}

pub(crate) fn kept_from_bytes(bytes: &[u8]) -> Result<Kept, CodecError> {
    let WireFlinkPhase { abort, commits, ledger } = WireFlinkPhase::from_bytes(bytes)?;
    Ok(Kept { abort: abort.as_deref().map(reason_code).transpose()?, commits, ledger: ledger.try_into()? })
}

/// The body of a commit.
pub fn ledger_to_bytes(ledger: &Ledger) -> Vec<u8> {
    WireFlinkLedger::from(ledger).to_bytes()
}

/// Reads the body of a commit.
pub fn ledger_from_bytes(bytes: &[u8]) -> Result<Ledger, CodecError> {
    WireFlinkLedger::from_bytes(bytes)?.try_into()
}

impl From<&Ledger> for WireFlinkLedger {
    fn from(ledger: &Ledger) -> Self {
        let Ledger { attempt, number, job, before, ending, next, checkpoint, states, scaled } = ledger;
        Self {
            attempt: attempt
                .as_ref()
                .map(|key| WireFlinkAttempt { run: (&key.run).into(), attempt: key.attempt.0 }),
            number: *number,
            job: job.as_ref().map(Into::into),
            before: before.map(|id| id.0),
            ending: ending.as_ref().map(Into::into),
            next: next.as_ref().map(Into::into),
            checkpoint: checkpoint.as_ref().map(Into::into),
            states: states.iter().map(Into::into).collect(),
            scaled: scaled.map(|it| WireFlinkScaled { release: it.release.0, parallelism: it.parallelism }),
        }
    }
}

impl TryFrom<WireFlinkLedger> for Ledger {
    type Error = CodecError;
    fn try_from(wire: WireFlinkLedger) -> Result<Self, CodecError> {
        let key = |it: WireFlinkAttempt| -> Result<AttemptKey, CodecError> {
            Ok(AttemptKey { run: it.run.try_into()?, attempt: Attempt(it.attempt) })
        };
        Ok(Self {
            attempt: wire.attempt.map(key).transpose()?,
            number: wire.number,
            job: wire.job.map(Into::into),
            before: wire.before.map(FlinkId),
            ending: wire.ending.map(Into::into),
            next: wire.next.map(Into::into),
            checkpoint: wire.checkpoint.map(Into::into),
            states: wire.states.into_iter().map(Into::into).collect(),
            scaled: wire.scaled.map(|it| Scaled { release: Digest(it.release), parallelism: it.parallelism }),
        })
    }
}

impl From<&JobRecord> for WireFlinkJob {
    fn from(job: &JobRecord) -> Self {
        let standing = match &job.standing {
            Standing::Submitting(RunRequest { jar, body }) => {
                WireFlinkStanding::Submitting { jar: jar.clone(), body: body.clone() }
            }
            Standing::Started => WireFlinkStanding::Started,
            Standing::Lost => WireFlinkStanding::Lost,
        };
        let JobRules { bounded, max_restarts, max_failed_checkpoints } = job.rules;
        Self {
            id: job.id.0,
            release: job.release.0,
            from: (&job.from).into(),
            standing,
            bounded,
            max_restarts,
            max_failed_checkpoints,
            jar_from: (&job.jar_from).into(),
        }
    }
}

impl From<WireFlinkJob> for JobRecord {
    fn from(wire: WireFlinkJob) -> Self {
        let standing = match wire.standing {
            WireFlinkStanding::Submitting { jar, body } => Standing::Submitting(RunRequest { jar, body }),
            WireFlinkStanding::Started => Standing::Started,
            WireFlinkStanding::Lost => Standing::Lost,
        };
        let rules = JobRules {
            bounded: wire.bounded,
            max_restarts: wire.max_restarts,
            max_failed_checkpoints: wire.max_failed_checkpoints,
        };
        Self {
            id: FlinkId(wire.id),
            release: Digest(wire.release),
            from: wire.from.into(),
            standing,
            rules,
            jar_from: wire.jar_from.into(),
        }
    }
}

impl From<&JarFrom> for WireFlinkJarFrom {
    fn from(from: &JarFrom) -> Self {
        match from {
            JarFrom::JobManager => Self::JobManager,
            JarFrom::Store => Self::Store,
            JarFrom::Place(place) => Self::Place(place.clone()),
        }
    }
}

impl From<WireFlinkJarFrom> for JarFrom {
    fn from(wire: WireFlinkJarFrom) -> Self {
        match wire {
            WireFlinkJarFrom::JobManager => Self::JobManager,
            WireFlinkJarFrom::Store => Self::Store,
            WireFlinkJarFrom::Place(place) => Self::Place(place),
        }
    }
}

impl From<&Start> for WireFlinkStart {
    fn from(start: &Start) -> Self {
        match start {
            Start::Empty => Self::Empty,
            Start::From(state) => Self::From(state.into()),
        }
    }
}

impl From<WireFlinkStart> for Start {
    fn from(wire: WireFlinkStart) -> Self {
        match wire {
            WireFlinkStart::Empty => Self::Empty,
            WireFlinkStart::From(state) => Self::From(state.into()),
        }
    }
}

impl From<&Ending> for WireFlinkEnding {
    fn from(ending: &Ending) -> Self {
        match ending {
            Ending::Stop { trigger, directory } => {
                Self::Stop { trigger: trigger.0, directory: directory.clone() }
            }
            Ending::Cancel { then } => Self::Cancel { then: then.as_ref().map(Into::into) },
        }
    }
}

impl From<WireFlinkEnding> for Ending {
    fn from(wire: WireFlinkEnding) -> Self {
        match wire {
            WireFlinkEnding::Stop { trigger, directory } => {
                Self::Stop { trigger: FlinkId(trigger), directory }
            }
            WireFlinkEnding::Cancel { then } => Self::Cancel { then: then.map(Into::into) },
        }
    }
}

impl From<&StateRef> for WireFlinkState {
    fn from(state: &StateRef) -> Self {
        let StateRef { kind, path, at, of } = state;
        Self { is_savepoint: *kind == StateKind::Savepoint, path: path.clone(), at_ms: at.0, of: of.0 }
    }
}

impl From<WireFlinkState> for StateRef {
    fn from(wire: WireFlinkState) -> Self {
        let kind = if wire.is_savepoint { StateKind::Savepoint } else { StateKind::Checkpoint };
        Self { kind, path: wire.path, at: WallTime(wire.at_ms), of: Digest(wire.of) }
    }
}
