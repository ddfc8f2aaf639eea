//! Argo Rollouts. `observedGeneration` is a text there; a phase is only of today when it equals the generation.

use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Wall};

use super::cause::{Cause, EffectiveFrom, condition_evidence, field_evidence, quote};
use super::context::Context;
use super::deployment::pods_of_set;
use super::progress::{Pending, Progress};
use super::{deadline, grace};
use crate::judgment::Judgment;
use crate::object::{Condition, Object};

const WORKLOAD_GENERATION: &str = "rollout.argoproj.io/workload-generation";
const POD_HASH: &str = "rollouts-pod-template-hash";

pub(super) fn judge<'a>(context: Context<'a>, object: Object<'a>) -> Judgment {
    if let Some(stale) = stale(object) {
        return deadline::apply(context, object, stale, Millis::ZERO);
    }
    let phase = object.text("status.phase").unwrap_or("");
    let evidence = field_evidence(object, "status.phase", phase, None);
    let message = quote(object.text("status.message").unwrap_or(""));
    if let Some(failed) = failed(object, phase, &message) {
        return failed.degraded();
    }
    let unpausing = object.flag("status.controllerPause") && object.list("status.pauseConditions").is_empty();
    let paused = object.flag("spec.paused") || phase == "Paused";
    if paused && (object.flag("spec.paused") || !unpausing) {
        let words = if message.is_empty() { String::new() } else { format!(": {message}") };
        return Judgment::suspended(format!("{} is paused{words}", object.display())).with(evidence);
    }
    let current = object.text("status.currentPodHash").unwrap_or("");
    let mut sets = context.snapshot.children_of_kind(object, "apps", "ReplicaSet");
    let current = sets.find(|set| !current.is_empty() && set.label(POD_HASH) == Some(current));
    let start = context.start(current.and_then(Object::created));
    let mut progress = Progress::new(object, pods_of_set(context, current, start));
    if phase != "Healthy" || unpausing {
        let words = if message.is_empty() { format!("its phase is \"{phase}\"") } else { message };
        progress.pending = Some(Pending::new(ReasonCode::NotReady, words, evidence));
    }
    progress.deadline = deadline(context, object, progress.start_allowance());
    progress.healthy = "the rollout is complete".to_owned();
    progress.judge(context)
}

fn stale(object: Object<'_>) -> Option<Judgment> {
    let observed = object.at("status.observedGeneration");
    let number =
        observed.and_then(|it| it.as_i64().or_else(|| it.as_str().and_then(|text| text.parse().ok())));
    let wanted = object.count("metadata.generation").unwrap_or(0);
    if number.is_none_or(|number| number < wanted) {
        let value =
            observed.map_or("absent".to_owned(), |it| it.as_str().map_or(it.to_string(), str::to_owned));
        return Some(
            Judgment::progressing(
                ReasonCode::Generation,
                format!("the controller has not seen generation {wanted} yet"),
            )
            .with(field_evidence(object, "status.observedGeneration", value, None)),
        );
    }
    object.at("spec.workloadRef")?;
    let observed = object.text("status.workloadObservedGeneration");
    let wanted = object.annotation(WORKLOAD_GENERATION);
    if observed.is_some() && observed == wanted {
        return None;
    }
    let message = "the controller has not seen the latest change of the workload";
    Some(Judgment::progressing(ReasonCode::Generation, message).with(field_evidence(
        object,
        "status.workloadObservedGeneration",
        observed.unwrap_or("absent"),
        None,
    )))
}

fn failed(object: Object<'_>, phase: &str, message: &str) -> Option<Cause> {
    let invalid = object.condition("InvalidSpec").filter(Condition::is_true);
    let given_up = object
        .condition("Progressing")
        .filter(|it| it.is_false() && matches!(it.reason, "ProgressDeadlineExceeded" | "RolloutAborted"));
    let condition = invalid.or(given_up);
    if phase != "Degraded" && invalid.is_none() && !object.flag("status.abort") {
        return None;
    }
    let late = condition.is_some_and(|it| it.reason == "ProgressDeadlineExceeded");
    let reason = if late { ReasonCode::ProgressDeadline } else { ReasonCode::ConditionFailed };
    let words = match condition {
        Some(condition) if message.is_empty() => quote(condition.text()),
        _ => message.to_owned(),
    };
    let cause =
        Cause::new(reason, EffectiveFrom::IMMEDIATELY, format!("{} failed: {words}", object.display()))
            .with(field_evidence(object, "status.phase", phase, None));
    Some(match condition {
        Some(condition) => cause.with(condition_evidence(object, &condition)),
        None => cause,
    })
}

/// The object's own deadline, in case its controller is down. A rollout between steps has none but the deploy's.
fn deadline(context: Context<'_>, object: Object<'_>, allowance: Millis) -> Option<Wall> {
    let progressing = object.condition("Progressing").filter(|it| it.reason != "NewReplicaSetAvailable");
    let seconds =
        object.count("spec.progressDeadlineSeconds").map(|seconds| seconds.min(i64::from(i32::MAX)));
    let length =
        seconds.map_or(grace::progress_with(allowance), |seconds| Millis::seconds(seconds.unsigned_abs()));
    let moved = progressing.and_then(|it| it.updated.or(it.at));
    Some(moved.max(context.since)? + length)
}
