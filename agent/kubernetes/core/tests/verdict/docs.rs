//! The page on health against the judge: the deadline of each kind, and the rule that it shows with its examples.

use serde::Deserialize;
use serde_json::{Value, json};
use trimaran_kubernetes_core::custom::RuleSet;
use trimaran_kubernetes_core::judgment::Judgment;
use trimaran_kubernetes_core::object::Object;
use trimaran_kubernetes_core::snapshot::Snapshot;
use trimaran_kubernetes_core::verdict::judge;
use trimaran_model::time::{Millis, Wall};
use trimaran_model::verdict::Verdict;

const PAGE: &str = include_str!("../../../../../ops/docs/kubernetes/health.md");

/// The start of the deploy.
const SINCE: Wall = Wall(1_772_359_200_000);
const CREATED: &str = "2026-03-01T10:00:00Z";

fn judge_at(object: &Value, now: Wall, since: Option<Wall>) -> Judgment {
    let documents = [object.clone()];
    let snapshot = Snapshot::new(&documents);
    judge(&snapshot, Object::new(&documents[0]), &RuleSet::builtin(), now, since)
}

/// The kinds of the table of deadlines with the length that it gives; `None` where there is none by default.
fn deadlines() -> Vec<(&'static str, Option<Millis>)> {
    let (_, table) =
        PAGE.split_once("| kind | length | from |\n|---|---|---|\n").expect("a table of deadlines");
    let (table, _) = table.split_once("\n\n").expect("the table ends");
    let rows = table.lines().map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let (kind, length) = (cells.next().expect("a kind"), cells.next().expect("a length"));
        let minutes = length.split_whitespace().find_map(|word| word.strip_suffix('m')?.parse::<u64>().ok());
        assert!(minutes.is_some() || length.contains("none by default"), "{line}");
        (kind, minutes.map(Millis::minutes))
    });
    rows.collect()
}

/// An object of the kind that progresses, made at the start of the deploy.
fn progressing(kind: &str) -> Value {
    let (group, status) = match kind {
        "Deployment" => ("apps/v1", json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1})),
        "StatefulSet" | "ReplicaSet" => ("apps/v1", json!({"observedGeneration": 1, "replicas": 1})),
        "DaemonSet" => ("apps/v1", json!({"observedGeneration": 1, "desiredNumberScheduled": 1})),
        "Rollout" => ("argoproj.io/v1alpha1", json!({"observedGeneration": "1", "phase": "Progressing"})),
        "Job" => ("batch/v1", json!({"active": 1, "ready": 0, "startTime": CREATED})),
        "HorizontalPodAutoscaler" => ("autoscaling/v2", json!({})),
        "PodDisruptionBudget" => ("policy/v1", json!({"observedGeneration": 1})),
        "CustomResourceDefinition" => ("apiextensions.k8s.io/v1", json!({})),
        "APIService" => ("apiregistration.k8s.io/v1", json!({})),
        "ReplicationController" => ("v1", json!({"observedGeneration": 1, "replicas": 1})),
        "Service" => ("v1", json!({"loadBalancer": {}})),
        "Pod" | "PersistentVolumeClaim" | "PersistentVolume" => ("v1", json!({"phase": "Pending"})),
        "Namespace" | "Node" => ("v1", json!({})),
        route if route.ends_with("Route") => ("gateway.networking.k8s.io/v1", json!({})),
        "Gateway" => ("gateway.networking.k8s.io/v1", json!({})),
        _ => (
            "corp.example/v1",
            json!({"conditions": [{"type": "Ready", "status": "False", "reason": "Creating"}]}),
        ),
    };
    let kind = if group == "corp.example/v1" { "Widget" } else { kind };
    json!({
        "apiVersion": group, "kind": kind, "status": status,
        "metadata": {"name": "x", "generation": 1, "creationTimestamp": CREATED},
        "spec": {"replicas": 1, "type": "LoadBalancer", "parentRefs": [{"name": "edge"}]},
    })
}

#[test]
fn every_kind_has_the_deadline_that_the_page_gives() {
    let deadlines = deadlines();
    assert!(deadlines.len() >= 25, "{} kinds", deadlines.len());
    for (kind, length) in deadlines {
        let mut object = progressing(kind);
        if kind.contains("being deleted") {
            object["metadata"]["deletionTimestamp"] = json!(CREATED);
        }
        let at = |now: Wall| judge_at(&object, now, Some(SINCE)).verdict;
        let late = length.map_or(SINCE + Millis::hours(48), |length| SINCE + length);
        assert_eq!(at(SINCE), Verdict::Progressing, "{kind}");
        assert_eq!(at(Wall(late.0 - 1)), Verdict::Progressing, "{kind}");
        let expected = if length.is_some() { Verdict::Degraded } else { Verdict::Progressing };
        assert_eq!(at(late), expected, "{kind}");
    }
}

#[derive(Debug, Deserialize)]
struct Examples {
    good: Vec<Value>,
    progressing: Vec<Value>,
    bad: Vec<Value>,
}

#[derive(Debug, Deserialize)]
struct RuleFile {
    examples: Examples,
}

#[test]
fn the_rule_of_the_page_and_its_examples_are_the_built_in_ones() {
    let rule = include_str!("../../rules/bitnami.com/SealedSecret.yaml");
    let block: String = rule.lines().map(|line| format!("    {line}\n")).collect();
    assert!(PAGE.contains(&block), "the page shows another rule");
    let file: RuleFile = serde_saphyr::from_str(rule).expect("a rule");
    let Examples { good, progressing, bad } = file.examples;
    let now: jiff::Timestamp = "2026-01-01T12:00:00Z".parse().expect("a time");
    for (name, examples) in [("good", good), ("progressing", progressing), ("bad", bad)] {
        let judgment = judge_at(&examples[0], Wall(now.as_millisecond()), None);
        let line = format!("    {name:<12} {:<12} {}", judgment.verdict.as_str(), judgment.message);
        assert!(PAGE.contains(line.trim_end()), "the page lacks `{line}`");
    }
}
