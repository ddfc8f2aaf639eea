//! Each rule of the lint: what it finds with its place, and what it lets pass.

use serde_json::{Value, json};
use trimaran_kubernetes_core::finding::Severity;
use trimaran_kubernetes_core::lint::{Options, lint};
use trimaran_model::error_code::{self, ErrorCode};

const ERROR: Severity = Severity::Error;
const WARNING: Severity = Severity::Warning;

/// Requires exactly these findings: object, pointer, code and severity.
#[track_caller]
fn expect(set: &[Value], expected: &[(usize, &str, ErrorCode, Severity)]) {
    let found = lint(set, Options::default());
    let short: Vec<_> =
        found.iter().map(|it| (it.object, it.pointer.as_str(), it.code, it.severity)).collect();
    assert_eq!(short, expected, "{found:#?}");
}

#[track_caller]
fn finds_nothing(set: &[Value]) {
    expect(set, &[]);
}

fn deployment(spec: Value) -> Value {
    let mut it = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "a:1"}]}},
    }});
    merge(&mut it["spec"], spec);
    it
}

/// A Deployment whose pod spec has more.
fn pods(more: Value) -> Value {
    deployment(json!({"template": {"spec": more}}))
}

fn merge(place: &mut Value, more: Value) {
    match (place, more) {
        (Value::Object(map), Value::Object(more)) => {
            for (key, value) in more {
                merge(map.entry(key).or_insert(Value::Null), value);
            }
        }
        (place, more) => *place = more,
    }
}

/// An object of a kind with what a server asks of it.
fn named(version: &str, kind: &str, name: &str) -> Value {
    let mut it = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}});
    let spec = match kind {
        "VolumeAttributesClass" => {
            it["driverName"] = "disk.example.com".into();
            return it;
        }
        "Service" => json!({"ports": [{"port": 80}]}),
        "Job" => job(),
        "CronJob" => json!({"schedule": "0 3 * * *", "jobTemplate": {"spec": job()}}),
        "HorizontalPodAutoscaler" => {
            json!({"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "web"}})
        }
        "Ingress" => json!({"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}),
        _ => return it,
    };
    it["spec"] = spec;
    it
}

fn job() -> Value {
    json!({"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "a:1"}]}}})
}

const POD: &str = "/spec/template/spec";

#[test]
fn a_usual_set_is_good() {
    finds_nothing(&[
        named("v1", "Namespace", "shop"),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "labels": {"a": "b"}},
               "data": {"app.yaml": "{{ .Values.x }} ${y}", "n": "1"}, "binaryData": {"b": "AA=="}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "c"}, "data": {"p": "aGk="}, "stringData": {"q": "x"}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"selector": {"app": "web"},
               "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53}]}}),
        pods(json!({
            "containers": [{"name": "c", "image": "r/a@sha256:0", "args": ["{{x}}"], "command": ["a"],
                "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "n"}}}],
                "ports": [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 9153}],
                "volumeMounts": [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/b", "subPath": "app.yaml"}]}],
            "volumes": [{"name": "v", "configMap": {"name": "c"}}],
        })),
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"},
               "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}}}),
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"generateName": "migrate-"}, "spec": job()}),
        named("rbac.authorization.k8s.io/v1", "ClusterRole", "system:web"),
        named("example.com/v1", "Thing", "a.b-c"),
    ]);
}

#[test]
fn kinds_and_names_are_there() {
    let pod = json!({"containers": [{"name": "c", "image": "a:1"}]});
    expect(&[json!([1])], &[(0, "", error_code::NO_KIND, ERROR)]);
    expect(&[json!({"a": 1})], &[(0, "/kind", error_code::NO_KIND, ERROR)]);
    expect(&[json!({"kind": "Pod"})], &[(0, "/apiVersion", error_code::NO_KIND, ERROR)]);
    expect(&[json!({"kind": 7, "apiVersion": "v1"})], &[(0, "/kind", error_code::NO_KIND, ERROR)]);
    expect(&[named("v1", "Deployment", "a")], &[(0, "/apiVersion", error_code::NO_KIND, ERROR)]);
    expect(&[named("apps", "Thing", "a")], &[(0, "/apiVersion", error_code::NO_KIND, ERROR)]);
    let kustomization = json!({"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"});
    expect(&[kustomization], &[(0, "/kind", error_code::NO_KIND, ERROR)]);
    expect(
        &[json!({"apiVersion": "v1", "kind": "Pod", "spec": pod})],
        &[(0, "/metadata/name", error_code::NO_NAME, ERROR)],
    );
    expect(
        &[json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": 7}, "spec": pod})],
        &[(0, "/metadata/name", error_code::BAD_OBJECT_NAME, ERROR)],
    );
    expect(
        &[
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"generateName": "a-"}, "spec": {"ports": [{"port": 1}]}}),
        ],
        &[(0, "/metadata/generateName", error_code::NO_NAME, WARNING)],
    );
}

