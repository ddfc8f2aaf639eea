//! Write jobs: the one that a step puts together, and those that the writer has not answered for.

use raft::eraftpb::{Entry, Message};

use crate::convert;
use crate::io::{LogPosition, WriteJob};

/// A write job in flight and what waits for its end.
#[derive(Debug, Default)]
pub(crate) struct InFlightWrite {
    pub(crate) number: u64,
    /// The last ready of raft that it persists.
    pub(crate) ready: Option<u64>,
    pub(crate) messages: Vec<Message>,
    pub(crate) snapshot: Option<LogPosition>,
    /// Holds a term or a vote.
    pub(crate) vote: bool,
}

/// The job that this step is putting together.
#[derive(Debug, Default)]
pub(crate) struct PendingJob {
    pub(crate) job: WriteJob,
    pub(crate) write: InFlightWrite,
}

impl PendingJob {
    pub(crate) fn is_empty(&self) -> bool {
        let job = &self.job;
        job.entries.is_empty()
            && job.hard_state.is_none()
            && job.applied.is_none()
            && job.conf_state.is_none()
            && job.snapshot.is_none()
            && job.compact.is_none()
    }

    pub(crate) fn append(&mut self, entries: &[Entry]) {
        if let Some(first) = entries.first() {
            self.job.entries.retain(|entry| entry.index < first.index);
            self.job.entries.extend(entries.iter().map(convert::entry_to_wire));
        }
    }

    pub(crate) fn compact(&mut self, position: LogPosition) {
        self.job.compact = Some(position);
    }
}
