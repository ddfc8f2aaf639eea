//! What a watch has gathered, judged: one observation of the objects of a release with their pods.

use std::collections::BTreeMap;

use serde_json::Value;
use trimaran_kubernetes_core::custom::RuleSet;
use trimaran_kubernetes_core::judgment::Judgment;
use trimaran_kubernetes_core::object::Object;
use trimaran_kubernetes_core::snapshot::Snapshot;
use trimaran_kubernetes_core::verdict::judge_watched;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Timestamp, WallTime};
use trimaran_model::verdict::Verdict;

use crate::fields;
use crate::instances::instances;
use crate::object_key::ObjectKey;
use crate::platform::{Observation, ObservedObject, Pods, Query, StuckPod};
use crate::stamp::Marks;

/// Owners above a pod: ReplicaSet, Deployment, and a custom resource or two.
const OWNERS_MAX: usize = 4;

/// When an observation was made, on both clocks, and since when things count as evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub now: Timestamp,
    pub wall: WallTime,
    /// The start of the order: older events and restarts are no evidence.
    pub since: Option<WallTime>,
}

/// Judges what is gathered for one query.
pub struct Observer {
    pub query: Query,
    pub rules: RuleSet,
}

impl Observer {
    /// `documents` are the objects of the query, what belongs to them, and recent events; the order does not matter.
    pub fn observe(&self, documents: &[&Value], moment: Moment) -> Observation {
        let snapshot = Snapshot::new(documents.iter().copied());
        let known: BTreeMap<ObjectKey, Object<'_>> =
            snapshot.objects().filter_map(|object| Some((ObjectKey::of(object.value())?, object))).collect();
        let restarts = restarts(documents);
        let mut next_check = None;
        let objects = self.query.keys.iter().map(|key| {
            let Some(object) = known.get(key) else { return absent(key) };
            let judgment = judge_watched(&snapshot, *object, &self.rules, moment.wall, moment.since);
            if let Some(at) = judgment.next_check_at {
                let in_millis = Millis(u64::try_from(at.0 - moment.wall.0).unwrap_or(0));
                let at = moment.now + in_millis;
                next_check = Some(next_check.map_or(at, |known: Timestamp| known.min(at)));
            }
            observed(key, object.value(), judgment, &restarts, &known)
        });
        let objects = objects.collect();
        Observation { blind_since: None, objects, instances: instances(documents), next_check }
    }
}

fn absent(key: &ObjectKey) -> ObservedObject {
    ObservedObject {
        key: key.clone(),
        uid: None,
        generation: 0,
        marks: Marks::default(),
        verdict: Verdict::Missing,
        reason: Some(ReasonCode::Missing),
        message: format!("{key} is not there"),
        fault: ReasonCode::Missing.fault(),
        pods: Pods::default(),
        stuck: None,
        fields: None,
        edits: Vec::new(),
    }
}

fn observed(
    key: &ObjectKey,
    document: &Value,
    judgment: Judgment,
    restarts: &BTreeMap<String, u32>,
    known: &BTreeMap<ObjectKey, Object<'_>>,
) -> ObservedObject {
    let uid = uid_of(document).map(str::to_owned);
    let restarts = uid.as_ref().and_then(|uid| restarts.get(uid)).copied().unwrap_or(0);
    let stuck =
        if judgment.reason == Some(ReasonCode::StsStuckPod) { stuck(key, &judgment, known) } else { None };
    let pods = Pods { restarts, ..pods(key, document, judgment.verdict) };
    ObservedObject {
        key: key.clone(),
        uid,
        generation: document.pointer("/metadata/generation").and_then(Value::as_u64).unwrap_or(0),
        marks: Marks::of(document),
        verdict: judgment.verdict,
        reason: judgment.reason,
        message: judgment.message,
        fault: judgment.fault,
        pods,
        stuck,
        fields: fields::owned(document),
        edits: fields::edits(document),
    }
}

