//! `trimaran-coordinator`: a member of the cluster that keeps the log, schedules, and serves operators and agents.
//!
//! This crate wires: raft loop (`raft_loop`, `node`), the front door (`gateway`), operators (`admin`), agents
//! (`agent_session`), enrolment. What it decides itself is little: wall time (`wall_clock`) and who may do what
//! (`authorize`).
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "the process's own I/O: clocks, files, threads")]

mod admin;
mod agent_session;
mod agent_wakeups;
mod authorize;
mod config;
mod damaged;
mod data_dir;
mod disk_space;
mod enroll;
mod events;
mod exit_codes;
mod gateway;
mod init;
mod node;
mod raft_loop;
mod reads;
mod refusals;
mod rows;
mod run;
mod server;
mod soft_state;
mod state_machine;
mod wall_clock;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;
use trimaran_model::error_code;
use trimaran_model::id::CoordinatorName;
use trimaran_model::report::Report;

use data_dir::DataDir;

/// A coordinator of Trimaran.
#[derive(Debug, clap::Parser)]
#[command(
    version,
    after_help = "Examples:\n  trimaran-coordinator init --name c1 --data-dir /var/lib/trimaran --listen 10.0.0.1:7700 > token\n  trimaran-coordinator run --name c1 --data-dir /var/lib/trimaran --listen 10.0.0.1:7700"
)]
struct App {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a new cluster with this coordinator as its first member; prints the first admin's token.
    #[command(
        after_help = "Examples:\n  trimaran-coordinator init --name c1 --data-dir /var/lib/trimaran --listen 10.0.0.1:7700 > token"
    )]
    Init {
        #[command(flatten)]
        place: Place,
        /// Where to write the cluster's root key, which you keep away from here.
        #[arg(long, value_name = "FILE")]
        root_key: Option<PathBuf>,
    },
    /// Become a further member of a cluster.
    #[command(
        after_help = "Examples:\n  trimaran-coordinator join --name c2 --data-dir /var/lib/trimaran --listen 10.0.0.2:7700 --endpoint 10.0.0.1:7700 --token-file token"
    )]
    Join {
        #[command(flatten)]
        place: Place,
        /// A member of the cluster; repeatable.
        #[arg(long, value_name = "ADDR")]
        endpoint: Vec<String>,
        /// The token of `trimaran cluster token NAME`; `-` reads it from standard input.
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
    },
    /// Run the coordinator.
    #[command(
        after_help = "Examples:\n  trimaran-coordinator run --name c1 --data-dir /var/lib/trimaran --listen 10.0.0.1:7700"
    )]
    Run {
        #[command(flatten)]
        place: Place,
        /// A reviewed settings file; flags win.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        settings: config::Settings,
    },
    /// Remove the ballast file to free its space when the disk is full; the next start with enough space makes it again.
    #[command(after_help = "Examples:\n  trimaran-coordinator free-ballast --data-dir /var/lib/trimaran")]
    FreeBallast {
        /// The coordinator's data directory.
        #[arg(long, value_name = "DIR")]
        data_dir: PathBuf,
    },
    /// Check that the data directory can be opened, and end.
    #[command(
        after_help = "Examples:\n  trimaran-coordinator check --name c1 --data-dir /var/lib/trimaran --listen 10.0.0.1:7700"
    )]
    Check {
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, clap::Args)]
struct Place {
    /// The coordinator's name in the cluster.
    #[arg(long, value_parser = parse_name)]
    name: CoordinatorName,
    /// The coordinator's data directory, which no one else uses.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// UDP address for operators, agents and members.
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
}

fn parse_name(text: &str) -> Result<CoordinatorName, String> {
    text.parse().map_err(|error: trimaran_model::id::InvalidName| error.to_string())
}

fn main() -> ExitCode {
    trimaran_transport::install_crypto_provider();
    trimaran_process::log_to_stderr();
    trimaran_process::end(execute(App::parse().command))
}

fn execute(command: Command) -> Result<(), Report> {
    match command {
        Command::Init { place, root_key } => {
            let data = data_dir(&place)?;
            let root_key = root_key.unwrap_or_else(|| data.root().join("root.key.pem"));
            let token = init::init(&data, &place.name, &place.listen.to_string(), &root_key)?;
            eprintln!("cluster made; its root key is {}", root_key.display());
            eprintln!("move the root key to a safe place: it is needed only to recover the cluster");
            eprintln!("the token of the first admin follows; it works once, for one hour");
            println!("{token}");
            Ok(())
        }
        Command::Join { .. } => Err(Report {
            cause: Some("this version of Trimaran runs one coordinator".to_owned()),
            ..Report::new(
                error_code::USAGE,
                "a coordinator can't join yet; start a cluster of its own with `trimaran-coordinator init`",
            )
        }),
        Command::Run { place, config, settings } => {
            let data = data_dir(&place)?;
            let settings = settings.over(config.as_deref())?;
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            let runtime = runtime.map_err(|error| {
                Report::because(error_code::BUG, "the runtime could not be started", &error)
            })?;
            Ok(runtime.block_on(run::run(data, place.name, place.listen, settings))?)
        }
        Command::FreeBallast { data_dir } => {
            let ballast = trimaran_store::Ballast::new(&data_dir);
            let mib = ballast.bytes() >> 20;
            let freed = ballast.free();
            freed.map_err(|error| {
                Report::because(error_code::DATA_DIR, "the ballast can't be removed", &error)
            })?;
            println!("{mib} MiB freed");
            Ok(())
        }
        Command::Check { place } => {
            let data = data_dir(&place)?;
            let opened = trimaran_store::Store::open(&data.store(), &trimaran_store::Options::default());
            let (store, _) = opened.map_err(|error| exit_codes::open(&error))?;
            let engine = run::load_engine(&store)?;
            println!(
                "cluster {} at revision {}, state hash {:032x}",
                engine.cluster(),
                store.applied(),
                engine.hash()
            );
            Ok(())
        }
    }
}

fn data_dir(place: &Place) -> Result<DataDir, Report> {
    DataDir::new(&place.data_dir)
        .map_err(|error| Report::because(error_code::DATA_DIR, "the data directory can't be used", &error))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_command_says_what_it_does_with_examples_that_parse() {
        trimaran_test_support::help::check(&App::command(), 6);
    }
}
