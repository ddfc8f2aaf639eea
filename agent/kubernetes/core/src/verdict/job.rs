//! Jobs and CronJobs. Conditions decide; counters of a Job mean nothing for work queues and indexed jobs.

use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Wall};

use super::cause::{Cause, EffectiveFrom, condition_evidence, event_evidence, field_evidence, quote};
use super::context::Context;
use super::progress::{Pending, Progress};
use super::revision_pods::{Need, RevisionPods};
use super::{creation, grace, start_allowance};
use crate::judgment::Judgment;
use crate::object::{Condition, Object, at};

/// A hundred years: an `activeDeadlineSeconds` beyond it is none.
const DEADLINE_SECONDS_MAX: u64 = 100 * 366 * 24 * 3600;

pub(super) fn judge<'a>(context: Context<'a>, object: Object<'a>) -> Judgment {
    let is = |kind: &str| object.condition(kind).filter(Condition::is_true);
    if is("Complete").is_some() {
        return Judgment { message: "the job is complete".to_owned(), ..Judgment::healthy() };
    }
    if let Some(failed) = is("Failed").or_else(|| is("FailureTarget")) {
        return failure(context, object, &failed).degraded();
    }
    let suspended = is("Suspended");
    if object.flag("spec.suspend") || suspended.is_some() {
        return Judgment::suspended(format!("{} is suspended", object.display())).with(field_evidence(
            object,
            "spec.suspend",
            object.flag("spec.suspend"),
            None,
        ));
    }
    let start = context.start(object.created());
    let pods = context.snapshot.children_of_kind(object, "", "Pod");
    let mut progress = Progress::new(object, RevisionPods::new(context, pods, start, Need::Any));
    let active = object.count("status.active").unwrap_or(0);
    if active < object.count("spec.parallelism").unwrap_or(1).max(1) {
        progress.own.extend(creation::by_event(context, object, start));
    }
    let message = match is("SuccessCriteriaMet") {
        Some(_) => "the job has succeeded and waits for its last pods to end".to_owned(),
        None => format!("{active} pods of the job are active"),
    };
    progress.pending = Some(Pending::new(
        ReasonCode::NotReady,
        message,
        field_evidence(object, "status.active", active, None),
    ));
    progress.deadline = deadline(context, object);
    progress.judge(context)
}

/// A Job has the deadline that its spec gives, and no other: a pod that ended is counted a moment later, between two
/// attempts the Job waits by its own back-off, and a Job that works may take hours. What a visible pod lacks is found
/// by the evidence of that pod. A pod that never started anything is late like any other pod.
fn deadline<'a>(context: Context<'a>, object: Object<'a>) -> Option<Wall> {
    let own = object.count("spec.activeDeadlineSeconds").zip(object.time("status.startTime"));
    // Its controller needs a moment to say so.
    let own = own.map(|(seconds, start)| {
        start + Millis::seconds(seconds.unsigned_abs().min(DEADLINE_SECONDS_MAX)) + grace::CONFIRMATION
    });
    [own, start_deadline(context, object)].into_iter().flatten().min()
}

/// When pods are among the documents, the Job waits for one of them to start, and none has ever run.
fn start_deadline<'a>(context: Context<'a>, object: Object<'a>) -> Option<Wall> {
    let counted = |path: &str| object.count(path).unwrap_or(0) > 0;
    let pods: Vec<Object<'a>> = context.snapshot.children_of_kind(object, "", "Pod").collect();
    let is_pending = |pod: &Object<'a>| pod.text("status.phase") == Some("Pending") && !pod.is_deleted();
    let ran = counted("status.succeeded")
        || counted("status.failed")
        || counted("status.ready")
        || object.condition("SuccessCriteriaMet").is_some();
    if ran || pods.is_empty() || !pods.iter().all(is_pending) {
        return None;
    }
    let latest = pods.iter().filter_map(|pod| pod.created()).max().max(context.since)?;
    let allowance = pods.iter().filter_map(|pod| pod.at("spec")).map(start_allowance::of_pod_spec).max();
    Some(latest + grace::PROGRESS + allowance.unwrap_or_default())
}

fn failure<'a>(context: Context<'a>, object: Object<'a>, failed: &Condition<'_>) -> Cause {
    let words = [failed.reason, failed.message].into_iter().filter(|text| !text.is_empty());
    let words = quote(&words.collect::<Vec<_>>().join(": "));
    let mut message = format!("{} failed: {words}", object.display());
    let last = context
        .snapshot
        .children_of_kind(object, "", "Pod")
        .filter_map(|pod| last_end(pod).map(|(text, evidence, at)| (at, pod.name(), text, evidence)))
        .max_by_key(|(at, name, ..)| (*at, *name));
    let mut cause = Cause::new(ReasonCode::JobFailed, EffectiveFrom::IMMEDIATELY, "")
        .with(condition_evidence(object, failed));
    if let Some((_, _, text, evidence)) = last {
        message = format!("{message}; {text}");
        cause = cause.with(evidence);
    }
    Cause { message, ..cause }
}

/// How a container of the pod ended with an error.
fn last_end(pod: Object<'_>) -> Option<(String, crate::judgment::Evidence, Option<Wall>)> {
    ["containerStatuses", "initContainerStatuses"].into_iter().find_map(|list| {
        pod.list(&format!("status.{list}")).iter().find_map(|status| {
            let ends =
                ["state", "lastState"].map(|place| Some((place, at(status, place)?.get("terminated")?)));
            let (place, end) = ends.into_iter().flatten().next()?;
            let code = end.get("exitCode")?.as_i64().filter(|code| *code != 0)?;
            let text = |field: &str| end.get(field).and_then(|text| text.as_str()).unwrap_or("");
            let container = status.get("name")?.as_str()?;
            let finished = crate::object::time_of(end.get("finishedAt"));
            let words = quote(text("message"));
            let words = if words.is_empty() { words } else { format!(": {words}") };
            let message = format!(
                "container {container} of pod {} ended with exit code {code} ({}){words}",
                pod.name(),
                text("reason")
            );
            let path = format!("status.{list}[{container}].{place}.terminated.exitCode");
            Some((message, field_evidence(pod, path, code, finished), finished))
        })
    })
}

/// Accepted by the API is all that a CronJob can be; how its last run went is a warning.
pub(super) fn judge_cron_job<'a>(context: Context<'a>, object: Object<'a>) -> Judgment {
    if object.flag("spec.suspend") {
        return Judgment::suspended(format!("{} is suspended", object.display())).with(field_evidence(
            object,
            "spec.suspend",
            true,
            None,
        ));
    }
    let judgment = Judgment { message: "the schedule is accepted".to_owned(), ..Judgment::healthy() };
    let last = object.time("status.lastScheduleTime");
    let succeeded = object.time("status.lastSuccessfulTime");
    let active = !object.list("status.active").is_empty();
    let failed = last.is_some_and(|last| succeeded.is_none_or(|succeeded| succeeded < last)) && !active;
    if failed {
        let event =
            context.events(object, context.since).rev().find(|event| event.reason == "SawCompletedJob");
        let judgment = judgment.warn("job_failed: the last run did not succeed");
        return event
            .into_iter()
            .fold(judgment, |judgment, event| judgment.with(event_evidence(object, &event)));
    }
    judgment
}
