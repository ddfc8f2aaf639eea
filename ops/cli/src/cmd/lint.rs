//! `trimaran lint [FILE…]`: every error of pipeline and target files at once, without a server.

use serde_json::json;
use trimaran_model::error_code;
use trimaran_spec::{Diagnostic, Severity, SourceFile};

use crate::error::CliError;
use crate::sources;
use crate::ui::{Global, OutputForm, paint, print_document, print_text, printable};

/// Find every error in pipeline and target files; asks no server.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trimaran lint\n  trimaran lint trimaran.yaml targets.yaml -o json")]
pub(crate) struct Args {
    /// Files to read; `trimaran.yaml` when left out. Targets are checked when their documents are among them.
    #[arg(value_name = "FILE")]
    files: Vec<String>,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<u8, CliError> {
    let names = if args.files.is_empty() { vec!["trimaran.yaml".to_owned()] } else { args.files.clone() };
    let files = names.iter().map(|name| sources::read(name)).collect::<Result<Vec<_>, _>>()?;
    let inputs: Vec<_> =
        files.iter().map(|file| SourceFile { name: &file.name, bytes: &file.text }).collect();
    let compiled = trimaran_spec::compile(&inputs);
    match global.output {
        OutputForm::Table => {
            let text = render(&inputs, &compiled.diagnostics);
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
    error.rendered = Some(render(files, diagnostics));
    error
}

/// Each finding with its line and a mark below it, then a count.
fn render(files: &[SourceFile<'_>], diagnostics: &[Diagnostic]) -> String {
    let mut lines = Vec::new();
    for it in diagnostics {
        let severity = it.severity.as_str();
        let colour = if it.severity == Severity::Error { "failed" } else { "warned" };
        lines.push(format!(
            "{}: {}",
            paint(colour, format!("{severity}[{}]", it.code)),
            printable(&it.message)
        ));
        lines.push(format!("  --> {}:{}:{}", printable(&it.file), it.line, it.column));
        if let Some(text) = line_of(files, it) {
            let number = it.line.to_string();
            let gap = " ".repeat(number.len());
            let before: String = text
                .chars()
                .take(it.column as usize - 1)
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            let left = text.chars().count().saturating_sub(it.column as usize - 1).max(1);
            lines.push(format!("{number} | {text}"));
            lines.push(format!("{gap} | {before}{}", "^".repeat((it.length as usize).min(left))));
        }
        lines.push(format!("  help: {}", printable(&it.help)));
    }
    if diagnostics.is_empty() {
        return String::new();
    }
    let count = |severity| diagnostics.iter().filter(|it| it.severity == severity).count();
    let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    lines.push(format!(
        "{}, {}",
        plural(count(Severity::Error), "error"),
        plural(count(Severity::Warning), "warning")
    ));
    lines.join("\n")
}

/// The line of a finding, shortened, without characters that would move the cursor.
fn line_of(files: &[SourceFile<'_>], it: &Diagnostic) -> Option<String> {
    let file = files.iter().find(|file| file.name == it.file)?;
    let line = file.bytes.split(|byte| *byte == b'\n').nth(it.line as usize - 1)?;
    let text: String = String::from_utf8_lossy(line).chars().take(200).collect();
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text).trim_end_matches('\r').to_owned();
    Some(text.chars().map(|c| if c.is_control() && c != '\t' { '?' } else { c }).collect())
}
