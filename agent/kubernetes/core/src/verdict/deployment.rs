//! Deployments, ReplicaSets and ReplicationControllers.
//!
//! Argo CD and kubectl compare `availableReplicas` with `updatedReplicas`; here it is the number that was asked
//! for, as in Spinnaker. The generation is read before `paused`.

use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, WallTime};

use super::cause::{Cause, EffectiveFrom, condition_evidence, field_evidence, quote};
use super::context::Context;
use super::progress::{Pending, Progress};
use super::revision_pods::{Need, RevisionPods};
use super::{creation, deadline, grace, pods_ahead, template};
use crate::judgment::Judgment;
use crate::object::Object;
use crate::snapshot::Snapshot;

const REVISION: &str = "deployment.kubernetes.io/revision";
/// `progressDeadlineSeconds` with this value means none.
const NO_DEADLINE: i64 = i32::MAX as i64;

pub(super) fn judge<'a>(context: Context<'a>, object: Object<'a>) -> Judgment {
    let progressing = object.condition("Progressing");
    if object.flag("spec.paused") || progressing.is_some_and(|it| it.reason == "DeploymentPaused") {
        return Judgment::suspended(format!("{} is paused", object.display())).with(field_evidence(
            object,
            "spec.paused",
            object.flag("spec.paused"),
            None,
        ));
    }
    let current = current_replica_set(context.snapshot, object);
    if let Some(earlier) = current.filter(|set| template::is_of_another(object, *set)) {
        let earlier = earlier.display();
        let message = format!(
            "{}: {earlier} is of an earlier template, and its controller has made none of this one yet",
            object.display()
        );
        let value = object.annotation(REVISION).unwrap_or("absent");
        let evidence = field_evidence(object, format!("metadata.annotations[{REVISION}]"), value, None);
        let waits = Judgment::progressing(ReasonCode::Generation, message).with(evidence);
        return deadline::apply(context, object, waits, Millis::ZERO);
    }
    let start = context.start(current.and_then(Object::created));
    let pods = pods_of_set(context, current, start);
    let old = context.snapshot.children_of_kind(object, "apps", "ReplicaSet");
    let pods = pods.warn_of_leftovers(context, old.flat_map(|set| pods_of(context, set)));
    let mut progress = Progress::new(object, pods);
    let is_ahead = |set| pods_ahead::serves_alone(context, object, set);
    progress.pending = if current.is_some_and(is_ahead) { None } else { pending(object) };
    progress.own = match current {
        Some(set) => can_not_create(context, set, start).or_else(|| passed_on(context, object, set)),
        None => creation::by_condition(context, object),
    }
    .into_iter()
    .collect();
    progress.failed = given_up(object);
    set_deadline(context, object, &mut progress);
    progress.healthy = "all replicas are updated and available".to_owned();
    excuse_idle(context, object, &mut progress);
    if let Some(count) = object.count("status.terminatingReplicas").filter(|count| *count > 0) {
        progress.warnings.push(format!(
            "old_pods_terminating: pods of an earlier revision that are still ending: {count}"
        ));
    }
    progress.judge(context)
}

/// The ReplicaSet of the Deployment's own revision; of the highest one when the Deployment names none.
fn current_replica_set<'a>(snapshot: &Snapshot<'a>, deployment: Object<'a>) -> Option<Object<'a>> {
    let sets = snapshot.children_of_kind(deployment, "apps", "ReplicaSet");
    let revision = |set: &Object<'a>| set.annotation(REVISION).and_then(|text| text.parse::<u64>().ok());
    match deployment.annotation(REVISION) {
        Some(current) => sets.filter(|set| set.annotation(REVISION) == Some(current)).last(),
        None => sets.filter(|set| revision(set).is_some()).max_by_key(revision),
    }
}

fn pods_of<'a>(context: Context<'a>, set: Object<'a>) -> impl Iterator<Item = Object<'a>> {
    context.snapshot.children_of_kind(set, "", "Pod")
}

