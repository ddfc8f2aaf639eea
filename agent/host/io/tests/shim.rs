//! A service under its shim, with real processes: what survives the runner, what `stop` reaches, what is reported
//! after a crash of any of the three.
#![allow(clippy::disallowed_methods, reason = "tests use files, clocks and processes")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use trimaran_host::logs;
use trimaran_host::shim::{self, Attached, Shim, ShimSpec, StartError};
use trimaran_host_core::host::Exit;
use trimaran_model::pipeline::StopSignal;
use trimaran_wire::v1::runner::LogQuery;

const LAB: &str = env!("CARGO_BIN_EXE_trimaran-host-lab");
const LIMIT: Duration = Duration::from_secs(20);

/// A directory of one service; ends what is left of it.
struct Lab {
    folder: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a directory") }
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn spec(&self, command: &[&str]) -> ShimSpec {
        let command = command.iter().map(|it| (*it).to_owned()).collect();
        let cwd = self.folder.path().to_owned();
        let mut spec = ShimSpec::new(self.dir(), command, cwd, self.file("log"), "web#1".to_owned());
        spec.environment = BTreeMap::from([("COLOR".to_owned(), "blue".to_owned())]);
        spec
    }

    fn sh(&self, script: &str) -> ShimSpec {
        self.spec(&["/bin/sh", "-c", script])
    }

    async fn start(&self, script: &str) -> Shim {
        shim::start(Path::new(LAB), &self.sh(script)).await.expect("the service starts")
    }

    /// A runner in a process of its own, with one service; returns the service's number too.
    fn runner(&self, script: &str) -> (Child, u32) {
        self.runner_with("on", script)
    }

    fn runner_with(&self, group: &str, script: &str) -> (Child, u32) {
        let mut runner = Command::new(LAB)
            .env("TRIMARAN_SHIM_GROUP", group)
            .arg("runner")
            .args([self.dir(), self.file("log")])
            .args(["web#1", "/bin/sh", "-c", script])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the runner starts");
        let mut line = String::new();
        BufReader::new(runner.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        (runner, line.trim().parse().expect("a number"))
    }

    async fn lines(&self) -> Vec<String> {
        let query = LogQuery {
            pipeline: "web".to_owned(),
            target: "lab".to_owned(),
            run: None,
            release: None,
            since_ms: None,
            tail: None,
            follow: false,
        };
        let mut reader = logs::open(&self.file("log"), &query);
        let mut lines = Vec::new();
        while let Some(batch) = reader.next().await {
            lines.extend(batch.into_iter().map(|line| line.line));
        }
        lines
    }

    fn number(&self, name: &str) -> u32 {
        until(name, || std::fs::read_to_string(self.file(name)).ok()?.trim().parse().ok())
    }

    fn shim_pid(&self) -> u32 {
        let state = std::fs::read_to_string(self.dir().join("state")).expect("a state");
        let line = state.lines().find_map(|line| line.strip_prefix("shim ")).expect("a shim");
        line.split(' ').next().and_then(|pid| pid.parse().ok()).expect("a number")
    }
}

fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().expect("a number")).expect("a number");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it runs");
}

fn end(runner: &mut Child) {
    runner.kill().expect("the runner runs");
    runner.wait().expect("a child");
}

fn code(code: i32) -> Exit {
    Exit::code(code)
}

async fn running(lab: &Lab) -> Shim {
    match shim::attach(&lab.dir()).await.expect("attachable") {
        Attached::Running(shim) => shim,
        Attached::Ended(exit) => panic!("it has ended: {exit}"),
        Attached::Nothing => panic!("nothing was started"),
    }
}

async fn ended(lab: &Lab) -> Exit {
    match shim::attach(&lab.dir()).await.expect("attachable") {
        Attached::Ended(exit) => exit,
        Attached::Running(shim) => panic!("{} runs", shim.pid()),
        Attached::Nothing => panic!("nothing was started"),
    }
}

#[tokio::test]
async fn a_service_whose_directory_was_removed_is_found_by_its_shim_and_ended_with_all_it_started() {
    let lab = Lab::new();
    let script = format!("setsid sleep 600 & echo $! > {}; exec sleep 600", lab.file("child").display());
    let service = lab.start(&script).await;
    let (child, main, shim_pid) = (lab.number("child"), service.pid(), lab.shim_pid());
    assert!(shim::removed(lab.folder.path()).expect("/proc is readable").is_empty(), "it has its directory");
    drop(service);
    std::fs::remove_dir_all(lab.dir()).expect("removable");
    // Another service in the same place is not taken for it.
    let mut next = lab.start("exec sleep 600").await;
    let found = shim::removed(lab.folder.path()).expect("/proc is readable");
    assert_eq!(found.iter().map(shim::Removed::pid).collect::<Vec<_>>(), [shim_pid]);
    assert!(shim::removed(&lab.file("elsewhere")).expect("/proc is readable").is_empty());
    found[0].stop(StopSignal::Term, Duration::from_secs(5)).expect("nothing is stuck");
    for pid in [child, main, shim_pid] {
        until("its end", || (!is_alive(pid)).then_some(()));
    }
    assert!(is_alive(next.pid()));
    assert!(shim::removed(lab.folder.path()).expect("/proc is readable").is_empty());
    let _ = next.stop(StopSignal::Kill, Duration::ZERO).await.expect("it ends");
}

