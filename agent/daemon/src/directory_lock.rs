//! The lock of a data directory: an agent takes it here, a runner's host takes it itself.

use trimaran_host::lock::{DirectoryLock, LockError};
use trimaran_model::error_code;
use trimaran_model::report::Report;
use trimaran_process::DataDir;

/// Keeps other processes out until the lock is dropped.
pub(crate) fn acquire(data: &DataDir) -> Result<DirectoryLock, Report> {
    DirectoryLock::acquire(data.root()).map_err(|error| refused(data, &error))
}

/// The directory can't be locked.
pub(crate) fn refused(data: &DataDir, error: &LockError) -> Report {
    let message = format!("the data directory {} can't be used", data.root().display());
    Report::because(error_code::DATA_DIR, message, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_process() {
        let folder = tempfile::tempdir().expect("a directory");
        let data = DataDir::at(folder.path()).expect("a path");
        let lock = acquire(&data).expect("no one has it");
        let refused = acquire(&data).expect_err("locked");
        assert_eq!(refused.code, error_code::DATA_DIR);
        assert!(refused.cause.expect("a cause").contains(&std::process::id().to_string()));
        drop(lock);
        acquire(&data).expect("free again");
    }
}
