//! StatefulSets. They have no conditions and no deadline, so pods and events show what goes wrong.
//!
//! Live objects always have the struct `rollingUpdate`, so other judges never compare the revisions; here
//! revisions and `updatedReplicas` are both compared.

use trimaran_model::reason::ReasonCode;

use super::cause::{Cause, EffectiveFrom, field_evidence};
use super::context::Context;
use super::pod::Pod;
use super::progress::{Pending, Progress};
use super::revision_pods::{Need, RevisionPods};
use super::{creation, pod_report};
use crate::judgment::Judgment;
use crate::object::Object;

/// The label of pods with the revision that they were made from.
pub(super) const REVISION: &str = "controller-revision-hash";
const REVISIONS: [&str; 2] = ["status.currentRevision", "status.updateRevision"];

pub(super) fn judge<'a>(context: Context<'a>, object: Object<'a>) -> Judgment {
    let update = object.text("status.updateRevision").unwrap_or("");
    let revision = context.snapshot.find("apps", "ControllerRevision", object.namespace(), update);
    let created = revision.and_then(Object::created);
    let start = context.start(created);
    let of_revision = |pod: &Object<'a>| !update.is_empty() && pod.label(REVISION) == Some(update);
    let all_pods = || context.snapshot.children_of_kind(object, "", "Pod");
    let pods = RevisionPods::new(context, all_pods().filter(of_revision), start, Need::Any)
        .counted(object.count("status.updatedReplicas"), None)
        .warn_of_leftovers(context, all_pods());
    let mut progress = Progress::new(object, pods);
    progress.pending = pending(object);
    let desired = object.count("spec.replicas").unwrap_or(1);
    if object.count("status.replicas").unwrap_or(0) < desired {
        progress.own.extend(creation::by_event(context, object, start));
    }
    progress.own.extend(creation::by_condition(context, object));
    progress.own.extend(stuck(context, object, all_pods()));
    let rolling = object.text("status.currentRevision") != object.text("status.updateRevision");
    progress.set_default_deadline(context, created.filter(|_| rolling));
    let (healthy, warning) = healthy(object);
    progress.healthy = healthy;
    progress.warnings.extend(warning);
    progress.judge(context)
}

fn is_on_delete(object: Object<'_>) -> bool {
    object.text("spec.updateStrategy.type") == Some("OnDelete")
}

fn pending(object: Object<'_>) -> Option<Pending> {
    let desired = object.count("spec.replicas").unwrap_or(1);
    let evidence =
        |path: &str| field_evidence(object, path, object.at(path).map_or("absent".to_owned(), plain), None);
    let because = |reason, message: String, path: &str| Some(Pending::new(reason, message, evidence(path)));
    if object.count("status.observedGeneration") == Some(0) {
        return because(
            ReasonCode::Generation,
            "the controller has not seen it yet".to_owned(),
            "status.observedGeneration",
        );
    }
    let Some(total) = object.count("status.replicas") else {
        return because(
            ReasonCode::NotReady,
            "the replicas were not counted yet".to_owned(),
            "status.replicas",
        );
    };
    let ready = object.count("status.readyReplicas").unwrap_or(0);
    if total < desired {
        return because(
            ReasonCode::NotReady,
            format!("{total} of {desired} replicas are there"),
            "status.replicas",
        );
    }
    if ready < desired {
        return because(
            ReasonCode::NotReady,
            format!("{ready} of {desired} replicas are ready"),
            "status.readyReplicas",
        );
    }
    let available = object.count("status.availableReplicas");
    let settling = object.count("spec.minReadySeconds").unwrap_or(0) > 0;
    if available.map_or(settling && desired > 0, |available| available < desired) {
        let message = format!("{} of {desired} replicas are available", available.unwrap_or(0));
        return because(ReasonCode::MinReady, message, "status.availableReplicas");
    }
    if total > desired {
        let message = format!("replicas that are too many: {}", total - desired);
        return because(ReasonCode::OldPodsTerminating, message, "status.replicas");
    }
    if is_on_delete(object) { None } else { pending_update(object, desired) }
}

