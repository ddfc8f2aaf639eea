//! One Kubernetes object as JSON, read without trust: what is absent or of another type reads as `None`.
//!
//! Whether a field of another type makes a verdict impossible is decided in `verdict/shape.rs`.

use serde_json::Value;
use trimaran_model::time::Wall;

/// A view of one object; cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Object<'a> {
    value: &'a Value,
}

/// One entry of a list of conditions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Condition<'a> {
    pub(crate) kind: &'a str,
    /// `True`, `False` or `Unknown`; empty when it is no text.
    pub(crate) status: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) message: &'a str,
    /// `lastTransitionTime`: since when the status is what it is.
    pub(crate) at: Option<Wall>,
    /// `lastUpdateTime`, which only some kinds have.
    pub(crate) updated: Option<Wall>,
    pub(crate) observed_generation: Option<i64>,
}

impl<'a> Condition<'a> {
    pub(crate) fn read(entry: &'a Value) -> Self {
        let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or("");
        Self {
            kind: text("type"),
            status: text("status"),
            reason: text("reason"),
            message: text("message"),
            at: time_of(entry.get("lastTransitionTime")),
            updated: time_of(entry.get("lastUpdateTime")),
            observed_generation: entry.get("observedGeneration").and_then(Value::as_i64),
        }
    }

    pub(crate) fn is_true(&self) -> bool {
        self.status == "True"
    }

    pub(crate) fn is_false(&self) -> bool {
        self.status == "False"
    }

    /// The message, or the reason when there is none.
    pub(crate) fn text(&self) -> &'a str {
        if self.message.is_empty() { self.reason } else { self.message }
    }
}

/// The condition of this type in a list of conditions.
pub(crate) fn condition_of<'a>(list: &'a [Value], kind: &str) -> Option<Condition<'a>> {
    list.iter().map(Condition::read).find(|condition| condition.kind == kind)
}

impl<'a> Object<'a> {
    pub fn new(value: &'a Value) -> Self {
        Self { value }
    }

    pub fn value(self) -> &'a Value {
        self.value
    }

    /// The value at a path of keys joined by dots; null reads as absent.
    pub(crate) fn at(self, path: &str) -> Option<&'a Value> {
        at(self.value, path)
    }

    pub(crate) fn text(self, path: &str) -> Option<&'a str> {
        self.at(path).and_then(Value::as_str)
    }

    /// A whole number that is not negative.
    pub(crate) fn count(self, path: &str) -> Option<i64> {
        self.at(path).and_then(Value::as_i64).filter(|count| *count >= 0)
    }

    pub(crate) fn flag(self, path: &str) -> bool {
        self.at(path).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(crate) fn time(self, path: &str) -> Option<Wall> {
        time_of(self.at(path))
    }

    pub(crate) fn list(self, path: &str) -> &'a [Value] {
        list_of(self.at(path))
    }

    pub fn kind(self) -> &'a str {
        self.text("kind").unwrap_or("")
    }

    /// The API group; empty for the core group.
    pub fn group(self) -> &'a str {
        group_of(self.text("apiVersion").unwrap_or(""))
    }

    pub fn name(self) -> &'a str {
        self.text("metadata.name").unwrap_or("")
    }

    /// Empty for objects of the whole cluster.
    pub fn namespace(self) -> &'a str {
        self.text("metadata.namespace").unwrap_or("")
    }

    /// Whether its kind has no namespaces.
    pub fn is_cluster_scoped(self) -> bool {
        crate::identity::is_cluster_scoped(self.group(), self.kind())
    }

    pub(crate) fn uid(self) -> &'a str {
        self.text("metadata.uid").unwrap_or("")
    }

    pub(crate) fn label(self, key: &str) -> Option<&'a str> {
        self.at("metadata.labels")?.get(key)?.as_str()
    }

    pub(crate) fn annotation(self, key: &str) -> Option<&'a str> {
        self.at("metadata.annotations")?.get(key)?.as_str()
    }

    pub(crate) fn created(self) -> Option<Wall> {
        self.time("metadata.creationTimestamp")
    }

    /// Whether its deletion was requested.
    pub(crate) fn is_deleted(self) -> bool {
        self.at("metadata.deletionTimestamp").is_some()
    }

    pub(crate) fn owners(self) -> &'a [Value] {
        self.list("metadata.ownerReferences")
    }

    pub(crate) fn conditions(self) -> &'a [Value] {
        self.list("status.conditions")
    }

    pub(crate) fn condition(self, kind: &str) -> Option<Condition<'a>> {
        condition_of(self.conditions(), kind)
    }

    /// `Kind/name` as verdicts and evidence name it; `?` stands for what is missing.
    pub fn display(self) -> String {
        let or_unknown = |text: &'a str| if text.is_empty() { "?" } else { text };
        format!("{}/{}", or_unknown(self.kind()), or_unknown(self.name()))
    }
}

/// `apps` of `apps/v1`; empty for `v1`.
pub(crate) fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// The value at a path of keys joined by dots; null reads as absent.
pub(crate) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, key| value.get(key)).filter(|value| !value.is_null())
}

pub(crate) fn list_of(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// An RFC 3339 time.
pub(crate) fn time_of(value: Option<&Value>) -> Option<Wall> {
    let time: jiff::Timestamp = value?.as_str()?.parse().ok()?;
    Some(Wall(time.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn other_types_read_as_absent() {
        let value =
            json!({"kind": 3, "metadata": [], "spec": {"replicas": "3", "negative": -1, "null": null}});
        let object = Object::new(&value);
        assert_eq!((object.kind(), object.name(), object.namespace()), ("", "", ""));
        assert_eq!(object.count("spec.replicas"), None);
        assert_eq!(object.count("spec.negative"), None);
        assert!(object.at("spec.null").is_none());
        assert_eq!(object.display(), "?/?");
    }

    #[test]
    fn times_have_milliseconds_and_offsets() {
        assert_eq!(time_of(Some(&json!("1970-01-01T00:00:01.5Z"))), Some(Wall(1500)));
        assert_eq!(time_of(Some(&json!("1970-01-01T01:00:00+01:00"))), Some(Wall(0)));
        assert_eq!(time_of(Some(&json!("yesterday"))), None);
    }
}
