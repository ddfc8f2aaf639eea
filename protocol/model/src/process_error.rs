//! Why a process ends, as people read it: code, what, why and what to do.
//!
//! Not here: who prints it, and forms for programs.

use std::error::Error;
use std::fmt;

use crate::error_code::{ErrorCode, Exit};
use crate::text::with_sources;

/// An end with a code of the catalogue. Shown as the text for people, without a newline at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessError {
    pub code: ErrorCode,
    /// What failed, with the names of this case; no period at its end.
    pub message: String,
    /// Without one the catalogue's is shown.
    pub cause: Option<String>,
}

impl ProcessError {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), cause: None }
    }

    /// With an error and its sources as the cause.
    pub fn because(code: ErrorCode, message: impl Into<String>, error: &dyn Error) -> Self {
        Self { code, message: message.into(), cause: Some(with_sources(error)) }
    }

    /// The exit code of a process that ends so.
    pub fn exit(&self) -> Exit {
        self.code.exit()
    }
}

impl fmt::Display for ProcessError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = self.code.entry();
        write!(out, "error[{}]: {}", self.code, self.message)?;
        let cause = self.cause.as_deref().or(entry.map(|entry| entry.cause));
        for (name, words) in [("why", cause), ("help", entry.map(|entry| entry.help))] {
            if let Some(words) = words.filter(|words| !words.is_empty()) {
                write!(out, "\n  {name}: {words}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error_code;

    #[test]
    fn a_failure_says_what_why_and_what_to_do() {
        let process_error = ProcessError::new(error_code::DATA_DIR, "/srv belongs to `agent/lab`");
        let text = process_error.to_string();
        assert!(text.starts_with("error[TR4201]: /srv belongs to `agent/lab`\n  why: "), "{text}");
        assert!(text.contains("\n  help: "), "{text}");
        assert_eq!(process_error.exit(), Exit::Refused);
        let cause = Some("it is locked".to_owned());
        assert!(ProcessError { cause, ..process_error }.to_string().contains("\n  why: it is locked\n"));
    }
}