#[tokio::test]
async fn a_shim_whose_directory_is_gone_ends_with_its_service_and_obeys_sigterm() {
    for term in [false, true] {
        let lab = Lab::new();
        let service = lab.start("trap '' TERM; until [ -e end ]; do sleep 0.01; done; exit 3").await;
        let (pid, shim) = (service.pid(), lab.shim_pid());
        std::fs::remove_dir_all(lab.dir()).expect("a directory");
        if term {
            let number =
                rustix::process::Pid::from_raw(shim.try_into().expect("a number")).expect("a number");
            rustix::process::kill_process(number, rustix::process::Signal::TERM).expect("the shim runs");
        }
        assert!(is_alive(pid), "it has a grace");
        std::fs::write(lab.file("end"), "").expect("writable");
        until("the service ends", || (!is_alive(pid)).then_some(()));
        until("its shim ends", || (!is_alive(shim)).then_some(()));
    }
}

#[tokio::test]
async fn the_end_of_the_first_process_is_known_before_what_it_left_has_ended() {
    let lab = Lab::new();
    let script = "(trap '' TERM; while :; do sleep 0.05; done) & echo $! > worker; sleep 0.2; exit 7";
    let mut service = lab.start(script).await;
    let worker = lab.number("worker");
    let exit = service.main_exited().await;
    assert_eq!((exit.code, is_alive(worker)), (Some(7), true), "the worker has a grace of a second");
    let Attached::Running(found) = shim::attach(&lab.dir()).await.expect("readable") else {
        panic!("its worker runs");
    };
    assert_eq!(found.main_exit(), Some(exit));
    assert_eq!(service.exited().await, exit);
    assert!(!is_alive(worker));
}

#[tokio::test]
async fn output_environment_and_exit_code_are_seen() {
    let lab = Lab::new();
    let mut shim = lab.start("echo $COLOR; echo oops >&2; umask; printf end; exit 7").await;
    assert_eq!(shim.exited().await, code(7));
    assert_eq!(shim.exited().await, code(7), "asked again");
    assert_eq!(ended(&lab).await, code(7));
    let mut lines = lab.lines().await;
    lines.sort();
    assert_eq!(lines, ["0022", "blue", "end", "oops", "trimaran: the process ended with exit code 7"]);
}

#[tokio::test]
async fn a_program_that_can_not_run_is_reported_with_its_cause_and_leaves_nothing() {
    let lab = Lab::new();
    std::fs::write(lab.file("data"), "no program").expect("writable");
    std::fs::create_dir(lab.file("folder")).expect("writable");
    std::fs::write(lab.file("bad"), [0x7f, b'E', b'L', b'F', 9, 9]).expect("writable");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(lab.file("bad"), mode).expect("own file");
    for (program, words) in [
        ("missing", "No such file"),
        ("data", "is not executable (mode 06"),
        ("folder", "is a directory"),
        ("bad", "not a complete ELF program"),
    ] {
        let error = shim::start(Path::new(LAB), &lab.spec(&[program])).await.err().expect("it can't run");
        assert!(matches!(error, StartError::Exec { .. }), "{error}");
        assert!(error.to_string().contains(words), "{program}: {error}");
        assert!(matches!(shim::attach(&lab.dir()).await, Ok(Attached::Nothing)), "{program}");
    }
    assert!(!lab.dir().join("state").exists() && !lab.dir().join("control").exists());
}

#[tokio::test]
async fn a_service_survives_its_runner_and_can_be_stopped_by_the_next() {
    let lab = Lab::new();
    let (mut runner, pid) = lab.runner("echo before; exec sleep 1000");
    while lab.lines().await != ["before"] {
        tokio::task::yield_now().await;
    }
    end(&mut runner);
    let mut shim = running(&lab).await;
    assert_eq!(shim.pid(), pid);
    assert!(is_alive(pid));
    let exit = shim.stop(StopSignal::Term, Duration::from_secs(10)).await.expect("it ends");
    assert_eq!(exit, Exit::signal(15));
    assert_eq!(ended(&lab).await, exit);
}

