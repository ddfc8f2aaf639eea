//! Autoscalers and disruption budgets.
//!
//! Whether the wanted number of replicas is reached is never asked: a busy service would hold its own deploy.

use serde_json::Value;
use trimaran_model::reason::ReasonCode;
use trimaran_model::verdict::Fault;

use super::cause::{Cause, EffectiveFrom, condition_evidence, field_evidence, quote};
use super::context::Context;
use super::{grace, message_patterns};
use crate::custom::failure_text;
use crate::judgment::Judgment;
use crate::object::{Condition, Object, condition_of};

/// Where `autoscaling/v1` hides what is `status.conditions` in `autoscaling/v2`, as JSON.
const V1_CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

pub(super) fn judge_autoscaler(context: Context<'_>, object: Object<'_>) -> Judgment {
    let hidden: Value = match object.annotation(V1_CONDITIONS) {
        Some(text) if object.at("status.conditions").is_none() => {
            serde_json::from_str(text).unwrap_or_default()
        }
        _ => Value::Null,
    };
    let conditions = match &hidden {
        Value::Array(list) => list.as_slice(),
        _ => object.conditions(),
    };
    if let Some(cause) = scaling_fails(object, conditions) {
        return cause.judgment(context.now);
    }
    let get = |kind| condition_of(conditions, kind);
    let disabled = get("ScalingActive").is_some_and(|it| it.is_false() && it.reason == "ScalingDisabled");
    let able = get("AbleToScale").is_some_and(|it| it.is_true())
        || get("ScalingLimited").is_some_and(|it| it.is_true());
    // A reason that is not known: whether the autoscaler works is not clear until the condition is True.
    let inactive = get("ScalingActive").filter(|it| it.is_false() && !disabled);
    if let Some(inactive) = inactive.filter(|_| able) {
        let message = format!(
            "{}: ScalingActive is False ({}): {}",
            object.display(),
            inactive.reason,
            quote(inactive.message)
        );
        return Judgment::progressing(ReasonCode::NotReady, message)
            .with(condition_evidence(object, &inactive));
    }
    if disabled || able {
        let message = if disabled { "scaling is switched off" } else { "the autoscaler can scale" };
        return Judgment { message: message.to_owned(), ..Judgment::healthy() };
    }
    if let Some(waiting) = get("AbleToScale").filter(|it| !it.text().is_empty()) {
        let message = format!("{} is not able to scale yet: {}", object.display(), quote(waiting.text()));
        return Judgment::progressing(ReasonCode::NotReady, message)
            .with(condition_evidence(object, &waiting));
    }
    let evidence = field_evidence(object, "status.conditions[AbleToScale]", "not True", None);
    Judgment::progressing(ReasonCode::NotReady, format!("{} is not able to scale yet", object.display()))
        .with(evidence)
}

/// Metrics of new pods take a while; everything else is wrong from the start.
fn scaling_fails(object: Object<'_>, conditions: &[Value]) -> Option<Cause> {
    let failing = conditions.iter().map(Condition::read).filter(Condition::is_false).filter_map(|it| {
        let grace = match it.reason {
            "FailedGetScale" | "FailedUpdateScale" | "InvalidSelector" => grace::CONFIRMATION,
            "FailedGetResourceMetric"
            | "FailedGetContainerResourceMetric"
            | "FailedGetObjectMetric"
            | "FailedGetPodsMetric"
            | "FailedGetExternalMetric"
            | "FailedComputeMetricsReplicas"
            | "InvalidMetricSourceType" => grace::METRICS,
            _ => return None,
        };
        let message =
            format!("{}: {} is False ({}): {}", object.display(), it.kind, it.reason, quote(it.message));
        let cause = Cause::new(ReasonCode::ConditionFailed, EffectiveFrom::after(it.at, grace), message);
        let away = message_patterns::metrics_api_is_away(it.message);
        Some(if away { cause.blame(Fault::Platform) } else { cause }.with(condition_evidence(object, &it)))
    });
    failing.min_by_key(|cause| (cause.effective.order(), cause.message.clone()))
}

pub(super) fn judge_budget(context: Context<'_>, object: Object<'_>) -> Judgment {
    let healthy = Judgment { message: "the budget is in force".to_owned(), ..Judgment::healthy() };
    match object.condition("DisruptionAllowed") {
        Some(allowed) if allowed.is_true() => healthy,
        // A budget that allows nothing at the moment does what it is for.
        Some(allowed) if allowed.is_false() && allowed.reason == "InsufficientPods" => healthy,
        Some(allowed) if allowed.is_false() && failure_text::is_final(allowed.reason, allowed.message) => {
            let words = quote(allowed.text());
            let message =
                format!("{}: DisruptionAllowed is False ({}): {words}", object.display(), allowed.reason);
            Cause::new(
                ReasonCode::ConditionFailed,
                EffectiveFrom::after(allowed.at, grace::CONFIRMATION),
                message,
            )
            .with(condition_evidence(object, &allowed))
            .judgment(context.now)
        }
        Some(allowed) => {
            let words = quote(allowed.text());
            let message = format!("{}: DisruptionAllowed is {}: {words}", object.display(), allowed.status);
            Judgment::progressing(ReasonCode::NotReady, message).with(condition_evidence(object, &allowed))
        }
        None => {
            let evidence = field_evidence(object, "status.conditions[DisruptionAllowed]", "absent", None);
            Judgment::progressing(
                ReasonCode::NotReady,
                format!("{} was not evaluated by its controller yet", object.display()),
            )
            .with(evidence)
        }
    }
}