#[test]
fn names_are_well_formed() {
    let long = "n".repeat(64);
    let bad = [
        ("v1", "ConfigMap", "App"),
        ("v1", "ConfigMap", "a_b"),
        ("v1", "ConfigMap", "-a"),
        ("v1", "ConfigMap", "a..b"),
        ("v1", "Service", "a.b"),
        ("v1", "Service", "1a"),
        ("v1", "Service", &long),
        ("v1", "Namespace", "a.b"),
        ("batch/v1", "CronJob", &"n".repeat(53)),
        ("apps/v1", "ControllerRevision", "a_b"),
        ("v1", "ConfigMap", &"n".repeat(254)),
        ("rbac.authorization.k8s.io/v1", "Role", "a/b"),
    ];
    for (version, kind, name) in bad {
        expect(
            &[named(version, kind, name)],
            &[(0, "/metadata/name", error_code::BAD_OBJECT_NAME, ERROR)][..],
        );
    }
    for (version, kind, name) in [
        ("v1", "ConfigMap", "kube-root-ca.crt"),
        ("v1", "ConfigMap", "1a"),
        ("v1", "ConfigMap", long.as_str()),
        ("rbac.authorization.k8s.io/v1", "Role", "a:b_C"),
        ("batch/v1", "CronJob", "nightly"),
    ] {
        finds_nothing(&[named(version, kind, name)]);
    }
}

#[test]
fn objects_are_there_once() {
    let two = [named("v1", "ConfigMap", "a"), named("v1", "Secret", "a"), named("v1", "ConfigMap", "a")];
    expect(&two, &[(2, "/metadata/name", error_code::OBJECT_TWICE, ERROR)]);
    let mut other = named("v1", "ConfigMap", "a");
    other["metadata"]["namespace"] = "b".into();
    finds_nothing(&[named("v1", "ConfigMap", "a"), other.clone()]);
    let found = lint(&[named("v1", "ConfigMap", "a"), other], Options { namespace: Some("b"), targets: &[] });
    assert_eq!(found[0].code, error_code::OBJECT_TWICE);
    // One object in two versions of its kind.
    expect(
        &[
            named("autoscaling/v1", "HorizontalPodAutoscaler", "a"),
            named("autoscaling/v2", "HorizontalPodAutoscaler", "a"),
        ],
        &[(1, "/metadata/name", error_code::OBJECT_TWICE, ERROR)],
    );
}

#[test]
fn namespaces_are_those_of_the_targets() {
    let mut it = named("v1", "ConfigMap", "a");
    it["metadata"]["namespace"] = "shop".into();
    let targets = [("eu".to_owned(), "shop".to_owned()), ("us".to_owned(), "store".to_owned())];
    let found = lint(std::slice::from_ref(&it), Options { namespace: None, targets: &targets[..1] });
    assert!(found.is_empty(), "{found:?}");
    let found = lint(std::slice::from_ref(&it), Options { namespace: None, targets: &targets });
    assert_eq!(
        (found[0].code, found[0].pointer.as_str()),
        (error_code::OTHER_NAMESPACE, "/metadata/namespace")
    );
    assert!(found[0].message.contains("`us`"), "{}", found[0].message);
    let mut role = named("rbac.authorization.k8s.io/v1", "ClusterRole", "a");
    role["metadata"]["namespace"] = "shop".into();
    expect(&[role], &[(0, "/metadata/namespace", error_code::OTHER_NAMESPACE, WARNING)]);
    it["metadata"]["namespace"] = "Shop".into();
    expect(&[it], &[(0, "/metadata/namespace", error_code::BAD_OBJECT_NAME, ERROR)]);
}

