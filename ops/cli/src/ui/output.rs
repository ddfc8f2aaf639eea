//! The output forms, and the two streams.

use std::io::{self, Write as _};

use serde_json::Value;

use super::yaml::yaml;

/// `-o`: tables and trees for people, the others for programs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OutputForm {
    #[default]
    Table,
    Json,
    Jsonl,
    Yaml,
}

/// A document in one of the forms for programs; `Table` is the caller's own work.
pub(crate) fn document_text(form: OutputForm, document: &Value) -> String {
    match form {
        OutputForm::Table | OutputForm::Json => {
            serde_json::to_string_pretty(document).expect("a JSON value prints")
        }
        OutputForm::Jsonl => document.to_string(),
        OutputForm::Yaml => yaml(document),
    }
}

/// Writes text and a line end to stdout. A reader that went away ends the process quietly, as `cat` does.
pub(crate) fn write_stdout(text: &str) {
    let mut out = io::stdout().lock();
    let written = out
        .write_all(text.as_bytes())
        .and_then(|()| if text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") });
    if let Err(error) = written.and_then(|()| out.flush()) {
        if error.kind() == io::ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        write_stderr(&format!("error: stdout can't be written: {error}"));
        std::process::exit(1);
    }
}

/// Writes text and a line end to stderr. Whoever closed it does not want to read it.
pub(crate) fn write_stderr(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes text as it is to stderr.
pub(crate) fn write_stderr_raw(text: &str) {
    let mut err = io::stderr().lock();
    // A terminal that can't be written to shows nothing.
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}
