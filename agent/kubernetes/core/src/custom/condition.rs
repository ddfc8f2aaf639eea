//! Conditions as controllers really write them: as a list, as a map, with texts or booleans.

use std::collections::BTreeMap;

use serde_json::Value;
use trimaran_model::time::Wall;

use super::failure_text::only_points_elsewhere;
use super::polarity::{Polarity, polarity};
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
    /// Whether it is a failure: a bad one that is true, or another one that is not.
    pub(super) fn is_bad(&self) -> bool {
        match polarity(&self.name) {
            Some(Polarity::Bad) => self.truth == Truth::True,
            // `NotReady` and the like are failures only by their reason.
            Some(Polarity::Waiting) => self.truth == Truth::True && self.name.starts_with("Not"),
            Some(Polarity::Suspended) | None => false,
            Some(Polarity::Proof | Polarity::Part | Polarity::Open) => self.truth == Truth::False,
        }
    }

    /// `Ready is False: BuildFailed: exit status 1`.
    pub(super) fn sentence(&self) -> String {
        let mut text = format!("{} is {}", self.name, self.truth.as_str());
        for part in [quote(self.reason), self.cause()] {
            if !part.is_empty() {
                text.push_str(": ");
                text.push_str(&part);
            }
        }
        text
    }

    /// The controller that wrote it, where the entry names one.
    fn manager(&self) -> Option<&str> {
        ["managedBy", "controllerName", "controller"]
            .into_iter()
            .find_map(|key| self.entry.get(key)?.as_str())
    }

    /// Its message, or its first detail where the message only points to the details.
    pub(super) fn cause(&self) -> String {
        let detail = DETAILS.iter().find_map(|list| {
            let first = self.entry.get(list)?.as_array()?.first()?;
            let text = first.as_str().or_else(|| first.get("message")?.as_str());
            text.filter(|text| !text.trim().is_empty())
        });
        let points = self.message.trim().is_empty() || only_points_elsewhere(self.message);
        quote(detail.filter(|_| points).unwrap_or(self.message))
    }
}

/// Lists of details inside of a condition.
const DETAILS: &[&str] = &["errors", "warnings"];

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

    /// Some controllers append: of several with one type the latest counts, whatever their order. Of several that
    /// different controllers write, one that is true is enough.
    fn add(&mut self, condition: Condition<'a>) {
        let known = self.by_name.get(&condition.name);
        let others = known.is_some_and(|known| known.manager() != condition.manager());
        let rank = |condition: &Condition<'_>| {
            (others && condition.truth == Truth::True, condition.at, condition.entry.to_string())
        };
        if known.is_none_or(|known| rank(known) < rank(&condition)) {
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
        let subject = Subject::new(&object, None);
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
    fn one_of_several_controllers_is_enough() {
        let of = |manager: &str, status: &str, at: &str| json!({"type": "Accepted", "status": status, "managedBy": manager, "lastTransitionTime": at});
        let (yes, no) = (of("a", "True", "2026-01-01T00:00:00Z"), of("b", "False", "2026-01-02T00:00:00Z"));
        for list in [json!([yes, no]), json!([no, yes])] {
            assert_eq!(read(list).0["Accepted"].0, Truth::True);
        }
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
