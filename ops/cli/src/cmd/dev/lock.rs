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
pub(crate) struct DevLock(#[expect(dead_code, reason = "its end is what counts")] File);

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
        drop(first);
        DevLock::take(&data).expect("free again");
    }
}
