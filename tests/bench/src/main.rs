//! `make bench`: the measurements behind every claim, all in one run, so that they can be compared.
//!
//! Each measure stands beside what bounds it on the same machine: a probe of the disk, the floor of a rollout,
//! another tool that does the same steps. `trimaran-bench NAME…` runs some of them; `--write` keeps the table
//! in `tests/bench/RESULTS.md`.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads clocks and starts processes")]

mod ansible;
mod attached;
mod attaching;
mod commits;
mod dispatch;
mod failover;
mod fleet;
mod flink;
mod flink_rest;
mod floor;
mod halt;
mod history;
mod hostile_runner;
mod hung;
mod idle;
mod idle_agents;
mod kubernetes;
mod lint;
mod model_server;
mod replica_seam;
mod report;
mod rollout;
mod start;
mod third_agent;
mod three_coordinators;
mod verdict;

use std::process::ExitCode;

use report::Report;

type Bench = (&'static str, fn(&mut Report));

const ALL: &[Bench] = &[
    ("commits", commits::run),
    ("dispatch", dispatch::run),
    ("three-coordinators", three_coordinators::run),
    ("failover", failover::run),
    ("idle-agents", idle_agents::run),
    ("attached", attached::run),
    ("hung", hung::run),
    ("hostile-runner", hostile_runner::run),
    ("fleet-loop", fleet::model::run),
    ("fleet", fleet::real::run),
    ("idle", idle::run),
    ("history", history::run),
    ("lint", lint::run),
    ("start", start::run),
    ("halt", halt::run),
    ("rollout", rollout::run),
    ("verdict", verdict::run),
    ("flink", flink::run),
    ("flink-rest", flink_rest::run),
    ("kubernetes", kubernetes::run),
];

/// Measures what the design promises, and prints one table.
#[derive(Debug, clap::Parser)]
#[command(
    name = "trimaran-bench",
    after_help = "Examples:\n  trimaran-bench\n  trimaran-bench start rollout\n  trimaran-bench --write"
)]
struct Args {
    /// The benchmarks to run; all of them if omitted.
    #[arg(value_name = "NAME", value_parser = names())]
    names: Vec<String>,
    /// Keep the table in `tests/bench/RESULTS.md`.
    #[arg(long)]
    write: bool,
}

fn names() -> clap::builder::PossibleValuesParser {
    clap::builder::PossibleValuesParser::new(ALL.iter().map(|(name, _)| *name))
}

fn main() -> ExitCode {
    let Args { names, write } = <Args as clap::Parser>::parse();
    let mut report = Report::default();
    for (name, run) in ALL {
        if names.is_empty() || names.iter().any(|wanted| wanted.as_str() == *name) {
            eprintln!("bench: {name}");
            run(&mut report);
        }
    }
    print!("{}", report.table());
    if write && let Err(error) = report.write() {
        eprintln!("tests/bench/RESULTS.md can't be written: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_help_is_whole() {
        trimaran_test_support::help::check(&super::Args::command(), 1);
    }
}
