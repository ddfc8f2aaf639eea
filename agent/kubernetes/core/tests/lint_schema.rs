//! Fields and types that server-side apply refuses, and everything near to them that it takes.

use serde_json::{Value, json};
use trimaran_kubernetes_core::finding::{Finding, Severity};
use trimaran_kubernetes_core::lint::{Options, lint};
use trimaran_model::error_code::{self, ErrorCode};

const UNKNOWN: ErrorCode = error_code::OBJECT_FIELD_UNKNOWN;
const TYPE: ErrorCode = error_code::OBJECT_FIELD_TYPE;
const NULL: ErrorCode = error_code::NULL_VALUE;

fn findings(object: &Value) -> Vec<Finding> {
    lint(std::slice::from_ref(object), Options::default())
}

/// Requires one finding: its pointer, code, severity, and a part of its message and help.
#[track_caller]
fn expect(object: &Value, pointer: &str, code: ErrorCode, severity: Severity, part: &str) {
    let found = findings(object);
    let short: Vec<_> = found.iter().map(|it| (it.pointer.as_str(), it.code, it.severity)).collect();
    assert_eq!(short, [(pointer, code, severity)], "{found:#?}");
    let text = format!("{}; {}", found[0].message, found[0].help);
    assert!(text.contains(part), "{text}");
}

#[track_caller]
fn error(object: &Value, pointer: &str, code: ErrorCode, part: &str) {
    expect(object, pointer, code, Severity::Error, part);
}

#[track_caller]
fn passes(object: &Value) {
    let found = findings(object);
    assert!(found.is_empty(), "{found:#?}");
}

fn named(version: &str, kind: &str, spec: Value) -> Value {
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": "web"}, "spec": spec})
}

