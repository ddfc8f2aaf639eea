//! Templates that were not rendered: `{{ }}` and `${ }` where Kubernetes requires a name.
//!
//! Elsewhere such texts may be meant, as in the data of a ConfigMap; only what is plainly of Helm is named there.

use serde_json::Value;
use trimaran_model::error_code;

use super::set::{Set, containers, pod_specs, template_pointer};
use crate::config::ConfigKind;
use crate::finding::{Finding, pointer_part, shown};
use crate::walk::texts;

/// Beginnings that only templates of Helm have.
const HELM: &[&str] =
    &["{{ .Values", "{{.Values", "{{ .Release", "{{.Release", "{{ .Chart", "{{ include", "{{- "];

/// Whether a text that should be a name holds a template.
pub(super) fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("${") || text.contains("<%")
}

pub(super) fn check(set: &Set<'_>, found: &mut Vec<Finding>) {
    for (index, object) in set.objects.iter().enumerate() {
        let mut see = |text: &str, pointer: &str| {
            if is_template(text) {
                let message = format!("`{}` is a template that was not rendered", shown(text));
                found.push(Finding::error(index, pointer, error_code::UNRENDERED, message));
            }
        };
        for pointer in
            ["/apiVersion", "/kind", "/metadata/name", "/metadata/generateName", "/metadata/namespace"]
        {
            if let Some(text) = object.pointer(pointer).and_then(Value::as_str) {
                see(text, pointer);
            }
        }
        labels(object, "/metadata/labels", &mut see);
        if let Some(template) = template_pointer(object).filter(|it| !it.is_empty()) {
            labels(object, &format!("{template}/metadata/labels"), &mut see);
        }
        helm(index, object, found);
    }
    for (index, pointer, spec) in pod_specs(set) {
        for (pointer, container) in containers(spec, &pointer) {
            if let Some(image) = container.get("image").and_then(Value::as_str).filter(|it| is_template(it)) {
                let message = format!("the image `{}` is a template that was not rendered", shown(image));
                found.push(Finding::error(
                    index,
                    format!("{pointer}/image"),
                    error_code::UNRENDERED,
                    message,
                ));
            }
        }
    }
}

fn labels(object: &Value, pointer: &str, see: &mut dyn FnMut(&str, &str)) {
    for (key, value) in object.pointer(pointer).and_then(Value::as_object).into_iter().flatten() {
        let pointer = format!("{pointer}/{}", pointer_part(key));
        see(key, &pointer);
        if let Some(text) = value.as_str() {
            see(text, &pointer);
        }
    }
}

/// One finding an object is enough: where one template was left, more were.
fn helm(index: usize, object: &Value, found: &mut Vec<Finding>) {
    if found.iter().rev().take_while(|it| it.object == index).any(|it| it.code == error_code::UNRENDERED) {
        return;
    }
    let mut place = None;
    for (key, value) in object.as_object().into_iter().flatten() {
        if ConfigKind::of(object).is_some() && key != "metadata" {
            continue;
        }
        texts(value, &format!("/{key}"), &mut |text, pointer| {
            if place.is_none() && HELM.iter().any(|it| text.contains(it)) {
                place = Some((pointer.to_owned(), shown(text)));
            }
        });
    }
    if let Some((pointer, text)) = place {
        let message = format!("`{text}` is a template of Helm that was not rendered");
        found.push(Finding::error(index, pointer, error_code::UNRENDERED, message));
    }
}
