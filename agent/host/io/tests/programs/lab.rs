//! Programs for the tests with real processes: a shim, a runner that can be killed, a deploy whose memory is
//! inspected, and services that are hard to end.
#![allow(clippy::disallowed_methods, reason = "programs of tests use the clock, threads and the environment")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use trimaran_host::archive::{self, ArchiveLimits};
use trimaran_host::{fetch, shim};
use trimaran_model::release::{Artifact, ArtifactLocation};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next().as_deref().and_then(std::ffi::OsStr::to_str) {
        Some("shim") => shim::main(args),
        Some("runner") => runner(args.map(|arg| arg.into_string().expect("UTF-8")).collect()),
        Some("chain") => chain(args.next().map(PathBuf::from)),
        Some("deploy") => deploy(args.map(|arg| arg.into_string().expect("UTF-8")).collect()),
        _ => ExitCode::from(2),
    }
}

/// `runner DIR LOGS RUN COMMAND…`: starts a service, says its number, and waits to be killed.
fn runner(args: Vec<String>) -> ExitCode {
    let [dir, logs, run, command @ ..] = args.as_slice() else { return ExitCode::from(2) };
    let (dir, cwd, logs) = (PathBuf::from(dir), PathBuf::from("/"), PathBuf::from(logs));
    let spec = shim::ShimSpec::new(dir, command.to_vec(), cwd, logs, run.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let binary = std::env::current_exe().expect("an own path");
        let started = shim::start(Path::new(&binary), &spec).await.expect("the service starts");
        println!("{}", started.pid());
        std::future::pending::<()>().await;
    });
    ExitCode::SUCCESS
}

/// `deploy URL SHA256 CACHE RELEASE`: fetches and unpacks, and prints its own status.
fn deploy(args: Vec<String>) -> ExitCode {
    let [url, sha256, cache, release] = args.as_slice() else { return ExitCode::from(2) };
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let artifact = Artifact {
        name: "bundle".parse().expect("a name"),
        version: "v1".to_owned(),
        sha256: sha256.parse().expect("a digest"),
        location: ArtifactLocation::Url(url.clone()),
    };
    runtime.block_on(async {
        let limit = Duration::from_secs(60);
        let blob = fetch::fetch(&artifact, Path::new(cache), limit).await.expect("it arrives");
        let into = PathBuf::from(release);
        let unpack =
            move || archive::unpack(&blob, &into, &ArchiveLimits::default(), None).expect("it is good");
        tokio::task::spawn_blocking(unpack).await.expect("no panic");
        println!("{}", std::fs::read_to_string("/proc/self/status").expect("this process"));
    });
    ExitCode::SUCCESS
}

/// `chain FILE`: a process that is never the same for long, since each forks the next one and ends. All hold a
/// lock on the file, which is free when none is left. Bounded by time.
fn chain(file: Option<PathBuf>) -> ExitCode {
    let file = file.and_then(|file| std::fs::File::open(file).ok()).expect("a file");
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockShared).expect("a shared lock");
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        // SAFETY: this process has one thread.
        match unsafe { libc::fork() } {
            0 => {}
            -1 => return ExitCode::FAILURE,
            _ => return ExitCode::SUCCESS,
        }
    }
    ExitCode::SUCCESS
}
