//! The data directory of a coordinator, agent or runner, and what lies where in it.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use trimaran_model::error_code;
use trimaran_model::report::Report;

use crate::files::{WriteError, write_atomically};

/// Paths inside of a data directory. Who works in it holds a lock of its own: the store's, the journal's or the host's.
#[derive(Debug, Clone)]
pub struct DataDir {
    root: PathBuf,
}

/// Why it can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("the data directory {root} can't be used")]
    Unusable { root: PathBuf, source: io::Error },
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl From<DataDirError> for Report {
    fn from(error: DataDirError) -> Self {
        match &error {
            DataDirError::Unusable { source, .. } => {
                Self::because(error_code::DATA_DIR, error.to_string(), source)
            }
            DataDirError::Write(write) => {
                Self::because(error_code::DATA_DIR, error.to_string(), &write.source)
            }
        }
    }
}

impl DataDir {
    /// The directory of this path; nothing is read or made.
    ///
    /// # Errors
    /// A relative path without a current directory.
    pub fn at(root: &Path) -> Result<Self, DataDirError> {
        match std::path::absolute(root) {
            Ok(root) => Ok(Self { root }),
            Err(source) => Err(DataDirError::Unusable { root: root.to_owned(), source }),
        }
    }

    /// Makes the directories that are missing, for the own user alone.
    ///
    /// # Errors
    /// When one can't be made.
    pub fn create(&self) -> Result<(), DataDirError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(self.root.join("cache"));
        made.map_err(|source| DataDirError::Unusable { root: self.root.clone(), source })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Certificate, key and root certificate; of a coordinator its issuing key too.
    pub fn identity(&self) -> PathBuf {
        self.root.join("identity")
    }

    /// A coordinator's log and rows.
    pub fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    /// Snapshots for and from other coordinators, as long as they are on their way.
    pub fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// An agent's journal.
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// Artifacts by digest, which are kept.
    pub fn artifacts(&self) -> PathBuf {
        self.root.join("artifacts")
    }

    /// Writes the process's number, so that people and `trimaran dev` find it.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write_pid(&self) -> Result<(), DataDirError> {
        self.write("pid", &format!("{}\n", std::process::id()))
    }

    /// The endpoints of the last start that named some.
    pub fn endpoints(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.root.join("endpoints")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Keeps the endpoints for a start that names none.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn keep_endpoints(&self, endpoints: &[String]) -> Result<(), DataDirError> {
        if self.endpoints() == endpoints {
            return Ok(());
        }
        let text: String = endpoints.iter().map(|endpoint| format!("{endpoint}\n")).collect();
        self.write("endpoints", &text)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), DataDirError> {
        Ok(write_atomically(&self.root.join(name), text.as_bytes(), 0o644)?)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_directory_is_private_and_remembers_the_process_and_its_endpoints() {
        let folder = tempfile::tempdir().expect("a directory");
        let data = DataDir::at(&folder.path().join("a/b")).expect("a path");
        data.create().expect("made");
        let mode = std::fs::metadata(data.root()).expect("made").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        data.write_pid().expect("written");
        let pid = std::fs::read_to_string(data.root().join("pid")).expect("there");
        assert_eq!(pid, format!("{}\n", std::process::id()));
        assert!(data.endpoints().is_empty());
        data.keep_endpoints(&["a:1".to_owned(), "b:2".to_owned()]).expect("written");
        assert_eq!(DataDir::at(data.root()).expect("there").endpoints(), ["a:1", "b:2"]);
        std::fs::write(folder.path().join("file"), "").expect("written");
        let used = DataDir::at(&folder.path().join("file")).expect("a path").create();
        let report = Report::from(used.expect_err("a file is there"));
        assert_eq!(report.code, error_code::DATA_DIR);
        assert!(report.message.contains("file") && report.cause.is_some(), "{report}");
    }
}
