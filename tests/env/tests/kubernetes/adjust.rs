//! Restarts and scales on a real cluster: the controller replaces the pods once, and nothing else changes.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use trimaran_kubernetes_driver::{Goal, RESTART_ANNOTATION};
use trimaran_model::action::Outcome;
use trimaran_model::time::Millis;
use trimaran_test_env::kubernetes::Cluster;

use crate::api::Api;
use crate::orders::{Ended, Installation};

fn deployment(image: &str) -> Value {
    let labels = json!({"app": "web"});
    let container = json!({
        "name": "web", "image": image,
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
    });
    let pod = json!({"dnsPolicy": "Default", "terminationGracePeriodSeconds": 1, "containers": [container]});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
           "spec": {"replicas": 2, "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": pod}}})
}

fn live(cluster: &Cluster, namespace: &str) -> Value {
    cluster.list("deployments", namespace).into_iter().next().expect("the deployment is there")
}

/// Pods that are not on their way out.
fn pods(cluster: &Cluster, namespace: &str) -> BTreeSet<String> {
    let pods = cluster.list("pods", namespace);
    let stays = pods.iter().filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_none());
    stays.map(|pod| pod["metadata"]["uid"].as_str().expect("a uid").to_owned()).collect()
}

fn refused(ended: Ended, words: &str) {
    let Outcome::Fault(why) = &ended.outcome else { panic!("{ended:?}") };
    assert!(why.message.contains(words), "{why:?}");
}

#[test]
fn pods_are_replaced_once_for_each_restart_and_replicas_are_what_was_ordered() {
    let cluster = Cluster::shared();
    let api = Api::new(&cluster);
    let namespace = cluster.namespace("adjust");
    let mut web = Installation::new(&api, namespace.clone());
    let release = web.release(1, vec![deployment(&cluster.service_image())], Millis::seconds(1));
    let ended = web.perform(Goal::Release(release.clone()));
    assert_eq!(ended.outcome, Outcome::Done, "{ended:?}");
    let (mut before, mut generation) = (pods(&cluster, &namespace), 1);
    // The agent dies behind the call that restarts, the second time: the look, the change.
    for (order, crash_after) in [(2, None), (3, Some(2))] {
        let ended = web.perform_with(Goal::Restart(release.clone()), crash_after);
        assert_eq!(ended.outcome, Outcome::Done, "{ended:?}");
        let after = pods(&cluster, &namespace);
        assert!(after.len() == 2 && after.is_disjoint(&before), "{before:?} became {after:?}");
        let web = live(&cluster, &namespace);
        let annotations = &web["spec"]["template"]["metadata"]["annotations"];
        assert_eq!(annotations, &json!({RESTART_ANNOTATION: order.to_string()}));
        generation += 1;
        assert_eq!(web["metadata"]["generation"], generation, "its spec was changed once");
        before = after;
    }
    let ended = web.perform(Goal::Scale(release.clone(), 3));
    assert_eq!(ended.outcome, Outcome::Done, "{ended:?}");
    let after = pods(&cluster, &namespace);
    assert!(after.len() == 3 && after.is_superset(&before), "{before:?} became {after:?}");
    assert_eq!(live(&cluster, &namespace)["spec"]["replicas"], 3);
    let judged = web.perform(Goal::Verify(release.clone()));
    assert_eq!(judged.outcome, Outcome::Done, "neither is an edit by someone else: {judged:?}");
    let other = web.release(2, vec![deployment("other")], Millis::ZERO);
    refused(web.perform(Goal::Restart(other)), "is of release 0101");
    cluster.apply(&json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web-load", "namespace": namespace},
        "spec": {"minReplicas": 3, "maxReplicas": 3,
                 "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}}));
    refused(web.perform(Goal::Scale(release, 2)), "HorizontalPodAutoscaler/web-load");
    assert_eq!(pods(&cluster, &namespace), after);
}
