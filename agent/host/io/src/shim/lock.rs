//! The lock of a shim's directory. It belongs to the open file, not to a process: the runner takes it and the shim
//! inherits it, so closing one copy must not give it back.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::state::LOCK;

/// An inspection of the directory is over within this time, unless it has to end what a killed shim left.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(1);
const INSPECT_RETRY_DELAY: Duration = Duration::from_millis(10);

/// Opens the lock of a directory, which has to exist.
pub(super) fn open(dir: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).read(true).write(true).open(dir.join(LOCK))
}

/// False when another process holds it.
pub(super) fn acquire(lock: &File) -> io::Result<bool> {
    match rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Like [`acquire`]; who only inspects the directory holds the lock for a moment and is waited for.
pub(super) fn acquire_within_timeout(lock: &File) -> io::Result<bool> {
    let deadline = Instant::now() + INSPECT_TIMEOUT;
    loop {
        if acquire(lock)? {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        std::thread::sleep(INSPECT_RETRY_DELAY);
    }
}
