//! `trimaran-agent host …`: one machine by hand, without any server.
//!
//! `status`, `logs` and `restart` also beside a running runner; the others are refused there. Progress goes to stderr, the result to stdout.

mod apply;
pub(crate) mod local_socket;
mod logs;
mod order;
mod output;
mod problem;
mod restart;
mod rollback;
mod service;
mod status;
mod stop_all;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;

use trimaran_host::{HostIdentity, HostSettings};
use trimaran_model::error_code;
use trimaran_model::id::HostName;

use output::OutputForm;
use problem::Problem;

/// Work on this machine by hand, without any server.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran-agent host apply web.yaml --data-dir /var/lib/trimaran\n  trimaran-agent host rollback web --data-dir /var/lib/trimaran\n  trimaran-agent host status --data-dir /var/lib/trimaran -o json"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Apply(apply::Args),
    Rollback(rollback::Args),
    Logs(logs::Args),
    Restart(restart::Args),
    /// Show what is deployed here, whether it runs and whether its probe succeeds.
    #[command(
        after_help = "Examples:\n  trimaran-agent host status --data-dir /var/lib/trimaran\n  trimaran-agent host status --data-dir /var/lib/trimaran -o json"
    )]
    Status(HostOptions),
    /// End every service of the directory; they run again when its runner starts.
    #[command(after_help = "Examples:\n  trimaran-agent host stop-all --data-dir /var/lib/trimaran")]
    StopAll(HostOptions),
}

/// What all commands take.
#[derive(Debug, clap::Args)]
struct HostOptions {
    /// The host's data directory.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The host's own address, where its service is probed; default: as the directory knows it, or 127.0.0.1.
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// The host's name; default: as the directory knows it, or the machine's.
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    name: Option<HostName>,
    /// Directory with the secrets that services name: one file each.
    #[arg(long, value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// Form of the result.
    #[arg(short, long, value_enum, default_value_t = OutputForm::Table)]
    output: OutputForm,
}

fn parse_name(text: &str) -> Result<HostName, String> {
    text.parse().map_err(|error: trimaran_model::id::InvalidName| error.to_string())
}

impl HostOptions {
    fn settings(&self) -> Result<HostSettings, Problem> {
        let directory = |error: std::io::Error| {
            Problem::new(error_code::DATA_DIR, "the data directory can't be used").cause(error)
        };
        let data_dir = std::path::absolute(&self.data_dir).map_err(directory)?;
        let identity = HostIdentity::load(&data_dir);
        let address = self.address.or(identity.as_ref().map(|identity| identity.address));
        let name = self.name.clone().or(identity.map(|identity| identity.name)).unwrap_or_else(machine_name);
        Ok(HostSettings {
            data_dir,
            name,
            address: address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            secrets: self.secrets.clone(),
            binary: PathBuf::from(trimaran_host::shim::OWN_BINARY),
        })
    }
}

/// The machine's name as far as it is a name of ours.
fn machine_name() -> HostName {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let fallback = || HostName::new("localhost").expect("the rule of names allows this");
    HostName::new(name.trim().to_lowercase()).unwrap_or_else(|_| fallback())
}

pub(crate) fn run(args: &Args) -> ExitCode {
    // What was found damaged and repaired is said beside the result.
    trimaran_process::warnings_to_stderr();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return Problem::new(error_code::BUG, "no runtime could be made")
                .cause(error)
                .print(OutputForm::Table);
        }
    };
    let (result, form) = runtime.block_on(async {
        match &args.command {
            Command::Apply(args) => (apply::run(args).await, args.options.output),
            Command::Rollback(args) => (rollback::run(args).await, args.options.output),
            Command::Logs(args) => (logs::run(args).await, args.options.output),
            Command::Restart(args) => (restart::run(args).await, args.options.output),
            Command::Status(options) => (status::run(options).await, options.output),
            Command::StopAll(options) => (stop_all::run(options).await, options.output),
        }
    });
    match result {
        Ok(code) => ExitCode::from(code),
        Err(problem) => problem.print(form),
    }
}
