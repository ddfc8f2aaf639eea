//! Health of children that a controller wrote into the status of their owner.
//!
//! A sick child keeps its owner from being healthy. Only where the entries speak of the object itself
//! (parents and listeners of the Gateway API and what imitates it) they count as its own conditions.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use trimaran_model::limits::{STATUS_DEPTH_MAX, STATUS_VALUES_MAX};

use super::{Sign, Signs, Status, Weight, conditions, counts, phases};
use crate::custom::condition::Conditions;
use crate::custom::status_vocabulary::{self, Meaning};
use crate::custom::subject::Subject;
use crate::judgment::quote;

/// Lists whose entries hold conditions of the object itself.
const OWN: &[&str] = &["parents", "ancestors", "listeners", "ingress"];

/// Words inside of the names of fields that describe the past or single steps.
const HISTORY: &[&str] = &[
    "history",
    "histories",
    "previous",
    "last",
    "past",
    "old",
    "attempts",
    "failures",
    "events",
    "log",
    "logs",
    "steps",
    "recent",
    "message",
    "spec",
    "template",
    "conditions",
];

/// Keys of an entry that name the controller that wrote it.
const CONTROLLERS: &[&str] = &["controllerName", "controller", "routerName", "managedBy"];

const WORDS: &[&str] = &["phase", "state", "health", "healthStatus", "status"];

const FLAGS: &[&str] = &["ready", "healthy", "available"];

struct Walk<'s, 'a> {
    subject: &'s Subject<'a>,
    signs: &'s mut Signs,
    values: usize,
}

pub(super) fn collect(subject: &Subject<'_>, signs: &mut Signs) {
    let Status::Map(status) = subject.status else { return };
    let mut walk = Walk { subject, signs, values: 0 };
    for (field, value) in sorted(status) {
        walk.top(field, value);
        walk.field("status", field, value, 0);
    }
    if walk.values > STATUS_VALUES_MAX {
        signs.odd.push(format!("a status of more than {STATUS_VALUES_MAX} values"));
    }
}

/// The order of a file's keys must not change which message comes first.
fn sorted(map: &Map<String, Value>) -> BTreeMap<&String, &Value> {
    map.iter().collect()
}