#[test]
fn templates_are_rendered() {
    let unrendered = error_code::UNRENDERED;
    expect(&[named("v1", "ConfigMap", "{{ .Release.Name }}")], &[(0, "/metadata/name", unrendered, ERROR)]);
    expect(&[named("v1", "ConfigMap", "web-${VERSION}")], &[(0, "/metadata/name", unrendered, ERROR)]);
    let container = json!({"containers": [{"name": "c", "image": "a:${TAG}"}]});
    expect(&[pods(container)], &[(0, &format!("{POD}/containers/0/image"), unrendered, ERROR)]);
    let labels = json!({"template": {"metadata": {"labels": {"v": "{{ x }}"}}}});
    expect(&[deployment(labels)], &[(0, "/spec/template/metadata/labels/v", unrendered, ERROR)]);
    let helm = json!({"replicas": "{{ .Values.replicas }}"});
    expect(&[deployment(helm)], &[(0, "/spec/replicas", unrendered, ERROR)]);
    finds_nothing(&[
        json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": "a"},
                  "spec": {"templates": [{"container": {"image": "{{inputs.parameters.image}}"}}]}}),
    ]);
}

#[test]
fn texts_have_their_quotes() {
    let not_text = error_code::NOT_TEXT;
    let container = json!({"containers": [{"name": "c", "image": "a:1", "args": ["a", 1], "env": [{"name": "A", "value": true}]}]});
    expect(
        &[pods(container)],
        &[
            (0, &format!("{POD}/containers/0/args/1"), not_text, ERROR),
            (0, &format!("{POD}/containers/0/env/0/value"), not_text, ERROR),
        ],
    );
    let mut map = named("v1", "ConfigMap", "a");
    map["data"] = json!({"a": 1, "b": {"c": 1}, "d": null, "e": "x"});
    map["metadata"]["annotations"] = json!({"x/y": true});
    map["metadata"]["labels"] = json!({"l": 1.5});
    expect(
        &[map],
        &[
            (0, "/data/a", not_text, ERROR),
            (0, "/data/b", not_text, ERROR),
            (0, "/data/d", error_code::NULL_VALUE, WARNING),
            (0, "/metadata/annotations/x~1y", not_text, ERROR),
            (0, "/metadata/labels/l", not_text, ERROR),
        ],
    );
    let mut map = named("v1", "ConfigMap", "a");
    map["data"] = json!("text");
    expect(&[map], &[(0, "/data", not_text, ERROR)]);
}

#[test]
fn labels_are_well_formed() {
    let mut it = named("v1", "ConfigMap", "a");
    it["metadata"]["labels"] = json!({
        "ok": "", "a/b": "v1.2_x-Y", "a b": "x", "c": "a b", "d": "n".repeat(64), "e": "-x", "helm.sh/chart": "a+b",
    });
    let bad = error_code::BAD_LABEL;
    expect(
        &[it],
        &[
            (0, "/metadata/labels/a b", bad, ERROR),
            (0, "/metadata/labels/c", bad, ERROR),
            (0, "/metadata/labels/d", bad, ERROR),
            (0, "/metadata/labels/e", bad, ERROR),
            (0, "/metadata/labels/helm.sh~1chart", bad, ERROR),
        ],
    );
}

