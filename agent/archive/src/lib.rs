//! Reads archives: tar, tar.gz or tar.zst, recognized by their first bytes.
//!
//! An archive is hostile input. Its entries come one after the other, with names, types and sizes checked, under limits
//! that hold before memory is taken. What is allowed is a list: plain files, directories, links.
//!
//! Architecture invariant: nothing is written and no name of an archive is ever opened here.
//!
//! Deliberately not here: where links lead, and unpacking (`trimaran-host`).
#![forbid(unsafe_code)]

mod name;
mod stream;
mod tar_reader;

use trimaran_model::limits;

pub use name::{BadName, Name, refuse_control, show};
pub use stream::Source;
pub use tar_reader::{Entry, Kind, TarReader};

/// What an archive may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveLimits {
    pub entries: u64,
    /// Of all entries together, with their headers.
    pub unpacked_bytes: u64,
    /// Unpacked bytes per packed byte.
    pub ratio: u64,
    /// Below this many unpacked bytes the ratio is not checked.
    pub ratio_free_bytes: u64,
    /// Components of a path.
    pub depth: usize,
}

impl Default for ArchiveLimits {
    fn default() -> Self {
        Self {
            entries: limits::ARCHIVE_ENTRIES_MAX,
            unpacked_bytes: limits::ARCHIVE_BYTES_MAX,
            ratio: limits::ARCHIVE_RATIO_MAX,
            ratio_free_bytes: limits::ARCHIVE_RATIO_FREE_BYTES,
            depth: limits::ARCHIVE_DEPTH_MAX,
        }
    }
}

/// Why an archive is not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("the archive can't be decoded: {detail} ({place})")]
    Corrupt { detail: String, place: Place },
    #[error("the archive has an entry that is refused: {detail} ({place})")]
    Escape { detail: String, place: Place },
    #[error("the archive is over a limit: {detail} ({place})")]
    Limit { detail: String, place: Place },
    /// The disk or whatever else it comes from.
    #[error("can't read `{name}`: {source}")]
    Read { name: String, source: std::io::Error },
}

/// Where in an archive: the entry, counted from 1, and the byte of the unpacked tar where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    pub entry: u64,
    pub offset: u64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "entry {}, byte {}", self.entry, self.offset)
    }
}
