//! Developer tasks: `cargo xtask tidy` checks the rules of the code base that no compiler checks.
//!
//! Each rule is one file in `rules/` and returns what it found as lines; nothing is changed.
#![allow(clippy::disallowed_methods, reason = "a developer tool reads files")]

mod rules;

use std::path::PathBuf;
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask TASK

Tasks:
  tidy    check dependency rules, file sizes, module docs and words";

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("tidy") => tidy(),
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

fn tidy() -> ExitCode {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let findings = rules::all(&root);
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
