//! The one thread that writes. Jobs that queue up while a write runs become one WAL record: group commit.
//!
//! A failed write or sync ends the thread after one [`WriterEvent::Failed`]: the kernel may have dropped the
//! dirty pages, so trying again could report success for data that is gone. The process has to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use trimaran_replica::{InstallJob, Row, WriteGroup, WriteJob, Written};

use crate::store::{StagedRows, Store, WriteError};

/// Why a job was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    #[error("the writer has ended")]
    Ended,
    #[error("the writer's queue is full")]
    Full,
}

/// What the writer reports, in order, from its own thread.
#[derive(Debug)]
pub enum WriterEvent {
    /// For `Input::Written`.
    Written(Written),
    /// For `Input::SnapshotInstalled`, with the rows of the state: those that only queries read stay where they are.
    Installed { number: u64, hot: Vec<Row> },
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
    Install(Install),
}

struct Install {
    job: InstallJob,
    rows: StagedRows,
    hot_below: Vec<u8>,
}

/// Queues jobs for the writer. Dropping it lets the thread finish what is queued, sync, and end.
pub struct WriterHandle {
    queue: Option<SyncSender<Command>>,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

impl WriterHandle {
    /// Queues a job. Never blocks: the replica bounds how many are in flight.
    pub fn submit(&self, job: WriteJob) -> Result<(), SubmitError> {
        self.send(Command::Write(job))
    }

    /// Queues the durable switch to staged rows. Those with `key < hot_below` are the state.
    pub fn install(&self, job: InstallJob, rows: StagedRows, hot_below: &[u8]) -> Result<(), SubmitError> {
        self.send(Command::Install(Install { job, rows, hot_below: hot_below.to_vec() }))
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
    report: F,
}

impl<F: FnMut(WriterEvent) + Send + 'static> Writer<F> {
    /// Starts the thread. `bound` jobs may queue; more than the replica ever has in flight is right (1,024).
    /// `report` runs on the writer's thread and should only pass the event on.
    pub fn spawn(store: Store, bound: usize, report: F) -> std::io::Result<WriterHandle> {
        let (sender, queue) = sync_channel(bound);
        let counters = Arc::new(Counters::default());
        let writer = Self { store, queue, counters: Arc::clone(&counters), report };
        let thread = std::thread::Builder::new().name("writer".into()).spawn(|| writer.run())?;
        Ok(WriterHandle { queue: Some(sender), counters, thread: Some(thread) })
    }

    fn run(mut self) {
        let mut next = None;
        while let Some(command) = next.take().or_else(|| self.queue.recv().ok()) {
            let event = match command {
                Command::Install(install) => self.install(install),
                Command::Write(job) => {
                    let group = self.gather(job, &mut next);
                    self.write(&group)
                }
            };
            match event {
                Ok(event) => {
                    (self.report)(event);
                    self.store.remove_replaced_rows();
                }
                Err(error) => {
                    (self.report)(WriterEvent::Failed(error));
                    return;
                }
            }
        }
        if let Err(error) = self.store.sync() {
            (self.report)(WriterEvent::Failed(error));
        }
    }

    /// Takes what queues behind `job` up to the bounds of a group; `next` gets what may not join it.
    fn gather(&self, job: WriteJob, next: &mut Option<Command>) -> WriteGroup {
        let mut group = WriteGroup::new(job);
        while group.has_capacity() {
            match self.queue.try_recv() {
                Ok(Command::Write(job)) => group.push(job),
                Ok(install) => {
                    *next = Some(install);
                    break;
                }
                Err(_) => break,
            }
        }
        group
    }

    fn install(&self, Install { job, rows, hot_below }: Install) -> Result<WriterEvent, WriteError> {
        // Before the switch: rows that can't be read leave the old ones in use.
        let hot = rows.rows_below(&hot_below);
        let hot = hot.map_err(|error| WriteError::Failed { reason: error.to_string() })?;
        self.store.install(&job, rows)?;
        Ok(WriterEvent::Installed { number: job.number, hot })
    }

    fn write(&self, group: &WriteGroup) -> Result<WriterEvent, WriteError> {
        self.store.write(group.jobs())?;
        self.counters.jobs.fetch_add(group.jobs().len() as u64, Ordering::Relaxed);
        self.counters.groups.fetch_add(1, Ordering::Relaxed);
        self.counters.syncs.fetch_add(u64::from(group.needs_sync()), Ordering::Relaxed);
        Ok(WriterEvent::Written(Written { number: group.number() }))
    }
}