#[test]
fn keys_of_lists_are_there_once() {
    let twice = error_code::LIST_KEY_TWICE;
    let cases: &[(Value, &str)] = &[
        (
            json!({"containers": [{"name": "a", "image": "a:1"}, {"name": "a", "image": "a:1"}]}),
            "containers/1/name",
        ),
        (json!({"initContainers": [{"name": "c", "image": "a:1"}]}), "initContainers/0/name"),
        (json!({"volumes": [{"name": "v"}, {"name": "v"}]}), "volumes/1/name"),
        (json!({"imagePullSecrets": [{"name": "v"}, {"name": "v"}]}), "imagePullSecrets/1/name"),
        (json!({"hostAliases": [{"ip": "1"}, {"ip": "1"}]}), "hostAliases/1/ip"),
        (
            json!({"containers": [{"name": "c", "image": "a:1", "env": [{"name": "A"}, {"name": "B"}, {"name": "A"}]}]}),
            "containers/0/env/2/name",
        ),
        (
            json!({"containers": [{"name": "c", "image": "a:1", "ports": [{"containerPort": 1, "protocol": "TCP"}, {"containerPort": 1}]}]}),
            "containers/0/ports/1/containerPort",
        ),
        (
            json!({"volumes": [{"name": "v"}],
                   "containers": [{"name": "c", "image": "a:1", "volumeMounts": [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/a"}]}]}),
            "containers/0/volumeMounts/1/mountPath",
        ),
        (
            json!({"topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"},
                {"maxSkew": 2, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}]}),
            "topologySpreadConstraints/1/topologyKey",
        ),
    ];
    for (more, place) in cases {
        expect(&[pods(more.clone())], &[(0, &format!("{POD}/{place}"), twice, ERROR)]);
    }
    let service = |ports: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": ports}});
    let ports = json!([{"name": "a", "port": 80}, {"name": "b", "port": 80, "protocol": "TCP"}]);
    expect(&[service(ports)], &[(0, "/spec/ports/1/port", twice, ERROR)]);
    let ports = json!([{"name": "a", "port": 80}, {"name": "a", "port": 81}]);
    expect(&[service(ports)], &[(0, "/spec/ports/1/name", twice, ERROR)]);
    expect(
        &[service(json!([{"name": "a", "port": 80}, {"port": 81}]))],
        &[(0, "/spec/ports/1", twice, ERROR)],
    );
    finds_nothing(&[service(json!([{"port": 80}]))]);
}

#[test]
fn one_port_for_two_protocols_is_warned_of() {
    let twice = error_code::LIST_KEY_TWICE;
    let ports = |ports: Value| pods(json!({"containers": [{"name": "c", "image": "a:1", "ports": ports}]}));
    let dns = json!([{"containerPort": 53}, {"containerPort": 53, "protocol": "UDP"}]);
    expect(&[ports(dns)], &[(0, &format!("{POD}/containers/0/ports/1/containerPort"), twice, WARNING)]);
    finds_nothing(&[ports(json!([{"containerPort": 53}, {"containerPort": 54, "protocol": "UDP"}]))]);
}

#[test]
fn sizes_are_within_bounds() {
    let large = error_code::OBJECT_TOO_LARGE;
    let map = |section: &str, text: String| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, section: {"k": text}});
    finds_nothing(&[map("data", "x".repeat(1 << 20))]);
    expect(&[map("data", "x".repeat((1 << 20) + 1))], &[(0, "/data", large, ERROR)]);
    // Base64 is counted as the bytes that it encodes.
    finds_nothing(&[map("binaryData", "AAAA".repeat((1 << 20) / 3))]);
    expect(&[map("binaryData", "AAAA".repeat((1 << 20) / 3 + 1))], &[(0, "/binaryData", large, ERROR)]);
    let mut it = named("example.com/v1", "Thing", "a");
    it["metadata"]["annotations"] = json!({"a": "x".repeat(256 << 10)});
    expect(&[it], &[(0, "/metadata/annotations", large, ERROR)]);
    let mut it = named("example.com/v1", "Thing", "a");
    it["spec"] = "x".repeat(1536 << 10).into();
    expect(&[it], &[(0, "", large, ERROR)]);
}

#[test]
fn configuration_holds_what_is_asked_of_it() {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"k": "v"}});
    let reference = |key: &str, optional: bool| {
        pods(
            json!({"containers": [{"name": "c", "image": "a:1", "env": [{"name": "A", "valueFrom": {"configMapKeyRef":
            {"name": "m", "key": key, "optional": optional}}}]}]}),
        )
    };
    let missing = error_code::CONFIG_KEY_MISSING;
    let place = format!("{POD}/containers/0/env/0/valueFrom/configMapKeyRef/key");
    expect(&[map.clone(), reference("x", false)], &[(1, &place, missing, ERROR)]);
    finds_nothing(&[map.clone(), reference("k", false)]);
    finds_nothing(&[map.clone(), reference("x", true)]);
    finds_nothing(&[reference("x", false)]);
    let mut elsewhere = reference("x", false);
    elsewhere["metadata"]["namespace"] = "other".into();
    finds_nothing(&[map.clone(), elsewhere]);
    let volume = pods(
        json!({"volumes": [{"name": "v", "configMap": {"name": "m", "items": [{"key": "x", "path": "y"}]}}]}),
    );
    let place = format!("{POD}/volumes/0/configMap/items/0/key");
    expect(&[map.clone(), volume], &[(1, &place, missing, ERROR)]);
    let mount = |sub_path: &str| {
        pods(
            json!({"volumes": [{"name": "v", "configMap": {"name": "m"}}], "containers": [{"name": "c", "image": "a:1",
            "volumeMounts": [{"name": "v", "mountPath": "/a", "subPath": sub_path}]}]}),
        )
    };
    let place = format!("{POD}/containers/0/volumeMounts/0/subPath");
    expect(&[map.clone(), mount("x")], &[(1, &place, missing, WARNING)]);
    finds_nothing(&[map, mount("k")]);
    let empty = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}});
    let user = pods(
        json!({"containers": [{"name": "c", "image": "a:1", "env": [{"name": "A", "valueFrom": {"secretKeyRef":
        {"name": "s", "key": "x"}}}]}]}),
    );
    finds_nothing(&[empty, user]);
}

