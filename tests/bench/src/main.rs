//! `make bench`: the measurements behind every claim, all in one run, so that they can be compared.
//!
//! Each measure stands beside what bounds it on the same machine: a probe of the disk, the floor of a rollout,
//! another tool that does the same steps. `trimaran-bench NAME…` runs some of them; `--write` keeps the table
//! in `tests/bench/RESULTS.md`.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads clocks and starts processes")]

mod ansible;
mod commits;
mod dispatch;
mod floor;
mod idle;
mod lint;
mod report;
mod rollout;
mod start;
mod verdict;

use std::process::ExitCode;

use report::Report;

type Bench = (&'static str, fn(&mut Report));

const ALL: &[Bench] = &[
    ("commits", commits::run),
    ("dispatch", dispatch::run),
    ("idle", idle::run),
    ("lint", lint::run),
    ("start", start::run),
    ("rollout", rollout::run),
    ("verdict", verdict::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (flags, names): (Vec<_>, Vec<_>) = arguments.iter().partition(|word| word.starts_with("--"));
    let known: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        eprintln!("there is no benchmark `{unknown}`; there are: {}", known.join(", "));
        return ExitCode::from(2);
    }
    let mut report = Report::default();
    for (name, run) in ALL {
        if names.is_empty() || names.iter().any(|wanted| wanted.as_str() == *name) {
            eprintln!("bench: {name}");
            run(&mut report);
        }
    }
    print!("{}", report.table());
    if flags.iter().any(|flag| flag.as_str() == "--write")
        && let Err(error) = report.write()
    {
        eprintln!("tests/bench/RESULTS.md can't be written: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
