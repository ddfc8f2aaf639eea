//! The one thread that writes. Jobs that queue up while a write runs become one WAL record: group commit.
//!
//! A failed write or sync ends the thread after one [`WriterEvent::Failed`]: the kernel may have dropped the
//! dirty pages, so trying again could report success for data that is gone. The process has to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use rocksdb::{Direction, IteratorMode, WriteBatch, WriteOptions};
use trimaran_model::limits;
use trimaran_replica::{EntryMeta, InstallJob, Row, WriteJob, Written};
use trimaran_wire::codec::Message as _;

use crate::meta;
use crate::open::{Bounds, Store};

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

/// Why a job was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    #[error("the writer has ended")]
    Ended,
    #[error("the writer's queue is full")]
    Full,
}

/// What the writer tells, in order, from its own thread.
#[derive(Debug)]
pub enum WriterEvent {
    /// For `Input::Written`.
    Written(Written),
    /// For `Input::SnapshotInstalled`.
    Installed { number: u64, rows: Vec<Row> },
    /// For `Input::WriteFailed`; nothing follows.
    Failed(WriteError),
}

/// Counters since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriterStats {
    pub jobs: u64,
    pub groups: u64,
    pub syncs: u64,
}

#[derive(Debug, Default)]
struct Counters {
    jobs: AtomicU64,
    groups: AtomicU64,
    syncs: AtomicU64,
}

enum Command {
    Write(WriteJob),
    Install(InstallJob, Vec<Row>),
}

/// The way to the writer. Dropping it lets the thread finish what is queued, sync, and end.
pub struct WriterHandle {
    queue: Option<SyncSender<Command>>,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

impl WriterHandle {
    /// Queues a job. Never blocks: the replica bounds how many are under way.
    pub fn submit(&self, job: WriteJob) -> Result<(), SubmitError> {
        self.send(Command::Write(job))
    }

    /// Queues the durable switch to a snapshot whose rows were received and checked.
    pub fn install(&self, job: InstallJob, rows: Vec<Row>) -> Result<(), SubmitError> {
        self.send(Command::Install(job, rows))
    }

    fn send(&self, command: Command) -> Result<(), SubmitError> {
        let queue = self.queue.as_ref().expect("the queue is taken by drop alone");
        queue.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => SubmitError::Full,
            TrySendError::Disconnected(_) => SubmitError::Ended,
        })
    }

    pub fn stats(&self) -> WriterStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        WriterStats {
            jobs: read(&counters.jobs),
            groups: read(&counters.groups),
            syncs: read(&counters.syncs),
        }
    }
}

impl Drop for WriterHandle {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the callback was reported by its own thread already.
            let _ = thread.join();
        }
    }
}

/// The writer thread.
pub struct Writer<F> {
    store: Store,
    queue: Receiver<Command>,
    counters: Arc<Counters>,
    tell: F,
}

impl<F: FnMut(WriterEvent) + Send + 'static> Writer<F> {
    /// Starts the thread. `bound` jobs may queue; more than the replica ever has under way is right (1,024).
    /// `tell` runs on the writer's thread and should only pass the event on.
    pub fn spawn(store: Store, bound: usize, tell: F) -> std::io::Result<WriterHandle> {
        let (sender, queue) = sync_channel(bound);
        let counters = Arc::new(Counters::default());
        let writer = Self { store, queue, counters: Arc::clone(&counters), tell };
        let thread = std::thread::Builder::new().name("writer".into()).spawn(|| writer.run())?;
        Ok(WriterHandle { queue: Some(sender), counters, thread: Some(thread) })
    }

    fn run(mut self) {
        let mut next = None;
        while let Some(command) = next.take().or_else(|| self.queue.recv().ok()) {
            let event = match command {
                Command::Install(job, rows) => {
                    let number = job.number;
                    self.store.install(&job, &rows).map(|()| WriterEvent::Installed { number, rows })
                }
                Command::Write(job) => {
                    let group = self.gather(job, &mut next);
                    self.write(&group)
                }
            };
            match event {
                Ok(event) => (self.tell)(event),
                Err(error) => {
                    (self.tell)(WriterEvent::Failed(error));
                    return;
                }
            }
        }
        if let Err(error) = self.store.sync() {
            (self.tell)(WriterEvent::Failed(error));
        }
    }

    /// Takes what queues behind `job` up to the bounds of a group; `next` gets what may not join it.
    fn gather(&self, job: WriteJob, next: &mut Option<Command>) -> Vec<WriteJob> {
        let mut bytes = job_bytes(&job);
        let mut group = vec![job];
        while group.len() < limits::WRITE_GROUP_JOBS_MAX && bytes < limits::WRITE_GROUP_BYTES_MAX {
            match self.queue.try_recv() {
                Ok(Command::Write(job)) => {
                    bytes += job_bytes(&job);
                    group.push(job);
                }
                Ok(install) => {
                    *next = Some(install);
                    break;
                }
                Err(_) => break,
            }
        }
        group
    }

    fn write(&self, group: &[WriteJob]) -> Result<WriterEvent, WriteError> {
        self.store.write(group)?;
        let synced = group.iter().any(|job| job.sync);
        self.counters.jobs.fetch_add(group.len() as u64, Ordering::Relaxed);
        self.counters.groups.fetch_add(1, Ordering::Relaxed);
        self.counters.syncs.fetch_add(u64::from(synced), Ordering::Relaxed);
        let number = group.last().map_or(0, |job| job.number);
        Ok(WriterEvent::Written(Written { number }))
    }
}

