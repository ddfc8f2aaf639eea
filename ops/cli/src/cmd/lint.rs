//! `trimaran lint [FILE…]`: every error of pipeline and target files at once, without a server.

use serde_json::json;
use trimaran_model::error_code;
use trimaran_spec::{Diagnostic, Severity, SourceFile};

use crate::error::CliError;
use crate::sources;
use crate::ui::{Global, OutputForm, Stream, paint, paint_on, print_document, print_text, render};

const EXAMPLES: &str = "\
Examples:
  trimaran lint                                        trimaran.yaml in this directory
  trimaran lint trimaran.yaml targets.yaml             targets are checked when their documents are among the files
  trimaran lint -o json | jq '.diagnostics[].message'

Exits with 0 when there are no errors (there may be warnings) and with 11 otherwise.
`trimaran explain TR####` says more of a code.";

/// Find every error in pipeline and target files; asks no server.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Files to read; `trimaran.yaml` when left out. Targets are checked when their documents are among them.
    #[arg(value_name = "FILE")]
    files: Vec<String>,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<u8, CliError> {
    let mut names = if args.files.is_empty() { vec!["trimaran.yaml".to_owned()] } else { args.files.clone() };
    // A file that is named twice is one file.
    names.sort();
    names.dedup();
    let files = names.iter().map(|name| sources::read(name)).collect::<Result<Vec<_>, _>>()?;
    let inputs: Vec<_> =
        files.iter().map(|file| SourceFile { name: &file.name, bytes: &file.text }).collect();
    let compiled = trimaran_spec::compile(&inputs);
    match global.output {
        OutputForm::Table => {
            let text = render(&inputs, &compiled.diagnostics, &paint);
            if text.is_empty() {
                print_text(&format!("{}: no errors, no warnings", names.join(", ")));
            } else {
                print_text(&text);
            }
        }
        form => print_document(form, &document(&compiled.diagnostics)),
    }
    Ok(if compiled.has_errors() { 11 } else { 0 })
}

fn document(diagnostics: &[Diagnostic]) -> serde_json::Value {
    let one = |it: &Diagnostic| {
        json!({
            "code": it.code.to_string(), "severity": it.severity.as_str(), "message": it.message, "file": it.file,
            "line": it.line, "column": it.column, "length": it.length, "help": it.help,
        })
    };
    json!({"schema": "trimaran.lint/v1", "diagnostics": diagnostics.iter().map(one).collect::<Vec<_>>()})
}

/// The error of another command that was given files with errors: all of them, as `lint` shows them.
pub(crate) fn lint_error(files: &[SourceFile<'_>], diagnostics: &[Diagnostic]) -> CliError {
    let first = diagnostics.iter().find(|it| it.severity == Severity::Error);
    let Some(first) = first else { return CliError::new(error_code::BUG, "no error was found after all") };
    let mut error = CliError::new(first.code, first.message.clone()).help(first.help.clone()).at(
        first.file.clone(),
        first.line as usize,
        first.column as usize,
    );
    let mark = |status: &str, text| paint_on(Stream::Err, status, text);
    error.rendered = Some(render(files, diagnostics, &mark));
    error
}
