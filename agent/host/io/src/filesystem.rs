//! The seam between the store and the disk: few operations, each of which may be the last one before a crash.
//!
//! Durable is only what was synced: a file's bytes by [`FileSystem::write_synced`], names by
//! [`FileSystem::sync_dir`]. A model of a disk that loses everything else stands behind this in the
//! conformance suite.
//!
//! Each error of the operating system names its path. Nothing here waits for the other end of a pipe or for a device:
//! what is no regular file is not opened.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use trimaran_model::limits;

/// What has a name in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    File,
    Directory,
    Link,
    /// A pipe, a socket or a device.
    Other,
}

impl EntryKind {
    fn describe(self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::Directory => "a directory",
            Self::Link => "a symbolic link",
            Self::Other => "a pipe, socket or device",
        }
    }
}

/// What is displaced gets the first free name of so many.
const DISPLACED_MAX: u32 = 1000;

/// What the store does to a disk.
pub trait FileSystem: Send + Sync + 'static {
    /// What has this name; a link is not followed. `None`: nothing.
    fn kind(&self, path: &Path) -> io::Result<Option<EntryKind>>;
    /// The whole file; over `limits::FRAME_BYTES_MAX`, and what is no regular file, is `InvalidData`.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Makes or replaces a file and syncs its bytes; its name is durable after `sync_dir`.
    fn write_synced(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Replaces `to`, atomically.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()>;
    fn read_link(&self, path: &Path) -> io::Result<PathBuf>;
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// A file or link that is not there is removed already.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// A tree that is not there is removed already.
    fn remove_tree(&self, path: &Path) -> io::Result<()>;
    /// Names in a directory, sorted.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;

    /// Moves what is in the way of a file of ours aside, to `NAME.displaced-N` beside it, and logs that. What a user
    /// put there is never removed.
    fn displace(&self, path: &Path) -> io::Result<()> {
        let Some(kind) = self.kind(path)? else { return Ok(()) };
        for number in 1..=DISPLACED_MAX {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".displaced-{number}"));
            let aside = PathBuf::from(name);
            if self.kind(&aside)?.is_none() {
                self.rename(path, &aside)?;
                tracing::warn!(
                    "{} was {}, which does not belong there; it is now {}",
                    path.display(),
                    kind.describe(),
                    aside.display()
                );
                return Ok(());
            }
        }
        let message = format!("{}: too many displaced files are beside it; remove them", path.display());
        Err(io::Error::new(io::ErrorKind::AlreadyExists, message))
    }
}

/// The operating system's.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsFileSystem;

/// An error with the path that it is about, and what to do where that is known.
fn at(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| {
        let help = match error.kind() {
            io::ErrorKind::PermissionDenied => "; see `ls -ld` and `lsattr -d` of it",
            io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
                "; move away what does not belong there"
            }
            io::ErrorKind::ReadOnlyFilesystem => "; mount it writable",
            _ => "",
        };
        io::Error::new(error.kind(), format!("{}: {error}{help}", path.display()))
    }
}

/// Opens a regular file to read; anything else is `InvalidData` and not waited for.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a regular file"));
    }
    File::open(path)
}

impl FileSystem for OsFileSystem {
    fn kind(&self, path: &Path) -> io::Result<Option<EntryKind>> {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_file() => Ok(Some(EntryKind::File)),
            Ok(found) if found.is_dir() => Ok(Some(EntryKind::Directory)),
            Ok(found) if found.is_symlink() => Ok(Some(EntryKind::Link)),
            Ok(_) => Ok(Some(EntryKind::Other)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(path)(error)),
        }
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let limit = limits::FRAME_BYTES_MAX as u64;
        let file = open_regular(path).map_err(at(path))?;
        file.take(limit + 1).read_to_end(&mut bytes).map_err(at(path))?;
        if bytes.len() as u64 > limit {
            return Err(at(path)(io::Error::new(io::ErrorKind::InvalidData, "the file is too large")));
        }
        Ok(bytes)
    }

    fn write_synced(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if !matches!(self.kind(path)?, None | Some(EntryKind::File)) {
            self.displace(path)?;
        }
        let write = || {
            // What is written here may hold values of a service's environment.
            let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(at(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to).map_err(at(to))
    }

    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()> {
        std::os::unix::fs::symlink(target, link).map_err(at(link))
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        fs::read_link(path).map_err(at(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        crate::disk::sync_directory(path).map_err(at(path))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path).map_err(at(path))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        unless_missing(fs::remove_file(path)).map_err(at(path))
    }

    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        unless_missing(fs::remove_dir_all(path)).map_err(at(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path).map_err(at(path))? {
            // A name that is not UTF-8 was not made by us.
            names.extend(entry.map_err(at(path))?.file_name().into_string());
        }
        names.sort_unstable();
        Ok(names)
    }
}

fn unless_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
