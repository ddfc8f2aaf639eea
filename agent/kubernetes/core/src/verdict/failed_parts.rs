//! Parts of a healthy object that do not work: worth a warning, and no reason to fail the object.

use serde_json::Value;

use super::cause::quote;
use crate::custom::polarity::{Polarity, polarity};
use crate::judgment::Judgment;
use crate::object::{Condition, Object, list_of};

/// A healthy judgment of a built-in kind with a warning for each part that its status reports as broken.
pub(super) fn warn_of(object: Object<'_>, judgment: Judgment) -> Judgment {
    ports(object)
        .into_iter()
        .chain(conditions(object))
        .chain(expressions(object))
        .fold(judgment, Judgment::warn)
}

/// Ports that a load balancer did not open (KEP 1435).
fn ports(object: Object<'_>) -> Vec<String> {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    let entries = object.list("status.loadBalancer.ingress").iter();
    let ports = entries.flat_map(|entry| list_of(entry.get("ports")).iter()).filter_map(|port| {
        let error = Some(text(port, "error")).filter(|error| !error.is_empty())?;
        let number = port.get("port").and_then(Value::as_u64).unwrap_or(0);
        let error = quote(&error);
        Some(format!("port_not_served: port {number}/{} is not served: {error}", text(port, "protocol")))
    });
    ports.collect()
}

/// Conditions that are bad when they are true, and the pressures of a node.
fn conditions(object: Object<'_>) -> Vec<String> {
    let is_bad = |it: &Condition<'_>| {
        let pressure =
            object.kind() == "Node" && (it.kind.ends_with("Pressure") || it.kind == "NetworkUnavailable");
        it.is_true() && (pressure || polarity(it.kind) == Some(Polarity::Bad))
    };
    let bad = object.conditions().iter().map(Condition::read).filter(is_bad);
    bad.map(|it| {
        let reason = if it.reason.is_empty() { String::new() } else { format!(" ({})", it.reason) };
        format!("condition_failed: {} is True{reason}: {}", it.kind, quote(it.message))
    })
    .collect()
}

/// Expressions of an admission policy that do not fit the types that they are asked for.
fn expressions(object: Object<'_>) -> Vec<String> {
    let warnings = object.list("status.typeChecking.expressionWarnings").iter();
    let text =
        |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).map(quote).unwrap_or_default();
    warnings
        .map(|entry| format!("condition_failed: {}: {}", text(entry, "fieldRef"), text(entry, "warning")))
        .collect()
}
