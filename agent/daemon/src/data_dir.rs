//! The data directory: `pid`, `identity/`, `cache/`, and the endpoints of its enrolment.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use trimaran_host::lock::{DirectoryLock, LockError};
use trimaran_model::error_code;
use trimaran_transport::files::write_atomically;

use trimaran_model::report::Report;

/// A data directory. Who works in it holds its lock: an agent takes it here, a runner's host takes it itself.
#[derive(Debug)]
pub(crate) struct DataDir {
    root: PathBuf,
}

impl DataDir {
    /// Makes what is missing.
    pub(crate) fn open(root: &Path) -> Result<Self, Report> {
        let unusable = |error: io::Error| {
            let message = format!("the data directory {} can't be used", root.display());
            Report::because(error_code::DATA_DIR, message, &error)
        };
        let root = std::path::absolute(root).map_err(unusable)?;
        DirBuilder::new().recursive(true).mode(0o700).create(root.join("cache")).map_err(unusable)?;
        Ok(Self { root })
    }

    /// Keeps other processes out until the lock is dropped.
    pub(crate) fn lock(&self) -> Result<DirectoryLock, Report> {
        DirectoryLock::take(&self.root).map_err(|error| self.locked(&error))
    }

    /// The directory can't be locked.
    pub(crate) fn locked(&self, error: &LockError) -> Report {
        let message = format!("the data directory {} can't be used", self.root.display());
        Report::because(error_code::DATA_DIR, message, error)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// Writes the process's number, so that people and `trimaran dev` find it.
    pub(crate) fn write_pid(&self) -> Result<(), Report> {
        let text = format!("{}\n", std::process::id());
        self.write("pid", text.as_bytes())
    }

    /// The endpoints of the last start that named some.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.root.join("endpoints")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn keep_endpoints(&self, endpoints: &[String]) -> Result<(), Report> {
        if self.endpoints() == endpoints {
            return Ok(());
        }
        let text: String = endpoints.iter().map(|endpoint| format!("{endpoint}\n")).collect();
        self.write("endpoints", text.as_bytes())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Report> {
        write_atomically(&self.root.join(name), bytes, 0o644).map_err(|error| {
            Report::because(error_code::DATA_DIR, format!("`{name}` can't be written"), &error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_process_and_remembers_its_endpoints() {
        let folder = tempfile::tempdir().expect("a directory");
        let data = DataDir::open(&folder.path().join("a/b")).expect("made");
        let lock = data.lock().expect("no one has it");
        let refused = data.lock().expect_err("locked");
        assert_eq!(refused.code, error_code::DATA_DIR);
        assert!(refused.cause.expect("a cause").contains(&std::process::id().to_string()));
        drop(lock);
        data.lock().expect("free again");
        assert!(data.endpoints().is_empty());
        data.keep_endpoints(&["a:1".to_owned(), "b:2".to_owned()]).expect("written");
        assert_eq!(DataDir::open(data.root()).expect("there").endpoints(), ["a:1", "b:2"]);
    }
}
