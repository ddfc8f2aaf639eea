//! A service seen from outside: whether its first process runs, and which processes are its own. Needs neither the
//! shim's lock nor its socket, so it may be asked beside anything else.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use trimaran_host_core::host::Exit;

use super::group::Group;
use super::state::{Main, State};
use super::sweep::Sweep;
use crate::host_identity::boot_id;

/// A shim has written how the first process ended within this time after that.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);
const EXIT_RETRY_DELAY: Duration = Duration::from_millis(2);

/// What a shim's directory says of its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Milliseconds from the host's boot to its start.
    Running(u64),
    Ended(Exit),
    Nothing,
}

/// Looks without touching anything: nothing is locked, and what an ended service left is not ended. Blocks.
pub(crate) fn inspect(dir: &Path) -> io::Result<Seen> {
    let Some(state) = State::read(dir)? else { return Ok(Seen::Nothing) };
    if let Some(exit) = state.exit {
        return Ok(Seen::Ended(exit));
    }
    Ok(match state.main {
        Some(main) if state.boot_id == boot_id()? && main.process.is_alive() => {
            Seen::Running(main.started_boottime_ms)
        }
        Some(_) => Seen::Ended(Exit::LOST),
        None => Seen::Nothing,
    })
}

/// What was started in a shim's directory.
#[derive(Debug)]
pub(crate) struct Service {
    dir: PathBuf,
    state: State,
    main: Main,
}

impl Service {
    /// `None` when nothing was started in `dir`, or its state can't be read.
    pub(crate) fn find(dir: &Path) -> io::Result<Option<Self>> {
        let Some(state) = State::read(dir)? else { return Ok(None) };
        Ok(state.main.map(|main| Self { dir: dir.to_owned(), state, main }))
    }

    /// How the first process ended; `None` while it runs. Blocks until the shim has written it.
    pub(crate) fn main_exit(&self) -> Option<Exit> {
        if self.state.exit.is_some() || self.main.process.is_alive() {
            return self.state.exit;
        }
        let deadline = Instant::now() + EXIT_TIMEOUT;
        loop {
            // A shim that ends after this line has written the exit before.
            let shim_runs = self.state.shim.is_alive();
            let written = State::read(&self.dir).ok().flatten().and_then(|state| state.exit);
            if written.is_some() || !shim_runs || Instant::now() >= deadline {
                return Some(written.unwrap_or(Exit::LOST));
            }
            std::thread::sleep(EXIT_RETRY_DELAY);
        }
    }

    /// Numbers of its processes. What is forked meanwhile may be missing.
    pub(crate) fn members(&self) -> BTreeSet<u32> {
        let State { mark, group, shim, .. } = &self.state;
        let shim = shim.is_alive().then_some(shim.pid);
        Sweep { mark: mark.clone(), group: group.as_deref().map(Group::at), shim }
            .members()
            .into_iter()
            .collect()
    }
}
