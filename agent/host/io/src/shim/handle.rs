//! The runner's hold on a shim: what runs in a directory, how it ended, and its stop.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};
use trimaran_host_core::host::Exit;
use trimaran_model::pipeline::StopSignal;

use super::control::{ANSWER_BYTES_MAX, Answer, Request};
use super::group::Group;
use super::lock;
use super::state::{LOCK, Main, SOCKET, State};
use super::sweep::{KILL_TIMEOUT, Sweep};
use crate::filesystem::{FileSystem as _, OsFileSystem, open_regular};
use crate::host_identity::boot_id;

/// A shim that is just starting or ending holds the lock without listening for so long at most.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(40);
/// A shim whose service runs answers sooner, unless its socket was taken away.
const UNREACHABLE_AFTER: Duration = Duration::from_secs(2);
const CONNECT_RETRY_DELAY: Duration = Duration::from_millis(10);
/// How often a service without a shim is checked.
const ORPHAN_CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// A shim answers within the grace, the time for SIGKILL, and this.
const ANSWER_SLACK: Duration = Duration::from_secs(5);

/// What a directory has to say about its service.
pub enum Attached {
    Running(Shim),
    /// It ran and has ended; nothing of it is left.
    Ended(Exit),
    /// Nothing was started here.
    Nothing,
}

/// A service that runs, or whose end has not been asked for yet.
pub struct Shim {
    dir: PathBuf,
    main: Main,
    /// How the first process ended; what it left is being ended meanwhile.
    main_exit: Option<Exit>,
    hold: Hold,
}

enum Hold {
    Connected(Connection),
    /// The shim was killed and something of the service runs on.
    Orphan,
    Ended(Exit),
}

/// Why a service was not ended.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// A process in uninterruptible sleep ends only when the kernel lets it.
    #[error("SIGKILL does not end the processes {pids:?}")]
    Stuck { pids: Vec<u32> },
    #[error("can't reach the shim in `{dir}`: {source}")]
    Io { dir: PathBuf, source: io::Error },
}

/// Finds out what runs in `dir`. What an ended service left behind is ended.
pub async fn attach(dir: &Path) -> Result<Attached, io::Error> {
    let began = Instant::now();
    loop {
        let found = dir.to_owned();
        let inspect = crate::blocking::spawn(move || inspect(&found)).await.map_err(io::Error::other)??;
        match inspect {
            Inspected::Nothing => return Ok(Attached::Nothing),
            Inspected::Ended(exit) => return Ok(Attached::Ended(exit)),
            Inspected::Orphan(main) => {
                let hold = Hold::Orphan;
                return Ok(Attached::Running(Shim { dir: dir.to_owned(), main, main_exit: None, hold }));
            }
            Inspected::Held => match connect(dir).await {
                Ok((connection, main, main_exit)) => {
                    let hold = Hold::Connected(connection);
                    return Ok(Attached::Running(Shim { dir: dir.to_owned(), main, main_exit, hold }));
                }
                Err(error) if began.elapsed() >= CONNECT_TIMEOUT => return Err(error),
                Err(error) if began.elapsed() >= UNREACHABLE_AFTER => match serving_main(dir) {
                    // Its socket was taken away; what runs is supervised without its help.
                    Serving::Runs(main) => {
                        let hold = Hold::Orphan;
                        return Ok(Attached::Running(Shim {
                            dir: dir.to_owned(),
                            main,
                            main_exit: None,
                            hold,
                        }));
                    }
                    Serving::Unreadable => {
                        let message = format!("the state in {} can't be read: {error}", dir.display());
                        return Err(io::Error::new(error.kind(), message));
                    }
                    Serving::NotYet => sleep(CONNECT_RETRY_DELAY).await,
                },
                Err(_) => sleep(CONNECT_RETRY_DELAY).await,
            },
        }
    }
}

/// What the state of a directory says whose shim does not answer.
enum Serving {
    Runs(Main),
    /// It is starting or ending.
    NotYet,
    Unreadable,
}

fn serving_main(dir: &Path) -> Serving {
    match State::read(dir) {
        Ok(Some(state)) => match state.main {
            Some(main) if state.exit.is_none() && main.process.is_alive() => Serving::Runs(main),
            _ => Serving::NotYet,
        },
        // A shim listens before it writes its state: on a machine with too much to do seconds before.
        Ok(None) if State::is_absent(dir) => Serving::NotYet,
        Ok(None) | Err(_) => Serving::Unreadable,
    }
}

/// What can be seen without the shim's help.
pub(super) enum Inspected {
    Nothing,
    Ended(Exit),
    Orphan(Main),
    /// A shim holds the lock, or is being started.
    Held,
}

/// Blocks.
fn inspect(dir: &Path) -> io::Result<Inspected> {
    let lock = match open_regular(&dir.join(LOCK)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !dir.exists() => {
            return Ok(Inspected::Nothing);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => lock::open(dir)?,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            OsFileSystem.displace(&dir.join(LOCK))?;
            lock::open(dir)?
        }
        other => other?,
    };
    if !lock::acquire(&lock)? {
        return Ok(Inspected::Held);
    }
    match State::read(dir)? {
        Some(state) => judge(dir, state),
        None => Ok(Inspected::Nothing),
    }
}

