//! Space on a file system, and what is durable on it.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

use trimaran_model::limits::{HOST_DISK_RESERVE_BYTES_MAX, HOST_DISK_RESERVE_PERCENT};

/// Bytes and inodes, needed or free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    pub bytes: u64,
    /// `u64::MAX` where the file system does not count them.
    pub inodes: u64,
}

impl Space {
    /// What an ordinary user may still take of the file system that holds `path`.
    pub fn free_at(path: &Path) -> io::Result<Self> {
        let stat = rustix::fs::statvfs(path)?;
        let inodes = if stat.f_files == 0 { u64::MAX } else { stat.f_favail };
        Ok(Self { bytes: stat.f_bavail.saturating_mul(stat.f_frsize), inodes })
    }

    /// Like [`Space::free_at`], less what is kept for state files, logs and the rest of the host.
    pub fn free_above_reserve_at(path: &Path) -> io::Result<Self> {
        let stat = rustix::fs::statvfs(path)?;
        let all = stat.f_blocks.saturating_mul(stat.f_frsize);
        let reserve = (all / 100 * HOST_DISK_RESERVE_PERCENT).min(HOST_DISK_RESERVE_BYTES_MAX);
        let free = Self::free_at(path)?;
        Ok(Self { bytes: free.bytes.saturating_sub(reserve), ..free })
    }

    pub fn fits(&self, free: &Self) -> bool {
        self.bytes <= free.bytes && self.inodes <= free.inodes
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.inodes == u64::MAX {
            return write!(f, "{} bytes", self.bytes);
        }
        write!(f, "{} bytes and {} inodes", self.bytes, self.inodes)
    }
}

/// Makes the names in a directory durable: creations, renames and removals.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
