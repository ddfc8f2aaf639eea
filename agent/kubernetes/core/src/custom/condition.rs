//! Conditions as controllers really write them: as a list, as a map, with texts or booleans.

use std::collections::BTreeMap;

use serde_json::Value;
use trimaran_model::time::Wall;

use super::subject::Subject;
use crate::judgment::quote;
use crate::object::time_of;

/// Three answers. Anything but true or false, in any case of letters, is `Unknown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    fn of(value: Option<&Value>) -> Self {
        match value {
            Some(Value::Bool(true)) => Self::True,
            Some(Value::Bool(false)) => Self::False,
            Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Self::True,
            Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Self::False,
            _ => Self::Unknown,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Condition<'a> {
    /// As written, such as `Ready` or `cnpg.io/hibernation`.
    pub name: String,
    pub truth: Truth,
    pub reason: &'a str,
    pub message: &'a str,
    pub severity: &'a str,
    /// When it became so.
    pub at: Option<Wall>,
    /// It describes an earlier generation of the object.
    pub stale: bool,
    /// The whole entry, for rules that read other fields.
    pub entry: &'a Value,
}

impl Condition<'_> {
    /// `Ready is False: BuildFailed: exit status 1`.
    pub(super) fn sentence(&self) -> String {
        let mut text = format!("{} is {}", self.name, self.truth.as_str());
        for part in [self.reason, self.message] {
            if !part.trim().is_empty() {
                text.push_str(": ");
                text.push_str(&quote(part));
            }
        }
        text
    }
}

/// The conditions of one place, one for each type, and whether all of it could be read.
#[derive(Debug, Default)]
pub(super) struct Conditions<'a> {
    pub by_name: BTreeMap<String, Condition<'a>>,
    /// An entry is no condition: what is missing may have been bad news.
    pub odd: bool,
}

impl<'a> Conditions<'a> {
    /// Reads `conditions`, a list of entries or a map from type to entry, truth or text.
    pub(super) fn read(subject: &Subject<'a>, conditions: Option<&'a Value>) -> Self {
        let mut read = Self::default();
        match conditions {
            None | Some(Value::Null) => {}
            Some(Value::Array(entries)) => {
                for entry in entries {
                    let name = entry.get("type").and_then(Value::as_str).filter(|name| !name.is_empty());
                    match name {
                        Some(name) => read.add(condition(subject, name, entry, entry.get("status"))),
                        None => read.odd = true,
                    }
                }
            }
            Some(Value::Object(map)) => {
                for (name, entry) in map {
                    let truth = if entry.is_object() { entry.get("status") } else { Some(entry) };
                    read.add(condition(subject, name, entry, truth));
                }
            }
            Some(_) => read.odd = true,
        }
        read
    }

    /// Some controllers append: of several with one type the latest counts, whatever their order.
    fn add(&mut self, condition: Condition<'a>) {
        let rank = |condition: &Condition<'_>| (condition.at, condition.entry.to_string());
        let known = self.by_name.get(&condition.name).map(rank);
        if known.is_none_or(|known| known < rank(&condition)) {
            self.by_name.insert(condition.name.clone(), condition);
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Condition<'a>> {
        self.by_name.get(name)
    }
}

fn condition<'a>(
    subject: &Subject<'a>,
    name: &str,
    entry: &'a Value,
    truth: Option<&'a Value>,
) -> Condition<'a> {
    let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or("");
    let at = ["lastTransitionTime", "lastUpdateTime"].into_iter().find_map(|field| entry.get(field));
    Condition {
        name: name.to_owned(),
        truth: Truth::of(truth),
        reason: text("reason"),
        message: text("message"),
        severity: text("severity"),
        at: time_of(at),
        stale: subject.is_stale(entry.get("observedGeneration")),
        entry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(conditions: Value) -> (BTreeMap<String, (Truth, bool)>, bool) {
        let object = json!({"metadata": {"generation": 3}, "status": {"conditions": conditions}});
        let subject = Subject::new(&object);
        let conditions = Conditions::read(&subject, subject.status("conditions"));
        let truths = conditions.by_name.into_iter().map(|(name, c)| (name, (c.truth, c.stale))).collect();
        (truths, conditions.odd)
    }

    #[test]
    fn lists_maps_texts_and_booleans_are_read() {
        let list = read(
            json!([{"type": "Ready", "status": "True"}, {"type": "Old", "status": true, "observedGeneration": 2}]),
        );
        let expected = BTreeMap::from([
            ("Old".to_owned(), (Truth::True, true)),
            ("Ready".to_owned(), (Truth::True, false)),
        ]);
        assert_eq!(list, (expected, false));
        let map = read(json!({"Ready": {"status": "false"}, "Synced": true}));
        let expected = BTreeMap::from([
            ("Ready".to_owned(), (Truth::False, false)),
            ("Synced".to_owned(), (Truth::True, false)),
        ]);
        assert_eq!(map, (expected, false));
    }

    #[test]
    fn what_is_no_condition_is_said() {
        for odd in [json!("Ready"), json!(["Ready"]), json!([{"status": "True"}]), json!(7)] {
            assert!(read(odd.clone()).1, "{odd}");
        }
        assert!(!read(json!([])).1 && !read(json!(null)).1);
    }

    #[test]
    fn the_latest_of_several_counts() {
        let early = json!({"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let late = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-02T00:00:00Z"});
        for list in [json!([early, late]), json!([late, early])] {
            assert_eq!(read(list).0["Ready"].0, Truth::True);
        }
    }
}
