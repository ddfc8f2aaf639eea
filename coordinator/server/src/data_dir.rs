//! The data directory of a coordinator: `identity/`, `store/`, `pid`, `cache/`, and the ballast.

use std::path::{Path, PathBuf};

use trimaran_transport::files::{FilesError, write_atomically};

/// Paths inside of a data directory.
#[derive(Debug, Clone)]
pub(crate) struct DataDir {
    root: PathBuf,
}

impl DataDir {
    pub(crate) fn new(root: &Path) -> std::io::Result<Self> {
        Ok(Self { root: std::path::absolute(root)? })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Certificate, key and root certificate of this coordinator, and its issuing key.
    pub(crate) fn identity(&self) -> PathBuf {
        self.root.join("identity")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    /// Makes the directories that may be missing.
    pub(crate) fn create(&self) -> std::io::Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(self.root.join("cache"))
    }

    /// Writes the process's number, so that people and `trimaran dev` find it.
    pub(crate) fn write_pid(&self) -> Result<(), FilesError> {
        write_atomically(&self.root.join("pid"), format!("{}\n", std::process::id()).as_bytes(), 0o644)
    }
}
