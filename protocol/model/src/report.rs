//! An error as users get it, from any of the programs: code, what, where, why, what to do, and every finding
//! behind it. One shape, and one rendering as plain text.
//!
//! Not here: who prints it, colours, lines of files, and forms for programs.

use std::error::Error;
use std::fmt;

use crate::error_code::{ErrorCode, Exit};
use crate::text::with_sources;

/// A place in a file. Line and column start at 1; columns count characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub file: String,
    pub line: u32,
    pub column: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing that is wrong in a file. Line and column start at 1; columns and length count characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub code: ErrorCode,
    pub severity: Severity,
    pub message: String,
    pub file: String,
    pub line: u32,
    pub column: u32,
    pub length: u32,
    /// What to do; never empty.
    pub help: String,
}

/// An error with a code of the catalogue. Displayed as text for people, without a newline at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub code: ErrorCode,
    /// What failed, with the names of this case; no period at its end.
    pub message: String,
    /// Without one the catalogue's is shown.
    pub cause: Option<String>,
    /// Without one the catalogue's is shown.
    pub help: Option<String>,
    /// Boxed, since errors are returned by value.
    pub position: Option<Box<Position>>,
    /// Everything that is wrong in the files of a request; the report itself is about the first.
    pub findings: Vec<Finding>,
}

impl Report {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), cause: None, help: None, position: None, findings: Vec::new() }
    }

    /// With an error and its sources as the cause.
    pub fn because(code: ErrorCode, message: impl Into<String>, error: &dyn Error) -> Self {
        Self { cause: Some(with_sources(error)), ..Self::new(code, message) }
    }

    /// The exit code of a process that ends with it.
    pub fn exit(&self) -> Exit {
        self.code.exit()
    }

    /// Why, for people: of this case, else of the catalogue; empty when neither has one.
    pub fn cause_text(&self) -> &str {
        let of_catalogue = || self.code.entry().map(|entry| entry.cause);
        self.cause.as_deref().or_else(of_catalogue).unwrap_or_default()
    }

    /// What to do, for people: of this case, else of the catalogue; empty when neither has one.
    pub fn help_text(&self) -> &str {
        let of_catalogue = || self.code.entry().map(|entry| entry.help);
        self.help.as_deref().or_else(of_catalogue).unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "error[{}]: {}", self.code, self.message)?;
        if let Some(Position { file, line, column }) = self.position.as_deref() {
            write!(out, "\n  --> {file}:{line}:{column}")?;
        }
        for (name, text) in [("why", self.cause_text()), ("help", self.help_text())] {
            if !text.is_empty() {
                write!(out, "\n  {name}: {text}")?;
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
    fn a_report_says_what_where_why_and_what_to_do() {
        let report = Report::new(error_code::DATA_DIR, "/srv belongs to `agent/lab`");
        let text = report.to_string();
        assert!(text.starts_with("error[TR4201]: /srv belongs to `agent/lab`\n  why: "), "{text}");
        assert!(text.contains("\n  help: "), "{text}");
        assert_eq!(report.exit(), Exit::Refused);
        let own = Report {
            cause: Some("it is locked".to_owned()),
            help: Some("end the other process".to_owned()),
            position: Some(Box::new(Position { file: "a.yaml".to_owned(), line: 3, column: 7 })),
            ..report
        };
        let lines: Vec<String> = own.to_string().lines().skip(1).map(str::to_owned).collect();
        assert_eq!(lines, ["  --> a.yaml:3:7", "  why: it is locked", "  help: end the other process"]);
    }
}
