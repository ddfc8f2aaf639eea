//! A pod that is judged for itself: one without an owner, or whose owner is not among the documents.

use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Wall};
use trimaran_model::verdict::Fault;

use super::cause::{field_evidence, quote};
use super::context::Context;
use super::pod::Pod;
use super::progress::{Pending, Progress};
use super::revision_pods::{Need, RevisionPods};
use super::{grace, pod_report, start_allowance};
use crate::judgment::Judgment;
use crate::object::Object;

/// A pod of its own, or one whose owner is not among the documents.
pub(super) fn judge<'a>(context: Context<'a>, object: Object<'a>) -> Judgment {
    let pod = Pod::new(context, object, context.start(object.created()));
    let owned = !object.owners().is_empty();
    match (pod.phase(), pod.restarts_always()) {
        ("Succeeded", false) => {
            return Judgment { message: "the pod succeeded".to_owned(), ..Judgment::healthy() };
        }
        ("Failed", _) if pod.is_replaced() && owned => {
            let words = object.text("status.message").or_else(|| object.text("status.reason")).unwrap_or("");
            let message = format!("pod {} is replaced by its controller: {}", object.name(), quote(words));
            return Judgment::progressing(ReasonCode::NotReady, message).with(field_evidence(
                object,
                "status.reason",
                object.text("status.reason").unwrap_or(""),
                None,
            ));
        }
        ("Failed", always) => return judge_failed(&pod, always),
        _ => {}
    }
    let pods = RevisionPods::new(context, [object].into_iter(), pod.start, Need::Any);
    let running = !pod.restarts_always() && pod.phase() == "Running";
    let deadline = if running { None } else { deadline(&pod) };
    let mut progress = Progress::new(object, pods);
    progress.pending = Some(pending(&pod)).filter(|_| !(pod.restarts_always() && pod.is_ready()));
    progress.deadline = deadline;
    progress.healthy = "the pod is ready".to_owned();
    progress.judge(context)
}

fn judge_failed(pod: &Pod<'_>, always: bool) -> Judgment {
    let blocked = pod_report::containers(pod).into_iter().find_map(|container| container.blocked(pod));
    if let Some(cause) = blocked.filter(|cause| cause.effective.is_effective(pod.context.now)) {
        return cause.degraded();
    }
    let evicted = matches!(
        pod.object.text("status.reason"),
        Some(
            "Evicted"
                | "Preempting"
                | "NodeShutdown"
                | "Terminated"
                | "NodeLost"
                | "UnexpectedAdmissionError"
        )
    );
    if evicted {
        return pod_report::failed(pod, ReasonCode::ConditionFailed).blame(Fault::Platform).degraded();
    }
    pod_report::failed(pod, if always { ReasonCode::CrashLoop } else { ReasonCode::JobFailed }).degraded()
}

fn pending(pod: &Pod<'_>) -> Pending {
    let name = pod.object.name();
    let phase = if pod.phase().is_empty() { "unknown" } else { pod.phase() };
    let evidence = field_evidence(pod.object, "status.phase", phase, None);
    match pod_report::note(pod) {
        Some((message, evidence)) if pod.phase() == "Running" && pod.restarts_always() => {
            Pending::new(ReasonCode::NotReady, message, evidence)
        }
        _ => Pending::new(ReasonCode::NotReady, format!("pod {name} is in phase {phase}"), evidence),
    }
}

/// From the last change of its readiness.
fn deadline(pod: &Pod<'_>) -> Option<Wall> {
    let moved = pod.object.condition("Ready").and_then(|ready| ready.at).max(pod.object.created());
    let moved = moved.max(pod.context.since)?;
    let allowance = pod.object.at("spec").map_or(Millis::ZERO, start_allowance::of_pod_spec);
    Some(moved + grace::PROGRESS + allowance)
}