fn job_bytes(job: &WriteJob) -> usize {
    job.entries.iter().map(|entry| entry.data.0.len() + 64).sum::<usize>() + job.rows.bytes()
}

impl Store {
    /// Writes a group of jobs as one record, synced if one of them asks for it. Public for tools and tests;
    /// a running coordinator writes through its [`Writer`] alone.
    pub fn write(&self, group: &[WriteJob]) -> Result<(), WriteError> {
        let mut bounds = self.inner.bounds.lock().expect("no panic while it is locked");
        let mut after = *bounds;
        let mut batch = WriteBatch::default();
        for job in group {
            after = self.add(job, after, &mut batch)?;
        }
        let Bounds { last, commit, applied, .. } = after;
        if !(last >= commit && commit >= applied) {
            return Err(WriteError::Bounds { last, commit, applied });
        }
        self.commit(batch, group.iter().any(|job| job.sync))?;
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
                batch.put_cf(log, meta::log_key(entry.index), entry.to_bytes());
            }
            for stale in last.index + 1..=bounds.last {
                batch.delete_cf(log, meta::log_key(stale));
            }
            bounds.last = last.index;
        }
        if let Some(state) = &job.hard_state {
            batch.put_cf(metas, meta::HARD_STATE, state.to_bytes());
            bounds.commit = state.commit;
        }
        for (key, value) in &job.rows.changes {
            match value {
                Some(value) => batch.put_cf(rows, key, value),
                None => batch.delete_cf(rows, key),
            }
        }
        if let Some(applied) = job.applied {
            batch.put_cf(metas, meta::APPLIED, meta::place(applied));
            bounds.applied = applied.index;
        }
        if let Some(members) = &job.conf_state {
            batch.put_cf(metas, meta::CONF_STATE, members.to_bytes());
        }
        if let Some(mark) = job.snapshot {
            batch.put_cf(metas, meta::SNAPSHOT, meta::place(mark));
        }
        if let Some(mark) = job.compact
            && mark.index >= bounds.first
        {
            batch.delete_range_cf(log, meta::log_key(bounds.first), meta::log_key(mark.index + 1));
            batch.put_cf(metas, meta::COMPACTED, meta::place(mark));
            bounds.first = mark.index + 1;
        }
        Ok(bounds)
    }

    /// Replaces all rows and empties the log in one synced record: after a crash it is the old state or the
    /// new one. The record is as large as the rows.
    pub fn install(&self, job: &InstallJob, rows: &[Row]) -> Result<(), WriteError> {
        let mut bounds = self.inner.bounds.lock().expect("no panic while it is locked");
        let mut batch = WriteBatch::default();
        self.clear(meta::LOG, &mut batch)?;
        self.clear(meta::ROWS, &mut batch)?;
        for (key, value) in rows {
            batch.put_cf(self.cf(meta::ROWS), key, value);
        }
        let at = EntryMeta { index: job.meta.index, term: job.meta.term };
        let commit = job.hard_state.commit.max(at.index);
        let state = trimaran_wire::raft::HardState { commit, ..job.hard_state };
        let metas = [
            (meta::HARD_STATE, state.to_bytes()),
            (meta::CONF_STATE, job.meta.conf_state.to_bytes()),
            (meta::APPLIED, meta::place(at)),
            (meta::SNAPSHOT, meta::place(at)),
            (meta::COMPACTED, meta::place(at)),
        ];
        for (key, value) in metas {
            batch.put_cf(self.cf(meta::META), key, value);
        }
        self.commit(batch, true)?;
        *bounds = Bounds { first: at.index + 1, last: at.index, commit, applied: at.index };
        self.inner.applied.send_replace(at.index);
        Ok(())
    }

    fn clear(&self, family: &str, batch: &mut WriteBatch) -> Result<(), WriteError> {
        let handle = self.cf(family);
        let edge = |mode| self.inner.db.iterator_cf(handle, mode).next().transpose().map_err(write_error);
        let first = edge(IteratorMode::From(&[], Direction::Forward))?;
        let last = edge(IteratorMode::End)?;
        if let (Some((first, _)), Some((last, _))) = (first, last) {
            batch.delete_range_cf(handle, &first, &last);
            batch.delete_cf(handle, &last);
        }
        Ok(())
    }

    fn commit(&self, batch: WriteBatch, sync: bool) -> Result<(), WriteError> {
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        self.inner.db.write_opt(batch, &options).map_err(write_error)
    }
}

pub(crate) fn write_error(error: rocksdb::Error) -> WriteError {
    let reason = error.to_string();
    if reason.contains("No space left on device") || reason.contains("Disk quota exceeded") {
        WriteError::NoSpace
    } else {
        WriteError::Failed { reason }
    }
}
