//! Developer tasks: `cargo xtask tidy` checks the rules of the code base that no compiler checks, and `cargo xtask docs`
//! writes the pages that are made from the source, `cargo xtask kubernetes` the data made from schemas of other projects.
//!
//! Each rule is one file in `rules/` and returns what it found as lines; it changes nothing.
#![allow(clippy::disallowed_methods, reason = "a developer tool reads and writes files")]

mod docs;
mod kubernetes;
mod rules;

use std::path::PathBuf;
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask TASK

Tasks:
  docs        write the pages that are made from the source
  kubernetes  write the data about kinds that is made from schemas of other projects; asks package registries
  tidy        check dependency rules, file sizes, module docs, words and made pages";

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("tidy") => tidy(),
        Some("docs") => match docs::write(&root()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("docs: {error}");
                ExitCode::FAILURE
            }
        },
        Some("kubernetes") => match kubernetes::run(&root(), std::env::args().nth(2).as_deref()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("kubernetes: {error}");
                ExitCode::FAILURE
            }
        },
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

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
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
