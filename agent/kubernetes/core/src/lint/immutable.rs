//! Fields that can never change after the first deploy, and how they are made to change by accident.

use serde_json::Value;
use trimaran_model::error_code;

use super::set::{Set, list, template_pointer};
use crate::finding::{Finding, pointer_part, shown};
use crate::identity::{group, text};

/// Labels that charts change with every version.
const CHANGING: &[&str] = &[
    "app.kubernetes.io/version",
    "helm.sh/chart",
    "chart",
    "version",
    "pod-template-hash",
    "controller-revision-hash",
];

pub(super) fn check(set: &Set<'_>, found: &mut Vec<Finding>) {
    for (index, object) in set.objects.iter().enumerate() {
        match (group(object), text(object, "/kind")) {
            ("apps", Some("Deployment" | "ReplicaSet" | "DaemonSet")) => selector(index, object, found),
            ("apps", Some("StatefulSet")) => {
                selector(index, object, found);
                claim_templates(index, object, found);
            }
            ("batch", Some("Job")) => job(index, object, found),
            _ => {}
        }
    }
}

fn selector(index: usize, object: &Value, found: &mut Vec<Finding>) {
    let kind = text(object, "/kind").unwrap_or_default();
    // Without a spec that is what is missing.
    if !object.get("spec").is_some_and(Value::is_object) {
        return;
    }
    let Some(selector) = object.pointer("/spec/selector").filter(|it| it.is_object()) else {
        let message = format!("the {kind} has no selector");
        let help = "write `selector: { matchLabels: … }` with labels of the pod template";
        found.push(Finding::error(index, "/spec/selector", error_code::SELECTOR, message).help(help));
        return;
    };
    let template = template_pointer(object).and_then(|it| object.pointer(it));
    // Without a template that is what is missing.
    let Some(template) = template.filter(|it| it.is_object()) else { return };
    let labels = template.pointer("/metadata/labels");
    let label = |key: &str| labels.and_then(|it| it.get(key)).and_then(Value::as_str);
    for (key, value) in selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
        let place = format!("/spec/selector/matchLabels/{}", pointer_part(key));
        if value.as_str().is_some() && label(key) != value.as_str() {
            let wanted = shown(value.as_str().unwrap_or_default());
            let message = match label(key) {
                Some(other) => {
                    format!("the selector wants `{}: {wanted}`, the pods have `{}`", shown(key), shown(other))
                }
                None => format!("the pods have no label `{}`, which the selector wants", shown(key)),
            };
            found.push(Finding::error(index, &place, error_code::SELECTOR, message));
        } else if CHANGING.contains(&key.as_str()) {
            let message = format!("`{}` is in the selector, which can never change", shown(key));
            let help = "select by labels that stay, such as `app.kubernetes.io/name`";
            found.push(Finding::warning(index, &place, error_code::IMMUTABLE, message).help(help));
        }
    }
    for (at, expression) in list(selector, "matchExpressions").iter().enumerate() {
        let key = text(expression, "/key").unwrap_or_default();
        let named = list(expression, "values").iter().any(|it| it.as_str() == label(key));
        let holds = match text(expression, "/operator") {
            Some("In") => label(key).is_some() && named,
            Some("NotIn") => label(key).is_none() || !named,
            Some("Exists") => label(key).is_some(),
            Some("DoesNotExist") => label(key).is_none(),
            _ => true,
        };
        if !holds {
            let message = format!("the pods' label `{}` does not fit the selector", shown(key));
            let place = format!("/spec/selector/matchExpressions/{at}");
            found.push(Finding::error(index, place, error_code::SELECTOR, message));
        }
    }
}

/// A change of a claim template, even of its labels, is refused.
fn claim_templates(index: usize, object: &Value, found: &mut Vec<Finding>) {
    let claims = object.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
    for (at, claim) in claims.into_iter().flatten().enumerate() {
        for section in ["labels", "annotations"] {
            let map = claim.pointer(&format!("/metadata/{section}")).and_then(Value::as_object);
            for key in
                map.into_iter().flatten().map(|(key, _)| key).filter(|it| CHANGING.contains(&it.as_str()))
            {
                let message =
                    format!("`{key}` changes with versions, but `volumeClaimTemplates` can never change");
                let place =
                    format!("/spec/volumeClaimTemplates/{at}/metadata/{section}/{}", pointer_part(key));
                let help = "remove it there";
                found.push(Finding::warning(index, place, error_code::IMMUTABLE, message).help(help));
            }
        }
    }
}

/// A Job's template can never change, so each version needs a name of its own.
fn job(index: usize, object: &Value, found: &mut Vec<Finding>) {
    let Some(name) = text(object, "/metadata/name") else { return };
    let versioned = name.split(['-', '.']).any(|part| part.contains(|c: char| c.is_ascii_digit()));
    if versioned || super::unrendered::is_template(name) {
        return;
    }
    let message = format!(
        "Job `{}` has the same name in every version, but its template can never change",
        shown(name)
    );
    let help = "use `generateName`, or put the version into the name";
    found.push(Finding::warning(index, "/metadata/name", error_code::IMMUTABLE, message).help(help));
}