/// Instances as the workload's own status counts them, which may be behind what its pods show when it is healthy.
fn pods(key: &ObjectKey, document: &Value, verdict: Verdict) -> Pods {
    let count = |pointer: &str| {
        let count = document.pointer(pointer).and_then(Value::as_u64);
        count.and_then(|count| u32::try_from(count).ok())
    };
    let of_status = |name: &str| count(&format!("/status/{name}")).unwrap_or(0);
    match (key.group(), key.kind.as_str()) {
        ("apps", "Deployment" | "StatefulSet") => {
            let desired = count("/spec/replicas").unwrap_or(1);
            // A StatefulSet may be healthy with pods of an earlier revision, below its partition.
            let is_whole = verdict == Verdict::Healthy && key.kind == "Deployment";
            let least = if is_whole { desired } else { 0 };
            Pods {
                desired,
                updated: of_status("updatedReplicas").max(least),
                available: of_status("availableReplicas").max(least),
                restarts: 0,
            }
        }
        ("apps", "DaemonSet") => Pods {
            desired: of_status("desiredNumberScheduled"),
            updated: of_status("updatedNumberScheduled"),
            available: of_status("numberAvailable"),
            restarts: 0,
        },
        _ => Pods::default(),
    }
}

/// Restarts of all pods that are not being deleted, by the uid of each object above them.
fn restarts(documents: &[&Value]) -> BTreeMap<String, u32> {
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for document in documents {
        if let (Some(uid), Some(owner)) = (uid_of(document), owner_of(document)) {
            owners.insert(uid, owner);
        }
    }
    let mut sums: BTreeMap<String, u32> = BTreeMap::new();
    let is_pod = |document: &&&Value| {
        document["kind"] == "Pod" && document.pointer("/metadata/deletionTimestamp").is_none()
    };
    for pod in documents.iter().filter(is_pod) {
        let count = restarts_of(pod);
        let mut above = uid_of(pod);
        for _ in 0..OWNERS_MAX {
            let Some(owner) = above.and_then(|uid| owners.get(uid)) else { break };
            let sum = sums.entry((*owner).to_owned()).or_default();
            *sum = sum.saturating_add(count);
            above = Some(owner);
        }
    }
    sums
}

fn restarts_of(pod: &Value) -> u32 {
    let statuses = ["/status/containerStatuses", "/status/initContainerStatuses"];
    let all = statuses.iter().filter_map(|pointer| pod.pointer(pointer)?.as_array()).flatten();
    let counts = all.filter_map(|status| u32::try_from(status.get("restartCount")?.as_u64()?).ok());
    counts.fold(0, u32::saturating_add)
}

/// The pod that the judgment names.
fn stuck(key: &ObjectKey, judgment: &Judgment, known: &BTreeMap<ObjectKey, Object<'_>>) -> Option<StuckPod> {
    let name = judgment.evidence.iter().find_map(|evidence| evidence.object.strip_prefix("Pod/"))?;
    let pod = ObjectKey {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        namespace: key.namespace.clone(),
        name: name.to_owned(),
    };
    Some(StuckPod { name: name.to_owned(), uid: uid_of(known.get(&pod)?.value())?.to_owned() })
}

fn uid_of(document: &Value) -> Option<&str> {
    document.pointer("/metadata/uid").and_then(Value::as_str)
}

