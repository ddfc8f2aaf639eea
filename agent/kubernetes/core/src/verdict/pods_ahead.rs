//! A Deployment whose pods show the end of its rollout before its status does.
//!
//! Its controllers count one after the other: the ReplicaSets their pods, then the Deployment its ReplicaSets, each by writes of
//! its own. Who watches pods sees tens of milliseconds earlier that the new revision alone serves. Only documents of live
//! watches are judged so: in files a pod and a status that contradict each other may be of any age.

use super::context::Context;
use crate::object::Object;

/// Whether every replica that is wanted is ready in the current revision, and no pod of another one is left that is not being
/// deleted. Where time decides, as with `minReadySeconds`, and where the controller complains, its status has the word.
pub(super) fn serves_alone<'a>(context: Context<'a>, deployment: Object<'a>, current: Object<'a>) -> bool {
    let desired = deployment.count("spec.replicas").unwrap_or(1);
    let waits = deployment.count("spec.minReadySeconds").unwrap_or(0) > 0;
    let complains = deployment.condition("Progressing").is_some_and(|it| it.is_false());
    if !context.is_watched || desired == 0 || waits || complains {
        return false;
    }
    let pods = |set: Object<'a>| context.snapshot.children_of_kind(set, "", "Pod");
    let ready = pods(current).filter(|pod| !pod.is_deleted() && is_ready(*pod)).count();
    let is_scaled = current.count("spec.replicas") == Some(desired);
    let mut others = context
        .snapshot
        .children_of_kind(deployment, "apps", "ReplicaSet")
        .filter(|set| set.uid() != current.uid());
    let is_left = |set: Object<'a>| {
        set.count("spec.replicas") != Some(0) || pods(set).any(|pod| !pod.is_deleted() && !has_ended(pod))
    };
    is_scaled && i64::try_from(ready).is_ok_and(|ready| ready >= desired) && !others.any(is_left)
}

fn is_ready(pod: Object<'_>) -> bool {
    pod.text("status.phase") == Some("Running") && pod.condition("Ready").is_some_and(|it| it.is_true())
}

fn has_ended(pod: Object<'_>) -> bool {
    matches!(pod.text("status.phase"), Some("Succeeded" | "Failed"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use trimaran_model::time::WallTime;
    use trimaran_model::verdict::Verdict;

    use crate::custom::RuleSet;
    use crate::judgment::Judgment;
    use crate::snapshot::Snapshot;
    use crate::verdict::{judge, judge_watched};

    /// A rollout of two replicas whose last old pod is being deleted, in the moment before the Deployment's controller counts.
    fn rollout() -> Value {
        let owner =
            |kind: &str, uid: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": uid, "uid": uid}]);
        let set = |uid: &str, revision: &str, replicas: u32| {
            json!({
                "apiVersion": "apps/v1", "kind": "ReplicaSet",
                "metadata": {"name": uid, "namespace": "shop", "uid": uid, "ownerReferences": owner("Deployment", "web"),
                             "annotations": {"deployment.kubernetes.io/revision": revision}},
                "spec": {"replicas": replicas}, "status": {"replicas": 1},
            })
        };
        let pod = |name: &str, set: &str| {
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": name, "namespace": "shop", "uid": name, "ownerReferences": owner("ReplicaSet", set)},
                "spec": {"containers": [{"name": "web"}]},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
            })
        };
        let mut ending = pod("old-1", "old");
        ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:30Z".into();
        json!({
            "web": {
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "web", "namespace": "shop", "uid": "web", "generation": 4,
                             "annotations": {"deployment.kubernetes.io/revision": "2"}},
                "spec": {"replicas": 2},
                "status": {"observedGeneration": 4, "replicas": 3, "updatedReplicas": 2, "readyReplicas": 2,
                           "availableReplicas": 2, "conditions": [
                    {"type": "Available", "status": "True"}, {"type": "Progressing", "status": "True"}]},
            },
            "old": set("old", "1", 0), "new": set("new", "2", 2),
            "old-1": ending, "new-1": pod("new-1", "new"), "new-2": pod("new-2", "new"),
        })
    }

    type Judge = for<'a> fn(
        &'a Snapshot<'a>,
        crate::object::Object<'a>,
        &'a RuleSet,
        WallTime,
        Option<WallTime>,
    ) -> Judgment;

    fn verdict(documents: &Value, judge: Judge) -> Verdict {
        let all = documents.as_object().expect("documents by name");
        let rules = RuleSet::builtin();
        let snapshot = Snapshot::new(all.values());
        let web = snapshot.objects().find(|it| it.kind() == "Deployment").expect("it is there");
        judge(&snapshot, web, &rules, WallTime(1_767_225_601_000), None).verdict
    }

    #[test]
    fn a_rollout_is_at_its_end_when_its_pods_show_it_and_in_files_when_its_status_does() {
        let mut documents = rollout();
        assert_eq!(verdict(&documents, judge_watched), Verdict::Healthy);
        assert_eq!(verdict(&documents, judge), Verdict::Progressing);
        // The number of ready ones is behind, too.
        documents["web"]["status"]["availableReplicas"] = 1.into();
        assert_eq!(verdict(&documents, judge_watched), Verdict::Healthy);
        documents["old-1"]["metadata"]["deletionTimestamp"] = Value::Null;
        documents["old-1"]["status"]["phase"] = "Failed".into();
        assert_eq!(verdict(&documents, judge_watched), Verdict::Healthy, "what has ended serves no one");
    }

    #[test]
    fn whatever_is_missing_waits_for_the_status() {
        let changes: &[(&str, &str, Value)] = &[
            ("old-1", "/metadata/deletionTimestamp", Value::Null),
            ("old", "/spec/replicas", json!(1)),
            ("new", "/spec/replicas", json!(1)),
            ("new-2", "/status/conditions/0/status", json!("False")),
            ("new-2", "/status/phase", json!("Pending")),
            ("new-2", "/metadata/ownerReferences/0/uid", json!("old")),
            ("web", "/spec/replicas", json!(3)),
            ("web", "/status/observedGeneration", json!(3)),
            ("web", "/status/conditions/1/status", json!("False")),
            ("web", "/metadata/annotations/deployment.kubernetes.io~1revision", json!("3")),
        ];
        for (name, pointer, value) in changes {
            let mut documents = rollout();
            *documents[name].pointer_mut(pointer).expect("it is there") = value.clone();
            assert_eq!(verdict(&documents, judge_watched), Verdict::Progressing, "{name} {pointer}");
        }
        for (name, part, field, value) in [
            ("web", "spec", "minReadySeconds", json!(5)),
            ("new-2", "metadata", "deletionTimestamp", json!("2026-01-01T00:00:30Z")),
        ] {
            let mut documents = rollout();
            documents[name][part][field] = value;
            assert_eq!(verdict(&documents, judge_watched), Verdict::Progressing, "{name} {field}");
        }
    }
}
