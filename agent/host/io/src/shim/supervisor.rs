//! A shim at work: one thread, one `poll(2)`, no allocator of threads and no runtime. It starts the
//! service, writes its output to the log, reaps whatever falls to it, and ends when nothing of the service
//! is left and the exit is durable.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, Signal, WaitOptions};

use trimaran_host_core::host::Exit;
use trimaran_process::clock;

use super::connections::Connections;
use super::control::{Answer, Request, Started};
use super::group::Group;
use super::launch;
use super::output::{Output, Sink};
use super::process::{self, ProcessId};
use super::signals::Signals;
use super::spec::{OutputPlace, ShimSpec};
use super::state::{Main, SOCKET, State};
use super::sweep::{KILL_TIMEOUT, Sweep};
use crate::host_identity::boot_id;
use crate::logs::format::owner;
use crate::logs::writer::Writer;

/// Processes that outlive the first one get the signal to end and so much time.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);
/// Grace when the shim itself is asked to end, as at the shutdown of a host.
const OWN_END_GRACE: Duration = Duration::from_secs(10);
/// How often it is checked whether all is gone, beside each death that is signalled.
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(50);
const KILL_CHECK_INTERVAL: Duration = Duration::from_millis(10);
const STUCK_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A service and what holds it.
pub(super) struct Supervisor {
    state: State,
    /// Whether `state` is on disk as it is here.
    written: bool,
    sweep: Sweep,
    phase: Phase,
    signals: Signals,
    connections: Connections,
    output: Output,
    /// When it has run for as long as it may.
    kill_at: Option<Instant>,
    /// The service ended before a stop was asked for.
    ended_alone: bool,
    /// The end of the first process was announced.
    end_announced: bool,
    /// The shim itself was asked to end.
    end_requested: bool,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Running,
    /// Everything has the signal; at this time follows SIGKILL.
    Stopping(Instant),
    /// SIGKILL since then.
    Killing {
        since: Instant,
        stuck_reported: bool,
    },
    /// Nothing is left.
    Gone,
}

impl Supervisor {
    /// Starts the service. The working directory of this process is the shim's own.
    ///
    /// # Errors
    /// After an error nothing runs and no state is left.
    pub(super) fn start(spec: &ShimSpec) -> Result<Self, Started> {
        let here = Path::new(".");
        let began = Self::begin(spec);
        began.inspect_err(|_| {
            // What could not be removed is replaced by the next start.
            let _ = State::remove(here);
            let _ = std::fs::remove_file(SOCKET);
        })
    }

    fn begin(spec: &ShimSpec) -> Result<Self, Started> {
        let failed = |what: &str, error: io::Error| Started::Failed(format!("can't {what}: {error}"));
        let here = Path::new(".");
        let signals = Signals::block().map_err(|error| failed("block signals", error))?;
        let listener = listen().map_err(|error| failed("listen on the control socket", error))?;
        let mark = process::unique_name().map_err(|error| failed("make a mark", error))?;
        let group = Group::create(&mark, &spec.group_limits);
        let own = std::process::id();
        let shim = ProcessId::of(own).ok_or_else(|| failed("read", ErrorKind::NotFound.into()))?;
        let mut state = State {
            boot_id: boot_id().map_err(|error| failed("read the boot id", error))?,
            shim,
            mark: mark.clone(),
            group: group.as_ref().map(|group| group.path().to_owned()),
            main: None,
            exit: None,
        };
        let sweep = Sweep { mark, group, shim: Some(own) };
        let write = |state: &State| {
            State::reserve(here)
                .and_then(|()| state.write(here))
                .map_err(|error| failed("write the state", error))
        };
        // Before the service exists: whoever finds this directory after a crash knows what to inspect.
        write(&state)?;
        let mut child = launch::spawn(spec, &sweep).inspect_err(|_| abandon(&sweep))?;
        let started_boottime_ms = clock::boot_time().0;
        // The child is not reaped yet, so its number is its own.
        let process = ProcessId::of(child.id()).unwrap_or(ProcessId { pid: child.id(), started_ticks: 0 });
        state.main = Some(Main { process, started_boottime_ms });
        let sink = match &spec.output {
            OutputPlace::Log(directory) => Sink::Log(Writer::new(directory.clone(), &log_owner(spec))),
            OutputPlace::Tail => Sink::Tail(Vec::new()),
        };
        let output = Output::new(sink, child.stdout.take(), child.stderr.take());
        let written = write(&state)
            .and_then(|()| output.set_nonblocking().map_err(|error| failed("read the output", error)));
        written.inspect_err(|_| abandon(&sweep))?;
        // Without the space a full disk only delays the exit code.
        let _ = State::reserve(here);
        let connections = Connections::new(listener);
        let phase = Phase::Running;
        Ok(Self {
            state,
            written: true,
            sweep,
            phase,
            signals,
            connections,
            output,
            kill_at: spec.time_limit.map(|limit| Instant::now() + limit),
            ended_alone: false,
            end_announced: false,
            end_requested: false,
        })
    }

