//! `trimaran operator enroll`: people and programs that use this CLI.

use trimaran_wire::v1::operator::EnrollOrder;

use crate::arguments::RequestIdArg;
use crate::enrollment::enroll;
use crate::error::CliError;
use crate::remote::Remote;
use crate::ui::Ui;

/// Operators: people and programs that use this CLI.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trimaran operator enroll me --role operator")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a one-time token for an operator.
    #[command(
        after_help = "Examples:\n  trimaran operator enroll me --role operator\n  trimaran operator enroll ci --role operator -o json"
    )]
    Enroll {
        /// The name of the person or program, as the audit log shows it.
        name: String,
        /// What it may do: viewer reads, operator also deploys and decides, admin does everything.
        #[arg(long, value_parser = ["viewer", "operator", "admin"])]
        role: String,
        #[command(flatten)]
        request: RequestIdArg,
    },
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let Verb::Enroll { name, role, request } = &args.verb;
    let order = EnrollOrder::Operator { name: name.clone(), role: role.clone() };
    enroll(&Remote::new(ui)?, request, order, ui)
}
