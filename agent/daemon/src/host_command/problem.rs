//! What a failed command says: code, what, why and what to do.

use std::process::ExitCode;

use serde_json::{Value, json};
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

    /// `{error}` with all that is said.
    pub(super) fn document(&self) -> Value {
        let Explanation { cause, help } = self.explanation();
        let it = &self.0;
        let position = it.position.as_ref();
        let position =
            position.map(|(file, line, column)| json!({"file": file, "line": line, "column": column}));
        json!({"error": {"code": it.code.to_string(), "message": it.message, "cause": cause, "help": help,
                         "position": position}})
    }

    /// Reads what another process wrote by [`Problem::document`]; `None` for a document without an error.
    pub(super) fn from_document(document: &Value) -> Option<Self> {
        let error = document.get("error")?;
        let text = |key: &str| error[key].as_str().unwrap_or_default();
        let code = ErrorCode::parse(text("code")).unwrap_or(error_code::BUG);
        Some(Self::new(code, text("message")).cause(text("cause")).help(text("help")))
    }

    fn explanation(&self) -> Explanation {
        let it = &self.0;
        let entry = it.code.entry();
        let cause = it.cause.clone().or(entry.map(|entry| entry.cause.to_owned()));
        let help = it.help.clone().or(entry.map(|entry| entry.help.to_owned()));
        Explanation { cause: cause.unwrap_or_default(), help: help.unwrap_or_default() }
    }

    pub(super) fn print(&self, form: OutputForm) -> ExitCode {
        let it = &self.0;
        let Explanation { cause, help } = self.explanation();
        match form {
            OutputForm::Json => {
                let mut document = self.document();
                document["schema"] = json!("trimaran.error/v1");
                eprintln!("{document}");
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

/// Why and what to do.
struct Explanation {
    cause: String,
    help: String,
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
