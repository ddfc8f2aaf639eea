//! A file on its way into the cache: hashed while it is written, renamed when it is right, otherwise gone.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use trimaran_model::id::Digest;
use trimaran_model::limits::ARCHIVE_BYTES_MAX;

use super::FetchError;
use crate::disk::{Space, sync_directory};

const PREFIX: &str = ".part-";
/// How often the free space is checked while a file arrives.
const CHECK_BYTES: u64 = 64 << 20;
const BUFFER_BYTES: usize = 128 * 1024;

/// Distinguishes the parts of one process.
static PARTS: AtomicU64 = AtomicU64::new(0);

/// Removes what downloads of an earlier process left in `cache`. Only for the one owner of the directory, and
/// before its first [`super::fetch`].
pub fn clean(cache: &Path) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(cache) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The blob of this digest, if it is in the cache and really has the digest; a spoiled one is removed.
pub(crate) async fn find(cache: &Path, digest: Digest) -> Result<Option<PathBuf>, FetchError> {
    let blob = cache.join(digest.to_string());
    blocking(move || {
        let mut file = match File::open(&blob) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| FetchError::io("open", &blob, error))?,
        };
        let mut hash = Sha256::new();
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match file.read(&mut buffer).map_err(|error| FetchError::io("read", &blob, error))? {
                0 => break,
                count => hash.update(&buffer[..count]),
            }
        }
        if Digest(hash.finalize().into()) == digest {
            return Ok(Some(blob));
        }
        tracing::warn!(blob = %blob.display(), "a cached artifact does not have its digest and is removed");
        std::fs::remove_file(&blob).map_err(|error| FetchError::io("remove", &blob, error))?;
        Ok(None)
    })
    .await
}

/// Runs what may block on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    crate::blocking::spawn(work).await.unwrap_or_else(|error| {
        let source = std::io::Error::other(error);
        Err(FetchError::Io { operation: "run a thread for", path: "the cache".to_owned(), source })
    })
}

/// The space for a file: where it is looked up and how often.
struct DiskLimit {
    free: fn(&Path) -> std::io::Result<Space>,
    every: u64,
}

impl DiskLimit {
    const REAL: Self = Self { free: Space::free_above_reserve_at, every: CHECK_BYTES };

    fn check(&self, cache: &Path, from: &str, bytes: u64) -> Result<(), FetchError> {
        let free = (self.free)(cache).map_err(|error| FetchError::io("inspect the disk of", cache, error))?;
        let needed = Space { bytes, inodes: 1 };
        if needed.fits(&free) && free.bytes > 0 {
            return Ok(());
        }
        Err(FetchError::Disk { from: from.to_owned(), needed, free })
    }
}

/// A file that is being written.
pub(crate) struct Part {
    /// What is fetched, for messages.
    from: String,
    cache: PathBuf,
    path: PathBuf,
    file: File,
    hash: Sha256,
    /// Where the source says it.
    length: Option<u64>,
    written: u64,
    limit: DiskLimit,
    /// At this many bytes the free space is checked again.
    check_at: u64,
    kept: bool,
}

impl Part {
    /// Begins a file; `length` where the source says it. What is too large by its length is refused here.
    pub(crate) fn create(cache: &Path, from: &str, length: Option<u64>) -> Result<Self, FetchError> {
        Self::create_within(DiskLimit::REAL, cache, from, length)
    }

    fn create_within(
        limit: DiskLimit,
        cache: &Path,
        from: &str,
        length: Option<u64>,
    ) -> Result<Self, FetchError> {
        std::fs::create_dir_all(cache).map_err(|error| FetchError::io("create", cache, error))?;
        limit.check(cache, from, length.unwrap_or(0))?;
        if length.is_some_and(|length| length > ARCHIVE_BYTES_MAX) {
            return Err(FetchError::TooLarge { from: from.to_owned(), length, max: ARCHIVE_BYTES_MAX });
        }
        let number = PARTS.fetch_add(1, Ordering::Relaxed);
        let path = cache.join(format!("{PREFIX}{}-{number}", std::process::id()));
        let file = File::create_new(&path).map_err(|error| FetchError::io("create", &path, error))?;
        Ok(Self {
            from: from.to_owned(),
            cache: cache.to_owned(),
            path,
            file,
            hash: Sha256::new(),
            length,
            written: 0,
            check_at: limit.every,
            limit,
            kept: false,
        })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        if self.written + bytes.len() as u64 > ARCHIVE_BYTES_MAX {
            let max = ARCHIVE_BYTES_MAX;
            return Err(FetchError::TooLarge { from: self.from.clone(), length: self.length, max });
        }
        self.file.write_all(bytes).map_err(|error| self.failed("write", error))?;
        self.hash.update(bytes);
        self.written += bytes.len() as u64;
        if self.written >= self.check_at {
            self.check_at = self.written + self.limit.every;
            // Others fill the disk too; and of a stream without a length at least the next piece has to fit.
            let rest = self.length.map_or(self.limit.every, |length| length.saturating_sub(self.written));
            self.limit.check(&self.cache, &self.from, rest)?;
        }
        Ok(())
    }

