//! A pod: as evidence for the workload that owns it, and as an object of its own.

use serde_json::Value;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Wall;
use trimaran_model::verdict::Fault;

use super::cause::{Cause, Counts, condition, event, field, quote};
use super::container::{Container, Crash};
use super::context::Context;
use super::fleet::{Fleet, Need};
use super::progress::{Progress, Waits};
use super::{node, placement, volume};
use crate::judgment::{Evidence, Judgment};
use crate::object::Object;
use crate::snapshot::Event;

/// A pod with the deploy that it is looked at for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pod<'a> {
    pub(super) context: Context<'a>,
    pub(super) object: Object<'a>,
    /// The start of the deploy; older events and restarts are not evidence.
    start: Option<Wall>,
}

/// What a pod shows.
#[derive(Debug, Clone)]
pub(super) struct Report {
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
}

impl<'a> Pod<'a> {
    pub(super) fn new(context: Context<'a>, object: Object<'a>, start: Option<Wall>) -> Self {
        Self { context, object, start }
    }

    /// Whether something that happened in the pod belongs to the deploy; without a time, whether the pod does.
    pub(super) fn belongs(&self, at: Option<Wall>) -> bool {
        self.context.belongs(at.or_else(|| self.object.created()), self.start)
    }

    pub(super) fn is_older_than_deploy(&self) -> bool {
        !self.belongs(self.object.created())
    }

