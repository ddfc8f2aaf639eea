//! Deploys on a real cluster: a good version is finished, each bad one is named by its cause and goes back whole.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use trimaran_kubernetes_driver::{Goal, content};
use trimaran_model::action::Outcome;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Millis;
use trimaran_test_env::kubernetes::Cluster;

use crate::api::Api;
use crate::orders::{Ended, Installation};

/// A service with its configuration. `environment` decides how good it is.
fn service(image: &str, environment: &[(&str, &str)], config: &str) -> Vec<Value> {
    let mut variables = vec![json!({"name": "CONFIG", "value": "/config/text"})];
    variables.extend(environment.iter().map(|(name, value)| json!({"name": name, "value": value})));
    let labels = json!({"app": "web"});
    let container = json!({
        "name": "web", "image": image, "env": variables,
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
        "volumeMounts": [{"name": "config", "mountPath": "/config"}],
    });
    let pod = json!({
        "dnsPolicy": "Default", "terminationGracePeriodSeconds": 1, "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": "web"}}],
    });
    vec![
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": {"text": config}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
               "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
               "spec": {"replicas": 2, "selector": {"matchLabels": labels},
                        "template": {"metadata": {"labels": labels}, "spec": pod}}}),
    ]
}

fn ingress() -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web"},
           "spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}})
}

/// Everything that a deploy may change, by kind and name.
fn state(cluster: &Cluster, namespace: &str) -> BTreeMap<String, Value> {
    let objects = cluster.list("deployments,services,configmaps,ingresses,networkpolicies", namespace);
    let name = |it: &Value| format!("{}/{}", it["kind"], it["metadata"]["name"]);
    // The controller counts rollouts in an annotation of its own.
    let mut state: BTreeMap<String, Value> = objects.iter().map(|it| (name(it), content(it))).collect();
    for object in state.values_mut() {
        if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
            annotations.shift_remove("deployment.kubernetes.io/revision");
        }
    }
    state
}

fn cause(ended: &Ended) -> ReasonCode {
    match &ended.outcome {
        Outcome::Failed(why) => why.code,
        other => panic!("it fails and does not end with {other:?}"),
    }
}

#[test]
fn a_good_version_is_finished_and_each_bad_one_goes_back_whole_with_its_configuration() {
    let cluster = Cluster::shared();
    let api = Api::new(&cluster);
    let namespace = cluster.namespace("deploys");
    let image = cluster.service_image();
    let mut web = Installation::new(&api, namespace.clone());
    let others = json!({"apiVersion": "v1", "kind": "ConfigMap",
                        "metadata": {"name": "others", "namespace": namespace}, "data": {"a": "b"}});
    cluster.apply(&others);
    let short = Millis::seconds(2);
    let good = web.release(1, service(&image, &[("VERSION", "1")], "one"), short);
    let ended = web.perform(Goal::Release(good.clone()));
    assert_eq!(ended.outcome, Outcome::Done, "{ended:?}");
    let before = state(&cluster, &namespace);
    let judged = web.perform(Goal::Verify(good.clone()));
    assert_eq!(judged.outcome, Outcome::Done, "{judged:?}");
    assert_eq!(state(&cluster, &namespace), before, "judging changes nothing");
    let absent = cluster.absent_image();
    let crash: &[(&str, &str)] = &[("CRASH", "0s")];
    let later: &[(&str, &str)] = &[("CRASH", "8s")];
    let bad = [
        ("absent image", absent.as_str(), &[][..], short, ReasonCode::ImagePull),
        ("crash", image.as_str(), crash, short, ReasonCode::CrashLoop),
        ("crash after it was ready", image.as_str(), later, Millis::seconds(25), ReasonCode::CrashLoop),
    ];
    for (number, (what, image, environment, stability, expected)) in (2..).zip(bad) {
        let mut objects = service(image, environment, what);
        objects.push(ingress());
        let release = web.release(number, objects, stability);
        let ended = web.perform(Goal::Release(release));
        assert_eq!(cause(&ended), expected, "{what}: {ended:?}");
        assert_ne!(state(&cluster, &namespace), before, "{what}: it was applied");
        let ended = web.perform(Goal::Restore(good.clone()));
        assert_eq!(ended.outcome, Outcome::Done, "back from {what}: {ended:?}");
        let after = state(&cluster, &namespace);
        assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>(), "back from {what}");
        assert_eq!(after, before, "back from {what}");
    }
}

#[test]
fn a_first_release_that_fails_leaves_everything_as_it_was() {
    let cluster = Cluster::shared();
    let api = Api::new(&cluster);
    let namespace = cluster.namespace("first");
    let image = cluster.service_image();
    let mut web = Installation::new(&api, namespace.clone());
    let adopted = json!({"apiVersion": "v1", "kind": "Service",
                         "metadata": {"name": "web", "namespace": namespace, "labels": {"of": "others"}},
                         "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}});
    cluster.apply(&adopted);
    let before = state(&cluster, &namespace);
    let release = web.release(1, service(&image, &[("CRASH", "0s")], "one"), Millis::seconds(2));
    let ended = web.perform(Goal::Release(release.clone()));
    assert_eq!(cause(&ended), ReasonCode::CrashLoop, "{ended:?}");
    let ended = web.perform(Goal::Stop(release.digest));
    assert_eq!(ended.outcome, Outcome::Done, "{ended:?}");
    assert_eq!(state(&cluster, &namespace), before, "what was there is as it was, what was created is gone");
}

#[test]
fn an_agent_that_dies_after_any_call_does_nothing_twice() {
    let cluster = Cluster::shared();
    let api = Api::new(&cluster);
    let objects = |data: &str| {
        let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": {"a": data}});
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
                             "spec": {"ports": [{"port": 80}]}});
        vec![config, service]
    };
    let mut calls = u64::MAX;
    for crash_after in 0.. {
        if crash_after > calls {
            break;
        }
        let namespace = cluster.namespace(&format!("crash-{crash_after}"));
        let mut web = Installation::new(&api, namespace.clone());
        let first = web.release(1, objects("one"), Millis::ZERO);
        let mut second = objects("two");
        // An Ingress would wait for an address, which no controller of this cluster gives.
        second.push(
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "web"},
                           "spec": {"podSelector": {}}}),
        );
        let second = web.release(2, second, Millis::ZERO);
        assert_eq!(web.perform(Goal::Release(first.clone())).outcome, Outcome::Done);
        let before = state(&cluster, &namespace);
        let ended = web.perform_with(Goal::Release(second), Some(crash_after).filter(|at| *at > 0));
        assert_eq!(ended.outcome, Outcome::Done, "crash after call {crash_after}");
        if crash_after == 0 {
            calls = ended.calls;
        }
        assert_eq!(web.perform(Goal::Restore(first)).outcome, Outcome::Done, "back after call {crash_after}");
        let after = state(&cluster, &namespace);
        assert_eq!(after, before, "crash after call {crash_after}");
    }
}
