//! A pod as data: what it is, which deploy it is evidence for, and its events.
//!
//! Deliberately not here: what its containers, volumes and node mean (`pod_report`), and the verdict on a pod that
//! is judged for itself (`single_pod`).

use serde_json::Value;
use trimaran_model::time::Wall;

use super::context::Context;
use crate::object::Object;
use crate::snapshot::Event;

/// A pod with the deploy that it is evidence for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pod<'a> {
    pub(super) context: Context<'a>,
    pub(super) object: Object<'a>,
    /// The start of the deploy; older events and restarts are not evidence.
    pub(super) start: Option<Wall>,
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

    pub(super) fn phase(&self) -> &'a str {
        self.object.text("status.phase").unwrap_or("")
    }

    pub(super) fn restarts_always(&self) -> bool {
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
}
