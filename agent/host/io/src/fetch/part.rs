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
/// How often the free room is looked at while a file of unknown length arrives.
const CHECK_BYTES: u64 = 64 << 20;
const BUFFER_BYTES: usize = 128 * 1024;

/// Tells the parts of one process apart.
static PARTS: AtomicU64 = AtomicU64::new(0);

/// Removes what downloads of an earlier life left in `cache`. Only for the one owner of the directory, and
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
pub(super) async fn find(cache: &Path, digest: Digest) -> Result<Option<PathBuf>, FetchError> {
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
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        let source = std::io::Error::other(error);
        Err(FetchError::Io { operation: "run a thread for", path: "the cache".to_owned(), source })
    })
}

/// A file that is being written.
pub(super) struct Part {
    /// What is fetched, for messages.
    from: String,
    cache: PathBuf,
    path: PathBuf,
    file: File,
    hash: Sha256,
    written: u64,
    /// At this many bytes the room is looked at again.
    check_at: u64,
    kept: bool,
}

impl Part {
    /// Begins a file; `length` where the source tells it.
    pub(super) fn create(cache: &Path, from: &str, length: Option<u64>) -> Result<Self, FetchError> {
        std::fs::create_dir_all(cache).map_err(|error| FetchError::io("create", cache, error))?;
        check_room(cache, from, length.unwrap_or(0))?;
        if length.is_some_and(|length| length > ARCHIVE_BYTES_MAX) {
            return Err(FetchError::TooLarge { from: from.to_owned(), max: ARCHIVE_BYTES_MAX });
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
            written: 0,
            check_at: CHECK_BYTES,
            kept: false,
        })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        if self.written + bytes.len() as u64 > ARCHIVE_BYTES_MAX {
            return Err(FetchError::TooLarge { from: self.from.clone(), max: ARCHIVE_BYTES_MAX });
        }
        self.file.write_all(bytes).map_err(|error| self.failed("write", error))?;
        self.hash.update(bytes);
        self.written += bytes.len() as u64;
        if self.written >= self.check_at {
            self.check_at = self.written + CHECK_BYTES;
            check_room(&self.cache, &self.from, 0)?;
        }
        Ok(())
    }

    /// Checks the digest and gives the file its name, durably.
    pub(super) fn finish(mut self, planned: Digest) -> Result<PathBuf, FetchError> {
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

fn check_room(cache: &Path, from: &str, bytes: u64) -> Result<(), FetchError> {
    let free = Space::free_above_reserve_at(cache)
        .map_err(|error| FetchError::io("look at the disk of", cache, error))?;
    let needed = Space { bytes, inodes: 1 };
    if needed.fits(&free) && free.bytes > 0 {
        return Ok(());
    }
    Err(FetchError::Disk { from: from.to_owned(), needed, free })
}