    /// Returns when nothing is left and the exit is durable. Whoever learns of it may start again at once:
    /// the directory is free by then.
    pub(super) fn run(mut self, lock: OwnedFd) {
        loop {
            self.reap();
            self.advance();
            self.save();
            self.announce_end();
            // Who asks the shim itself to end wants that more than a record of the exit.
            if matches!(self.phase, Phase::Gone) && (self.written || self.end_requested) {
                break;
            }
            self.wait();
        }
        let exit = self.state.exit.expect("set when everything was gone");
        self.output.finish(self.ended_alone.then(|| format!("trimaran: {exit}")));
        // Errors leave a name that no one listens at, which the next start replaces.
        let _ = std::fs::remove_file(SOCKET);
        drop(lock);
        self.connections.broadcast(&Answer::Exit(exit));
    }

    /// Waits for something to happen, and takes what is not a matter of phases.
    fn wait(&mut self) {
        let timeout = self.timeout();
        let events = {
            let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
            self.output.poll_on(&mut fds);
            let outputs = fds.len();
            self.connections.poll_on(&mut fds);
            let timeout = timeout.map(process::timespec);
            // An interruption is one more check.
            let _ = rustix::event::poll(&mut fds, timeout.as_ref());
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            (ready, outputs)
        };
        let (ready, outputs) = events;
        if ready[0] && self.signals.end_requested() {
            self.end_requested = true;
            self.stop(Signal::TERM, OWN_END_GRACE);
        }
        self.output.read(&ready[1..outputs]);
        for Request::Stop { signal, grace_ms } in self.connections.serve(&ready[outputs..]) {
            let signal = Signal::from_named_raw(signal).unwrap_or(Signal::KILL);
            self.stop(signal, Duration::from_millis(grace_ms));
        }
    }

    fn timeout(&self) -> Option<Duration> {
        match self.phase {
            Phase::Running => self.kill_at.map(|at| at.saturating_duration_since(Instant::now())),
            Phase::Stopping(at) => {
                Some(STOP_CHECK_INTERVAL.min(at.saturating_duration_since(Instant::now())))
            }
            Phase::Killing { stuck_reported: false, .. } => Some(KILL_CHECK_INTERVAL),
            Phase::Killing { stuck_reported: true, .. } | Phase::Gone => Some(STUCK_CHECK_INTERVAL),
        }
    }

    /// The signal to everything. A second stop may only shorten the time.
    fn stop(&mut self, signal: Signal, grace: Duration) {
        let now = Instant::now();
        // A year is for ever; the sum can't overflow.
        let deadline = now + grace.min(Duration::from_secs(365 * 24 * 3600));
        match self.phase {
            Phase::Gone | Phase::Killing { .. } => return,
            Phase::Stopping(earlier) => self.phase = Phase::Stopping(earlier.min(deadline)),
            Phase::Running => self.phase = Phase::Stopping(deadline),
        }
        if signal == Signal::KILL || grace.is_zero() {
            self.phase = Phase::Killing { since: now, stuck_reported: false };
        } else {
            self.sweep.signal(signal);
        }
    }

