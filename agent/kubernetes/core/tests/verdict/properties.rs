//! What holds for every case: the order of documents, fields that go away, and fields of the wrong type.

use proptest::prelude::*;
use serde_json::{Value, json};
use trimaran_kubernetes_core::custom::RuleSet;
use trimaran_kubernetes_core::object::Object;
use trimaran_kubernetes_core::snapshot::Snapshot;
use trimaran_kubernetes_core::verdict::judge;
use trimaran_model::time::WallTime;
use trimaran_model::verdict::Verdict;

use crate::bundle::all;
use crate::kinds;
use crate::places::{odd_values, places};

#[test]
fn the_order_of_documents_changes_nothing() {
    for bundle in all() {
        let wanted = bundle.judge();
        let mut objects = bundle.objects.clone();
        for round in 0..objects.len().min(6) {
            objects.rotate_left(1);
            if round % 2 == 1 {
                objects.reverse();
            }
            assert_eq!(bundle.judge_at(&objects, bundle.now), wanted, "{}", bundle.name);
        }
    }
}

#[test]
fn a_document_given_twice_is_a_warning_only() {
    for bundle in all() {
        let Some(index) = bundle.subject_index() else { continue };
        let wanted = bundle.judge();
        let mut objects = bundle.objects.clone();
        objects.push(objects[index].clone());
        let twice = bundle.judge_at(&objects, bundle.now);
        assert_eq!((twice.verdict, twice.reason), (wanted.verdict, wanted.reason), "{}", bundle.name);
    }
}

/// A status field that a rule needs is never taken for granted, and no missing field alone is a failure.
#[test]
fn without_a_field_that_it_needs_nothing_is_healthy() {
    for bundle in all() {
        let Some(needs) = &bundle.needs else { continue };
        let index = bundle.subject_index().expect("the subject is among the documents");
        let fields: Vec<String> = bundle.objects[index]["status"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(field, _)| field.clone())
            .collect();
        assert!(needs.iter().all(|need| fields.contains(need)), "{}: {needs:?} of {fields:?}", bundle.name);
        for field in fields {
            let mut objects = bundle.objects.clone();
            objects[index]["status"].as_object_mut().expect("a status is a map").remove(&field);
            let judgment = bundle.judge_at(&objects, bundle.now);
            let healthy = judgment.verdict == Verdict::Healthy;
            assert_eq!(healthy, !needs.contains(&field), "{} without {field}: {judgment:?}", bundle.name);
            assert_ne!(judgment.verdict, Verdict::Degraded, "{} without {field}", bundle.name);
        }
    }
}

/// No wrong type makes an object healthy that was not, and none is a panic.
#[test]
fn fields_of_the_wrong_type_heal_nothing() {
    for bundle in all() {
        let Some(index) = bundle.subject_index() else { continue };
        let before = bundle.judge().verdict;
        if before == Verdict::Unknown {
            // Another wrong type in the same place may well be the right one.
            continue;
        }
        let mut status = Vec::new();
        places(&bundle.objects[index]["status"], "/status", &mut status);
        for pointer in status {
            for odd in odd_values() {
                let mut objects = bundle.objects.clone();
                *objects[index].pointer_mut(&pointer).expect("the place exists") = odd.clone();
                let after = bundle.judge_at(&objects, bundle.now).verdict;
                let healed =
                    after == Verdict::Healthy && before != Verdict::Healthy && !is_about_failure(&pointer);
                assert!(!healed, "{}: {pointer} = {odd}", bundle.name);
            }
        }
    }
}

/// Without what says that it failed or is paused, an object may be healthy: the rest of its status says so.
fn is_about_failure(pointer: &str) -> bool {
    ["/status/conditions", "/status/terminatingReplicas", "/status/controllerPause", "/status/abort"]
        .iter()
        .any(|place| pointer.starts_with(place))
}

#[test]
fn children_of_the_wrong_type_are_no_panic() {
    for bundle in all().into_iter().filter(|bundle| bundle.objects.len() > 1) {
        let subject = bundle.subject_index();
        for index in (0..bundle.objects.len()).filter(|index| Some(*index) != subject) {
            let mut found = Vec::new();
            places(&bundle.objects[index], "", &mut found);
            for pointer in found.iter().step_by(7) {
                for odd in odd_values().into_iter().step_by(2) {
                    let mut objects = bundle.objects.clone();
                    *objects[index].pointer_mut(pointer).expect("the place exists") = odd;
                    let judgment = bundle.judge_at(&objects, bundle.now);
                    assert_eq!(judgment.verdict == Verdict::Healthy, judgment.reason.is_none());
                }
            }
        }
    }
}

