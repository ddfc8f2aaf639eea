//! Services whose directory was removed under them: they run on under their shims, which no one can reach by
//! the directory any more.
//!
//! A host whose data directory was deleted and that was enrolled anew has such services. They are left alone
//! until something else is to run in their place. They are found by what a shim can't lose: its arguments, and
//! the lock of its directory, which it holds open. A shim that was killed as well is not found.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use trimaran_model::pipeline::StopSignal;

use super::handle::{StopError, system_signal};
use super::process::{self, ProcessId};
use super::state::LOCK;
use super::sweep::Sweep;

/// A shim whose directory is gone, with its service.
#[derive(Debug, Clone)]
pub struct Removed {
    dir: PathBuf,
    shim: ProcessId,
}

/// All of them whose directory was below `root`. Scans every process of the host, and blocks.
pub fn removed(root: &Path) -> io::Result<Vec<Removed>> {
    let root = std::path::absolute(root)?;
    let found = process::table()?.into_iter().filter(|row| !row.ended).filter_map(|row| {
        let dir = directory_of(row.id.pid)?;
        let gone = dir.starts_with(&root) && holds_removed_lock(row.id.pid, &dir);
        gone.then_some(Removed { dir, shim: row.id })
    });
    Ok(found.collect())
}

impl Removed {
    /// The shim, of which all that the service started descends.
    pub fn pid(&self) -> u32 {
        self.shim.pid
    }

    /// Ends the service as [`super::Shim::stop`] does, then its shim. Blocks.
    pub fn stop(&self, signal: StopSignal, grace: Duration) -> Result<(), StopError> {
        if !self.shim.is_alive() {
            return Ok(());
        }
        let service = Sweep { mark: String::new(), group: None, shim: Some(self.shim.pid) };
        service.end(system_signal(signal), grace).map_err(|pids| StopError::Stuck { pids })?;
        let unreachable = |source| StopError::Io { dir: self.dir.clone(), source };
        self.shim.signal(Signal::KILL).map_err(unreachable)
    }
}

/// Whether a process is a shim, of whatever directory.
pub(crate) fn is_shim(pid: u32) -> bool {
    directory_of(pid).is_some()
}

/// DIR of a process that was started as `BINARY shim --dir DIR`.
fn directory_of(pid: u32) -> Option<PathBuf> {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let arguments: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
    match arguments.as_slice() {
        [_, b"shim", b"--dir", dir, ..] => Some(PathBuf::from(std::ffi::OsStr::from_bytes(dir))),
        _ => None,
    }
}

/// Whether the process has the lock of `dir` open, and that file has no name any more (proc_pid_fd(5)).
fn holds_removed_lock(pid: u32, dir: &Path) -> bool {
    // A process of another user can't be read.
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let mut wanted = dir.join(LOCK).into_os_string();
    wanted.push(" (deleted)");
    descriptors.flatten().any(|it| std::fs::read_link(it.path()).is_ok_and(|link| link.as_os_str() == wanted))
}
