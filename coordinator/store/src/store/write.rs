//! Writing to the store: groups of jobs and syncs, each one record of the WAL.
//!
//! Not here: the thread that calls it and the order of the jobs (`writer`), and the rows of a leader's snapshot (`staging`).

use rocksdb::{Direction, IteratorMode, WriteBatch, WriteOptions};
use trimaran_replica::WriteJob;
use trimaran_replica::write_group::needs_sync;
use trimaran_wire::codec::Message as _;
use trimaran_wire::raft::StateHash;

use super::{Bounds, Store};
use crate::meta;

/// Why a write is not on the disk. The process has to end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    #[error("the disk is full; free at least 1 GiB (the ballast file may be removed) and start again")]
    NoSpace,
    #[error("writing failed: {reason}")]
    Failed { reason: String },
    #[error("a job would break last {last} >= commit {commit} >= applied {applied}")]
    Bounds { last: u64, commit: u64, applied: u64 },
    #[error("a job appends entry {first} after {last}")]
    Gap { first: u64, last: u64 },
}

impl Store {
    /// Writes a group of jobs as one record, synced if one of them asks for it. Public for tools and tests;
    /// a running coordinator writes through its [`Writer`] alone.
    pub fn write(&self, group: &[WriteJob]) -> Result<(), WriteError> {
        let mut bounds = self.inner.bounds.lock();
        let mut after = *bounds;
        let mut batch = WriteBatch::default();
        for job in group {
            after = self.add(job, after, &mut batch)?;
        }
        let Bounds { last, commit, applied, .. } = after;
        if !(last >= commit && commit >= applied) {
            return Err(WriteError::Bounds { last, commit, applied });
        }
        self.commit(batch, needs_sync(group))?;
        *bounds = after;
        self.inner.applied.send_if_modified(|at| std::mem::replace(at, applied) != applied);
        Ok(())
    }

    fn add(&self, job: &WriteJob, mut bounds: Bounds, batch: &mut WriteBatch) -> Result<Bounds, WriteError> {
        let (log, rows, metas) = (self.cf(meta::LOG), self.cf(meta::ROWS), self.cf(meta::META));
        if let (Some(first), Some(last)) = (job.entries.first(), job.entries.last()) {
            if first.index > bounds.last + 1 || first.index < bounds.first {
                return Err(WriteError::Gap { first: first.index, last: bounds.last });
            }
            for entry in &job.entries {
                batch.put_cf(&log, meta::log_key(entry.index), entry.to_bytes());
            }
            for stale in last.index + 1..=bounds.last {
                batch.delete_cf(&log, meta::log_key(stale));
            }
            bounds.last = last.index;
        }
        if let Some(state) = &job.hard_state {
            batch.put_cf(&metas, meta::HARD_STATE, state.to_bytes());
            bounds.commit = state.commit;
        }
        for (key, value) in &job.rows.changes {
            match value {
                Some(value) => batch.put_cf(&rows, key, value),
                None => batch.delete_cf(&rows, key),
            }
        }
        if let Some(applied) = job.applied {
            batch.put_cf(&metas, meta::APPLIED, meta::place(applied));
            bounds.applied = applied.index;
            if let Some(hash) = job.state_hash {
                let stored = StateHash { index: applied.index, hash };
                batch.put_cf(&metas, meta::STATE_HASH, stored.to_bytes());
            }
        }
        if let Some(members) = &job.conf_state {
            batch.put_cf(&metas, meta::CONF_STATE, members.to_bytes());
        }
        if let Some(position) = job.snapshot {
            batch.put_cf(&metas, meta::SNAPSHOT, meta::place(position));
        }
        if let Some(position) = job.compact
            && position.index >= bounds.first
        {
            batch.delete_range_cf(&log, meta::log_key(bounds.first), meta::log_key(position.index + 1));
            batch.put_cf(&metas, meta::COMPACTED, meta::place(position));
            bounds.first = position.index + 1;
        }
        Ok(bounds)
    }

    pub(super) fn clear(&self, family: &str, batch: &mut WriteBatch) -> Result<(), WriteError> {
        let handle = self.cf(family);
        let edge = |mode| self.inner.db.iterator_cf(&handle, mode).next().transpose().map_err(write_error);
        let first = edge(IteratorMode::From(&[], Direction::Forward))?;
        let last = edge(IteratorMode::End)?;
        if let (Some((first, _)), Some((last, _))) = (first, last) {
            batch.delete_range_cf(&handle, &first, &last);
            batch.delete_cf(&handle, &last);
        }
        Ok(())
    }

    pub(super) fn commit(&self, batch: WriteBatch, sync: bool) -> Result<(), WriteError> {
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        self.inner.db.write_opt(batch, &options).map_err(write_error)
    }

    /// Has all that was written so far synced, also what did not ask for it.
    pub fn sync(&self) -> Result<(), WriteError> {
        self.inner.db.flush_wal(true).map_err(write_error)
    }
}

impl WriteError {
    pub(super) fn of(reason: String) -> Self {
        if reason.contains("No space left on device") || reason.contains("Disk quota exceeded") {
            Self::NoSpace
        } else {
            Self::Failed { reason }
        }
    }
}

pub(super) fn write_error(error: rocksdb::Error) -> WriteError {
    WriteError::of(error.to_string())
}