/// Every object of every case, with one place of it removed or of another type, with and without a start of the deploy.
#[test]
fn mutated_documents_are_no_panic() {
    let of_cases = all().into_iter().map(|bundle| (bundle.objects, bundle.now));
    let of_kinds = kinds::all().into_iter().map(|kind| {
        let now = kind.checks[0].now();
        (kind.documents, now)
    });
    let rules = RuleSet::builtin();
    let mut judged = 0;
    for (number, (documents, now)) in of_cases.chain(of_kinds).enumerate() {
        let since = (number % 2 == 0).then_some(WallTime(now.0 - 1_200_000));
        for index in 0..documents.len() {
            let mut found = Vec::new();
            places(&documents[index], "", &mut found);
            for (round, pointer) in found.iter().enumerate().skip(number % 5).step_by(5) {
                let mut mutated = documents.clone();
                let place = mutated[index].pointer_mut(pointer).expect("the place exists");
                let odd = odd_values();
                // Null reads as absent.
                *place = odd.get(round % (odd.len() + 1)).cloned().unwrap_or(Value::Null);
                let snapshot = Snapshot::new(&mutated);
                let subject = Object::new(&mutated[index]);
                let judgment = judge(&snapshot, subject, &rules, now, since);
                assert_eq!(judgment.verdict == Verdict::Healthy, judgment.reason.is_none());
                judged += 1;
            }
        }
    }
    assert!(judged >= 1400, "{judged} inputs");
}

/// As many ways down as 20 owners of each other have would never end; each object is looked at once.
#[test]
fn owners_in_every_direction_end() {
    let name = |index: u32| format!("w{index}");
    let owner = |index| json!({"apiVersion": "corp.example/v1", "kind": "Widget", "name": name(index), "uid": name(index)});
    let widget = |index: u32| {
        let owners: Vec<Value> = (0..20).filter(|other| *other != index).map(owner).collect();
        json!({"apiVersion": "corp.example/v1", "kind": "Widget", "status": {"conditions": [{"type": "Ready", "status": "True"}]},
               "metadata": {"name": name(index), "uid": name(index), "ownerReferences": owners}})
    };
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "uid": "p", "ownerReferences": [owner(7)]},
        "spec": {"restartPolicy": "Always"},
        "status": {"phase": "Pending", "containerStatuses": [
            {"name": "web", "ready": false, "restartCount": 0, "state": {"waiting": {"reason": "InvalidImageName"}}}]}
    });
    let documents: Vec<Value> = (0..20).map(widget).chain([pod]).collect();
    let snapshot = Snapshot::new(&documents);
    let judgment = judge(&snapshot, Object::new(&documents[0]), &RuleSet::builtin(), WallTime(60_000), None);
    assert_eq!(judgment.verdict, Verdict::Degraded, "{}", judgment.message);
}

fn any_json() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec![
        "status",
        "spec",
        "metadata",
        "conditions",
        "type",
        "name",
        "replicas",
        "state",
        "waiting",
        "reason",
        "containerStatuses",
        "ownerReferences",
        "uid",
        "lastTransitionTime",
        "phase",
        "observedGeneration",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-zA-Z0-9:/ {}-]{0,12}".prop_map(Value::from),
        Just(json!("2026-03-01T10:00:00Z")),
        Just(json!("True")),
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..6).prop_map(|pairs| Value::Object(
                pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            )),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_json_is_a_panic(documents in prop::collection::vec(any_json(), 0..6), kind in 0..12usize, now in any::<i64>()) {
        let kinds = [
            ("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"), ("apps/v1", "DaemonSet"), ("batch/v1", "Job"),
            ("v1", "Pod"), ("v1", "Service"), ("autoscaling/v2", "HorizontalPodAutoscaler"), ("v1", "Event"),
            ("gateway.networking.k8s.io/v1", "HTTPRoute"), ("argoproj.io/v1alpha1", "Rollout"),
            ("corp.example/v1", "Widget"), ("policy/v1", "PodDisruptionBudget"),
        ];
        let mut documents = documents;
        for (index, document) in documents.iter_mut().enumerate() {
            if let Value::Object(map) = document {
                let (version, kind) = kinds[(kind + index) % kinds.len()];
                map.insert("apiVersion".to_owned(), json!(version));
                map.insert("kind".to_owned(), json!(kind));
                let name = json!({"name": format!("n{index}"), "generation": 1});
                map.entry("metadata").or_insert(name);
            }
        }
        let snapshot = Snapshot::new(&documents);
        let rules = RuleSet::builtin();
        let subjects: Vec<Object<'_>> = snapshot.objects().chain(snapshot.roots()).collect();
        for subject in subjects {
            let judgment = judge(&snapshot, subject, &rules, WallTime(now), None);
            prop_assert_eq!(judgment.verdict == Verdict::Healthy, judgment.reason.is_none());
        }
    }
}
