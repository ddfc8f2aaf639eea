//! What a shim leaves in its directory, so that a later process of the runner knows what was started and how it
//! ended.
//!
//! The file is replaced as a whole; how a service ended is made durable before anyone is notified. The space for
//! that last replacement is taken at the start: an exit code can be written on a full disk.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use trimaran_host_core::host::Exit;

use super::process::ProcessId;
use crate::disk::sync_directory;
use crate::filesystem::{EntryKind, FileSystem as _, OsFileSystem, open_regular};

/// Names inside of a shim's directory.
pub(super) const STATE: &str = "state";
const STATE_NEXT: &str = "state.next";
/// Held by the shim as long as it runs, and by the runner while it starts one.
pub(super) const LOCK: &str = "lock";
/// Removed by the shim when nothing of the service is left.
pub(super) const SOCKET: &str = "control";

/// The end of the output of a command beside a service.
pub(crate) const TAIL: &str = "output";

/// The file has this size, filled up with NUL.
const STATE_BYTES: usize = 4096;
const FIRST_LINE: &str = "trimaran-shim-state 1";
const LAST_LINE: &str = "end";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) boot_id: String,
    pub(super) shim: ProcessId,
    /// Value of the variable that every process of the service was started with.
    pub(super) mark: String,
    pub(super) group: Option<PathBuf>,
    /// `None` until the service was started.
    pub(super) main: Option<Main>,
    pub(super) exit: Option<Exit>,
}

/// The first process of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Main {
    pub(super) process: ProcessId,
    pub(super) started_boottime_ms: u64,
}

impl State {
    /// Reads the state in `dir`; `None` when there is none or it is unreadable.
    pub(super) fn read(dir: &Path) -> io::Result<Option<Self>> {
        let file = match open_regular(&dir.join(STATE)) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
                return Ok(None);
            }
            other => other?,
        };
        let mut text = String::new();
        if let Err(error) = file.take(STATE_BYTES as u64).read_to_string(&mut text) {
            return if error.kind() == io::ErrorKind::InvalidData { Ok(None) } else { Err(error) };
        }
        Ok(Self::parse(&text))
    }

    /// Whether nothing is in its place.
    pub(super) fn is_absent(dir: &Path) -> bool {
        fs::symlink_metadata(dir.join(STATE)).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// Reserves the space for one later write.
    pub(super) fn reserve(dir: &Path) -> io::Result<()> {
        File::create(dir.join(STATE_NEXT))?.write_all(&[0; STATE_BYTES])
    }

    /// Replaces the state in `dir`: a process that is killed in the middle leaves the old one or the new one.
    /// What says that something runs needs no more, since nothing runs after the host went down.
    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        self.write_next(dir)?;
        Self::rename_next(dir)
    }

    /// Like [`State::write`], and it is on the disk when this returns.
    pub(super) fn write_durably(&self, dir: &Path) -> io::Result<()> {
        self.write_next(dir)?.sync_all()?;
        Self::rename_next(dir)?;
        sync_directory(dir)
    }

    /// The rename replaces all that a user may have put there but a directory.
    fn rename_next(dir: &Path) -> io::Result<()> {
        let (next, state) = (dir.join(STATE_NEXT), dir.join(STATE));
        if OsFileSystem.kind(&state)? == Some(EntryKind::Directory) {
            OsFileSystem.displace(&state)?;
        }
        fs::rename(next, state)
    }

    fn write_next(&self, dir: &Path) -> io::Result<File> {
        let next = dir.join(STATE_NEXT);
        if !matches!(OsFileSystem.kind(&next)?, None | Some(EntryKind::File)) {
            OsFileSystem.displace(&next)?;
        }
        let mut bytes = self.text().into_bytes();
        if bytes.len() > STATE_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the state of the shim is too long"));
        }
        bytes.resize(STATE_BYTES, 0);
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(next)?;
        file.write_all(&bytes)?;
        Ok(file)
    }

    /// Forgets what was started here.
    pub(super) fn remove(dir: &Path) -> io::Result<()> {
        for name in [STATE, STATE_NEXT] {
            match fs::remove_file(dir.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\nboot {}\nmark {}\n", self.boot_id, self.mark);
        let ProcessId { pid, started_ticks } = self.shim;
        let mut line = |arguments: std::fmt::Arguments<'_>| {
            writeln!(text, "{arguments}").expect("a string takes everything");
        };
        line(format_args!("shim {pid} {started_ticks}"));
        if let Some(group) = &self.group {
            line(format_args!("group {}", group.display()));
        }
        if let Some(Main { process, started_boottime_ms }) = self.main {
            line(format_args!("main {} {} {started_boottime_ms}", process.pid, process.started_ticks));
        }
        if let Some(exit) = &self.exit {
            line(format_args!("exit {}", format_exit(exit)));
        }
        line(format_args!("{LAST_LINE}"));
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.trim_end_matches('\0').lines();
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let (mut boot_id, mut shim, mut mark) = (None, None, None);
        let (mut group, mut main, mut exit) = (None, None, None);
        loop {
            let line = lines.next()?;
            if line == LAST_LINE {
                break;
            }
            let (key, value) = line.split_once(' ')?;
            match key {
                "boot" => boot_id = Some(value.to_owned()),
                "mark" => mark = Some(value.to_owned()),
                "shim" => shim = Some(process_id(value)?),
                "group" => group = Some(PathBuf::from(value)),
                "main" => {
                    let (process, started) = value.rsplit_once(' ')?;
                    let started_boottime_ms = started.parse().ok()?;
                    main = Some(Main { process: process_id(process)?, started_boottime_ms });
                }
                "exit" => exit = Some(parse_exit(value)?),
                // Of a later version.
                _ => {}
            }
        }
        Some(Self { boot_id: boot_id?, shim: shim?, mark: mark?, group, main, exit })
    }
}

