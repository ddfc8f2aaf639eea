//! Safe unpacking of a release's archive, as `trimaran-archive` reads it.
//!
//! The archive is hostile input. It is read twice: first without writing anything, so that what is bad is
//! refused before a file exists and the free space is known; then every entry is created by its own
//! system calls below a directory descriptor, with all links in its path refused by the kernel
//! (`openat2(2)`, `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS`). What is allowed is a list: plain files,
//! directories, symbolic links that stay inside, hard links to files that were unpacked before.
//!
//! Deliberately not here: owners, access lists and extended attributes (they are dropped), the digest of
//! the archive ([`crate::fetch`] checked it), and where releases live on disk.

mod extract;
mod links;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::Path;

use rustix::io::Errno;
use trimaran_archive::{ArchiveError, Kind, TarReader};
use trimaran_model::reason::ReasonCode;

use crate::disk::Space;
use links::Links;

pub use trimaran_archive::{ArchiveLimits, Place};

/// What an archive holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unpacked {
    /// Files, directories and links.
    pub entries: u64,
    /// Contents of files.
    pub bytes: u64,
    /// What the files take on a disk with blocks of 4 KiB, directories and links with them.
    pub disk_bytes: u64,
}

impl Unpacked {
    fn add(&mut self, kind: &Kind) {
        let size = kind.size();
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(size);
        self.disk_bytes = self.disk_bytes.saturating_add(size.div_ceil(BLOCK_BYTES).max(1) * BLOCK_BYTES);
    }
}

const BLOCK_BYTES: u64 = 4096;

/// Why an archive was not unpacked. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("the archive needs {needed}, the disk has {free} free")]
    Disk { needed: Space, free: Space },
    #[error("can't {operation} `{path}`: {source}")]
    Io { operation: &'static str, path: String, source: std::io::Error },
}

impl UnpackError {
    pub fn code(&self) -> ReasonCode {
        match self {
            Self::Archive(ArchiveError::Corrupt { .. }) => ReasonCode::UnpackCorrupt,
            Self::Archive(ArchiveError::Escape { .. }) => ReasonCode::UnpackEscape,
            Self::Archive(ArchiveError::Limit { .. }) => ReasonCode::UnpackLimit,
            Self::Disk { .. } => ReasonCode::PreflightDisk,
            Self::Archive(ArchiveError::Read { .. }) | Self::Io { .. } => ReasonCode::HostInternal,
        }
    }

    fn io(operation: &'static str, path: &Path, source: impl Into<std::io::Error>) -> Self {
        Self::Io { operation, path: path.display().to_string(), source: source.into() }
    }
}

fn open(archive: &Path, limits: &ArchiveLimits) -> Result<TarReader, UnpackError> {
    let io = |error| UnpackError::io("read", archive, error);
    let file = File::open(archive).map_err(io)?;
    let packed_bytes = file.metadata().map_err(io)?.len();
    Ok(TarReader::new(archive.display().to_string(), Box::new(file), packed_bytes, limits)?)
}

/// Reads the whole archive under the limits and writes nothing: what it holds, or why it is refused.
pub fn measure(archive: &Path, limits: &ArchiveLimits) -> Result<Unpacked, UnpackError> {
    let mut reader = open(archive, limits)?;
    let mut links = Links::default();
    let mut unpacked = Unpacked::default();
    while let Some(entry) = reader.next_entry()? {
        unpacked.add(&entry.kind);
        links.pass(&entry.name).map_err(|error| error.at(reader.place()))?;
        if let Kind::Symlink(target) = &entry.kind {
            links.add(&entry.name, target).map_err(|error| error.at(reader.place()))?;
        }
    }
    links.check().map_err(|error| error.at(reader.place()))?;
    Ok(unpacked)
}

/// Unpacks the archive into `into`, which is made by this call or empty, and returns when all of it is
/// durable. `group` gets the tree and may read what its owner may, and write nothing.
///
/// # Errors
/// After any error `into` is gone with everything that was in it.
pub fn unpack(
    archive: &Path,
    into: &Path,
    limits: &ArchiveLimits,
    group: Option<u32>,
) -> Result<Unpacked, UnpackError> {
    let measured = measure(archive, limits)?;
    let tree = extract::Tree::create(into, group)?;
    let free = Space::free_at(into).map_err(|error| UnpackError::io("inspect the disk of", into, error))?;
    let needed = Space { bytes: measured.disk_bytes, inodes: measured.entries };
    if !needed.fits(&free) {
        return Err(UnpackError::Disk { needed, free });
    }
    let mut reader = open(archive, limits)?;
    match tree.fill(&mut reader) {
        Ok(unpacked) if unpacked == measured => Ok(unpacked),
        Ok(_) => {
            // The tree was kept by `fill`; this archive is not the one that was measured.
            let _ = std::fs::remove_dir_all(into);
            Err(reader.corrupt("it changed while it was read").into())
        }
        Err(UnpackError::Io { source, .. }) if is_full(&source) => {
            // The directory itself is gone.
            let free = into.parent().and_then(|above| Space::free_at(above).ok()).unwrap_or_default();
            Err(UnpackError::Disk { needed, free })
        }
        Err(error) => Err(error),
    }
}

/// Whether a write failed for want of space.
fn is_full(error: &std::io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|errno| matches!(errno, Errno::NOSPC | Errno::DQUOT))
}
