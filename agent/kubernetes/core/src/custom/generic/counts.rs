//! Counts: how many parts there should be, and how many there are.

use serde_json::{Map, Value};

use super::{Sign, Signs, Weight};
use crate::custom::status_vocabulary;
use crate::custom::subject::{self, Observed, Subject};
use crate::judgment::quote;

/// Fields of `spec` that say how many parts there should be.
const DESIRED: &[&str] = &["replicas", "size", "instances", "members", "nodes", "nodeCount"];

/// Fields of a status that say how many there should be.
const DESIRED_SEEN: &[&str] =
    &["desiredReplicas", "desired", "desiredNumberScheduled", "desiredNodes", "expectedReplicas", "total"];

/// Fields of a status that count parts that serve.
const SERVING: &[&str] = &[
    "readyReplicas",
    "availableReplicas",
    "readyInstances",
    "readyMembers",
    "readyNodes",
    "availableNodes",
    "numberReady",
    "numberAvailable",
    "ready",
    "available",
];

/// Fields of a status that count parts that exist or are of the latest revision.
const EXISTING: &[&str] =
    &["replicas", "updatedReplicas", "updatedNumberScheduled", "instances", "currentReplicas"];

const LACKING: &[&str] = &["unavailableReplicas", "numberUnavailable", "unreadyReplicas", "failedReplicas"];

/// Two names of revisions that are the same once a rollout is over.
const REVISIONS: &[(&str, &str)] = &[
    ("currentRevision", "updateRevision"),
    ("currentHash", "updateHash"),
    ("latestReadyRevisionName", "latestCreatedRevisionName"),
    ("lastAppliedRevision", "lastAttemptedRevision"),
    ("stableRevision", "canaryRevision"),
];

fn revisions(subject: &Subject<'_>, signs: &mut Signs) {
    for (now, next) in REVISIONS {
        let text =
            |field: &str| subject.status(field).and_then(Value::as_str).filter(|text| !text.is_empty());
        let (Some(have), Some(want)) = (text(now), text(next)) else { continue };
        if have != want {
            let path = format!("status.{now}");
            let sentence = format!("{path} is {} and status.{next} is {}", quote(have), quote(want));
            signs.add(Sign::new(Weight::Waiting, sentence, subject.evidence(path, &have.into(), None)));
        }
    }
}

pub(super) fn collect(subject: &Subject<'_>, signs: &mut Signs) {
    let super::Status::Map(status) = subject.status else { return };
    revisions(subject, signs);
    let spec = subject.object.get("spec").and_then(Value::as_object);
    let wanted = spec.and_then(|spec| largest(spec, DESIRED));
    if let Some(spec) = spec {
        pools(subject, spec, status, wanted.is_none(), signs);
    }
    for (path, value, sentence) in shortages("status", status, wanted) {
        let evidence = subject.evidence(path, &value.into(), None);
        signs.add(Sign::new(Weight::Waiting, sentence, evidence));
    }
    // Counts of an earlier generation are not marked as such, so they prove something only with a fresh generation.
    let fresh = matches!(subject.observed(), Observed::Generation(_));
    let Some(wanted) = wanted.filter(|wanted| *wanted > 0 && fresh) else { return };
    let serving = |name: &str| status.get(name).and_then(subject::number);
    for name in ["readyReplicas", "availableReplicas", "readyInstances", "readyMembers", "numberReady"] {
        if let Some(count) = serving(name).filter(|count| *count >= wanted) {
            let path = format!("status.{name}");
            let evidence = subject.evidence(path.clone(), &count.into(), None);
            signs.add(Sign::new(Weight::Proof, format!("{path} is {count} of {wanted}"), evidence));
        }
    }
}

/// Words of the names of lists whose entries each want some parts: `nodePools`, `workerGroupSpecs`, `racks`.
const POOLS: &[&str] = &[
    "pool",
    "pools",
    "set",
    "sets",
    "group",
    "groups",
    "rack",
    "racks",
    "shard",
    "shards",
    "instances",
    "workers",
    "tiers",
];

/// Fields of an entry that say how many parts it wants.
const POOL_DESIRED: &[&str] = &["replicas", "count", "size", "instances", "members", "nodeCount", "servers"];

/// Counts in a status that are for all pools together.
const POOLED: &[&str] =
    &["readyReplicas", "availableReplicas", "readyInstances", "readyMembers", "readyNodes", "availableNodes"];

/// Where a spec lists pools, a count in the status is for all of them, and an entry of the status for the pool of its
/// name.
fn pools(
    subject: &Subject<'_>,
    spec: &Map<String, Value>,
    status: &Map<String, Value>,
    alone: bool,
    signs: &mut Signs,
) {
    let lists = spec.iter().filter_map(|(field, value)| Some((field, value.as_array()?)));
    let is_pools =
        |field: &str| status_vocabulary::tokens(field).iter().any(|word| POOLS.contains(&word.as_str()));
    for (field, entries) in lists.filter(|(field, _)| is_pools(field)) {
        let wants = |entry: &Value| largest(entry.as_object()?, POOL_DESIRED).filter(|wants| *wants >= 0);
        if !entries.iter().any(|entry| wants(entry).is_some()) {
            continue;
        }
        let sum = entries.iter().filter_map(wants).fold(0i64, i64::saturating_add);
        for count in POOLED.iter().filter(|_| alone) {
            let Some(have) = status.get(*count).and_then(subject::number).filter(|have| *have < sum) else {
                continue;
            };
            let path = format!("status.{count}");
            let sentence = format!("{path} is {have} of {sum}");
            signs.add(Sign::new(Weight::Waiting, sentence, subject.evidence(path, &have.into(), None)));
        }
        for entry in entries {
            let name = entry.get("name").and_then(Value::as_str);
            let (Some(name), Some(wanted)) = (name, wants(entry)) else { continue };
            let Some(reported) = entry_of(status.get(field), name) else { continue };
            let place = format!("status.{field}[{name}]");
            for (path, have, sentence) in shortages(&place, reported, Some(wanted)) {
                signs.add(Sign::new(Weight::Waiting, sentence, subject.evidence(path, &have.into(), None)));
            }
        }
    }
}

