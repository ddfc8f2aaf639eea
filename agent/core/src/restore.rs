//! From the journal's records to an executor and back.

use trimaran_model::action::{Outcome, Progress};
use trimaran_model::assignment::Assignment;
use trimaran_model::id::{AssignmentId, Epoch, Fence};
use trimaran_model::limits::JOURNAL_COMPACT_BYTES;
use trimaran_model::target::Target;
use trimaran_wire::codec::CodecError;
use trimaran_wire::v1::agent_journal::JournalRecord;
use trimaran_wire::v1::common::name as parse_name;

use crate::driver::{Found, Journaled};
use crate::executor::{Executor, HighestFence, size};
use crate::io::Output;
use crate::orders::found_record;
use crate::task::{State, Task};

/// A compaction has to free at least three quarters of the file.
const COMPACT_FACTOR: usize = 4;

/// Why records can't be restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    #[error("a value of the journal can't be read: {0}")]
    Value(#[from] CodecError),
    #[error("the journal names assignment {assignment}, which it never accepted")]
    NotTaken { assignment: u64 },
}

impl<D: Journaled<Order = Assignment, Progress = Progress>> Executor<D> {
    /// Restores what the journal holds. [`Executor::resume`] then continues with it.
    pub fn restore(driver: D, records: &[JournalRecord]) -> Result<Self, RestoreError> {
        let mut executor = Self::new(driver);
        executor.journal_bytes = size(records);
        for record in records {
            executor.replay(record)?;
        }
        Ok(executor)
    }

    fn task(&mut self, assignment: u64) -> Result<&mut Task<D>, RestoreError> {
        self.tasks.get_mut(&AssignmentId(assignment)).ok_or(RestoreError::NotTaken { assignment })
    }

    fn replay(&mut self, record: &JournalRecord) -> Result<(), RestoreError> {
        match record {
            JournalRecord::Epoch { cluster, epoch, incarnation } => {
                (self.cluster, self.epoch) = (cluster.clone(), Epoch(*epoch));
                self.incarnation = *incarnation;
            }
            JournalRecord::Fence { installation, fence, assignment } => {
                let highest = HighestFence { fence: Fence(*fence), assignment: AssignmentId(*assignment) };
                self.fences.insert(installation.clone().try_into()?, highest);
            }
            JournalRecord::Taken(taken) => {
                let taken = Assignment::try_from(taken.clone())?;
                let highest = HighestFence { fence: taken.fence, assignment: taken.id };
                let known = self.fences.entry(taken.installation.clone()).or_insert(highest);
                *known = if highest.fence >= known.fence { highest } else { *known };
                self.by_installation.entry(taken.installation.clone()).or_default().insert(taken.id);
                self.tasks.insert(taken.id, Task::new(taken, None, 0));
            }
            JournalRecord::Found { assignment, order, bytes } => {
                let order = Assignment::try_from(order.clone())?;
                let phase = self.driver.load(&order, bytes)?;
                let found = Some(Found::Superseded { order, phase });
                self.task(*assignment)?.state = State::Accepted { found };
            }
            JournalRecord::Phase { assignment, bytes } => {
                let order = self.task(*assignment)?.assignment.clone();
                let found = Some(Found::Resumed(self.driver.load(&order, bytes)?));
                self.task(*assignment)?.state = State::Accepted { found };
            }
            JournalRecord::Ended { assignment, outcome, progress } => {
                let progress = Progress::try_from(progress.clone())?;
                let outcome = Outcome::try_from(outcome.clone())?;
                let task = self.task(*assignment)?;
                task.state = State::Ended { outcome, durable: 0 };
                task.progress = progress;
                task.queue.clear();
            }
            JournalRecord::Held { assignment } => {
                let task = self.task(*assignment)?;
                if let State::Ended { outcome, .. } = &task.state {
                    task.state = State::Held { outcome: outcome.clone() };
                }
            }
            JournalRecord::Target(target) => {
                let target = Target::try_from(target.clone())?;
                self.targets.insert(target.name.clone(), target);
            }
            JournalRecord::TargetRemoved { name } => drop(self.targets.remove(&parse_name(name)?)),
            JournalRecord::Forgotten { assignment } => {
                if self.tasks.contains_key(&AssignmentId(*assignment)) {
                    self.remove(AssignmentId(*assignment));
                }
            }
        }
        Ok(())
    }

    /// Everything that the journal has to hold now.
    fn records(&self) -> Vec<JournalRecord> {
        let mut records = vec![self.epoch_record()];
        records.extend(self.targets.values().map(|target| JournalRecord::Target(target.into())));
        for (installation, highest) in &self.fences {
            records.push(JournalRecord::Fence {
                installation: installation.into(),
                fence: highest.fence.0,
                assignment: highest.assignment.0,
            });
        }
        for task in self.tasks.values() {
            records.push(JournalRecord::Taken((&task.assignment).into()));
            let assignment = task.assignment.id.0;
            match &task.state {
                State::Accepted { found } => {
                    let found = found.as_ref();
                    records.extend(found.map(|found| found_record(&self.driver, task.assignment.id, found)));
                }
                State::Working { phase } => {
                    records.push(JournalRecord::Phase { assignment, bytes: self.driver.save(phase) });
                }
                State::Ended { outcome, .. } | State::Held { outcome } => {
                    let progress = task.wire_progress();
                    records.push(JournalRecord::Ended { assignment, outcome: outcome.into(), progress });
                }
            }
            if let State::Held { .. } = task.state {
                records.push(JournalRecord::Held { assignment });
            }
        }
        records
    }

    /// Replaces the file when it is large and most of it is of no use any more.
    pub(crate) fn compact_if_worth(&mut self, out: &mut Vec<Output<D>>) {
        if self.journal_bytes < self.compact_at {
            return;
        }
        let records = self.records();
        let useful = size(&records);
        if self.journal_bytes >= COMPACT_FACTOR * useful {
            self.sequence += 1;
            self.journal_bytes = useful;
            out.push(Output::Replace { sequence: self.sequence, records });
        }
        self.compact_at = JOURNAL_COMPACT_BYTES.max(COMPACT_FACTOR * useful);
    }
}
