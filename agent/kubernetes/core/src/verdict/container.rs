//! What one container of a pod shows: images, configuration, start, and ends that repeat.
//!
//! The state flips between waiting, running and terminated, so the last state is read too. Ephemeral
//! containers are a debugger's and never read.

use serde_json::Value;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Wall};
use trimaran_model::verdict::Fault;

use super::cause::{Cause, EffectiveFrom, event_evidence, field_evidence, quote};
use super::grace;
use super::message_patterns::{self, ImageTrouble};
use super::pod::Pod;
use crate::judgment::Evidence;
use crate::object::{at, time_of};
use crate::snapshot::Event;

/// One entry of `containerStatuses` or `initContainerStatuses` with its entry in the spec.
#[derive(Debug, Clone, Copy)]
pub(super) struct Container<'a> {
    pub(super) name: &'a str,
    /// `containerStatuses` or `initContainerStatuses`.
    list: &'static str,
    status: &'a Value,
    spec: Option<&'a Value>,
    /// When this container could first be started: the pod's start, or the end of the init containers.
    pub(super) startable_at: Option<Wall>,
}

/// How a run of a container ended.
#[derive(Debug, Clone, Copy)]
struct End<'a> {
    /// `state` or `lastState`.
    place: &'static str,
    code: i64,
    reason: &'a str,
    message: &'a str,
    started: Option<Wall>,
    finished: Option<Wall>,
}

/// What the ends of a container's runs add up to.
#[derive(Debug, Clone)]
pub(super) enum Crash {
    /// Ended often enough to be certain.
    Loop(Cause),
    /// Ended twice: certain when every other new pod did so too.
    Second(Cause),
    /// Ended once and is down: explains a pod that is not ready.
    First(Cause),
}

/// A container that counts as ready although it ended with an error a moment ago: without a readiness probe it is
/// ready as soon as it runs, so only a run that is longer than the one before proves anything.
#[derive(Debug, Clone)]
pub(super) struct Unproven {
    pub(super) message: String,
    pub(super) evidence: Evidence,
    /// Until when it may end as the run before did.
    pub(super) until: Wall,
}

impl<'a> Container<'a> {
    pub(super) fn new(
        list: &'static str,
        status: &'a Value,
        spec: Option<&'a Value>,
        startable_at: Option<Wall>,
    ) -> Option<Self> {
        let name = status.get("name")?.as_str()?;
        let container = Self { name, list, status, spec, startable_at };
        let latest = container.ends().into_iter().flatten().filter_map(|end| end.finished).max();
        Some(Self { startable_at: startable_at.max(latest), ..container })
    }

    pub(super) fn is_ready(self) -> bool {
        self.status.get("ready").and_then(Value::as_bool).unwrap_or(false)
    }

    /// When an init container that is done ended.
    pub(super) fn completed(self) -> Option<Wall> {
        let terminated = at(self.status, "state.terminated")?;
        let code = terminated.get("exitCode").and_then(Value::as_i64)?;
        (code == 0).then(|| time_of(terminated.get("finishedAt")))?
    }

    /// A sidecar: an init container that keeps running.
    fn is_sidecar(self) -> bool {
        self.spec.and_then(|spec| spec.get("restartPolicy")).and_then(Value::as_str) == Some("Always")
    }

