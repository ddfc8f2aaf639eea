//! Why the process ends, as people read it: code, what, why and what to do.

use std::error::Error;
use std::process::ExitCode;

use trimaran_model::error_code::ErrorCode;

/// An end with a code of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    pub(crate) cause: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), cause: None }
    }

    /// With an error and its sources as the cause.
    pub(crate) fn because(code: ErrorCode, message: impl Into<String>, error: &dyn Error) -> Self {
        Self { code, message: message.into(), cause: Some(words(error)) }
    }

    /// Tells it on stderr; the exit code is that of its error code.
    pub(crate) fn print(&self) -> ExitCode {
        let entry = self.code.entry();
        eprintln!("error[{}]: {}", self.code, self.message);
        let cause = self.cause.clone().or(entry.map(|entry| entry.cause.to_owned()));
        for (name, words) in [("why", cause), ("help", entry.map(|entry| entry.help.to_owned()))] {
            if let Some(words) = words {
                eprintln!("  {name}: {words}");
            }
        }
        ExitCode::from(self.code.exit() as u8)
    }
}

/// An error with its sources on one line.
pub(crate) fn words(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    text
}
