//! The error of a command that was handed files with errors: all of them, as `lint` shows them.

use trimaran_language::{Diagnostic, Severity, SourceFile};

use crate::error::CliError;

/// The first error with its place, and below it every finding.
pub(crate) fn lint_error(files: &[SourceFile<'_>], diagnostics: &[Diagnostic]) -> CliError {
    let first = diagnostics.iter().find(|it| it.severity == Severity::Error);
    let first = first.expect("only files with errors make an error");
    CliError::new(first.code, first.message.clone())
        .help(first.help.clone())
        .at(first.file.clone(), first.line as usize, first.column as usize)
        .found(files, diagnostics.to_vec())
}
