//! Files that one process at a time holds: flock(2), which ends with the process whatever ends it.

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// A process that was killed holds its files until its last thread is gone, a moment after it looks dead.
const END_LIMIT: Duration = Duration::from_secs(2);
const END_PAUSE: Duration = Duration::from_millis(5);

/// Held as long as it exists. Children don't inherit it.
#[derive(Debug)]
pub struct LockFile(File);

/// Why a file is not ours.
#[derive(Debug)]
pub enum LockFileError {
    /// Another process has it; its number, where the file says so.
    Held {
        pid: Option<u32>,
    },
    Io(io::Error),
}

impl From<io::Error> for LockFileError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl LockFile {
    /// Takes the file at once, which is made when it is missing, and writes the process's number into it. A holder
    /// that is at its end is waited for, two seconds at most.
    pub fn acquire(path: &Path) -> Result<Self, LockFileError> {
        Self::acquire_after(path, is_ending)
    }

    fn acquire_after(path: &Path, is_ending: impl Fn(u32) -> bool) -> Result<Self, LockFileError> {
        let mut file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
        let deadline = Instant::now() + END_LIMIT;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    let pid = holder(&file);
                    if Instant::now() >= deadline || !pid.is_some_and(&is_ending) {
                        return Err(LockFileError::Held { pid });
                    }
                    std::thread::sleep(END_PAUSE);
                }
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self(file))
    }
}

impl Drop for LockFile {
    /// Closing the file is not enough: a child that was forked in the meantime holds a copy of it until its exec.
    fn drop(&mut self) {
        // A lock that can't be given back ends with the process.
        let _ = self.0.unlock();
    }
}

fn holder(file: &File) -> Option<u32> {
    let mut bytes = [0; 32];
    let count = file.read_at(&mut bytes, 0).ok()?;
    std::str::from_utf8(&bytes[..count]).ok()?.trim().parse().ok()
}

/// Whether a process is gone, or has given its memory back already and with it its command line (proc(5)).
fn is_ending(pid: u32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).map_or(true, |words| words.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_holder_at_a_time_and_the_next_takes_it_over() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("lock");
        let first = LockFile::acquire(&path).expect("no one has it");
        let refused = LockFile::acquire(&path).expect_err("taken");
        assert!(
            matches!(refused, LockFileError::Held { pid } if pid == Some(std::process::id())),
            "{refused:?}"
        );
        let copy = first.0.try_clone().expect("as a child has it between fork and exec");
        drop(first);
        LockFile::acquire(&path).expect("free again");
        drop(copy);
    }
    #[test]
    fn a_holder_at_its_end_is_waited_for_and_no_other() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("lock");
        let first = std::cell::RefCell::new(Some(LockFile::acquire(&path).expect("no one has it")));
        let ends = |pid| {
            assert_eq!(pid, std::process::id());
            first.borrow_mut().take().is_some()
        };
        LockFile::acquire_after(&path, ends).expect("given back while it was waited for");
        let mut gone = std::process::Command::new("true").spawn().expect("a process");
        gone.wait().expect("it ends");
        assert!(is_ending(gone.id()) && !is_ending(std::process::id()));
    }
}
