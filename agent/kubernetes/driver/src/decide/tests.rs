//! The table: one row for each thing that may be there when an object is to be applied.

use serde_json::json;
use trimaran_model::id::{AssignmentId, InstallationId, PipelineName, TargetName};
use trimaran_model::time::Millis;

use super::*;
use crate::order::{OnConflict, Release};
use crate::stamp::Marks;

const OURS: Digest = Digest([2; 32]);
const EARLIER: Digest = Digest([1; 32]);

fn author() -> Author {
    Author {
        installation: InstallationId {
            pipeline: PipelineName::new("web").expect("a name"),
            target: TargetName::new("tokyo").expect("a name"),
        },
        release: OURS,
        fence: Fence(10),
        assignment: AssignmentId(3),
    }
}

/// A release of one object.
fn release(api_version: &str, kind: &str, spec: Value) -> Release {
    let document = json!({"apiVersion": api_version, "kind": kind,
                          "metadata": {"name": "web", "namespace": "shop"}, "spec": spec});
    Release::new(OURS, vec![document], Millis::ZERO, OnConflict::Refuse).expect("a release")
}

fn web() -> Release {
    release("apps/v1", "Deployment", json!({"replicas": 3}))
}

/// As an earlier release of ours left it.
fn live() -> LiveObject {
    LiveObject {
        uid: "u1".to_owned(),
        resource_version: "7".to_owned(),
        generation: 1,
        marks: Marks {
            installation: Some("web/tokyo".to_owned()),
            release: Some(EARLIER),
            fence: Some(Fence(9)),
            assignment: Some(AssignmentId(1)),
        },
        terminating: None,
        replicas: Some(7),
        serving: Some(7),
        scaled_by: None,
        is_usable: true,
        keep: false,
        fields: None,
    }
}

fn receipt(release: &Release) -> Receipt {
    Receipt {
        key: release.manifests[0].key.clone(),
        uid: Some("u1".to_owned()),
        assignment: AssignmentId(1),
        created_by: Some(EARLIER),
        change: Change::Created,
        replicas_before: Some(4),
        is_versioned: false,
        adopted_by: None,
        fields: None,
    }
}

struct Case<'a> {
    release: &'a Release,
    live: Live,
    before: Option<Receipt>,
    intended: Option<Receipt>,
    is_restore: bool,
}

impl<'a> Case<'a> {
    fn new(release: &'a Release, live: LiveObject) -> Self {
        let before = Some(receipt(release));
        Self { release, live: Live::Present(live), before, intended: None, is_restore: false }
    }

    fn decide(&self) -> Decision {
        decide(&Situation {
            author: &author(),
            is_restore: self.is_restore,
            manifest: &self.release.manifests[0],
            live: &self.live,
            before: self.before.as_ref(),
            intended: self.intended.as_ref(),
            is_defined_here: false,
        })
    }
}

/// The number of replicas that is applied, and the receipt.
fn applied(decision: Decision) -> (Option<u64>, Expect, Receipt) {
    match decision {
        Decision::Apply { document, expect, receipt, .. } => {
            (document.pointer("/spec/replicas").and_then(Value::as_u64), expect, receipt)
        }
        other => panic!("it is applied and not {other:?}"),
    }
}

#[test]
fn what_is_absent_is_created_and_what_exists_is_changed_in_the_version_that_was_seen() {
    let release = web();
    let absent = Case { live: Live::Absent, before: None, ..Case::new(&release, live()) };
    let (replicas, expect, receipt) = applied(absent.decide());
    assert_eq!((replicas, expect, receipt.created_by), (Some(3), Expect::Absent, Some(OURS)));
    let (replicas, expect, receipt) = applied(Case::new(&release, live()).decide());
    assert_eq!(expect, Expect::Exists { uid: "u1".to_owned(), resource_version: "7".to_owned() });
    assert_eq!((replicas, receipt.created_by, receipt.replicas_before), (Some(3), Some(EARLIER), Some(7)));
}

#[test]
fn an_object_from_before_trimaran_or_made_again_by_others_was_not_created_by_us() {
    let release = web();
    let adopted =
        Case { before: None, ..Case::new(&release, LiveObject { marks: Marks::default(), ..live() }) };
    assert_eq!(applied(adopted.decide()).2.created_by, None);
    let again = Case::new(&release, LiveObject { uid: "u2".to_owned(), ..live() });
    assert_eq!(applied(again.decide()).2.created_by, None);
}

#[test]
fn what_others_made_is_kept_before_it_is_taken_over_and_only_then() {
    let release = web();
    let keeps =
        |live: LiveObject, before: Option<Receipt>| match (Case { before, ..Case::new(&release, live) })
            .decide()
        {
            Decision::Apply { keep, receipt, .. } => (keep, receipt.adopted_by),
            other => panic!("it is applied and not {other:?}"),
        };
    let unmarked = || LiveObject { marks: Marks::default(), ..live() };
    let adopted =
        |fields| Receipt { created_by: None, adopted_by: Some(EARLIER), fields, ..receipt(&release) };
    assert_eq!(keeps(unmarked(), None), (true, Some(OURS)));
    assert_eq!(keeps(unmarked(), Some(adopted(None))), (true, Some(OURS)), "it was only intended");
    assert_eq!(keeps(live(), Some(adopted(Some(1)))), (false, Some(EARLIER)));
    assert_eq!(keeps(unmarked(), Some(adopted(Some(1)))), (false, Some(EARLIER)), "its marks were removed");
    assert_eq!(keeps(unmarked(), Some(receipt(&release))), (false, None), "we created it");
}

