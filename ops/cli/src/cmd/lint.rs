//! `trimaran lint [FILE…]`: every error of pipeline files, target files and manifests at once, without a server.

use serde_json::json;
use trimaran_kubernetes_core::lint;
use trimaran_model::error_code;
use trimaran_model::limits::FINDINGS_SHOWN_MAX;
use trimaran_spec::{Diagnostic, Severity, SourceFile};

use crate::error::CliError;
use crate::manifest_lint;
use crate::ui::{Global, OutputForm, paint, print_document, print_text, printable};

/// Find every error in pipeline files, target files and Kubernetes manifests; asks no server.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran lint\n  trimaran lint trimaran.yaml targets.yaml -o json\n  trimaran lint deploy/k8s"
)]
pub(crate) struct Args {
    /// Files to read, `trimaran.yaml` when left out; folders are searched for *.yaml, *.yml and *.json. Targets
    /// are checked when their documents are among them. The manifests of a pipeline are checked with it.
    #[arg(value_name = "FILE")]
    files: Vec<String>,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<u8, CliError> {
    let names = if args.files.is_empty() { vec!["trimaran.yaml".to_owned()] } else { args.files.clone() };
    let inputs = manifest_lint::inputs(&names)?;
    let language: Vec<_> =
        inputs.language.iter().map(|file| SourceFile { name: &file.name, bytes: &file.bytes }).collect();
    let compiled = trimaran_spec::compile(&language);
    let (mut diagnostics, mut set) = manifest_lint::check_pipelines(&compiled)?;
    let (found, more) = manifest_lint::check(inputs.manifests, lint::Options::default());
    set.extend(more);
    diagnostics.extend(found);
    diagnostics.extend_from_slice(&compiled.diagnostics);
    diagnostics.sort_by(|a, b| (&a.file, a.line, a.column, a.code).cmp(&(&b.file, b.line, b.column, b.code)));
    diagnostics.dedup();
    match global.output {
        OutputForm::Table => {
            let mut files = language.clone();
            files.extend(manifest_lint::sources(&set));
            print_text(&text(&names, &files, &diagnostics));
        }
        form => print_document(form, &document(&diagnostics)),
    }
    let errors = diagnostics.iter().any(|it| it.severity == Severity::Error);
    Ok(if errors { 11 } else { 0 })
}

fn text(names: &[String], files: &[SourceFile<'_>], diagnostics: &[Diagnostic]) -> String {
    if diagnostics.is_empty() {
        return format!("{}: no errors, no warnings", names.join(", "));
    }
    let shown = &diagnostics[..diagnostics.len().min(FINDINGS_SHOWN_MAX)];
    let mut text = render(files, shown);
    if shown.len() < diagnostics.len() {
        let left = diagnostics.len() - shown.len();
        text.push_str(&format!(" and {left} more findings; `-o json` has all of them"));
    }
    text
}

fn document(diagnostics: &[Diagnostic]) -> serde_json::Value {
    json!({"schema": "trimaran.lint/v1", "diagnostics": diagnostics.iter().map(diagnostic).collect::<Vec<_>>()})
}

/// One finding in a document.
pub(super) fn diagnostic(it: &Diagnostic) -> serde_json::Value {
    json!({
        "code": it.code.to_string(), "severity": it.severity.as_str(), "message": it.message, "file": it.file,
        "line": it.line, "column": it.column, "length": it.length, "help": it.help,
    })
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
