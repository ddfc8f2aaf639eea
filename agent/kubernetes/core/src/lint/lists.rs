//! Lists whose items have keys: server-side apply refuses a list that has a key twice.
//!
//! The keys are those of the API's own schema (`x-kubernetes-list-map-keys`).

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::Value;
use trimaran_model::error_code;

use super::set::{Set, list, pod_specs};
use crate::finding::{Finding, shown};
use crate::identity::group;
use crate::path::Path;

/// A list: its path, the keys of its items with their defaults, and what an item is called.
type Row = (&'static str, &'static [(&'static str, &'static str)], &'static str);

const POD: &[Row] = &[
    ("containers", &[("name", "")], "container"),
    ("initContainers", &[("name", "")], "init container"),
    ("volumes", &[("name", "")], "volume"),
    ("imagePullSecrets", &[("name", "")], "image pull secret"),
    ("hostAliases", &[("ip", "")], "host alias"),
    ("resourceClaims", &[("name", "")], "resource claim"),
    (
        "topologySpreadConstraints",
        &[("topologyKey", ""), ("whenUnsatisfiable", "")],
        "topology spread constraint",
    ),
    ("containers[].env", &[("name", "")], "variable"),
    ("containers[].ports", &[("containerPort", ""), ("protocol", "TCP")], "port"),
    ("containers[].volumeMounts", &[("mountPath", "")], "mount"),
    ("containers[].volumeDevices", &[("devicePath", "")], "device"),
    ("initContainers[].env", &[("name", "")], "variable"),
    ("initContainers[].ports", &[("containerPort", ""), ("protocol", "TCP")], "port"),
    ("initContainers[].volumeMounts", &[("mountPath", "")], "mount"),
    ("initContainers[].volumeDevices", &[("devicePath", "")], "device"),
];

/// Lists of other kinds: group, kind, row.
const OTHERS: &[(&str, &str, Row)] = &[
    ("", "Service", ("spec.ports", &[("port", ""), ("protocol", "TCP")], "port")),
    ("", "ServiceAccount", ("secrets", &[("name", "")], "secret")),
    (
        "admissionregistration.k8s.io",
        "MutatingWebhookConfiguration",
        ("webhooks", &[("name", "")], "webhook"),
    ),
    (
        "admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration",
        ("webhooks", &[("name", "")], "webhook"),
    ),
    ("gateway.networking.k8s.io", "Gateway", ("spec.listeners", &[("name", "")], "listener")),
    ("apiextensions.k8s.io", "CustomResourceDefinition", ("spec.versions", &[("name", "")], "version")),
];

pub(super) fn check(set: &Set<'_>, found: &mut Vec<Finding>) {
    for (index, pointer, spec) in pod_specs(set) {
        for (path, (_, keys, what)) in pod_paths().iter().zip(POD) {
            path.visit(spec, &pointer, &mut |list, pointer| {
                twice(index, list, pointer, keys, what, found);
                if *what == "port" {
                    both_protocols(index, list, pointer, found);
                }
            });
        }
        both_lists(index, spec, &pointer, found);
    }
    for (index, object) in set.objects.iter().enumerate() {
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
        for (_, _, (path, keys, what)) in
            OTHERS.iter().filter(|(of_group, of_kind, _)| *of_kind == kind && *of_group == group(object))
        {
            let pointer = format!("/{}", path.replace('.', "/"));
            if let Some(list) = object.pointer(&pointer) {
                twice(index, list, &pointer, keys, what, found);
            }
        }
    }
    for (index, service) in set.of_kind("", "Service") {
        port_names(index, service, found);
    }
}

fn pod_paths() -> &'static [Path] {
    static PATHS: OnceLock<Vec<Path>> = OnceLock::new();
    PATHS.get_or_init(|| {
        let parse = |(path, _, _): &Row| Path::parse(path).expect("the table's paths are read by its tests");
        POD.iter().map(parse).collect()
    })
}