#[test]
fn secrets_are_base64() {
    let secret = |value: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": value}});
    for bad in ["hunter2!", "aGk", "a", "aG k="] {
        expect(&[secret(bad)], &[(0, "/data/k", error_code::BAD_BASE64, ERROR)]);
    }
    for fine in ["", "aGk=", "aGk=\n", "YWJj\nZGVm"] {
        finds_nothing(&[secret(fine)]);
    }
    let keys =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a/b": "x"}});
    expect(&[keys], &[(0, "/stringData/a~1b", error_code::BAD_CONFIG_KEY, ERROR)]);
}

#[test]
fn selectors_fit_their_pods() {
    let selector = error_code::SELECTOR;
    let place = "/spec/selector/matchLabels/app";
    let other = json!({"selector": {"matchLabels": {"app": "other"}}});
    expect(&[deployment(other)], &[(0, place, selector, ERROR)]);
    let more = json!({"selector": {"matchLabels": {"tier": "x"}}});
    expect(&[deployment(more)], &[(0, "/spec/selector/matchLabels/tier", selector, ERROR)]);
    let mut without = deployment(json!({}));
    without["spec"].as_object_mut().unwrap().remove("selector");
    expect(&[without], &[(0, "/spec/selector", selector, ERROR)]);
    let expressions = |operator: &str, values: Value| {
        deployment(
            json!({"selector": {"matchExpressions": [{"key": "app", "operator": operator, "values": values}]}}),
        )
    };
    finds_nothing(&[expressions("In", json!(["web"]))]);
    finds_nothing(&[expressions("NotIn", json!(["x"]))]);
    finds_nothing(&[expressions("Exists", json!(null))]);
    for (operator, values) in [("In", json!(["x"])), ("NotIn", json!(["web"])), ("DoesNotExist", json!(null))]
    {
        expect(
            &[expressions(operator, values)],
            &[(0, "/spec/selector/matchExpressions/0", selector, ERROR)],
        );
    }
}

