//! Objects that change what the API itself can do: definitions, API services, namespaces, webhooks.

use serde_json::Value;
use trimaran_model::reason::ReasonCode;
use trimaran_model::verdict::Fault;

use super::cause::{Cause, EffectiveFrom, condition_evidence, field_evidence, quote};
use super::context::Context;
use super::grace;
use crate::custom::failure_text;
use crate::judgment::Judgment;
use crate::object::{Condition, Object, at};

fn failed(object: Object<'_>, it: &Condition<'_>, grace: trimaran_model::time::Millis) -> Cause {
    let message =
        format!("{}: {} is {} ({}): {}", object.display(), it.kind, it.status, it.reason, quote(it.message));
    Cause::new(ReasonCode::ConditionFailed, EffectiveFrom::after(it.at, grace), message)
        .with(condition_evidence(object, it))
}

pub(super) fn judge_definition(context: Context<'_>, object: Object<'_>) -> Judgment {
    let established = object.condition("Established");
    let bad = [
        object.condition("NamesAccepted").filter(Condition::is_false),
        object.condition("NonStructuralSchema").filter(Condition::is_true),
        established.filter(|it| it.is_false() && is_refused(it)),
    ];
    if let Some(bad) = bad.into_iter().flatten().next() {
        return failed(object, &bad, grace::CONFIRMATION).judgment(context.now);
    }
    if established.is_some_and(|it| it.is_true()) {
        return Judgment { message: "the kind is served".to_owned(), ..Judgment::healthy() };
    }
    let message = format!("{} is not served yet", object.display());
    match established {
        Some(it) => {
            let message = [message, quote(it.text())].into_iter().filter(|part| !part.is_empty());
            let message = message.collect::<Vec<_>>().join(": ");
            Judgment::progressing(ReasonCode::NotReady, message).with(condition_evidence(object, &it))
        }
        None => Judgment::progressing(ReasonCode::NotReady, message).with(field_evidence(
            object,
            "status.conditions[Established]",
            "absent",
            None,
        )),
    }
}

/// The names were refused; any other reason that is no failure waits.
fn is_refused(established: &Condition<'_>) -> bool {
    matches!(established.reason, "NotAccepted" | "NamesNotAccepted")
        || failure_text::is_final(established.reason, established.message)
}

pub(super) fn judge_api_service(context: Context<'_>, object: Object<'_>) -> Judgment {
    match object.condition("Available") {
        Some(it) if it.is_true() => {
            Judgment { message: "the API is served".to_owned(), ..Judgment::healthy() }
        }
        Some(it) if it.is_false() => failed(object, &it, grace::API_SERVICE).judgment(context.now),
        _ => {
            let evidence = field_evidence(object, "status.conditions[Available]", "absent or Unknown", None);
            Judgment::progressing(ReasonCode::NotReady, format!("{} is not served yet", object.display()))
                .with(evidence)
        }
    }
}

/// Nothing can be deployed into a namespace that goes away, so it is degraded at once.
pub(super) fn judge_namespace(object: Object<'_>) -> Judgment {
    let phase = object.text("status.phase").unwrap_or("");
    let evidence = field_evidence(object, "status.phase", phase, object.time("metadata.deletionTimestamp"));
    if phase == "Terminating" || object.is_deleted() {
        let message = format!("{} is being deleted: nothing can be deployed into it", object.display());
        return Cause::new(ReasonCode::ConditionFailed, EffectiveFrom::IMMEDIATELY, message)
            .blame(Fault::Platform)
            .with(evidence)
            .degraded();
    }
    if phase == "Active" {
        return Judgment { message: "the namespace is active".to_owned(), ..Judgment::healthy() };
    }
    Judgment::progressing(ReasonCode::NotReady, format!("{} is not active yet", object.display()))
        .with(evidence)
}

/// A webhook without a CA bundle is called with the system's roots, which is rarely meant.
pub(super) fn judge_webhooks(object: Object<'_>) -> Judgment {
    let judgment = Judgment { message: "the configuration exists".to_owned(), ..Judgment::healthy() };
    let without = object.list("webhooks").iter().filter(|webhook| {
        at(webhook, "clientConfig.caBundle").and_then(Value::as_str).is_none_or(str::is_empty)
    });
    without.fold(judgment, |judgment, webhook| {
        let name = webhook.get("name").and_then(Value::as_str).unwrap_or("?");
        judgment.warn(format!("webhook {name} has no caBundle yet"))
    })
}
