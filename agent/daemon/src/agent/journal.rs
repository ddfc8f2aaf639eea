//! The journal's thread: it makes records durable in their order, many of them at once where many wait.
//!
//! Not here: what they are written to, a file of the data directory (`journal_file`) or Secrets (`journal_secret`).

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::sync::watch;
use trimaran_agent_core::journal;
use trimaran_model::error_code;
use trimaran_model::limits::JOURNAL_GROUP_BYTES;
use trimaran_model::report::Report;
use trimaran_process::failpoint;
use trimaran_wire::v1::agent_journal::JournalRecord;

/// One write, in order.
pub(crate) enum Action {
    Append { sequence: u64, records: Vec<JournalRecord> },
    Replace { sequence: u64, records: Vec<JournalRecord> },
}

/// What makes bytes durable. After an error nothing is known of it any more.
pub(crate) trait Medium: Send + 'static {
    /// Adds one frame behind what is there; durable when it returns.
    fn append(&mut self, frame: &[u8]) -> Result<(), Report>;

    /// Only these frames are there from now on.
    fn replace(&mut self, frames: &[u8]) -> Result<(), Report>;
}

/// How far the thread is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Written {
    /// All jobs up to this number are durable.
    pub(crate) sequence: u64,
    /// What was written can't be trusted any more.
    pub(crate) failed: Option<Report>,
}

/// The handle of the thread; dropping it ends the thread behind its last job.
pub(crate) struct Journal {
    // Not bounded here: the executor waits for each write of an assignment before it asks for the next.
    jobs: Sender<Action>,
    written: watch::Receiver<Written>,
}

impl Journal {
    pub(crate) fn start(medium: impl Medium) -> io::Result<Self> {
        let (jobs, queue) = channel();
        let (notify, written) = watch::channel(Written::default());
        let writer = Writer { medium, notify };
        std::thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run(&queue))?;
        Ok(Self { jobs, written })
    }

    pub(crate) fn submit(&self, action: Action) {
        // An error says that the thread has failed, which `written` shows.
        drop(self.jobs.send(action));
    }

    /// Follows what is durable.
    pub(crate) fn written(&self) -> watch::Receiver<Written> {
        self.written.clone()
    }
}

/// The journal can't be used any more, as a report.
pub(crate) fn unwritable(error: &dyn std::error::Error) -> Report {
    Report::because(error_code::DATA_DIR, "the journal can't be written any more", error)
}

struct Writer<M> {
    medium: M,
    notify: watch::Sender<Written>,
}

impl<M: Medium> Writer<M> {
    fn run(mut self, queue: &Receiver<Action>) {
        let mut next = queue.recv().ok();
        while let Some(action) = next.take() {
            failpoint::hit("before the journal is written");
            let (sequence, done) = match action {
                Action::Append { mut sequence, mut records } => {
                    let mut bytes = size(&records);
                    while bytes < JOURNAL_GROUP_BYTES {
                        match queue.try_recv() {
                            Ok(Action::Append { sequence: later, records: more }) => {
                                bytes += size(&more);
                                records.extend(more);
                                sequence = later;
                            }
                            Ok(replace @ Action::Replace { .. }) => {
                                next = Some(replace);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    (sequence, self.medium.append(&journal::encode(records)))
                }
                Action::Replace { sequence, records } => (sequence, self.medium.replace(&frames(records))),
            };
            match done {
                Ok(()) => {
                    failpoint::hit("behind the write of the journal");
                    self.notify.send_modify(|written| written.sequence = sequence);
                }
                Err(report) => {
                    self.notify.send_modify(|written| written.failed = Some(report));
                    return;
                }
            }
            if next.is_none() {
                next = queue.recv().ok();
            }
        }
    }
}

/// Records as frames of bounded size.
fn frames(records: Vec<JournalRecord>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut group = Vec::new();
    for record in records {
        group.push(record);
        if size(&group) >= JOURNAL_GROUP_BYTES {
            bytes.extend(journal::encode(std::mem::take(&mut group)));
        }
    }
    bytes.extend(journal::encode(group));
    bytes
}

fn size(records: &[JournalRecord]) -> usize {
    records.iter().map(|record| trimaran_wire::codec::encode(record).len()).sum()
}
