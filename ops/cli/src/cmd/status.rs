//! `trimaran status` and `trimaran installation list|show`: what runs where.

use serde_json::Value;
use trimaran_model::error_code;
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
#[command(
    after_help = "Examples:\n  trimaran installation list web -o json\n  trimaran installation show web/lab-prod"
)]
pub(crate) struct InstallationArgs {
    #[command(subcommand)]
    verb: InstallationVerb,
}

#[derive(Debug, clap::Subcommand)]
enum InstallationVerb {
    /// List them: the same as `trimaran status`.
    List(Args),
    /// Show one installation.
    #[command(after_help = "Examples:\n  trimaran installation show web/lab-prod -o json")]
    Show {
        /// The pipeline and the target.
        #[arg(value_name = "PIPELINE/TARGET")]
        name: String,
    },
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<u8, CliError> {
    let remote = Remote::new(global)?;
    remote
        .read::<StatusDocument>(OperatorBody::Status { pipeline: args.pipeline.clone() })?
        .print(global, table);
    Ok(0)
}

pub(crate) fn installation(args: &InstallationArgs, global: &Global) -> Result<u8, CliError> {
    match &args.verb {
        InstallationVerb::List(args) => run(args, global),
        InstallationVerb::Show { name } => show(name, global),
    }
}

/// The document of the list with this one alone.
fn show(name: &str, global: &Global) -> Result<u8, CliError> {
    let Some((pipeline, target)) = name.split_once('/') else {
        let message = format!("`{name}` is no installation");
        let form = "an installation is written PIPELINE/TARGET, as in `trimaran installation list`";
        return Err(CliError::new(error_code::USAGE, message).cause(form));
    };
    let body = OperatorBody::Status { pipeline: Some(pipeline.to_owned()) };
    let mut answer = Remote::new(global)?.read::<StatusDocument>(body)?;
    answer.document.installations.retain(|it| it.target == target);
    if let Some(all) = answer.json.get_mut("installations").and_then(Value::as_array_mut) {
        all.retain(|it| it["target"] == target);
    }
    if answer.document.installations.is_empty() {
        let message = format!("`{pipeline}` was never deployed to `{target}`");
        return Err(CliError::new(error_code::NOT_FOUND, message));
    }
    answer.print(global, table);
    Ok(0)
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
