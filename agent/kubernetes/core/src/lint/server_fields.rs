//! Fields that a server writes: they show that a file was read from a cluster, and hinder when it is applied.

use serde_json::Value;
use trimaran_model::error_code;

use super::set::Set;
use crate::finding::Finding;

const METADATA: &[&str] = &[
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "selfLink",
    "managedFields",
];
const ANNOTATIONS: &[&str] =
    &["kubectl.kubernetes.io/last-applied-configuration", "deployment.kubernetes.io/revision"];

/// One finding an object, at the first such field.
pub(super) fn check(set: &Set<'_>, found: &mut Vec<Finding>) {
    for (index, object) in set.objects.iter().enumerate() {
        if !object.get("kind").is_some_and(Value::is_string) {
            continue;
        }
        let mut fields: Vec<String> = Vec::new();
        let there = |it: &&Value| !(it.is_null() || it.as_object().is_some_and(serde_json::Map::is_empty));
        for key in METADATA {
            let pointer = format!("/metadata/{key}");
            fields.extend(object.pointer(&pointer).filter(there).map(|_| pointer));
        }
        for key in ANNOTATIONS {
            let pointer = format!("/metadata/annotations/{}", key.replace('/', "~1"));
            fields.extend(object.pointer(&pointer).filter(there).map(|_| pointer));
        }
        fields.extend(object.get("status").filter(there).map(|_| "/status".to_owned()));
        let Some(first) = fields.first().cloned() else { continue };
        let names: Vec<String> =
            fields.iter().map(|it| it.rsplit('/').next().unwrap_or(it).replace("~1", "/")).collect();
        let message = format!("fields of the server are in the file: {}", names.join(", "));
        found.push(Finding::warning(index, first, error_code::SERVER_FIELD, message));
    }
}
