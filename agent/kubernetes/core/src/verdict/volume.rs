//! Volumes that a pod waits for.

use trimaran_model::reason::ReasonCode;

use super::cause::{Cause, EffectiveFrom, event_evidence, quote};
use super::grace;
use super::message_patterns;
use super::pod::Pod;
use crate::snapshot::Event;

/// For a pod whose containers wait to be made. Only events report volumes, so the latest one counts: a later
/// sign of progress takes an earlier complaint back.
pub(super) fn not_mounted(pod: &Pod<'_>) -> Option<Cause> {
    let event = pod.events().rev().find(|event| is_progress(event) || is_complaint(event))?;
    if is_progress(&event) {
        return None;
    }
    let name = pod.object.name();
    if event.reason == "FailedAttachVolume" {
        let message = format!("pod {name} waits for a volume: {}", quote(event.message));
        return Some(
            Cause::new(ReasonCode::VolumeAttach, EffectiveFrom::Never, message)
                .with(event_evidence(pod.object, &event)),
        );
    }
    // Later complaints may only say that the wait goes on; the root cause is in the latest that names one.
    let root = pod
        .events()
        .rev()
        .find(|event| event.reason == "FailedMount" && message_patterns::mount_is_final(event.message));
    let effective = match &root {
        Some(root) => EffectiveFrom::At(root.began() + grace::MOUNT),
        None => EffectiveFrom::Never,
    };
    let event = root.unwrap_or(event);
    let message = format!("pod {name} waits for a volume: {}", quote(event.message));
    Some(Cause::new(ReasonCode::Mount, effective, message).with(event_evidence(pod.object, &event)))
}

fn is_complaint(event: &Event<'_>) -> bool {
    matches!(event.reason, "FailedMount" | "FailedAttachVolume" | "FailedMapVolume")
}

fn is_progress(event: &Event<'_>) -> bool {
    matches!(event.reason, "Pulling" | "Pulled" | "Created" | "Started" | "SuccessfulAttachVolume")
}

/// Whether a volume is held by a pod on another node, which a rolling update never frees.
pub(super) fn is_held_elsewhere(cause: &Cause) -> bool {
    cause.reason == ReasonCode::VolumeAttach && cause.message.contains("Multi-Attach")
}
