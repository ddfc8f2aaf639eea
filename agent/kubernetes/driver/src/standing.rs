//! What is said of an installation on which nothing works.
//!
//! An edit by someone else is said whatever the health is, and nothing that follows from it is held against the release.

use trimaran_model::action::Failure;
use trimaran_model::id::{Digest, Fence};
use trimaran_model::reason::ReasonCode;
use trimaran_model::verdict::{Fault, Verdict};

use crate::decide::{failure, runs_once};
use crate::fields::edited;
use crate::finish::{badness, cause, total};
use crate::inventory::{Inventory, Receipt};
use crate::platform::{Observation, ObservedObject};

/// How an installation is, by what its last release left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    pub verdict: Verdict,
    /// The first cause, or what others changed of it; a healthy one has only the latter.
    pub failure: Option<Failure>,
    /// Instances that are not available.
    pub down: u32,
}

/// Judges by what is there of the objects in the inventory. Only what the release itself left is evidence: an object that
/// others deleted or made anew is reported as that, and one that a later order touched says nothing. `None` while a
/// later order is at work.
pub fn health(
    inventory: &Inventory,
    release: Digest,
    fence: Fence,
    observation: &Observation,
) -> Option<Health> {
    // A job that did its work may be gone: its cluster removes it after a while.
    let is_evidence = |object: &&ObservedObject| {
        inventory.receipt(&object.key).is_some() && (object.uid.is_some() || !runs_once(&object.key))
    };
    let objects: Vec<&ObservedObject> = observation.objects.iter().filter(is_evidence).collect();
    if objects.iter().any(|object| object.marks.fence.is_some_and(|by| by > fence)) {
        return None;
    }
    let pods = total(&objects);
    let down = pods.desired.saturating_sub(pods.available);
    let taken = objects.iter().find_map(|object| {
        let receipt = inventory.receipt(&object.key).expect("others were left out");
        of_others(object, receipt, release)
    });
    if let Some(failure) = taken {
        return Some(Health { verdict: Verdict::Missing, failure: Some(failure), down });
    }
    let edit = objects.iter().find_map(|object| {
        edited(inventory.receipt(&object.key).expect("others were left out").fields, object)
    });
    // A kind that no rule understands claims nothing, good or bad.
    let claims = |object: &&&ObservedObject| object.reason != Some(ReasonCode::NoRule);
    let worst = objects.iter().filter(claims).max_by_key(|object| badness(object.verdict, object.fault));
    let Some(worst) = worst.filter(|object| object.verdict != Verdict::Healthy) else {
        return Some(Health { verdict: Verdict::Healthy, failure: edit, down });
    };
    if let Some(mut edit) = edit {
        // What others made of the release is no evidence about it.
        edit.message = format!("{}; then: {}", edit.message, cause(worst).message);
        let is_moving = worst.verdict == Verdict::Progressing;
        let verdict = if is_moving { Verdict::Progressing } else { Verdict::Unknown };
        return Some(Health { verdict, failure: Some(edit), down });
    }
    let mut failure = cause(worst);
    // The words are those of the verdict; whose fault it is, too.
    if worst.fault == Some(Fault::Platform) && failure.code.fault() == Some(Fault::Release) {
        failure.code = ReasonCode::PausedFault;
    }
    Some(Health { verdict: worst.verdict, failure: Some(failure), down })
}

