//! `trimaran-agent`: serves the targets of one cell (role `agent`), or one host of a fleet (role `runner`).
//!
//! A list of commands. Each has a module of its own.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "the process's own I/O: clocks, files, threads")]

mod addresses;
mod agent;
mod certificate;
mod clock;
mod dial;
mod directory_lock;
mod host_command;
mod install;
mod log_on_change;
mod revocations;
mod role_context;
mod run;
mod runner;
mod settings;
mod state;

use std::process::ExitCode;

use clap::Parser as _;

/// A line for each role.
const EXAMPLES: &str = "Examples:\n  trimaran-agent run --role agent --name tokyo --data-dir /var/lib/trimaran --endpoint c1:7700 --listen 0.0.0.0:7800\n  trimaran-agent run --role runner --name web-1 --data-dir /var/lib/trimaran --endpoint agent:7800 --address 10.0.0.7";

/// An agent of Trimaran, or the runner of one host.
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES)]
struct App {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Run(run::Args),
    Host(host_command::Args),
    Install(install::InstallArgs),
    Uninstall(install::UninstallArgs),
}

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    // Before anything else: a shim runs as long as its service and stays small. It is no command for people.
    if args.next().is_some_and(|command| command == "shim") {
        return trimaran_host::shim::main(args);
    }
    trimaran_transport::install_crypto_provider();
    match App::parse().command {
        Command::Run(args) => run::run(args),
        Command::Host(args) => host_command::run(&args),
        Command::Install(args) => install::install(args),
        Command::Uninstall(args) => install::uninstall(&args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_command_says_what_it_does_with_examples_that_parse() {
        trimaran_test_support::help::check(&App::command(), 11);
    }
}
