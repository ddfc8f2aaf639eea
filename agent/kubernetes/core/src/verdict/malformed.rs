//! Which fields of built-in kinds the rules read, and of which type they are.
//!
//! A field of another type makes the object unreadable, and the verdict `unknown`: read as absent it could
//! pass for healthy. Fields that are absent are the rules' business.

use serde_json::Value;

use crate::object::Object;

#[derive(Debug, Clone, Copy)]
enum Shape {
    /// A whole number that is not negative.
    Count,
    Text,
    Flag,
    List,
    Map,
    /// A list of entries with `type` and `status` as texts, each type once.
    Conditions,
    /// A list of entries with a `name`, a `state` and numbers where numbers belong.
    Containers,
}

use Shape::{Conditions, Containers, Count, Flag, List, Map, Text};

type Fields = &'static [(&'static str, Shape)];

const EVERY_KIND: Fields = &[
    ("metadata", Map),
    ("metadata.generation", Count),
    ("metadata.namespace", Text),
    ("spec", Map),
    ("status", Map),
    ("status.conditions", Conditions),
];
const REPLICAS: Fields = &[
    ("spec.replicas", Count),
    ("spec.minReadySeconds", Count),
    ("spec.paused", Flag),
    ("status.observedGeneration", Count),
    ("status.replicas", Count),
    ("status.updatedReplicas", Count),
    ("status.readyReplicas", Count),
    ("status.availableReplicas", Count),
];
const STATEFUL_SET: Fields = &[
    ("spec.podManagementPolicy", Text),
    ("spec.updateStrategy", Map),
    ("spec.updateStrategy.type", Text),
    ("spec.updateStrategy.rollingUpdate", Map),
    ("spec.updateStrategy.rollingUpdate.partition", Count),
    ("spec.ordinals", Map),
    ("spec.ordinals.start", Count),
    ("status.currentRevision", Text),
    ("status.updateRevision", Text),
];
const DAEMON_SET: Fields = &[
    ("spec.updateStrategy", Map),
    ("spec.updateStrategy.type", Text),
    ("status.observedGeneration", Count),
    ("status.desiredNumberScheduled", Count),
    ("status.currentNumberScheduled", Count),
    ("status.updatedNumberScheduled", Count),
    ("status.numberReady", Count),
    ("status.numberAvailable", Count),
];
const POD: Fields = &[
    ("spec.restartPolicy", Text),
    ("status.phase", Text),
    ("status.reason", Text),
    ("status.observedGeneration", Count),
    ("status.containerStatuses", Containers),
    ("status.initContainerStatuses", Containers),
];
const JOB: Fields =
    &[("spec.suspend", Flag), ("status.active", Count), ("status.ready", Count), ("status.succeeded", Count)];
const CRON_JOB: Fields = &[("spec.suspend", Flag), ("status.active", List)];
const ADDRESS: Fields = &[
    ("spec.type", Text),
    ("spec.selector", Map),
    ("spec.externalIPs", List),
    ("status.loadBalancer", Map),
    ("status.loadBalancer.ingress", List),
];
const PHASE: Fields = &[("status.phase", Text)];
const BUDGET: Fields = &[("status.observedGeneration", Count)];
const ROUTE: Fields = &[
    ("spec.parentRefs", List),
    ("spec.listeners", List),
    ("status.parents", List),
    ("status.listeners", List),
];
const ARGO_ROLLOUT: Fields = &[
    ("spec.paused", Flag),
    ("status.phase", Text),
    ("status.abort", Flag),
    ("status.controllerPause", Flag),
    ("status.pauseConditions", List),
];

