//! The commands: one file each, listed here.

mod explain;
mod version;

use crate::error::CliError;
use crate::ui::Global;

/// Shown below `trimaran --help`.
pub(crate) const EXAMPLES: &str = "\
Examples:
  trimaran explain TR1001          what an error code means
  trimaran explain crash_loop      what a reason means";

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Explain(explain::Args),
    Version(version::Args),
}

/// Runs one command and returns the exit code of the process.
pub(crate) fn run(command: Command, global: &Global) -> Result<u8, CliError> {
    match command {
        Command::Explain(args) => explain::run(&args, global),
        Command::Version(args) => version::run(&args, global),
    }
}
