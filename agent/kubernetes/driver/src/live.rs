//! Live objects as an API server gives them, read down to what decisions need.

use serde_json::Value;

use crate::fields;
use crate::platform::LiveObject;
use crate::stamp::{Marks, OWN_ANNOTATIONS};

/// Annotation of an object that is never deleted when it is `"false"`.
pub const PRUNE_ANNOTATION: &str = "trimaran.dev/prune";

impl LiveObject {
    /// Reads a live object. `autoscalers` are the HorizontalPodAutoscalers of its namespace. `None` for what has no uid
    /// or version, which no API server gives.
    pub fn of(document: &Value, autoscalers: &[Value]) -> Option<Self> {
        let metadata = document.get("metadata")?;
        let text = |name: &str| metadata.get(name)?.as_str().map(str::to_owned);
        let finalizers = || {
            let names = metadata.get("finalizers").and_then(Value::as_array).into_iter().flatten();
            names.filter_map(|name| name.as_str().map(str::to_owned)).collect()
        };
        let replicas = document.pointer("/spec/replicas").and_then(Value::as_u64);
        let prune = metadata.get("annotations").and_then(|all| all.get(PRUNE_ANNOTATION));
        Some(Self {
            uid: text("uid")?,
            resource_version: text("resourceVersion")?,
            generation: metadata.get("generation").and_then(Value::as_u64).unwrap_or(0),
            marks: Marks::of(document),
            terminating: metadata.get("deletionTimestamp").map(|_| finalizers()),
            replicas: replicas.and_then(|count| u32::try_from(count).ok()),
            serving: serving(document),
            scaled_by: autoscalers
                .iter()
                .find(|autoscaler| targets(autoscaler, document))
                .map(|autoscaler| autoscaler["metadata"]["name"].as_str().unwrap_or_default().to_owned()),
            is_usable: is_usable(document),
            keep: prune.and_then(Value::as_str) == Some("false"),
            fields: fields::owned(document),
        })
    }
}

/// Whether two states of an object differ in nothing but what the API server and Trimaran write on every change.
pub fn is_same_content(before: &Value, after: &Value) -> bool {
    content(before) == content(after)
}

/// An object without status, managed fields, versions and annotations of Trimaran.
pub fn content(document: &Value) -> Value {
    let mut content = document.clone();
    if let Some(all) = content.as_object_mut() {
        all.shift_remove("status");
    }
    if let Some(metadata) = content.get_mut("metadata").and_then(Value::as_object_mut) {
        for name in ["managedFields", "resourceVersion", "generation"] {
            metadata.shift_remove(name);
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|name, _| !OWN_ANNOTATIONS.contains(&name.as_str()));
            if annotations.is_empty() {
                metadata.shift_remove("annotations");
            }
        }
    }
    content
}

/// Whether an autoscaler sets the replicas of this object.
fn targets(autoscaler: &Value, document: &Value) -> bool {
    let text =
        |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let group = |version: Option<String>| {
        version.and_then(|it| it.split_once('/').map(|(group, _)| group.to_owned()))
    };
    text(autoscaler, "/metadata/namespace") == text(document, "/metadata/namespace")
        && text(autoscaler, "/spec/scaleTargetRef/kind") == text(document, "/kind")
        && text(autoscaler, "/spec/scaleTargetRef/name") == text(document, "/metadata/name")
        && group(text(autoscaler, "/spec/scaleTargetRef/apiVersion")) == group(text(document, "/apiVersion"))
}

/// Counts of none are left out by an API server.
fn serving(document: &Value) -> Option<u32> {
    let count = |pointer: &str| {
        let count = document.pointer(pointer).and_then(Value::as_u64);
        count.map(|count| u32::try_from(count).unwrap_or(u32::MAX))
    };
    match document.get("kind").and_then(Value::as_str) {
        Some("DaemonSet") => Some(count("/status/numberReady").unwrap_or(0)),
        Some("Pod") => {
            let conditions = document.pointer("/status/conditions").and_then(Value::as_array);
            let mut conditions = conditions.into_iter().flatten();
            Some(u32::from(conditions.any(|it| it["type"] == "Ready" && it["status"] == "True")))
        }
        _ => count("/status/readyReplicas").or_else(|| count("/spec/replicas").map(|_| 0)),
    }
}

