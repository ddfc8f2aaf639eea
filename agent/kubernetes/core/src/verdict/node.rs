//! Nodes: as objects of their own, and as the reason why a pod says nothing any more.

use trimaran_model::reason::ReasonCode;

use super::cause::{Cause, EffectiveFrom, condition_evidence, quote};
use super::context::Context;
use super::grace;
use super::pod::Pod;
use crate::judgment::Judgment;
use crate::object::Object;

/// Whether pods of this node can't be expected to run: it is not ready, or nothing may be placed there.
pub(super) fn is_out(node: Object<'_>) -> bool {
    !node.condition("Ready").is_some_and(|ready| ready.is_true()) || node.flag("spec.unschedulable")
}

/// The node that a pod is bound to, when it is among the documents.
pub(super) fn of<'a>(context: &Context<'a>, pod: Object<'a>) -> Option<Object<'a>> {
    let name = pod.text("spec.nodeName").or_else(|| wanted(pod))?;
    context.snapshot.find("", "Node", "", name)
}

/// The node that a DaemonSet's pod is made for, before it is bound.
fn wanted<'a>(pod: Object<'a>) -> Option<&'a str> {
    let terms = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
    let fields = pod.list(terms).first()?.get("matchFields")?.as_array()?.first()?;
    fields.get("values")?.as_array()?.first()?.as_str()
}

/// A pod whose node is not ready: nothing that it shows is of today.
pub(super) fn lost(pod: &Pod<'_>) -> Option<Cause> {
    let node = of(&pod.context, pod.object)?;
    let ready = node.condition("Ready")?;
    if ready.is_true() {
        return None;
    }
    let message = format!(
        "pod {} is on node {}, which is not ready: {}",
        pod.object.name(),
        node.name(),
        quote(ready.text())
    );
    Some(
        Cause::new(ReasonCode::NodeNotReady, EffectiveFrom::Never, message)
            .with(condition_evidence(node, &ready)),
    )
}

pub(super) fn judge(context: Context<'_>, node: Object<'_>) -> Judgment {
    let Some(ready) = node.condition("Ready") else {
        return Judgment::progressing(
            ReasonCode::NodeNotReady,
            format!("node {} has no condition Ready", node.name()),
        );
    };
    if !ready.is_true() {
        let message = format!("node {} is not ready: {}", node.name(), quote(ready.text()));
        let effective = EffectiveFrom::after(ready.at, grace::CONFIRMATION);
        return Cause::new(ReasonCode::NodeNotReady, effective, message)
            .with(condition_evidence(node, &ready))
            .judgment(context.now);
    }
    let judgment = Judgment { message: "the node is ready".to_owned(), ..Judgment::healthy() };
    if node.flag("spec.unschedulable") {
        judgment.warn(format!("node {} is cordoned: no pod is placed there", node.name()))
    } else {
        judgment
    }
}
