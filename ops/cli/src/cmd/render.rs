//! `trimaran render PATH…`: manifests with ConfigMaps and Secrets named by content, without a server.

use serde_json::{Value, json};
use trimaran_kubernetes_core::config::{self, References};
use trimaran_kubernetes_core::finding::{Finding, Severity};
use trimaran_kubernetes_core::lint;
use trimaran_language::Diagnostic;
use trimaran_model::error_code::{self, ErrorCode};
use trimaran_model::limits::FINDINGS_SHOWN_MAX;

use crate::error::CliError;
use crate::lint_report::lint_error;
use crate::manifest_lint;
use crate::manifests::{self, Manifest};
use crate::ui::{OutputForm, Ui, printable, yaml_documents};

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

/// Errors of the lint that make the names of a rendered set wrong or useless. All others are warned about: a set is
/// often rendered before it is complete, and `trimaran lint` and a deploy refuse them.
const REFUSED: &[ErrorCode] = &[
    error_code::NO_KIND,
    error_code::NO_NAME,
    error_code::OBJECT_TWICE,
    error_code::OBJECT_TOO_LARGE,
    error_code::BAD_OBJECT_NAME,
    error_code::BAD_BASE64,
    error_code::BAD_CONFIG_KEY,
];

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let mut set = manifests::load(&args.paths)?;
    let objects: Vec<Value> = set.iter_mut().map(|it| it.value.take()).collect();
    let namespace = args.namespace.as_deref();
    let mut findings = lint::lint(&objects, lint::Options { namespace, targets: &[] });
    findings.retain(|it| it.severity == Severity::Error);
    refuse(&set, &findings)?;
    let references = References::builtin();
    let rendered = config::render(objects, config::Options { namespace, references });
    refuse(&set, &rendered.findings)?;
    findings.extend_from_slice(&rendered.findings);
    findings.iter_mut().for_each(|it| it.severity = Severity::Warning);
    findings.sort();
    let mut warnings = manifests::reader_warnings(&set);
    warnings.extend(manifest_lint::diagnostics(&set, &findings));
    for it in warnings.iter().take(FINDINGS_SHOWN_MAX) {
        ui.note(&format!(
            "warning[{}]: {}\n  --> {}:{}:{}\n  help: {}",
            it.code,
            printable(&it.message),
            printable(&it.file),
            it.line,
            it.column,
            printable(&it.help)
        ));
    }
    match ui.form() {
        OutputForm::Table | OutputForm::Yaml => ui.print(&yaml_documents(&rendered.objects)),
        _ => ui.document(&document(rendered, &warnings)),
    }
    Ok(0)
}

/// Ends the command at what can't be rendered, showing all of it.
fn refuse(set: &[Manifest], findings: &[Finding]) -> Result<(), CliError> {
    let refused = findings.iter().filter(|it| it.severity == Severity::Error && REFUSED.contains(&it.code));
    let shown: Vec<Finding> = refused.take(FINDINGS_SHOWN_MAX).cloned().collect();
    if shown.is_empty() {
        return Ok(());
    }
    Err(lint_error(&manifest_lint::sources(set), &manifest_lint::diagnostics(set, &shown)))
}

fn document(rendered: config::Rendered, warnings: &[Diagnostic]) -> Value {
    let name = |it: &config::Rename| json!({"kind": it.kind.as_str(), "namespace": it.namespace, "from": it.from, "to": it.to});
    json!({
        "schema": "trimaran.render/v1",
        "names": rendered.names.iter().map(name).collect::<Vec<_>>(),
        "objects": rendered.objects,
        "warnings": warnings.iter().map(crate::ui::diagnostic_document).collect::<Vec<_>>(),
    })
}
