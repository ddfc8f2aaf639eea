//! What a pod shows of its release, assembled from its containers, volumes, node and events.
//!
//! Deliberately not here: a verdict. One pod is a verdict for its workload only together with the others of its
//! revision (`revision_pods`).

use serde_json::Value;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Wall};

use super::cause::{Cause, EffectiveFrom, condition_evidence, event_evidence, field_evidence, quote};
use super::container::{Container, Crash, Unproven};
use super::pod::Pod;
use super::{node, placement, start_allowance, volume};
use crate::judgment::Evidence;

/// What a pod shows.
#[derive(Debug, Clone)]
pub(super) struct PodReport {
    pub(super) ready: bool,
    pub(super) causes: Vec<Cause>,
    /// A container ended twice with an error: certain when every new pod shows it.
    pub(super) second_end: Option<Cause>,
    /// A container ended twice or more often with an error.
    pub(super) ended_twice: bool,
    /// When it was made or its readiness changed.
    pub(super) moved: Option<Wall>,
    /// Why it is not ready, where nothing is wrong enough for a cause.
    pub(super) note: Option<(String, Evidence)>,
    /// It claims to be ready, and one of its containers ended with an error a moment ago.
    pub(super) unproven: Option<Unproven>,
    /// The scheduling gates that hold it back.
    pub(super) gate: Option<(String, Evidence)>,
    /// How long it may take to start.
    pub(super) start_allowance: Millis,
}

/// Its containers in the order of their start.
pub(super) fn containers<'a>(pod: &Pod<'a>) -> Vec<Container<'a>> {
    let mut containers = Vec::new();
    let mut startable_at = pod.started();
    for (list, specs) in
        [("initContainerStatuses", "spec.initContainers"), ("containerStatuses", "spec.containers")]
    {
        let specs = pod.object.list(specs);
        for status in pod.object.list(&format!("status.{list}")) {
            let spec = specs.iter().find(|spec| spec.get("name") == status.get("name"));
            let Some(container) = Container::new(list, status, spec, startable_at) else { continue };
            if list == "initContainerStatuses" {
                startable_at = startable_at.max(container.completed());
            }
            containers.push(container);
        }
    }
    containers
}

/// What the pod shows of its release, without a judgment.
pub(super) fn report(pod: &Pod<'_>) -> PodReport {
    let ready = pod.object.condition("Ready");
    let unproven = containers(pod).into_iter().filter(|_| pod.restarts_always());
    let unproven = unproven.filter_map(|container| container.unproven(pod)).max_by_key(|it| it.until);
    let is_ready = pod.is_ready() && !pod.object.is_deleted();
    let mut report = PodReport {
        ready: is_ready && unproven.is_none(),
        causes: Vec::new(),
        second_end: None,
        ended_twice: false,
        moved: pod.object.created().max(ready.and_then(|ready| ready.at)),
        note: None,
        unproven: unproven.filter(|_| is_ready),
        gate: gate(pod),
        start_allowance: pod.object.at("spec").map_or(Millis::ZERO, start_allowance::of_pod_spec),
    };
    if report.ready {
        return report;
    }
    if let Some(lost) = node::lost(pod) {
        report.causes.push(lost);
        return report;
    }
    add_containers(pod, &mut report);
    report.causes.extend(placement::unschedulable(pod));
    let containers = containers(pod);
    // As soon as one of them is further on, the pod has its volumes and its network.
    let unspecified = containers.is_empty() && pod.phase() != "Pending";
    if !unspecified && containers.iter().all(|container| container.is_waiting_to_start()) {
        report.causes.extend(volume::not_mounted(pod).or_else(|| placement::no_sandbox(pod)));
    }
    if pod.phase() == "Failed" && pod.restarts_always() && report.causes.is_empty() {
        report.causes.push(failed(pod, ReasonCode::CrashLoop));
    }
    report.note = note(pod);
    report
}

