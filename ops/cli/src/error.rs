//! What a failed command says: code, what, where, why and what to do.

use std::process::ExitCode;

use serde_json::json;
use trimaran_model::error_code::{self, ErrorCode};

use crate::ui::OutputForm;

/// An error for the user. Without `cause` and `help` those of the catalogue are shown.
#[derive(Debug, Clone)]
pub(crate) struct CliError {
    pub(crate) code: ErrorCode,
    /// What failed, with the names of this case; no period at its end.
    pub(crate) message: String,
    pub(crate) cause: Option<String>,
    pub(crate) help: Option<String>,
    pub(crate) position: Option<Position>,
    /// Text to show people as it is instead of message and position, such as diagnostics with source lines.
    pub(crate) rendered: Option<String>,
}

/// A place in a file; line and column start at 1, columns count characters.
#[derive(Debug, Clone)]
pub(crate) struct Position {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl CliError {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), cause: None, help: None, position: None, rendered: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    pub(crate) fn at(mut self, file: impl Into<String>, line: usize, column: usize) -> Self {
        self.position = Some(Position { file: file.into(), line, column });
        self
    }

    pub(crate) fn exit(&self) -> u8 {
        self.code.exit() as u8
    }

    /// Writes the error to stderr: as a document for programs, as text for people.
    pub(crate) fn print(&self, form: OutputForm) {
        match form {
            OutputForm::Table => eprintln!("{}", self.text()),
            OutputForm::Json | OutputForm::Jsonl | OutputForm::Yaml => eprintln!("{}", self.document()),
        }
    }

    fn cause_text(&self) -> String {
        let entry = self.code.entry();
        self.cause.clone().or(entry.map(|e| e.cause.to_owned())).unwrap_or_default()
    }

    fn help_text(&self) -> String {
        let entry = self.code.entry();
        self.help.clone().or(entry.map(|e| e.help.to_owned())).unwrap_or_default()
    }

    fn document(&self) -> serde_json::Value {
        let position =
            self.position.as_ref().map(|at| json!({"file": at.file, "line": at.line, "column": at.column}));
        json!({
            "schema": "trimaran.error/v1",
            "error": {
                "code": self.code.to_string(),
                "message": self.message,
                "cause": self.cause_text(),
                "help": self.help_text(),
                "position": position,
            }
        })
    }

    fn text(&self) -> String {
        if let Some(rendered) = &self.rendered {
            return rendered.clone();
        }
        let mut text = format!("error[{}]: {}", self.code, self.message);
        if let Some(at) = &self.position {
            text.push_str(&format!("\n  --> {}:{}:{}", at.file, at.line, at.column));
        }
        for (name, words) in [("why", self.cause_text()), ("help", self.help_text())] {
            if !words.is_empty() {
                text.push_str(&format!("\n  {name}: {words}"));
            }
        }
        text
    }
}

/// What clap found wrong: help and version go to stdout with 0, everything else is a usage error with 2.
pub(crate) fn clap_exit(error: &clap::Error) -> ExitCode {
    let wants_json = std::env::args().any(|arg| matches!(arg.as_str(), "-ojson" | "--output=json"))
        || std::env::args().zip(std::env::args().skip(1)).any(|(flag, value)| {
            matches!(flag.as_str(), "-o" | "--output") && matches!(value.as_str(), "json" | "jsonl")
        });
    if error.use_stderr() && wants_json {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        CliError::new(error_code::USAGE, first).print(OutputForm::Json);
    } else if error.print().is_err() {
        return ExitCode::from(1);
    }
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}
