//! `trimaran-agent`: serves the targets of one cell (role `agent`), or one host of a fleet (role `runner`).
//!
//! A list of commands. Each lives in a module of its own.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "the process's own I/O: clocks, files, threads")]

mod host_command;

use std::process::ExitCode;

use clap::Parser as _;

/// An agent of Trimaran, or the runner of one host.
#[derive(Debug, clap::Parser)]
#[command(version)]
struct App {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Host(host_command::Args),
}

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    // Before anything else: a shim lives as long as its service and stays small.
    if args.next().is_some_and(|command| command == "shim") {
        return trimaran_host::shim::main(args);
    }
    trimaran_transport::install_crypto_provider();
    match App::parse().command {
        Command::Host(args) => host_command::run(&args),
    }
}
