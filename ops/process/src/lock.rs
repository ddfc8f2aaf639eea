//! Files that one process at a time holds: flock(2), which ends with the process whatever ends it.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

/// Held as long as it lives. Children don't inherit it.
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
    /// Takes the file at once, which is made when it is missing, and writes the process's number into it.
    pub fn take(path: &Path) -> Result<Self, LockFileError> {
        let mut file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockFileError::Held { pid: holder(&file) }),
            Err(TryLockError::Error(error)) => return Err(error.into()),
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
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_holder_at_a_time_and_the_next_takes_it_over() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("lock");
        let first = LockFile::take(&path).expect("nobody has it");
        let refused = LockFile::take(&path).expect_err("taken");
        assert!(
            matches!(refused, LockFileError::Held { pid } if pid == Some(std::process::id())),
            "{refused:?}"
        );
        let copy = first.0.try_clone().expect("as a child has it between fork and exec");
        drop(first);
        LockFile::take(&path).expect("free again");
        drop(copy);
    }
}