fn process_id(text: &str) -> Option<ProcessId> {
    let (pid, ticks) = text.split_once(' ')?;
    Some(ProcessId { pid: pid.parse().ok()?, started_ticks: ticks.parse().ok()? })
}

/// `code N`, `signal N`, `memory N` (a signal for want of memory) or `lost`; also on the control socket.
pub(super) fn format_exit(exit: &Exit) -> String {
    match exit {
        Exit { code: Some(code), .. } => format!("code {code}"),
        Exit { signal: Some(signal), out_of_memory: true, .. } => format!("memory {signal}"),
        Exit { signal: Some(signal), .. } => format!("signal {signal}"),
        _ => "lost".to_owned(),
    }
}

/// Reads what [`format_exit`] writes.
pub(super) fn parse_exit(text: &str) -> Option<Exit> {
    if text == "lost" {
        return Some(Exit::LOST);
    }
    let (kind, number) = text.split_once(' ')?;
    let number = number.parse().ok()?;
    match kind {
        "code" => Some(Exit::code(number)),
        "signal" => Some(Exit::signal(number)),
        "memory" => Some(Exit { out_of_memory: true, ..Exit::signal(number) }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            boot_id: "b".to_owned(),
            shim: ProcessId { pid: 1, started_ticks: 2 },
            mark: "m".to_owned(),
            group: Some(PathBuf::from("/sys/fs/cgroup/a b")),
            main: Some(Main { process: ProcessId { pid: 3, started_ticks: 4 }, started_boottime_ms: 5 }),
            exit: Some(Exit::code(6)),
        }
    }

    #[test]
    fn a_state_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().expect("a directory");
        let dir = directory.path();
        assert_eq!(State::read(dir).expect("readable"), None);
        State::reserve(dir).expect("there is space");
        let out_of_memory = Exit { out_of_memory: true, ..Exit::signal(9) };
        for exit in [None, Some(Exit::LOST), Some(out_of_memory), state().exit] {
            let state = State { exit, ..state() };
            state.write(dir).expect("there is space");
            assert_eq!(State::read(dir).expect("readable"), Some(state.clone()));
            state.write_durably(dir).expect("there is space");
            assert_eq!(State::read(dir).expect("readable"), Some(state));
        }
        State::remove(dir).expect("removable");
        assert_eq!(State::read(dir).expect("readable"), None);
    }

    /// As the first build wrote it, which later ones read for ever: a service outlives the runner that started it.
    const FIRST: &str = "trimaran-shim-state 1\nboot b\nmark m\nshim 1 2\ngroup /sys/fs/cgroup/a b\nmain 3 4 5\nexit code 6\nend\n";

    #[test]
    fn the_state_of_an_older_build_is_read_and_a_later_build_may_add_lines() {
        assert_eq!(State::parse(FIRST), Some(state()));
        assert_eq!(
            State::parse(&FIRST.replace("group /sys/fs/cgroup/a b\n", "")),
            Some(State { group: None, ..state() })
        );
        assert_eq!(state().text(), FIRST, "and an older runner reads what this one's shims write");
        assert_eq!(State::parse(&FIRST.replace("main", "later 7\nmain")), Some(state()));
    }

    #[test]
    fn a_torn_state_is_none() {
        let text = state().text();
        for end in 0..text.len() - 1 {
            assert_eq!(State::parse(&text[..end]), None, "{end}");
        }
        assert_eq!(State::parse(&text), Some(state()));
    }
}
