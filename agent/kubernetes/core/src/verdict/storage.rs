//! Claims and volumes.

use trimaran_model::reason::ReasonCode;
use trimaran_model::verdict::Fault;

use super::cause::{Cause, EffectiveFrom, event_evidence, field_evidence, quote};
use super::context::Context;
use super::{grace, message_patterns};
use crate::judgment::Judgment;
use crate::object::Object;

/// Written by the scheduler once a pod that uses the claim has a node.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

pub(super) fn judge_claim<'a>(context: Context<'a>, object: Object<'a>) -> Judgment {
    let phase = object.text("status.phase").unwrap_or("");
    let evidence = field_evidence(object, "status.phase", phase, None);
    match phase {
        "Bound" => Judgment { message: "the claim is bound".to_owned(), ..Judgment::healthy() },
        "Lost" => {
            let message = format!(
                "{} lost its volume {}",
                object.display(),
                object.text("spec.volumeName").unwrap_or("")
            );
            Judgment::degraded(ReasonCode::VolumeLost, message.trim_end().to_owned()).with(evidence)
        }
        "Pending" => judge_pending(context, object).with(evidence),
        _ => {
            Judgment::progressing(ReasonCode::NotReady, format!("{} is in no known phase", object.display()))
                .with(evidence)
        }
    }
}

/// A claim that is bound with its first pod must not be waited for: that pod may come later.
fn judge_pending<'a>(context: Context<'a>, object: Object<'a>) -> Judgment {
    let event = context.events(object, context.start(object.created())).rev();
    let event = event.into_iter().find(|event| {
        matches!(
            event.reason,
            "WaitForFirstConsumer"
                | "ProvisioningFailed"
                | "Provisioning"
                | "ExternalProvisioning"
                | "ProvisioningSucceeded"
        )
    });
    let class = object.text("spec.storageClassName").unwrap_or("");
    let class = context.snapshot.find("storage.k8s.io", "StorageClass", "", class);
    let by_class = class.and_then(|class| class.text("volumeBindingMode")) == Some("WaitForFirstConsumer");
    let by_event = event.is_some_and(|event| event.reason == "WaitForFirstConsumer");
    if let Some(failed) = event.filter(|event| event.reason == "ProvisioningFailed") {
        let message = format!("no volume can be made for {}: {}", object.display(), quote(failed.message));
        let is_final = message_patterns::provisioning_is_final(failed.message);
        let effective = if is_final {
            EffectiveFrom::At(failed.began() + grace::CONFIRMATION)
        } else {
            EffectiveFrom::Never
        };
        let release = failed.message.contains("storageclass") && failed.message.contains("not found");
        return Cause::new(ReasonCode::Mount, effective, message)
            .blame(if release { Fault::Release } else { Fault::Platform })
            .with(event_evidence(object, &failed))
            .judgment(context.now);
    }
    if (by_class || by_event) && object.annotation(SELECTED_NODE).is_none() {
        return Judgment { message: "the claim waits for its first pod".to_owned(), ..Judgment::healthy() };
    }
    let judgment =
        Judgment::progressing(ReasonCode::NotReady, format!("{} is not bound yet", object.display()));
    event.into_iter().fold(judgment, |judgment, event| judgment.with(event_evidence(object, &event)))
}

pub(super) fn judge_volume(object: Object<'_>) -> Judgment {
    let phase = object.text("status.phase").unwrap_or("");
    let evidence = field_evidence(object, "status.phase", phase, None);
    match phase {
        "Bound" | "Available" | "Released" => {
            Judgment { message: format!("the volume is {}", phase.to_lowercase()), ..Judgment::healthy() }
        }
        "Failed" => {
            let words = quote(object.text("status.message").unwrap_or("its phase is Failed"));
            Judgment::degraded(ReasonCode::VolumeLost, format!("{}: {words}", object.display()))
                .with(evidence)
        }
        _ => {
            Judgment::progressing(ReasonCode::NotReady, format!("{} is not available yet", object.display()))
                .with(evidence)
        }
    }
}