#[test]
fn only_what_is_still_ours_is_put_back() {
    let release = web();
    let adopted = Receipt { created_by: None, adopted_by: Some(OURS), ..receipt(&release) };
    let back = |live: LiveObject| put_back(&author(), &Live::Present(live), &adopted);
    assert!(matches!(back(live()), Decision::PutBack { .. }));
    let without_marks = LiveObject { marks: Marks::default(), ..live() };
    assert!(
        matches!(back(without_marks), Decision::PutBack { .. }),
        "whether all of it was done is found out"
    );
    assert_eq!(back(LiveObject { uid: "u2".to_owned(), ..live() }), Decision::Leave);
    let others = Marks { installation: Some("shop/tokyo".to_owned()), ..live().marks };
    assert_eq!(back(LiveObject { marks: others, ..live() }), Decision::Leave);
    let later = Marks { fence: Some(Fence(11)), ..live().marks };
    assert_eq!(back(LiveObject { marks: later, ..live() }), Decision::Superseded { by: Fence(11) });
    assert_eq!(put_back(&author(), &Live::Absent, &adopted), Decision::Leave);
}

#[test]
fn the_number_of_replicas_is_the_autoscalers_or_the_authors_or_the_live_one() {
    let release = web();
    let scaled = Case::new(&release, LiveObject { scaled_by: Some("web".to_owned()), ..live() });
    assert_eq!(applied(scaled.decide()).0, None);
    // Left out by the author: leaving it out of what is applied would reset it to 1.
    let without = self::release("apps/v1", "Deployment", json!({}));
    assert_eq!(applied(Case::new(&without, live()).decide()).0, Some(7));
    let back = Case { is_restore: true, ..Case::new(&release, live()) };
    let (replicas, _, receipt) = applied(back.decide());
    assert_eq!(replicas, Some(4), "a rollback restores what was before the bad release");
    assert_eq!(receipt.replicas_before, Some(4), "and so does one that is begun again");
    let service = self::release("v1", "Service", json!({"ports": []}));
    let of_service = Case::new(&service, LiveObject { replicas: None, ..live() });
    assert_eq!(applied(of_service.decide()).0, None);
}

#[test]
fn a_job_runs_once() {
    let release = release("batch/v1", "Job", json!({}));
    let back = Case { is_restore: true, ..Case::new(&release, live()) };
    assert!(matches!(back.decide(), Decision::Stamp { .. }));
    let expired = Case { live: Live::Absent, is_restore: true, ..Case::new(&release, live()) };
    assert_eq!(expired.decide(), Decision::Leave);
}

#[test]
fn a_crash_in_the_middle_does_nothing_twice() {
    let release = web();
    let marks = Marks { fence: Some(Fence(10)), assignment: Some(AssignmentId(3)), ..live().marks };
    let own = LiveObject { marks, ..live() };
    let intended =
        Receipt { uid: None, assignment: AssignmentId(3), created_by: Some(OURS), ..receipt(&release) };
    let case = Case { intended: Some(intended.clone()), ..Case::new(&release, own) };
    assert_eq!(case.decide(), Decision::Applied(Receipt { uid: Some("u1".to_owned()), ..intended }));
}

#[test]
fn what_must_not_be_touched_is_not() {
    let release = web();
    let later = Marks { fence: Some(Fence(11)), ..live().marks };
    let case = Case::new(&release, LiveObject { marks: later, ..live() });
    assert_eq!(case.decide(), Decision::Superseded { by: Fence(11) });
    let others = Marks { installation: Some("shop/tokyo".to_owned()), ..live().marks };
    let Decision::Refuse(why) = Case::new(&release, LiveObject { marks: others, ..live() }).decide() else {
        panic!("an object has one installation")
    };
    assert_eq!(why.code, ReasonCode::ForeignObject);
    assert_eq!(
        why.message,
        "Deployment/web belongs to the installation shop/tokyo; an object can have only one"
    );
    let ending = LiveObject { terminating: Some(vec!["example.com/hold".to_owned()]), ..live() };
    let Decision::Wait { message } = Case::new(&release, ending).decide() else {
        panic!("it has to be gone")
    };
    assert_eq!(message, "Deployment/web is being deleted and waits for its finalizers: example.com/hold");
}

#[test]
fn a_kind_that_is_not_served_is_refused_unless_the_release_defines_it() {
    let release = web();
    let case = Case { live: Live::NotServed, ..Case::new(&release, live()) };
    let Decision::Refuse(why) = case.decide() else { panic!("nothing serves it") };
    assert_eq!(why.message, "Deployment/web: the cluster does not serve Deployment of apps/v1");
}

#[test]
fn only_the_object_that_we_created_is_deletable() {
    let release = web();
    let created = receipt(&release);
    assert_eq!(deletable(&created, &live(), &author()), Some("u1".to_owned()));
    let not: [(Receipt, LiveObject); 4] = [
        (Receipt { created_by: None, ..created.clone() }, live()),
        (created.clone(), LiveObject { uid: "u2".to_owned(), ..live() }),
        (created.clone(), LiveObject { keep: true, ..live() }),
        (created.clone(), LiveObject { marks: Marks { fence: Some(Fence(11)), ..live().marks }, ..live() }),
    ];
    for (receipt, live) in not {
        assert_eq!(deletable(&receipt, &live, &author()), None, "{receipt:?} {live:?}");
    }
    // Its creation was intended and its uid never learned: its mark says whose it is.
    let intended = Receipt { uid: None, ..created };
    assert_eq!(deletable(&intended, &live(), &author()), Some("u1".to_owned()));
    let unmarked = LiveObject { marks: Marks::default(), ..live() };
    assert_eq!(deletable(&intended, &unmarked, &author()), None);
}
