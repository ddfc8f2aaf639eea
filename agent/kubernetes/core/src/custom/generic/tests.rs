//! Statuses as controllers really write them, on kinds that no rule knows, with the verdict that is right.

use proptest::prelude::*;
use serde_json::{Value, json};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Wall;
use trimaran_model::verdict::Verdict::{self, Degraded, Healthy, Progressing, Suspended, Unknown};

use super::judge;
use crate::custom::subject::Subject;
use crate::judgment::Judgment;
use crate::object::time_of;

fn now() -> Wall {
    time_of(Some(&json!("2026-01-01T12:00:00Z"))).expect("a constant time")
}

fn object(kind: &str, spec: Value, status: Value) -> Value {
    let metadata = json!({"name": "a", "generation": 4});
    json!({"apiVersion": "example.com/v1", "kind": kind, "metadata": metadata, "spec": spec, "status": status})
}

fn judged(kind: &str, spec: Value, status: Value) -> Judgment {
    let object = object(kind, spec, status);
    judge(&Subject::new(&object, None), now())
}

/// Each row: what it is, `spec`, `status`, the verdict.
fn check(rows: &[(&str, Value, Value, Verdict)]) {
    let mut wrong = Vec::new();
    for (name, spec, status, verdict) in rows {
        let judgment = judged("Widget", spec.clone(), status.clone());
        if judgment.verdict != *verdict {
            wrong.push(format!("{name}: {:?}, not {verdict:?}: {}", judgment.verdict, judgment.message));
        }
        assert_eq!(judgment.reason.is_none(), judgment.verdict == Healthy, "{name}");
        assert_eq!(judgment.message.is_empty(), judgment.verdict == Healthy, "{name}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn condition(name: &str, status: &str, reason: &str) -> Value {
    json!({"type": name, "status": status, "reason": reason, "message": "words", "lastTransitionTime": "2026-01-01T11:00:00Z"})
}

fn conditions(list: &[(&str, &str, &str)]) -> Value {
    let list: Vec<Value> =
        list.iter().map(|(name, status, reason)| condition(name, status, reason)).collect();
    json!({ "conditions": list })
}

#[test]
fn conditions_of_well_known_controllers() {
    let of = |list: &[(&str, &str, &str)]| conditions(list);
    check(&[
        ("ready", json!({}), of(&[("Ready", "True", "Available")]), Healthy),
        ("ready, boolean", json!({}), json!({"conditions": [{"type": "Ready", "status": true}]}), Healthy),
        (
            "ready, lower case",
            json!({}),
            json!({"conditions": [{"type": "ready", "status": "true"}]}),
            Healthy,
        ),
        ("not ready", json!({}), of(&[("Ready", "False", "Creating")]), Progressing),
        ("ready unknown", json!({}), of(&[("Ready", "Unknown", "")]), Progressing),
        ("ready failed", json!({}), of(&[("Ready", "False", "ReconcileError")]), Degraded),
        ("ready false without reason", json!({}), of(&[("Ready", "False", "")]), Progressing),
        ("ready false, dependency", json!({}), of(&[("Ready", "False", "DependencyNotReady")]), Progressing),
        ("ready false, image", json!({}), of(&[("Ready", "False", "ImagePullBackOff")]), Degraded),
        ("ready false, secret", json!({}), of(&[("Ready", "False", "SecretNotFound")]), Degraded),
        ("ready false, paused", json!({}), of(&[("Ready", "False", "Paused")]), Suspended),
        ("ready false, retry", json!({}), of(&[("Ready", "False", "FailedRetrying")]), Progressing),
        ("stalled", json!({}), of(&[("Ready", "False", ""), ("Stalled", "True", "InvalidPath")]), Degraded),
        ("stalled false", json!({}), of(&[("Ready", "True", ""), ("Stalled", "False", "")]), Healthy),
        (
            "reconciling",
            json!({}),
            of(&[("Ready", "True", ""), ("Reconciling", "True", "Progressing")]),
            Progressing,
        ),
        (
            "reconciling, failed",
            json!({}),
            of(&[("Ready", "False", "BuildFailed"), ("Reconciling", "True", "ProgressingWithRetry")]),
            Degraded,
        ),
        (
            "like a deployment",
            json!({}),
            of(&[
                ("Available", "True", "MinimumReplicasAvailable"),
                ("Progressing", "True", "NewReplicaSetAvailable"),
            ]),
            Healthy,
        ),
        (
            "like a deployment, rolling",
            json!({}),
            of(&[
                ("Available", "True", "MinimumReplicasAvailable"),
                ("Progressing", "True", "ReplicaSetUpdated"),
            ]),
            Progressing,
        ),
        (
            "like a deployment, deadline",
            json!({}),
            of(&[("Available", "True", ""), ("Progressing", "False", "ProgressDeadlineExceeded")]),
            Degraded,
        ),
        (
            "like an operator of OpenShift",
            json!({}),
            of(&[
                ("Available", "True", "AsExpected"),
                ("Degraded", "False", "AsExpected"),
                ("Progressing", "False", "AsExpected"),
                ("Upgradeable", "False", "AdminAckRequired"),
            ]),
            Healthy,
        ),
        (
            "operator degraded",
            json!({}),
            of(&[("Available", "True", ""), ("Degraded", "True", "SyncError")]),
            Degraded,
        ),
        (
            "operator degraded unknown",
            json!({}),
            of(&[("Available", "True", ""), ("Degraded", "Unknown", "NoData")]),
            Progressing,
        ),
    ]);
}

#[test]
fn sets_of_conditions() {
    let of = |list: &[(&str, &str, &str)]| conditions(list);
    check(&[
        (
            "synced, not ready",
            json!({}),
            of(&[("Synced", "True", ""), ("Ready", "False", "Creating")]),
            Progressing,
        ),
        (
            "synced and ready",
            json!({}),
            of(&[("Synced", "True", ""), ("Ready", "True", "Available")]),
            Healthy,
        ),
        (
            "sync error",
            json!({}),
            of(&[("Synced", "False", "ReconcileError"), ("Ready", "True", "")]),
            Degraded,
        ),
        (
            "a part is missing",
            json!({}),
            of(&[("Ready", "True", ""), ("DatabaseReady", "False", "Starting")]),
            Progressing,
        ),
        (
            "a part failed",
            json!({}),
            of(&[("Ready", "True", ""), ("BackupReady", "False", "BucketNotFound")]),
            Degraded,
        ),
        (
            "history does not count",
            json!({}),
            of(&[("Ready", "True", ""), ("LastBackupFailed", "True", "Timeout")]),
            Healthy,
        ),
        (
            "replica failure",
            json!({}),
            of(&[("Ready", "True", ""), ("ReplicaFailure", "True", "FailedCreate")]),
            Degraded,
        ),
        ("paused", json!({}), of(&[("Ready", "True", ""), ("Paused", "True", "ByUser")]), Suspended),
        ("only an unknown type", json!({}), of(&[("Frobbed", "True", "")]), Unknown),
        ("only a part", json!({}), of(&[("DatabaseReady", "True", "")]), Unknown),
        ("not ready, as a type", json!({}), of(&[("NotReady", "True", "")]), Progressing),
        ("complete", json!({}), of(&[("Complete", "True", "")]), Healthy),
        ("job failed", json!({}), of(&[("Failed", "True", "BackoffLimitExceeded")]), Degraded),
        ("running alone says nothing", json!({}), of(&[("Running", "True", "")]), Unknown),
        ("error cleared", json!({}), of(&[("Ready", "True", ""), ("Error", "False", "")]), Healthy),
        ("accepted only", json!({}), of(&[("Accepted", "True", "Accepted")]), Healthy),
        (
            "accepted, refs missing",
            json!({}),
            of(&[("Accepted", "True", ""), ("ResolvedRefs", "False", "BackendNotFound")]),
            Degraded,
        ),
        (
            "programmed pending",
            json!({}),
            of(&[("Accepted", "True", ""), ("Programmed", "False", "Pending")]),
            Progressing,
        ),
        ("initializing", json!({}), of(&[("Ready", "True", ""), ("Initializing", "True", "")]), Progressing),
    ]);
}

#[test]
fn conditions_of_odd_shape() {
    let ready = condition("Ready", "True", "");
    check(&[
        ("none", json!({}), json!({"conditions": []}), Unknown),
        ("null", json!({}), json!({"conditions": null}), Unknown),
        ("a text", json!({}), json!({"conditions": "Ready"}), Unknown),
        ("a text beside a phase", json!({}), json!({"conditions": "Ready", "phase": "Running"}), Unknown),
        ("a number", json!({}), json!({"conditions": 3, "phase": "Running"}), Unknown),
        ("texts", json!({}), json!({"conditions": ["Ready"], "phase": "Running"}), Unknown),
        ("an entry without type", json!({}), json!({"conditions": [ready, {"status": "False"}]}), Unknown),
        ("an entry without status", json!({}), json!({"conditions": [{"type": "Ready"}]}), Progressing),
        (
            "status is a number",
            json!({}),
            json!({"conditions": [{"type": "Ready", "status": 1}]}),
            Progressing,
        ),
        ("a map", json!({}), json!({"conditions": {"Ready": {"status": "True"}}}), Healthy),
        (
            "a map of booleans",
            json!({}),
            json!({"conditions": {"Ready": true, "Synced": false}}),
            Progressing,
        ),
        (
            "a map with a failure",
            json!({}),
            json!({"conditions": {"Ready": {"status": "False", "reason": "Error"}}}),
            Degraded,
        ),
        ("status is a list", json!({}), json!(["Ready"]), Unknown),
        ("status is a text", json!({}), json!("Ready"), Unknown),
        ("status is empty", json!({}), json!({}), Unknown),
        ("status is null", json!({}), json!(null), Unknown),
    ]);
}

#[test]
fn generations() {
    let stale = |generation: Value| json!({"conditions": [{"type": "Ready", "status": "True", "observedGeneration": generation}]});
    let object = |generation: Value| json!({"observedGeneration": generation, "conditions": [{"type": "Ready", "status": "True"}]});
    let failed = json!({"observedGeneration": 3, "conditions": [condition("Ready", "False", "BuildFailed")]});
    check(&[
        ("seen", json!({}), object(json!(4)), Healthy),
        ("seen, a text", json!({}), object(json!("4")), Healthy),
        ("behind", json!({}), object(json!(3)), Progressing),
        ("behind, a text", json!({}), object(json!("3")), Progressing),
        ("nothing seen", json!({}), object(json!(0)), Progressing),
        ("minus one, as Flux begins", json!({}), object(json!(-1)), Progressing),
        ("no number", json!({}), object(json!("5d8f9")), Unknown),
        ("a map", json!({}), object(json!({})), Unknown),
        ("a failure of an earlier generation", json!({}), failed, Progressing),
        ("condition seen", json!({}), stale(json!(4)), Healthy),
        ("condition behind", json!({}), stale(json!(3)), Progressing),
        (
            "one of two conditions behind",
            json!({}),
            json!({"conditions": [{"type": "Ready", "status": "True", "observedGeneration": 4}, {"type": "Synced", "status": "True", "observedGeneration": 3}]}),
            Progressing,
        ),
        (
            "a part behind a fresh summary",
            json!({}),
            json!({"conditions": [{"type": "Ready", "status": "True", "observedGeneration": 4}, {"type": "DatabaseReady", "status": "True", "observedGeneration": 3}]}),
            Healthy,
        ),
        (
            "a failure behind",
            json!({}),
            json!({"conditions": [{"type": "Stalled", "status": "True", "observedGeneration": 3}]}),
            Progressing,
        ),
    ]);
    let judgment = judged("Widget", json!({}), object(json!(3)));
    assert_eq!(judgment.reason, Some(ReasonCode::Generation));
}

#[test]
fn suspension() {
    let ready = conditions(&[("Ready", "True", "")]);
    let failed = conditions(&[("Ready", "False", "BuildFailed")]);
    check(&[
        ("suspend", json!({"suspend": true}), failed, Suspended),
        ("suspended", json!({"suspended": true}), ready.clone(), Suspended),
        ("paused", json!({"paused": true}), ready.clone(), Suspended),
        ("paused without status", json!({"paused": true}), json!(null), Suspended),
        ("not paused", json!({"paused": false}), ready.clone(), Healthy),
        ("paused is a text", json!({"paused": "true"}), ready, Healthy),
        ("phase", json!({}), json!({"phase": "Suspended"}), Suspended),
        ("state", json!({}), json!({"state": "paused"}), Suspended),
        ("stopped", json!({}), json!({"state": "STOPPED"}), Suspended),
        (
            "hibernated",
            json!({}),
            conditions(&[("example.com/hibernation", "True", "Hibernated")]),
            Suspended,
        ),
    ]);
}

#[test]
fn phases() {
    let phase = |word: &str| json!({ "phase": word });
    let mut rows = Vec::new();
    for word in [
        "Running",
        "Ready",
        "READY",
        "Active",
        "Healthy",
        "Succeeded",
        "Complete",
        "Bound",
        "green",
        "ok",
        "Deployed",
        "InSync",
    ] {
        rows.push((word, json!({}), phase(word), Healthy));
    }
    for word in [
        "Pending",
        "Creating",
        "PROVISIONING",
        "Updating",
        "in_progress",
        "InProgress",
        "Initializing",
        "NotReady",
        "Scaling",
        "yellow",
        "Terminating",
        "Unknown",
        "DEPLOYED_NOT_READY",
        "RollingUpdate",
        "Upgrading cluster",
        "Failing over",
    ] {
        rows.push((word, json!({}), phase(word), Progressing));
    }
    for word in [
        "Failed",
        "ERROR",
        "CreateFailed",
        "red",
        "CrashLoopBackOff",
        "Unhealthy",
        "Degraded",
        "Invalid",
        "TimedOut",
        "ROLLED_BACK",
    ] {
        rows.push((word, json!({}), phase(word), Degraded));
    }
    for word in ["Frobbed", "Primary", "42", "", "  "] {
        rows.push((word, json!({}), phase(word), Unknown));
    }
    check(&rows);
    check(&[
        ("state", json!({}), json!({"state": "ready"}), Healthy),
        ("health as a map", json!({}), json!({"health": {"status": "Degraded"}}), Degraded),
        ("health and state", json!({}), json!({"state": "ready", "health": "red"}), Degraded),
        ("yellow beside ready", json!({}), json!({"phase": "Ready", "health": "yellow"}), Progressing),
        (
            "failed beside a true ready",
            json!({}),
            json!({"phase": "Failed", "conditions": [{"type": "Ready", "status": "True"}]}),
            Progressing,
        ),
        (
            "creating beside a true ready",
            json!({}),
            json!({"phase": "Creating", "conditions": [{"type": "Ready", "status": "True"}]}),
            Progressing,
        ),
        (
            "strange word beside a true ready",
            json!({}),
            json!({"phase": "Frobbed", "conditions": [{"type": "Ready", "status": "True"}]}),
            Healthy,
        ),
        (
            "phase is a number",
            json!({}),
            json!({"phase": 3, "conditions": [{"type": "Ready", "status": "True"}]}),
            Unknown,
        ),
        (
            "red beside a true condition",
            json!({}),
            json!({"health": "red", "conditions": [{"type": "Reconciled", "status": "True"}]}),
            Degraded,
        ),
    ]);
}

#[test]
fn flags_and_errors() {
    check(&[
        ("ready", json!({}), json!({"ready": true}), Healthy),
        ("not ready", json!({}), json!({"ready": false}), Progressing),
        ("not ready, a text", json!({}), json!({"ready": "False", "phase": "Running"}), Progressing),
        ("ready is a text", json!({}), json!({"ready": "true"}), Unknown),
        (
            "failure message",
            json!({}),
            json!({"ready": true, "failureMessage": "no such machine type"}),
            Degraded,
        ),
        ("error alone", json!({}), json!({"error": "the bucket does not exist"}), Degraded),
        (
            "error beside running",
            json!({}),
            json!({"phase": "Running", "error": "checkpoint declined"}),
            Progressing,
        ),
        ("empty error", json!({}), json!({"phase": "Running", "error": "", "errors": []}), Healthy),
        ("error as a map", json!({}), json!({"error": {"message": "no class"}}), Degraded),
        ("error of the past", json!({}), json!({"phase": "Running", "lastError": "it was slow"}), Healthy),
    ]);
}

#[test]
fn counts() {
    let spec = json!({"replicas": 3});
    let of = |status: Value| status;
    check(&[
        (
            "all there",
            spec.clone(),
            of(json!({"observedGeneration": 4, "replicas": 3, "readyReplicas": 3, "updatedReplicas": 3})),
            Healthy,
        ),
        (
            "all there, generation not said",
            spec.clone(),
            of(json!({"replicas": 3, "readyReplicas": 3})),
            Unknown,
        ),
        (
            "one is missing",
            spec.clone(),
            of(json!({"observedGeneration": 4, "replicas": 3, "readyReplicas": 2})),
            Progressing,
        ),
        (
            "one is missing beside ready",
            spec.clone(),
            json!({"readyReplicas": 2, "conditions": [{"type": "Ready", "status": "True"}]}),
            Progressing,
        ),
        (
            "not updated",
            spec.clone(),
            of(json!({"observedGeneration": 4, "replicas": 3, "readyReplicas": 3, "updatedReplicas": 1})),
            Progressing,
        ),
        (
            "none is counted as ready",
            spec.clone(),
            json!({"observedGeneration": 4, "replicas": 3, "updatedReplicas": 3, "phase": "Running"}),
            Progressing,
        ),
        ("unavailable", spec.clone(), json!({"phase": "Running", "unavailableReplicas": 1}), Progressing),
        ("as a text", spec.clone(), json!({"phase": "Running", "ready": "2/3"}), Progressing),
        ("as a full text", spec.clone(), json!({"phase": "Running", "ready": "3/3"}), Healthy),
        (
            "more than wanted",
            spec,
            json!({"observedGeneration": 4, "replicas": 5, "readyReplicas": 5}),
            Healthy,
        ),
        ("size and nodes", json!({"size": 5}), json!({"phase": "Ready", "readyNodes": 4}), Progressing),
        (
            "two revisions",
            json!({}),
            json!({"phase": "Running", "currentRevision": "a-1", "updateRevision": "a-2"}),
            Progressing,
        ),
        (
            "one revision",
            json!({}),
            json!({"phase": "Running", "currentRevision": "a-1", "updateRevision": "a-1"}),
            Healthy,
        ),
        ("pods as a text", json!({}), json!({"phase": "Running", "podsReady": "1/3"}), Progressing),
        ("zero wanted", json!({"replicas": 0}), json!({"observedGeneration": 4, "replicas": 0}), Unknown),
        (
            "count is a text",
            json!({"replicas": "3"}),
            json!({"phase": "Running", "readyReplicas": {}}),
            Healthy,
        ),
        (
            "desired in the status",
            json!({}),
            json!({"phase": "Running", "desiredReplicas": 3, "readyReplicas": 1}),
            Progressing,
        ),
    ]);
}

#[test]
fn children_inside_of_the_status() {
    let with = |field: &str, value: Value| {
        let mut status = conditions(&[("Ready", "True", "")]);
        status[field] = value;
        status
    };
    let none = json!({});
    check(&[
        (
            "a sick component",
            none.clone(),
            with("components", json!([{"name": "a", "phase": "Failed"}])),
            Progressing,
        ),
        (
            "a component that starts",
            none.clone(),
            with("components", json!({"db": {"state": "Starting"}})),
            Progressing,
        ),
        (
            "a healthy component",
            none.clone(),
            with("components", json!([{"name": "a", "phase": "Running"}])),
            Healthy,
        ),
        (
            "a child without readiness",
            none.clone(),
            with("nodes", json!([{"name": "a", "ready": false}])),
            Progressing,
        ),
        (
            "conditions of a child",
            none.clone(),
            with("members", json!([{"conditions": [condition("Ready", "False", "Error")]}])),
            Progressing,
        ),
        (
            "counts of a child",
            none.clone(),
            with("pools", json!([{"replicas": 3, "readyReplicas": 1}])),
            Progressing,
        ),
        (
            "deep inside",
            none.clone(),
            with("topology", json!({"zones": [{"racks": [{"health": "red"}]}]})),
            Progressing,
        ),
        ("history", none.clone(), with("history", json!([{"state": "Failed"}, {"phase": "Error"}])), Healthy),
        ("last attempt", none.clone(), with("lastAttempt", json!({"state": "Failed"})), Healthy),
        (
            "a child of another generation",
            none.clone(),
            with(
                "children",
                json!([{"conditions": [{"type": "Ready", "status": "True", "observedGeneration": 1}]}]),
            ),
            Healthy,
        ),
        ("another state", none.clone(), with("provisioningState", json!("Failed")), Progressing),
        ("another state that is fine", none.clone(), with("updateStatus", json!("operational")), Healthy),
        ("a state of the past", none.clone(), with("lastSyncStatus", json!("Failed")), Healthy),
        ("texts", none.clone(), with("endpoints", json!(["failed", "error"])), Healthy),
        (
            "nodes of a workflow that retried",
            none.clone(),
            json!({"phase": "Succeeded", "nodes": {"a": {"phase": "Failed"}, "b": {"phase": "Succeeded"}}}),
            Healthy,
        ),
        (
            "policy accepted by its ancestors",
            none.clone(),
            json!({"ancestors": [{"conditions": [{"type": "Accepted", "status": "True", "observedGeneration": 4}]}]}),
            Healthy,
        ),
        (
            "policy of an earlier generation",
            none.clone(),
            json!({"ancestors": [{"conditions": [{"type": "Accepted", "status": "True", "observedGeneration": 3}]}]}),
            Progressing,
        ),
        (
            "one parent refuses",
            none,
            json!({"parents": [{"conditions": [{"type": "Accepted", "status": "True"}]}, {"conditions": [condition("Accepted", "False", "InvalidKind")]}]}),
            Degraded,
        ),
    ]);
}

#[test]
fn running_is_no_end_for_kinds_that_end() {
    let verdict = |kind: &str, phase: &str| judged(kind, json!({}), json!({ "phase": phase })).verdict;
    assert_eq!(verdict("BackupRun", "Running"), Progressing);
    assert_eq!(verdict("DataJob", "Active"), Progressing);
    assert_eq!(verdict("DataJob", "Completed"), Healthy);
    assert_eq!(verdict("Database", "Running"), Healthy);
}

#[test]
fn a_failure_counts_once_it_is_old_enough() {
    let failed = |at: &str| {
        let entry =
            json!({"type": "Ready", "status": "False", "reason": "BuildFailed", "lastTransitionTime": at});
        judged("Widget", json!({}), json!({ "conditions": [entry] }))
    };
    let fresh = failed("2026-01-01T11:59:58Z");
    assert_eq!(fresh.verdict, Progressing);
    assert_eq!(fresh.next_check_at, time_of(Some(&json!("2026-01-01T12:00:01Z"))));
    assert_eq!(failed("2026-01-01T11:59:57Z").verdict, Degraded);
    assert_eq!(failed("no time").verdict, Degraded);
}

#[test]
fn the_judgment_quotes_the_controller() {
    let judgment = judged("Widget", json!({}), conditions(&[("Ready", "False", "BuildFailed")]));
    assert_eq!(judgment.message, "Ready is False: BuildFailed: words");
    assert_eq!(judgment.evidence[0].object, "Widget/a");
    assert_eq!(judgment.evidence[0].value, "False");
    let unknown = judged("Widget", json!({}), json!({"phase": "Frobbed"}));
    assert_eq!(unknown.warnings, ["status.phase is Frobbed, and no rule knows this word"]);
}

fn any_json() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "True",
        "False",
        "Ready",
        "Failed",
        "Running",
        "3",
        "Degraded",
        "2026-01-01T12:00:00Z",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words.prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    let keys = prop::sample::select(vec![
        "status",
        "spec",
        "metadata",
        "conditions",
        "type",
        "reason",
        "message",
        "phase",
        "state",
        "health",
        "replicas",
        "readyReplicas",
        "observedGeneration",
        "generation",
        "lastTransitionTime",
        "parents",
        "components",
        "error",
        "kind",
    ]);
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((keys.clone(), inner), 0..8).prop_map(|entries| entries
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect()),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_panics(object in any_json()) {
        let judgment = judge(&Subject::new(&object, None), now());
        prop_assert_eq!(judgment.reason.is_none(), judgment.verdict == Healthy);
    }

    #[test]
    fn the_order_of_conditions_changes_nothing(
        shuffled in Just(vec![
            condition("Ready", "True", "Up"), condition("Synced", "False", "Waiting"), condition("Stalled", "False", ""),
            condition("DatabaseReady", "False", "ConfigInvalid"), condition("Ready", "False", "Down"),
        ]).prop_shuffle()
    ) {
        let judgment = judged("Widget", json!({}), json!({ "conditions": shuffled }));
        prop_assert_eq!(judgment.verdict, Degraded);
        prop_assert_eq!(judgment.message, "DatabaseReady is False: ConfigInvalid: words");
    }
}
