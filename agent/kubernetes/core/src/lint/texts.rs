//! Texts that lost their quotes, and labels: `"true"` and `"8080"` have to be texts where Kubernetes says so.

use serde_json::Value;
use trimaran_model::error_code;

use super::set::{Set, containers, list, pod_specs, template_pointer};
use crate::config::ConfigKind;
use crate::finding::{Finding, pointer_part, shown};

pub(super) fn check(set: &Set<'_>, found: &mut Vec<Finding>) {
    for (index, object) in set.objects.iter().enumerate() {
        let mut maps = vec!["/metadata/labels".to_owned(), "/metadata/annotations".to_owned()];
        if let Some(template) = template_pointer(object) {
            maps.push(format!("{template}/metadata/labels"));
            maps.push(format!("{template}/metadata/annotations"));
            maps.push(format!("{template}/spec/nodeSelector"));
            maps.push("/spec/selector/matchLabels".to_owned());
        }
        match object.get("kind").and_then(Value::as_str) {
            Some("Service") if crate::identity::group(object).is_empty() => {
                maps.push("/spec/selector".to_owned())
            }
            _ if ConfigKind::of(object).is_some() => {
                maps.extend(["/data", "/stringData", "/binaryData"].map(str::to_owned));
            }
            _ => {}
        }
        maps.sort();
        maps.dedup();
        for pointer in maps {
            let Some(value) = object.pointer(&pointer).filter(|it| !it.is_null()) else { continue };
            let Some(map) = value.as_object() else {
                let message = "a map of texts belongs here";
                found.push(Finding::error(index, pointer, error_code::NOT_TEXT, message));
                continue;
            };
            for (key, value) in map {
                let place = format!("{pointer}/{}", pointer_part(key));
                if value.is_null() {
                    null_value(index, &place, key, found);
                }
                not_text(index, &place, value, found);
                if pointer.ends_with("/labels") || pointer.ends_with("/matchLabels") {
                    label(index, &place, key, value, found);
                }
            }
        }
    }
    for (index, pointer, spec) in pod_specs(set) {
        for (pointer, container) in containers(spec, &pointer) {
            for key in ["command", "args"] {
                for (place, value) in list(container, key).iter().enumerate() {
                    not_text(index, &format!("{pointer}/{key}/{place}"), value, found);
                }
            }
            for (place, variable) in list(container, "env").iter().enumerate() {
                if let Some(value) = variable.get("value") {
                    not_text(index, &format!("{pointer}/env/{place}/value"), value, found);
                }
            }
        }
    }
}

/// A null in a map: a key whose value was forgotten. A field that is null is one that is not there, and is no finding.
pub(super) fn null_value(index: usize, pointer: &str, key: &str, found: &mut Vec<Finding>) {
    let message = format!("`{}` has no value: it is null", shown(key));
    let finding = Finding::warning(index, pointer, error_code::NULL_VALUE, message);
    found.push(finding);
}

/// A number, truth value, list or map where a text belongs. A null is read as the empty text.
pub(super) fn not_text(index: usize, pointer: &str, value: &Value, found: &mut Vec<Finding>) {
    if value.is_string() || value.is_null() {
        return;
    }
    let written = shown(&value.to_string());
    let finding = if value.is_object() || value.is_array() {
        let message = format!("a text belongs here, not `{written}`");
        Finding::error(index, pointer, error_code::NOT_TEXT, message)
    } else {
        let message = format!("`{written}` is not a text here");
        Finding::error(index, pointer, error_code::NOT_TEXT, message).help("put it in quotes")
    };
    found.push(finding);
}

/// Labels (the Kubernetes documentation, "Labels and Selectors", syntax).
fn label(index: usize, pointer: &str, key: &str, value: &Value, found: &mut Vec<Finding>) {
    let word = |text: &str| {
        text.len() <= 63
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.ends_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    let name = key.rsplit_once('/').map_or(key, |(_, name)| name);
    let template = super::unrendered::is_template;
    let mut wrong = |what: &str, text: &str| {
        let message = format!("`{}` is no {what} of a label", shown(text));
        let help = "at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends";
        found.push(Finding::error(index, pointer, error_code::BAD_LABEL, message).help(help));
    };
    if !word(name) && !template(key) {
        wrong("key", key);
    }
    if let Some(text) = value.as_str().filter(|it| !it.is_empty() && !word(it) && !template(it)) {
        wrong("value", text);
    }
}