/// The entry of a pool in the status: in a list by its name, or in a map from names.
fn entry_of<'a>(reported: Option<&'a Value>, name: &str) -> Option<&'a Map<String, Value>> {
    match reported? {
        Value::Array(list) => {
            list.iter().find(|entry| entry.get("name").and_then(Value::as_str) == Some(name))?.as_object()
        }
        Value::Object(map) => map.get(name)?.as_object(),
        _ => None,
    }
}

fn largest(map: &Map<String, Value>, fields: &[&str]) -> Option<i64> {
    fields.iter().filter_map(|field| map.get(*field).and_then(Value::as_i64)).max()
}

/// What is missing in one map of counts: its path, its count and a sentence.
pub(super) fn shortages(
    place: &str,
    status: &Map<String, Value>,
    wanted: Option<i64>,
) -> Vec<(String, i64, String)> {
    let mut found = Vec::new();
    let seen = largest(status, DESIRED_SEEN);
    let existing = status.get("replicas").and_then(subject::number);
    for field in SERVING.iter().chain(EXISTING) {
        let Some(value) = status.get(*field) else { continue };
        let path = || format!("{place}.{field}");
        let Some(have) = subject::number(value) else { continue };
        let inside = SERVING.contains(field).then_some(existing).flatten();
        let of = [wanted, seen, inside].into_iter().flatten().max();
        if let Some(of) = of.filter(|of| have < *of) {
            found.push((path(), have, format!("{} is {have} of {of}", path())));
        }
    }
    // Zero is left out by most encoders: replicas without any that is ready.
    let counted = SERVING.iter().any(|field| status.contains_key(*field));
    if !counted && status.contains_key("updatedReplicas") && existing.is_some_and(|count| count > 0) {
        found.push((format!("{place}.readyReplicas"), 0, format!("{place}.readyReplicas is not there")));
    }
    for (field, value) in status.iter().filter(|(field, _)| counts_parts(field)) {
        if let Some((have, of)) = value.as_str().and_then(fraction).filter(|(have, of)| have < of) {
            let path = format!("{place}.{field}");
            found.push((path.clone(), have, format!("{path} is {have} of {of}")));
        }
    }
    for field in LACKING {
        if let Some(count) = status.get(*field).and_then(subject::number).filter(|count| *count > 0) {
            found.push((format!("{place}.{field}"), count, format!("{place}.{field} is {count}")));
        }
    }
    found
}

/// Whether a text such as `2/3` in a field of this name counts parts.
fn counts_parts(field: &str) -> bool {
    let parts = [
        "ready",
        "available",
        "healthy",
        "running",
        "replicas",
        "instances",
        "members",
        "nodes",
        "pods",
        "progress",
    ];
    status_vocabulary::tokens(field).iter().any(|word| parts.contains(&word.as_str()))
}

/// `2/3`, as some controllers write counts.
pub(super) fn fraction(text: &str) -> Option<(i64, i64)> {
    let (have, of) = text.split_once('/')?;
    Some((have.trim().parse().ok()?, of.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn paths(status: Value, wanted: Option<i64>) -> Vec<String> {
        let map = status.as_object().expect("a map");
        shortages("status", map, wanted).into_iter().map(|(path, ..)| path).collect()
    }

    #[test]
    fn shortages_are_found() {
        assert_eq!(paths(json!({"readyReplicas": 2}), Some(3)), ["status.readyReplicas"]);
        assert_eq!(paths(json!({"replicas": 3, "availableReplicas": 1}), None), ["status.availableReplicas"]);
        assert_eq!(paths(json!({"ready": "1/2", "usage": "1/2"}), None), ["status.ready"]);
        assert_eq!(paths(json!({"replicas": 2, "updatedReplicas": 2}), None), ["status.readyReplicas"]);
        assert_eq!(paths(json!({"unavailableReplicas": 1}), None), ["status.unavailableReplicas"]);
        assert_eq!(
            paths(json!({"replicas": 3, "readyReplicas": 3, "updatedReplicas": 1}), Some(3)),
            ["status.updatedReplicas"]
        );
    }

    #[test]
    fn enough_is_enough() {
        assert!(paths(json!({"replicas": 5, "readyReplicas": 5}), Some(3)).is_empty());
        assert!(paths(json!({"ready": true, "replicas": 0, "total": "many"}), Some(0)).is_empty());
        assert!(paths(json!({"ready": "2/2"}), Some(2)).is_empty());
    }
}
