//! Which write jobs become one record, and whether that record is synced. Pure: the writer of the store and the
//! disks of simulations group their queues with it.

use trimaran_model::limits;

use crate::io::WriteJob;

/// Bytes of an entry beside its data, about.
const ENTRY_OVERHEAD: usize = 64;

/// Jobs in their order that are written as one record: group commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteGroup {
    jobs: Vec<WriteJob>,
    bytes: usize,
}

impl WriteGroup {
    pub fn new(first: WriteJob) -> Self {
        let bytes = job_bytes(&first);
        Self { jobs: vec![first], bytes }
    }

    /// Whether another job may join.
    pub fn has_capacity(&self) -> bool {
        self.jobs.len() < limits::WRITE_GROUP_JOBS_MAX && self.bytes < limits::WRITE_GROUP_BYTES_MAX
    }

    /// Adds the job that comes next.
    pub fn push(&mut self, job: WriteJob) {
        self.bytes += job_bytes(&job);
        self.jobs.push(job);
    }

    pub fn jobs(&self) -> &[WriteJob] {
        &self.jobs
    }

    /// The number of its last job: what [`crate::Written`] answers.
    pub fn number(&self) -> u64 {
        self.jobs.last().expect("a group has at least one job").number
    }

    /// Whether the record has to be synced before it is answered.
    pub fn needs_sync(&self) -> bool {
        needs_sync(&self.jobs)
    }
}

/// Whether a record of these jobs has to be synced: one that asks for it is enough, wherever it stands.
pub fn needs_sync(jobs: &[WriteJob]) -> bool {
    if mutant!(SyncOfFirst) {
        return jobs.first().is_some_and(|job| job.sync);
    }
    jobs.iter().any(|job| job.sync)
}

fn job_bytes(job: &WriteJob) -> usize {
    job.entries.iter().map(|entry| entry.data.0.len() + ENTRY_OVERHEAD).sum::<usize>() + job.rows.bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state_machine::RowBatch;

    fn job(number: u64, sync: bool, bytes: usize) -> WriteJob {
        let mut rows = RowBatch::default();
        rows.put(Vec::new(), vec![0; bytes]);
        WriteJob { number, sync, rows, ..WriteJob::default() }
    }

    #[test]
    fn one_job_that_asks_for_a_sync_has_the_group_synced_wherever_it_stands() {
        let mut group = WriteGroup::new(job(1, false, 0));
        assert!(!group.needs_sync());
        group.push(job(2, true, 0));
        group.push(job(3, false, 0));
        assert!(group.needs_sync());
        assert_eq!(group.number(), 3);
    }

    #[test]
    fn groups_are_bounded_in_jobs_and_bytes_and_one_job_alone_always_goes() {
        let mut group = WriteGroup::new(job(1, true, 0));
        for number in 2..=limits::WRITE_GROUP_JOBS_MAX as u64 {
            assert!(group.has_capacity());
            group.push(job(number, true, 0));
        }
        assert!(!group.has_capacity());
        assert!(!WriteGroup::new(job(1, true, limits::WRITE_GROUP_BYTES_MAX)).has_capacity());
    }
}
