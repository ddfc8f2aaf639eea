//! Pods as they are shown to people: in which state each is, and what keeps it from being ready.

use std::collections::BTreeMap;

use serde_json::Value;
use trimaran_kubernetes_core::verdict::is_of_another_template;
use trimaran_model::action::InstanceReport;
use trimaran_model::id::{Digest, InstanceName};
use trimaran_model::limits::{INSTANCE_MESSAGE_BYTES_MAX, INSTANCES_REPORTED_MAX};
use trimaran_model::run::InstanceStatus;
use trimaran_model::text::{LEFT_OUT, shorten};

use crate::platform::{EndedContainer, Instance, InstanceState};

/// Of a message that was shortened, without the mark for that.
const MESSAGE_BYTES: usize = INSTANCE_MESSAGE_BYTES_MAX - LEFT_OUT.len_utf8();
const REVISION: &str = "/metadata/annotations/deployment.kubernetes.io~1revision";

/// The pods among the documents, those that fail first, then by name.
pub(crate) fn instances(documents: &[&Value]) -> Vec<Instance> {
    let mut by_uid: BTreeMap<&str, &Value> = BTreeMap::new();
    for document in documents {
        if let Some(uid) = text(document, "/metadata/uid") {
            by_uid.insert(uid, document);
        }
    }
    let pods = documents.iter().filter(|document| document["kind"] == "Pod");
    let mut instances: Vec<Instance> = pods
        .map(|pod| {
            let (state, message) = state(pod);
            let name = text(pod, "/metadata/name").unwrap_or_default().to_owned();
            Instance { name, state, is_current: is_current(pod, &by_uid), message, ended: ended(pod) }
        })
        .collect();
    instances.sort_by(|one, other| (one.state, &one.name).cmp(&(other.state, &other.name)));
    instances
}

/// As reports have them. `release` is what runs in pods of the current revision.
pub(crate) fn reports(instances: &[Instance], release: Digest) -> Vec<InstanceReport> {
    let report = |instance: &Instance| {
        Some(InstanceReport {
            name: instance.name.parse::<InstanceName>().ok()?,
            status: match instance.state {
                InstanceState::Failing => InstanceStatus::Failed,
                InstanceState::Starting => InstanceStatus::Updating,
                InstanceState::Ready => InstanceStatus::Healthy,
                InstanceState::Ending => InstanceStatus::Stopped,
            },
            release: (instance.is_current == Some(true)).then_some(release),
            code: None,
            message: shorten(&instance.message, MESSAGE_BYTES, char::len_utf8),
            began_from: None,
            steps: Vec::new(),
        })
    };
    instances.iter().take(INSTANCES_REPORTED_MAX).filter_map(report).collect()
}

fn state(pod: &Value) -> (InstanceState, String) {
    if pod.pointer("/metadata/deletionTimestamp").is_some() {
        return (InstanceState::Ending, "it is being ended".to_owned());
    }
    if let Some(message) = failing(pod) {
        return (InstanceState::Failing, message);
    }
    let phase = text(pod, "/status/phase").unwrap_or("Pending");
    match (phase, condition(pod, "Ready")) {
        ("Failed", _) => {
            (InstanceState::Failing, explained(pod, "/status").unwrap_or_else(|| "it failed".to_owned()))
        }
        ("Succeeded", _) => (InstanceState::Ready, "it is done".to_owned()),
        (_, Some(ready)) if ready["status"] == "True" => (InstanceState::Ready, String::new()),
        ("Running", _) => (InstanceState::Starting, "it is not ready yet".to_owned()),
        _ => {
            let unscheduled = condition(pod, "PodScheduled").filter(|it| it["status"] == "False");
            let why = unscheduled.and_then(|it| it["message"].as_str());
            (InstanceState::Starting, why.unwrap_or("its containers are being made").to_owned())
        }
    }
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["/status/initContainerStatuses", "/status/containerStatuses"];
    lists.into_iter().filter_map(|list| pod.pointer(list)?.as_array()).flatten()
}

/// What the first container says that ended or can't start.
fn failing(pod: &Value) -> Option<String> {
    containers(pod).find_map(container_failure)
}

/// The first container whose process ended badly.
fn ended(pod: &Value) -> Option<EndedContainer> {
    let ended_badly = |status: &Value, pointer: &str| {
        status.pointer(pointer).is_some_and(|it| it["exitCode"].as_i64().is_some_and(|code| code != 0))
    };
    containers(pod).find_map(|status| {
        let now = ended_badly(status, "/state/terminated");
        let before = ended_badly(status, "/lastState/terminated");
        (now || before).then(|| EndedContainer {
            name: status["name"].as_str().unwrap_or_default().to_owned(),
            restarts: status["restartCount"].as_u64().unwrap_or(0),
            is_previous: !now,
        })
    })
}

fn container_failure(status: &Value) -> Option<String> {
    let name = status["name"].as_str().unwrap_or_default();
    let ended = |pointer: &str| status.pointer(pointer).filter(|it| it["exitCode"].as_i64() != Some(0));
    let words = |ended: &Value| {
        let reason = ended["reason"].as_str().filter(|it| *it != "Error");
        let code = ended["exitCode"].as_i64().unwrap_or_default();
        let reason = reason.map_or(String::new(), |reason| format!(" ({reason})"));
        format!("container {name} ended with exit code {code}{reason}")
    };
    if let Some(now) = ended("/state/terminated").filter(|it| it.is_object()) {
        return Some(words(now));
    }
    let waiting = status.pointer("/state/waiting")?;
    let reason = waiting["reason"].as_str().unwrap_or_default();
    if matches!(reason, "" | "ContainerCreating" | "PodInitializing") {
        return None;
    }
    let before = ended("/lastState/terminated").filter(|it| it.is_object()).map(words);
    let message = waiting["message"].as_str().filter(|it| !it.is_empty());
    Some(match (before, message) {
        (Some(before), _) => format!("{before}; {reason}"),
        (None, Some(message)) => format!("container {name}: {reason}: {message}"),
        (None, None) => format!("container {name}: {reason}"),
    })
}

