//! Deploys on a real cluster: a good version is finished, each bad one is named by its cause and goes back whole.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use trimaran_kubernetes_driver::{Goal, content};
use trimaran_model::action::Outcome;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Millis;
use trimaran_test_env::kubernetes::Cluster;
use trimaran_test_support::wait::until;

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
                         "spec": {"selector": {"app": "old"},
                                  "ports": [{"name": "old", "port": 81, "targetPort": 8081}]}});
    cluster.apply(&adopted);
    let before = state(&cluster, &namespace);
    let release = web.release(1, service(&image, &[("CRASH", "0s")], "one"), Millis::seconds(2));
    let ended = web.perform(Goal::Release(release.clone()));
    assert_eq!(cause(&ended), ReasonCode::CrashLoop, "{ended:?}");
    let taken = cluster.list("services", &namespace).remove(0)["spec"].take();
    assert_eq!((&taken["selector"], &taken["ports"][0]["port"]), (&json!({"app": "web"}), &json!(80)));
    assert_eq!(taken["ports"].as_array().map(Vec::len), Some(1), "nothing of it is left: {taken}");
    let ended = web.perform(Goal::Stop(release.digest));
    assert_eq!(ended.outcome, Outcome::Done, "{ended:?}");
    assert_eq!(state(&cluster, &namespace), before, "what was there is as it was, what was created is gone");
}

#[test]
fn what_serves_on_a_prod_target_is_ended_only_where_others_served_before() {
    let cluster = Cluster::shared();
    let api = Api::new(&cluster);
    let (image, short) = (cluster.service_image(), Millis::seconds(2));
    let made = cluster.namespace("made");
    let mut web = Installation::new(&api, made.clone());
    web.keep_serving = true;
    let release = web.release(1, service(&image, &[], "one"), short);
    assert_eq!(web.perform(Goal::Release(release.clone())).outcome, Outcome::Done);
    let before = state(&cluster, &made);
    let paused = web.perform(Goal::Stop(release.digest));
    let Outcome::Fault(why) = paused.outcome else { panic!("{paused:?}") };
    assert_eq!(why.code, ReasonCode::PausedTraffic);
    assert!(why.message.starts_with("2 instances still serve (Deployment/web)"), "{}", why.message);
    assert_eq!(state(&cluster, &made), before, "nothing was ended");
    web.keep_serving = false;
    assert_eq!(web.perform(Goal::Stop(release.digest)).outcome, Outcome::Done);
    assert!(cluster.list("deployments", &made).is_empty());

    let taken = cluster.namespace("taken");
    let mut web = Installation::new(&api, taken.clone());
    web.keep_serving = true;
    for mut object in service(&image, &[("OF", "others")], "before") {
        object["metadata"]["namespace"] = taken.clone().into();
        cluster.apply(&object);
    }
    cluster.kubectl(&["rollout", "status", "deployment/web", "--namespace", &taken]);
    let before = state(&cluster, &taken);
    let release = web.release(1, service(&image, &[("CRASH", "0s")], "one"), short);
    let failed = web.perform(Goal::Release(release.clone()));
    assert_eq!(cause(&failed), ReasonCode::CrashLoop, "{failed:?}");
    let ended = web.perform(Goal::Stop(release.digest));
    assert_eq!(ended.outcome, Outcome::Done, "{ended:?}");
    assert_eq!(state(&cluster, &taken), before, "others serve as they did");
}

/// A StatefulSet whose pods are replaced one after the other.
fn stateful(image: &str, version: &str) -> Vec<Value> {
    let labels = json!({"app": "web"});
    let container = json!({
        "name": "web", "image": image, "env": [{"name": "VERSION", "value": version}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
    });
    let pod = json!({"dnsPolicy": "Default", "terminationGracePeriodSeconds": 1, "containers": [container]});
    vec![
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
               "spec": {"clusterIP": "None", "selector": labels, "ports": [{"port": 8080}]}}),
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web"},
               "spec": {"replicas": 2, "serviceName": "web", "selector": {"matchLabels": labels},
                        "template": {"metadata": {"labels": labels}, "spec": pod}}}),
    ]
}

/// Waits until a pod's image can't be pulled.
fn wait_for_back_off(cluster: &Cluster, namespace: &str) {
    until("an image can't be pulled", Duration::from_secs(60), || {
        let pods = cluster.list("pods", namespace);
        let waits = |pod: &Value| pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].clone();
        pods.iter().any(|pod| waits(pod) == "ImagePullBackOff").then_some(())
    });
}

#[test]
fn a_stateful_set_with_a_broken_pod_of_another_revision_goes_on() {
    let cluster = Cluster::shared();
    let api = Api::new(&cluster);
    let namespace = cluster.namespace("stateful");
    let (image, absent) = (cluster.service_image(), cluster.absent_image());
    let mut web = Installation::new(&api, namespace.clone());
    let short = Millis::seconds(2);
    let versions = || -> Vec<String> {
        let pods = cluster.list("pods", &namespace);
        let version = |pod: &Value| pod["spec"]["containers"][0]["env"][0]["value"].to_string();
        pods.iter().map(version).collect()
    };
    let good = web.release(1, stateful(&image, "1"), short);
    assert_eq!(web.perform(Goal::Release(good.clone())).outcome, Outcome::Done);
    let bad = web.release(2, stateful(&absent, "2"), short);
    let failed = web.perform(Goal::Release(bad));
    assert_eq!(cause(&failed), ReasonCode::ImagePull, "{failed:?}");
    // Its pod is not replaced by Kubernetes, whatever the template is.
    let ended = web.perform(Goal::Restore(good));
    assert_eq!(ended.outcome, Outcome::Done, "{ended:?}");
    assert_eq!(versions(), ["\"1\"", "\"1\""]);
    let edit = format!("web={absent}");
    cluster.kubectl(&["set", "image", "statefulset/web", &edit, "--namespace", &namespace]);
    wait_for_back_off(&cluster, &namespace);
    // The pod of the edit is no evidence against the release that is applied over it.
    let next = web.release(3, stateful(&image, "3"), short);
    let ended = web.perform(Goal::Release(next));
    assert_eq!(ended.outcome, Outcome::Done, "{ended:?}");
    assert_eq!(versions(), ["\"3\"", "\"3\""]);
}

/// The same with a Deployment, whose number of replicas was changed too: its controller counts first, and makes the
/// ReplicaSet of the release a moment later.
#[test]
fn a_deploy_over_an_image_that_someone_else_had_set_is_judged_by_its_own_pods() {
    let cluster = Cluster::shared();
    let api = Api::new(&cluster);
    let namespace = cluster.namespace("edited-image");
    let image = cluster.service_image();
    let mut web = Installation::new(&api, namespace.clone());
    let version = |number: &str| service(&image, &[("VERSION", number)], "one");
    let short = Millis::seconds(2);
    let first = web.release(1, version("1"), short);
    assert_eq!(web.perform(Goal::Release(first)).outcome, Outcome::Done);
    let edit = format!("web={}", cluster.absent_image());
    for number in [2, 3, 4] {
        cluster.kubectl(&["set", "image", "deployment/web", &edit, "--namespace", &namespace]);
        cluster.kubectl(&["scale", "deployment/web", "--replicas=3", "--namespace", &namespace]);
        wait_for_back_off(&cluster, &namespace);
        // The last one is an earlier template, whose ReplicaSet is there already.
        let next = web.release(number, version(if number == 2 { "2" } else { "3" }), short);
        let ended = web.perform(Goal::Release(next));
        assert_eq!(ended.outcome, Outcome::Done, "release {number}: {ended:?}");
    }
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