    /// Moves on when all has ended or a time has come.
    fn advance(&mut self) {
        match self.phase {
            Phase::Gone => {}
            Phase::Running if self.kill_at.is_some_and(|at| Instant::now() >= at) => {
                self.stop(Signal::KILL, Duration::ZERO);
                self.kill();
            }
            Phase::Running if self.state.exit.is_none() => {}
            Phase::Running => {
                if !self.gone() {
                    self.stop(Signal::TERM, LEFTOVER_GRACE);
                }
            }
            Phase::Stopping(deadline) => {
                if !self.gone() && Instant::now() >= deadline {
                    self.phase = Phase::Killing { since: Instant::now(), stuck_reported: false };
                    self.kill();
                }
            }
            Phase::Killing { .. } => self.kill(),
        }
    }

    fn kill(&mut self) {
        if self.gone() {
            return;
        }
        self.sweep.kill_round();
        if let Phase::Killing { since, stuck_reported: false } = self.phase
            && since.elapsed() >= KILL_TIMEOUT
        {
            self.connections.broadcast(&Answer::Stuck(self.sweep.members()));
            self.phase = Phase::Killing { since, stuck_reported: true };
        }
    }

    fn gone(&mut self) -> bool {
        // All that the service started falls to this process in the end, so whatever runs has an ancestor among
        // its children: without children nothing is left.
        let childless = self.reap();
        let populated = self.sweep.group.as_ref().is_some_and(Group::is_populated);
        if self.state.exit.is_none() || !childless || populated {
            return false;
        }
        if let Some(group) = &self.sweep.group {
            group.remove();
        }
        self.phase = Phase::Gone;
        true
    }

    /// True when no child is left, living or ended.
    fn reap(&mut self) -> bool {
        let reaped = reap_all(self.state.main.map(|main| main.process.pid));
        self.note(reaped.exit);
        reaped.childless
    }

    fn note(&mut self, exit: Option<Exit>) {
        if self.state.exit.is_none()
            && let Some(exit) = exit
        {
            let killed = exit.signal == Some(Signal::KILL.as_raw());
            let out_of_memory = killed && self.sweep.group.as_ref().is_some_and(Group::was_out_of_memory);
            self.state.exit = Some(Exit { out_of_memory, ..exit });
            self.written = false;
            self.ended_alone = matches!(self.phase, Phase::Running);
        }
    }

    /// Says at once that the first process has ended: what it left may take its time to end, and may answer meanwhile.
    fn announce_end(&mut self) {
        if let Some(exit) = self.state.exit
            && self.written
            && !self.end_announced
        {
            self.end_announced = true;
            self.connections.broadcast(&Answer::Ended(exit));
        }
    }

    /// Writes the exit. A disk without space is tried again with each check.
    fn save(&mut self) {
        if !self.written {
            self.written = match self.state.write_durably(Path::new(".")) {
                Ok(()) => true,
                // A file can't be made only where the directory itself was removed: no one will ever read it.
                Err(error) => error.kind() == ErrorKind::NotFound,
            };
        }
    }
}

struct Reaped {
    /// How the first process of the service ended, if that was among them.
    exit: Option<Exit>,
    childless: bool,
}

/// Whose the lines are that a service writes: of its run, and of the release that is started.
fn log_owner(spec: &ShimSpec) -> String {
    owner(&spec.run, spec.environment.get("TRIMARAN_RELEASE").map(String::as_str))
}

/// Reaps everything that has ended.
fn reap_all(main: Option<u32>) -> Reaped {
    let mut exit = None;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                let is_main = main.and_then(|main| i32::try_from(main).ok()) == Some(Pid::as_raw(Some(pid)));
                if is_main && (status.exited() || status.signaled()) {
                    let (code, signal) = (status.exit_status(), status.terminating_signal());
                    exit = Some(Exit { code, signal, out_of_memory: false, lost: false });
                }
            }
            Ok(None) => return Reaped { exit, childless: false },
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return Reaped { exit, childless: true },
        }
    }
}

/// Takes away a start that did not succeed.
fn abandon(sweep: &Sweep) {
    let deadline = Instant::now() + KILL_TIMEOUT;
    while !reap_all(None).childless && Instant::now() < deadline {
        sweep.kill_round();
    }
    if let Some(group) = &sweep.group {
        group.remove();
    }
}

fn listen() -> io::Result<UnixListener> {
    match std::fs::remove_file(SOCKET) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Relative to the shim's directory: the path of a socket has at most 108 bytes (unix(7)).
    let listener = UnixListener::bind(SOCKET)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
