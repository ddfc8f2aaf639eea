//! A first release of a prod target that fails while a part of it serves: nothing comes back in its place, so what serves
//! is ended by a user's word alone.

use std::time::Duration;

use serde_json::json;
use trimaran_e2e::lab::Lab;
use trimaran_test_env::kubernetes::Cluster;
use trimaran_test_support::wait::until;

use crate::shop::{Shape, Shop, printed, write};

/// Beside the workload of the shop one that does not start before the ConfigMap `gate` is there, and crashes then.
fn add_worker(shop: &Shop<'_>) {
    let labels = json!({"app": "worker"});
    let container = json!({
        "name": "worker", "image": shop.cluster.service_image(), "env": [{"name": "CRASH", "value": "0s"}],
        "volumeMounts": [{"name": "gate", "mountPath": "/gate"}],
    });
    let worker = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "worker"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"dnsPolicy": "Default", "terminationGracePeriodSeconds": 1, "containers": [container],
                     "volumes": [{"name": "gate", "configMap": {"name": "gate"}}]},
        }},
    });
    write(shop.lab, &format!("{}/worker.json", shop.name()), &worker.to_string());
}

#[test]
fn what_serves_of_a_first_release_that_fails_waits_for_a_users_word() {
    let lab = Lab::fresh(1);
    let cluster = Cluster::shared();
    let shop = Shop::new(&lab, &cluster, "traffic", &Shape::default());
    shop.write_plain_workload();
    add_worker(&shop);
    let artifact = shop.version("v1", &[]);
    shop.write_environment(&artifact);
    let run = lab.json(&["deploy", "-f", "traffic.yaml", "--artifact", &artifact, "--detach"]);
    let run = run["run"].as_str().expect("a run has a name").to_owned();
    let serving = until("one workload serves", Duration::from_secs(60), || {
        let pods = shop.ready_pods();
        (pods.len() == 2).then_some(pods)
    });
    cluster.kubectl(&["create", "configmap", "gate", "--namespace", &shop.namespace]);
    let reason = lab.wait_run(&run, "the stage waits", Duration::from_secs(60), |shown| {
        let reasons = shown["stages"][0]["reasons"].as_array().cloned().unwrap_or_default();
        reasons.into_iter().find(|it| it["code"] == "paused_traffic")
    });
    let message = reason["message"].as_str().unwrap_or_default();
    assert!(message.contains("2 instances still serve (Deployment/web)"), "{message}");
    assert_eq!(shop.ready_pods(), serving, "they serve on");
    let ended =
        lab.run(&["rollback", "traffic", "--env", "prod", "--override", "traffic", "--yes", "--wait"]);
    assert_eq!(ended.status.code(), Some(3), "there was nothing to go back to: {}", printed(&ended));
    assert_eq!(shop.objects(), ["ConfigMap/gate"], "what the release made is gone, and nothing of others");
}
