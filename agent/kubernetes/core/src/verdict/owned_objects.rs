//! Custom resources: their own status, and what their controllers made below them.
//!
//! The status of a custom resource is often the last to change. A doomed workload below it dooms it; a healthy one
//! does not make up for a status that no rule understands.

use std::collections::BTreeSet;

use trimaran_model::limits::OWNER_DEPTH_MAX;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Wall};
use trimaran_model::verdict::Verdict;

use super::built_in::is_own_group;
use super::context::Context;
use super::revision_pods::{Need, RevisionPods};
use super::stateful_set::REVISION;
use super::{deadline, start_allowance};
use crate::custom::{Circumstances, judge_custom};
use crate::judgment::{Evidence, Judgment};
use crate::object::Object;

/// The judge of any object.
type JudgeObject = for<'a> fn(Context<'a>, Object<'a>, &mut Descent<'a>) -> Judgment;

/// The path from the subject down. Each custom resource is judged once for one subject, below the first of its owners:
/// owners may form circles, and objects with several owners would be judged once for each path to them.
#[derive(Debug)]
pub(super) struct Descent<'a> {
    /// Judges what is found below: any object, by the rule of its kind.
    judge_object: JudgeObject,
    depth: usize,
    /// How long the slowest pod that was found so far may take to start.
    start_allowance: Millis,
    /// By group, kind, namespace and name.
    seen: BTreeSet<(&'a str, &'a str, &'a str, &'a str)>,
}

impl Descent<'_> {
    pub(super) fn new(judge_object: JudgeObject) -> Self {
        Self { judge_object, depth: 0, start_allowance: Millis::ZERO, seen: BTreeSet::new() }
    }
}

pub(super) fn judge<'a>(context: Context<'a>, object: Object<'a>, descent: &mut Descent<'a>) -> Judgment {
    if is_own_group(object.group()) {
        return Judgment::unknown(format!("no rule understands the kind {}", object.kind()));
    }
    let circumstances = Circumstances {
        now: context.now,
        since: context.since,
        declares_status: context.snapshot.declares_status(object),
    };
    let own = judge_custom(object.value(), context.rules, circumstances);
    let allowance = start_allowance::of_workload(object);
    // What is below belongs to the generation before, or goes away with the object.
    let is_stale = own.reason == Some(ReasonCode::Generation) || object.is_deleted();
    let key = (object.group(), object.kind(), object.namespace(), object.name());
    let ends_here = is_stale || own.verdict == Verdict::Suspended || descent.depth >= OWNER_DEPTH_MAX;
    if ends_here || !descent.seen.insert(key) {
        return deadline::apply(context, object, own, allowance);
    }
    descent.depth += 1;
    let beside = std::mem::take(&mut descent.start_allowance);
    let below = Below::collect(context, object, descent);
    let allowance = allowance.max(descent.start_allowance);
    descent.start_allowance = allowance.max(beside);
    descent.depth -= 1;
    if below.is_on_time(context.now) {
        return below.combine(own);
    }
    deadline::apply(context, object, below.combine(own), allowance)
}

/// What is wrong below a custom resource.
#[derive(Debug, Default)]
struct Below {
    /// A workload that is doomed: it dooms the owner.
    doomed: Option<Judgment>,
    /// A Job or a custom resource that failed: its owner may have tried again, so its own status wins.
    failed: Option<Judgment>,
    /// A workload that is not ready yet.
    progressing: Option<Judgment>,
    /// A pod that waits for another controller on purpose.
    held: Option<Judgment>,
}

