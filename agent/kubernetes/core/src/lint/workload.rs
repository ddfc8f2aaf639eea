//! Pod specs whose parts don't fit each other or their kind: mounts without volume, a restart policy that the kind does
//! not take, requests above limits.

use serde_json::Value;
use trimaran_model::error_code;

use super::quantity;
use super::set::{Set, containers, list, pod_specs};
use crate::finding::{Finding, pointer_part, shown};
use crate::identity::text;

pub(super) fn check(set: &Set<'_>, found: &mut Vec<Finding>) {
    for (index, pointer, spec) in pod_specs(set) {
        restart_policy(index, &set.objects[index], &pointer, spec, found);
        for (pointer, container) in containers(spec, &pointer) {
            requests(index, &pointer, container, found);
        }
        let claims = set.objects[index].pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
        let mut volumes: Vec<&str> =
            list(spec, "volumes").iter().filter_map(|it| text(it, "/name")).collect();
        volumes.extend(claims.into_iter().flatten().filter_map(|it| text(it, "/metadata/name")));
        for (pointer, container) in containers(spec, &pointer) {
            for (at, mount) in list(container, "volumeMounts").iter().enumerate() {
                let Some(name) = text(mount, "/name").filter(|it| !volumes.contains(it)) else { continue };
                let message = format!("the pod has no volume `{}`", shown(name));
                let place = format!("{pointer}/volumeMounts/{at}/name");
                found.push(Finding::error(index, place, error_code::VOLUME_MISSING, message));
            }
        }
    }
}

/// Pods of a workload that serves are always started again; those of a Job end, and have no default that fits.
fn restart_policy(index: usize, object: &Value, pointer: &str, spec: &Value, found: &mut Vec<Finding>) {
    let kind = text(object, "/kind").unwrap_or_default();
    let words: &[&str] = match (crate::identity::group(object), kind) {
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") => &["Always"],
        ("batch", "Job" | "CronJob") => &["OnFailure", "Never"],
        _ => return,
    };
    let place = format!("{pointer}/restartPolicy");
    let policy = text(spec, "/restartPolicy").filter(|it| !it.is_empty());
    let wrong = |message: String, code| {
        let help = format!("write `restartPolicy: {}`", words[0]);
        Finding::error(index, &place, code, message).help(help)
    };
    match policy {
        Some(policy) if words.contains(&policy) || !["Always", "OnFailure", "Never"].contains(&policy) => {}
        Some(policy) => {
            let message = format!("the pods of a {kind} can't have `restartPolicy: {policy}`");
            found.push(wrong(message, error_code::OBJECT_FIELD_VALUE));
        }
        None if words[0] == "Always"
            || spec.get("restartPolicy").is_some_and(|it| !it.is_null() && !it.is_string()) => {}
        None => {
            let message =
                format!("the pods of a {kind} need a `restartPolicy`: the default `Always` is refused");
            found.push(wrong(message, error_code::OBJECT_FIELD_MISSING));
        }
    }
}

/// Quantities below zero, and requests above their limits.
fn requests(index: usize, pointer: &str, container: &Value, found: &mut Vec<Finding>) {
    let amount =
        |section: &str, name: &str| quantity::amount(container.get("resources")?.get(section)?.get(name)?);
    for section in ["limits", "requests"] {
        let map = container.get("resources").and_then(|it| it.get(section)).and_then(Value::as_object);
        for name in map.into_iter().flatten().map(|(name, _)| name) {
            let Some(own) = amount(section, name) else { continue };
            let place = format!("{pointer}/resources/{section}/{}", pointer_part(name));
            let mut wrong = |message: String| {
                found.push(Finding::error(index, &place, error_code::OBJECT_FIELD_VALUE, message));
            };
            if own < 0.0 {
                wrong(format!("`{}` is below zero", shown(name)));
            } else if section == "requests" && amount("limits", name).is_some_and(|limit| own > limit) {
                wrong(format!("the request of `{}` is above its limit", shown(name)));
            }
        }
    }
}
