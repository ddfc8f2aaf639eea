//! What only shows between documents: targets that do not exist or do not fit, and prod without a judgment.

use trimaran_model::error_code;
use trimaran_model::target::{Target, TargetClass};

use crate::diagnostic::{Diagnostic, Severity, at};
use crate::lower::{Document, DocumentKind};
use crate::suggest::nearest;

/// Checks documents against each other. Without a target document among the files nothing is said of targets.
pub(crate) fn across(documents: &[Document]) -> Vec<Diagnostic> {
    let mut found = twice(documents);
    let targets: Vec<&Target> = documents
        .iter()
        .filter_map(|document| match &document.kind {
            DocumentKind::Target(target) => Some(target),
            DocumentKind::Pipeline(_) => None,
        })
        .collect();
    if targets.is_empty() {
        return found;
    }
    for document in documents {
        let DocumentKind::Pipeline(pipeline) = &document.kind else { continue };
        for (environment, name, span) in &document.places.targets {
            let Some(target) = targets.iter().find(|target| target.name.as_str() == name) else {
                let help = match nearest(name, targets.iter().map(|target| target.name.to_string())) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "name a target of these files".to_owned(),
                };
                let message = format!("there is no target `{name}`");
                found.push(at(
                    &document.file,
                    Severity::Error,
                    error_code::TARGET_NAME,
                    *span,
                    message,
                    help,
                ));
                continue;
            };
            let platform = match pipeline.workload.as_str() {
                "host" => "hosts",
                other => other,
            };
            if target.platform.as_str() != platform {
                let message = format!(
                    "target `{name}` is of platform {}, the workload needs {platform}",
                    target.platform.as_str()
                );
                let help = format!("name a target with `{platform}:`");
                found.push(at(
                    &document.file,
                    Severity::Error,
                    error_code::TARGET_OTHER,
                    *span,
                    message,
                    help,
                ));
            }
            let judged = pipeline
                .environments
                .iter()
                .any(|it| it.name.as_str() == environment && it.approve.is_some());
            let place = document.places.environments.iter().find(|(known, _)| known == environment);
            if target.class == TargetClass::Prod
                && !judged
                && let Some((_, span)) = place
            {
                let message = format!("`{environment}` has prod targets and no `approve`");
                let help = "add `approve: { options: [promote, roll_back] }`".to_owned();
                found.push(at(
                    &document.file,
                    Severity::Warning,
                    error_code::PROD_APPROVE,
                    *span,
                    message,
                    help,
                ));
            }
        }
    }
    found
}

/// Two documents of one kind and name.
fn twice(documents: &[Document]) -> Vec<Diagnostic> {
    let name = |document: &Document| match &document.kind {
        DocumentKind::Pipeline(pipeline) => ("pipeline", pipeline.name.to_string()),
        DocumentKind::Target(target) => ("target", target.name.to_string()),
    };
    let mut found = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        let own = name(document);
        if documents[..index].iter().any(|other| name(other) == own) {
            let message = format!("there are two documents for {} `{}`", own.0, own.1);
            let help = "remove or rename one of the two".to_owned();
            found.push(at(
                &document.file,
                Severity::Error,
                error_code::DOCUMENT_TWICE,
                document.span,
                message,
                help,
            ));
        }
    }
    found
}
