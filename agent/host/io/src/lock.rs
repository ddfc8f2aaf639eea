//! One process per data directory: flock(2) on `DATA/lock`, which ends with the process whatever ends it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Held as long as it lives. Children don't inherit it.
#[derive(Debug)]
pub struct DirectoryLock {
    file: File,
}

/// Why a data directory is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("{dir} is in use by {holder}")]
    Held { dir: PathBuf, holder: String },
    #[error("can't lock {dir}")]
    Lock { dir: PathBuf, source: io::Error },
}

impl DirectoryLock {
    /// Takes the lock at once, or says who has it.
    pub fn take(dir: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Lock { dir: dir.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(failed)?;
        let path = dir.join("lock");
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let holder = holder(&mut file).unwrap_or_else(|| "another process".to_owned());
                return Err(LockError::Held { dir: dir.to_owned(), holder });
            }
            Err(error) => return Err(failed(error.into())),
        }
        file.set_len(0).and_then(|()| write!(file, "{}", std::process::id())).map_err(failed)?;
        Ok(Self { file })
    }
}

impl Drop for DirectoryLock {
    /// Closing the file is not enough: a child that was forked in the meantime holds a copy of it until its exec.
    fn drop(&mut self) {
        if let Err(error) = flock(&self.file, FlockOperation::Unlock) {
            tracing::debug!(%error, "the lock ends with its process");
        }
    }
}

/// Process and command line of whoever wrote its id into the lock.
fn holder(file: &mut File) -> Option<String> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    let pid: u32 = text.trim().parse().ok()?;
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<_> = command.split(|byte| *byte == 0).take(4).map(String::from_utf8_lossy).collect();
    Some(format!("process {pid} ({})", words.join(" ").trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_holder_at_a_time_and_the_next_takes_it_over() {
        let folder = tempfile::tempdir().expect("a directory");
        let first = DirectoryLock::take(folder.path()).expect("nobody has it");
        let refused = DirectoryLock::take(folder.path()).expect_err("taken");
        assert!(refused.to_string().contains(&format!("process {}", std::process::id())), "{refused}");
        let copy = first.file.try_clone().expect("as a child has it between fork and exec");
        drop(first);
        DirectoryLock::take(folder.path()).expect("free again");
        drop(copy);
    }
}
