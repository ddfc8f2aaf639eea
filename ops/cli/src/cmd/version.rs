//! `trimaran version`.

use serde_json::json;

use crate::error::CliError;
use crate::ui::{Global, OutputForm, print_document, print_text};

/// Print the version.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trimaran version\n  trimaran version -o json")]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args, global: &Global) -> Result<u8, CliError> {
    let version = env!("CARGO_PKG_VERSION");
    match global.output {
        OutputForm::Table => print_text(&format!("trimaran {version}")),
        form => print_document(form, &json!({"schema": "trimaran.version/v1", "version": version})),
    }
    Ok(0)
}