fn add_containers(pod: &Pod<'_>, report: &mut PodReport) {
    for container in containers(pod) {
        if let Some(cause) = container.blocked(pod) {
            report.causes.push(cause);
        } else if pod.restarts_always() {
            match container.crash(pod) {
                Some(Crash::Loop(cause)) => {
                    report.ended_twice = true;
                    report.causes.push(cause);
                }
                Some(Crash::Second(cause)) => {
                    report.ended_twice = true;
                    report.second_end = Some(cause);
                }
                Some(Crash::First(cause)) => report.causes.push(cause),
                None => {}
            }
        }
    }
}

/// Who holds the pod back on purpose: the scheduler does not try while another controller has not removed its gate.
pub(super) fn gate(pod: &Pod<'_>) -> Option<(String, Evidence)> {
    let gated = pod.object.condition("PodScheduled").filter(|it| it.reason == "SchedulingGated")?;
    let gates = pod.object.list("spec.schedulingGates").iter();
    let gates: Vec<&str> = gates.filter_map(|gate| gate.get("name")?.as_str()).collect();
    let names = if gates.is_empty() { String::new() } else { format!(": {}", quote(&gates.join(", "))) };
    let message = format!("pod {} waits until its scheduling gates are removed{names}", pod.object.name());
    Some((message, condition_evidence(pod.object, &gated)))
}

/// The readiness probe's words, another warning that only an event has, or the words of the condition.
pub(super) fn note(pod: &Pod<'_>) -> Option<(String, Evidence)> {
    let name = pod.object.name();
    let warning = || pod.events().rev().find(|event| event.is_warning && !event.message.is_empty());
    let unhealthy = pod.events().rev().find(|event| event.reason == "Unhealthy").or_else(warning);
    if let Some(unhealthy) = unhealthy {
        let words = quote(unhealthy.message);
        return Some((format!("pod {name} is not ready: {words}"), event_evidence(pod.object, &unhealthy)));
    }
    let ready = pod.object.condition("Ready").filter(|ready| !ready.is_true())?;
    let words = if ready.text().is_empty() { pod.phase().to_owned() } else { quote(ready.text()) };
    Some((format!("pod {name} is not ready: {words}"), condition_evidence(pod.object, &ready)))
}

/// `phase: Failed` with the best explanation: the pod's own, or a container's end.
pub(super) fn failed(pod: &Pod<'_>, reason: ReasonCode) -> Cause {
    let name = pod.object.name();
    let words = [pod.object.text("status.message"), pod.object.text("status.reason")];
    let words = words.into_iter().flatten().map(quote).next();
    let end = pod.object.list("status.containerStatuses").iter().find_map(|status| {
        let end = crate::object::at(status, "state.terminated")?;
        let code = end.get("exitCode").and_then(Value::as_i64).filter(|code| *code != 0)?;
        let container = status.get("name").and_then(Value::as_str).unwrap_or("?");
        let why = end.get("reason").and_then(Value::as_str).unwrap_or("");
        Some((format!("container {container} ended with exit code {code} ({why})"), container, code, why))
    });
    let oom = end.as_ref().is_some_and(|(_, _, _, why)| *why == "OOMKilled");
    let reason = if oom { ReasonCode::OomKilled } else { reason };
    let text = match (words, &end) {
        (Some(words), _) => words,
        (None, Some((words, ..))) => words.clone(),
        (None, None) => "its phase is Failed".to_owned(),
    };
    let cause = Cause::new(reason, EffectiveFrom::IMMEDIATELY, format!("pod {name} failed: {text}"))
        .with(field_evidence(pod.object, "status.phase", "Failed", None));
    match end {
        Some((_, container, code, _)) => {
            let path = format!("status.containerStatuses[{container}].state.terminated.exitCode");
            cause.with(field_evidence(pod.object, path, code, None))
        }
        None => cause,
    }
}
