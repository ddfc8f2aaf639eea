//! `trimaran init`: a commented pipeline file to start from.

use std::io::Write as _;

use serde_json::json;
use trimaran_model::error_code;

use crate::error::CliError;
use crate::ui::{OutputForm, Ui};

const EXAMPLE: &str = include_str!("../../../examples/trimaran.yaml");

/// Write a commented `trimaran.yaml` to start from.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trimaran init\n  trimaran init deploy/web.yaml")]
pub(crate) struct Args {
    /// The file to write; an existing one is never overwritten.
    #[arg(default_value = "trimaran.yaml", value_name = "FILE")]
    file: String,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let made = std::fs::File::options().write(true).create_new(true).open(&args.file);
    let written = made.and_then(|mut file| file.write_all(EXAMPLE.as_bytes()));
    written.map_err(|error| {
        let error_text = error.to_string();
        CliError::new(error_code::USAGE, format!("`{}` can't be written", args.file))
            .cause(error_text)
            .help("an existing file is never overwritten; name another one")
    })?;
    match ui.form() {
        OutputForm::Table => {
            ui.print(&format!("{} written; check it with `trimaran lint {0}`", args.file));
        }
        _ => ui.document(&json!({"schema": "trimaran.init/v1", "file": args.file})),
    }
    Ok(0)
}