#[test]
fn what_can_never_change_does_not_hold_what_does() {
    let immutable = error_code::IMMUTABLE;
    let labels = json!({"app": "web", "app.kubernetes.io/version": "1.2"});
    let versioned =
        json!({"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}});
    let place = "/spec/selector/matchLabels/app.kubernetes.io~1version";
    expect(&[deployment(versioned)], &[(0, place, immutable, WARNING)]);
    let job = named("batch/v1", "Job", "migrate");
    expect(&[job], &[(0, "/metadata/name", immutable, WARNING)]);
    finds_nothing(&[named("batch/v1", "Job", "migrate-v2"), named("batch/v1", "Job", "migrate-6ct58987ht")]);
    let mut set = deployment(
        json!({"volumeClaimTemplates": [{"metadata": {"name": "d", "labels": {"helm.sh/chart": "a-1"}}}]}),
    );
    set["kind"] = "StatefulSet".into();
    let place = "/spec/volumeClaimTemplates/0/metadata/labels/helm.sh~1chart";
    expect(&[set], &[(0, place, immutable, WARNING)]);
}

#[test]
fn rollouts_have_room() {
    let stuck = error_code::ROLLOUT_STUCK;
    let update =
        |update: Value| deployment(json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": update}}));
    let place = "/spec/strategy/rollingUpdate/maxUnavailable";
    for zeros in
        [json!({"maxUnavailable": 0, "maxSurge": 0}), json!({"maxUnavailable": "0%", "maxSurge": "0%"})]
    {
        expect(&[update(zeros)], &[(0, place, stuck, ERROR)]);
    }
    finds_nothing(&[update(json!({"maxUnavailable": 0})), update(json!({"maxUnavailable": 0}))][..1]);
    finds_nothing(&[update(json!({"maxSurge": 0}))]);
    let recreate = deployment(json!({"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}}));
    expect(&[recreate], &[(0, "/spec/strategy/rollingUpdate", stuck, ERROR)]);
    let daemon = |update: Value| {
        let mut it = deployment(json!({"updateStrategy": {"rollingUpdate": update}}));
        it["kind"] = "DaemonSet".into();
        it
    };
    expect(
        &[daemon(json!({"maxUnavailable": 0}))],
        &[(0, "/spec/updateStrategy/rollingUpdate/maxUnavailable", stuck, ERROR)],
    );
    finds_nothing(&[daemon(json!({"maxUnavailable": 0, "maxSurge": 1}))]);
    finds_nothing(&[daemon(json!({}))]);
    expect(&[deployment(json!({"minReadySeconds": 600}))], &[(0, "/spec/minReadySeconds", stuck, ERROR)]);
    finds_nothing(&[deployment(json!({"minReadySeconds": 600, "progressDeadlineSeconds": 900}))]);
}

#[test]
fn volumes_of_one_pod_are_not_shared() {
    let stuck = error_code::ROLLOUT_STUCK;
    let claim = |mode: &str| json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "d"}, "spec": {"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}}});
    let user = |more: Value| {
        let mut it = pods(json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "d"}}]}));
        merge(&mut it["spec"], more);
        it
    };
    let place = format!("{POD}/volumes/0/persistentVolumeClaim/claimName");
    expect(&[claim("ReadWriteOnce"), user(json!({}))], &[(1, &place, stuck, WARNING)]);
    expect(&[claim("ReadWriteOncePod"), user(json!({}))], &[(1, &place, stuck, WARNING)]);
    finds_nothing(&[claim("ReadWriteMany"), user(json!({}))]);
    finds_nothing(&[user(json!({}))]);
    finds_nothing(&[claim("ReadWriteOnce"), user(json!({"strategy": {"type": "Recreate"}}))]);
    let no_surge = json!({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}});
    finds_nothing(&[claim("ReadWriteOnce"), user(no_surge.clone())]);
    let mut three = no_surge;
    three["replicas"] = 3.into();
    expect(&[claim("ReadWriteOnce"), user(three)], &[(1, &place, stuck, WARNING)]);
}

#[test]
fn nodes_can_be_drained() {
    let blocked = error_code::DISRUPTION_BLOCKED;
    let budget = |spec: Value| {
        let mut it = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"},
                            "spec": {"selector": {"matchLabels": {"app": "web"}}}});
        merge(&mut it["spec"], spec);
        it
    };
    expect(&[budget(json!({"maxUnavailable": 0}))], &[(0, "/spec/maxUnavailable", blocked, WARNING)]);
    expect(&[budget(json!({"maxUnavailable": "0%"}))], &[(0, "/spec/maxUnavailable", blocked, WARNING)]);
    expect(&[budget(json!({"minAvailable": "100%"}))], &[(0, "/spec/minAvailable", blocked, WARNING)]);
    expect(
        &[budget(json!({"minAvailable": 1, "maxUnavailable": 1}))],
        &[(0, "/spec/maxUnavailable", blocked, ERROR)],
    );
    let one = || deployment(json!({}));
    expect(&[budget(json!({"minAvailable": 1})), one()], &[(0, "/spec/minAvailable", blocked, WARNING)]);
    finds_nothing(&[budget(json!({"minAvailable": 1})), deployment(json!({"replicas": 2}))]);
    finds_nothing(&[budget(json!({"minAvailable": 1}))]);
    let scaler = |minimum: i64| {
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
               "spec": {"minReplicas": minimum, "maxReplicas": 9, "scaleTargetRef": {"kind": "Deployment", "name": "web"}}})
    };
    finds_nothing(&[budget(json!({"minAvailable": 1})), one(), scaler(2)]);
    expect(
        &[budget(json!({"minAvailable": 2})), one(), scaler(2)],
        &[(0, "/spec/minAvailable", blocked, WARNING)],
    );
    expect(
        &[deployment(json!({"replicas": 2})), scaler(2)],
        &[(0, "/spec/replicas", error_code::REPLICAS_SCALED, WARNING)],
    );
}

