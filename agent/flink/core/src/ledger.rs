//! What must never be forgotten of an installation: its job, what was begun with it, and the states it can begin from.
//!
//! A ledger is committed before each call that it speaks of, and comes back with the next order of the installation,
//! whichever agent gets it. It alone says where to continue: after a crash, after the loss of an agent's directory, and
//! when a later order supersedes an earlier one the machine compares it with the JobManager and goes on from there.
//!
//! Invariants:
//! - a number is in the ledger before an id or directory is derived from it, and is never used twice;
//! - `next` is set only when no job of the installation runs: what is in it is then the state of the installation;
//! - a state is only ever added: nothing here removes a savepoint from a disk.

use trimaran_model::id::{Digest, InstallationId};
use trimaran_model::pipeline::{FlinkHealth, FlinkWorkload};
use trimaran_model::time::WallTime;

use crate::id::{AttemptKey, FlinkId, IdStep};

/// States that are kept to go back to, the newest first.
pub const STATES_KEPT: usize = 8;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// In which `number` counts.
    pub attempt: Option<AttemptKey>,
    /// The last number from which an id was derived in this attempt.
    pub number: u32,
    pub job: Option<JobRecord>,
    /// The job that has ended last. A JobManager that dies just then may begin it again, so it is kept in mind.
    pub before: Option<FlinkId>,
    /// What was begun to end `job`.
    pub ending: Option<Ending>,
    /// What the next job begins from, when none runs.
    pub next: Option<Start>,
    /// The last completed checkpoint that was seen of `job`.
    pub checkpoint: Option<StateRef>,
    /// Savepoints that were taken of the installation's jobs, the newest first.
    pub states: Vec<StateRef>,
    /// The parallelism that was ordered for jobs of a release, apart from what the release says.
    pub scaled: Option<Scaled>,
}

/// A parallelism by order. It stays for restarts of the same release, and goes with the next release or rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scaled {
    pub release: Digest,
    pub parallelism: u32,
}

/// The job that belongs to the installation. It is found by this id alone: names are chosen by users and not unique.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecord {
    pub id: FlinkId,
    pub release: Digest,
    pub from: Start,
    pub standing: Standing,
    pub rules: JobRules,
    pub jar_from: JarFrom,
}

/// By what a job is judged when no order is there any more: what its release says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobRules {
    pub bounded: bool,
    pub max_restarts: u32,
    pub max_failed_checkpoints: u32,
}

impl From<&FlinkWorkload> for JobRules {
    fn from(job: &FlinkWorkload) -> Self {
        let FlinkHealth { max_restarts, max_failed_checkpoints, .. } = job.health;
        Self { bounded: job.bounded, max_restarts, max_failed_checkpoints }
    }
}

/// Where the jar of a job came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JarFrom {
    /// It was there: an earlier order has uploaded the same bytes.
    JobManager,
    /// The agent's durable store.
    Store,
    /// Its place, such as a URL: the agent did not have it, or not any more.
    Place(String),
}

impl JarFrom {
    /// For people, as a part of a sentence.
    pub fn describe(&self) -> String {
        match self {
            Self::JobManager => "the jar is the one that the JobManager holds".to_owned(),
            Self::Store => "the jar comes from the store of the agent".to_owned(),
            Self::Place(place) => format!("the jar was fetched from {place}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The request may or may not have been received. Only now may it be sent again, and only this one.
    Submitting(RunRequest),
    /// It was seen: a run with its id is never sent again.
    Started,
    /// The JobManager lost it, and people were notified: the next order starts from the last state.
    Lost,
}

/// What a job begins from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    Empty,
    From(StateRef),
}

impl Start {
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Empty => None,
            Self::From(state) => Some(&state.path),
        }
    }
}

/// A savepoint or a retained checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRef {
    pub kind: StateKind,
    /// As Flink names it: `file:/…/savepoint-0a1b2c-…`.
    pub path: String,
    /// When it was triggered, by the JobManager's clock.
    pub at: WallTime,
    /// The release whose job wrote it.
    pub of: Digest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StateKind {
    Savepoint,
    Checkpoint,
}

impl StateKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Savepoint => "savepoint",
            Self::Checkpoint => "checkpoint",
        }
    }
}

/// What a successor finds: every ledger is one of these, and what comes next depends on it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Persisted {
    /// Nothing was ever begun.
    Nothing,
    /// A run may have been sent.
    Submitting,
    /// The job was seen, and nothing was begun with it.
    Running,
    /// A stop with a savepoint may have been sent.
    Stopping,
    /// A cancel may have been sent.
    Canceling,
    /// The job has ended, and what the next one begins from is known.
    Between,
    /// The JobManager lost the job, and people were asked.
    Lost,
}

impl Persisted {
    pub const ALL: [Self; 7] = [
        Self::Nothing,
        Self::Submitting,
        Self::Running,
        Self::Stopping,
        Self::Canceling,
        Self::Between,
        Self::Lost,
    ];
}

/// How the installation's job is brought to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// A stop with a savepoint into this directory, which holds nothing else.
    Stop { trigger: FlinkId, directory: String },
    /// A cancel; the next job begins from this. `None`: from the last completed checkpoint, which is known for sure
    /// only when the job has ended.
    Cancel { then: Option<Start> },
}

/// The body of a run: sent again byte by byte by whoever continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRequest {
    /// The jar's id at the JobManager.
    pub jar: String,
    /// JSON.
    pub body: String,
}

impl Ledger {
    pub fn persisted(&self) -> Persisted {
        let Some(job) = &self.job else {
            return if self.next.is_some() { Persisted::Between } else { Persisted::Nothing };
        };
        match (&job.standing, &self.ending) {
            (Standing::Submitting(_), _) => Persisted::Submitting,
            (Standing::Lost, _) => Persisted::Lost,
            (Standing::Started, None) => Persisted::Running,
            (Standing::Started, Some(Ending::Stop { .. })) => Persisted::Stopping,
            (Standing::Started, Some(Ending::Cancel { .. })) => Persisted::Canceling,
        }
    }

    /// Counts the numbers of this attempt on. Numbers of another attempt are of no matter: ids have the attempt in them.
    pub(crate) fn enter(&mut self, key: AttemptKey) {
        if self.attempt.as_ref() != Some(&key) {
            self.attempt = Some(key);
            self.number = 0;
        }
    }

    /// The next number, and the id that is derived from it.
    pub(crate) fn next_id(&mut self, installation: &InstallationId, step: IdStep) -> FlinkId {
        self.number += 1;
        let key = self.attempt.as_ref().expect("an order enters its attempt first");
        FlinkId::derive(installation, key, step, self.number)
    }

    pub(crate) fn add_state(&mut self, state: StateRef) {
        self.states.retain(|known| known.path != state.path);
        self.states.insert(0, state);
        self.states.truncate(STATES_KEPT);
    }

    /// The newest savepoint that a job of this release wrote.
    pub(crate) fn state_of(&self, release: Digest) -> Option<&StateRef> {
        self.states.iter().find(|state| state.of == release)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A phase that is added has to be in the list: tests go through it.
    #[test]
    fn the_list_of_phases_is_whole() {
        let place = |it: Persisted| match it {
            Persisted::Nothing => 0,
            Persisted::Submitting => 1,
            Persisted::Running => 2,
            Persisted::Stopping => 3,
            Persisted::Canceling => 4,
            Persisted::Between => 5,
            Persisted::Lost => 6,
        };
        let places = Persisted::ALL.map(place);
        assert_eq!(places, std::array::from_fn(|n| n));
    }
}