    /// Checks the digest and renames the file to its name, durably.
    pub(crate) fn finish(mut self, planned: Digest) -> Result<PathBuf, FetchError> {
        let found = Digest(std::mem::take(&mut self.hash).finalize().into());
        if found != planned {
            return Err(FetchError::Digest { from: self.from.clone(), planned, found });
        }
        self.file.sync_all().map_err(|error| self.failed("make durable", error))?;
        let blob = self.cache.join(planned.to_string());
        std::fs::rename(&self.path, &blob).map_err(|error| FetchError::io("rename", &self.path, error))?;
        self.kept = true;
        sync_directory(&self.cache).map_err(|error| FetchError::io("make durable", &self.cache, error))?;
        Ok(blob)
    }

    fn failed(&self, operation: &'static str, error: std::io::Error) -> FetchError {
        if matches!(Errno::from_io_error(&error), Some(Errno::NOSPC | Errno::DQUOT)) {
            let free = Space::free_above_reserve_at(&self.cache).unwrap_or_default();
            let needed = Space { bytes: self.written, inodes: 1 };
            return FetchError::Disk { from: self.from.clone(), needed, free };
        }
        FetchError::io(operation, &self.path, error)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(path = %self.path.display(), %error, "a partial download could not be removed");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A disk of 8 MiB, as far as the cache has not filled it.
    fn small(cache: &Path) -> std::io::Result<Space> {
        let mut used = 0;
        for entry in std::fs::read_dir(cache)? {
            used += entry?.metadata()?.len();
        }
        Ok(Space { bytes: (8 * MIB).saturating_sub(used), inodes: u64::MAX })
    }

    fn begin(cache: &Path, length: Option<u64>) -> Result<Part, FetchError> {
        Part::create_within(DiskLimit { free: small, every: MIB }, cache, "`web`", length)
    }

    #[test]
    fn a_stream_without_end_is_refused_while_there_is_room_and_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a directory");
        let mut part = begin(folder.path(), None).expect("nothing is known of its length");
        let piece = vec![0; 256 << 10];
        let refused = (0..64).find_map(|_| part.write(&piece).err()).expect("it does not fit");
        let FetchError::Disk { needed, free, .. } = refused else { panic!("{refused}") };
        assert_eq!((needed.bytes, free.bytes), (MIB, 0));
        drop(part);
        assert_eq!(std::fs::read_dir(folder.path()).expect("a directory").count(), 0);
    }

    #[test]
    fn what_says_that_it_is_too_large_is_refused_before_its_first_byte() {
        let folder = tempfile::tempdir().expect("a directory");
        let refused = begin(folder.path(), Some(9 * MIB)).err().expect("it does not fit");
        let FetchError::Disk { needed, free, .. } = refused else { panic!("{refused}") };
        assert_eq!((needed.bytes, free.bytes), (9 * MIB, 8 * MIB));
        let large = DiskLimit { free: |_| Ok(Space { bytes: u64::MAX, inodes: u64::MAX }), every: MIB };
        let over = Part::create_within(large, folder.path(), "`web`", Some(ARCHIVE_BYTES_MAX + 1));
        let words = over.err().expect("over the limit").to_string();
        assert!(words.contains(&(ARCHIVE_BYTES_MAX + 1).to_string()), "{words}");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a directory").count(), 0);
    }

    #[test]
    fn a_disk_that_others_fill_ends_a_file_of_known_length_early() {
        let folder = tempfile::tempdir().expect("a directory");
        let mut part = begin(folder.path(), Some(6 * MIB)).expect("it fits");
        part.write(&vec![0; 512 << 10]).expect("it fits");
        std::fs::write(folder.path().join("other"), vec![0; 3 << 20]).expect("a file");
        let refused = part.write(&vec![0; 512 << 10]).expect_err("the rest does not fit any more");
        assert!(matches!(refused, FetchError::Disk { .. }), "{refused}");
    }
}