/// What others did to an object, if they did.
fn of_others(object: &ObservedObject, receipt: &Receipt, release: Digest) -> Option<Failure> {
    let key = &object.key;
    let Some(uid) = &object.uid else {
        return Some(failure(ReasonCode::Missing, format!("{key} was deleted by someone else")));
    };
    if receipt.uid.as_ref().is_some_and(|known| known != uid) {
        let message = format!("{key} was deleted and made again by someone else");
        return Some(failure(ReasonCode::Missing, message));
    }
    // What an earlier release left on purpose keeps that release's mark.
    let is_ours = object.marks.release == Some(release) || receipt.is_versioned;
    (!is_ours).then(|| {
        failure(
            ReasonCode::Missing,
            format!("{key} was replaced by someone else: it has no mark of this release"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use trimaran_model::id::AssignmentId;

    use crate::inventory::Change;
    use crate::object_key::ObjectKey;
    use crate::platform::{FieldOwner, Pods};
    use crate::stamp::Marks;

    const RELEASE: Digest = Digest([1; 32]);
    const FENCE: Fence = Fence(7);

    fn inventory() -> Inventory {
        let receipt = Receipt {
            key: key(),
            uid: Some("u".to_owned()),
            assignment: AssignmentId(1),
            created_by: Some(RELEASE),
            change: Change::Created,
            replicas_before: None,
            is_versioned: false,
            adopted_by: None,
            fields: Some(1),
        };
        Inventory::new(vec![RELEASE], [receipt])
    }

    fn key() -> ObjectKey {
        let document = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}});
        ObjectKey::of(&document).expect("a key")
    }

    fn object() -> ObservedObject {
        ObservedObject {
            key: key(),
            uid: Some("u".to_owned()),
            generation: 1,
            marks: Marks { installation: None, release: Some(RELEASE), fence: Some(FENCE), assignment: None },
            verdict: Verdict::Healthy,
            reason: None,
            message: String::new(),
            fault: None,
            pods: Pods { desired: 3, updated: 3, available: 2, restarts: 0 },
            stuck: None,
            fields: Some(1),
            edits: Vec::new(),
        }
    }

    fn judge(object: ObservedObject) -> Option<Health> {
        let observation =
            Observation { blind_since: None, objects: vec![object], instances: Vec::new(), next_check: None };
        health(&inventory(), RELEASE, FENCE, &observation)
    }

    fn code(object: ObservedObject) -> (Verdict, Option<ReasonCode>) {
        let health = judge(object).expect("it is judged");
        (health.verdict, health.failure.map(|failure| failure.code))
    }

    #[test]
    fn what_stands_is_judged_by_its_worst_object() {
        let healthy = judge(object()).expect("it is judged");
        assert_eq!((healthy.verdict, healthy.down), (Verdict::Healthy, 1));
        let crash = ObservedObject {
            verdict: Verdict::Degraded,
            reason: Some(ReasonCode::CrashLoop),
            fault: Some(Fault::Release),
            ..object()
        };
        assert_eq!(code(crash.clone()), (Verdict::Degraded, Some(ReasonCode::CrashLoop)));
        let node = ObservedObject { fault: Some(Fault::Platform), ..crash };
        assert_eq!(code(node), (Verdict::Degraded, Some(ReasonCode::PausedFault)));
        let unknown =
            ObservedObject { verdict: Verdict::Unknown, reason: Some(ReasonCode::NoRule), ..object() };
        assert_eq!(code(unknown), (Verdict::Healthy, None));
    }

    #[test]
    fn what_others_did_is_no_failure_of_the_release() {
        let missing = (Verdict::Missing, Some(ReasonCode::Missing));
        assert_eq!(code(ObservedObject { uid: None, ..object() }), missing);
        assert_eq!(code(ObservedObject { uid: Some("other".to_owned()), ..object() }), missing);
        assert_eq!(code(ObservedObject { marks: Marks::default(), ..object() }), missing);
        assert_eq!(missing.1.and_then(ReasonCode::fault), Some(Fault::Platform));
    }

    #[test]
    fn an_edit_is_said_and_what_follows_from_it_is_no_failure_of_the_release() {
        let edit = FieldOwner { manager: "kubectl-set".to_owned(), field: ".spec.paused".to_owned() };
        let edited = ObservedObject { fields: Some(2), edits: vec![edit], ..object() };
        assert_eq!(code(edited.clone()), (Verdict::Healthy, Some(ReasonCode::Diverged)));
        let crash = ObservedObject {
            verdict: Verdict::Degraded,
            reason: Some(ReasonCode::CrashLoop),
            fault: Some(Fault::Release),
            message: "it crashes".to_owned(),
            ..edited
        };
        assert_eq!(code(crash.clone()), (Verdict::Unknown, Some(ReasonCode::Diverged)));
        assert_eq!(
            judge(crash).and_then(|health| health.failure).map(|failure| failure.message).as_deref(),
            Some("Deployment/web was changed by someone else: .spec.paused (kubectl-set); then: it crashes")
        );
    }

    #[test]
    fn a_later_order_at_work_says_nothing_of_what_stood() {
        let mut later = object();
        later.marks.fence = Some(Fence(8));
        assert_eq!(judge(later), None);
    }
}
