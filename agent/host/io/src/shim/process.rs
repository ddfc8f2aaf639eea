//! Processes of this host as `/proc` shows them (proc(5)): who they are, who made them, and signals that
//! never hit a stranger.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::time::Timespec;

/// One process. A number is used again by the system; the time of its start distinguishes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ProcessId {
    pub(super) pid: u32,
    /// Field 22 of `/proc/PID/stat`, in clock ticks since boot.
    pub(super) started_ticks: u64,
}

/// One row of the process table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) id: ProcessId,
    pub(super) parent: u32,
    /// Process group and session (credentials(7)).
    pub(super) group: u32,
    pub(super) session: u32,
    /// It has ended and waits to be reaped.
    pub(super) ended: bool,
}

impl ProcessId {
    /// The process that has this number now.
    pub(super) fn of(pid: u32) -> Option<Self> {
        read_row(pid).map(|row| row.id)
    }

    /// Whether it still runs; one that waits to be reaped does not.
    pub(super) fn is_alive(self) -> bool {
        read_row(self.pid).is_some_and(|row| row.id == self && !row.ended)
    }

    /// Sends a signal to this process and to no other. A process that is gone is no error.
    pub(super) fn signal(self, signal: Signal) -> io::Result<()> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
        let gone = |error: rustix::io::Errno| match error {
            rustix::io::Errno::SRCH => Ok(()),
            error => Err(io::Error::from(error)),
        };
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(error) => return gone(error),
        };
        // The handle is of whoever has the number now; from here on it can't change.
        if Self::of(self.pid) != Some(self) {
            return Ok(());
        }
        pidfd_send_signal(&handle, signal).or_else(gone)
    }
}

/// Kills a process group as a whole. A number is free for another only after the group was empty and all
/// other numbers were given out, so who has just seen a member hits no other.
pub(super) fn kill_group(group: u32) {
    if let Some(group) = i32::try_from(group).ok().and_then(Pid::from_raw) {
        // A group that is gone is what was wanted.
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
}

fn read_row(pid: u32) -> Option<Row> {
    parse_stat(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// `PID (NAME) STATE PPID …`: the name may hold anything, so fields count from the last parenthesis.
fn parse_stat(pid: u32, stat: &str) -> Option<Row> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let mut number = || fields.next()?.parse().ok();
    let (parent, group, session) = (number()?, number()?, number()?);
    // Field 22; the session is field 6.
    let started_ticks = fields.nth(22 - 7)?.parse().ok()?;
    let ended = matches!(state, "Z" | "X" | "x");
    Some(Row { id: ProcessId { pid, started_ticks }, parent, group, session, ended })
}

/// The session of the calling process.
pub(super) fn own_session() -> Option<u32> {
    read_row(std::process::id()).map(|row| row.session)
}

/// Every process of the host that this one may see.
pub(super) fn table() -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let row = name.to_str().and_then(|name| name.parse().ok()).and_then(read_row);
        rows.extend(row);
    }
    Ok(rows)
}

/// The rows below any of `roots`, which are not among them.
pub(super) fn descendants(rows: &[Row], roots: &[u32]) -> Vec<Row> {
    let mut children: BTreeMap<u32, Vec<Row>> = BTreeMap::new();
    for row in rows {
        children.entry(row.parent).or_default().push(*row);
    }
    let mut found = Vec::new();
    let mut ahead = roots.to_vec();
    // Each row is taken out once, so a table that changed while it was read can't make this endless.
    while let Some(parent) = ahead.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            ahead.push(child.id.pid);
            found.push(child);
        }
    }
    found
}

/// Whether the process was started with `NAME=VALUE` in its environment. A process of another user that may
/// not be read was not.
pub(super) fn has_variable(pid: u32, name: &str, value: &str) -> bool {
    const ENVIRONMENT_BYTES_MAX: u64 = 8 << 20;
    let Ok(file) = fs::File::open(format!("/proc/{pid}/environ")) else { return false };
    let mut environment = Vec::new();
    if file.take(ENVIRONMENT_BYTES_MAX).read_to_end(&mut environment).is_err() {
        return false;
    }
    let wanted = format!("{name}={value}");
    environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
}

/// A name that no one else has.
pub(super) fn unique_name() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().to_owned())
}

/// For `poll(2)`.
pub(super) fn timespec(duration: Duration) -> Timespec {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec: seconds, tv_nsec: i64::from(duration.subsec_nanos()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let fields: Vec<String> = (5..=30).map(|field| field.to_string()).collect();
        let stat = format!("7 (a) R 1) (b) S 42 {}", fields.join(" "));
        let row = parse_stat(7, &stat).expect("a row");
        assert_eq!((row.parent, row.group, row.session), (42, 5, 6));
        assert_eq!((row.id.started_ticks, row.ended), (22, false));
        assert!(parse_stat(7, "7 (short) S 1 2 3").is_none());
    }

    #[test]
    fn a_number_that_is_used_again_is_another_process() {
        let own = ProcessId::of(std::process::id()).expect("this process");
        assert!(own.is_alive());
        let earlier = ProcessId { started_ticks: own.started_ticks - 1, ..own };
        assert!(!earlier.is_alive());
        earlier.signal(Signal::KILL).expect("no one is hit");
    }
}
