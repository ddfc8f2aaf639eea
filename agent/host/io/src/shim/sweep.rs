//! All processes of one service, and the end of all of them.
//!
//! A service may have called `setsid`, forked twice, closed everything and left its parents behind. Three
//! things still lead to it: its control group; descent, since the shim is the subreaper of all that it
//! started (prctl(2), `PR_SET_CHILD_SUBREAPER`); and, when the shim is gone, a mark in the environment that
//! every descendant was started with.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::group::Group;
use super::process::{self, Row};

/// The variable that marks every process of a service.
pub(super) const MARK: &str = "TRIMARAN_SERVICE_MARK";
/// SIGKILL ends everything that the kernel can end within this time.
pub(super) const KILL_TIMEOUT: Duration = Duration::from_secs(10);
/// Scans of the process table in one round: what forks faster than one scan is seen by the next.
const SCANS_PER_ROUND: usize = 64;
/// One scan may miss what is forked during it; the shim itself knows better, see `waitpid(2)`, `ECHILD`.
const EMPTY_SCANS: usize = 3;
const ROUND_PAUSE: Duration = Duration::from_millis(10);

/// Where to find the processes of one service.
#[derive(Debug, Clone)]
pub(super) struct Sweep {
    pub(super) mark: String,
    pub(super) group: Option<Group>,
    /// The living shim, which is not one of them; `None` when it is gone.
    pub(super) shim: Option<u32>,
}

impl Sweep {
    /// Numbers of what runs now. What was forked during the scan may be missing.
    pub(super) fn members(&self) -> Vec<u32> {
        let rows = self.rows().unwrap_or_default();
        rows.into_iter().filter(|row| !row.ended).map(|row| row.id.pid).collect()
    }

    /// Also what has ended and waits to be reaped.
    fn rows(&self) -> io::Result<Vec<Row>> {
        let rows = process::table()?;
        let mut roots: Vec<u32> = self.group.as_ref().map(Group::members).unwrap_or_default();
        match self.shim {
            Some(shim) => roots.push(shim),
            None => roots.extend(self.marked(&rows)),
        }
        let own = std::process::id();
        let mut ours: BTreeSet<u32> =
            process::descendants(&rows, &roots).into_iter().map(|row| row.id.pid).collect();
        ours.extend(roots);
        ours.retain(|pid| *pid != own && Some(*pid) != self.shim);
        Ok(rows.into_iter().filter(|row| ours.contains(&row.id.pid)).collect())
    }

    fn marked(&self, rows: &[Row]) -> Vec<u32> {
        let is_marked = |row: &&Row| !row.ended && process::has_variable(row.id.pid, MARK, &self.mark);
        rows.iter().filter(is_marked).map(|row| row.id.pid).collect()
    }

    /// Sends `signal` to everything that runs.
    pub(super) fn signal(&self, signal: Signal) {
        for row in self.rows().unwrap_or_default().iter().filter(|row| !row.ended) {
            // What may not be signalled shows up as left over.
            let _ = row.id.signal(signal);
        }
    }

    /// Kills until a scan finds nothing new, and at most one round long.
    pub(super) fn kill_round(&self) {
        let own_session = process::own_session();
        let mut seen = BTreeSet::new();
        for _ in 0..SCANS_PER_ROUND {
            if let Some(group) = &self.group {
                group.kill();
            }
            let rows = self.rows().unwrap_or_default();
            let new = rows.iter().filter(|row| seen.insert(row.id)).count();
            // A signal to a process group reaches also what is being forked in it. A chain of processes, where
            // each is gone before it could be signalled, is known by those that wait to be reaped, and ends
            // here. Sessions other than the caller's were made by the service: no one else is in their groups.
            let own_groups = rows.iter().filter(|row| Some(row.session) != own_session && row.session != 0);
            for group in own_groups.map(|row| row.group).collect::<BTreeSet<u32>>() {
                process::kill_group(group);
            }
            for row in rows.iter().filter(|row| !row.ended) {
                // What may not be signalled shows up as left over.
                let _ = row.id.signal(Signal::KILL);
            }
            if new == 0 {
                return;
            }
        }
    }

    /// Ends everything without the help of a shim: `signal`, then SIGKILL after `grace`. Blocks.
    ///
    /// # Errors
    /// Numbers of processes that even SIGKILL did not end within [`KILL_TIMEOUT`].
    pub(super) fn end(&self, signal: Signal, grace: Duration) -> Result<(), Vec<u32>> {
        if signal != Signal::KILL && !grace.is_zero() {
            self.signal(signal);
            if self.wait_until_empty(grace, || {}) {
                return Ok(());
            }
        }
        if self.wait_until_empty(KILL_TIMEOUT, || self.kill_round()) {
            return Ok(());
        }
        Err(self.members())
    }

    fn wait_until_empty(&self, limit: Duration, mut each_round: impl FnMut()) -> bool {
        let deadline = Instant::now() + limit;
        let mut empty_scans = 0;
        loop {
            each_round();
            let populated = self.group.as_ref().is_some_and(Group::is_populated);
            // A table that can't be read shows no process, and proves nothing.
            let empty = self.rows().is_ok_and(|rows| rows.iter().all(|row| row.ended));
            empty_scans = if empty && !populated { empty_scans + 1 } else { 0 };
            if empty_scans == EMPTY_SCANS {
                if let Some(group) = &self.group {
                    group.remove();
                }
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(ROUND_PAUSE);
        }
    }
}