fn twice(
    index: usize,
    list: &Value,
    pointer: &str,
    keys: &[(&str, &str)],
    what: &str,
    found: &mut Vec<Finding>,
) {
    let mut seen: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    for (at, item) in list.as_array().into_iter().flatten().enumerate() {
        let values: Vec<String> = keys.iter().map(|(key, default)| word(item.get(*key), default)).collect();
        // A key that is missing is a finding of the schema rule.
        if values.iter().any(String::is_empty) {
            continue;
        }
        let name = shown(&values.join("/"));
        match seen.get(&values) {
            None => {
                seen.insert(values, at);
            }
            Some(first) => {
                let message = format!("{what} `{name}` is in the list twice; first as item {}", first + 1);
                let place = format!("{pointer}/{at}/{}", keys[0].0);
                found.push(Finding::error(index, place, error_code::LIST_KEY_TWICE, message));
            }
        }
    }
}

/// One number for two protocols is good for the server, which has both as the key. A client that merges the ports of a
/// container itself, as `kubectl apply` does, knows the number alone and loses one of the two
/// (kubernetes/kubernetes#39188).
fn both_protocols(index: usize, list: &Value, pointer: &str, found: &mut Vec<Finding>) {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for (at, item) in list.as_array().into_iter().flatten().enumerate() {
        let (port, protocol) = (word(item.get("containerPort"), ""), word(item.get("protocol"), "TCP"));
        let first = seen.entry(port.clone()).or_insert_with(|| protocol.clone());
        if port.is_empty() || protocol.is_empty() || *first == protocol {
            continue;
        }
        let (port, first, protocol) = (shown(&port), shown(first), shown(&protocol));
        let message = format!("port {port} is in the list for {first} and for {protocol}");
        let place = format!("{pointer}/{at}/containerPort");
        let warning = Finding::warning(index, place, error_code::LIST_KEY_TWICE, message);
        found.push(warning.help(
            "change this object by server-side apply alone: `kubectl apply` merges ports by their number and loses one",
        ));
    }
}

fn word(value: Option<&Value>, default: &str) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Null) | None => default.to_owned(),
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => String::new(),
    }
}

/// Containers and init containers share their names.
fn both_lists(index: usize, spec: &Value, pointer: &str, found: &mut Vec<Finding>) {
    for (at, container) in list(spec, "initContainers").iter().enumerate() {
        let name = container.get("name").filter(|it| it.is_string());
        if name.is_some() && list(spec, "containers").iter().any(|it| it.get("name") == name) {
            let name = shown(name.and_then(Value::as_str).unwrap_or_default());
            let message = format!("`{name}` is an init container and a container");
            let place = format!("{pointer}/initContainers/{at}/name");
            found.push(Finding::error(index, place, error_code::LIST_KEY_TWICE, message));
        }
    }
}

/// Ports of a Service need names when there are several, each another one.
fn port_names(index: usize, service: &Value, found: &mut Vec<Finding>) {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let spec = |key: &str| service.get("spec").and_then(|it| it.get(key)).and_then(Value::as_str);
    let needs_ports = spec("type") != Some("ExternalName") && spec("clusterIP") != Some("None");
    if ports.is_empty() && needs_ports && service.get("spec").is_some_and(Value::is_object) {
        let message = "the Service has no ports";
        let help = "write `ports: [{ port: … }]`; only a headless one (`clusterIP: None`) may have none";
        found
            .push(Finding::error(index, "/spec/ports", error_code::OBJECT_FIELD_MISSING, message).help(help));
    }
    if ports.len() < 2 {
        return;
    }
    for (at, port) in ports.iter().enumerate() {
        let place = format!("/spec/ports/{at}");
        match port.get("name").and_then(Value::as_str) {
            None => {
                let message = "a Service with several ports needs a name for each";
                found.push(
                    Finding::error(index, place, error_code::LIST_KEY_TWICE, message).help("write `name`"),
                );
            }
            Some(name) => {
                if ports[..at].iter().any(|it| it.get("name").and_then(Value::as_str) == Some(name)) {
                    let message = format!("port name `{}` is in the list twice", shown(name));
                    found.push(Finding::error(
                        index,
                        format!("{place}/name"),
                        error_code::LIST_KEY_TWICE,
                        message,
                    ));
                }
            }
        }
    }
}
