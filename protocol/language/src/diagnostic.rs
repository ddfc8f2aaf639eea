//! What is wrong, where, and what to write instead.

use trimaran_model::error_code::{self, ErrorCode};
use trimaran_model::limits::SPEC_DIAGNOSTICS_MAX;

use crate::tree::Span;

pub use trimaran_model::report::{Finding as Diagnostic, Severity};

/// Collects the findings of one file, up to a bound.
#[derive(Debug)]
pub struct Sink {
    file: String,
    found: Vec<Diagnostic>,
    /// The reading ended early, so what follows in the file is not known.
    cut: bool,
}

impl Sink {
    pub fn new(file: &str) -> Self {
        Self { file: file.to_owned(), found: Vec::new(), cut: false }
    }

    pub fn error(
        &mut self,
        code: ErrorCode,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Severity::Error, code, span, message.into(), help.into());
    }

    pub fn warning(
        &mut self,
        code: ErrorCode,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Severity::Warning, code, span, message.into(), help.into());
    }

    fn add(&mut self, severity: Severity, code: ErrorCode, span: Span, message: String, help: String) {
        if self.found.len() < SPEC_DIAGNOSTICS_MAX {
            return self.found.push(at(&self.file, severity, code, span, message, help));
        }
        if self.found.len() == SPEC_DIAGNOSTICS_MAX {
            let message =
                format!("there are more than {SPEC_DIAGNOSTICS_MAX} findings; the others are not shown");
            let help = "fix the first ones".to_owned();
            self.found.push(at(&self.file, Severity::Error, error_code::OVER_LIMIT, span, message, help));
        }
    }

    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.found
    }

    pub fn first(&self) -> Option<&Diagnostic> {
        self.found.first()
    }

    /// How many findings there are so far, to tell whether a part had any.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// How many errors there are so far.
    pub(crate) fn errors(&self) -> usize {
        self.found.iter().filter(|it| it.severity == Severity::Error).count()
    }

    /// Whether nothing more will be taken.
    pub(crate) fn is_full(&self) -> bool {
        self.found.len() > SPEC_DIAGNOSTICS_MAX
    }

    /// Notes that the rest of the file is not read.
    pub(crate) fn cut(&mut self) {
        self.cut = true;
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut
    }
}

/// A finding at a place of a file; without help the catalogue's is taken.
pub(crate) fn at(
    file: &str,
    severity: Severity,
    code: ErrorCode,
    span: Span,
    message: String,
    help: String,
) -> Diagnostic {
    let catalogue = || code.entry().map_or_else(String::new, |entry| entry.help.to_owned());
    Diagnostic {
        code,
        severity,
        message,
        file: file.to_owned(),
        line: span.line,
        column: span.column,
        length: span.length.max(1),
        help: if help.is_empty() { catalogue() } else { help },
    }
}