#[tokio::test]
async fn an_exit_that_no_runner_saw_is_kept() {
    let lab = Lab::new();
    let go = lab.file("go");
    let script =
        format!("echo before; until [ -e {} ]; do sleep 0.05; done; echo after; exit 5", go.display());
    let (mut runner, pid) = lab.runner(&script);
    end(&mut runner);
    std::fs::write(go, "").expect("writable");
    until("the service ends", || (!is_alive(pid)).then_some(()));
    until("the shim ends", || (!is_alive(lab.shim_pid())).then_some(()));
    assert_eq!(ended(&lab).await, code(5));
    assert_eq!(lab.lines().await, ["before", "after", "trimaran: the process ended with exit code 5"]);
}

#[tokio::test]
async fn stop_ends_all_descendants_with_and_without_a_group() {
    for group in ["on", "off"] {
        let lab = Lab::new();
        let script = format!(
            "setsid sh -c 'trap \"\" TERM HUP; echo $$ > {a}; while :; do sleep 1; done' & \
             (setsid sh -c 'echo $$ > {b}; exec sleep 1000' > /dev/null 2>&1 &) ; \
             trap '' TERM; while :; do sleep 1; done",
            a = lab.file("a").display(),
            b = lab.file("b").display()
        );
        let (mut runner, pid) = lab.runner_with(group, &script);
        let (a, b) = (lab.number("a"), lab.number("b"));
        end(&mut runner);
        let mut shim = running(&lab).await;
        let began = Instant::now();
        let exit = shim.stop(StopSignal::Term, Duration::from_millis(300)).await.expect("all end");
        assert!(began.elapsed() >= Duration::from_millis(300), "the grace was given");
        assert_eq!(exit, Exit::signal(9));
        assert!(!is_alive(pid) && !is_alive(a) && !is_alive(b), "{group}: {pid} {a} {b}");
    }
}

#[tokio::test]
async fn a_service_that_ends_in_its_grace_keeps_its_exit_code() {
    let lab = Lab::new();
    let mut shim = lab.start("trap 'echo bye; exit 3' INT; echo up; while :; do sleep 0.02; done").await;
    while lab.lines().await != ["up"] {
        tokio::task::yield_now().await;
    }
    let exit = shim.stop(StopSignal::Int, Duration::from_secs(10)).await.expect("it ends");
    assert_eq!(exit, code(3));
    assert_eq!(lab.lines().await, ["up", "bye"]);
}

#[tokio::test]
async fn a_program_without_handlers_ends_at_once_by_the_signal() {
    for (signal, number) in [(StopSignal::Term, 15), (StopSignal::Hup, 1), (StopSignal::Usr2, 12)] {
        let lab = Lab::new();
        let mut shim = lab.start("exec sleep 1000").await;
        let status = std::fs::read_to_string(format!("/proc/{}/status", shim.pid())).expect("it runs");
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).expect("a mask").trim();
        assert_eq!(blocked, "0000000000000000");
        let exit = shim.stop(signal, Duration::from_secs(60)).await.expect("it ends");
        assert_eq!(exit, Exit::signal(number));
    }
}

#[tokio::test]
async fn what_outlives_the_first_process_is_ended() {
    let lab = Lab::new();
    let script = format!(
        "setsid sh -c 'trap \"\" TERM; echo $$ > {a}; while :; do sleep 1; done' & while [ ! -s {a} ]; do sleep 0.01; done; exit 4",
        a = lab.file("a").display()
    );
    let mut shim = lab.start(&script).await;
    let left = lab.number("a");
    assert_eq!(shim.exited().await, code(4));
    assert!(!is_alive(left));
}

#[tokio::test]
async fn processes_that_fork_all_the_time_are_ended() {
    for group in ["on", "off"] {
        let lab = Lab::new();
        let lock = std::fs::File::create(lab.file("lock")).expect("writable");
        let lock_is_free = || rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
        let chain = format!("{LAB} chain {}", lab.file("lock").display());
        let (mut runner, _) =
            lab.runner_with(group, &format!("for i in 1 2 3; do {chain} & done; wait; exec sleep 1000"));
        until("the chain runs", || {
            let free = lock_is_free();
            rustix::fs::flock(&lock, FlockOperation::Unlock).expect("own lock");
            (!free).then_some(())
        });
        let mut shim = running(&lab).await;
        let began = Instant::now();
        let exit = shim.stop(StopSignal::Term, Duration::from_millis(100)).await.expect("all end");
        assert!(!exit.lost, "{group}");
        assert!(began.elapsed() < Duration::from_secs(10), "{group}: {:?}", began.elapsed());
        assert!(lock_is_free(), "{group}: something of the chain is left");
        end(&mut runner);
    }
}

