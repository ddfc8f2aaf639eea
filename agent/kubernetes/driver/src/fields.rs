//! Which fields of an object are Trimaran's, as its managed fields say, and who took some of them.
//!
//! An API server notes for each field who set it last. What Trimaran owned after an apply and does not own any more was
//! changed or removed by someone else.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use trimaran_model::action::Failure;
use trimaran_model::hash::spread;
use trimaran_model::reason::ReasonCode;

use crate::adjust::ADJUSTER;
use crate::decide::failure;
use crate::object_key::ObjectKey;
use crate::platform::{FieldOwner, ObservedObject};
use crate::stamp::OWN_ANNOTATIONS;

/// The name under which Trimaran owns fields.
pub const MANAGER: &str = "trimaran";

/// The controllers of Kubernetes' own kinds: they change only what is theirs.
const CONTROLLERS: &str = "kube-controller-manager";

/// So many fields of others are named.
const EDITS_MAX: usize = 3;

/// Whether a manager is a tool in the place of which Trimaran applies objects.
pub fn is_replaced(manager: &str) -> bool {
    let begins = |name: &&str| {
        manager.strip_prefix(*name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    matches!(manager, MANAGER | ADJUSTER | "before-first-apply" | "Helm")
        || ["kubectl", "helm", "clouddriver"].iter().any(begins)
}

/// A hash of the fields that Trimaran owns; `None` where the document does not say whose they are.
pub(crate) fn owned(document: &Value) -> Option<u64> {
    document.pointer("/metadata/managedFields")?;
    let mut paths = BTreeSet::new();
    for entry in entries(document).filter(|entry| entry["manager"] == MANAGER) {
        paths.extend(paths_of(entry));
    }
    Some(spread(paths.iter().flat_map(|path| path.as_bytes().iter().chain(b"\n"))))
}

/// What others set since Trimaran applied the object, the newest first.
pub(crate) fn edits(document: &Value) -> Vec<FieldOwner> {
    let time = |entry: &Value| entry["time"].as_str().unwrap_or_default().to_owned();
    let own = entries(document).filter(|entry| entry["manager"] == MANAGER).map(time).max();
    let Some(own) = own else { return Vec::new() };
    let known = [MANAGER, ADJUSTER, CONTROLLERS];
    let is_other = |entry: &&Value| !known.iter().any(|known| entry["manager"] == **known);
    let mut later: Vec<&Value> =
        entries(document).filter(is_other).filter(|entry| time(entry) >= own).collect();
    later.sort_by_key(|entry| std::cmp::Reverse(time(entry)));
    let named = later.into_iter().flat_map(|entry| {
        let manager = entry["manager"].as_str().unwrap_or_default();
        paths_of(entry).into_iter().map(move |field| FieldOwner { manager: manager.to_owned(), field })
    });
    named.take(EDITS_MAX).collect()
}

/// What someone else changed of an object that had these fields of Trimaran's after its apply.
pub(crate) fn edited(applied: Option<u64>, object: &ObservedObject) -> Option<Failure> {
    if applied? == object.fields? {
        return None;
    }
    // A controller may write its own form into the objects of its kind: only a tool of people counts there.
    if is_custom(&object.key) && !object.edits.iter().any(|edit| is_replaced(&edit.manager)) {
        return None;
    }
    let named: Vec<String> =
        object.edits.iter().map(|edit| format!("{} ({})", edit.field, edit.manager)).collect();
    let fields = if named.is_empty() { "a field was removed".to_owned() } else { named.join(", ") };
    let message = format!("{} was changed by someone else: {fields}", object.key);
    Some(failure(ReasonCode::Diverged, message))
}

/// Kubernetes' own groups have no dot, or end with `k8s.io`.
fn is_custom(key: &ObjectKey) -> bool {
    key.group().contains('.') && !key.group().ends_with(".k8s.io")
}

/// What was written to the whole object: statuses and scales are written through subresources.
fn entries(document: &Value) -> impl Iterator<Item = &Value> {
    let all = document.pointer("/metadata/managedFields").and_then(Value::as_array);
    let is_whole = |entry: &&Value| entry.get("subresource").is_none_or(|part| part == "");
    all.into_iter().flatten().filter(is_whole)
}

/// The fields of an entry as people write them: `.spec.template.spec.containers[name="web"].image`.
fn paths_of(entry: &Value) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    if let Some(Value::Object(fields)) = entry.get("fieldsV1") {
        collect(String::new(), fields, &mut paths);
    }
    paths.retain(|path| !is_passed_over(path));
    paths
}

fn collect(path: String, fields: &Map<String, Value>, paths: &mut BTreeSet<String>) {
    for (step, below) in fields {
        let path = match step.split_once(':') {
            Some(("f", name)) => format!("{path}.{name}"),
            Some(("k", keys)) => format!("{path}[{}]", selector(keys)),
            Some(("v", value)) => format!("{path}[={value}]"),
            Some(("i", index)) => format!("{path}[{index}]"),
            // The item or map itself.
            _ => path.clone(),
        };
        match below {
            Value::Object(more) if !more.is_empty() => collect(path, more, paths),
            _ => {
                paths.insert(path);
            }
        }
    }
}

/// `name="web"` of `{"name":"web"}`.
fn selector(keys: &str) -> String {
    let Ok(Value::Object(keys)) = serde_json::from_str(keys) else { return keys.to_owned() };
    keys.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// Annotations of Trimaran change with every order; the number of replicas is anyone's who scales, and statuses are no
/// part of a release.
fn is_passed_over(path: &str) -> bool {
    let annotation = path.strip_prefix(".metadata.annotations.");
    matches!(path, ".spec.replicas" | ".metadata.annotations")
        || path.starts_with(".status")
        || annotation.is_some_and(|name| OWN_ANNOTATIONS.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use trimaran_model::verdict::Verdict;

    use crate::platform::Pods;
    use crate::stamp::Marks;

    fn entry(manager: &str, time: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": "Apply", "time": time, "fieldsV1": fields})
    }

    fn image(name: &str) -> Value {
        let container = format!("k:{{\"name\":\"{name}\"}}");
        json!({"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {container: {
            ".": {}, "f:image": {}}}}}}})
    }

    fn document(entries: Value) -> Value {
        json!({"metadata": {"managedFields": entries}})
    }

    fn object(api_version: &str, document: &Value) -> ObservedObject {
        let named = json!({"apiVersion": api_version, "kind": "Deployment", "metadata": {"name": "web"}});
        ObservedObject {
            key: ObjectKey::of(&named).expect("a key"),
            uid: Some("u".to_owned()),
            generation: 2,
            marks: Marks::default(),
            verdict: Verdict::Healthy,
            reason: None,
            message: String::new(),
            fault: None,
            pods: Pods::default(),
            stuck: None,
            fields: owned(document),
            edits: edits(document),
        }
    }

    #[test]
    fn a_field_that_others_took_is_named_and_a_scale_is_none() {
        let applied = document(json!([entry("trimaran", "2026-01-01T00:00:00Z", image("web"))]));
        let hash = owned(&applied);
        assert!(hash.is_some());
        assert_eq!(edited(hash, &object("apps/v1", &applied)), None);
        let rest = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {".": {}}}}}}});
        let scaled = document(json!([
            entry("trimaran", "2026-01-01T00:00:00Z", image("web")),
            {"manager": "kubectl", "subresource": "scale", "time": "2026-01-01T00:00:09Z",
             "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            entry("kube-controller-manager", "2026-01-01T00:00:09Z",
                  json!({"f:metadata": {"f:annotations": {"f:deployment.kubernetes.io/revision": {}}}})),
        ]));
        assert_eq!(edited(hash, &object("apps/v1", &scaled)), None, "Trimaran's fields are its own");
        let mut set = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {}}}}});
        set["f:spec"]["f:template"]["f:spec"]["f:containers"]["k:{\"name\":\"web\"}"] =
            json!({"f:image": {}});
        let taken = document(json!([
            entry("trimaran", "2026-01-01T00:00:00Z", rest),
            entry("kubectl-set", "2026-01-01T00:00:09Z", set),
        ]));
        let why = edited(hash, &object("apps/v1", &taken)).expect("the image was changed");
        assert_eq!(why.code, ReasonCode::Diverged);
        assert_eq!(
            why.message,
            "Deployment/web was changed by someone else: .spec.template.spec.containers[name=\"web\"].image (kubectl-set)"
        );
        assert_eq!(edited(None, &object("apps/v1", &taken)), None, "nothing is known of what was applied");
    }

    #[test]
    fn what_a_controller_writes_into_objects_of_its_own_kind_is_no_edit() {
        let applied = document(json!([entry("trimaran", "2026-01-01T00:00:00Z", image("web"))]));
        let by = |manager: &str| {
            let taken = document(json!([
                entry("trimaran", "2026-01-01T00:00:00Z", json!({"f:spec": {"f:paused": {}}})),
                entry(manager, "2026-01-01T00:00:09Z", image("web")),
            ]));
            edited(owned(&applied), &object("example.com/v1", &taken))
        };
        assert_eq!(by("example-operator"), None);
        assert!(by("kubectl-edit").is_some());
    }

    #[test]
    fn marks_of_an_order_are_no_fields() {
        let marked = |annotations: Value| {
            owned(&document(json!([entry(
                "trimaran",
                "t",
                json!({
                "f:metadata": {"f:annotations": annotations}, "f:spec": {"f:paused": {}}})
            )])))
        };
        let with = marked(json!({".": {}, "f:trimaran.dev/fence": {}, "f:trimaran.dev/release": {}}));
        assert_eq!(with, marked(json!({})));
        assert_ne!(with, marked(json!({"f:owner": {}})));
    }

    #[test]
    fn tools_that_are_replaced_are_known() {
        for manager in ["kubectl", "kubectl-edit", "kubectl-client-side-apply", "helm", "Helm", "clouddriver"]
        {
            assert!(is_replaced(manager), "{manager}");
        }
        for manager in ["kube-controller-manager", "argocd-controller", "helmet", "vpa-updater"] {
            assert!(!is_replaced(manager), "{manager}");
        }
    }
}
