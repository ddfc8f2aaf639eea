//! Controllers that may not or cannot create their pods.

use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Wall;
use trimaran_model::verdict::Fault;

use super::cause::{Cause, EffectiveFrom, condition_evidence, event_evidence, quote};
use super::context::Context;
use super::grace;
use super::message_patterns::{self, CreationTrouble};
use crate::object::{Condition, Object};

/// A ReplicaSet says it in a condition.
pub(super) fn by_condition(context: Context<'_>, object: Object<'_>) -> Option<Cause> {
    let failure = object.condition("ReplicaFailure").filter(Condition::is_true)?;
    let since = failure.at.map(|at| at.max(context.since.unwrap_or(at)));
    Some(cause(object, failure.text(), since).with(condition_evidence(object, &failure)))
}

/// StatefulSets, DaemonSets and Jobs say it in events only. A later success takes the complaint back.
pub(super) fn by_event<'a>(context: Context<'a>, object: Object<'a>, start: Option<Wall>) -> Option<Cause> {
    let mut failures = context
        .events(object, start)
        .rev()
        .filter(|event| matches!(event.reason, "FailedCreate" | "SuccessfulCreate"))
        .take_while(|event| event.reason == "FailedCreate");
    let latest = failures.next()?;
    let trouble = message_patterns::creation_trouble(latest.message);
    let same = failures.filter(|event| message_patterns::creation_trouble(event.message) == trouble);
    let began = same.map(|event| event.began()).fold(latest.began(), Wall::min);
    Some(cause(object, latest.message, Some(began)).with(event_evidence(object, &latest)))
}

fn cause(object: Object<'_>, message: &str, since: Option<Wall>) -> Cause {
    let (reason, grace, fault) = match message_patterns::creation_trouble(message) {
        CreationTrouble::Quota => (ReasonCode::Quota, grace::QUOTA, Fault::Platform),
        CreationTrouble::QuotaDemand => (ReasonCode::Quota, grace::QUOTA, Fault::Release),
        CreationTrouble::Admission => (ReasonCode::AdmissionDenied, grace::CREATION, Fault::Release),
        CreationTrouble::Webhook => (ReasonCode::WebhookUnavailable, grace::WEBHOOK, Fault::Platform),
        CreationTrouble::Passing => (ReasonCode::FailedCreate, grace::WEBHOOK, Fault::Platform),
        CreationTrouble::Refused => (ReasonCode::FailedCreate, grace::CREATION, Fault::Release),
    };
    let message = format!("{} can't create its pods: {}", object.display(), quote(message));
    Cause::new(reason, EffectiveFrom::after(since, grace), message).blame(fault)
}
