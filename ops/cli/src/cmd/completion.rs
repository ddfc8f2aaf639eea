//! `trimaran completion SHELL`.

use clap::CommandFactory as _;

use crate::error::CliError;

/// Print a completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trimaran completion bash > /etc/bash_completion.d/trimaran")]
pub(crate) struct Args {
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: &Args) -> Result<u8, CliError> {
    clap_complete::generate(args.shell, &mut crate::App::command(), "trimaran", &mut std::io::stdout());
    Ok(0)
}
