//! One process per data directory: flock(2) on `DATA/lock`, which ends with the process whatever ends it.

use std::io;
use std::path::{Path, PathBuf};

use trimaran_process::lock::{LockFile, LockFileError};

/// Held as long as the value exists. Children don't inherit it.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: LockFile,
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
    pub fn acquire(dir: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Lock { dir: dir.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(failed)?;
        match LockFile::acquire(&dir.join("lock")) {
            Ok(file) => Ok(Self { _file: file }),
            Err(LockFileError::Io(source)) => Err(failed(source)),
            Err(LockFileError::Held { pid }) => {
                let holder = pid.and_then(process).unwrap_or_else(|| "another process".to_owned());
                Err(LockError::Held { dir: dir.to_owned(), holder })
            }
        }
    }
}

/// A process with its command line, while it is there.
fn process(pid: u32) -> Option<String> {
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
        let first = DirectoryLock::acquire(folder.path()).expect("no one has it");
        let refused = DirectoryLock::acquire(folder.path()).expect_err("taken");
        assert!(refused.to_string().contains(&format!("process {}", std::process::id())), "{refused}");
        drop(first);
        DirectoryLock::acquire(folder.path()).expect("free again");
    }
}
