//! One `trimaran dev` per data directory. The lock ends with its process, whatever ends it: the next one takes the
//! running parts over.

use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::Path;

use trimaran_model::error_code;

use super::io_error;
use crate::error::CliError;

/// Held for as long as it lives.
#[derive(Debug)]
pub(crate) struct DevLock(File);

impl Drop for DevLock {
    /// Closing the file is not enough: a child that was forked in the meantime holds a copy of it until its exec.
    fn drop(&mut self) {
        // A lock that can't be given back ends with the process.
        let _ = self.0.unlock();
    }
}

impl DevLock {
    /// Takes the directory, which is made when it is missing; refused while another one has it.
    pub(crate) fn take(data: &Path) -> Result<Self, CliError> {
        let failed = |error: std::io::Error| io_error("the data directory", &error);
        std::fs::create_dir_all(data).map_err(failed)?;
        let path = data.join("dev.lock");
        let open = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let mut file = open.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(taken(data, &path)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(failed)?;
        Ok(Self(file))
    }
}

fn taken(data: &Path, lock: &Path) -> CliError {
    let pid = std::fs::read_to_string(lock).unwrap_or_default();
    let who = match pid.trim() {
        "" => "another process".to_owned(),
        pid => format!("process {pid}"),
    };
    CliError::new(error_code::DATA_DIR, format!("`trimaran dev` runs on {} already", data.display()))
        .cause(format!("{who} holds the cluster in this directory; ending a second one would end its parts"))
        .help("use the running one through the context `dev`, end it first, or take another `--data-dir`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_dev_at_a_time_and_the_next_takes_it_over() {
        let folder = tempfile::tempdir().expect("a directory");
        let data = folder.path().join("a/b");
        let first = DevLock::take(&data).expect("nobody has it");
        let refused = DevLock::take(&data).expect_err("taken");
        assert_eq!(refused.exit(), 6);
        let cause = refused.more.cause.expect("a cause");
        assert!(cause.contains(&format!("process {}", std::process::id())), "{cause}");
        let copy = first.0.try_clone().expect("as a child has it between fork and exec");
        drop(first);
        DevLock::take(&data).expect("free again");
        drop(copy);
    }
}
