//! A pod as the controller of a workload would make it.

use serde_json::{Value, json};
use trimaran_kubernetes_driver::{ObjectKey, Release};

/// Where the template of a workload's pods is.
fn template_of<'a>(key: &ObjectKey, document: &'a Value) -> Option<&'a Value> {
    match (key.group(), key.kind.as_str()) {
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("batch", "Job")
        | ("", "ReplicationController") => document.pointer("/spec/template"),
        ("batch", "CronJob") => document.pointer("/spec/jobTemplate/spec/template"),
        _ => None,
    }
}

/// A pod of a workload; `None` for what has none, or none at the moment. What the release itself brings, an account or
/// a class, is left out: it may not be there yet.
pub(crate) fn pod_of(key: &ObjectKey, document: &Value, release: &Release) -> Option<Value> {
    let template = template_of(key, document)?;
    let count = document.pointer("/spec/replicas").and_then(Value::as_u64);
    if count == Some(0) || release.creates_namespace(&key.namespace) {
        return None;
    }
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": template["spec"]});
    for part in ["labels", "annotations"] {
        if let Some(value) = template.pointer(&format!("/metadata/{part}")) {
            pod["metadata"][part] = value.clone();
        }
    }
    // As long as the names of a controller, which adds two suffixes.
    pod["metadata"]["generateName"] = format!("{}-", key.name.get(..40).unwrap_or(&key.name)).into();
    let spec = pod["spec"].as_object_mut()?;
    for (field, kind) in [
        ("serviceAccountName", "ServiceAccount"),
        ("serviceAccount", "ServiceAccount"),
        ("priorityClassName", "PriorityClass"),
        ("runtimeClassName", "RuntimeClass"),
    ] {
        let named = spec.get(field).and_then(Value::as_str);
        let brings = |name: &str| {
            release.manifests.iter().any(|manifest| manifest.key.kind == kind && manifest.key.name == name)
        };
        if named.is_some_and(brings) {
            spec.shift_remove(field);
        }
    }
    let claims = document.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
    let names = claims.into_iter().flatten().filter_map(|claim| claim.pointer("/metadata/name"));
    let volumes: Vec<Value> =
        names.map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}})).collect();
    if !volumes.is_empty() {
        let known = spec.entry("volumes").or_insert_with(|| json!([]));
        known.as_array_mut()?.extend(volumes);
    }
    Some(pod)
}

#[cfg(test)]
mod tests {
    use super::*;
    use trimaran_kubernetes_driver::OnConflict;
    use trimaran_model::id::Digest;
    use trimaran_model::time::Millis;

    fn pod(documents: Vec<Value>) -> Option<Value> {
        let release = Release::new(Digest([1; 32]), documents, Millis::ZERO, OnConflict::Refuse);
        let release = release.expect("a release");
        let mut pods = release.manifests.iter().filter_map(|it| pod_of(&it.key, &it.document, &release));
        pods.next()
    }

    fn set() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "shop"},
            "spec": {
                "template": {"metadata": {"labels": {"app": "db"}},
                             "spec": {"serviceAccountName": "db", "containers": [{"name": "db"}]}},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
            },
        })
    }

    #[test]
    fn a_pod_has_what_its_controller_would_give_it() {
        assert_eq!(
            pod(vec![set()]),
            Some(json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"labels": {"app": "db"}, "generateName": "db-"},
                "spec": {"serviceAccountName": "db", "containers": [{"name": "db"}],
                         "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]},
            }))
        );
    }

    #[test]
    fn what_the_release_brings_itself_is_left_out() {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "db", "namespace": "shop"}});
        let made = pod(vec![set(), account]).expect("a pod");
        assert_eq!(made["spec"].get("serviceAccountName"), None);
        let mut none = set();
        none["spec"]["replicas"] = json!(0);
        assert_eq!(pod(vec![none]), None, "it will have no pods");
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
        assert_eq!(pod(vec![set(), namespace]), None, "there is no place to try it in");
    }
}
