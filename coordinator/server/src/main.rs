//! `trimaran-coordinator`: a member of the cluster that keeps the log, schedules, and serves operators and agents.
//!
//! This crate wires: raft loop (`raft_loop`, `node`), the front door (`gateway`), operators (`admin`), agents
//! (`agent_session`), enrolment. What it decides itself is little: wall time (`wall_clock`) and who may do what
//! (`authorize`).
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "the process's own I/O: clocks, files, threads")]

mod admin;
mod agent_attachments;
mod agent_session;
mod agent_wakeups;
mod authorize;
mod check;
mod config;
mod damaged;
mod disk_space;
mod enroll;
mod events;
mod exit_codes;
mod expected_agents;
mod gateway;
mod init;
mod instance_times;
mod join;
mod low_disk;
mod node;
mod own_clock;
mod peer;
mod place;
mod quotas;
mod raft_loop;
mod reads;
mod recover;
mod refusals;
mod restore;
mod revocations;
mod rows;
mod run;
mod server;
mod soft_state;
mod verify_backup;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;
use trimaran_model::error_code;
use trimaran_model::report::Report;

use trimaran_process::DataDir;

use place::Place;

/// A request and a row are many short-lived pieces that one thread makes and another one drops: with glibc's allocator
/// they took a fifth of all time at 64 clients. `RocksDB` uses this one, too.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
    /// Check a data directory that no process uses: the log, each row, and the state with its hash.
    #[command(
        after_help = "Examples:\n  trimaran-coordinator check --name c1 --data-dir /var/lib/trimaran --listen 10.0.0.1:7700\n  trimaran-coordinator check --full --name c1 --data-dir /var/lib/trimaran --listen 10.0.0.1:7700"
    )]
    Check {
        #[command(flatten)]
        place: Place,
        /// Read each block of each file too, and check the chain of audit records and the digests of contents.
        #[arg(long)]
        full: bool,
    },
    /// Make this coordinator, which is stopped, the only one: more than half of those with a vote are lost for good. Nothing of
    /// its log is left out; the others are removed and can't come back, and are joined anew. Refused while another one answers.
    #[command(after_help = "Examples:\n  trimaran-coordinator recover --data-dir /var/lib/trimaran --yes")]
    Recover {
        /// The data directory of the coordinator that is left; of several, the one whose log ends with the largest term, and of
        /// these the largest revision, which each says without `--yes`.
        #[arg(long, value_name = "DIR")]
        data_dir: PathBuf,
        /// The others are lost for good.
        #[arg(long)]
        yes: bool,
    },
    /// Make a coordinator of a backup, when no disk of any coordinator is left: the only one of its cluster, with the cluster's
    /// id and root. It only observes before `trimaran cluster resume`: nothing is changed on any host.
    #[command(
        after_help = "Examples:\n  trimaran-coordinator restore monday.backup --root-key root.key.pem --name c4 --data-dir /var/lib/trimaran --listen 10.0.0.4:7700"
    )]
    Restore {
        /// A file of `trimaran cluster backup create`.
        #[arg(value_name = "FILE")]
        backup: PathBuf,
        /// The cluster's root key, which `init` wrote; it certifies a new issuing key, and is not kept.
        #[arg(long, value_name = "FILE")]
        root_key: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Prove that a backup can be restored: make a store of it in a temporary directory, start from it as a coordinator does,
    /// and compare revision, state and every row with what was backed up. Needs no cluster and changes none.
    #[command(
        after_help = "Examples:\n  trimaran-coordinator verify-backup /var/backups/trimaran\n  trimaran-coordinator verify-backup monday.backup --temporary /mnt/scratch"
    )]
    VerifyBackup {
        /// A file of `trimaran cluster backup create`; of a directory of them the newest one.
        #[arg(value_name = "FILE|DIR")]
        backup: PathBuf,
        /// Where to make the store, which takes about as much space as the file; the system's place for temporary files when
        /// omitted.
        #[arg(long, value_name = "DIR")]
        temporary: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    trimaran_transport::install_crypto_provider();
    trimaran_process::allocator::give_large_buffers_back();
    trimaran_process::log_to_stderr();
    trimaran_process::end(execute(App::parse().command))
}

fn execute(command: Command) -> Result<(), Report> {
    match command {
        Command::Init { place, root_key } => {
            let data = data_dir(&place)?;
            let root_key = root_key.unwrap_or_else(|| data.root().join("root.key.pem"));
            let token = init::init(&data, &place, &root_key)?;
            eprintln!("cluster made; its root key is {}", root_key.display());
            eprintln!("move the root key to a safe place: it is needed only to recover the cluster");
            eprintln!("the token of the first admin follows; it works once, for one hour");
            println!("{token}");
            Ok(())
        }
        Command::Join { place, endpoint, token_file } => {
            let data = data_dir(&place)?;
            let token = read_token(token_file.as_deref()).map_err(join::JoinError::TokenFile)?;
            let voters = runtime()?.block_on(join::join(&data, &place, &endpoint, token.trim()))?;
            eprintln!("joined a cluster with {voters} voters; it gets a vote when it runs and has caught up");
            Ok(())
        }
        Command::Run { place, config, settings } => {
            let data = data_dir(&place)?;
            let settings = trimaran_process::settings::over(settings, config.as_deref())?;
            Ok(runtime()?.block_on(run::run(data, place, settings))?)
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
        Command::Check { place, full } => {
            println!("{}", check::check(&data_dir(&place)?, full)?);
            Ok(())
        }
        Command::Recover { data_dir, yes } => {
            println!("{}", runtime()?.block_on(recover::recover(&DataDir::at(&data_dir)?, yes))?);
            Ok(())
        }
        Command::Restore { backup, root_key, place } => {
            println!("{}", restore::restore(&backup, &root_key, &data_dir(&place)?, &place)?);
            Ok(())
        }
        Command::VerifyBackup { backup, temporary } => {
            let temporary = temporary.unwrap_or_else(std::env::temp_dir);
            println!("{}", verify_backup::verify(&backup, &temporary)?);
            Ok(())
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|error| Report::because(error_code::BUG, "the runtime could not be started", &error))
}

/// The token in a file, or on standard input.
fn read_token(file: Option<&std::path::Path>) -> std::io::Result<String> {
    match file {
        Some(path) if path != std::path::Path::new("-") => std::fs::read_to_string(path),
        Some(_) | None => std::io::read_to_string(std::io::stdin()),
    }
}

fn data_dir(place: &Place) -> Result<DataDir, Report> {
    Ok(DataDir::at(&place.data_dir)?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_command_says_what_it_does_with_examples_that_parse() {
        trimaran_test_support::help::check(&App::command(), 9);
    }
}
