//! What the programs of Trimaran have in common as processes of a machine: its clocks, its settings and
//! data directory, files that one process holds, the signals that end them, their tasks, their log and their end, and where tests let them die.
//!
//! Deliberately not here: sessions and identities (`trimaran-transport`), and whatever only one program does.
#![deny(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "this crate reads the clocks for the others")]

pub mod allocator;
pub mod clock;
pub mod data_dir;
pub mod failpoint;
pub mod files;
pub mod lock;
pub mod settings;
mod tasks;
mod termination;

use std::process::ExitCode;

use tracing_subscriber::EnvFilter;
use trimaran_model::report::Report;

pub use data_dir::DataDir;
pub use tasks::Tasks;
pub use termination::{Termination, terminated};

/// Sends the process's log to stderr as plain lines. `TRIMARAN_LOG` says what is in it; `info` without.
pub fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("TRIMARAN_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
}

/// Sends warnings of a command to stderr, without times: they are read beside its result.
pub fn warnings_to_stderr() {
    let filter = EnvFilter::try_from_env("TRIMARAN_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.with_ansi(false).with_target(false).without_time().init();
}

/// How a server ends: what failed goes to stderr for people, and its code becomes the exit code.
pub fn end(outcome: Result<(), Report>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(report) => {
            eprintln!("{report}");
            ExitCode::from(report.exit() as u8)
        }
    }
}