/// A Deployment whose pod spec has these fields too.
fn pods(more: Value) -> Value {
    let mut spec = json!({"containers": [{"name": "web", "image": "a:1"}]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": spec});
    named("apps/v1", "Deployment", json!({"selector": {"matchLabels": {"app": "web"}}, "template": template}))
}

/// A Deployment whose container has these fields too.
fn container(more: Value) -> Value {
    let mut one = json!({"name": "web", "image": "a:1"});
    one.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    pods(json!({"containers": [one]}))
}

const SPEC: &str = "/spec/template/spec";
const CONTAINER: &str = "/spec/template/spec/containers/0";

#[test]
fn a_field_that_is_misspelt_is_named_with_the_nearest_one() {
    let cases = [
        (container(json!({"imagePullPolcy": "Always"})), "imagePullPolcy", "did you mean `imagePullPolicy`?"),
        (container(json!({"volumeMount": []})), "volumeMount", "did you mean `volumeMounts`?"),
        (container(json!({"livenessprobe": {}})), "livenessprobe", "did you mean `livenessProbe`?"),
        (container(json!({"enviroment": []})), "enviroment", "Container has no field `enviroment`"),
    ];
    for (object, field, part) in cases {
        error(&object, &format!("{CONTAINER}/{field}"), UNKNOWN, part);
    }
    let mut object = named("v1", "Service", json!({"ports": [{"port": 80}]}));
    object["metadata"]["lables"] = json!({"a": "b"});
    error(&object, "/metadata/lables", UNKNOWN, "did you mean `labels`?");
}

#[test]
fn a_field_at_the_wrong_depth_is_sent_to_the_right_one() {
    let variable = json!({"name": "KEY", "valueFrom": null, "secretKeyRef": {"name": "m", "key": "k"}});
    let place = format!("{CONTAINER}/env/0/secretKeyRef");
    error(&container(json!({"env": [variable]})), &place, UNKNOWN, "move it into `valueFrom`");
    let ports = json!({"ports": [{"containerPort": 80, "resources": {}}]});
    let place = format!("{CONTAINER}/ports/0/resources");
    error(&container(ports), &place, UNKNOWN, "it is a field of Container: move it there");
    let place = format!("{SPEC}/replicas");
    error(&pods(json!({"replicas": 2})), &place, UNKNOWN, "it is a field of DeploymentSpec: move it there");
    let place = format!("{CONTAINER}/cpu");
    error(&container(json!({"cpu": "1"})), &place, UNKNOWN, "Container has no field `cpu`");
    let probe = json!({"livenessProbe": {"path": "/", "port": 80}});
    let found = findings(&container(probe));
    let helps: Vec<_> = found.iter().map(|it| it.help.as_str()).collect();
    assert_eq!(helps, ["move it into `httpGet`", "move it into `grpc`"], "{found:#?}");
}

#[test]
fn values_of_another_type() {
    let service = |port: Value| named("v1", "Service", json!({"ports": [port]}));
    let number = "`port` is a whole number of 32 bits, not the text \"80\"; remove the quotes";
    error(&service(json!({"port": "80"})), "/spec/ports/0/port", TYPE, number);
    let name = "not the text \"8080\"; remove the quotes";
    error(&service(json!({"port": 80, "targetPort": "8080"})), "/spec/ports/0/targetPort", TYPE, name);
    let cases = [
        (json!({"env": {"A": "b"}}), "env", "`env` is a list, not a map; write each item behind a dash"),
        (json!({"resources": []}), "resources", "`resources` is a map, not a list"),
        (json!({"tty": "true"}), "tty", "`tty` is a truth value, not the text \"true\""),
        (
            json!({"livenessProbe": {"grpc": {"port": 1}, "periodSeconds": "10"}}),
            "livenessProbe/periodSeconds",
            "remove the quotes",
        ),
        (
            json!({"livenessProbe": {"grpc": {"port": 1}, "periodSeconds": 1.5}}),
            "livenessProbe/periodSeconds",
            "not `1.5`",
        ),
        (
            json!({"resources": {"limits": {"memory": "1 GB"}}}),
            "resources/limits/memory",
            "`memory` is a quantity, not the text \"1 GB\"",
        ),
        (
            json!({"resources": {"limits": {"cpu": true}}}),
            "resources/limits/cpu",
            "is a quantity, not `true`",
        ),
        (json!({"command": "run"}), "command", "`command` is a list, not the text \"run\""),
        (
            json!({"securityContext": {"runAsUser": "1000"}}),
            "securityContext/runAsUser",
            "`runAsUser` is a whole number",
        ),
    ];
    for (more, field, part) in cases {
        error(&container(more), &format!("{CONTAINER}/{field}"), TYPE, part);
    }
    let large = named("apps/v1", "StatefulSet", json!({}));
    let mut large = large;
    large["spec"] = container(json!({}))["spec"].clone();
    large["spec"]["replicas"] = json!(3_000_000_000_i64);
    error(&large, "/spec/replicas", TYPE, "32 bits, not `3000000000`");
}

#[test]
fn values_that_have_several_types_pass() {
    for port in [json!(8080), json!("http"), json!(null)] {
        passes(&named("v1", "Service", json!({"ports": [{"port": 80, "targetPort": port}]})));
    }
    for quantity in [json!(1), json!(0.5), json!("500m"), json!("1.5"), json!("1e3")] {
        passes(&container(json!({"resources": {"limits": {"cpu": quantity, "example.com/gpu": 1}}})));
    }
    for number in [json!(1), json!(1.0), json!(30)] {
        passes(&container(json!({"livenessProbe": {"exec": {"command": ["a"]}, "periodSeconds": number}})));
    }
}

#[test]
fn anything_is_a_field_where_the_schema_says_so() {
    passes(&json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": "web"},
                   "data": {"spec": {"x": [1, {"y": null}]}}, "revision": 1}));
    let schema = json!({"type": "object", "properties": {"a": {"default": [1, "b"], "x-kubernetes-preserve-unknown-fields": true,
                        "items": {"type": "string"}, "additionalProperties": false}}});
    passes(&json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                   "metadata": {"name": "things.example.com"},
                   "spec": {"group": "example.com", "scope": "Namespaced", "names": {"kind": "Thing", "plural": "things"},
                            "versions": [{"name": "v1", "served": true, "storage": true,
                                          "subresources": {"status": {}},
                                          "schema": {"openAPIV3Schema": schema}}]}}));
}

