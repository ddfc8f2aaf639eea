//! One row for each thing that may be there when a workload is to be restarted or scaled.

use trimaran_model::id::{AssignmentId, Digest, Fence, InstallationId};
use trimaran_model::time::Millis;

use super::*;
use crate::order::OnConflict;
use crate::stamp::Marks;

const OURS: Digest = Digest([2; 32]);
const OTHER: Digest = Digest([1; 32]);

fn author() -> Author {
    let installation =
        InstallationId { pipeline: "web".parse().expect("a name"), target: "tokyo".parse().expect("a name") };
    Author { installation, release: OURS, fence: Fence(10), assignment: AssignmentId(3) }
}

fn document(api_version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "shop"}})
}

fn key() -> ObjectKey {
    ObjectKey::of(&document("apps/v1", "Deployment", "web")).expect("a key")
}

/// As an earlier order for this release left it.
fn live() -> LiveObject {
    LiveObject {
        uid: "u1".to_owned(),
        resource_version: "7".to_owned(),
        generation: 1,
        marks: Marks {
            installation: Some("web/tokyo".to_owned()),
            release: Some(OURS),
            fence: Some(Fence(9)),
            assignment: Some(AssignmentId(1)),
        },
        terminating: None,
        replicas: Some(7),
        serving: None,
        scaled_by: None,
        is_usable: true,
        keep: false,
        fields: Some(5),
    }
}

fn known() -> Receipt {
    Receipt {
        key: key(),
        uid: Some("u1".to_owned()),
        assignment: AssignmentId(1),
        created_by: Some(OTHER),
        change: Change::Unchanged,
        replicas_before: Some(4),
        is_versioned: false,
        adopted_by: Some(OURS),
        fields: Some(4),
    }
}

fn decided(adjustment: Adjustment, live: Live) -> Decision {
    decide(&author(), adjustment, &key(), &live, [Some(&known()), None])
}

fn refused(decision: Decision) -> String {
    let Decision::Refuse(Failure { code, message, .. }) = decision else { panic!("{decision:?}") };
    assert_eq!(code, ReasonCode::OrderRefused);
    message
}

#[test]
fn one_field_changes_in_the_version_that_was_seen() {
    for (adjustment, spec) in [
        (
            Adjustment::Restart,
            json!({"template": {"metadata": {"annotations": {"trimaran.dev/restarted-by": "3"}}}}),
        ),
        (Adjustment::Scale(4), json!({"replicas": 4})),
    ] {
        let decision = decided(adjustment, Live::Present(live()));
        let Decision::Adjust { uid, resource_version, merge, receipt } = decision else {
            panic!("{decision:?}")
        };
        assert_eq!((uid.as_str(), resource_version.as_str()), ("u1", "7"));
        assert_eq!(merge["spec"], spec);
        assert_eq!(Marks::of(&merge).fence, Some(Fence(10)), "the marks come with it");
        let expected = Receipt { assignment: AssignmentId(3), change: Change::Updated, ..known() };
        assert_eq!(receipt, expected, "what is known of it stays");
    }
}

#[test]
fn what_this_order_did_is_not_done_again() {
    let mut done = live();
    (done.marks.fence, done.marks.assignment) = (Some(Fence(10)), Some(AssignmentId(3)));
    let decision = decided(Adjustment::Restart, Live::Present(done));
    let Decision::Applied(receipt) = decision else { panic!("{decision:?}") };
    assert_eq!((receipt.fields, receipt.created_by), (Some(5), Some(OTHER)));
}

#[test]
fn nothing_but_the_release_that_runs_is_adjusted() {
    let with = |change: fn(&mut LiveObject)| {
        let mut object = live();
        change(&mut object);
        decided(Adjustment::Restart, Live::Present(object))
    };
    let other = refused(with(|object| object.marks.release = Some(OTHER)));
    assert!(other.contains("is of release 0101") && other.contains("deploy that one first"), "{other}");
    let others = refused(with(|object| object.marks.installation = Some("api/tokyo".to_owned())));
    assert!(others.contains("Deployment/web is of"), "{others}");
    assert!(refused(decided(Adjustment::Restart, Live::Absent)).contains("is not there"));
    let later = with(|object| object.marks.fence = Some(Fence(11)));
    assert_eq!(later, Decision::Superseded { by: Fence(11) });
    let ending = with(|object| object.terminating = Some(Vec::new()));
    assert!(matches!(ending, Decision::Wait { .. }), "{ending:?}");
}

#[test]
fn an_autoscaler_keeps_its_replicas_and_lets_its_workload_be_restarted() {
    let scaled = || Live::Present(LiveObject { scaled_by: Some("web-hpa".to_owned()), ..live() });
    let why = refused(decided(Adjustment::Scale(4), scaled()));
    assert!(why.contains("HorizontalPodAutoscaler/web-hpa; change its minReplicas"), "{why}");
    assert!(matches!(decided(Adjustment::Restart, scaled()), Decision::Adjust { .. }));
}

#[test]
fn a_release_that_can_not_be_adjusted_says_why() {
    let release = |objects: &[(&str, &str, &str)]| {
        let documents = objects.iter().map(|(version, kind, name)| document(version, kind, name)).collect();
        let release = Release::new(OURS, documents, Millis::ZERO, OnConflict::Refuse).expect("a release");
        std::sync::Arc::new(release)
    };
    let web = ("apps/v1", "Deployment", "web");
    let (one, two) = (release(&[web]), release(&[web, ("apps/v1", "StatefulSet", "db")]));
    let none = release(&[("v1", "ConfigMap", "web"), ("example.com/v1", "Deployment", "web")]);
    let sets = release(&[("apps/v1", "DaemonSet", "web")]);
    let words = |goal| objection(&goal).map(|why| why.message);
    assert_eq!(words(Goal::Restart(two.clone())), None, "all of them");
    assert_eq!(words(Goal::Scale(one.clone(), 2)), None);
    assert_eq!(words(Goal::Release(none.clone())), None);
    for (goal, part) in [
        (Goal::Restart(none.clone()), "no Deployment, StatefulSet or DaemonSet"),
        (Goal::Scale(none, 2), "no Deployment, StatefulSet or ReplicaSet"),
        (Goal::Scale(sets, 2), "no Deployment, StatefulSet or ReplicaSet"),
        (Goal::Scale(two, 2), "Deployment/web, StatefulSet/db"),
        (Goal::Scale(one, 0), "at least 1"),
    ] {
        let why = words(goal).expect("it can't be done");
        assert!(why.contains(part), "{why}");
    }
}
