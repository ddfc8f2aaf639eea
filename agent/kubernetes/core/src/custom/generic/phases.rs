//! Phases, states, flags and error texts at the top of the status.

use serde_json::Value;

use super::{Sign, Signs, Weight};
use crate::custom::status_vocabulary::{self, Meaning};
use crate::custom::subject::{self, Subject};
use crate::judgment::{Source, quote};

/// Fields that hold the one word for the whole object. A map in one of them is read one level deep.
pub(super) const WORDS: &[&str] =
    &["phase", "state", "health", "healthStatus", "status", "currentState", "currentStatus"];

const INNER_WORDS: &[&str] = &["status", "phase", "state", "health"];

/// Flags that are good when true.
const FLAGS: &[&str] = &["ready", "healthy", "available", "readyToUse", "succeeded"];

/// Texts that say that the controller has given up (Cluster API, 'terminal problem').
const FINAL_ERRORS: &[&str] = &["failureReason", "failureMessage"];

const ERRORS: &[&str] = &["error", "errorMessage", "errorReason", "errors"];

/// Each text of [`WORDS`] with its path.
pub(super) fn texts<'a>(subject: &Subject<'a>) -> impl Iterator<Item = (String, &'a str)> {
    let subject = *subject;
    WORDS.iter().flat_map(move |field| {
        let value = subject.status(field);
        let own = value.and_then(Value::as_str).map(|text| (format!("status.{field}"), text));
        let inner = INNER_WORDS.iter().filter_map(move |inner| {
            let text = value?.as_object()?.get(*inner)?.as_str()?;
            Some((format!("status.{field}.{inner}"), text))
        });
        own.into_iter().chain(inner)
    })
}

pub(super) fn collect(subject: &Subject<'_>, signs: &mut Signs) {
    // From the conditions only, before this file adds its own signs.
    let proven = signs.has(Weight::Proof);
    phases(subject, proven, signs);
    flags(subject, signs);
    errors(subject, signs);
}

fn phases(subject: &Subject<'_>, proven: bool, signs: &mut Signs) {
    for (path, text) in texts(subject).filter(|(_, text)| !text.trim().is_empty()) {
        let evidence = subject.evidence(path.clone(), &text.into(), None);
        let sentence = format!("{path} is {}", quote(text));
        let weight = match status_vocabulary::phase(text, status_vocabulary::is_job_kind(subject.kind)) {
            // A phase of the last operation beside a true `Ready` proves nothing bad of the object.
            Some(Meaning::Bad) if proven && !path.contains("health") => Weight::Waiting,
            Some(Meaning::Bad) => Weight::Bad,
            Some(Meaning::Waiting) => Weight::Waiting,
            Some(Meaning::Suspended) => Weight::Suspended,
            Some(Meaning::Good) => Weight::Proof,
            None => {
                signs.warnings.push(format!("{sentence}, and no rule knows this word"));
                continue;
            }
        };
        signs.add(Sign::new(weight, with_message(subject, sentence), evidence));
    }
    for field in WORDS.iter().filter(|field| **field != "status") {
        if subject
            .status(field)
            .is_some_and(|value| !(value.is_string() || value.is_object() || value.is_null()))
        {
            signs.odd.push(format!("status.{field}"));
        }
    }
}

fn with_message(subject: &Subject<'_>, sentence: String) -> String {
    let message = ["message", "reason", "phaseReason"].into_iter().find_map(|field| {
        subject.status(field).and_then(Value::as_str).filter(|text| !text.trim().is_empty())
    });
    match message {
        Some(message) => format!("{sentence}: {}", quote(message)),
        None => sentence,
    }
}

fn flags(subject: &Subject<'_>, signs: &mut Signs) {
    for field in FLAGS {
        let Some(value) = subject.status(field) else { continue };
        let weight = match value {
            Value::Bool(true) => Weight::Proof,
            Value::Bool(false) => Weight::Waiting,
            Value::String(text) if text.eq_ignore_ascii_case("false") => Weight::Waiting,
            _ => continue,
        };
        let path = format!("status.{field}");
        let sentence = with_message(subject, format!("{path} is {value}"));
        signs.add(Sign::new(weight, sentence, subject.evidence(path, value, None)));
    }
}

fn errors(subject: &Subject<'_>, signs: &mut Signs) {
    let good = signs.has(Weight::Proof);
    for (fields, alone) in [(FINAL_ERRORS, false), (ERRORS, true)] {
        for field in fields {
            let Some(value) = subject.status(field) else { continue };
            let Some(text) = error_text(value) else { continue };
            let path = format!("status.{field}");
            let sentence = format!("{path}: {text}");
            if alone && is_overcome(value, signs) {
                signs.warnings.push(format!("{sentence} (of an earlier try: the object is ready)"));
                continue;
            }
            // An error text that was not cleared is no proof beside good news.
            let weight = if alone && good { Weight::Waiting } else { Weight::Bad };
            let evidence = subject.evidence(path, &text.into(), None);
            signs.add(Sign::new(weight, sentence, evidence));
        }
    }
}

/// Whether a field says that the object is ready, which is more direct than the last error of its controller, unless
/// that error came later.
fn is_overcome(error: &Value, signs: &Signs) -> bool {
    let at = ["time", "timestamp", "lastTransitionTime"].into_iter().find_map(|key| error.get(key));
    let at = crate::object::time_of(at);
    let is_direct = |sign: &&Sign| {
        let Source::Field(path) = &sign.evidence.source else { return false };
        sign.weight == Weight::Proof
            && (path == "status.conditions[Ready].status"
                || FLAGS.iter().any(|flag| *path == format!("status.{flag}")))
    };
    signs.signs.iter().filter(is_direct).any(|sign| match (at, sign.evidence.at) {
        (Some(error), Some(ready)) => error <= ready,
        _ => true,
    })
}

/// The words of an error, which may be a text, a map with a message or a list.
fn error_text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.as_str(),
        Value::Object(map) if !map.is_empty() => {
            return Some(map.get("message").map_or_else(|| subject::shown(value), subject::shown));
        }
        Value::Array(list) if !list.is_empty() => return Some(subject::shown(value)),
        _ => "",
    };
    (!text.trim().is_empty()).then(|| quote(text))
}