#[test]
fn kinds_without_a_schema_and_what_a_server_writes_pass() {
    for (version, kind) in [
        ("example.com/v1", "Thing"),
        ("example.com/v1", "Deployment"),
        ("apps/v1", "Thing"),
        ("monitoring.coreos.com/v1", "Prometheus"),
    ] {
        passes(&named(version, kind, json!({"anything": [1, null], "replicas": "2", "labels": {"a": true}})));
    }
    let mut object = container(json!({}));
    object["status"] = json!({});
    passes(&object);
}

#[test]
fn fields_of_newer_releases_pass() {
    let source = json!({"fileKeyRef": {"volumeName": "v", "path": "p", "key": "k"}});
    let volume = json!({"name": "v", "emptyDir": {}});
    let variable = json!({"name": "A", "valueFrom": source});
    let spec =
        json!({"containers": [{"name": "web", "image": "a:1", "env": [variable]}], "volumes": [volume]});
    passes(&pods(spec));
}

#[test]
fn text_that_is_a_placeholder_is_left_to_its_own_rule() {
    passes(&container(json!({"livenessProbe": {"exec": {"command": ["a"]}, "periodSeconds": "${PERIOD}"}})));
}

#[test]
fn a_null_is_a_field_that_is_not_there() {
    passes(&container(json!({"env": null, "resources": null, "securityContext": {"runAsUser": null}})));
    let mut object = pods(json!({"nodeSelector": null, "volumes": null}));
    object["metadata"]["labels"] = Value::Null;
    object["spec"]["template"]["metadata"]["creationTimestamp"] = Value::Null;
    passes(&object);
}

#[test]
fn a_null_in_a_map_is_a_forgotten_value() {
    let warning = |object: &Value, pointer: &str, key: &str| {
        expect(object, pointer, NULL, Severity::Warning, &format!("`{key}` has no value: it is null"));
    };
    let mut object = container(json!({}));
    object["metadata"]["labels"] = json!({"tier": null, "app": "web"});
    warning(&object, "/metadata/labels/tier", "tier");
    warning(&pods(json!({"nodeSelector": {"disk": null}})), &format!("{SPEC}/nodeSelector/disk"), "disk");
    let limits = json!({"resources": {"limits": {"cpu": null}}});
    warning(&container(limits), &format!("{CONTAINER}/resources/limits/cpu"), "cpu");
    let mut object = named("example.com/v1", "Thing", json!({}));
    object["metadata"]["annotations"] = json!({"example.com/a": null});
    warning(&object, "/metadata/annotations/example.com~1a", "example.com/a");
    let map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": null}});
    warning(&map, "/data/k", "k");
}

#[test]
fn a_null_in_a_list_is_an_error_where_the_list_is_merged() {
    let place = format!("{CONTAINER}/env/0");
    error(&container(json!({"env": [null]})), &place, NULL, "an item of the list is null");
    let place = format!("{CONTAINER}/args/1");
    expect(
        &container(json!({"args": ["a", null]})),
        &place,
        NULL,
        Severity::Warning,
        "an item of the list is null",
    );
}

#[test]
fn items_of_a_merged_list_have_its_key() {
    let code = error_code::LIST_KEY_MISSING;
    let place = format!("{CONTAINER}/env/0");
    error(&container(json!({"env": [{"value": "x"}]})), &place, code, "has no `name`");
    let service = |port: Value| named("v1", "Service", json!({"ports": [port]}));
    error(&service(json!({"name": "http"})), "/spec/ports/0", code, "has no `port`");
    // The other key of ports has a default, and so has the name of a pull secret.
    passes(&service(json!({"port": 80})));
    passes(&pods(json!({"imagePullSecrets": [{}]})));
}