/// With a partition only the ordinals from it on are updated.
fn pending_update(object: Object<'_>, desired: i64) -> Option<Pending> {
    let revision = |path: &str| object.text(path).filter(|revision| !revision.is_empty());
    if desired == 0 {
        // Nothing is left that could be updated, but a controller that counted names both revisions.
        let missing = REVISIONS.into_iter().find(|path| revision(path).is_none())?;
        let evidence = field_evidence(object, missing, "absent", None);
        return Some(Pending::new(ReasonCode::NotReady, "the revisions are not there yet", evidence));
    }
    let current = revision("status.currentRevision");
    let update = revision("status.updateRevision");
    let updated = object.count("status.updatedReplicas");
    let first = object.count("spec.ordinals.start").unwrap_or(0);
    let partition = object.count("spec.updateStrategy.rollingUpdate.partition").unwrap_or(0);
    let kept = partition.saturating_sub(first).clamp(0, desired);
    let same = current.is_some() && current == update;
    let needed = desired - kept;
    let enough = updated.map_or(same, |updated| updated >= needed);
    let done =
        if kept == 0 { same && enough } else { update.is_some() && (same || updated.unwrap_or(0) >= needed) };
    if done {
        return None;
    }
    let message = format!("{} of {needed} replicas are on the new revision", updated.unwrap_or(0));
    let path = if enough { "status.currentRevision" } else { "status.updatedReplicas" };
    let value = object.at(path).map_or("absent".to_owned(), plain);
    Some(Pending::new(ReasonCode::NotReady, message, field_evidence(object, path, value, None)))
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn healthy(object: Object<'_>) -> (String, Option<String>) {
    let desired = object.count("spec.replicas").unwrap_or(1);
    let updated = object.count("status.updatedReplicas");
    let same = object.text("status.currentRevision") == object.text("status.updateRevision");
    let on_new = if same { desired } else { updated.unwrap_or(0) };
    if is_on_delete(object) && on_new < desired {
        let text = format!("{on_new} of {desired} pods are on the new revision");
        return (text.clone(), Some(format!("ondelete: {text}; the others change when a user deletes them")));
    }
    if on_new < desired {
        return (format!("{on_new} of {desired} pods are on the new revision, as the partition says"), None);
    }
    ("all replicas are ready and on the new revision".to_owned(), None)
}

/// A broken pod of an earlier revision blocks an ordered StatefulSet even after its template was corrected
/// (kubernetes#67250). Only a revision that is neither current nor new was given up; evidence on pods of the
/// current one says nothing of the update.
fn stuck<'a>(
    context: Context<'a>,
    object: Object<'a>,
    pods: impl Iterator<Item = Object<'a>>,
) -> Option<Cause> {
    let ordered = object.text("spec.podManagementPolicy").unwrap_or("OrderedReady") == "OrderedReady";
    let update = object.text("status.updateRevision").filter(|revision| !revision.is_empty())?;
    let current = object.text("status.currentRevision");
    if !ordered || is_on_delete(object) || current.is_none() {
        return None;
    }
    pods.filter_map(|object| {
        let revision = object.label(REVISION).filter(|it| *it != update && Some(*it) != current)?;
        let pod = Pod::new(context, object, None);
        if pod.is_replaced() {
            return None;
        }
        let report = pod_report::report(&pod);
        let cause = report.causes.into_iter().find(|cause| cause.effective.is_effective(context.now))?;
        Some((object, revision, cause))
    })
    .map(|(pod, revision, cause)| {
        let message = format!(
            "pod {} of the earlier revision {revision} is broken and blocks the StatefulSet until it is deleted: {}",
            pod.name(),
            cause.message
        );
        Cause::new(ReasonCode::StsStuckPod, EffectiveFrom::IMMEDIATELY, message)
            .with(field_evidence(pod, format!("metadata.labels[{REVISION}]"), revision, None))
            .with_all(cause.evidence)
    })
    .min_by_key(|cause| cause.message.clone())
}