fn lacks_pods(set: Object<'_>) -> bool {
    set.count("status.replicas").unwrap_or(0) < set.count("spec.replicas").unwrap_or(1)
}

/// The condition decides. While it is not written yet, events count as long as pods are missing.
fn can_not_create<'a>(context: Context<'a>, set: Object<'a>, start: Option<WallTime>) -> Option<Cause> {
    let by_event = || lacks_pods(set).then(|| creation::by_event(context, set, start)).flatten();
    creation::by_condition(context, set).or_else(by_event)
}

/// A Deployment copies the failure of its newest ReplicaSet, or else of any earlier one.
fn passed_on<'a>(context: Context<'a>, object: Object<'a>, set: Object<'a>) -> Option<Cause> {
    let failing = |set: Object<'a>| set.condition("ReplicaFailure").is_some_and(|it| it.is_true());
    let earlier = context.snapshot.children_of_kind(object, "apps", "ReplicaSet").any(failing);
    (lacks_pods(set) && !earlier).then(|| creation::by_condition(context, object)).flatten()
}

/// The pods of a ReplicaSet with what it counts itself.
pub(super) fn pods_of_set<'a>(
    context: Context<'a>,
    set: Option<Object<'a>>,
    start: Option<WallTime>,
) -> RevisionPods {
    let pods = set.into_iter().flat_map(|set| pods_of(context, set));
    let count = |path: &str| set.and_then(|set| set.count(path));
    RevisionPods::new(context, pods, start, Need::Most)
        .counted(count("status.replicas"), count("status.readyReplicas"))
}

fn pending(object: Object<'_>) -> Option<Pending> {
    let desired = object.count("spec.replicas").unwrap_or(1);
    let count = |path: &str| object.count(path).unwrap_or(0);
    let total = count("status.replicas");
    let updated = count("status.updatedReplicas");
    let ready = count("status.readyReplicas");
    let available = count("status.availableReplicas");
    let short = |reason, path: &str, count: i64, what: &str| {
        let message = format!("{count} of {desired} replicas are {what}");
        Some(Pending::new(reason, message, field_evidence(object, path, count, None)))
    };
    if updated < desired {
        return short(ReasonCode::NotReady, "status.updatedReplicas", updated, "updated");
    }
    if ready < desired {
        return short(ReasonCode::NotReady, "status.readyReplicas", ready, "ready");
    }
    if available < desired {
        let settling = object.count("spec.minReadySeconds").unwrap_or(0) > 0;
        let reason = if settling { ReasonCode::MinReady } else { ReasonCode::NotReady };
        return short(reason, "status.availableReplicas", available, "available");
    }
    if total < desired {
        return short(ReasonCode::NotReady, "status.replicas", total, "counted");
    }
    if total > updated {
        let message = format!("replicas of an earlier revision that are still there: {}", total - updated);
        return Some(Pending::new(
            ReasonCode::OldPodsTerminating,
            message,
            field_evidence(object, "status.replicas", total, None),
        ));
    }
    let available = object.condition("Available");
    if let Some(failing) = object.condition("Progressing").filter(|it| it.is_false()) {
        let message = format!("Progressing is False: {}", quote(failing.text()));
        return Some(Pending::new(ReasonCode::NotReady, message, condition_evidence(object, &failing)));
    }
    match available {
        Some(available) if available.is_true() => None,
        Some(available) => {
            let message = format!("Available is {}: {}", available.status, quote(available.text()));
            Some(Pending::new(ReasonCode::NotReady, message, condition_evidence(object, &available)))
        }
        None => {
            let evidence = field_evidence(object, "status.conditions[Available]", "absent", None);
            Some(Pending::new(ReasonCode::NotReady, "the condition Available is not there yet", evidence))
        }
    }
}

/// Scaled to zero nothing is wanted that could fail: a condition that was never written by the deadline is a warning then.
fn excuse_idle(context: Context<'_>, object: Object<'_>, progress: &mut Progress<'_>) {
    let is_idle =
        object.count("spec.replicas") == Some(0) && object.count("status.replicas").unwrap_or(0) == 0;
    let is_unreported = object.condition("Available").is_none() && object.condition("Progressing").is_none();
    let is_over = progress.deadline.is_some_and(|deadline| deadline <= context.now);
    if is_idle && is_unreported && is_over {
        progress.pending = None;
        progress
            .warnings
            .push("it is scaled to zero, and the condition Available was never written".to_owned());
    }
}

