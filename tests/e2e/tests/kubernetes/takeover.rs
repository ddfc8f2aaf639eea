//! What others have in the namespace: it is put back when a first release fails, what they edit is printed, and nothing of
//! theirs is swept.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use trimaran_e2e::lab::Lab;
use trimaran_test_env::kubernetes::Cluster;
use trimaran_test_support::wait::until;

use crate::shop::{Shape, Shop, printed, write};

/// Every object of these kinds with all that its owner wrote, and who owns the fields.
fn state(shop: &Shop<'_>, kinds: &str) -> BTreeMap<String, Value> {
    let text = shop.cluster.kubectl(&[
        "get",
        kinds,
        "--namespace",
        &shop.namespace,
        "--show-managed-fields",
        "--output",
        "json",
    ]);
    let list: Value = serde_json::from_str(&text).expect("kubectl prints JSON");
    let objects = list["items"].as_array().expect("a list has items");
    let named = objects.iter().map(|it| (format!("{}/{}", it["kind"], it["metadata"]["name"]), owned(it)));
    named.filter(|(name, _)| !name.contains("kube-root-ca.crt")).collect()
}

/// Without what a server or a controller counts.
fn owned(object: &Value) -> Value {
    let mut object = object.clone();
    object["status"] = Value::Null;
    let metadata = object["metadata"].as_object_mut().expect("an object has metadata");
    for name in ["resourceVersion", "generation"] {
        metadata.remove(name);
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove("deployment.kubernetes.io/revision");
    }
    let owners = metadata.get_mut("managedFields").and_then(Value::as_array_mut).into_iter().flatten();
    for owner in owners {
        owner.as_object_mut().expect("an entry is a map").remove("time");
    }
    // What controllers write is not the owner's.
    if let Some(owners) = metadata.get_mut("managedFields").and_then(Value::as_array_mut) {
        owners.retain(|it| it["manager"] != "kube-controller-manager");
    }
    object
}

fn deployment(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"team": "old"}, "annotations": {"owner": "team-old"}},
        "spec": {
            "replicas": 2, "revisionHistoryLimit": 3, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
                "dnsPolicy": "Default", "terminationGracePeriodSeconds": 1,
                "containers": [{
                    "name": "web", "image": image, "env": [{"name": "MODE", "value": "old"}],
                    "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
                }, {
                    "name": "side", "image": image, "env": [{"name": "PORT", "value": "8081"}],
                }],
            }},
        },
    })
}

#[test]
fn what_was_there_before_a_first_release_that_fails_is_as_it_was() {
    let lab = Lab::fresh(1);
    let cluster = Cluster::shared();
    // Of class prod: instances from before serve all the time, and no one has to decide what becomes of them.
    let shop = Shop::new(&lab, &cluster, "before", &Shape::default());
    let good = shop.version("v0", &[]);
    let image = format!("{}@{}", shop.repository, good.split_once('@').expect("a digest").1);
    let service = json!({"apiVersion": "v1", "kind": "Service",
                         "metadata": {"name": "web", "annotations": {"owner": "team-old"}},
                         "spec": {"selector": {"app": "web"}, "ports": [{"name": "old", "port": 81, "targetPort": 8080}]}});
    for mut object in [deployment(&image), service] {
        object["metadata"]["namespace"] = shop.namespace.clone().into();
        cluster.apply(&object);
    }
    cluster.kubectl(&["rollout", "status", "deployment/web", "--namespace", &shop.namespace]);
    let kinds = "deployments,services,configmaps,secrets";
    let before = state(&shop, kinds);
    let serving = shop.ready_pods();
    let deployed = shop.deploy(&shop.version("v1", &["CRASH=0s"]));
    assert_eq!(deployed.status.code(), Some(3), "{}", printed(&deployed));
    let why = shop.why();
    assert!(why.contains("exit code 1"), "{why}");
    assert_eq!(state(&shop, kinds), before, "every field and its owner, and nothing besides");
    until("the pods from before are the only ones", Duration::from_secs(30), || {
        (shop.ready_pods() == serving).then_some(())
    });
    let again = shop.deploy(&shop.version("v2", &[]));
    assert_eq!(again.status.code(), Some(0), "it can be taken over again: {}", printed(&again));
}

