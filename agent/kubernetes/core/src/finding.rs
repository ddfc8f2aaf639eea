//! What is wrong with an object of a set: where, under which code, and what to do.
//!
//! Places are the index of the object in the set and a JSON pointer into it; who knows the file turns them into
//! line and column.

use trimaran_model::error_code::ErrorCode;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// An API server refuses the object, or the object can't work.
    Error,
    /// It may be meant, but has surprised people.
    Warning,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Index of the object in the set.
    pub object: usize,
    /// JSON pointer (RFC 6901) into the object. What it names may be missing.
    pub pointer: String,
    pub code: ErrorCode,
    pub severity: Severity,
    /// One phrase without period.
    pub message: String,
    /// What to do. Empty where the code's own help says all.
    pub help: String,
}

impl Finding {
    pub fn error(
        object: usize,
        pointer: impl Into<String>,
        code: ErrorCode,
        message: impl Into<String>,
    ) -> Self {
        let (pointer, message) = (pointer.into(), message.into());
        Self { object, pointer, code, severity: Severity::Error, message, help: String::new() }
    }

    pub fn warning(
        object: usize,
        pointer: impl Into<String>,
        code: ErrorCode,
        message: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Warning, ..Self::error(object, pointer, code, message) }
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }
}

/// A key as one part of a JSON pointer (RFC 6901).
pub(crate) fn pointer_part(key: &str) -> String {
    if key.contains(['~', '/']) { key.replace('~', "~0").replace('/', "~1") } else { key.to_owned() }
}

/// Text of an object inside of a message: short, and without control characters.
pub(crate) fn shown(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(80).collect();
    if text.chars().count() > 80 { format!("{clean}…") } else { clean }
}