/// The controller's own last word.
fn given_up(object: Object<'_>) -> Option<Cause> {
    let progressing = object.condition("Progressing").filter(|it| it.is_false())?;
    let (reason, what) = match progressing.reason {
        "ProgressDeadlineExceeded" => (ReasonCode::ProgressDeadline, "made no progress before its deadline"),
        "ReplicaSetCreateError" => (ReasonCode::FailedCreate, "can't create its ReplicaSet"),
        _ => return None,
    };
    let message = format!("{} {what}: {}", object.display(), quote(progressing.message));
    Some(
        Cause::new(reason, EffectiveFrom::IMMEDIATELY, message)
            .with(condition_evidence(object, &progressing)),
    )
}

/// The object's own deadline, also when the controller that should report it is down. A rollout that was
/// complete once has a new deadline from the moment on at which it stopped to be so.
fn set_deadline(context: Context<'_>, object: Object<'_>, progress: &mut Progress<'_>) {
    let pods_moved = progress.moved();
    let seconds = object.count("spec.progressDeadlineSeconds");
    let length = match seconds {
        Some(NO_DEADLINE..) => return,
        // Its controller knows no probes, and reports itself when the deadline is over.
        Some(seconds) => {
            Millis::seconds(seconds.unsigned_abs().saturating_add(progress.pod_allowance().0 / 1000))
        }
        None => grace::progress_with(progress.start_allowance()),
    };
    let progressing = object.condition("Progressing");
    let unavailable = object.condition("Available").filter(|it| it.is_false()).and_then(|it| it.at);
    let was_complete = progressing.is_some_and(|it| it.reason == "NewReplicaSetAvailable");
    let moved = match progressing {
        Some(_) if was_complete => unavailable.max(pods_moved),
        Some(progressing) => progressing.updated.or(progressing.at),
        None => return progress.set_default_deadline(context, None),
    };
    let moved = moved.or(context.since);
    let latest = |moved: WallTime| moved.max(context.since.unwrap_or(moved)).max(pods_moved.unwrap_or(moved));
    progress.deadline = moved.map(|moved| latest(moved) + length);
}

/// A ReplicaSet of its own, or a ReplicationController, which has the same status.
pub(super) fn judge_replica_set<'a>(context: Context<'a>, object: Object<'a>) -> Judgment {
    let start = context.start(object.created());
    let mut progress = Progress::new(object, pods_of_set(context, Some(object), start));
    progress.pending = pending_set(object);
    progress.own = can_not_create(context, object, start).into_iter().collect();
    progress.set_default_deadline(context, None);
    progress.healthy = "all replicas are available".to_owned();
    progress.judge(context)
}

fn pending_set(object: Object<'_>) -> Option<Pending> {
    let desired = object.count("spec.replicas").unwrap_or(1);
    let Some(total) = object.count("status.replicas") else {
        let evidence = field_evidence(object, "status.replicas", "absent", None);
        return Some(Pending::new(ReasonCode::NotReady, "the replicas were not counted yet", evidence));
    };
    let paths = [
        ("status.readyReplicas", "ready"),
        ("status.availableReplicas", "available"),
        ("status.replicas", "there"),
    ];
    for (path, what) in paths {
        let count = object.count(path).unwrap_or(0);
        if count < desired {
            let message = format!("{count} of {desired} replicas are {what}");
            return Some(Pending::new(
                ReasonCode::NotReady,
                message,
                field_evidence(object, path, count, None),
            ));
        }
    }
    (total > desired).then(|| {
        let message = format!("replicas that are too many: {}", total - desired);
        Pending::new(
            ReasonCode::OldPodsTerminating,
            message,
            field_evidence(object, "status.replicas", total, None),
        )
    })
}
