//! How much free space the disk has, and a file that frees some in need.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use trimaran_model::limits;

/// Room of a file system, in bytes, as an ordinary user may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    pub free: u64,
    pub total: u64,
}

impl DiskSpace {
    /// Asks the file system that holds `path`.
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = rustix::fs::statvfs(path)?;
        Ok(Self {
            free: found.f_bavail.saturating_mul(found.f_frsize),
            total: found.f_blocks.saturating_mul(found.f_frsize),
        })
    }

    /// Below 1 GiB or 5 percent.
    pub fn is_low(self) -> bool {
        self.free < limits::DISK_LOW_BYTES
            || u128::from(self.free) * 100 < u128::from(self.total) * u128::from(limits::DISK_LOW_PERCENT)
    }

    /// Bytes to free until it is no longer low.
    pub fn missing(self) -> u64 {
        limits::DISK_LOW_BYTES
            .max((self.total / 100).saturating_mul(limits::DISK_LOW_PERCENT))
            .saturating_sub(self.free)
    }
}

/// Allocated bytes that can be freed when the disk is full, so that the process can start and compact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ballast {
    path: PathBuf,
}

impl Ballast {
    pub fn new(data_dir: &Path) -> Self {
        Self { path: data_dir.join("ballast") }
    }

    /// Makes the file `bytes` long with blocks of its own (`limits::BALLAST_BYTES` unless set otherwise); 0 removes it.
    pub fn fill(&self, bytes: u64) -> io::Result<()> {
        if bytes == 0 {
            return self.free();
        }
        let file = File::options().create(true).truncate(false).write(true).open(&self.path)?;
        if file.metadata()?.len() != bytes {
            file.set_len(0)?;
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
            file.sync_all()?;
        }
        Ok(())
    }

    /// How much space it would free; 0 without a file.
    pub fn bytes(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |file| file.len())
    }

    /// Frees the space.
    pub fn free(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn low_is_a_gibibyte_or_five_percent() {
        let gib = 1u64 << 30;
        for (free, total, low) in [
            (gib, 10 * gib, false),
            (gib - 1, 10 * gib, true),
            (5 * gib, 100 * gib, false),
            (4 * gib, 100 * gib, true),
        ] {
            let space = DiskSpace { free, total };
            assert_eq!(space.is_low(), low, "{space:?}");
            assert_eq!(space.missing() > 0, low, "{space:?}");
        }
    }

    #[test]
    fn ballast_holds_real_blocks_and_gives_them_back() {
        let dir = tempfile::tempdir().unwrap();
        assert!(DiskSpace::of(dir.path()).unwrap().total > 0);
        let ballast = Ballast::new(dir.path());
        ballast.fill(1 << 20).unwrap();
        ballast.fill(1 << 20).unwrap();
        let found = std::fs::metadata(&ballast.path).unwrap();
        assert_eq!(found.len(), 1 << 20);
        assert!(found.blocks() * 512 >= 1 << 20);
        ballast.free().unwrap();
        ballast.free().unwrap();
        assert!(!ballast.path.exists());
    }
}