#[test]
fn items_of_a_merged_list_are_distinct() {
    let code = error_code::LIST_KEY_TWICE;
    let claims = json!({"resourceClaims": [{"name": "gpu"}, {"name": "gpu"}]});
    error(&pods(claims), &format!("{SPEC}/resourceClaims/1/name"), code, "");
    let gates = json!({"schedulingGates": [{"name": "a"}, {"name": "b"}, {"name": "a"}]});
    error(
        &pods(gates),
        &format!("{SPEC}/schedulingGates/2/name"),
        code,
        "`a` is in the list twice; first as item 1",
    );
    let mut object = container(json!({}));
    object["metadata"]["finalizers"] = json!(["example.com/a", "example.com/b", "example.com/a"]);
    error(&object, "/metadata/finalizers/2", code, "`example.com/a` is in the list twice");
    // A list that is replaced as a whole may have anything twice.
    passes(&container(json!({"args": ["-v", "-v"]})));
    let both = json!([{"port": 53, "name": "t"}, {"port": 53, "name": "u", "protocol": "UDP"}]);
    passes(&named("v1", "Service", json!({"ports": both})));
}

const MISSING: ErrorCode = error_code::OBJECT_FIELD_MISSING;
const VALUE: ErrorCode = error_code::OBJECT_FIELD_VALUE;

#[test]
fn fields_that_a_server_asks_for_are_there() {
    let without = |mut object: Value, parent: &str, field: &str| {
        object.pointer_mut(parent).and_then(Value::as_object_mut).expect("a map").remove(field);
        object
    };
    error(&without(pods(json!({})), "", "spec"), "/spec", MISSING, "Deployment has no `spec`");
    error(
        &without(pods(json!({})), "/spec/template", "spec"),
        SPEC,
        MISSING,
        "PodTemplateSpec has no `spec`",
    );
    error(&without(pods(json!({})), "/spec", "template"), "/spec/template", MISSING, "has no `template`");
    error(
        &without(pods(json!({})), "/spec", "selector"),
        "/spec/selector",
        error_code::SELECTOR,
        "no selector",
    );
    let place = format!("{SPEC}/containers");
    error(&without(pods(json!({})), SPEC, "containers"), &place, MISSING, "PodSpec has no `containers`");
    // By the name the list is merged, so it is that finding, and no second one.
    error(
        &without(container(json!({})), CONTAINER, "name"),
        CONTAINER,
        error_code::LIST_KEY_MISSING,
        "`name`",
    );
    let probe = json!({"livenessProbe": {"httpGet": {"path": "/"}}});
    let place = format!("{CONTAINER}/livenessProbe/httpGet/port");
    error(&container(probe), &place, MISSING, "HTTPGetAction has no `port`");
    // A field that is misspelt is not said to be missing too.
    let probe = json!({"livenessProbe": {"httpGet": {"prot": 80}}});
    error(
        &container(probe),
        &format!("{CONTAINER}/livenessProbe/httpGet/prot"),
        UNKNOWN,
        "did you mean `port`?",
    );
    error(&named("v1", "Service", json!({})), "/spec/ports", MISSING, "the Service has no ports");
    passes(&named("v1", "Service", json!({"clusterIP": "None"})));
    passes(&named("v1", "Service", json!({"type": "ExternalName", "externalName": "a.example"})));
    // Go writes these always, and a server takes an object without them.
    passes(&container(json!({"livenessProbe": {"httpGet": {"port": 80, "httpHeaders": [{"name": "A"}]}}})));
    passes(&json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "web"}, "spec": {}}));
    passes(
        &json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "web"}}),
    );
    passes(&named("networking.k8s.io/v1", "NetworkPolicy", json!({"ingress": [{}]})));
    let mut set = pods(json!({}));
    set["kind"] = "StatefulSet".into();
    set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}}]);
    passes(&set);
}

