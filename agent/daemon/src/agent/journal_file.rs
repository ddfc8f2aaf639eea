//! The journal's file: one thread appends and syncs, and replaces the file when it is compacted.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tokio::sync::watch;
use trimaran_agent_core::journal;
use trimaran_model::error_code;
use trimaran_model::limits::{JOURNAL_BYTES_MAX, JOURNAL_GROUP_BYTES};
use trimaran_wire::v1::agent_journal::JournalRecord;

use trimaran_model::report::Report;
use trimaran_process::failpoint;

/// A full disk is tried again this often.
const FULL_DISK_PAUSE: Duration = Duration::from_secs(1);

/// One write, in order.
pub(crate) enum Action {
    Append { sequence: u64, records: Vec<JournalRecord> },
    Replace { sequence: u64, records: Vec<JournalRecord> },
}

/// How far the thread is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Written {
    /// All jobs up to this number are durable.
    pub(crate) sequence: u64,
    /// The file can't be trusted any more.
    pub(crate) failed: Option<String>,
}

/// The handle of the thread; dropping it ends the thread behind its last job.
pub(crate) struct JournalFile {
    // Not bounded here: the executor waits for each write of an assignment before it asks for the next.
    jobs: Sender<Action>,
    written: watch::Receiver<Written>,
}

impl JournalFile {
    /// Reads what is there, cuts a torn end off, and starts the thread.
    pub(crate) fn open(path: &Path) -> Result<(Self, Vec<JournalRecord>), Report> {
        let unusable = |error: &dyn std::error::Error| {
            Report::because(error_code::STORE_DAMAGED, format!("{} can't be used", path.display()), error)
        };
        let mut file = open(path).map_err(|error| unusable(&error))?;
        let mut bytes = Vec::new();
        let length = file.metadata().map_err(|error| unusable(&error))?.len();
        if length > JOURNAL_BYTES_MAX {
            let why = format!("it has {length} bytes, over the limit of {JOURNAL_BYTES_MAX}");
            return Err(unusable(&io::Error::other(why)));
        }
        file.read_to_end(&mut bytes).map_err(|error| unusable(&error))?;
        sync_folder(path).map_err(|error| unusable(&error))?;
        let journal = journal::decode(&bytes).map_err(|error| unusable(&error))?;
        let good = journal.good_bytes as u64;
        if journal.good_bytes < bytes.len() {
            tracing::warn!(torn = bytes.len() - journal.good_bytes, "the journal's last write was cut short");
            cut(&mut file, good).map_err(|error| unusable(&error))?;
        }
        let (jobs, queue) = channel();
        let (notify, written) = watch::channel(Written::default());
        let writer = Writer { path: path.to_owned(), file, good, notify };
        std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run(&queue))
            .map_err(|error| unusable(&error))?;
        Ok((Self { jobs, written }, journal.records))
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

struct Writer {
    path: PathBuf,
    file: File,
    /// Bytes that are durable.
    good: u64,
    notify: watch::Sender<Written>,
}

impl Writer {
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
                    (sequence, self.append(&journal::encode(records)))
                }
                Action::Replace { sequence, records } => (sequence, self.replace(records)),
            };
            match done {
                Ok(()) => {
                    failpoint::hit("behind the write of the journal");
                    self.notify.send_modify(|written| written.sequence = sequence);
                }
                Err(error) => {
                    self.notify.send_modify(|written| written.failed = Some(error.to_string()));
                    return;
                }
            }
            if next.is_none() {
                next = queue.recv().ok();
            }
        }
    }

    /// Appends one frame. A full disk is waited for; after any other error nothing is known of the file.
    fn append(&mut self, frame: &[u8]) -> io::Result<()> {
        let mut logged = false;
        loop {
            match self.file.write_all(frame).and_then(|()| self.file.sync_data()) {
                Ok(()) => {
                    self.good += frame.len() as u64;
                    return Ok(());
                }
                Err(error) if is_full(&error) => {
                    if !logged {
                        tracing::error!(
                            "the disk is full: no work continues until there is space for the journal"
                        );
                        logged = true;
                    }
                    cut(&mut self.file, self.good)?;
                    std::thread::sleep(FULL_DISK_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A new file takes the place of the old one. When there is no space for it the old one stays.
    fn replace(&mut self, records: Vec<JournalRecord>) -> io::Result<()> {
        let beside = self.path.with_extension("tmp");
        let frames = frames(records);
        match write_new(&beside, &frames) {
            Ok(file) => {
                fs::rename(&beside, &self.path)?;
                sync_folder(&self.path)?;
                self.file = file;
                self.good = frames.len() as u64;
                Ok(())
            }
            // The records say again what the old file says: they may as well follow it.
            Err(error) if is_full(&error) => {
                drop(fs::remove_file(&beside));
                self.append(&frames)
            }
            Err(error) => Err(error),
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

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    open(path)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)
}

/// Makes the file's name durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Cuts off what a write that was not completed left, so that nothing good ever follows it.
fn cut(file: &mut File, good: u64) -> io::Result<()> {
    file.set_len(good)?;
    file.sync_data()
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: u64) -> JournalRecord {
        JournalRecord::Forgotten { assignment: n }
    }

    fn wait(journal: &JournalFile, sequence: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut written = journal.written();
        let done = async { written.wait_for(|written| written.sequence >= sequence).await.map(|_| ()) };
        let done = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), done).await });
        done.expect("soon").expect("the thread runs");
    }

    #[test]
    fn what_was_written_is_there_after_a_restart_and_a_torn_end_is_cut_off() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("journal");
        let (journal, found) = JournalFile::open(&path).expect("made");
        assert!(found.is_empty());
        for n in 1..=3 {
            journal.submit(Action::Append { sequence: n, records: vec![record(n)] });
        }
        wait(&journal, 3);
        drop(journal);
        let mut file = OpenOptions::new().append(true).open(&path).expect("there");
        file.write_all(&journal::encode(vec![record(4)])[..9]).expect("written");
        let (journal, found) = JournalFile::open(&path).expect("a torn end is no damage");
        assert_eq!(found, [record(1), record(2), record(3)]);
        journal.submit(Action::Replace { sequence: 4, records: vec![record(9)] });
        journal.submit(Action::Append { sequence: 5, records: vec![record(10)] });
        wait(&journal, 5);
        drop(journal);
        let (_, found) = JournalFile::open(&path).expect("whole");
        assert_eq!(found, [record(9), record(10)]);
    }

    #[test]
    fn a_damaged_journal_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("journal");
        let mut bytes = journal::encode(vec![record(1)]);
        bytes[13] ^= 1;
        bytes.extend(journal::encode(vec![record(2)]));
        fs::write(&path, bytes).expect("written");
        let report = JournalFile::open(&path).err().expect("damaged");
        assert_eq!(report.code, error_code::STORE_DAMAGED);
        assert!(report.message.contains("journal") && report.cause.expect("a cause").contains("byte 0"));
    }
}
