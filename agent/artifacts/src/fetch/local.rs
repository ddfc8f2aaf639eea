//! An artifact that is a file of this host: copied, so that it can't change after its digest was checked.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use trimaran_model::id::Digest;

use super::part::{Part, blocking};
use super::{Failure, FetchError};

const BUFFER_BYTES: usize = 128 * 1024;

pub(super) async fn copy(path: &Path, planned: Digest, cache: &Path) -> Result<PathBuf, Failure> {
    let (path, cache) = (path.to_owned(), cache.to_owned());
    let canceled = Arc::new(AtomicBool::new(false));
    // Dropped with this future: the thread ends at its next piece.
    let _cancel = CancelOnDrop(Arc::clone(&canceled));
    Ok(blocking(move || copy_now(&path, planned, &cache, &canceled)).await?)
}

struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn copy_now(
    path: &Path,
    planned: Digest,
    cache: &Path,
    canceled: &AtomicBool,
) -> Result<PathBuf, FetchError> {
    let from = format!("`{}`", path.display());
    // Without O_NONBLOCK the opening of a fifo would wait for a writer.
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("a flag of the C interface");
    let mut file = match OpenOptions::new().read(true).custom_flags(nonblock).open(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Err(FetchError::Missing { from, detail: error.to_string() });
        }
        other => other.map_err(|error| FetchError::io("open", path, error))?,
    };
    let metadata = file.metadata().map_err(|error| FetchError::io("read", path, error))?;
    if !metadata.is_file() {
        return Err(FetchError::Missing { from, detail: "what is there is not a file".to_owned() });
    }
    let mut part = Part::create(cache, &from, Some(metadata.len()))?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        if canceled.load(Ordering::Relaxed) {
            return Err(FetchError::Unreachable { from, detail: "the copy was canceled".to_owned() });
        }
        match file.read(&mut buffer).map_err(|error| FetchError::io("read", path, error))? {
            0 => return part.finish(planned),
            count => part.write(&buffer[..count])?,
        }
    }
}
