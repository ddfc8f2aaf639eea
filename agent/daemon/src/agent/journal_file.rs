//! The journal as a file of the data directory: frames are appended and synced, and the file is replaced when it is compacted.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use trimaran_agent_core::journal;
use trimaran_model::error_code;
use trimaran_model::limits::JOURNAL_BYTES_MAX;
use trimaran_model::report::Report;
use trimaran_wire::v1::agent_journal::JournalRecord;

use super::journal::{Journal, Medium, unwritable};

/// A full disk is tried again this often.
const FULL_DISK_PAUSE: Duration = Duration::from_secs(1);

pub(crate) struct JournalFile {
    path: PathBuf,
    file: File,
    /// Bytes that are durable.
    good: u64,
}

impl JournalFile {
    /// Reads what is there, cuts a torn end off, and starts the thread that writes.
    pub(crate) fn open(path: &Path) -> Result<(Journal, Vec<JournalRecord>), Report> {
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
        let started = Journal::start(Self { path: path.to_owned(), file, good });
        Ok((started.map_err(|error| unusable(&error))?, journal.records))
    }

    /// Appends one frame. A full disk is waited for; after any other error nothing is known of the file.
    fn try_append(&mut self, frame: &[u8]) -> io::Result<()> {
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
    fn try_replace(&mut self, frames: &[u8]) -> io::Result<()> {
        let beside = self.path.with_extension("tmp");
        match write_new(&beside, frames) {
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
                self.try_append(frames)
            }
            Err(error) => Err(error),
        }
    }
}

impl Medium for JournalFile {
    fn append(&mut self, frame: &[u8]) -> Result<(), Report> {
        self.try_append(frame).map_err(|error| unwritable(&error))
    }

    fn replace(&mut self, frames: &[u8]) -> Result<(), Report> {
        self.try_replace(frames).map_err(|error| unwritable(&error))
    }
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
    use crate::agent::journal::Action;

    fn record(n: u64) -> JournalRecord {
        JournalRecord::Forgotten { assignment: n }
    }

    fn wait(journal: &Journal, sequence: u64) {
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