impl<'a> Walk<'_, 'a> {
    /// `provisioningState`, `updateStatus`: no word for the whole, but bad news all the same.
    fn top(&mut self, field: &str, value: &'a Value) {
        let words = status_vocabulary::tokens(field);
        let is_state =
            words.last().is_some_and(|last| matches!(last.as_str(), "phase" | "state" | "status" | "health"));
        let past = words.iter().any(|word| HISTORY.contains(&word.as_str()));
        if let (Some(text), true) = (value.as_str(), is_state && !past && !phases::WORDS.contains(&field)) {
            self.word(&format!("status.{field}"), text);
        }
    }

    fn field(&mut self, place: &str, field: &str, value: &'a Value, depth: usize) {
        let past = status_vocabulary::tokens(field).iter().any(|word| HISTORY.contains(&word.as_str()));
        if past || !(value.is_object() || value.is_array()) {
            return;
        }
        let own = depth == 0 && OWN.contains(&field);
        self.value(&format!("{place}.{field}"), value, own, depth + 1);
    }

    fn value(&mut self, place: &str, value: &'a Value, own: bool, depth: usize) {
        self.values += 1;
        if self.values > STATUS_VALUES_MAX {
            return;
        }
        if depth > STATUS_DEPTH_MAX {
            self.signs.odd.push(quote(place));
            return;
        }
        match value {
            Value::Array(list) if own => self.own_entries(place, list, depth),
            Value::Object(map) => self.map(place, map, own, depth),
            Value::Array(list) => {
                for (index, item) in list.iter().enumerate().filter(|(_, item)| !item.is_string()) {
                    self.value(&format!("{place}[{index}]"), item, own, depth + 1);
                }
            }
            _ => {}
        }
    }

    /// Each controller writes entries of its own, also about what it does not serve. Where one of several accepts the
    /// object, what the others say is a warning.
    fn own_entries(&mut self, place: &str, list: &'a [Value], depth: usize) {
        let kept = std::mem::take(self.signs);
        let mut by_controller: BTreeMap<&str, Signs> = BTreeMap::new();
        for (index, entry) in list.iter().enumerate().filter(|(_, entry)| !entry.is_string()) {
            let controller = CONTROLLERS.iter().find_map(|key| entry.get(key)?.as_str()).unwrap_or("");
            *self.signs = by_controller.remove(controller).unwrap_or_default();
            self.value(&format!("{place}[{index}]"), entry, true, depth + 1);
            by_controller.insert(controller, std::mem::take(self.signs));
        }
        *self.signs = kept;
        let refuses = |signs: &Signs| signs.has(Weight::Bad) || signs.has(Weight::Waiting);
        let accepted = by_controller.len() > 1
            && by_controller.values().any(|signs| signs.has(Weight::Proof) && !refuses(signs));
        for (controller, signs) in by_controller {
            let is_foreign = accepted && refuses(&signs);
            self.signs.odd.extend(signs.odd);
            self.signs.warnings.extend(signs.warnings);
            for sign in signs.signs {
                match sign.weight {
                    Weight::Bad | Weight::Waiting if is_foreign => {
                        self.signs.warnings.push(format!("controller {controller}: {}", sign.sentence));
                    }
                    _ => self.signs.add(sign),
                }
            }
        }
    }

    fn map(&mut self, place: &str, map: &'a Map<String, Value>, own: bool, depth: usize) {
        self.conditions(place, map, own);
        self.words(place, map);
        for (path, count, sentence) in counts::shortages(place, map, None) {
            self.wait(path, &count.into(), sentence);
        }
        for (field, value) in sorted(map) {
            self.field(place, field, value, depth);
        }
    }

    fn conditions(&mut self, place: &str, map: &'a Map<String, Value>, own: bool) {
        let path = format!("{place}.conditions");
        let conditions = Conditions::read(self.subject, map.get("conditions"));
        if own {
            conditions::collect(self.subject, &conditions, &path, self.signs);
            return;
        }
        // A child has generations of its own, so nothing of it is stale here.
        let mut of_child = Signs::default();
        let fresh = conditions.by_name.into_iter().map(|(name, mut condition)| {
            condition.stale = false;
            (name, condition)
        });
        let conditions = Conditions { by_name: fresh.collect(), odd: false };
        conditions::collect(self.subject, &conditions, &path, &mut of_child);
        for sign in of_child.signs {
            if matches!(sign.weight, Weight::Bad | Weight::Waiting) {
                let sentence = format!("{place}: {}", sign.sentence);
                self.signs.add(Sign::new(Weight::Waiting, sentence, sign.evidence));
            }
        }
    }

    fn words(&mut self, place: &str, map: &Map<String, Value>) {
        for field in WORDS {
            let Some(text) = map.get(*field).and_then(Value::as_str) else { continue };
            self.word(&format!("{place}.{field}"), text);
        }
        for field in FLAGS {
            if map.get(*field) == Some(&Value::Bool(false)) {
                let path = format!("{place}.{field}");
                self.wait(path.clone(), &false.into(), format!("{path} is false"));
            }
        }
    }

    fn word(&mut self, path: &str, text: &str) {
        if matches!(status_vocabulary::phase(text, false), Some(Meaning::Bad | Meaning::Waiting)) {
            self.wait(path.to_owned(), &text.into(), format!("{path} is {}", quote(text)));
        }
    }

    fn wait(&mut self, path: String, value: &Value, sentence: String) {
        let evidence = self.subject.evidence(path, value, None);
        self.signs.add(Sign::new(Weight::Waiting, sentence, evidence));
    }
}