fn fields(kind: &str) -> &'static [Fields] {
    match kind {
        "Deployment" | "ReplicaSet" | "ReplicationController" => &[EVERY_KIND, REPLICAS],
        "StatefulSet" => &[EVERY_KIND, REPLICAS, STATEFUL_SET],
        "DaemonSet" => &[EVERY_KIND, DAEMON_SET],
        "Pod" => &[EVERY_KIND, POD],
        "Job" => &[EVERY_KIND, JOB],
        "CronJob" => &[EVERY_KIND, CRON_JOB],
        "Service" | "Ingress" => &[EVERY_KIND, ADDRESS],
        "PersistentVolumeClaim" | "PersistentVolume" | "Namespace" => &[EVERY_KIND, PHASE],
        "PodDisruptionBudget" => &[EVERY_KIND, BUDGET],
        "HTTPRoute" | "GRPCRoute" | "TCPRoute" | "TLSRoute" | "UDPRoute" | "Gateway" => &[EVERY_KIND, ROUTE],
        "Rollout" => &[EVERY_KIND, ARGO_ROLLOUT],
        _ => &[EVERY_KIND],
    }
}

/// What a rollout is to reach is in its spec, which every live object has; without one any status would do.
fn needs_spec(kind: &str) -> bool {
    matches!(kind, "Deployment" | "ReplicaSet" | "ReplicationController" | "StatefulSet" | "DaemonSet")
}

/// The first field of a built-in kind that can't be read: `status.readyReplicas is a text, not a count`.
pub(super) fn first_fault(object: Object<'_>) -> Option<String> {
    if needs_spec(object.kind()) && object.at("spec").is_none() {
        return Some("it has no spec".to_owned());
    }
    fields(object.kind()).iter().flat_map(|fields| fields.iter()).find_map(|(path, shape)| {
        let value = object.at(path)?;
        wrong(*shape, value).map(|wrong| format!("{path} {wrong}"))
    })
}

fn wrong(shape: Shape, value: &Value) -> Option<String> {
    let fits = match shape {
        Shape::Count => value.as_i64().is_some_and(|count| count >= 0),
        Shape::Text => value.is_string(),
        Shape::Flag => value.is_boolean(),
        Shape::List | Shape::Conditions | Shape::Containers => value.is_array(),
        Shape::Map => value.is_object(),
    };
    if !fits {
        return Some(format!("is {}, not {}", name_of(value), name_of_shape(shape)));
    }
    let entries = value.as_array().map_or(&[][..], Vec::as_slice);
    match shape {
        Shape::Conditions => wrong_conditions(entries),
        Shape::Containers => entries.iter().find_map(wrong_container),
        Shape::Count | Shape::Text | Shape::Flag | Shape::List | Shape::Map => None,
    }
}

fn wrong_conditions(entries: &[Value]) -> Option<String> {
    let mut seen = std::collections::BTreeSet::new();
    for entry in entries {
        let text = |field: &str| entry.get(field).and_then(Value::as_str);
        let (Some(kind), Some(status)) = (text("type"), text("status")) else {
            return Some("has an entry without type or status".to_owned());
        };
        if !matches!(status, "True" | "False" | "Unknown") {
            return Some(format!("has {kind} with the status \"{status}\""));
        }
        if !seen.insert(kind) {
            return Some(format!("has {kind} twice"));
        }
    }
    None
}

fn wrong_container(entry: &Value) -> Option<String> {
    let name = entry.get("name").and_then(Value::as_str);
    let Some(name) = name else { return Some("has an entry without a name".to_owned()) };
    let of = |field: &str| entry.get(field).filter(|value| !value.is_null());
    let fits = of("state").is_none_or(Value::is_object)
        && of("lastState").is_none_or(Value::is_object)
        && of("ready").is_none_or(Value::is_boolean)
        && of("restartCount").is_none_or(|count| count.as_i64().is_some_and(|count| count >= 0));
    (!fits).then(|| format!("has a wrong type in the entry of {name}"))
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.as_i64().is_some_and(|number| number < 0) => "negative",
        Value::Number(_) => "another number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

fn name_of_shape(shape: Shape) -> &'static str {
    match shape {
        Shape::Count => "a count",
        Shape::Text => "a text",
        Shape::Flag => "true or false",
        Shape::List | Shape::Conditions | Shape::Containers => "a list",
        Shape::Map => "a map",
    }
}
