//! `trimaran-agent run`: the long-running roles.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;
use trimaran_model::error_code;
use trimaran_model::id::Identity;
use trimaran_model::report::Report;
use trimaran_transport::enroll::Token;

use crate::certificate::{self, Own};
use crate::clock::ClusterClock;
use crate::role_context::RoleContext;
use crate::settings::Settings;
use crate::state::{self, State};
use crate::{agent, runner};
use trimaran_kubernetes_state::{Access, Client, StateName};
use trimaran_process::DataDir;

/// A token takes less than 200 bytes.
const TOKEN_BYTES_MAX: u64 = 4096;

/// Threads that serve the sessions of an agent.
const AGENT_THREADS: usize = 2;

/// Run as the agent of a cell, or as the runner of this host.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::EXAMPLES)]
pub(crate) struct Args {
    /// What this process is.
    #[arg(long, value_enum)]
    role: Role,
    /// The name used at enrolment; a runner's is the name of its host where it is left out.
    #[arg(long)]
    name: Option<String>,
    /// The process's data directory, which no other process uses.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Keep identity and journal in Secrets and not in the data directory, for an agent in a pod without a disk of its own: it
    /// waits for the Lease of this name.
    #[arg(long, value_name = "secret:NAMESPACE/NAME")]
    state: Option<StateName>,
    /// Reach the Secrets by this kubeconfig; default: the service account of the pod, outside of a pod the user's kubeconfig.
    #[arg(long, value_name = "FILE", requires = "state")]
    state_kubeconfig: Option<PathBuf>,
    /// Enroll first with the token in this file, or on stdin (`-`); not used once enrolled.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A reviewed settings file; flags win.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// Serves the targets of one cell.
    Agent,
    /// Drives one host of a fleet.
    Runner,
}

impl Role {
    /// As on the command line.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Runner => "runner",
        }
    }
}

pub(crate) fn run(args: Args) -> ExitCode {
    trimaran_process::allocator::give_large_buffers_back();
    trimaran_process::log_to_stderr();
    let runtime = match args.role {
        // Sessions of many runners share a few threads; the loop has one of its own.
        Role::Agent => Builder::new_multi_thread().worker_threads(AGENT_THREADS).enable_all().build(),
        // One thread serves sessions; what blocks has threads of its own. A runner stays small so.
        Role::Runner => Builder::new_current_thread().enable_all().build(),
    };
    trimaran_process::end(match runtime {
        Ok(runtime) => runtime.block_on(start(args)),
        Err(error) => Err(Report::because(error_code::BUG, "the runtime could not be started", &error)),
    })
}

async fn start(args: Args) -> Result<(), Report> {
    let identity = identity(args.role, &name(args.role, args.name.clone())?)?;
    let settings = trimaran_process::settings::over(args.settings.clone(), args.config.as_deref())?;
    fits(args.role, &settings)?;
    if args.role == Role::Runner && args.state.is_some() {
        let why = "`--state` belongs to an agent: what a runner knows is about the disk of its host";
        return Err(Report::new(error_code::USAGE, why));
    }
    let data = DataDir::at(&args.data_dir)?;
    data.create()?;
    let stop = CancellationToken::new();
    let signal = stop.clone();
    let signals = async move {
        trimaran_process::terminated().await;
        signal.cancel();
        std::future::pending().await
    };
    tokio::select! {
        outcome = with_state(&args, identity, data, settings, stop) => outcome,
        () = signals => Ok(()),
    }
}

/// Runs with the state of this process: its directory, or Secrets while it holds their lease.
async fn with_state(
    args: &Args,
    identity: Identity,
    data: DataDir,
    settings: Settings,
    stop: CancellationToken,
) -> Result<(), Report> {
    let Some(name) = args.state.clone() else {
        let state = State::Directory(data.clone());
        return serve(args, identity, state, data, settings, stop).await;
    };
    let client = Client::new(Access::of(args.state_kubeconfig.clone()), &name);
    let acquired = state::acquire(client, name, stop.clone());
    let Some(held) = stop.run_until_cancelled(acquired).await else { return Ok(()) };
    let held = held?;
    let outcome = match stop.run_until_cancelled(held.open()).await {
        Some(Ok(opened)) => serve(args, identity, State::Secret(opened), data, settings, stop).await,
        Some(Err(report)) => Err(report),
        None => Ok(()),
    };
    held.end(outcome).await
}

