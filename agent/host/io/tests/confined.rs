//! As whom and within which bounds a service runs, as the kernel says it of a real process. Needs root, as a runner of
//! services with users does.
#![allow(clippy::disallowed_methods, reason = "tests use files, clocks and processes")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use trimaran_host::shim::{self, Confinement, Credentials, OutputPlace, Rlimit, Shim, ShimSpec};
use trimaran_host_core::host::Exit;
use trimaran_model::pipeline::StopSignal;

const LAB: &str = env!("CARGO_BIN_EXE_trimaran-host-lab");
/// A user without an entry, so that nothing of it comes from this machine.
const UID: u32 = 4_000_001;
const GID: u32 = 4_000_002;
const NET_BIND_SERVICE: u64 = 1 << 10;
const NOFILE: u32 = libc::RLIMIT_NOFILE;
const NPROC: u32 = libc::RLIMIT_NPROC;
const CORE: u32 = libc::RLIMIT_CORE;

fn spec(folder: &Path, command: &[&str]) -> ShimSpec {
    let command = command.iter().map(|it| (*it).to_owned()).collect();
    ShimSpec::new(folder.join("run"), command, "/".into(), folder.join("log"), "web#1".to_owned())
}

fn other_user() -> Confinement {
    let limit = |resource, value| Rlimit { resource, soft: value, hard: value };
    Confinement {
        credentials: Some(Credentials { uid: UID, gid: GID, groups: vec![7, GID] }),
        umask: 0o027,
        rlimits: vec![limit(NOFILE, 1234), limit(NPROC, 99), limit(CORE, 0)],
        capabilities: None,
        no_new_privileges: true,
    }
}

async fn start(spec: &ShimSpec) -> Shim {
    shim::start(Path::new(LAB), spec).await.expect("the service starts")
}

async fn stop(mut shim: Shim) {
    let _ = shim.stop(StopSignal::Kill, Duration::ZERO).await.expect("it ends");
}

/// Lines `NAME: VALUE` of `/proc/PID/status`, with single blanks.
fn status(pid: u32) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let words = |value: &str| value.split_whitespace().collect::<Vec<_>>().join(" ");
    lines.map(|(name, value)| (name.to_owned(), words(value))).collect()
}

/// Soft and hard limit of a line of `/proc/PID/limits`.
fn limits(pid: u32, name: &str) -> (String, String) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("the limit is listed");
    let mut words = line.split_whitespace().map(str::to_owned);
    (words.next().expect("a soft limit"), words.next().expect("a hard limit"))
}

#[tokio::test]
async fn a_service_is_who_its_file_says_and_has_nothing_else() {
    let folder = tempfile::tempdir().expect("a directory");
    let mut spec = spec(folder.path(), &["/bin/sleep", "1000"]);
    spec.confinement = other_user();
    let shim = start(&spec).await;
    let status = status(shim.pid());
    let get = |name: &str| status[name].as_str();
    assert_eq!(get("Uid"), format!("{UID} {UID} {UID} {UID}"));
    assert_eq!(get("Gid"), format!("{GID} {GID} {GID} {GID}"));
    assert_eq!(get("Groups"), format!("7 {GID}"));
    assert_eq!((get("Umask"), get("NoNewPrivs")), ("0027", "1"));
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(get(set), "0000000000000000", "{set}");
    }
    let same = |value: &str| (value.to_owned(), value.to_owned());
    assert_eq!(limits(shim.pid(), "Max open files"), same("1234"));
    assert_eq!(limits(shim.pid(), "Max processes"), same("99"));
    assert_eq!(limits(shim.pid(), "Max core file size"), same("0"));
    let environment = std::fs::read_to_string(format!("/proc/{}/environ", shim.pid())).expect("readable");
    let names: Vec<_> = environment.split_terminator('\0').filter_map(|it| it.split_once('=')).collect();
    assert_eq!(names.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["TRIMARAN_SERVICE_MARK"]);
    stop(shim).await;
}

#[tokio::test]
async fn another_user_keeps_the_capabilities_of_its_file_over_an_exec() {
    let folder = tempfile::tempdir().expect("a directory");
    let mut spec = spec(folder.path(), &["/bin/sh", "-c", "exec /bin/sleep 1000"]);
    spec.confinement = Confinement { capabilities: Some(NET_BIND_SERVICE), ..other_user() };
    let shim = start(&spec).await;
    let found = (0..200).find_map(|_| {
        let status = status(shim.pid());
        std::thread::sleep(Duration::from_millis(10));
        (status["Name"] == "sleep").then_some(status)
    });
    let status = found.expect("the shell becomes sleep");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status[set], "0000000000000400", "{set}");
    }
    stop(shim).await;
}

#[tokio::test]
async fn root_without_capabilities_can_do_what_anyone_can() {
    let folder = tempfile::tempdir().expect("a directory");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "x").expect("writable");
    std::os::unix::fs::chown(&secret, Some(UID), Some(GID)).expect("root may");
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&secret, closed).expect("root may");
    let mut spec = spec(folder.path(), &["/bin/cat", secret.to_str().expect("UTF-8")]);
    assert_eq!(start(&spec).await.exited().await, Exit::code(0), "root reads everything");
    spec.confinement.capabilities = Some(0);
    assert_eq!(start(&spec).await.exited().await, Exit::code(1), "the right to do so is gone");
}

#[tokio::test]
async fn a_program_below_a_closed_directory_runs_from_where_it_is() {
    let folder = tempfile::tempdir().expect("a directory, closed to others");
    let release = folder.path().join("release");
    std::fs::create_dir_all(release.join("bin")).expect("made");
    std::fs::copy("/bin/sleep", release.join("bin/web")).expect("copied");
    let program = release.join("bin/web");
    let mut spec = spec(folder.path(), &[program.to_str().expect("UTF-8"), "1000"]);
    spec.cwd = release;
    spec.confinement = other_user();
    let shim = start(&spec).await;
    assert_eq!(status(shim.pid())["Uid"].split(' ').next(), Some("4000001"));
    stop(shim).await;
}

#[tokio::test]
async fn a_service_opens_its_own_output_by_name() {
    let folder = tempfile::tempdir().expect("a directory");
    let mut spec =
        spec(folder.path(), &["/bin/sh", "-c", "echo out > /dev/stdout && echo err > /dev/stderr"]);
    spec.confinement = other_user();
    assert_eq!(start(&spec).await.exited().await, Exit::code(0));
}

#[tokio::test]
async fn what_runs_for_longer_than_it_may_is_killed_with_all_that_it_started() {
    let folder = tempfile::tempdir().expect("a directory");
    let script = "(trap '' TERM; setsid sleep 1000) & while :; do echo again; done";
    let mut spec = spec(folder.path(), &["/bin/sh", "-c", script]);
    spec.output = OutputPlace::Tail;
    spec.time_limit = Some(Duration::from_millis(300));
    let mut shim = start(&spec).await;
    let exit = tokio::time::timeout(Duration::from_secs(10), shim.exited()).await.expect("it is ended");
    assert_eq!(exit, Exit::signal(9));
    let tail = std::fs::read_to_string(folder.path().join("run/output")).expect("its last words");
    assert!(tail.len() <= 1024 && tail.ends_with("again\n"), "{} bytes", tail.len());
}
