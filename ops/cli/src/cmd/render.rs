//! `trimaran render PATH…`: manifests with ConfigMaps and Secrets named by content, without a server.

use serde_json::{Value, json};
use trimaran_kubernetes_core::config::{self, References};
use trimaran_kubernetes_core::finding::{Finding, Severity};
use trimaran_kubernetes_core::lint;
use trimaran_model::limits::FINDINGS_SHOWN_MAX;
use trimaran_spec::Diagnostic;

use crate::error::CliError;
use crate::manifest_lint;
use crate::manifests::{self, Manifest};
use crate::ui::{Global, OutputForm, print_document, print_text, printable, yaml_documents};

/// Name ConfigMaps and Secrets by their content and rewrite every reference; asks no server.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran render deploy/k8s | kubectl apply -n shop -f -\n  trimaran render deploy/k8s --namespace shop -o json\n\nThe suffixes of Secrets come from an unkeyed hash here and differ from those of a deploy."
)]
pub(crate) struct Args {
    /// Files or folders of YAML or JSON; `-` is stdin.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<String>,
    /// Where objects without a namespace go.
    #[arg(long, value_name = "NS")]
    namespace: Option<String>,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<u8, CliError> {
    let mut set = manifests::load(&args.paths)?;
    let objects: Vec<Value> = set.iter_mut().map(|it| it.value.take()).collect();
    let namespace = args.namespace.as_deref();
    refuse(&set, &lint::lint(&objects, lint::Options { namespace, targets: &[] }))?;
    let references = References::builtin();
    let rendered = config::render(objects, config::Options { namespace, references });
    refuse(&set, &rendered.findings)?;
    let warnings = manifest_lint::diagnostics(&set, &rendered.findings);
    for it in &warnings {
        eprintln!(
            "warning[{}]: {}\n  --> {}:{}:{}\n  help: {}",
            it.code,
            printable(&it.message),
            printable(&it.file),
            it.line,
            it.column,
            printable(&it.help)
        );
    }
    match global.output {
        OutputForm::Table | OutputForm::Yaml => print_text(&yaml_documents(&rendered.objects)),
        form => print_document(form, &document(rendered, &warnings)),
    }
    Ok(0)
}

/// Ends the command at errors, showing all of them.
fn refuse(set: &[Manifest], findings: &[Finding]) -> Result<(), CliError> {
    let errors: Vec<Finding> = findings.iter().filter(|it| it.severity == Severity::Error).cloned().collect();
    if errors.is_empty() {
        return Ok(());
    }
    let shown = &errors[..errors.len().min(FINDINGS_SHOWN_MAX)];
    Err(super::lint_error(&manifest_lint::sources(set), &manifest_lint::diagnostics(set, shown)))
}

fn document(rendered: config::Rendered, warnings: &[Diagnostic]) -> Value {
    let name = |it: &config::Rename| json!({"kind": it.kind.as_str(), "namespace": it.namespace, "from": it.from, "to": it.to});
    json!({
        "schema": "trimaran.render/v1",
        "names": rendered.names.iter().map(name).collect::<Vec<_>>(),
        "objects": rendered.objects,
        "warnings": warnings.iter().map(super::lint::diagnostic).collect::<Vec<_>>(),
    })
}