#[test]
fn versions_are_served() {
    let removed = [
        ("extensions/v1beta1", "Ingress"),
        ("extensions/v1beta1", "Deployment"),
        ("apps/v1beta2", "ControllerRevision"),
        ("policy/v1beta1", "PodDisruptionBudget"),
        ("batch/v1beta1", "CronJob"),
        ("autoscaling/v2beta2", "HorizontalPodAutoscaler"),
        ("networking.k8s.io/v1beta1", "Ingress"),
        ("apiextensions.k8s.io/v1beta1", "CustomResourceDefinition"),
    ];
    for (version, kind) in removed {
        expect(&[named(version, kind, "a")], &[(0, "/apiVersion", error_code::API_REMOVED, ERROR)]);
    }
    for (version, kind) in [
        ("batch/v1", "CronJob"),
        ("networking.k8s.io/v1", "Ingress"),
        ("storage.k8s.io/v1beta1", "VolumeAttributesClass"),
    ] {
        finds_nothing(&[named(version, kind, "a")]);
    }
}

#[test]
fn fields_of_the_server_are_named_once() {
    let mut it = named("example.com/v1", "Thing", "a");
    merge(
        &mut it,
        json!({"metadata": {"uid": "u", "resourceVersion": "1", "creationTimestamp": null}, "status": {"a": 1}}),
    );
    expect(std::slice::from_ref(&it), &[(0, "/metadata/uid", error_code::SERVER_FIELD, WARNING)]);
    let found = lint(&[it], Options::default());
    assert_eq!(found[0].message, "fields of the server are in the file: uid, resourceVersion, status");
    let mut it = named("example.com/v1", "Thing", "a");
    merge(&mut it, json!({"metadata": {"creationTimestamp": null}, "status": {}}));
    finds_nothing(&[it]);
}

#[test]
fn mounts_have_volumes() {
    let mount = json!({"containers": [{"name": "c", "image": "a:1", "volumeMounts": [{"name": "d", "mountPath": "/d"}]}]});
    let place = format!("{POD}/containers/0/volumeMounts/0/name");
    expect(&[pods(mount.clone())], &[(0, &place, error_code::VOLUME_MISSING, ERROR)]);
    let mut set = pods(mount);
    merge(
        &mut set,
        json!({"kind": "StatefulSet", "spec": {"volumeClaimTemplates": [{"metadata": {"name": "d"}}]}}),
    );
    finds_nothing(&[set]);
}

#[test]
fn large_sets_take_one_pass() {
    // Pairs of a workload and a budget, which are matched by label.
    let set: Vec<Value> = (0..2_000)
        .flat_map(|n| {
            let labels = json!({"app": format!("a{n}")});
            let mut one = deployment(json!({"replicas": 2, "selector": {"matchLabels": labels},
                                            "template": {"metadata": {"labels": labels}}}));
            one["metadata"]["name"] = format!("a{n}").into();
            let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
                                "metadata": {"name": format!("a{n}")},
                                "spec": {"minAvailable": 2, "selector": {"matchLabels": labels}}});
            [one, budget]
        })
        .collect();
    let found = lint(&set, Options::default());
    assert_eq!(found.len(), 2_000);
    assert!(found.iter().all(|it| it.code == error_code::DISRUPTION_BLOCKED));
}