impl Below {
    fn collect<'a>(context: Context<'a>, owner: Object<'a>, descent: &mut Descent<'a>) -> Self {
        let mut below = Self::default();
        let children: Vec<Object<'a>> =
            context.snapshot.children(owner).filter(|it| !it.is_deleted()).collect();
        below.add_pods(context, owner, &children, descent);
        let mut judged = Vec::new();
        for child in children {
            let workload = is_workload(child);
            if workload || child.kind() == "Job" || !is_known(child) {
                descent.start_allowance = descent.start_allowance.max(start_allowance::of_workload(child));
                judged.push((child, workload, (descent.judge_object)(context, child, descent)));
            }
        }
        for (child, workload, judgment) in &judged {
            let superseded = judged.iter().any(|(other, _, theirs)| {
                is_newer_revision(*other, *child)
                    || (!workload && is_newer_and_better(*other, theirs, *child))
            });
            if !superseded {
                below.add(*child, *workload, judgment.clone());
            }
        }
        below
    }

    /// Pods that the custom resource owns without a workload between. Of their own kind of revision only when
    /// both sides name one.
    fn add_pods<'a>(
        &mut self,
        context: Context<'a>,
        owner: Object<'a>,
        children: &[Object<'a>],
        descent: &mut Descent<'a>,
    ) {
        let revision = owner.text("status.updateRevision");
        let is_current = |pod: &Object<'a>| match (revision, pod.label(REVISION)) {
            (Some(revision), Some(of_pod)) => revision == of_pod || revision.ends_with(&format!("-{of_pod}")),
            _ => true,
        };
        let pods = children.iter().copied().filter(|child| child.kind() == "Pod" && child.group().is_empty());
        let pods = RevisionPods::new(context, pods.filter(is_current), context.since, Need::Any);
        descent.start_allowance = descent.start_allowance.max(pods.start_allowance());
        if let Some((gate, evidence)) = pods.gate() {
            let held = Judgment::progressing(ReasonCode::NotReady, gate.clone()).with(evidence.clone());
            self.held = Some(Judgment { is_held: true, ..held });
        }
        if let Some(unproven) = pods.unproven() {
            let waits = Judgment::progressing(ReasonCode::NotReady, unproven.message.clone());
            self.progressing = Some(waits.with(unproven.evidence.clone()).recheck_at(unproven.until));
        }
        if let Some(cause) = pods.cause() {
            let judgment = cause.judgment(context.now);
            if judgment.verdict == Verdict::Degraded {
                self.doomed = Some(judgment);
            } else {
                self.progressing = Some(judgment);
            }
        }
    }

    fn add(&mut self, child: Object<'_>, workload: bool, judgment: Judgment) {
        // What a custom resource passes on from a workload below it counts like the workload.
        let passed_on = child.kind() != "Job" && judgment.evidence.iter().any(is_of_workload);
        match judgment.verdict {
            Verdict::Degraded if workload || passed_on => worse(&mut self.doomed, judgment),
            Verdict::Degraded => worse(&mut self.failed, judgment),
            Verdict::Progressing if judgment.is_held => self.held = Some(judgment),
            Verdict::Progressing if workload || passed_on => worse(&mut self.progressing, judgment),
            _ => {}
        }
    }

    /// Whether a workload below progresses within its own deadline, so that its owner is not late either.
    fn is_on_time(&self, now: Wall) -> bool {
        let waits = self.progressing.as_ref().filter(|_| self.doomed.is_none() && self.failed.is_none());
        waits.and_then(|waits| waits.next_check_at).is_some_and(|next| next > now)
    }

    fn combine(self, own: Judgment) -> Judgment {
        if let Some(doomed) = self.doomed {
            return Judgment {
                evidence: [doomed.evidence, own.evidence].concat(),
                warnings: own.warnings,
                ..doomed
            };
        }
        if let Some(held) =
            self.held.filter(|_| matches!(own.verdict, Verdict::Progressing | Verdict::Unknown))
        {
            return Judgment {
                message: format!("{}; {}", own.message, held.message),
                evidence: [held.evidence, own.evidence].concat(),
                warnings: own.warnings,
                ..held
            };
        }
        match (own.verdict, self.failed, self.progressing) {
            (Verdict::Unknown | Verdict::Progressing, Some(failed), _) => Judgment {
                evidence: [failed.evidence, own.evidence].concat(),
                warnings: own.warnings,
                ..failed
            },
            (Verdict::Healthy, Some(failed), _) => own.warn(failed.message),
            (Verdict::Healthy | Verdict::Unknown, None, Some(waits)) => {
                Judgment { warnings: own.warnings, ..waits }
            }
            (Verdict::Progressing, None, Some(waits)) => {
                waits.next_check_at.into_iter().fold(own, Judgment::recheck_at)
            }
            _ => own,
        }
    }
}

fn is_of_workload(evidence: &Evidence) -> bool {
    ["Pod/", "Deployment/", "StatefulSet/", "DaemonSet/", "ReplicaSet/"]
        .iter()
        .any(|kind| evidence.object.starts_with(kind))
}

/// Keeps the one whose next check comes first; the message decides between equals.
fn worse(kept: &mut Option<Judgment>, judgment: Judgment) {
    let order = |it: &Judgment| (it.next_check_at.is_none(), it.next_check_at, it.message.clone());
    if kept.as_ref().is_none_or(|kept| order(&judgment) < order(kept)) {
        *kept = Some(judgment);
    }
}

fn is_workload(object: Object<'_>) -> bool {
    matches!(
        (object.group(), object.kind()),
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
            | ("", "ReplicationController")
            | ("argoproj.io", "Rollout")
    )
}

/// Kinds with a rule in code say nothing about their owner unless they are workloads or Jobs.
fn is_known(object: Object<'_>) -> bool {
    is_own_group(object.group()) || super::built_in::rule_of(object.group(), object.kind()).is_some()
}

/// A ReplicaSet or ReplicationController is made for each template of its owner, as a DeploymentConfig does: the
/// older ones of `web-1` and `web-2` are on their way out, unless the newer one was scaled down.
fn is_newer_revision(other: Object<'_>, child: Object<'_>) -> bool {
    let revision =
        matches!((child.group(), child.kind()), ("apps", "ReplicaSet") | ("", "ReplicationController"));
    let template = |object: Object<'_>| object.name().rsplit_once('-').map_or(0, |(stem, _)| stem.len());
    revision
        && is_newer(other, child)
        && other.name().get(..template(other)) == child.name().get(..template(child))
        && other.count("spec.replicas") != Some(0)
}

fn is_newer(other: Object<'_>, child: Object<'_>) -> bool {
    other.kind() == child.kind() && other.group() == child.group() && other.created() > child.created()
}

/// A newer sibling of the same kind that did not fail: the failed one is history.
fn is_newer_and_better(other: Object<'_>, theirs: &Judgment, child: Object<'_>) -> bool {
    is_newer(other, child) && theirs.verdict != Verdict::Degraded
}
