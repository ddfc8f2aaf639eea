//! Services and Ingresses: addresses that others give, and endpoints that take the traffic.

use serde_json::Value;
use trimaran_model::reason::ReasonCode;

use super::cause::{event_evidence, field_evidence, quote};
use super::context::Context;
use super::grace;
use crate::judgment::Judgment;
use crate::object::Object;
use crate::snapshot::has_ready_endpoint;

pub(super) fn judge<'a>(context: Context<'a>, object: Object<'a>) -> Judgment {
    let judgment = judge_address(context, object);
    let selects = object.at("spec.selector").and_then(Value::as_object).is_some_and(|it| !it.is_empty());
    let endpoints = context.snapshot.endpoints(object);
    if selects && !endpoints.is_empty() && !endpoints.iter().any(|it| has_ready_endpoint(*it)) {
        return judgment.warn(format!("no_endpoints: {} selects no pod that is ready", object.display()));
    }
    judgment
}

fn judge_address<'a>(context: Context<'a>, object: Object<'a>) -> Judgment {
    if object.text("spec.type") != Some("LoadBalancer") {
        return Judgment { message: "the service exists".to_owned(), ..Judgment::healthy() };
    }
    let external =
        object.list("spec.externalIPs").iter().any(|it| it.as_str().is_some_and(|it| !it.is_empty()));
    if has_address(object) || external {
        return Judgment { message: "the load balancer has an address".to_owned(), ..Judgment::healthy() };
    }
    let event = context.events(object, context.start(object.created())).rev();
    let event = event.into_iter().find(|event| event.reason == "SyncLoadBalancerFailed");
    let words = event.map(|event| format!(": {}", quote(event.message))).unwrap_or_default();
    let message = format!("{} has no address of a load balancer yet{words}", object.display());
    let judgment = Judgment::progressing(ReasonCode::NoAddress, message).with(field_evidence(
        object,
        "status.loadBalancer.ingress",
        "empty",
        None,
    ));
    event.into_iter().fold(judgment, |judgment, event| judgment.with(event_evidence(object, &event)))
}

fn has_address(object: Object<'_>) -> bool {
    object.list("status.loadBalancer.ingress").iter().any(|entry| {
        ["ip", "hostname"]
            .iter()
            .any(|key| entry.get(key).and_then(Value::as_str).is_some_and(|it| !it.is_empty()))
    })
}

/// Many controllers never write an address, so its absence is a warning after a while.
pub(super) fn judge_ingress(context: Context<'_>, object: Object<'_>) -> Judgment {
    if has_address(object) {
        return Judgment { message: "the ingress has an address".to_owned(), ..Judgment::healthy() };
    }
    let message = format!("{} has no address yet", object.display());
    let evidence = field_evidence(object, "status.loadBalancer.ingress", "empty", object.created());
    match object.created().map(|created| created.max(context.since.unwrap_or(created)) + grace::ADDRESS) {
        Some(end) if end <= context.now => {
            let words = "the ingress exists; its controller gave no address".to_owned();
            Judgment { message: words, ..Judgment::healthy() }.with(evidence).warn(format!(
                "no_address: {} has no address after {}",
                object.display(),
                grace::ADDRESS
            ))
        }
        Some(end) => Judgment::progressing(ReasonCode::NoAddress, message).with(evidence).recheck_at(end),
        None => Judgment::progressing(ReasonCode::NoAddress, message).with(evidence),
    }
}
