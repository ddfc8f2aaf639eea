//! `trimaran render PATH…`: manifests with ConfigMaps and Secrets named by content, without a server.

use serde_json::{Value, json};
use trimaran_kubernetes_core::config::{self, References};
use trimaran_kubernetes_core::finding::Severity;

use crate::error::CliError;
use crate::manifests::{self, Manifest};
use crate::ui::{Global, OutputForm, print_document, print_text, yaml_documents};

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
    let mut manifests = manifests::load(&args.paths)?;
    let objects: Vec<Value> = manifests.iter_mut().map(|it| it.value.take()).collect();
    let options = config::Options { namespace: args.namespace.as_deref(), references: References::builtin() };
    let rendered = config::render(objects, options);
    print(&rendered, &manifests, global.output);
    Ok(0)
}

fn print(rendered: &config::Rendered, manifests: &[Manifest], form: OutputForm) {
    let _ = manifests;
    match form {
        OutputForm::Table | OutputForm::Yaml => print_text(&yaml_documents(&rendered.objects)),
        form => {
            let names: Vec<Value> = rendered
                .names
                .iter()
                .map(|it| {
                    json!({"kind": it.kind.as_str(), "namespace": it.namespace, "from": it.from, "to": it.to})
                })
                .collect();
            let warnings: Vec<&str> = rendered
                .findings
                .iter()
                .filter(|it| it.severity == Severity::Warning)
                .map(|it| it.message.as_str())
                .collect();
            let document = json!({
                "schema": "trimaran.render/v1", "objects": rendered.objects, "names": names, "warnings": warnings,
            });
            print_document(form, &document);
        }
    }
}