/// Whether a pod is of the revision that its workload is to have.
fn is_current(pod: &Value, by_uid: &BTreeMap<&str, &Value>) -> Option<bool> {
    let owner = |document: &Value| {
        let uid = text(document, "/metadata/ownerReferences/0/uid")?;
        by_uid.get(uid).copied()
    };
    let above = owner(pod)?;
    match text(above, "/kind")? {
        "ReplicaSet" => {
            let deployment = owner(above)?;
            let is_latest = text(above, REVISION)? == text(deployment, REVISION)?;
            Some(is_latest && !is_of_another_template(deployment, above))
        }
        "StatefulSet" => {
            let revision = text(pod, "/metadata/labels/controller-revision-hash")?;
            Some(revision == text(above, "/status/updateRevision")?)
        }
        "DaemonSet" => {
            let generation = text(pod, "/metadata/labels/pod-template-generation")?;
            let wanted = text(above, "/metadata/annotations/deprecated.daemonset.template.generation")?;
            Some(generation == wanted)
        }
        _ => None,
    }
}

fn condition<'a>(pod: &'a Value, kind: &str) -> Option<&'a Value> {
    pod.pointer("/status/conditions")?.as_array()?.iter().find(|it| it["type"] == kind)
}

fn explained(document: &Value, pointer: &str) -> Option<String> {
    let status = document.pointer(pointer)?;
    let text = |name: &str| status[name].as_str().filter(|it| !it.is_empty());
    text("message").or_else(|| text("reason")).map(str::to_owned)
}

fn text<'a>(document: &'a Value, pointer: &str) -> Option<&'a str> {
    document.pointer(pointer)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, owner: &str, status: Value) -> Value {
        json!({"kind": "Pod", "metadata": {"name": name, "uid": name, "ownerReferences": [{"uid": owner}]},
               "status": status})
    }

    #[test]
    fn pods_are_shown_with_state_cause_and_revision() {
        let deployment = json!({"kind": "Deployment", "metadata": {"uid": "web", "annotations": {"deployment.kubernetes.io/revision": "2"}}});
        let set = |uid: &str, revision: &str| {
            json!({"kind": "ReplicaSet", "metadata": {"uid": uid, "ownerReferences": [{"uid": "web"}],
                   "annotations": {"deployment.kubernetes.io/revision": revision}}})
        };
        let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        let crash = json!({"phase": "Running", "containerStatuses": [{
            "name": "web", "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
            "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}}}]});
        let image = json!({"phase": "Pending", "containerStatuses": [{
            "name": "web", "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}]});
        let mut ending = pod("ending", "old", ready.clone());
        ending["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let documents = [
            deployment,
            set("old", "1"),
            set("new", "2"),
            ending,
            pod("a", "old", ready),
            pod("b", "new", crash),
            pod("c", "new", image),
            pod("d", "new", json!({"phase": "Pending"})),
        ];
        let seen = instances(&documents.iter().collect::<Vec<_>>());
        let shown: Vec<_> =
            seen.iter().map(|it| (it.name.as_str(), it.state, it.is_current, it.message.as_str())).collect();
        assert_eq!(
            shown,
            [
                (
                    "b",
                    InstanceState::Failing,
                    Some(true),
                    "container web ended with exit code 3; CrashLoopBackOff"
                ),
                ("c", InstanceState::Failing, Some(true), "container web: ErrImagePull: not found"),
                ("d", InstanceState::Starting, Some(true), "its containers are being made"),
                ("a", InstanceState::Ready, Some(false), ""),
                ("ending", InstanceState::Ending, Some(false), "it is being ended"),
            ]
        );
        assert_eq!(seen[0].ended.as_ref().map(|it| (it.name.as_str(), it.is_previous)), Some(("web", true)));
        assert_eq!(seen[1].ended, None, "no process ended");
        let reports = reports(&seen, Digest([7; 32]));
        assert_eq!((reports[0].status, reports[0].release), (InstanceStatus::Failed, Some(Digest([7; 32]))));
        assert_eq!(reports[3].release, None, "what an old pod runs is not known here");
    }

    /// As containerd says it of an image with a long name, which it repeats for each error around the cause.
    #[test]
    fn a_long_message_keeps_its_cause_which_is_at_the_end() {
        let image = format!("registry.corp.example.com/team-shop/storefront/web@sha256:{}", "0f".repeat(32));
        let message = format!(
            "failed to pull and unpack image \"{image}\": failed to resolve image: failed to do request: {image}: \
             unexpected status from HEAD request to https://registry.corp.example.com/v2/{image}: not found"
        );
        let image = json!({"phase": "Pending", "containerStatuses": [{
            "name": "web", "state": {"waiting": {"reason": "ErrImagePull", "message": message}}}]});
        let pod = pod("a", "set", image);
        let shown = reports(&instances(&[&pod]), Digest([7; 32])).remove(0).message;
        assert!(shown.len() <= INSTANCE_MESSAGE_BYTES_MAX, "{} bytes", shown.len());
        assert!(shown.starts_with("container web: ErrImagePull: failed to pull and unpack image"), "{shown}");
        assert!(shown.contains(" … ") && shown.ends_with(": not found"), "{shown}");
    }
}