/// What the state of a directory means when no shim holds its lock. Blocks.
pub(super) fn judge(dir: &Path, mut state: State) -> io::Result<Inspected> {
    let exit = state.exit.unwrap_or(Exit::LOST);
    if state.boot_id != boot_id()? {
        return Ok(Inspected::Ended(exit));
    }
    // A shim removes its socket when nothing of the service is left.
    if state.exit.is_some() && !dir.join(SOCKET).exists() {
        return Ok(Inspected::Ended(exit));
    }
    if let Some(main) = state.main
        && state.exit.is_none()
        && main.process.is_alive()
    {
        return Ok(Inspected::Orphan(main));
    }
    // The service has ended, so must what it left; its own shim would have seen to it.
    let left = orphans(&state).end(Signal::KILL, Duration::ZERO);
    left.map_err(|pids| io::Error::other(format!("SIGKILL does not end the processes {pids:?}")))?;
    state.exit = Some(exit);
    // On a full disk the next inspection does it all again.
    if state.write_durably(dir).is_ok() {
        let _ = std::fs::remove_file(dir.join(SOCKET));
    }
    Ok(Inspected::Ended(exit))
}

fn orphans(state: &State) -> Sweep {
    Sweep { mark: state.mark.clone(), group: state.group.as_deref().map(Group::at), shim: None }
}

async fn connect(dir: &Path) -> io::Result<(Connection, Main, Option<Exit>)> {
    let directory = File::open(dir)?;
    // The path of a socket has at most 108 bytes (unix(7)); the data directory may be anywhere.
    let path = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
    let stream = UnixStream::connect(path).await?;
    // Read after the connection stands: an end that is not in it yet will be announced on the connection.
    let state = State::read(dir)?;
    let (main, exit) = state.map_or((None, None), |state| (state.main, state.exit));
    let main =
        main.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the service is not started yet"))?;
    Ok((Connection { stream, partial: Vec::new() }, main, exit))
}

impl Shim {
    /// A hold on a service that has ended since it was started.
    pub(super) fn ended(dir: &Path) -> io::Result<Self> {
        let state = State::read(dir)?;
        let (main, exit) = state.map_or((None, None), |state| (state.main, state.exit));
        let main = main.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no service was started"))?;
        let exit = exit.unwrap_or(Exit::LOST);
        Ok(Self { dir: dir.to_owned(), main, main_exit: Some(exit), hold: Hold::Ended(exit) })
    }

    /// The first process of the service.
    pub fn pid(&self) -> u32 {
        self.main.process.pid
    }

    /// Milliseconds from the host's boot to the start of the service.
    pub fn started_boottime_ms(&self) -> u64 {
        self.main.started_boottime_ms
    }

    /// How the first process ended, if that is known. What it left may still run.
    pub fn main_exit(&self) -> Option<Exit> {
        self.main_exit
    }

    /// Waits until the first process of the service has ended. What it left may still run.
    pub async fn main_exited(&mut self) -> Exit {
        loop {
            if let Some(exit) = self.main_exit {
                return exit;
            }
            self.next_event().await;
        }
    }

    /// Waits until the service has ended with all that it started.
    ///
    /// May be dropped and called again; after the end it answers at once.
    pub async fn exited(&mut self) -> Exit {
        loop {
            if let Hold::Ended(exit) = self.hold {
                return exit;
            }
            self.next_event().await;
        }
    }

    /// Waits for the next thing to happen to the service. May be dropped and called again.
    async fn next_event(&mut self) {
        loop {
            match &mut self.hold {
                Hold::Ended(exit) => {
                    self.main_exit.get_or_insert(*exit);
                    return;
                }
                Hold::Connected(connection) => match connection.answer().await {
                    Some(Answer::Ended(exit)) => {
                        self.main_exit = Some(exit);
                        return;
                    }
                    Some(Answer::Exit(exit)) => self.hold = Hold::Ended(exit),
                    Some(Answer::Stuck(pids)) => {
                        tracing::warn!(dir = %self.dir.display(), ?pids, "processes do not end");
                    }
                    None => self.inspect_again().await,
                },
                Hold::Orphan => {
                    sleep(ORPHAN_CHECK_INTERVAL).await;
                    self.inspect_again().await;
                }
            }
        }
    }

    /// Sends `signal` to the first process alone, to no other one that has its number by now.
    pub fn signal(&self, signal: StopSignal) -> io::Result<()> {
        self.main.process.signal(system_signal(signal))
    }

    /// Sends `signal` to everything that the service started and SIGKILL, until nothing is left, after
    /// `grace`.
    pub async fn stop(&mut self, signal: StopSignal, grace: Duration) -> Result<Exit, StopError> {
        let limit = grace + KILL_TIMEOUT + ANSWER_SLACK;
        match timeout(limit, self.stop_by_shim(signal, grace)).await {
            Ok(result) => result,
            // The shim itself hangs or was paused.
            Err(_) => self.stop_without_shim(Signal::KILL, Duration::ZERO).await,
        }
    }

