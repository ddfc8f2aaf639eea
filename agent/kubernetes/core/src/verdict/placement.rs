//! Pods that no node takes, nodes that may be on their way, and nodes that can't set a pod up.

use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Wall;
use trimaran_model::verdict::Fault;

use super::cause::{Cause, EffectiveFrom, condition_evidence, event_evidence, quote};
use super::grace;
use super::pod::Pod;
use crate::snapshot::Event;

/// What an autoscaler said last: cluster-autoscaler's and Karpenter's reasons of events.
enum Scaling<'a> {
    Coming(Event<'a>),
    Refused(Event<'a>),
}

pub(super) fn unschedulable(pod: &Pod<'_>) -> Option<Cause> {
    let scheduled = pod.object.condition("PodScheduled")?;
    if !scheduled.is_false() || scheduled.reason != "Unschedulable" {
        return None;
    }
    let preempts = pod.object.text("status.nominatedNodeName").is_some_and(|node| !node.is_empty());
    let scaling = scaling(pod);
    let effective = match &scaling {
        Some(Scaling::Coming(event)) => EffectiveFrom::At(event.began() + grace::SCALE_UP),
        Some(Scaling::Refused(event)) => EffectiveFrom::At(event.began() + grace::CONFIRMATION),
        None if preempts => EffectiveFrom::after(scheduled.at, grace::SCALE_UP),
        None => EffectiveFrom::after(since(pod, scheduled.at), grace::UNSCHEDULABLE),
    };
    let message = format!("pod {} can't be placed: {}", pod.object.name(), quote(scheduled.text()));
    let cause = Cause::new(ReasonCode::Unschedulable, effective, message)
        .with(condition_evidence(pod.object, &scheduled))
        .with_all(scaling.map(|scaling| match scaling {
            Scaling::Coming(event) | Scaling::Refused(event) => event_evidence(pod.object, &event),
        }));
    let names_missing_claim =
        scheduled.message.contains("persistentvolumeclaim") && scheduled.message.contains("not found");
    Some(if names_missing_claim { cause.blame(Fault::Release) } else { cause })
}

/// The node can't give the pod its network or sandbox. The latest word counts: a later sign of progress takes the
/// complaint back.
pub(super) fn no_sandbox(pod: &Pod<'_>) -> Option<Cause> {
    let event = pod.events().rev().find(|event| {
        matches!(event.reason, "FailedCreatePodSandBox" | "Pulling" | "Pulled" | "Created" | "Started")
    })?;
    if event.reason != "FailedCreatePodSandBox" {
        return None;
    }
    let message = format!("the node can't set up pod {}: {}", pod.object.name(), quote(event.message));
    let cause = Cause::new(ReasonCode::FailedCreate, EffectiveFrom::Never, message);
    Some(cause.blame(Fault::Platform).with(event_evidence(pod.object, &event)))
}

/// A pod is unschedulable for this deploy at the earliest from its start on.
fn since(pod: &Pod<'_>, at: Option<Wall>) -> Option<Wall> {
    Some(at?.max(pod.context.since.unwrap_or(Wall(i64::MIN))))
}

fn scaling<'a>(pod: &Pod<'a>) -> Option<Scaling<'a>> {
    pod.events().rev().find_map(|event| match event.reason {
        "TriggeredScaleUp" | "Nominated" => Some(Scaling::Coming(event)),
        "NotTriggerScaleUp" => Some(Scaling::Refused(event)),
        _ => None,
    })
}