async fn serve(
    args: &Args,
    identity: Identity,
    state: State,
    data: DataDir,
    mut settings: Settings,
    stop: CancellationToken,
) -> Result<(), Report> {
    // Before anything is written: the state may be another process's.
    let own = Own::load(&state, &identity)?;
    if settings.endpoints.is_empty() {
        settings.endpoints = data.endpoints();
    }
    if settings.endpoints.is_empty() {
        return Err(Report::new(error_code::USAGE, "no `--endpoint` says whom to dial"));
    }
    data.keep_endpoints(&settings.endpoints)?;
    let clock = ClusterClock::default();
    let own = match (own, args.token_file.as_deref()) {
        (Some(own), file) => {
            not_of_another_cluster(&own, file)?;
            own
        }
        (None, Some(file)) => {
            let token = read_token(file)?;
            let enrolled = certificate::enroll(&state, &identity, &token, &settings.endpoints, &clock);
            match stop.run_until_cancelled(enrolled).await {
                Some(own) => own?,
                None => return Ok(()),
            }
        }
        (None, None) => {
            let message = format!("{identity} is not enrolled in {state}");
            return Err(Report::new(error_code::TOKEN_UNKNOWN, message));
        }
    };
    let start = RoleContext { data, state, settings, own, clock, stop };
    match args.role {
        Role::Agent => agent::run(start).await,
        Role::Runner => runner::run(start).await,
    }
}

/// Once enrolled a token is not used; one of another cluster says that the directory is not the one that was meant.
fn not_of_another_cluster(own: &Own, file: Option<&Path>) -> Result<(), Report> {
    let unasked = |file: &&Path| *file != Path::new("-") || !std::io::stdin().is_terminal();
    let token = file.filter(unasked).and_then(|file| read_token(file).ok()?.parse::<Token>().ok());
    token.map_or(Ok(()), |token| own.is_of_the_cluster_of(&token))
}

/// The name that was given; images of machines leave it to the host.
fn name(role: Role, given: Option<String>) -> Result<String, Report> {
    match (given, role) {
        (Some(name), _) => Ok(name),
        (None, Role::Agent) => Err(Report::new(error_code::USAGE, "an agent needs its `--name`")),
        (None, Role::Runner) => {
            let read = std::fs::read_to_string("/proc/sys/kernel/hostname");
            let unknown = |error| Report::because(error_code::USAGE, "the host's name can't be read", &error);
            Ok(read.map_err(unknown)?.trim().to_ascii_lowercase())
        }
    }
}

/// A setting of the other role is a mistake, not something to ignore.
pub(crate) fn fits(role: Role, settings: &Settings) -> Result<(), Report> {
    let wrong = match role {
        Role::Agent if settings.zone.is_some() => Some("`--zone` belongs to a runner: an agent is no host"),
        Role::Agent => settings.address.map(|_| "`--address` belongs to a runner: an agent has no services"),
        Role::Runner => settings.listen.map(|_| "`--listen` belongs to an agent: a runner only dials"),
    };
    wrong.map_or(Ok(()), |why| Err(Report::new(error_code::USAGE, why)))
}

pub(crate) fn identity(role: Role, name: &str) -> Result<Identity, Report> {
    let bad = |error: trimaran_model::id::InvalidName| Report::new(error_code::USAGE, error.to_string());
    Ok(match role {
        Role::Agent => Identity::Agent(name.parse().map_err(bad)?),
        Role::Runner => Identity::Runner(name.parse().map_err(bad)?),
    })
}

/// The token's text; never shown.
fn read_token(file: &Path) -> Result<String, Report> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(TOKEN_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(TOKEN_BYTES_MAX).read_to_string(&mut text))
    };
    match read {
        Ok(_) => Ok(text),
        Err(error) => Err(Report::because(error_code::TOKEN_UNKNOWN, "the token can't be read", &error)),
    }
}