#[test]
fn words_of_a_field_are_those_of_the_schema() {
    let policy = format!("{CONTAINER}/imagePullPolicy");
    error(&container(json!({"imagePullPolicy": "always"})), &policy, VALUE, "did you mean `Always`?");
    let words =
        "`Sometimes` is not a valid value of `imagePullPolicy`; write `Always`, `IfNotPresent` or `Never`";
    error(&container(json!({"imagePullPolicy": "Sometimes"})), &policy, VALUE, words);
    for good in ["Always", "IfNotPresent", "Never", ""] {
        passes(&container(json!({"imagePullPolicy": good})));
    }
    let port = container(json!({"ports": [{"containerPort": 80, "protocol": "tcp"}]}));
    error(&port, &format!("{CONTAINER}/ports/0/protocol"), VALUE, "did you mean `TCP`?");
    let service = named("v1", "Service", json!({"type": "Loadbalancer", "ports": [{"port": 80}]}));
    error(&service, "/spec/type", VALUE, "did you mean `LoadBalancer`?");
    let claim = json!({"accessModes": ["ReadWriteonce"], "resources": {"requests": {"storage": "1Gi"}}});
    let claim = named("v1", "PersistentVolumeClaim", claim);
    error(&claim, "/spec/accessModes/0", VALUE, "did you mean `ReadWriteOnce`?");
    error(&container(json!({"imagePullPolicy": true})), &policy, error_code::NOT_TEXT, "put it in quotes");
}

#[test]
fn numbers_and_names_are_within_their_bounds() {
    let cases = [
        (container(json!({"ports": [{"containerPort": 70000}]})), "ports/0/containerPort", "from 1 to 65535"),
        (container(json!({"name": "Web_1"})), "name", "lower-case letters"),
        (
            container(json!({"ports": [{"containerPort": 80, "name": "http_main"}]})),
            "ports/0/name",
            "name of a port",
        ),
        (container(json!({"env": [{"name": "A=B"}]})), "env/0/name", "name of a variable"),
        (
            container(json!({"readinessProbe": {"grpc": {"port": 1}, "periodSeconds": -1}})),
            "readinessProbe/periodSeconds",
            "0 or more",
        ),
        (
            container(json!({"resources": {"limits": {"memory": "-1Gi"}}})),
            "resources/limits/memory",
            "below zero",
        ),
        (
            container(json!({"resources": {"limits": {"cpu": 1}, "requests": {"cpu": "1500m"}}})),
            "resources/requests/cpu",
            "above its limit",
        ),
    ];
    for (object, place, part) in cases {
        error(&object, &format!("{CONTAINER}/{place}"), VALUE, part);
    }
    passes(&container(json!({"resources": {"limits": {"cpu": 1}, "requests": {"cpu": "1000m"}}})));
    let mut negative = pods(json!({}));
    negative["spec"]["replicas"] = json!(-1);
    error(&negative, "/spec/replicas", VALUE, "`replicas` is -1; write 0 or more");
}

#[test]
fn a_restart_policy_fits_its_kind() {
    let place = format!("{SPEC}/restartPolicy");
    error(&pods(json!({"restartPolicy": "Never"})), &place, VALUE, "the pods of a Deployment can't have");
    error(&pods(json!({"restartPolicy": "always"})), &place, VALUE, "did you mean `Always`?");
    passes(&pods(json!({"restartPolicy": "Always"})));
    let job = |pod: Value| {
        let mut it = named("batch/v1", "Job", json!({"template": {"spec": pod}}));
        it["metadata"]["name"] = "migrate-v1".into();
        it
    };
    let containers = json!([{"name": "c", "image": "a:1"}]);
    error(&job(json!({"containers": containers})), &place, MISSING, "write `restartPolicy: OnFailure`");
    error(
        &job(json!({"containers": containers, "restartPolicy": "Always"})),
        &place,
        VALUE,
        "of a Job can't",
    );
    passes(&job(json!({"containers": containers, "restartPolicy": "Never"})));
}

#[test]
fn an_encrypted_object_is_one_finding_that_says_what_to_do() {
    let sops =
        json!({"mac": "ENC[AES256_GCM,data:x]", "lastmodified": "2026-01-01T00:00:00Z", "version": "3.9.0"});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"},
                        "data": {"password": "ENC[AES256_GCM,data:x,type:str]"}, "sops": sops});
    error(&secret, "/sops", error_code::OBJECT_ENCRYPTED, "Secret `db` is encrypted with SOPS");
    // A kind with a field of that name.
    let custom = json!({"apiVersion": "isindir.github.com/v1alpha3", "kind": "SopsSecret",
                        "metadata": {"name": "db"}, "spec": {"secretTemplates": []}, "sops": sops});
    passes(&custom);
}
