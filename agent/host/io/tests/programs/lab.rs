//! Programs for the tests with real processes: a shim, a runner that can be killed, and services that are hard
//! to end.
#![allow(clippy::disallowed_methods, reason = "programs of tests use the clock, threads and the environment")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use trimaran_host::shim;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next().as_deref().and_then(std::ffi::OsStr::to_str) {
        Some("shim") => shim::main(args),
        Some("runner") => runner(args.map(|arg| arg.into_string().expect("UTF-8")).collect()),
        Some("chain") => chain(),
        _ => ExitCode::from(2),
    }
}

/// `runner DIR LOGS RUN COMMAND…`: starts a service, says its number, and waits to be killed.
fn runner(args: Vec<String>) -> ExitCode {
    let [dir, logs, run, command @ ..] = args.as_slice() else { return ExitCode::from(2) };
    let spec = shim::ShimSpec {
        dir: PathBuf::from(dir),
        command: command.to_vec(),
        cwd: PathBuf::from("/"),
        environment: BTreeMap::new(),
        log_dir: PathBuf::from(logs),
        run: run.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let binary = std::env::current_exe().expect("an own path");
        let started = shim::start(Path::new(&binary), &spec).await.expect("the service starts");
        println!("{}", started.pid());
        std::future::pending::<()>().await;
    });
    ExitCode::SUCCESS
}

/// A process that is never the same for long: each forks the next one and ends. Bounded by time.
fn chain() -> ExitCode {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        // SAFETY: this process has one thread.
        match unsafe { libc::fork() } {
            0 => {}
            -1 => return ExitCode::FAILURE,
            // Without the handlers of the library: they are not of interest here.
            _ => unsafe { libc::_exit(0) },
        }
    }
    ExitCode::SUCCESS
}
