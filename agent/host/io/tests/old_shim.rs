//! Shims of an earlier build, played byte by byte: a runner that was upgraded under running services finds them, ends them and
//! sees their end. What a first shim ever wrote and said is what these write and say, and it never changes.
#![allow(clippy::disallowed_methods, reason = "tests use files, clocks and processes")]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::FlockOperation;
use trimaran_host::shim::{self, Attached, Shim};
use trimaran_host_core::host::Exit;
use trimaran_model::pipeline::StopSignal;

/// The bytes of a state file; the rest is NUL.
const STATE_BYTES: usize = 4096;
const MARK: &str = "0123456789abcdef";

/// The directory of a service with what an old shim left in it, and the service.
struct Old {
    folder: tempfile::TempDir,
    service: Child,
}

impl Old {
    /// Starts a service as an old shim did and writes the state.
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).env_clear().env("TRIMARAN_SERVICE_MARK", MARK).stdin(Stdio::piped());
        let service = command.spawn().expect("a service");
        let old = Self { folder, service };
        old.write_state(None);
        old
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    fn write_state(&self, exit: Option<&str>) {
        write_state(self.folder.path(), self.service.id(), exit);
    }

    fn lock(&self) -> File {
        let lock = File::create(self.folder.path().join("lock")).expect("a lock");
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).expect("it is free");
        lock
    }

    fn attach(&self) -> Attached {
        runtime().block_on(shim::attach(&self.dir())).expect("readable")
    }

    /// The shim at work: takes one runner, and gives what it was asked.
    fn serve(mut self, answer: fn(&mut Child) -> &'static str) -> (JoinHandle<(Self, Vec<String>)>, PathBuf) {
        let (dir, lock) = (self.dir(), self.lock());
        let listener = UnixListener::bind(dir.join("control")).expect("a socket");
        let serving = move || {
            let (mut runner, _) = listener.accept().expect("a runner");
            let asked = requests(&runner, &mut self.service);
            let exit = answer(&mut self.service);
            self.write_state(Some(exit));
            std::fs::remove_file(self.folder.path().join("control")).expect("its socket");
            runner.write_all(format!("exit {exit}\n").as_bytes()).expect("the runner listens");
            drop(lock);
            (self, asked)
        };
        (std::thread::spawn(serving), dir)
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// As the first version wrote it. The shim's own process is one that ended long ago.
fn write_state(dir: &Path, main: u32, exit: Option<&str>) {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("a boot");
    let stat = std::fs::read_to_string(format!("/proc/{main}/stat"));
    let ticks = stat.ok().and_then(|stat| Some(stat.rsplit_once(") ")?.1.split(' ').nth(19)?.to_owned()));
    let ticks = ticks.unwrap_or("1".to_owned());
    let exit = exit.map(|exit| format!("exit {exit}\n")).unwrap_or_default();
    let text = format!(
        "trimaran-shim-state 1\nboot {}\nmark {MARK}\nshim 1 1\nmain {main} {ticks} 4711\n{exit}end\n",
        boot.trim()
    );
    let mut bytes = text.into_bytes();
    bytes.resize(STATE_BYTES, 0);
    std::fs::write(dir.join("state"), bytes).expect("a file");
}

/// Lines that a runner sends until the service has ended, or until it was asked to end it.
fn requests(runner: &UnixStream, service: &mut Child) -> Vec<String> {
    runner.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket");
    let mut lines = BufReader::new(runner);
    let mut line = String::new();
    loop {
        match lines.read_line(&mut line) {
            Ok(0) => return Vec::new(),
            Ok(_) => return vec![line],
            Err(_) if service.try_wait().expect("a child").is_some() => return Vec::new(),
            Err(_) => {}
        }
    }
}

fn running(attached: Attached) -> Shim {
    match attached {
        Attached::Running(shim) => shim,
        Attached::Ended(exit) => panic!("it ended: {exit:?}"),
        Attached::Nothing => panic!("nothing was started"),
    }
}

#[test]
fn an_old_shim_is_found_and_asked_to_end_its_service() {
    let old = Old::new("read line");
    let pid = old.service.id();
    let (serving, dir) = old.serve(|service| {
        service.kill().expect("it runs");
        service.wait().expect("a child");
        "signal 15"
    });
    runtime().block_on(async {
        let mut shim = running(shim::attach(&dir).await.expect("readable"));
        assert_eq!((shim.pid(), shim.started_boottime_ms(), shim.main_exit()), (pid, 4711, None));
        let ended = shim.stop(StopSignal::Term, Duration::from_secs(5)).await.expect("it ends");
        assert_eq!(ended, Exit::signal(15));
    });
    let (old, asked) = serving.join().expect("the shim ends");
    assert_eq!(asked, ["stop 15 5000\n"]);
    assert!(matches!(old.attach(), Attached::Ended(exit) if exit == Exit::signal(15)));
}

#[test]
fn the_end_of_a_service_is_seen_though_an_old_shim_speaks_of_it_only_when_all_is_over() {
    let old = Old::new("read line; exit 3");
    let (serving, dir) = old.serve(|_| "code 3");
    runtime().block_on(async {
        let mut shim = running(shim::attach(&dir).await.expect("readable"));
        // The service may end now.
        std::fs::write(format!("/proc/{}/fd/0", shim.pid()), "\n").expect("its input");
        assert_eq!(shim.main_exited().await, Exit::code(3));
        assert_eq!(shim.exited().await, Exit::code(3));
    });
    let (old, asked) = serving.join().expect("the shim ends");
    assert_eq!(asked, Vec::<String>::new());
    assert!(matches!(old.attach(), Attached::Ended(exit) if exit == Exit::code(3)));
}

#[test]
fn the_service_of_an_old_shim_that_was_killed_is_ended_by_its_mark() {
    let mut old = Old::new("read line");
    drop(old.lock());
    let pid = old.service.id();
    // Open until the end: the service does not end before it is ended.
    let input = old.service.stdin.take();
    let runner = std::thread::spawn({
        let dir = old.dir();
        move || {
            runtime().block_on(async {
                let mut shim = running(shim::attach(&dir).await.expect("readable"));
                assert_eq!(shim.pid(), pid);
                shim.stop(StopSignal::Kill, Duration::ZERO).await.expect("it ends")
            })
        }
    });
    // Who is its parent now reaps it.
    old.service.wait().expect("a child");
    drop(input);
    assert_eq!(runner.join().expect("the runner ends it"), Exit::LOST, "who saw its end was killed");
}
