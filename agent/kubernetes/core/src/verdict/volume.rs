//! Volumes that a pod waits for.

use trimaran_model::reason::ReasonCode;

use super::cause::{Cause, Counts, event, quote};
use super::grace;
use super::pod::Pod;
use super::words;
use crate::snapshot::Event;

/// For a pod whose containers wait to be made. Only events tell of volumes, so the latest word counts: a later
/// sign of progress takes an earlier complaint back.
pub(super) fn not_mounted(pod: &Pod<'_>) -> Option<Cause> {
    let told = pod.events().rev().find(|event| is_progress(event) || is_complaint(event))?;
    if is_progress(&told) {
        return None;
    }
    let name = pod.object.name();
    if told.reason == "FailedAttachVolume" {
        let message = format!("pod {name} waits for a volume: {}", quote(told.message));
        return Some(
            Cause::new(ReasonCode::VolumeAttach, Counts::Never, message).with(event(pod.object, &told)),
        );
    }
    // Later complaints may only say that the wait goes on; the root stands in the latest that names one.
    let root = pod
        .events()
        .rev()
        .find(|event| event.reason == "FailedMount" && words::mount_is_final(event.message));
    let counts = match &root {
        Some(root) => Counts::At(root.began() + grace::MOUNT),
        None => Counts::Never,
    };
    let told = root.unwrap_or(told);
    let message = format!("pod {name} waits for a volume: {}", quote(told.message));
    Some(Cause::new(ReasonCode::Mount, counts, message).with(event(pod.object, &told)))
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
