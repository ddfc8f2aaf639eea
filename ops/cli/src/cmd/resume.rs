//! `trimaran resume RUN[/STAGE]`: the continuation of a paused stage.

use trimaran_wire::v1::operator::OperatorBody;

use crate::arguments::{RequestIdArg, split_stage};
use crate::decision::decide;
use crate::error::CliError;
use crate::ui::Ui;

/// Continue a paused stage in the same attempt, from what runs now.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trimaran resume web#12\n  trimaran resume web#12/prod/lab-prod")]
pub(crate) struct Args {
    /// PIPELINE#N, or PIPELINE#N/ENV/TARGET for one stage
    #[arg(value_name = "RUN[/STAGE]")]
    run: String,
    #[command(flatten)]
    request: RequestIdArg,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let (run, stage) = split_stage(&args.run);
    decide(&args.request, OperatorBody::Resume { run, stage }, ui)
}
