//! Kind, name and namespace: that they are there, well formed and unique.

use serde_json::Value;
use trimaran_model::error_code;

use super::set::Set;
use super::unrendered::is_template;
use crate::finding::{Finding, shown};
use crate::identity::{group, is_cluster_scoped, text};

pub(super) fn check(set: &Set<'_>, found: &mut Vec<Finding>) {
    for (index, object) in set.objects.iter().enumerate() {
        if kind(index, object, found) {
            name(index, object, found);
            namespace(set, index, object, found);
        }
    }
    for (identity, indexes) in &set.by_identity {
        for index in indexes.iter().skip(1) {
            let message = format!("{} `{}` is in the set twice", identity.kind, shown(&identity.name));
            found.push(Finding::error(*index, "/metadata/name", error_code::OBJECT_TWICE, message));
        }
    }
}

/// Whether the object says what it is.
fn kind(index: usize, object: &Value, found: &mut Vec<Finding>) -> bool {
    let mut wrong = |pointer: &str, message: String, help: &str| {
        found.push(Finding::error(index, pointer, error_code::NO_KIND, message).help(help));
        false
    };
    if !object.is_object() {
        return wrong(
            "",
            "this document is no Kubernetes object".to_owned(),
            "an object is a map with `apiVersion` and `kind`",
        );
    }
    let Some(kind) = text(object, "/kind") else {
        let help = "every object needs `apiVersion` and `kind`; values files of charts are no objects";
        return wrong("/kind", "the object has no `kind`".to_owned(), help);
    };
    let Some(version) = text(object, "/apiVersion") else {
        return wrong(
            "/apiVersion",
            format!("the {} has no `apiVersion`", shown(kind)),
            "write it, such as `apiVersion: apps/v1`",
        );
    };
    if group(object) == "kustomize.config.k8s.io" {
        let help = "render it first: `kustomize build DIR`, and pass the result";
        return wrong("/kind", format!("a {} is an input of kustomize and no object", shown(kind)), help);
    }
    if !version.contains('/') && version != "v1" && !is_template(version) {
        let help = format!(
            "write it as GROUP/VERSION{}",
            usual_version(kind).map_or(String::new(), |it| format!(": {it}"))
        );
        return wrong("/apiVersion", format!("the core group has no version `{}`", shown(version)), &help);
    }
    if version == "v1"
        && let Some(usual) = usual_version(kind)
    {
        return wrong(
            "/apiVersion",
            format!("{kind} is not in the core group `v1`"),
            &format!("write `apiVersion: {usual}`"),
        );
    }
    true
}

/// The API version of kinds that are often written with `v1`.
fn usual_version(kind: &str) -> Option<&'static str> {
    match kind {
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" => Some("apps/v1"),
        "Job" | "CronJob" => Some("batch/v1"),
        "Ingress" | "NetworkPolicy" => Some("networking.k8s.io/v1"),
        "HorizontalPodAutoscaler" => Some("autoscaling/v2"),
        "PodDisruptionBudget" => Some("policy/v1"),
        "Role" | "RoleBinding" | "ClusterRole" | "ClusterRoleBinding" => Some("rbac.authorization.k8s.io/v1"),
        _ => None,
    }
}

fn name(index: usize, object: &Value, found: &mut Vec<Finding>) {
    let kind = text(object, "/kind").unwrap_or_default();
    let Some(name) = text(object, "/metadata/name") else {
        return no_name(index, object, kind, found);
    };
    if is_template(name) {
        return;
    }
    if let Some(rule) = broken_rule(group(object), kind, name) {
        let message = format!("`{}` is not a valid name of a {}: {rule}", shown(name), shown(kind));
        found.push(Finding::error(index, "/metadata/name", error_code::BAD_OBJECT_NAME, message));
    }
}

fn no_name(index: usize, object: &Value, kind: &str, found: &mut Vec<Finding>) {
    if let Some(other) = object.pointer("/metadata/name").filter(|it| !it.is_null() && !it.is_string()) {
        let message = format!("the name of a {} is a text, not {}", shown(kind), shown(&other.to_string()));
        let help = "put it in quotes";
        found.push(Finding::error(index, "/metadata/name", error_code::BAD_OBJECT_NAME, message).help(help));
    } else if text(object, "/metadata/generateName").is_none() {
        let message = format!("the {} has no name", shown(kind));
        found.push(Finding::error(index, "/metadata/name", error_code::NO_NAME, message));
    } else if !matches!(kind, "Job" | "Pod" | "Workflow" | "PipelineRun" | "TaskRun") {
        let message = format!("`generateName` makes another {} at each deploy", shown(kind));
        let finding = Finding::warning(index, "/metadata/generateName", error_code::NO_NAME, message);
        found.push(finding.help("write `name`"));
    }
}

/// What a name offends against (the Kubernetes documentation, "Object Names and IDs").
fn broken_rule(group: &str, kind: &str, name: &str) -> Option<&'static str> {
    if group == "rbac.authorization.k8s.io" || group.ends_with("openshift.io") || kind == "IPAddress" {
        let bad = name.contains(['/', '%']) || matches!(name, "." | "..");
        return bad.then_some("it may not contain `/` or `%`");
    }
    let lower = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit();
    let label =
        |it: &str| it.starts_with(lower) && it.ends_with(lower) && it.chars().all(|c| lower(c) || c == '-');
    let short = matches!((group, kind), ("", "Service" | "Namespace"));
    if short && !(label(name) && name.len() <= 63) {
        return Some("1 to 63 lower-case letters, digits and `-`, with a letter or digit at both ends");
    }
    if (group, kind) == ("", "Service") && name.starts_with(|c: char| c.is_ascii_digit()) {
        return Some("it starts with a letter");
    }
    if !(name.split('.').all(label) && name.len() <= 253) {
        return Some("1 to 253 lower-case letters, digits, `-` and `.`, with a letter or digit at both ends");
    }
    match (group, kind) {
        ("batch", "CronJob") if name.len() > 52 => Some("at most 52 characters, as its Jobs add 11"),
        ("batch", "Job") | ("apps", "StatefulSet") if name.len() > 63 => {
            Some("at most 63 characters, as it becomes a label of its pods")
        }
        _ => None,
    }
}

fn namespace(set: &Set<'_>, index: usize, object: &Value, found: &mut Vec<Finding>) {
    let kind = text(object, "/kind").unwrap_or_default();
    let Some(namespace) = text(object, "/metadata/namespace") else { return };
    if is_template(namespace) {
        return;
    }
    if is_cluster_scoped(group(object), kind) {
        let message = format!("a {} has no namespace", shown(kind));
        let finding = Finding::warning(index, "/metadata/namespace", error_code::OTHER_NAMESPACE, message);
        return found.push(finding.help("remove `namespace`"));
    }
    if broken_rule("", "Namespace", namespace).is_some() {
        let message = format!("`{}` is not a valid name of a namespace", shown(namespace));
        return found.push(Finding::error(
            index,
            "/metadata/namespace",
            error_code::BAD_OBJECT_NAME,
            message,
        ));
    }
    if let Some((target, own)) = set.options.targets.iter().find(|(_, own)| own != namespace) {
        let message = format!(
            "namespace `{}` is not that of target `{}`, which is `{}`",
            shown(namespace),
            shown(target),
            shown(own)
        );
        found.push(Finding::error(index, "/metadata/namespace", error_code::OTHER_NAMESPACE, message));
    }
}