/// Whether what comes after the object can use it: a namespace that is active, a definition that is established.
fn is_usable(document: &Value) -> bool {
    match document.get("kind").and_then(Value::as_str) {
        Some("Namespace") => document.pointer("/status/phase").and_then(Value::as_str) == Some("Active"),
        Some("CustomResourceDefinition") => {
            let conditions = document.pointer("/status/conditions").and_then(Value::as_array);
            conditions.into_iter().flatten().any(|it| it["type"] == "Established" && it["status"] == "True")
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment() -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
               "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7", "generation": 2},
               "spec": {"replicas": 3}})
    }

    fn autoscaler(api_version: &str, namespace: &str, name: &str) -> Value {
        json!({"metadata": {"namespace": namespace, "name": "any"},
               "spec": {"scaleTargetRef": {"apiVersion": api_version, "kind": "Deployment", "name": name}}})
    }

    #[test]
    fn only_what_was_asked_for_is_content() {
        let (before, mut after) = (deployment(), deployment());
        after["metadata"]["resourceVersion"] = json!("8");
        after["metadata"]["annotations"] = json!({"trimaran.dev/fence": "9"});
        after["status"] = json!({"replicas": 1});
        assert!(is_same_content(&before, &after));
        after["metadata"]["annotations"]["owner"] = json!("a");
        assert!(!is_same_content(&before, &after));
    }

    #[test]
    fn an_autoscaler_means_one_object() {
        let is_scaled = |autoscaler| {
            LiveObject::of(&deployment(), &[autoscaler]).expect("it is live").scaled_by.is_some()
        };
        assert!(is_scaled(autoscaler("apps/v1", "shop", "web")));
        assert!(!is_scaled(autoscaler("apps/v1", "shop", "api")));
        assert!(!is_scaled(autoscaler("apps/v1", "other", "web")));
        assert!(!is_scaled(autoscaler("example.com/v1", "shop", "web")));
    }

    #[test]
    fn what_ends_names_its_finalizers_and_what_is_kept_is_known() {
        let mut document = deployment();
        document["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        document["metadata"]["finalizers"] = json!(["example.com/hold"]);
        document["metadata"]["annotations"] = json!({PRUNE_ANNOTATION: "false"});
        let live = LiveObject::of(&document, &[]).expect("it is live");
        assert_eq!(live.terminating, Some(vec!["example.com/hold".to_owned()]));
        assert!(live.keep);
        let quiet = LiveObject::of(&deployment(), &[]).expect("it is live");
        assert_eq!(
            (quiet.terminating, quiet.keep, quiet.generation, quiet.replicas),
            (None, false, 2, Some(3))
        );
    }

    #[test]
    fn instances_that_serve_are_those_that_the_status_counts_as_ready() {
        let mut workload = deployment();
        let count = |document: &Value| LiveObject::of(document, &[]).expect("it is live").serving;
        assert_eq!(count(&workload), Some(0));
        workload["status"] = json!({"replicas": 3, "readyReplicas": 2, "availableReplicas": 1});
        assert_eq!(count(&workload), Some(2));
        let of_kind = |kind: &str, status: Value| {
            let metadata = json!({"name": "web", "uid": "u", "resourceVersion": "7"});
            count(&json!({"kind": kind, "metadata": metadata, "status": status}))
        };
        assert_eq!(of_kind("DaemonSet", json!({"numberReady": 4})), Some(4));
        let ready = |status: &str| json!({"conditions": [{"type": "Ready", "status": status}]});
        assert_eq!((of_kind("Pod", ready("True")), of_kind("Pod", ready("False"))), (Some(1), Some(0)));
        assert_eq!(of_kind("Service", json!({"loadBalancer": {}})), None);
    }

    #[test]
    fn namespaces_and_definitions_are_usable_when_their_status_says_so() {
        let usable = |kind: &str, status: Value| is_usable(&json!({"kind": kind, "status": status}));
        assert!(
            usable("Namespace", json!({"phase": "Active"}))
                && !usable("Namespace", json!({"phase": "Terminating"}))
        );
        let condition = |status: &str| json!({"conditions": [{"type": "Established", "status": status}]});
        assert!(usable("CustomResourceDefinition", condition("True")));
        assert!(!usable("CustomResourceDefinition", condition("False")));
        assert!(usable("ConfigMap", json!(null)));
    }
}
