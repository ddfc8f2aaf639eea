//! `trimaran completion SHELL`.

use clap::CommandFactory as _;

use crate::error::CliError;
use crate::ui::Ui;

/// Print a completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran completion bash > /etc/bash_completion.d/trimaran\n  trimaran completion zsh > ~/.zfunc/_trimaran\n  source <(trimaran completion bash)"
)]
pub(crate) struct Args {
    /// The shell that is to read it.
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::App::command(), "trimaran", &mut script);
    ui.print(&String::from_utf8_lossy(&script));
    Ok(0)
}
