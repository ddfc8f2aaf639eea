//! `trimaran completion SHELL`: the script by which a shell asks this program for completions.

use clap_complete::env::Shells;
use trimaran_model::error_code;

use crate::error::CliError;
use crate::ui::Ui;

/// The variable by which a shell asks for completions.
const VARIABLE: &str = "COMPLETE";

/// Print a completion script for a shell. Names of pipelines, runs and hosts are asked of the cluster.
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
    let shell = args.shell.to_string();
    let shells = Shells::builtins();
    let completer = shells.completer(&shell).expect("each shell of the argument has a completer");
    let mut script = Vec::new();
    completer.write_registration(VARIABLE, "trimaran", "trimaran", "trimaran", &mut script).map_err(
        |error| {
            CliError::new(error_code::BUG, "the completion script can't be written").cause(error.to_string())
        },
    )?;
    ui.print(&String::from_utf8_lossy(&script));
    Ok(0)
}