    pub(super) fn events(&self) -> impl DoubleEndedIterator<Item = Event<'a>> {
        self.context.events(self.object, self.start)
    }

    /// When its containers could first be started.
    pub(super) fn started(&self) -> Option<Wall> {
        let scheduled = self.object.condition("PodScheduled").filter(|it| it.is_true()).and_then(|it| it.at);
        self.object.time("status.startTime").max(scheduled).or_else(|| self.object.created())
    }

    fn phase(&self) -> &'a str {
        self.object.text("status.phase").unwrap_or("")
    }

    fn runs_for_ever(&self) -> bool {
        self.object.text("spec.restartPolicy").unwrap_or("Always") == "Always"
    }

    pub(super) fn is_ready(&self) -> bool {
        let containers = self.object.list("status.containerStatuses");
        let ready = |status: &Value| status.get("ready").and_then(Value::as_bool).unwrap_or(false);
        self.phase() == "Running"
            && self.object.condition("Ready").is_some_and(|ready| ready.is_true())
            && containers.iter().all(ready)
    }

    /// Gone or going, for causes that are not the release's: its controller makes another one. The kubelet and
    /// the eviction write `status.reason` (Evicted, Preempting, NodeShutdown, Terminated).
    pub(super) fn is_replaced(&self) -> bool {
        let evicted = self.phase() == "Failed" && self.object.text("status.reason").is_some();
        self.object.is_deleted() || evicted || self.phase() == "Succeeded"
    }

    fn containers(&self) -> Vec<Container<'a>> {
        let mut containers = Vec::new();
        let mut turn = self.started();
        for (list, specs) in
            [("initContainerStatuses", "spec.initContainers"), ("containerStatuses", "spec.containers")]
        {
            let specs = self.object.list(specs);
            for status in self.object.list(&format!("status.{list}")) {
                let spec = specs.iter().find(|spec| spec.get("name") == status.get("name"));
                let Some(container) = Container::new(list, status, spec, turn) else { continue };
                if list == "initContainerStatuses" {
                    turn = turn.max(container.completed());
                }
                containers.push(container);
            }
        }
        containers
    }

    /// What the pod shows of its release, without a judgment.
    pub(super) fn report(&self) -> Report {
        let ready = self.object.condition("Ready");
        let mut report = Report {
            ready: self.is_ready() && !self.object.is_deleted(),
            causes: Vec::new(),
            second_end: None,
            ended_twice: false,
            moved: self.object.created().max(ready.and_then(|ready| ready.at)),
            note: None,
        };
        if report.ready {
            return report;
        }
        if let Some(lost) = node::lost(self) {
            report.causes.push(lost);
            return report;
        }
        self.look_at_containers(&mut report);
        report.causes.extend(placement::unschedulable(self));
        let containers = self.containers();
        // As soon as one of them is further on, the pod has its volumes and its network.
        let untold = containers.is_empty() && self.phase() != "Pending";
        if !untold && containers.iter().all(|container| container.is_waiting_to_start()) {
            report.causes.extend(volume::not_mounted(self).or_else(|| placement::no_sandbox(self)));
        }
        if self.phase() == "Failed" && self.runs_for_ever() && report.causes.is_empty() {
            report.causes.push(self.failed(ReasonCode::CrashLoop));
        }
        report.note = self.note();
        report
    }

    fn look_at_containers(&self, report: &mut Report) {
        for container in self.containers() {
            if let Some(cause) = container.blocked(self) {
                report.causes.push(cause);
            } else if self.runs_for_ever() {
                match container.crash(self) {
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

    /// The readiness probe's words, or the words of the condition.
    fn note(&self) -> Option<(String, Evidence)> {
        let name = self.object.name();
        if let Some(unhealthy) = self.events().rev().find(|event| event.reason == "Unhealthy") {
            let words = quote(unhealthy.message);
            return Some((format!("pod {name} is not ready: {words}"), event(self.object, &unhealthy)));
        }
        let ready = self.object.condition("Ready").filter(|ready| !ready.is_true())?;
        let words = if ready.words().is_empty() { self.phase().to_owned() } else { quote(ready.words()) };
        Some((format!("pod {name} is not ready: {words}"), condition(self.object, &ready)))
    }

    /// `phase: Failed` with the most telling words: the pod's, or a container's end.
    fn failed(&self, reason: ReasonCode) -> Cause {
        let name = self.object.name();
        let words = [self.object.text("status.message"), self.object.text("status.reason")];
        let words = words.into_iter().flatten().map(quote).next();
        let end = self.object.list("status.containerStatuses").iter().find_map(|status| {
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
        let cause = Cause::new(reason, Counts::AT_ONCE, format!("pod {name} failed: {text}")).with(field(
            self.object,
            "status.phase",
            "Failed",
            None,
        ));
        match end {
            Some((_, container, code, _)) => {
                let path = format!("status.containerStatuses[{container}].state.terminated.exitCode");
                cause.with(field(self.object, path, code, None))
            }
            None => cause,
        }
    }
}

/// A pod of its own, or one whose owner is not among the documents.
pub(super) fn judge<'a>(context: Context<'a>, object: Object<'a>) -> Judgment {
    let pod = Pod::new(context, object, context.start(object.created()));
    let owned = !object.owners().is_empty();
    match (pod.phase(), pod.runs_for_ever()) {
        ("Succeeded", false) => {
            return Judgment { message: "the pod succeeded".to_owned(), ..Judgment::healthy() };
        }
        ("Failed", _) if pod.is_replaced() && owned => {
            let words = object.text("status.message").or_else(|| object.text("status.reason")).unwrap_or("");
            let message = format!("pod {} is replaced by its controller: {}", object.name(), quote(words));
            return Judgment::progressing(ReasonCode::NotReady, message).with(field(
                object,
                "status.reason",
                object.text("status.reason").unwrap_or(""),
                None,
            ));
        }
        ("Failed", for_ever) => return pod.judge_failed(for_ever),
        ("Running", true) if pod.is_ready() => {
            return Judgment { message: "the pod is ready".to_owned(), ..Judgment::healthy() };
        }
        _ => {}
    }
    let fleet = Fleet::new(context, [object].into_iter(), pod.start, Need::Any);
    let running = !pod.runs_for_ever() && pod.phase() == "Running";
    let deadline = if running { None } else { pod.deadline() };
    let mut progress = Progress::new(object, fleet);
    progress.waits = Some(pod.waits());
    progress.deadline = deadline;
    progress.judge(context)
}

impl<'a> Pod<'a> {
    fn judge_failed(&self, for_ever: bool) -> Judgment {
        let blocked = self.containers().into_iter().find_map(|container| container.blocked(self));
        if let Some(cause) = blocked.filter(|cause| cause.counts.has_come(self.context.now)) {
            return cause.degraded();
        }
        let evicted = matches!(
            self.object.text("status.reason"),
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
            return self.failed(ReasonCode::ConditionFailed).blame(Fault::Platform).degraded();
        }
        self.failed(if for_ever { ReasonCode::CrashLoop } else { ReasonCode::JobFailed }).degraded()
    }

    fn waits(&self) -> Waits {
        let name = self.object.name();
        let phase = if self.phase().is_empty() { "unknown" } else { self.phase() };
        let evidence = field(self.object, "status.phase", phase, None);
        match self.note() {
            Some((message, evidence)) if self.phase() == "Running" && self.runs_for_ever() => {
                Waits::new(ReasonCode::NotReady, message, evidence)
            }
            _ => Waits::new(ReasonCode::NotReady, format!("pod {name} is in phase {phase}"), evidence),
        }
    }

    /// From the last change of its readiness. A pod behind a scheduling gate waits for somebody else.
    fn deadline(&self) -> Option<Wall> {
        let gated = self.object.condition("PodScheduled").is_some_and(|it| it.reason == "SchedulingGated");
        let moved = self.object.condition("Ready").and_then(|ready| ready.at).max(self.object.created());
        let moved = moved.max(self.context.since)?;
        (!gated).then(|| moved + super::grace::PROGRESS)
    }
}
