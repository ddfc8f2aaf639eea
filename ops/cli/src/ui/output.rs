//! The output forms: tables for people, documents for programs.

use std::io::{self, Write as _};

use serde_json::Value;

use super::yaml::yaml;

/// `-o`: tables and trees for people, the others for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OutputForm {
    Table,
    Json,
    /// One JSON value a line.
    Jsonl,
    Yaml,
}

/// Writes a document in one of the forms for programs; `Table` is the caller's own work.
pub(crate) fn print_document(form: OutputForm, document: &Value) {
    let text = match form {
        OutputForm::Table | OutputForm::Json => {
            serde_json::to_string_pretty(document).expect("a JSON value prints")
        }
        OutputForm::Jsonl => document.to_string(),
        OutputForm::Yaml => yaml(document),
    };
    print_text(&text);
}

/// Writes text and a line end to stdout. A reader that went away ends the process quietly, as `cat` does.
pub(crate) fn print_text(text: &str) {
    let mut out = io::stdout().lock();
    let written = out
        .write_all(text.as_bytes())
        .and_then(|()| if text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") });
    if let Err(error) = written.and_then(|()| out.flush()) {
        if error.kind() == io::ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        // Whoever closed stderr too does not want to know.
        let _ = writeln!(io::stderr(), "error: stdout can't be written: {error}");
        std::process::exit(1);
    }
}
