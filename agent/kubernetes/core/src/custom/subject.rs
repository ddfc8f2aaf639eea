//! A custom resource as its judges read it: what it is, its generation and its status.

use serde_json::{Map, Value};
use trimaran_model::time::Wall;

use crate::judgment::{Evidence, Source, quote};
use crate::object::Object;

/// One object. Fields of a wrong type read as absent, but for `status`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub object: &'a Value,
    pub group: &'a str,
    pub version: &'a str,
    pub kind: &'a str,
    /// `metadata.generation`.
    pub generation: Option<i64>,
    pub status: Status<'a>,
    /// The start of the deploy, or the creation of the object when that came later.
    pub began: Option<Wall>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Status<'a> {
    /// Absent, null or empty: no controller has spoken.
    None,
    Map(&'a Map<String, Value>),
    /// Neither: unreadable.
    Odd,
}

/// What `status.observedGeneration` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Observed {
    Absent,
    Generation(i64),
    Odd,
}

impl<'a> Subject<'a> {
    pub(super) fn new(object: &'a Value, since: Option<Wall>) -> Self {
        let view = Object::new(object);
        let version = view.text("apiVersion").unwrap_or("").rsplit('/').next().unwrap_or("");
        let status = match object.get("status") {
            None | Some(Value::Null) => Status::None,
            Some(Value::Object(map)) if map.is_empty() => Status::None,
            Some(Value::Object(map)) => Status::Map(map),
            Some(_) => Status::Odd,
        };
        Self {
            object,
            group: view.group(),
            version,
            kind: view.kind(),
            generation: view.at("metadata.generation").and_then(number),
            status,
            began: view.created().max(since),
        }
    }

    pub(super) fn spec(&self, field: &str) -> Option<&'a Value> {
        self.object.get("spec")?.get(field)
    }

    pub(super) fn status(&self, field: &str) -> Option<&'a Value> {
        match self.status {
            Status::Map(map) => map.get(field),
            Status::None | Status::Odd => None,
        }
    }

    pub(super) fn observed(&self) -> Observed {
        match self.status("observedGeneration") {
            None | Some(Value::Null) => Observed::Absent,
            Some(value) => number(value).map_or(Observed::Odd, Observed::Generation),
        }
    }

    /// Whether a part of the status describes an earlier generation; a part that names no generation counts as current.
    pub(super) fn is_stale(&self, observed: Option<&Value>) -> bool {
        match (observed.and_then(number), self.generation) {
            (Some(observed), Some(generation)) => observed < generation,
            _ => false,
        }
    }

    pub(super) fn evidence(&self, path: impl Into<String>, value: &Value, at: Option<Wall>) -> Evidence {
        let value = shown(value);
        Evidence { object: Object::new(self.object).display(), source: Source::Field(path.into()), value, at }
    }
}

/// An integer, or a text of one: some controllers write generations as text.
pub(super) fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A value inside of a message: texts as they are, everything else as JSON; shortened.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if text.trim().is_empty() => "empty".to_owned(),
        Value::String(text) => quote(text),
        other => quote(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn generations_are_read_as_numbers_and_as_texts() {
        let of = |observed: Value| {
            let object = json!({"metadata": {"generation": 2}, "status": {"observedGeneration": observed}});
            Subject::new(&object, None).observed()
        };
        assert_eq!(of(json!(2)), Observed::Generation(2));
        assert_eq!(of(json!("2")), Observed::Generation(2));
        assert_eq!(of(json!("6f8d")), Observed::Odd);
        assert_eq!(of(json!(null)), Observed::Absent);
    }
}