fn owner_of(document: &Value) -> Option<&str> {
    document.pointer("/metadata/ownerReferences/0/uid").and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use serde_json::json;
    use trimaran_model::id::{InstallationId, PipelineName, TargetName};

    fn observe(documents: &[Value], keys: &[&Value]) -> Observation {
        let installation = InstallationId {
            pipeline: PipelineName::new("web").expect("a name"),
            target: TargetName::new("tokyo").expect("a name"),
        };
        let keys: BTreeSet<ObjectKey> = keys.iter().filter_map(|document| ObjectKey::of(document)).collect();
        let observer = Observer { query: Query { installation, keys }, rules: RuleSet::builtin() };
        let documents: Vec<&Value> = documents.iter().collect();
        let wall = WallTime(1_767_225_600_000);
        observer.observe(&documents, Moment { now: Timestamp(5000), wall, since: None })
    }

    fn owned(kind: &str, name: &str, uid: &str, owner: &str, rest: Value) -> Value {
        let mut document = json!({
            "apiVersion": if kind == "Pod" { "v1" } else { "apps/v1" }, "kind": kind,
            "metadata": {"name": name, "namespace": "shop", "uid": uid, "generation": 1,
                         "ownerReferences": [{"uid": owner, "kind": "X", "name": "x"}]},
        });
        let Value::Object(rest) = rest else { unreachable!("the callers are below") };
        document.as_object_mut().expect("it is an object").extend(rest);
        document
    }

    #[test]
    fn counts_and_restarts_are_those_of_the_workload() {
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "uid": "d", "generation": 1},
            "spec": {"replicas": 2},
            "status": {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1},
        });
        let pod = |name: &str, restarts: u32| {
            let status = json!({"containerStatuses": [{"name": "web", "restartCount": restarts}]});
            owned("Pod", name, name, "r", json!({"status": status}))
        };
        let mut ending = pod("ending", 50);
        ending["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let set = owned("ReplicaSet", "web-1", "r", "d", json!({}));
        let documents = [deployment.clone(), set, pod("a", 1), pod("b", 2), ending];
        let seen = observe(&documents, &[&deployment]);
        assert_eq!(seen.objects[0].pods, Pods { desired: 2, updated: 2, available: 1, restarts: 3 });
        assert_eq!(seen.objects[0].uid.as_deref(), Some("d"));
    }

    /// A release is applied over an image that someone else had set and that can't be pulled. The number of replicas
    /// changes too, so the controller counts before it makes a ReplicaSet of the release.
    #[test]
    fn pods_of_an_edit_are_no_evidence_of_the_release_that_is_applied_over_it() {
        let template = |image: &str| json!({"spec": {"containers": [{"name": "web", "image": image}]}});
        let deployment = |image: &str| {
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "web", "namespace": "shop", "uid": "d", "generation": 3,
                             "annotations": {"deployment.kubernetes.io/revision": "2"}},
                "spec": {"replicas": 2, "template": template(image)},
                "status": {"observedGeneration": 3, "replicas": 3, "readyReplicas": 2, "availableReplicas": 2},
            })
        };
        let mut set = owned(
            "ReplicaSet",
            "web-2",
            "r",
            "d",
            json!({"spec": {"replicas": 1, "template": template("web:edited")}}),
        );
        set["metadata"]["annotations"] = json!({"deployment.kubernetes.io/revision": "2"});
        set["status"] = json!({"observedGeneration": 1, "replicas": 1});
        let waiting = json!({"waiting": {"reason": "ErrImagePull", "message": "web:edited: not found"}});
        let status = json!({"phase": "Pending", "containerStatuses": [{"name": "web", "state": waiting}]});
        let pod = owned(
            "Pod",
            "web-2-a",
            "p",
            "r",
            json!({"spec": {"containers": [{"name": "web"}]}, "status": status}),
        );
        let judged = |image: &str| {
            let deployment = deployment(image);
            let seen = observe(&[deployment.clone(), set.clone(), pod.clone()], &[&deployment]);
            (seen.objects[0].verdict, seen.objects[0].reason, seen.instances[0].is_current)
        };
        assert_eq!(judged("web:new"), (Verdict::Progressing, Some(ReasonCode::Generation), Some(false)));
        let edited = (Verdict::Degraded, Some(ReasonCode::ImagePull), Some(true));
        assert_eq!(judged("web:edited"), edited, "the edit itself is what its pods are");
    }

    #[test]
    fn what_is_not_there_is_missing() {
        let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web", "namespace": "shop"}});
        let seen = observe(&[], &[&config]);
        assert_eq!((seen.objects[0].verdict, seen.objects[0].uid.as_ref()), (Verdict::Missing, None));
        assert_eq!(seen.objects[0].message, "ConfigMap/web is not there");
    }
}