    fn image(self) -> &'a str {
        let of =
            |value: Option<&'a Value>| value.and_then(|value| value.get("image")).and_then(Value::as_str);
        of(self.spec).or_else(|| of(Some(self.status))).unwrap_or("")
    }

    fn text(self, path: &str) -> &'a str {
        at(self.status, path).and_then(Value::as_str).unwrap_or("")
    }

    fn waiting(self) -> &'a str {
        self.text("state.waiting.reason")
    }

    pub(super) fn is_waiting_to_start(self) -> bool {
        matches!(self.waiting(), "ContainerCreating" | "PodInitializing")
    }

    fn restarts(self) -> i64 {
        at(self.status, "restartCount").and_then(Value::as_i64).unwrap_or(0)
    }

    fn evidence(self, pod: &Pod<'a>, path: &str, value: impl ToString, at: Option<Wall>) -> Evidence {
        field_evidence(pod.object, format!("status.{}[{}].{path}", self.list, self.name), value, at)
    }

    /// The latest end first.
    fn ends(self) -> [Option<End<'a>>; 2] {
        ["state", "lastState"].map(|place| {
            let end = at(self.status, place)?.get("terminated").filter(|end| end.is_object())?;
            let text = |field: &str| end.get(field).and_then(Value::as_str).unwrap_or("");
            Some(End {
                place,
                code: end.get("exitCode").and_then(Value::as_i64)?,
                reason: text("reason"),
                message: text("message"),
                started: time_of(end.get("startedAt")),
                finished: time_of(end.get("finishedAt")),
            })
        })
    }

    /// What keeps the container from being made or started.
    pub(super) fn blocked(self, pod: &Pod<'a>) -> Option<Cause> {
        let message = self.text("state.waiting.message");
        match self.waiting() {
            "InvalidImageName" | "ErrImageNeverPull" => {
                Some(self.image_cause(pod, ReasonCode::ImagePull, EffectiveFrom::IMMEDIATELY, message))
            }
            "ErrImagePull"
            | "ImagePullBackOff"
            | "ImageInspectError"
            | "RegistryUnavailable"
            | "SignatureValidationFailed" => Some(self.pull(pod, message)),
            "CreateContainerConfigError" | "CreateContainerError" => Some(self.config(pod, message)),
            "RunContainerError" => {
                Some(self.start(pod, "state.waiting.reason", "RunContainerError", message, None))
            }
            _ => {
                let end = self.ends().into_iter().flatten().next().filter(|end| end.is_failed_start())?;
                let running = at(self.status, "state.running").is_some();
                let path = format!("{}.terminated.reason", end.place);
                (!running && pod.belongs(end.finished))
                    .then(|| self.start(pod, &path, end.reason, end.message, end.finished))
            }
        }
    }

    fn image_cause(self, pod: &Pod<'a>, reason: ReasonCode, effective: EffectiveFrom, words: &str) -> Cause {
        let words = if words.is_empty() { self.waiting().to_owned() } else { quote(words) };
        let message = format!(
            "the image \"{}\" of container {} in pod {} can't be pulled: {words}",
            self.image(),
            self.name,
            pod.object.name()
        );
        Cause::new(reason, effective, message).with(self.evidence(
            pod,
            "state.waiting.reason",
            self.waiting(),
            None,
        ))
    }

    /// The waiting message decides; the latest event says the cause where the message lost it (krane#124).
    fn pull(self, pod: &Pod<'a>, message: &str) -> Cause {
        let failed = pod.events().rev().find(|event| self.is_failed_pull(event));
        // What can't be inspected is on the node already.
        let own = match self.waiting() {
            "ImageInspectError" => ImageTrouble::Transient,
            _ => message_patterns::image_trouble(message, self.image()),
        };
        let (trouble, words) = match (own, failed) {
            (ImageTrouble::Unspecified, Some(event)) => {
                (message_patterns::image_trouble(event.message, self.image()), event.message)
            }
            _ => (own, message),
        };
        let cause = match trouble {
            ImageTrouble::Final => {
                self.image_cause(pod, ReasonCode::ImagePull, EffectiveFrom::IMMEDIATELY, words)
            }
            ImageTrouble::Transient | ImageTrouble::Unspecified => {
                let effective = EffectiveFrom::after(self.startable_at, grace::IMAGE_TRANSIENT);
                self.image_cause(pod, ReasonCode::ImagePullTransient, effective, words)
            }
        };
        cause.with_all(failed.map(|failed| event_evidence(pod.object, &failed)))
    }

    /// An event about the whole pod belongs to this container when it names the image, by the name of the spec or
    /// by the one in the waiting message.
    fn is_failed_pull(self, event: &Event<'_>) -> bool {
        let about_pull = event.reason == "Failed" && event.message.contains("pull");
        let message = self.text("state.waiting.message");
        let quoted = message.split('"').nth(1).filter(|name| !name.is_empty());
        let names = event.message.contains(self.image())
            || quoted.is_some_and(|name| event.message.contains(name))
            || !event.field.is_empty();
        about_pull
            && names
            && event.is_about_container(self.name)
            && message_patterns::image_trouble(event.message, self.image()) != ImageTrouble::Unspecified
    }

    /// What the kubelet says of a container that it could not make or start, where the waiting message is empty.
    fn failed_event(self, pod: &Pod<'a>) -> Option<Event<'a>> {
        let is_cause = |event: &Event<'_>| {
            event.is_warning && event.reason == "Failed" && event.is_about_container(self.name)
        };
        pod.events().rev().find(|event| is_cause(event) && !event.message.contains("pull"))
    }

    fn config(self, pod: &Pod<'a>, message: &str) -> Cause {
        let waiting = self.waiting();
        let event = self.failed_event(pod).filter(|_| message.is_empty());
        let message = event.map_or(message, |event| event.message);
        let start = waiting == "CreateContainerError" && message_patterns::start_is_final(message);
        let reason = if start { ReasonCode::StartError } else { ReasonCode::ConfigError };
        let transient = message_patterns::config_is_transient(message);
        let effective = if transient {
            EffectiveFrom::Never
        } else {
            EffectiveFrom::after(self.startable_at, grace::CONTAINER_CONFIG)
        };
        let cause = Cause::new(
            reason,
            effective,
            format!(
                "container {} in pod {} can't be made: {}",
                self.name,
                pod.object.name(),
                or(message, waiting)
            ),
        )
        .with(self.evidence(pod, "state.waiting.reason", waiting, None))
        .with(self.evidence(pod, "state.waiting.message", message, None));
        if transient { cause.blame(Fault::Platform) } else { cause }
    }

    fn start(self, pod: &Pod<'a>, path: &str, value: &str, message: &str, at: Option<Wall>) -> Cause {
        let event = self.failed_event(pod).filter(|_| message.is_empty());
        let message = event.map_or(message, |event| event.message);
        let last = self.ends().into_iter().flatten().find(|end| !end.message.is_empty());
        let words = if message.is_empty() { last.map_or("", |end| end.message) } else { message };
        let is_final = message_patterns::start_is_final(words);
        let effective = if is_final { EffectiveFrom::IMMEDIATELY } else { EffectiveFrom::Never };
        let text = format!(
            "container {} in pod {} can't be started: {}",
            self.name,
            pod.object.name(),
            or(words, value)
        );
        let cause =
            Cause::new(ReasonCode::StartError, effective, text).with(self.evidence(pod, path, value, at));
        if is_final { cause } else { cause.blame(Fault::Platform) }
    }

    /// Why a ready container is not to be trusted yet.
    pub(super) fn unproven(self, pod: &Pod<'a>) -> Option<Unproven> {
        let running = at(self.status, "state.running").filter(|_| self.is_ready())?;
        let end = self.ends().into_iter().flatten().next()?;
        let failed = end.code != 0 || self.restarts() >= 2;
        if !failed || end.is_lost() || end.run_was_long() || !pod.belongs(end.finished) {
            return None;
        }
        let until = self.outlived_at(running, &end).filter(|until| *until > pod.context.now)?;
        let text = format!(
            "container {} in pod {} ended with exit code {}{} after {} and has not run longer than that since",
            self.name,
            pod.object.name(),
            end.code,
            reason_in_brackets(end.reason),
            end.length().map_or_else(|| "a run of unknown length".to_owned(), |length| length.to_string()),
        );
        let path = format!("{}.terminated.exitCode", end.place);
        Some(Unproven { message: text, evidence: self.evidence(pod, &path, end.code, end.finished), until })
    }

    /// When a run that goes on is longer than the one before it.
    fn outlived_at(self, running: &Value, end: &End<'_>) -> Option<Wall> {
        let started = time_of(running.get("startedAt"))?;
        Some(started + end.length().unwrap_or(grace::LOOP_WATCH) + grace::LOOP_MARGIN)
    }

    fn has_readiness_probe(self) -> bool {
        self.spec.and_then(|spec| spec.get("readinessProbe")).is_some_and(Value::is_object)
    }

    /// What the ends of its runs add up to; `None` while it runs well or ended as it should.
    pub(super) fn crash(self, pod: &Pod<'a>) -> Option<Crash> {
        // A readiness probe that succeeds is a sign of its own; without one, ready says no more than running.
        let is_trusted = self.is_ready() && (self.has_readiness_probe() || self.unproven(pod).is_none());
        if is_trusted || (self.list == "initContainerStatuses" && !self.is_sidecar() && self.is_done()) {
            return None;
        }
        let running = at(self.status, "state.running");
        let looping = self.waiting() == "CrashLoopBackOff";
        let Some(end) = self.ends().into_iter().flatten().next() else {
            return (looping && self.restarts() >= 2 && pod.belongs(None))
                .then(|| Crash::Loop(self.unspecified_loop(pod)));
        };
        let down = looping || end.place == "state";
        if end.is_failed_start()
            || end.is_lost()
            || !(down || running.is_some())
            || !pod.belongs(end.finished)
        {
            return None;
        }
        if end.run_was_long() && !looping {
            return (down && end.code != 0)
                .then(|| Crash::First(self.crash_cause(pod, &end, EffectiveFrom::Never)));
        }
        let until = match (down, self.unproven(pod)) {
            (true, _) => None,
            (false, Some(unproven)) => Some(unproven.until),
            (false, None) => Some(self.expected_end(running, &end)?),
        };
        if until.is_some_and(|until| until <= pod.context.now) {
            return None;
        }
        let restarts =
            if pod.is_older_than_deploy() && !looping { self.known_restarts(pod) } else { self.restarts() };
        match restarts {
            2.. => {
                let cause = self.crash_cause(pod, &end, EffectiveFrom::IMMEDIATELY);
                Some(Crash::Loop(Cause { until, ..cause }))
            }
            1 if down && end.code != 0 => {
                let effective = EffectiveFrom::after(end.finished, grace::CONFIRMATION);
                Some(Crash::Second(self.crash_cause(pod, &end, effective)))
            }
            _ if down && end.code != 0 => {
                Some(Crash::First(self.crash_cause(pod, &end, EffectiveFrom::Never)))
            }
            _ => None,
        }
    }

    fn is_done(self) -> bool {
        at(self.status, "state.terminated.exitCode").and_then(Value::as_i64) == Some(0)
    }

    /// Until when a run that goes on may still end as the one before it did.
    fn expected_end(self, running: Option<&Value>, end: &End<'_>) -> Option<Wall> {
        let started = time_of(running?.get("startedAt"))?;
        Some(started + end.length()?.max(grace::LOOP_WATCH) + grace::LOOP_MARGIN)
    }

    /// The restarts of this deploy in a pod that is older than it: only the ends in its status are known.
    fn known_restarts(self, pod: &Pod<'a>) -> i64 {
        let ends = self.ends().into_iter().flatten();
        let ours = ends.filter(|end| end.finished.is_some() && pod.belongs(end.finished)).count();
        i64::try_from(ours).unwrap_or(0) - 1
    }

    fn crash_cause(self, pod: &Pod<'a>, end: &End<'a>, effective: EffectiveFrom) -> Cause {
        let killing = pod.events().rev().find(|event| self.is_probe_kill(event, end));
        let reason = match (end.reason, killing) {
            ("OOMKilled", _) => ReasonCode::OomKilled,
            (_, Some(_)) => ReasonCode::ProbeKill,
            (_, None) => ReasonCode::CrashLoop,
        };
        let restarts = self.restarts();
        let what = match reason {
            ReasonCode::OomKilled => match self.memory_limit() {
                Some(limit) => format!("was OOMKilled (exit code {}, memory limit {limit})", end.code),
                None => format!("was OOMKilled (exit code {})", end.code),
            },
            ReasonCode::ProbeKill => format!("was ended by its probe with exit code {}", end.code),
            _ => format!("ended with exit code {}{}", end.code, reason_in_brackets(end.reason)),
        };
        let words = match killing {
            Some(event) if reason == ReasonCode::ProbeKill => quote(event.message),
            _ => quote(end.message),
        };
        let words = if words.is_empty() { words } else { format!(": {words}") };
        let plural = if restarts == 1 { "" } else { "s" };
        let text = format!(
            "container {} in pod {} {what} after {restarts} restart{plural}{words}",
            self.name,
            pod.object.name()
        );
        let mut cause = Cause::new(reason, effective, text);
        if !self.waiting().is_empty() {
            cause = cause.with(self.evidence(pod, "state.waiting.reason", self.waiting(), None));
        }
        let path = |name: &str| format!("{}.terminated.{name}", end.place);
        cause
            .with(self.evidence(pod, &path("exitCode"), end.code, end.finished))
            .with(self.evidence(pod, &path("reason"), end.reason, end.finished))
            .with(self.evidence(pod, "restartCount", restarts, None))
            .with_all(killing.map(|killing| event_evidence(pod.object, &killing)))
    }

    /// A loop of which the kubelet lost the last end.
    fn unspecified_loop(self, pod: &Pod<'a>) -> Cause {
        let restarts = self.restarts();
        let words = or(self.text("state.waiting.message"), "CrashLoopBackOff");
        let text = format!(
            "container {} in pod {} ends again and again, after {restarts} restarts: {words}",
            self.name,
            pod.object.name()
        );
        Cause::new(ReasonCode::CrashLoop, EffectiveFrom::IMMEDIATELY, text)
            .with(self.evidence(pod, "state.waiting.reason", "CrashLoopBackOff", None))
            .with(self.evidence(pod, "restartCount", restarts, None))
    }

    /// The kubelet says that it kills for a probe, or the probe failed and a signal ended the container.
    /// A probe that fails on a container that exited on its own is a consequence.
    fn is_probe_kill(self, event: &Event<'_>, end: &End<'_>) -> bool {
        let probe = event.message.contains("iveness probe") || event.message.contains("tartup probe");
        let killed = event.reason == "Killing"
            || (event.reason == "Unhealthy" && matches!(end.code, 137 | 143) && end.reason != "OOMKilled");
        probe && killed && event.is_about_container(self.name)
    }

    fn memory_limit(self) -> Option<&'a str> {
        at(self.spec?, "resources.limits.memory")?.as_str()
    }
}

impl End<'_> {
    /// The runtime could not start the process.
    fn is_failed_start(&self) -> bool {
        matches!(self.reason, "StartError" | "ContainerCannotRun" | "RunContainerError")
    }

    /// The kubelet lost track of the container: a restart of the node, not of the process.
    fn is_lost(&self) -> bool {
        matches!(self.reason, "ContainerStatusUnknown" | "Unknown" | "NodeShutdown")
    }

    /// How long the run lasted.
    fn length(&self) -> Option<Millis> {
        Some(self.finished? - self.started?)
    }

    fn run_was_long(&self) -> bool {
        self.length().is_some_and(|length| length > grace::LOOP_RUN)
    }
}

fn reason_in_brackets(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}

fn or(words: &str, otherwise: &str) -> String {
    if words.is_empty() { otherwise.to_owned() } else { quote(words) }
}
