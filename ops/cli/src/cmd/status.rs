//! `trimaran status` and `trimaran installation list`: what runs where.

use trimaran_wire::document::StatusDocument;
use trimaran_wire::v1::operator::OperatorBody;

use crate::error::CliError;
use crate::remote::Remote;
use crate::ui::{Global, cell, paint, print_table};

/// Show what runs where, since when and how well.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trimaran status\n  trimaran status web -o json")]
pub(crate) struct Args {
    /// Only this pipeline.
    pipeline: Option<String>,
}

/// Installations: one pipeline on one target each.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trimaran installation list\n  trimaran installation list web -o json")]
pub(crate) struct InstallationArgs {
    #[command(subcommand)]
    verb: InstallationVerb,
}

#[derive(Debug, clap::Subcommand)]
enum InstallationVerb {
    /// List them: the same as `trimaran status`.
    List(Args),
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<u8, CliError> {
    let remote = Remote::new(global)?;
    remote
        .read::<StatusDocument>(OperatorBody::Status { pipeline: args.pipeline.clone() })?
        .print(global, table);
    Ok(0)
}

pub(crate) fn installation(args: &InstallationArgs, global: &Global) -> Result<u8, CliError> {
    let InstallationVerb::List(args) = &args.verb;
    run(args, global)
}

fn table(status: &StatusDocument) {
    let rows = status.installations.iter().map(|it| {
        vec![
            it.pipeline.clone(),
            it.environment.clone(),
            it.target.clone(),
            cell(it.version.as_deref()),
            cell(it.since.as_deref()),
            paint(&it.health, it.health.clone()),
            format!("{}/{}", it.ready, it.desired),
            cell(it.run.as_deref()),
        ]
    });
    print_table(&["PIPELINE", "ENV", "TARGET", "VERSION", "SINCE", "HEALTH", "READY", "RUN"], rows.collect());
}
