//! `trimaran cancel RUN`: the end of a run without restoring anything.

use trimaran_wire::v1::operator::OperatorBody;

use crate::arguments::RequestIdArg;
use crate::decision::decide;
use crate::error::CliError;
use crate::ui::Ui;

/// Cancel a run: nothing more starts, hosts in flight finish, nothing is restored.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trimaran cancel web#12")]
pub(crate) struct Args {
    /// PIPELINE#N
    run: String,
    #[command(flatten)]
    request: RequestIdArg,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    decide(&args.request, OperatorBody::Cancel { run: args.run.clone() }, ui)
}
