//! Gateways and routes of the Gateway API (HTTP, GRPC, TLS, TCP, UDP). Their conditions are below
//! `status.parents[]` and `status.listeners[]`, one set for each, and carry the generation that they speak of.

use serde_json::Value;
use trimaran_model::reason::ReasonCode;

use super::cause::{Cause, EffectiveFrom, field_evidence, quote};
use super::context::Context;
use super::grace;
use crate::judgment::{Evidence, Judgment};
use crate::object::{Condition, Object, at, condition_of, list_of};

/// Reasons of a False condition that its controller overcomes without help.
const PASSING: &[&str] = &["Pending", "NotReconciled", "AddressNotAssigned", "NoResources", "Reconciling"];

/// One condition that must be True, and what it says.
enum Answer {
    Good,
    Pending(ReasonCode, String, Evidence),
    Bad(Cause),
}

fn ask(object: Object<'_>, place: &str, conditions: &[Value], kind: &str) -> Answer {
    let path = format!("{place}.conditions[{kind}]");
    let Some(it) = condition_of(conditions, kind) else {
        let evidence = field_evidence(object, path, "absent", None);
        return Answer::Pending(
            ReasonCode::NotReady,
            format!("{place} has no condition {kind} yet"),
            evidence,
        );
    };
    let value = format!("{}, {}", it.status, it.reason);
    let evidence = field_evidence(object, path, value, it.at);
    let generation = object.count("metadata.generation").unwrap_or(0);
    if it.observed_generation.unwrap_or(0) < generation {
        let message = format!("{kind} of {place} speaks of an earlier generation");
        return Answer::Pending(ReasonCode::Generation, message, evidence);
    }
    if it.is_true() {
        return Answer::Good;
    }
    let message = format!(
        "{}: {kind} of {place} is {} ({}): {}",
        object.display(),
        it.status,
        it.reason,
        quote(it.message)
    );
    if it.is_false() && !PASSING.contains(&it.reason) {
        let effective = EffectiveFrom::after(it.at, grace::CONFIRMATION);
        return Answer::Bad(Cause::new(ReasonCode::ConditionFailed, effective, message).with(evidence));
    }
    Answer::Pending(ReasonCode::NotReady, message, evidence)
}

/// Bad news first, then what is missing.
fn conclude(context: Context<'_>, answers: Vec<Answer>, healthy: &str) -> Judgment {
    let mut waits = None;
    let mut bad: Option<Cause> = None;
    for answer in answers {
        match answer {
            Answer::Good => {}
            Answer::Pending(reason, message, evidence) => {
                waits = waits.or_else(|| Some(Judgment::progressing(reason, message).with(evidence)));
            }
            Answer::Bad(cause)
                if bad.as_ref().is_none_or(|it| cause.effective.order() < it.effective.order()) =>
            {
                bad = Some(cause);
            }
            Answer::Bad(_) => {}
        }
    }
    match (bad, waits) {
        (Some(bad), _) => bad.judgment(context.now),
        (None, Some(waits)) => waits,
        (None, None) => Judgment { message: healthy.to_owned(), ..Judgment::healthy() },
    }
}

pub(super) fn judge_route(context: Context<'_>, object: Object<'_>) -> Judgment {
    let wanted = object.list("spec.parentRefs");
    let told = object.list("status.parents");
    let mut answers = Vec::new();
    for (index, parent) in wanted.iter().enumerate() {
        let name = parent.get("name").and_then(Value::as_str).unwrap_or("?");
        let place = format!("status.parents[{name}]");
        let same =
            |entry: &&Value| entry.get("parentRef").is_some_and(|it| is_same_parent(object, parent, it));
        let mut entries = told.iter().filter(same).peekable();
        if entries.peek().is_none() {
            let evidence = field_evidence(object, format!("spec.parentRefs[{index}]"), name, None);
            let message = format!("no controller has accepted the route at {name} yet");
            answers.push(Answer::Pending(ReasonCode::NotReady, message, evidence));
        }
        for entry in entries {
            let conditions = list_of(entry.get("conditions"));
            answers.extend(["Accepted", "ResolvedRefs"].map(|kind| ask(object, &place, conditions, kind)));
        }
    }
    if wanted.is_empty() {
        let evidence = field_evidence(object, "spec.parentRefs", "empty", None);
        let message = "the route names no parent, so nothing serves it".to_owned();
        answers.push(Answer::Pending(ReasonCode::NotReady, message, evidence));
    }
    conclude(context, answers, "every parent has accepted the route")
}

/// Absent fields of a reference have defaults: the route's namespace, and group and kind of a Gateway.
fn is_same_parent(route: Object<'_>, wanted: &Value, told: &Value) -> bool {
    let text = |value: &Value, key: &str, default: &str| {
        value.get(key).and_then(Value::as_str).unwrap_or(default).to_owned()
    };
    let defaults = [
        ("group", "gateway.networking.k8s.io"),
        ("kind", "Gateway"),
        ("namespace", route.namespace()),
        ("name", ""),
        ("sectionName", ""),
    ];
    defaults.into_iter().all(|(key, default)| text(wanted, key, default) == text(told, key, default))
        && wanted.get("port").filter(|port| !port.is_null())
            == told.get("port").filter(|port| !port.is_null())
}

pub(super) fn judge_gateway(context: Context<'_>, object: Object<'_>) -> Judgment {
    let mut answers: Vec<Answer> = ["Accepted", "Programmed"]
        .into_iter()
        .map(|kind| ask(object, "status", object.conditions(), kind))
        .collect();
    for listener in object.list("spec.listeners") {
        let name = listener.get("name").and_then(Value::as_str).unwrap_or("?");
        let place = format!("status.listeners[{name}]");
        let told = object
            .list("status.listeners")
            .iter()
            .find(|it| it.get("name").and_then(Value::as_str) == Some(name));
        let conditions = list_of(told.and_then(|told| at(told, "conditions")));
        // Older controllers do not write Accepted on listeners.
        let kinds = ["Programmed", "ResolvedRefs", "Accepted"];
        let asked =
            kinds.iter().filter(|kind| **kind != "Accepted" || condition_of(conditions, kind).is_some());
        answers.extend(asked.map(|kind| ask(object, &place, conditions, kind)));
        if let Some(conflict) = condition_of(conditions, "Conflicted").filter(Condition::is_true) {
            let message =
                format!("{}: listener {name} conflicts: {}", object.display(), quote(conflict.text()));
            let evidence =
                field_evidence(object, format!("{place}.conditions[Conflicted]"), "True", conflict.at);
            let effective = EffectiveFrom::after(conflict.at, grace::CONFIRMATION);
            answers.push(Answer::Bad(
                Cause::new(ReasonCode::ConditionFailed, effective, message).with(evidence),
            ));
        }
    }
    conclude(context, answers, "the gateway and its listeners are programmed")
}