    async fn stop_by_shim(&mut self, signal: StopSignal, grace: Duration) -> Result<Exit, StopError> {
        let mut asked = false;
        loop {
            match &mut self.hold {
                Hold::Ended(exit) => return Ok(*exit),
                Hold::Orphan => return self.stop_without_shim(system_signal(signal), grace).await,
                Hold::Connected(connection) => {
                    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
                    let request = Request::Stop { signal: system_signal(signal).as_raw(), grace_ms };
                    if !asked && connection.ask(request).await.is_err() {
                        self.inspect_again().await;
                        continue;
                    }
                    asked = true;
                    match connection.answer().await {
                        Some(Answer::Ended(exit)) => self.main_exit = Some(exit),
                        Some(Answer::Exit(exit)) => self.hold = Hold::Ended(exit),
                        Some(Answer::Stuck(pids)) => return Err(StopError::Stuck { pids }),
                        None => {
                            asked = false;
                            self.inspect_again().await;
                        }
                    }
                }
            }
        }
    }

    async fn stop_without_shim(&mut self, signal: Signal, grace: Duration) -> Result<Exit, StopError> {
        let dir = self.dir.clone();
        let work = move || -> Result<Exit, StopError> {
            let io = |source| StopError::Io { dir: dir.clone(), source };
            let Some(state) = State::read(&dir).map_err(io)? else { return Ok(Exit::LOST) };
            // A shim that does not answer is in the way; with it dies the first process of the service.
            state.shim.signal(Signal::KILL).map_err(io)?;
            orphans(&state).end(signal, grace).map_err(|pids| StopError::Stuck { pids })?;
            let state = State::read(&dir).map_err(io)?;
            Ok(state.and_then(|state| state.exit).unwrap_or(Exit::LOST))
        };
        let result = crate::blocking::spawn(work).await;
        let exit = result
            .map_err(|error| StopError::Io { dir: self.dir.clone(), source: io::Error::other(error) })??;
        self.hold = Hold::Ended(exit);
        Ok(exit)
    }

    /// The connection has ended without a word, or there is none: what is true now?
    async fn inspect_again(&mut self) {
        let ours = self.main.process;
        match attach(&self.dir).await {
            Ok(Attached::Running(found)) if found.main.process == ours => {
                self.main_exit = found.main_exit;
                self.hold = found.hold;
            }
            Ok(Attached::Ended(exit)) => self.hold = Hold::Ended(exit),
            // The directory is gone or another service is in it: ours has ended, unseen.
            Ok(Attached::Running(_) | Attached::Nothing) => self.hold = Hold::Ended(Exit::LOST),
            Err(error) => {
                tracing::warn!(dir = %self.dir.display(), %error, "the state of a service can't be seen");
                sleep(ORPHAN_CHECK_INTERVAL).await;
            }
        }
    }
}

/// A line-wise connection whose reads may be dropped and repeated.
struct Connection {
    stream: UnixStream,
    partial: Vec<u8>,
}

impl Connection {
    async fn ask(&mut self, request: Request) -> io::Result<()> {
        self.stream.write_all(request.line().as_bytes()).await
    }

    /// The next line; `None` when the shim is gone or speaks another language.
    async fn answer(&mut self) -> Option<Answer> {
        loop {
            if let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.partial.drain(..=end).collect();
                return Answer::parse(std::str::from_utf8(&line[..end]).ok()?);
            }
            if self.partial.len() > ANSWER_BYTES_MAX {
                return None;
            }
            match self.stream.read_buf(&mut self.partial).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}

pub(super) fn system_signal(signal: StopSignal) -> Signal {
    match signal {
        StopSignal::Term => Signal::TERM,
        StopSignal::Int => Signal::INT,
        StopSignal::Quit => Signal::QUIT,
        StopSignal::Hup => Signal::HUP,
        StopSignal::Usr1 => Signal::USR1,
        StopSignal::Usr2 => Signal::USR2,
        StopSignal::Kill => Signal::KILL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shim::process::ProcessId;
    use crate::shim::state::STATE;

    #[test]
    fn a_shim_without_a_state_is_starting_and_one_whose_state_is_something_else_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = folder.path();
        assert!(matches!(serving_main(dir), Serving::NotYet), "it listens before it writes");
        let own = ProcessId::of(std::process::id()).expect("it runs");
        let begun = State {
            boot_id: boot_id().expect("readable"),
            shim: own,
            mark: "m".to_owned(),
            group: None,
            main: None,
            exit: None,
        };
        begun.write(dir).expect("there is space");
        assert!(matches!(serving_main(dir), Serving::NotYet), "it starts its service");
        let main = Main { process: own, started_boottime_ms: 5 };
        State { main: Some(main), ..begun }.write(dir).expect("there is space");
        assert!(matches!(serving_main(dir), Serving::Runs(_)));
        State::remove(dir).expect("removable");
        std::fs::create_dir(dir.join(STATE)).expect("a folder");
        assert!(matches!(serving_main(dir), Serving::Unreadable));
    }
}
