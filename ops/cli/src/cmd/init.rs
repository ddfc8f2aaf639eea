//! `trimaran init`: a commented file to start from, of a pipeline or of a target.

use std::io::Write as _;

use serde_json::json;
use trimaran_model::error_code;

use crate::error::CliError;
use crate::ui::{OutputForm, Ui};

const PIPELINE: &str = include_str!("../../../examples/trimaran.yaml");
const TARGET: &str = include_str!("../../../examples/target.yaml");

/// Write a commented `trimaran.yaml` to start from, or the file of a target.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran init\n  trimaran init deploy/web.yaml\n  trimaran init --target"
)]
pub(crate) struct Args {
    /// The file to write; an existing one is never overwritten.
    #[arg(
        default_value = "trimaran.yaml",
        default_value_if("target", "true", "target.yaml"),
        value_name = "FILE"
    )]
    file: String,
    /// A target of hosts instead of a pipeline.
    #[arg(long)]
    target: bool,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let example = if args.target { TARGET } else { PIPELINE };
    let made = std::fs::File::options().write(true).create_new(true).open(&args.file);
    let written = made.and_then(|mut file| file.write_all(example.as_bytes()));
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
