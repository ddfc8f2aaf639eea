//! Verdicts over ten thousand pods: one large Deployment, and a hundred with the pods of two revisions each.

use std::time::Instant;

use serde_json::{Value, json};
use trimaran_kubernetes_core::custom::RuleSet;
use trimaran_kubernetes_core::snapshot::Snapshot;
use trimaran_kubernetes_core::verdict::judge;
use trimaran_model::time::WallTime;
use trimaran_model::verdict::Verdict;

use crate::report::{Report, time};

const PODS: usize = 10_000;
/// 2026-03-01T10:01:00Z, a minute after the pods of [`deployment`] were made.
const NOW: WallTime = WallTime(1_772_359_260_000);

pub(crate) fn run(report: &mut Report) {
    let rules = RuleSet::builtin();
    for (what, deployments) in [("one Deployment", 1), ("100 Deployments", 100)] {
        let objects: Vec<Value> =
            (0..deployments).flat_map(|number| deployment(number, PODS / deployments)).collect();
        let text = serde_json::to_vec(&objects).expect("JSON prints");
        let best = (0..5)
            .map(|_| {
                let begin = Instant::now();
                let objects: Vec<Value> = serde_json::from_slice(&text).expect("it was printed as JSON");
                let parsed = begin.elapsed();
                let begin = Instant::now();
                let snapshot = Snapshot::new(&objects);
                let roots: Vec<_> = snapshot.roots().collect();
                let degraded = roots
                    .iter()
                    .filter(|root| judge(&snapshot, **root, &rules, NOW, None).verdict == Verdict::Degraded)
                    .count();
                assert_eq!(degraded, deployments, "every Deployment has a revision that crash-loops");
                (begin.elapsed(), parsed)
            })
            .min()
            .expect("five times");
        report.add(
            format!("verdict over {PODS} pods of {what}"),
            time(best.0),
            format!("{} for parsing {} MiB; bar 1 s", time(best.1), text.len() >> 20),
        );
    }
}

/// A Deployment whose new revision crash-loops, with its two ReplicaSets and their pods and an event each.
fn deployment(number: usize, pods: usize) -> Vec<Value> {
    let name = format!("web-{number}");
    let uid = |what: &str| format!("{what}-{number}");
    let owner = |kind: &str, name: &str, uid: String| json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid}]);
    let mut objects = vec![json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop", "uid": uid("d"), "generation": 2,
                     "annotations": {"deployment.kubernetes.io/revision": "2"}},
        "spec": {"replicas": pods, "progressDeadlineSeconds": 600},
        "status": {"observedGeneration": 2, "replicas": pods, "updatedReplicas": pods / 2, "readyReplicas": pods / 2,
                   "availableReplicas": pods / 2, "conditions": [
            {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated", "lastUpdateTime": "2026-03-01T10:00:00Z"}]}
    })];
    for revision in 1..=2 {
        let set = format!("{name}-{revision}");
        let set_uid = uid(&format!("r{revision}"));
        objects.push(json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": set, "namespace": "shop", "uid": set_uid, "generation": 1,
                         "annotations": {"deployment.kubernetes.io/revision": revision.to_string()},
                         "ownerReferences": owner("Deployment", &name, uid("d"))},
            "spec": {"replicas": pods / 2}, "status": {"observedGeneration": 1, "replicas": pods / 2}
        }));
        for pod in 0..pods / 2 {
            objects.extend(self::pod(
                &format!("{set}-{pod}"),
                revision == 1,
                owner("ReplicaSet", &set, set_uid.clone()),
            ));
        }
    }
    objects
}

fn pod(name: &str, ready: bool, owners: Value) -> [Value; 2] {
    let word = if ready { "True" } else { "False" };
    let (state, last, restarts) = if ready {
        (json!({"running": {"startedAt": "2026-03-01T10:00:01Z"}}), json!({}), 0)
    } else {
        let end = json!({"terminated": {"exitCode": 1, "reason": "Error", "startedAt": "2026-03-01T10:00:30Z",
                                        "finishedAt": "2026-03-01T10:00:31Z"}});
        (
            json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s restarting failed container"}}),
            end,
            2,
        )
    };
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "uid": name, "creationTimestamp": "2026-03-01T10:00:00Z",
                     "labels": {"app": "web"}, "ownerReferences": owners},
        "spec": {"nodeName": "node-a", "restartPolicy": "Always",
                 "containers": [{"name": "web", "image": "registry.corp/shop/web:v2"}]},
        "status": {"phase": "Running", "startTime": "2026-03-01T10:00:00Z",
                   "conditions": [{"type": "Ready", "status": word, "lastTransitionTime": "2026-03-01T10:00:05Z"},
                                  {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-03-01T10:00:00Z"}],
                   "containerStatuses": [{"name": "web", "ready": ready, "restartCount": restarts, "state": state,
                                          "lastState": last}]}
    });
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": format!("{name}.1"), "namespace": "shop"},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": name, "namespace": "shop", "uid": name},
        "reason": "BackOff", "message": "Back-off restarting failed container web", "type": "Warning",
        "firstTimestamp": "2026-03-01T10:00:20Z", "lastTimestamp": "2026-03-01T10:00:50Z"
    });
    [pod, event]
}
