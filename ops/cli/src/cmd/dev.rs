//! `trimaran dev`: a whole cluster on one machine, every part its own process with its own directory.
//!
//! The first start of a data directory makes identities and ports and writes them to `dev.json`; later starts
//! use them again. `dev` enrolls every part before it starts it, so that each argv can be run by hand and
//! holds no token. It follows the `pid` files and never restarts a child: parts that a human ends stay ended
//! until a human starts them. A second `dev` on the directory of a live one is refused.

mod io_error;
mod join;
mod layout;
mod lock;
mod processes;
mod register;
mod setup;

use std::path::PathBuf;
use std::time::Duration;

use trimaran_process::Termination;

use crate::error::CliError;
use crate::remote::runtime;
use crate::ui::Ui;
use io_error::io_error;
use layout::Layout;
use processes::{Change, Processes};
use setup::Started;

/// Hosts of a new cluster.
const HOSTS: u8 = 3;

/// Run a whole cluster here: coordinator, agent and hosts as processes of their own.
///
/// The cluster is registered as the context `dev`, or as the one that `--context` names; a context that is in use stays
/// in use.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran dev\n  trimaran dev --hosts 6 --data-dir /tmp/lab\n  trimaran --context lab2 dev --subnet 127.0.2"
)]
pub(crate) struct Args {
    /// Coordinators: 1, 3 or 5. Three go on without one of them.
    #[arg(long, default_value_t = 1, value_parser = odd)]
    coordinators: u8,
    /// Hosts, each a runner; the first third is staging, the others prod.
    #[arg(long, default_value_t = HOSTS, value_parser = clap::value_parser!(u8).range(1..=250))]
    hosts: u8,
    /// Where everything is kept; a temporary directory if omitted.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Addresses of the hosts: host N has 127.0.K.N.
    #[arg(long, default_value = "127.0.1", value_name = "127.0.K")]
    subnet: String,
}

/// An even number of coordinators bears no more losses than one less.
fn odd(text: &str) -> Result<u8, String> {
    match text.parse() {
        Ok(number @ (1 | 3 | 5)) => Ok(number),
        Ok(_) | Err(_) => Err("1, 3 or 5 coordinators".to_owned()),
    }
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let data = match &args.data_dir {
        Some(dir) => std::path::absolute(dir).map_err(|error| io_error("the data directory", &error))?,
        None => std::env::temp_dir().join(format!("trimaran-dev-{}", std::process::id())),
    };
    let _lock = lock::acquire(&data)?;
    let layout = Layout::open(&data, args.coordinators, args.hosts, &args.subnet)?;
    if layout.runners.len() != usize::from(args.hosts) && args.hosts != HOSTS {
        ui.note(&format!("{} has {} hosts; that stays", data.display(), layout.runners.len()));
    }
    let context = register::context_name(ui.global.context());
    let mut processes = Processes::new(&layout);
    let runtime = runtime();
    // Before anything is started: what is begun is ended in order.
    let mut interrupts = runtime.block_on(async { Termination::new() });
    let outcome = runtime.block_on(async {
        tokio::select! {
            result = setup::start(&layout, &mut processes, context) => result.map(Some),
            () = interrupts.next() => Ok(None),
        }
    });
    let started = match outcome {
        Ok(Some(started)) => started,
        Ok(None) => {
            processes.end_all();
            return Ok(130);
        }
        Err(error) => {
            processes.end_all();
            return Err(error);
        }
    };
    print_ready(&layout, &started, ui);
    runtime.block_on(async {
        let mut follow = tokio::time::interval(Duration::from_millis(500));
        loop {
            tokio::select! {
                _ = follow.tick() => {
                    for change in processes.follow() {
                        ui.note(&change_line(&change, &layout));
                    }
                }
                () = interrupts.next() => return,
            }
        }
    });
    ui.note("stopping everything");
    processes.end_all();
    Ok(0)
}

fn print_ready(layout: &Layout, started: &Started, ui: &Ui) {
    ui.note(&format!("data in {}; each part's directory has its `log`", layout.data.display()));
    if !started.taken_over.is_empty() {
        ui.note(&format!("taken over, since they run already: {}", started.taken_over.join(", ")));
    }
    let name = &started.context;
    let addresses: Vec<&str> = layout.coordinators.iter().map(|part| part.address.as_str()).collect();
    let word = if addresses.len() > 1 { "coordinators" } else { "coordinator" };
    ui.note(&format!("context `{name}`: {word} {}", addresses.join(", ")));
    if let Some(data) = &started.registered.replaced {
        ui.note(&format!(
            "`{name}` was the context of the cluster in {}; give one of the two a name of its own: trimaran --context NAME dev",
            data.display()
        ));
    }
    match &started.registered.in_use {
        Some(other) => ui.note(&format!(
            "`{other}` stays the context in use; try: trimaran --context {name} status, or: trimaran context use {name}"
        )),
        None => ui.note("try: trimaran status, trimaran init, trimaran lint; Ctrl-C stops everything"),
    }
    ui.print("ready");
}

/// What became of a part, and what to do.
fn change_line(change: &Change, layout: &Layout) -> String {
    match change {
        Change::Started { name, pid } => format!("{name} runs again as process {pid}"),
        Change::Ended { name, log } => {
            let argv = layout.parts().find(|part| part.name == *name).map(|part| part.argv.join(" "));
            format!("{name} ended; see {}; to start it again: {}", log.display(), argv.unwrap_or_default())
        }
    }
}