#[tokio::test]
async fn a_killed_shim_does_not_stay_unnoticed() {
    let lab = Lab::new();
    let script = format!(
        "setsid sh -c 'echo $$ > {a}; exec sleep 1000' & exec sleep 1000",
        a = lab.file("a").display()
    );
    let mut shim = lab.start(&script).await;
    let left = lab.number("a");
    let pid = shim.pid();
    kill(lab.shim_pid());
    let exit = tokio::time::timeout(LIMIT, shim.exited()).await.expect("it is noticed");
    assert_eq!(exit, Exit::LOST);
    assert!(!is_alive(pid) && !is_alive(left));
    assert!(ended(&lab).await.lost);
    assert!(!lab.dir().join("control").exists(), "what was found out is noted");
    assert!(ended(&lab).await.lost);
    let mut again = lab.start("exit 0").await;
    assert_eq!(again.exited().await, code(0));
}

#[tokio::test]
async fn a_service_is_started_once() {
    let lab = Lab::new();
    let mut first = lab.start("exec sleep 1000").await;
    let second = shim::start(Path::new(LAB), &lab.sh("exec sleep 1000")).await;
    assert!(matches!(second, Err(StartError::AlreadyRunning { .. })));
    assert!(is_alive(first.pid()));
    let _ = first.stop(StopSignal::Kill, Duration::ZERO).await.expect("it ends");
}

#[tokio::test]
async fn a_runner_killed_in_the_middle_of_a_start_leaves_one_service_or_none() {
    for moment in 0..24 {
        let lab = Lab::new();
        let script = format!("echo $$ >> {}; exec sleep 1000", lab.file("starts").display());
        let mut runner = Command::new(LAB)
            .arg("runner")
            .args([lab.dir(), lab.file("log")])
            .args(["web#1", "/bin/sh", "-c", &script])
            .stdout(Stdio::null())
            .spawn()
            .expect("the runner starts");
        std::thread::sleep(Duration::from_micros(moment * 700));
        end(&mut runner);
        let mut shim = match shim::attach(&lab.dir()).await.expect("attachable") {
            Attached::Running(shim) => shim,
            Attached::Nothing => lab.start(&script).await,
            Attached::Ended(exit) => panic!("it has ended: {exit}"),
        };
        lab.number("starts");
        let starts = std::fs::read_to_string(lab.file("starts")).expect("it has started");
        let alive: Vec<u32> =
            starts.lines().filter_map(|pid| pid.parse().ok()).filter(|pid| is_alive(*pid)).collect();
        assert_eq!(alive, [shim.pid()], "{moment}");
        let _ = shim.stop(StopSignal::Kill, Duration::ZERO).await.expect("it ends");
    }
}

#[tokio::test]
async fn a_start_is_not_disturbed_by_those_who_look() {
    let lab = Lab::new();
    for _ in 0..10 {
        let mut shim = {
            let start = lab.start("exec sleep 1000");
            let look = async {
                loop {
                    let _ = shim::attach(&lab.dir()).await.expect("attachable");
                }
            };
            tokio::select! { shim = start => shim, () = look => unreachable!("it waits for ever") }
        };
        let _ = shim.stop(StopSignal::Kill, Duration::ZERO).await.expect("it ends");
    }
}

#[tokio::test]
async fn a_directory_with_a_long_path_works() {
    let lab = Lab::new();
    let deep = lab.folder.path().join("d".repeat(200));
    let spec = ShimSpec { dir: deep.join("run"), ..lab.sh("exit 9") };
    let mut shim = shim::start(Path::new(LAB), &spec).await.expect("the service starts");
    assert_eq!(shim.exited().await, code(9));
}

#[tokio::test]
async fn an_earlier_boot_is_an_end_that_no_one_saw() {
    let lab = Lab::new();
    let mut shim = lab.start("exec sleep 1000").await;
    let state = std::fs::read_to_string(lab.dir().join("state")).expect("a state");
    let _ = shim.stop(StopSignal::Kill, Duration::ZERO).await.expect("it ends");
    let boot = state.lines().find(|line| line.starts_with("boot ")).expect("a boot").to_owned();
    std::fs::write(lab.dir().join("state"), state.replace(&boot, "boot earlier")).expect("writable");
    assert!(ended(&lab).await.lost);
    assert!(matches!(shim::attach(&lab.file("nowhere")).await, Ok(Attached::Nothing)));
}

#[tokio::test]
async fn a_shim_is_small_and_its_arguments_hold_nothing_of_the_service() {
    let lab = Lab::new();
    let mut shim = lab.start("export COLOR; exec sleep 1000").await;
    let pid = lab.shim_pid();
    let arguments = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("it runs");
    assert!(!arguments.contains("sleep") && !arguments.contains("blue"), "{arguments}");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a size");
    let kib: u64 = anonymous.trim().trim_end_matches(" kB").trim().parse().expect("a number");
    assert!(kib <= 2048, "the shim has {kib} KiB");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent").trim();
    assert_ne!(parent, std::process::id().to_string());
    let _ = shim.stop(StopSignal::Kill, Duration::ZERO).await.expect("it ends");
}
