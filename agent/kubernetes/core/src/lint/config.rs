//! ConfigMaps and Secrets of the set: what they hold, and whether what refers to a key finds it.

use serde_json::Value;
use trimaran_model::error_code;

use super::set::{Set, containers, list, pod_specs};
use crate::config::{ConfigKind, Reference, References, decode};
use crate::finding::{Finding, pointer_part, shown};

pub(super) fn check(set: &Set<'_>, found: &mut Vec<Finding>) {
    for (index, object) in set.objects.iter().enumerate() {
        match ConfigKind::of(object) {
            Some(kind) => content(index, kind, object, found),
            None => {
                for reference in References::builtin().of(object) {
                    keys_of(set, index, &reference, found);
                }
            }
        }
    }
    for (index, pointer, spec) in pod_specs(set) {
        sub_paths(set, index, spec, &pointer, found);
    }
}

/// Keys and base64 of one object.
fn content(index: usize, kind: ConfigKind, object: &Value, found: &mut Vec<Finding>) {
    let coded = match kind {
        ConfigKind::ConfigMap => "binaryData",
        ConfigKind::Secret => "data",
    };
    for section in ["data", "binaryData", "stringData"] {
        for (key, value) in object.get(section).and_then(Value::as_object).into_iter().flatten() {
            let place = format!("/{section}/{}", pointer_part(key));
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if key.is_empty()
                || key.len() > 253
                || !key.chars().all(fits)
                || matches!(key.as_str(), "." | "..")
            {
                let message = format!("`{}` is not a valid key of a {}", shown(key), kind.as_str());
                let help = "at most 253 letters, digits, `-`, `_` and `.`";
                found.push(Finding::error(index, &place, error_code::BAD_CONFIG_KEY, message).help(help));
            }
            if section == coded && value.as_str().is_some_and(|text| decode(text).is_err()) {
                let message = format!("the value of `{}` is not base64", shown(key));
                let help = match kind {
                    ConfigKind::ConfigMap => "encode it, or put text into `data`",
                    ConfigKind::Secret => "encode it, or put text into `stringData`",
                };
                found.push(Finding::error(index, &place, error_code::BAD_BASE64, message).help(help));
            }
        }
    }
}

/// The keys that an object of the set has; `None` when it is not there, or empty because a controller fills it.
fn keys<'a>(set: &'a Set<'_>, index: usize, kind: ConfigKind, name: &str) -> Option<Vec<&'a str>> {
    let config = &set.objects[set.neighbour(index, "", kind.as_str(), name)?];
    let keys: Vec<&str> = ["data", "binaryData", "stringData"]
        .iter()
        .filter_map(|it| config.get(*it).and_then(Value::as_object))
        .flat_map(|it| it.keys().map(String::as_str))
        .collect();
    (!keys.is_empty()).then_some(keys)
}

/// A reference to a key that the object does not have: `key` beside the name, or the `items` of a volume.
fn keys_of(set: &Set<'_>, index: usize, reference: &Reference, found: &mut Vec<Finding>) {
    if reference.namespace.is_some() || reference.output {
        return;
    }
    let Some((parent, "name" | "secretName")) = reference.pointer.rsplit_once('/') else { return };
    let Some(beside) = set.objects[index].pointer(parent) else { return };
    if beside.get("optional") == Some(&Value::Bool(true)) {
        return;
    }
    let Some(known) = keys(set, index, reference.kind, &reference.name) else { return };
    let mut wanted: Vec<(String, &str)> = Vec::new();
    wanted.extend(beside.get("key").and_then(Value::as_str).map(|key| (format!("{parent}/key"), key)));
    for (at, item) in list(beside, "items").iter().enumerate() {
        let key = item.get("key").and_then(Value::as_str);
        wanted.extend(key.map(|key| (format!("{parent}/items/{at}/key"), key)));
    }
    for (place, key) in wanted.into_iter().filter(|(_, key)| !known.contains(key)) {
        let message = format!(
            "{} `{}` of the set has no key `{}`",
            reference.kind.as_str(),
            shown(&reference.name),
            shown(key)
        );
        let names: Vec<String> = known.iter().take(5).map(|it| format!("`{}`", shown(it))).collect();
        let help = format!("it has {}", names.join(", "));
        let make = if reference.template.is_some() { Finding::error } else { Finding::warning };
        found.push(make(index, place, error_code::CONFIG_KEY_MISSING, message).help(help));
    }
}

/// `subPath` of a mount into a ConfigMap or Secret: without the key an empty folder is mounted.
fn sub_paths(set: &Set<'_>, index: usize, spec: &Value, pointer: &str, found: &mut Vec<Finding>) {
    for (pointer, container) in containers(spec, pointer) {
        for (at, mount) in list(container, "volumeMounts").iter().enumerate() {
            let (Some(path), Some(name)) = (mount.get("subPath").and_then(Value::as_str), mount.get("name"))
            else {
                continue;
            };
            let Some(volume) = list(spec, "volumes").iter().find(|it| it.get("name") == Some(name)) else {
                continue;
            };
            let source = [
                (ConfigKind::ConfigMap, "/configMap", "/name"),
                (ConfigKind::Secret, "/secret", "/secretName"),
            ]
            .into_iter()
            .find_map(|(kind, source, name)| Some((kind, volume.pointer(source)?, name)));
            let Some((kind, source, name)) = source else { continue };
            let Some(name) = source.pointer(name).and_then(Value::as_str) else { continue };
            let Some(known) = keys(set, index, kind, name) else { continue };
            let paths: Vec<&str> = match source.get("items").and_then(Value::as_array) {
                Some(items) => items.iter().filter_map(|it| it.get("path").and_then(Value::as_str)).collect(),
                None => known,
            };
            let within = |it: &&str| *it == path || it.starts_with(&format!("{path}/"));
            if !paths.iter().any(within) {
                let message = format!("{} `{}` has nothing at `{}`", kind.as_str(), shown(name), shown(path));
                let place = format!("{pointer}/volumeMounts/{at}/subPath");
                let help = "an empty folder would be mounted; name a key of it";
                found
                    .push(Finding::warning(index, place, error_code::CONFIG_KEY_MISSING, message).help(help));
            }
        }
    }
}
