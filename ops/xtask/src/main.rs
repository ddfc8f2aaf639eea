//! Developer tasks: `cargo xtask tidy` checks the rules of the code base that no compiler checks, and `cargo xtask docs`
//! writes the pages that are made from the source, `cargo xtask kubernetes` the data made from schemas of other projects,
//! `cargo xtask sim` plays simulated worlds, and `cargo xtask test` all tests.
//!
//! Each rule is one file in `rules/` and returns what it found as lines; it changes nothing.
#![allow(clippy::disallowed_methods, reason = "a developer tool reads and writes files")]

mod docs;
mod kubernetes;
mod leftovers;
mod package;
mod rules;
mod suites;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

const HELP: &str = "\
cargo xtask TASK

Tasks:
  docs        write the pages that are made from the source
  kubernetes  write the data about kinds that is made from schemas of other projects; asks package registries
  sim         play simulated worlds from their seeds; `cargo xtask sim --help` says more
  package     make Debian packages of the programs in BINARIES below OUT: package BINARIES OUT
  test        play all tests of the workspace; further arguments go to cargo test
  leftovers   name the processes that a test run of this build left behind
  tidy        check dependency rules, file sizes, module docs, words and made pages";

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("tidy") => tidy(),
        Some("docs") => end("docs", docs::write(&root())),
        Some("kubernetes") => end("kubernetes", kubernetes::run(&root(), std::env::args().nth(2).as_deref())),
        Some("sim") => sim(),
        Some("package") => package(),
        Some("test") => end("test", suites::run(&root(), &std::env::args().skip(2).collect::<Vec<_>>())),
        Some("leftovers") => end("leftovers", leftovers::check(&target())),
        Some("help" | "--help" | "-h") => {
            println!("{HELP}");
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("{HELP}");
            ExitCode::from(2)
        }
    }
}

/// The exit code of a task, and why it failed.
fn end(task: &str, outcome: Result<(), impl std::fmt::Display>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{task}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn package() -> ExitCode {
    let args: Vec<PathBuf> = std::env::args_os().skip(2).map(PathBuf::from).collect();
    let [binaries, out] = args.as_slice() else {
        eprintln!("{HELP}");
        return ExitCode::from(2);
    };
    match package::run(&root(), binaries, out) {
        Ok(made) => {
            made.iter().for_each(|file| println!("{}", file.display()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("package: {error}");
            ExitCode::FAILURE
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Optimized: a world has to be much faster than its time.
fn sim() -> ExitCode {
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    cargo.args(["run", "--quiet", "--profile", "sim", "--package", "trimaran-sim", "--"]);
    match cargo.args(std::env::args().skip(2)).current_dir(root()).status() {
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("sim: cargo could not be started: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Where this build keeps its programs: the directory above that of this one's profile.
fn target() -> PathBuf {
    let program = std::env::current_exe().expect("a process has a program");
    program
        .ancestors()
        .nth(2)
        .expect("a program of cargo lies in PROFILE below the target directory")
        .to_owned()
}

fn tidy() -> ExitCode {
    let root = root();
    let mut findings = rules::all(&root);
    findings.extend(docs::check(&root));
    for finding in &findings {
        eprintln!("tidy: {finding}");
    }
    if findings.is_empty() {
        println!("tidy: all rules hold");
        return ExitCode::SUCCESS;
    }
    eprintln!("tidy: {} findings", findings.len());
    ExitCode::FAILURE
}
