//! The cause in a controller's own words, for messages that lack it.
//!
//! Whoever is woken by a verdict must not have to fetch the object first. Controllers write the cause in the message of
//! a condition, in the first entry of its `errors` or `warnings`, or in a field beside the phase.

use serde_json::Value;

use super::condition::{Condition, Conditions};
use super::failure_text::only_points_elsewhere;
use super::polarity::{Polarity, polarity};
use super::subject::Subject;
use crate::judgment::quote;

/// Fields beside a phase that say why.
const FIELDS: &[&str] = &[
    "phaseReason",
    "failureMessage",
    "failureReason",
    "errorMessage",
    "error",
    "message",
    "reason",
    "description",
    "statusReason",
];

/// The message of a failure, with the longest text of a bad condition when it lacks that. A condition whose meaning is not
/// known (`Fallback` is False) explains only a message that has no cause at all.
pub(super) fn complete(subject: &Subject<'_>, conditions: &Conditions<'_>, message: String) -> String {
    let bad = conditions.by_name.values().filter(|condition| !condition.stale && condition.is_bad());
    let (open, known): (Vec<&Condition<'_>>, Vec<_>) =
        bad.partition(|condition| polarity(&condition.name) == Some(Polarity::Open));
    let longest = |of: Vec<&Condition<'_>>| {
        let texts = of.into_iter().map(Condition::cause).filter(|text| !text.is_empty());
        texts.max_by_key(|text| text.chars().count())
    };
    let is_bare = is_bare(&message);
    let cause = longest(known)
        .or_else(|| longest(open).filter(|_| is_bare))
        .or_else(|| of_fields(subject).filter(|_| is_bare));
    match cause.filter(|cause| !contains(&message, cause)) {
        Some(cause) => join(&message, &cause),
        None => message,
    }
}

/// The message of a phase, with the words that the controller wrote beside it.
pub(super) fn of_phase(subject: &Subject<'_>, message: String) -> String {
    let reason =
        ["phaseReason", "statusReason"].into_iter().find_map(|field| subject.status(field)?.as_str());
    match reason.map(quote).filter(|reason| !reason.is_empty() && !contains(&message, reason)) {
        Some(reason) => join(&message, &reason),
        None => message,
    }
}

fn of_fields(subject: &Subject<'_>) -> Option<String> {
    FIELDS.iter().find_map(|field| {
        let value = subject.status(field)?;
        let text = match value {
            Value::String(text) => text.as_str(),
            Value::Object(map) => map.get("message")?.as_str()?,
            _ => return None,
        };
        Some(quote(text)).filter(|text| !text.is_empty() && !only_points_elsewhere(text))
    })
}

/// Whether a message says that something failed and not why.
fn is_bare(message: &str) -> bool {
    message.split_whitespace().count() <= 4 || message.ends_with(':') || only_points_elsewhere(message)
}

fn contains(message: &str, text: &str) -> bool {
    message.contains(text.trim_end_matches(['.', '…']))
}

fn join(message: &str, cause: &str) -> String {
    if only_points_elsewhere(message) {
        return cause.to_owned();
    }
    quote(&format!("{}: {cause}", message.trim_end_matches([':', ' ', '.'])))
}