#[test]
fn an_edit_by_someone_else_is_said_and_ends_no_bake() {
    let lab = Lab::fresh(1);
    let cluster = Cluster::shared();
    let shop = Shop::new(&lab, &cluster, "edited", &Shape { bake: "10m", ..Shape::default() });
    let deployed = shop.deploy(&shop.version("v1", &[]));
    assert_eq!(deployed.status.code(), Some(0), "{}", printed(&deployed));
    shop.wait_installation("v1", "healthy");
    let in_shop =
        |arguments: &[&str]| cluster.kubectl(&[arguments, &["--namespace", &shop.namespace]].concat());
    in_shop(&["scale", "deployment/web", "--replicas=3"]);
    in_shop(&["label", "service/web", "seen=yes"]);
    let patch = r#"{"spec":{"ports":[{"port":80,"targetPort":8081}]}}"#;
    in_shop(&["patch", "service/web", "--patch", patch]);
    // The third pod starts meanwhile.
    let edited = until("it is healthy, and not as it was released", Duration::from_secs(60), || {
        let it = shop.installation();
        (it["health"] == "healthy" && it["code"] == "diverged").then_some(it)
    });
    let message = edited["message"].as_str().unwrap_or_default();
    assert!(message.contains("Service/web") && message.contains("targetPort"), "{message}");
    let why = shop.why();
    assert!(why.contains("diverged") && why.contains("Service/web"), "{why}");
    let image = format!("web={}@sha256:{}", shop.repository, "0e".repeat(32));
    in_shop(&["set", "image", "deployment/web", &image]);
    let unknown = until("the edit fails", Duration::from_secs(60), || {
        let it = shop.installation();
        (it["health"] == "unknown").then_some(it)
    });
    assert_eq!(unknown["code"], "diverged", "{unknown:#}");
    std::thread::sleep(Duration::from_secs(5));
    let runs = lab.json(&["run", "list"]);
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(1), "nothing goes back for it: {runs:#}");
    assert!(!shop.installation()["bakes_until"].is_null(), "its bake goes on");
    // The number of replicas changes back, too: the controller counts before it makes pods of the release, and those of
    // the edit are no evidence against it.
    let over = shop.deploy(&shop.version("v2", &[]));
    assert_eq!(over.status.code(), Some(0), "{}", printed(&over));
    let healthy = shop.wait_installation("v2", "healthy");
    assert_eq!(healthy["code"], Value::Null, "nothing of it is of others: {healthy:#}");
    assert_eq!(shop.serving().len(), 2, "{:?}", shop.serving());
    // What ran before the edit comes back over an edit in the same way: its ReplicaSet is there already.
    in_shop(&["set", "image", "deployment/web", &image]);
    until("the edit fails again", Duration::from_secs(60), || {
        (shop.installation()["health"] == "unknown").then_some(())
    });
    let again = shop.deploy(&shop.version("v2", &[]));
    assert_eq!(again.status.code(), Some(0), "{}", printed(&again));
    shop.wait_installation("v2", "healthy");
}

#[test]
fn a_field_that_the_release_does_not_set_is_no_edit() {
    let lab = Lab::fresh(1);
    let cluster = Cluster::shared();
    let shop = Shop::new(&lab, &cluster, "unset", &Shape::default());
    let deployed = shop.deploy(&shop.version("v1", &[]));
    assert_eq!(deployed.status.code(), Some(0), "{}", printed(&deployed));
    shop.wait_installation("v1", "healthy");
    let patch = |object: &str, patch: &str| {
        cluster.kubectl(&["patch", object, "--namespace", &shop.namespace, "--patch", patch]);
    };
    // Defaults of the server's, which no manifest of the shop sets.
    patch("deployment/web", r#"{"spec":{"progressDeadlineSeconds":123,"revisionHistoryLimit":4}}"#);
    patch("service/web", r#"{"spec":{"sessionAffinity":"ClientIP"}}"#);
    // Objects are looked at in the order of their kinds: the Deployment would be said before the Service.
    patch("service/web", r#"{"spec":{"ports":[{"port":80,"targetPort":8081}]}}"#);
    let edited = until("the edit is said", Duration::from_secs(60), || {
        let it = shop.installation();
        (it["code"] == "diverged").then_some(it)
    });
    let message = edited["message"].as_str().unwrap_or_default();
    assert!(message.contains("Service/web") && message.contains("targetPort"), "{message}");
    assert!(!message.contains("Deployment") && !message.contains("progressDeadline"), "{message}");
    // And a deploy over it neither takes them back nor stops for them.
    let over = shop.deploy(&shop.version("v2", &[]));
    assert_eq!(over.status.code(), Some(0), "{}", printed(&over));
    let healthy = shop.wait_installation("v2", "healthy");
    assert_eq!(healthy["code"], Value::Null, "{healthy:#}");
    let spec = &cluster.list("deployments", &shop.namespace)[0]["spec"];
    assert_eq!((&spec["progressDeadlineSeconds"], &spec["revisionHistoryLimit"]), (&json!(123), &json!(4)));
}

#[test]
fn versions_of_configuration_go_when_nothing_needs_them_and_never_those_of_others() {
    let lab = Lab::fresh(1);
    let cluster = Cluster::shared();
    let shop = Shop::new(&lab, &cluster, "swept", &Shape::default());
    let others = json!({"apiVersion": "v1", "kind": "ConfigMap",
                        "metadata": {"name": "web-2m8c7k6m7g", "namespace": shop.namespace,
                                     "labels": {"trimaran.dev/config-base": "web"}},
                        "data": {"text": "of others"}});
    cluster.apply(&others);
    let artifact = shop.version("v1", &[]);
    let mut versions = Vec::new();
    for text in ["one", "two", "three", "four", "five"] {
        shop.configure(text, "text");
        let file = format!("{}/web.yaml", "swept");
        let manifests = std::fs::read_to_string(lab.folder.path().join(&file)).expect("a file");
        write(&lab, &file, &manifests.replace("  replicas: 2", "  revisionHistoryLimit: 0\n  replicas: 1"));
        let deployed = shop.deploy(&artifact);
        assert_eq!(deployed.status.code(), Some(0), "{text}: {}", printed(&deployed));
        versions.push(shop.version_of_config(text));
    }
    let left = shop.objects();
    let is_there = |name: &String| left.contains(&format!("ConfigMap/{name}"));
    let there: Vec<bool> = versions.iter().map(is_there).collect();
    assert_eq!(there, [false, false, true, true, true], "{versions:?} {left:?}");
    assert!(left.contains(&"ConfigMap/web-2m8c7k6m7g".to_owned()), "{left:?}");
    // What is kept is what a rollback needs.
    let back = lab.run(&["rollback", "swept", "--env", "prod", "--yes", "--wait", "--timeout", "2m"]);
    assert_eq!(back.status.code(), Some(0), "{}", printed(&back));
    assert!(shop.serving().iter().all(|(_, text)| text == "four"), "{:?}", shop.serving());
}
