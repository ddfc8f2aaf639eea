//! `trimaran dev`: a whole cluster on one machine, every part its own process with its own directory.
//!
//! The first start of a data directory makes identities and ports and writes them to `dev.json`; later starts
//! use them again. `dev` enrolls every part before it starts it, so that each argv can be run by hand and
//! holds no token. It follows the `pid` files and never restarts a child: parts that a human ends stay ended
//! until a human starts them. A second `dev` on the directory of a live one is refused.

mod layout;
mod lock;
mod processes;
mod setup;

use std::path::PathBuf;
use std::time::Duration;

use trimaran_model::error_code;
use trimaran_process::Termination;

use crate::error::CliError;
use crate::remote::runtime;
use crate::ui::Ui;
use layout::Layout;
use processes::Processes;

/// Run a whole cluster here: coordinator, agent and hosts as processes of their own.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trimaran dev\n  trimaran dev --hosts 6 --data-dir /tmp/lab")]
pub(crate) struct Args {
    /// Coordinators; this version runs one.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=1))]
    coordinators: u8,
    /// Hosts, each a runner; the first third is staging, the others prod.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=250))]
    hosts: u8,
    /// Where everything is kept; a temporary directory when left out.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Addresses of the hosts: host N has 127.0.K.N.
    #[arg(long, default_value = "127.0.1", value_name = "127.0.K")]
    subnet: String,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let data = match &args.data_dir {
        Some(dir) => std::path::absolute(dir).map_err(|error| io_error("the data directory", &error))?,
        None => std::env::temp_dir().join(format!("trimaran-dev-{}", std::process::id())),
    };
    let _lock = lock::take(&data)?;
    let layout = Layout::open(&data, args.coordinators, args.hosts, &args.subnet)?;
    let mut processes = Processes::new(&layout);
    let runtime = runtime();
    // Before anything is started: what is begun is ended in order.
    let mut interrupts = runtime.block_on(async { Termination::new() });
    let outcome = runtime.block_on(async {
        tokio::select! {
            result = setup::start(&layout, &mut processes) => result.map(|()| true),
            () = interrupts.next() => Ok(false),
        }
    });
    match outcome {
        Ok(true) => {}
        Ok(false) => {
            processes.end_all();
            return Ok(130);
        }
        Err(error) => {
            processes.end_all();
            return Err(error);
        }
    }
    print_ready(&layout, ui);
    runtime.block_on(async {
        let mut follow = tokio::time::interval(Duration::from_millis(500));
        loop {
            tokio::select! {
                _ = follow.tick() => processes.follow(),
                () = interrupts.next() => return,
            }
        }
    });
    ui.note("stopping everything");
    processes.end_all();
    Ok(0)
}

fn print_ready(layout: &Layout, ui: &Ui) {
    ui.note(&format!("data in {}", layout.data.display()));
    ui.note(&format!("context `dev`: coordinator {}", layout.coordinators[0].address));
    ui.note("try: trimaran status, trimaran init, trimaran deploy -f trimaran.yaml --artifact bundle=v1");
    ui.print("ready");
}

fn io_error(what: &str, error: &std::io::Error) -> CliError {
    CliError::new(error_code::DATA_DIR, format!("{what} can't be used")).cause(error.to_string())
}
