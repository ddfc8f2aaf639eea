//! The verdict of one object, from the documents that belong to it.
//!
//! A pure function: the same documents, rules and times give the same verdict, whatever the order of the
//! documents. Status decides, events enrich. Only pods of the revision that is being rolled out are evidence,
//! and only what happened since the deploy began. Deliberately not here: how long an object must have been
//! healthy until a deploy is done, and what is done about a verdict.

mod argo_rollout;
mod built_in;
mod cause;
mod cluster;
mod container;
mod context;
mod creation;
mod daemon_set;
mod deadline;
mod deployment;
mod failed_parts;
mod gateway;
mod grace;
mod job;
mod malformed;
mod message_patterns;
mod node;
mod owned_objects;
mod placement;
mod pod;
mod pod_report;
mod pods_ahead;
mod progress;
mod revision_pods;
mod scaling;
mod service;
mod single_pod;
mod start_allowance;
mod stateful_set;
mod storage;
mod template;
mod volume;

use serde_json::Value;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, WallTime};
use trimaran_model::verdict::Verdict;

use self::cause::{field_evidence, quote};
use self::context::Context;
use crate::custom::RuleSet;
use crate::judgment::Judgment;
use crate::object::Object;
use crate::snapshot::Snapshot;

/// Judges `subject`, one of the snapshot's objects, at the time `now`. `since` is the start of the deploy;
/// without it the creation of the revision that is rolled out.
pub fn judge<'a>(
    snapshot: &'a Snapshot<'a>,
    subject: Object<'a>,
    rules: &'a RuleSet,
    now: WallTime,
    since: Option<WallTime>,
) -> Judgment {
    judge_in(Context { snapshot, rules, now, since, is_watched: false }, subject)
}

/// As [`judge`], of documents that live watches show at this moment: pods may be ahead of the status of their workload.
pub fn judge_watched<'a>(
    snapshot: &'a Snapshot<'a>,
    subject: Object<'a>,
    rules: &'a RuleSet,
    now: WallTime,
    since: Option<WallTime>,
) -> Judgment {
    judge_in(Context { snapshot, rules, now, since, is_watched: true }, subject)
}

fn judge_in<'a>(context: Context<'a>, subject: Object<'a>) -> Judgment {
    let snapshot = context.snapshot;
    let judgment = judge_object(context, subject, &mut owned_objects::Descent::new(judge_object));
    match snapshot.copies(subject) {
        0 | 1 => judgment,
        copies => {
            judgment.warn(format!("{copies} documents describe {}; the newest counts", subject.display()))
        }
    }
}

/// Whether a revision of a workload, such as a ReplicaSet of a Deployment, was certainly made from another template than
/// the workload has now. What its pods show is no evidence then.
pub fn is_of_another_template(workload: &Value, revision: &Value) -> bool {
    template::is_of_another(Object::new(workload), Object::new(revision))
}

fn judge_object<'a>(
    context: Context<'a>,
    object: Object<'a>,
    descent: &mut owned_objects::Descent<'a>,
) -> Judgment {
    for field in ["apiVersion", "kind", "metadata.name"] {
        if object.text(field).is_none_or(str::is_empty) {
            return Judgment::unknown(format!("the object has no {field}"));
        }
    }
    let Some(rule) = built_in::rule_of(object.group(), object.kind()) else {
        return owned_objects::judge(context, object, descent);
    };
    if let Some(fault) = malformed::first_fault(object) {
        return Judgment::unknown(format!("{} can't be judged: {fault}", object.display()));
    }
    if object.is_deleted() && !rule.judges_deletion {
        return deadline::apply(context, object, deletion(object), Millis::ZERO);
    }
    if let Some(stale) = generation(object, rule.observes_generation) {
        return deadline::apply(context, object, stale, Millis::ZERO);
    }
    let judgment = (rule.judge)(context, object);
    if judgment.verdict == Verdict::Healthy {
        return failed_parts::warn_of(object, judgment);
    }
    if rule.has_deadline { judgment } else { deadline::apply(context, object, judgment, Millis::ZERO) }
}

/// The status of an object that is being deleted describes the past.
fn deletion(object: Object<'_>) -> Judgment {
    let finalizers: Vec<&str> =
        object.list("metadata.finalizers").iter().filter_map(|it| it.as_str()).collect();
    let message = if finalizers.is_empty() {
        format!("{} is being deleted", object.display())
    } else {
        let names = quote(&finalizers.join(", "));
        format!("{} is being deleted and waits for its finalizers: {names}", object.display())
    };
    let at = object.time("metadata.deletionTimestamp");
    let value = object.text("metadata.deletionTimestamp").unwrap_or("set");
    Judgment::progressing(ReasonCode::NotReady, message).with(field_evidence(
        object,
        "metadata.deletionTimestamp",
        value,
        at,
    ))
}

/// A status of an earlier generation proves nothing. Argo Rollouts write a text, see their rule.
fn generation(object: Object<'_>, required: bool) -> Option<Judgment> {
    let wanted = object.count("metadata.generation").unwrap_or(0);
    let observed = object.at("status.observedGeneration");
    let number = observed.and_then(serde_json::Value::as_i64);
    let stale = match observed {
        None => required,
        Some(_) => number.is_some_and(|number| number < wanted),
    };
    if !stale {
        return None;
    }
    let (message, value) = match number {
        Some(number) => {
            (format!("its controller has seen generation {number} of {wanted}"), number.to_string())
        }
        None => ("its controller has not seen it yet".to_owned(), "absent".to_owned()),
    };
    let message = format!("{}: {message}", object.display());
    Some(Judgment::progressing(ReasonCode::Generation, message).with(field_evidence(
        object,
        "status.observedGeneration",
        value,
        None,
    )))
}
