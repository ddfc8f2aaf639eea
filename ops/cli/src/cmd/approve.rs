//! `trimaran approve RUN[/STAGE]`: the answer to an approval.

use trimaran_wire::v1::operator::OperatorBody;

use crate::arguments::{RequestIdArg, parse_digest, split_stage};
use crate::decision::decide;
use crate::error::CliError;
use crate::ui::Ui;

/// Choose an option of a waiting approval.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran approve web#12\n  trimaran approve web#12 --option roll_back --comment \"too slow\""
)]
pub(crate) struct Args {
    /// PIPELINE#N, or PIPELINE#N/ENV/approve when several wait
    #[arg(value_name = "RUN[/STAGE]")]
    run: String,
    /// The option to choose; the first one if omitted.
    #[arg(long, value_name = "NAME")]
    option: Option<String>,
    /// Fail unless the run's plan has this digest (the one you reviewed).
    #[arg(long, value_name = "PLAN")]
    digest: Option<String>,
    /// Kept in the audit log.
    #[arg(long, default_value = "")]
    comment: String,
    #[command(flatten)]
    request: RequestIdArg,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let (run, stage) = split_stage(&args.run);
    let digest = args.digest.as_deref().map(parse_digest).transpose()?;
    let (option, comment) = (args.option.clone(), args.comment.clone());
    decide(&args.request, OperatorBody::Approve { run, stage, option, digest, comment }, ui)
}
