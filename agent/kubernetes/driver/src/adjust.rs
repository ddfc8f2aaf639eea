//! A restart, and another number of replicas: one field of the workloads that run already, and nothing else of the release.
//!
//! A restart writes an annotation into the pod template, as `kubectl rollout restart` does, and the controller replaces the
//! pods as its strategy says. Fields that are written here get an owner of their own, [`ADJUSTER`]: the next release takes
//! what it sets itself, and leaves alone what it does not set, so that it restarts no pod to remove an annotation.
//!
//! The marks of the order say what was done: a workload that carries them is not touched again, whoever continues.
//!
//! Deliberately not here: kinds that others define. How they are restarted and scaled only their controllers know.

use serde_json::{Value, json};
use trimaran_model::action::Failure;
use trimaran_model::reason::ReasonCode;

use crate::decide::{Decision, failure, is_same, marks_alone, terminating};
use crate::inventory::{Change, Receipt};
use crate::object_key::ObjectKey;
use crate::order::{Goal, Release};
use crate::platform::{Live, LiveObject};
use crate::stamp::Author;

/// Who owns the fields that an order sets apart from the release.
pub const ADJUSTER: &str = "trimaran-adjust";
/// In a pod template: the assignment that restarted its pods last.
pub const RESTART_ANNOTATION: &str = "trimaran.dev/restarted-by";

/// What changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Adjustment {
    Restart,
    Scale(u32),
}

impl Adjustment {
    pub(crate) fn of(goal: &Goal) -> Option<Self> {
        match goal {
            Goal::Restart(_) => Some(Self::Restart),
            Goal::Scale(_, replicas) => Some(Self::Scale(*replicas)),
            Goal::Release(_) | Goal::Restore(_) | Goal::Verify(_) | Goal::Stop(_) => None,
        }
    }

    fn is_for(self, key: &ObjectKey) -> bool {
        key.group() == "apps"
            && match self {
                Self::Restart => matches!(key.kind.as_str(), "Deployment" | "StatefulSet" | "DaemonSet"),
                Self::Scale(_) => matches!(key.kind.as_str(), "Deployment" | "StatefulSet" | "ReplicaSet"),
            }
    }

    fn merge(self, author: &Author) -> Value {
        let mut merge = marks_alone(author);
        merge["spec"] = match self {
            Self::Restart => {
                let by = author.assignment.0.to_string();
                json!({"template": {"metadata": {"annotations": {RESTART_ANNOTATION: by}}}})
            }
            Self::Scale(replicas) => json!({"replicas": replicas}),
        };
        merge
    }
}

/// The workloads of a release that an order adjusts, in its order.
pub(crate) fn workloads(release: &Release, adjustment: Adjustment) -> impl Iterator<Item = &ObjectKey> {
    release.manifests.iter().map(|manifest| &manifest.key).filter(move |key| adjustment.is_for(key))
}

/// Why a release can't be adjusted like that, whatever runs.
pub(crate) fn objection(goal: &Goal) -> Option<Failure> {
    let (release, adjustment) = (goal.release()?, Adjustment::of(goal)?);
    let found: Vec<String> = workloads(release, adjustment).map(ToString::to_string).collect();
    let message = match (adjustment, found.as_slice()) {
        (Adjustment::Scale(0), _) => "a release is scaled to at least 1; to end it, stop it".to_owned(),
        (Adjustment::Restart, []) => {
            "the release has no Deployment, StatefulSet or DaemonSet that could be restarted".to_owned()
        }
        (Adjustment::Scale(_), []) => {
            "the release has no Deployment, StatefulSet or ReplicaSet that could be scaled".to_owned()
        }
        (Adjustment::Restart, _) | (Adjustment::Scale(_), [_]) => return None,
        (Adjustment::Scale(_), several) => format!(
            "the release has several workloads, and an order does not say which one is scaled: {}; set their replicas in its manifests",
            several.join(", ")
        ),
    };
    Some(failure(ReasonCode::OrderRefused, message))
}

/// What is done with one workload.
pub(crate) fn decide(
    author: &Author,
    adjustment: Adjustment,
    key: &ObjectKey,
    live: &Live,
    [before, intended]: [Option<&Receipt>; 2],
) -> Decision {
    let Live::Present(live) = live else {
        return refuse(format!("{key} is not there; deploy the release first"));
    };
    if let Some(finalizers) = &live.terminating {
        return Decision::Wait { message: terminating(key, finalizers) };
    }
    if let Some(by) = live.marks.fence.filter(|fence| *fence > author.fence) {
        return Decision::Superseded { by };
    }
    let receipt = receipt(author, key, live, before);
    if live.marks.fence == Some(author.fence) && live.marks.assignment == Some(author.assignment) {
        let own = intended.filter(|receipt| receipt.assignment == author.assignment).cloned();
        let own = own.unwrap_or(receipt);
        return Decision::Applied(Receipt { uid: Some(live.uid.clone()), fields: live.fields, ..own });
    }
    let is_ours = live.marks.installation.as_ref() == Some(&author.installation_text());
    if !is_ours || live.marks.release != Some(author.release) {
        let runs =
            live.marks.release.map_or("others".to_owned(), |release| format!("release {}", release.short()));
        let wanted = author.release.short();
        return refuse(format!("{key} is of {runs}, not of release {wanted}; deploy that one first"));
    }
    if let (Adjustment::Scale(_), Some(autoscaler)) = (adjustment, &live.scaled_by) {
        let message = format!(
            "the replicas of {key} are set by HorizontalPodAutoscaler/{autoscaler}; change its minReplicas and maxReplicas"
        );
        return refuse(message);
    }
    Decision::Adjust {
        uid: live.uid.clone(),
        resource_version: live.resource_version.clone(),
        merge: adjustment.merge(author),
        receipt,
    }
}

/// What is known of the object stays; only who was there last changes.
fn receipt(author: &Author, key: &ObjectKey, live: &LiveObject, before: Option<&Receipt>) -> Receipt {
    let uid = Some(live.uid.clone());
    match before.filter(|receipt| is_same(receipt, live)) {
        Some(known) => {
            Receipt { uid, assignment: author.assignment, change: Change::Updated, ..known.clone() }
        }
        None => Receipt {
            key: key.clone(),
            uid,
            assignment: author.assignment,
            created_by: None,
            change: Change::Updated,
            replicas_before: None,
            is_versioned: false,
            adopted_by: None,
            fields: None,
        },
    }
}

fn refuse(message: String) -> Decision {
    Decision::Refuse(failure(ReasonCode::OrderRefused, message))
}

#[cfg(test)]
mod tests;
