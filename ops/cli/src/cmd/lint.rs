//! `trimaran lint [FILE…]`: every error of pipeline files, target files and manifests at once, without a server.

use serde_json::json;
use trimaran_kubernetes_core::lint;
use trimaran_language::{Diagnostic, Severity, SourceFile};
use trimaran_model::limits::FINDINGS_SHOWN_MAX;

use crate::error::CliError;
use crate::job_files;
use crate::manifest_lint;
use crate::ui::{OutputForm, Ui, View, diagnostic_document, render};

const EXAMPLES: &str = "\
Examples:
  trimaran lint                                        trimaran.yaml in this directory
  trimaran lint trimaran.yaml targets.yaml             targets are checked when their documents are among the files
  trimaran lint deploy/k8s                             Kubernetes manifests of a folder
  trimaran lint -o json | jq '.diagnostics[].message'

Exits with 0 when there are no errors (there may be warnings) and with 11 otherwise.
`trimaran explain TR####` says more of a code.";

/// Find every error in pipeline files, target files and Kubernetes manifests; asks no server.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Files to read, `trimaran.yaml` when left out; folders are searched for *.yaml, *.yml and *.json. Targets
    /// are checked when their documents are among them. The manifests of a pipeline, and the files of its job, are
    /// checked with it.
    #[arg(value_name = "FILE")]
    files: Vec<String>,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let mut names = if args.files.is_empty() { vec!["trimaran.yaml".to_owned()] } else { args.files.clone() };
    // A file that is named twice is one file.
    names.sort();
    names.dedup();
    let inputs = manifest_lint::inputs(&names);
    if let ([error, ..], [], []) = (&*inputs.unreadable, &*inputs.language, &*inputs.manifests) {
        return Err(error.clone());
    }
    let language: Vec<_> =
        inputs.language.iter().map(|file| SourceFile { name: &file.name, bytes: &file.bytes }).collect();
    let compiled = trimaran_language::compile(&language);
    let (mut diagnostics, mut set) = manifest_lint::check_pipelines(&compiled);
    diagnostics.extend(job_files::check(&compiled));
    diagnostics.extend(manifest_lint::unreadable(&inputs.unreadable));
    let (found, more) = manifest_lint::check(inputs.manifests, lint::Options::default());
    set.extend(more);
    diagnostics.extend(found);
    diagnostics.extend_from_slice(&compiled.diagnostics);
    diagnostics.sort_by(|a, b| (&a.file, a.line, a.column, a.code).cmp(&(&b.file, b.line, b.column, b.code)));
    diagnostics.dedup();
    match ui.form() {
        OutputForm::Table => {
            let mut files = language.clone();
            files.extend(manifest_lint::sources(&set));
            ui.print(&text(&names, &files, &diagnostics, &ui.view()));
            // Whoever wanted a pipeline and has something else should know.
            if language.is_empty() && !set.is_empty() && diagnostics.is_empty() {
                ui.note("(read as Kubernetes manifests: no document starts with `trimaran: v1`)");
            }
        }
        _ => ui.document(&document(&diagnostics)),
    }
    let errors = diagnostics.iter().any(|it| it.severity == Severity::Error);
    Ok(if errors { 11 } else { 0 })
}

fn text(names: &[String], files: &[SourceFile<'_>], diagnostics: &[Diagnostic], view: &View) -> String {
    if diagnostics.is_empty() {
        return format!("{}: no errors, no warnings", names.join(", "));
    }
    let shown = &diagnostics[..diagnostics.len().min(FINDINGS_SHOWN_MAX)];
    let mut text = render(files, shown, view);
    if shown.len() < diagnostics.len() {
        let left = diagnostics.len() - shown.len();
        text.push_str(&format!(" and {left} more findings; `-o json` has all of them"));
    }
    text
}

fn document(diagnostics: &[Diagnostic]) -> serde_json::Value {
    json!({"schema": "trimaran.lint/v1", "diagnostics": diagnostics.iter().map(diagnostic_document).collect::<Vec<_>>()})
}
