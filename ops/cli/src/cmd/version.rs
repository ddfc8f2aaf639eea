//! `trimaran version`.

use serde_json::json;

use crate::error::CliError;
use crate::ui::{OutputForm, Ui};

/// Print the version.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trimaran version\n  trimaran version -o json")]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let version = env!("CARGO_PKG_VERSION");
    match ui.form() {
        OutputForm::Table => ui.print(&format!("trimaran {version}")),
        _ => ui.document(&json!({"schema": "trimaran.version/v1", "version": version})),
    }
    Ok(0)
}
