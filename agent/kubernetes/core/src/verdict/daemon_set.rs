//! DaemonSets. A node that is not ready or cordoned takes no new pod and must not hold a deploy of all others.

use trimaran_model::reason::ReasonCode;

use super::cause::field_evidence;
use super::context::Context;
use super::progress::{Pending, Progress};
use super::revision_pods::{Need, RevisionPods};
use super::stateful_set::REVISION;
use super::{creation, node, template};
use crate::judgment::Judgment;
use crate::object::Object;

const TEMPLATE: &str = "deprecated.daemonset.template.generation";
const POD_TEMPLATE: &str = "pod-template-generation";

/// What distinguishes the pods of the new revision.
struct Revision<'a> {
    hash: Option<&'a str>,
    template: Option<&'a str>,
    /// Every pod is of it.
    all: bool,
    created: Option<trimaran_model::time::WallTime>,
}

pub(super) fn judge<'a>(context: Context<'a>, object: Object<'a>) -> Judgment {
    let revision = Revision::of(context, object);
    let start = context.start(revision.created);
    let all_pods = || context.snapshot.children_of_kind(object, "", "Pod");
    let out = |pod: &Object<'a>| node::of(&context, *pod).is_some_and(node::is_out);
    let current = all_pods().filter(|pod| revision.has(*pod) && !out(pod));
    let pods = RevisionPods::new(context, current, start, Need::Any).warn_of_leftovers(context, all_pods());
    let mut progress = Progress::new(object, pods);
    let excused: Vec<Object<'a>> = all_pods().filter(out).collect();
    let behind = |object: &&Object<'a>| !revision.has(**object);
    let unready = |object: &&Object<'a>| !super::pod::Pod::new(context, **object, None).is_ready();
    let excused_updates = excused.iter().filter(behind).count();
    let excused_pods = excused.iter().filter(unready).count();
    progress.pending = pending(object, excused_updates, excused_pods);
    progress.warnings.extend(excused.iter().filter(|pod| behind(pod) || unready(pod)).map(|pod| {
        let node = node::of(&context, *pod).map_or("?", Object::name);
        format!("node_not_ready: node {node} is out, so its pod {} is not waited for", pod.name())
    }));
    let scheduled = object.count("status.currentNumberScheduled").unwrap_or(0);
    if object.count("status.desiredNumberScheduled").is_none_or(|desired| scheduled < desired) {
        progress.own.extend(creation::by_event(context, object, start));
    }
    progress.own.extend(creation::by_condition(context, object));
    progress.set_default_deadline(context, revision.created.filter(|_| !revision.all));
    progress.healthy = healthy(object, &mut progress.warnings);
    progress.judge(context)
}

impl<'a> Revision<'a> {
    /// The newest ControllerRevision, the generation of the template, or all pods when all are counted as new.
    fn of(context: Context<'a>, object: Object<'a>) -> Self {
        let revisions = context.snapshot.children_of_kind(object, "apps", "ControllerRevision");
        let newest = revisions.max_by_key(|revision| (revision.count("revision"), revision.created()));
        // One of an earlier template is shown a moment longer than the status that knows of the new one.
        let newest = newest.filter(|revision| !template::is_of_another(object, *revision));
        let desired = object.count("status.desiredNumberScheduled");
        Self {
            hash: newest.and_then(|revision| revision.label(REVISION)),
            template: object.annotation(TEMPLATE),
            all: desired.is_some() && object.count("status.updatedNumberScheduled") == desired,
            created: newest.and_then(Object::created),
        }
    }

    fn has(&self, pod: Object<'a>) -> bool {
        let by_hash = self.hash.is_some() && pod.label(REVISION) == self.hash;
        let by_template = self.template.is_some() && pod.label(POD_TEMPLATE) == self.template;
        by_hash || by_template || (self.hash.is_none() && self.template.is_none() && self.all)
    }
}

/// `updatedNumberScheduled` and `numberAvailable` are left out by the API server when they are zero.
fn pending(object: Object<'_>, excused_updates: usize, excused_pods: usize) -> Option<Pending> {
    let Some(desired) = object.count("status.desiredNumberScheduled") else {
        let evidence = field_evidence(object, "status.desiredNumberScheduled", "absent", None);
        return Some(Pending::new(ReasonCode::NotReady, "the nodes were not counted yet", evidence));
    };
    if object.count("status.numberReady").is_none() {
        let evidence = field_evidence(object, "status.numberReady", "absent", None);
        return Some(Pending::new(ReasonCode::NotReady, "the pods were not counted yet", evidence));
    }
    let on_delete = object.text("spec.updateStrategy.type") == Some("OnDelete");
    let needs = [
        ("status.updatedNumberScheduled", "updated", excused_updates, !on_delete),
        ("status.numberReady", "ready", excused_pods, true),
        ("status.numberAvailable", "available", excused_pods, true),
    ];
    for (path, what, excused, needed) in needs {
        let count = object.count(path).unwrap_or(0);
        let excused = i64::try_from(excused).unwrap_or(0);
        if needed && count.saturating_add(excused) < desired {
            let message = format!("the pods of {count} of {desired} nodes are {what}");
            return Some(Pending::new(
                ReasonCode::NotReady,
                message,
                field_evidence(object, path, count, None),
            ));
        }
    }
    None
}

fn healthy(object: Object<'_>, warnings: &mut Vec<String>) -> String {
    let desired = object.count("status.desiredNumberScheduled").unwrap_or(0);
    let updated = object.count("status.updatedNumberScheduled").unwrap_or(0);
    if object.text("spec.updateStrategy.type") == Some("OnDelete") && updated < desired {
        let text = format!("the pods of {updated} of {desired} nodes are on the new revision");
        warnings.push(format!("ondelete: {text}; the others change when a user deletes them"));
        return text;
    }
    "the pods of all nodes are updated and available".to_owned()
}
