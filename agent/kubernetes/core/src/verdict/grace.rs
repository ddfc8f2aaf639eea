//! How old evidence must be before it counts, by kind of evidence.
//!
//! Definitive causes count at once and have no entry here. Everything else waits at least [`CONFIRMATION`].

use trimaran_model::time::Millis;

/// Two observations that far apart would agree: kubelets and controllers correct themselves within it.
pub(super) const CONFIRMATION: Millis = Millis::seconds(3);
/// A registry that times out or is overloaded gets so long from the pod's start.
pub(super) const IMAGE_TRANSIENT: Millis = Millis::minutes(5);
/// A ConfigMap made in the same moment may be seen late by the kubelet.
pub(super) const CONTAINER_CONFIG: Millis = Millis::seconds(5);
/// A controller that may not create pods.
pub(super) const CREATION: Millis = Millis::seconds(10);
/// Quota comes free as old pods go.
pub(super) const QUOTA: Millis = Millis::seconds(30);
/// An admission webhook or API server that does not answer.
pub(super) const WEBHOOK: Millis = Millis::seconds(60);
pub(super) const UNSCHEDULABLE: Millis = Millis::seconds(60);
/// A node is on its way: a scale-up was triggered, or pods are preempted.
pub(super) const SCALE_UP: Millis = Millis::minutes(10);
pub(super) const MOUNT: Millis = Millis::seconds(30);
/// Metrics of new pods take a while.
pub(super) const METRICS: Millis = Millis::minutes(3);
pub(super) const API_SERVICE: Millis = Millis::minutes(2);
/// After it an Ingress counts as healthy with a warning: many controllers never write an address.
pub(super) const ADDRESS: Millis = Millis::seconds(60);
/// An error in the message of a condition whose reason only names a step.
pub(super) const BUSY_REASON: Millis = Millis::minutes(3);
/// A pod that is still there so long after the end of its grace period is worth a warning.
pub(super) const TERMINATING: Millis = Millis::seconds(30);
/// A rollout without any progress, where the object has no deadline of its own.
pub(super) const PROGRESS: Millis = Millis::minutes(10);
/// The default deadline of a workload whose pods may take `allowance` to start.
pub(super) fn progress_with(allowance: Millis) -> Millis {
    Millis(PROGRESS.0.saturating_add(allowance.0))
}
/// An object without pods among the documents waits since its creation while it is so young. An older one was
/// most likely complete before, and nothing shows since when it is not.
pub(super) const FIRST_ROLLOUT: Millis = Millis::hours(1);
/// A run that lasted longer resets the kubelet's back-off, so it is no part of a crash loop.
pub(super) const LOOP_RUN: Millis = Millis::minutes(10);
/// A run between two crashes is expected to end within the length of the run before, and this at least.
pub(super) const LOOP_WATCH: Millis = Millis::seconds(60);
pub(super) const LOOP_MARGIN: Millis = Millis::seconds(10);
/// Events so much earlier than the start of the deploy still belong to it: clocks of nodes differ.
pub(super) const EVENT_SLACK: Millis = Millis::seconds(5);
