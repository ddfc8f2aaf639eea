//! Which objects of earlier releases are left over.

use std::sync::Arc;

use serde_json::{Value, json};
use trimaran_model::id::{AssignmentId, Digest};

use super::*;
use crate::inventory::Change;
use crate::order::{OnConflict, Release};

fn document(api_version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "shop"}})
}

fn receipt(document: &Value, created_by: Option<u8>) -> Receipt {
    Receipt {
        key: ObjectKey::of(document).expect("it has a name"),
        uid: Some("u".to_owned()),
        assignment: AssignmentId(1),
        created_by: created_by.map(|number| Digest([number; 32])),
        change: Change::Created,
        replicas_before: None,
        is_versioned: document["kind"] == "ConfigMap",
        adopted_by: None,
        fields: None,
    }
}

/// Release 1 was good; 2 and 3 followed it and were not finished.
fn inventory() -> Inventory {
    let receipts = [
        receipt(&document("apps/v1", "Deployment", "web"), Some(1)),
        receipt(&document("v1", "ConfigMap", "web-1"), Some(1)),
        receipt(&document("v1", "Service", "first"), Some(1)),
        receipt(&document("v1", "ConfigMap", "web-2"), Some(2)),
        receipt(&document("v1", "Service", "second"), Some(2)),
        receipt(&document("networking.k8s.io/v1", "Ingress", "third"), Some(3)),
        receipt(&document("v1", "PersistentVolumeClaim", "data"), Some(3)),
        receipt(&document("v1", "Service", "adopted"), None),
    ];
    Inventory::new([1, 2, 3].map(|number| Digest([number; 32])).to_vec(), receipts)
}

fn release(number: u8) -> Arc<Release> {
    let documents = vec![document("apps/v1", "Deployment", "web"), document("v1", "ConfigMap", "web-1")];
    Arc::new(
        Release::new(Digest([number; 32]), documents, Millis::ZERO, OnConflict::Refuse).expect("a release"),
    )
}

fn names(goal: &Goal) -> Vec<String> {
    leftovers(goal, &inventory()).iter().map(|receipt| receipt.key.to_string()).collect()
}

#[test]
fn a_rollback_deletes_what_the_unfinished_releases_created_last_first() {
    let found = names(&Goal::Restore(release(1)));
    assert_eq!(found, ["Ingress/third", "Service/second", "ConfigMap/web-2"]);
}

#[test]
fn a_deploy_deletes_what_no_release_has_any_more_and_keeps_configuration_and_data() {
    let found = names(&Goal::Release(release(4)));
    assert_eq!(found, ["Ingress/third", "Service/first", "Service/second"]);
}

#[test]
fn judging_deletes_nothing() {
    assert_eq!(names(&Goal::Verify(release(1))), [""; 0]);
}

#[test]
fn the_end_of_an_installation_deletes_what_its_releases_created_and_neither_data_nor_what_was_there_before() {
    let all = [
        "Ingress/third",
        "Deployment/web",
        "Service/first",
        "Service/second",
        "ConfigMap/web-1",
        "ConfigMap/web-2",
    ];
    assert_eq!(names(&Goal::Stop(Digest([3; 32]))), all);
}

#[test]
fn versions_that_no_release_at_work_has_are_looked_at_and_those_of_a_failed_one_are_leftovers() {
    let older = receipt(&document("v1", "ConfigMap", "web-0"), Some(9));
    let before = inventory().with_older([older]);
    let found = |goal: &Goal| -> Vec<String> {
        versions(goal, &before).iter().map(|receipt| receipt.key.to_string()).collect()
    };
    assert_eq!(found(&Goal::Release(release(4))), ["ConfigMap/web-2", "ConfigMap/web-0"]);
    assert_eq!(found(&Goal::Restore(release(1))), ["ConfigMap/web-0"]);
}
