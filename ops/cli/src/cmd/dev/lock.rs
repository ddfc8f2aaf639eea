//! One `trimaran dev` per data directory. The lock ends with its process, whatever ends it: the next one takes the
//! running parts over.

use std::path::Path;

use trimaran_model::error_code;
use trimaran_process::lock::{LockFile, LockFileError};

use super::io_error::io_error;
use crate::error::CliError;

/// Takes the directory, which is made when it is missing; refused while another one has it.
pub(super) fn acquire(data: &Path) -> Result<LockFile, CliError> {
    std::fs::create_dir_all(data).map_err(|error| io_error(&data.display().to_string(), &error))?;
    LockFile::acquire(&data.join("dev.lock")).map_err(|error| match error {
        LockFileError::Held { pid } => taken(data, pid),
        LockFileError::Io(error) => io_error(&data.display().to_string(), &error),
    })
}

fn taken(data: &Path, pid: Option<u32>) -> CliError {
    let who = pid.map_or("another process".to_owned(), |pid| format!("process {pid}"));
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
        let first = acquire(&data).expect("it is free");
        let refused = acquire(&data).expect_err("taken");
        assert_eq!(refused.exit(), 6);
        let cause = refused.more.cause.expect("a cause");
        assert!(cause.contains(&format!("process {}", std::process::id())), "{cause}");
        drop(first);
        acquire(&data).expect("free again");
    }
}
