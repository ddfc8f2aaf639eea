//! What a failed command says: code, what, why and what to do.

use std::process::ExitCode;

use serde_json::json;
use trimaran_host::{GoalRefused, OpenError};
use trimaran_model::error_code::{self, ErrorCode};
use trimaran_model::text::with_sources;

use super::output::OutputForm;

/// An error for the user. Without cause and help those of the catalogue are shown.
#[derive(Debug)]
pub(super) struct Problem(Box<Details>);

#[derive(Debug)]
struct Details {
    code: ErrorCode,
    message: String,
    cause: Option<String>,
    help: Option<String>,
    /// Line and column of a file, from 1.
    position: Option<(String, u32, u32)>,
    /// Further findings, one a line, printed before the error.
    findings: Vec<String>,
}

impl Problem {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let message = message.into();
        let findings = Vec::new();
        Self(Box::new(Details { code, message, cause: None, help: None, position: None, findings }))
    }

    pub(super) fn cause(mut self, cause: impl std::fmt::Display) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    pub(super) fn at(mut self, file: &str, line: u32, column: u32) -> Self {
        self.0.position = Some((file.to_owned(), line, column));
        self
    }

    pub(super) fn findings(mut self, findings: Vec<String>) -> Self {
        self.0.findings = findings;
        self
    }

    pub(super) fn print(&self, form: OutputForm) -> ExitCode {
        let it = &self.0;
        let entry = it.code.entry();
        let cause = it.cause.clone().or(entry.map(|entry| entry.cause.to_owned())).unwrap_or_default();
        let help = it.help.clone().or(entry.map(|entry| entry.help.to_owned())).unwrap_or_default();
        match form {
            OutputForm::Json => {
                let position = it
                    .position
                    .as_ref()
                    .map(|(file, line, column)| json!({"file": file, "line": line, "column": column}));
                let error = json!({"code": it.code.to_string(), "message": it.message, "cause": cause,
                                   "help": help, "position": position});
                eprintln!("{}", json!({"schema": "trimaran.error/v1", "error": error}));
            }
            OutputForm::Table if !it.findings.is_empty() => eprintln!("{}", it.findings.join("\n")),
            OutputForm::Table => {
                eprintln!("error[{}]: {}", it.code, it.message);
                for (name, text) in [("why", cause), ("help", help)] {
                    if !text.is_empty() {
                        eprintln!("  {name}: {text}");
                    }
                }
            }
        }
        ExitCode::from(it.code.exit() as u8)
    }
}

impl From<OpenError> for Problem {
    fn from(error: OpenError) -> Self {
        let problem =
            Self::new(error_code::DATA_DIR, "the data directory can't be used").cause(with_sources(&error));
        match error {
            OpenError::Lock(trimaran_host::lock::LockError::Held { .. }) => problem
                .help("end that process first; a runner continues with what it finds when it starts again"),
            _ => problem,
        }
    }
}

impl From<GoalRefused> for Problem {
    fn from(error: GoalRefused) -> Self {
        Self::new(error_code::DATA_DIR, "the order was not taken").cause(with_sources(&error))
    }
}
