//! A name that is renamed in one place and kept in another is reported, in kinds without rules and outside of them.

use serde_json::{Value, json};
use trimaran_kubernetes_core::config::Rendered;
use trimaran_model::error_code;

use super::{BASE, config_map, name, object, put, rendered, secret};

/// A workload that follows both names, so that the set uses them.
fn user() -> Value {
    let from = json!([{"secretRef": {"name": BASE}}, {"configMapRef": {"name": BASE}}]);
    object("apps/v1", "Deployment", "/spec/template/spec/containers/0/envFrom", from)
}

/// Pointers of the names that a rendered set keeps, with their messages.
fn kept(out: &Rendered) -> Vec<(usize, &str, &str)> {
    let findings = out.findings.iter().filter(|it| it.code == error_code::CONFIG_REFERENCE_KEPT);
    findings.map(|it| (it.object, it.pointer.as_str(), it.message.as_str())).collect()
}

#[track_caller]
fn warns(object: &Value, pointer: &str) {
    let out = rendered(vec![config_map(BASE), secret(BASE), user(), object.clone()], None);
    assert_eq!(out.objects[3], *object, "the object is not rewritten");
    let kept = kept(&out);
    assert_eq!(kept.iter().map(|it| (it.0, it.1)).collect::<Vec<_>>(), [(3, pointer)], "{:#?}", out.findings);
}

#[track_caller]
fn is_silent(object: &Value) {
    let out = rendered(vec![config_map(BASE), secret(BASE), user(), object.clone()], None);
    assert_eq!(kept(&out), [], "{object}");
}

#[test]
fn places_of_kinds_without_a_rule() {
    for pointer in [
        "/spec/env/0/valueFrom/secretKeyRef/name",
        "/spec/env/0/valueFrom/configMapKeyRef/name",
        "/spec/envFrom/0/secretRef/name",
        "/spec/template/spec/containers/0/env/0/valueFrom/secretKeyRef/name",
        "/spec/template/spec/initContainers/0/envFrom/0/configMapRef/name",
        "/spec/template/spec/volumes/0/secret/secretName",
        "/spec/template/spec/volumes/0/configMap/name",
        "/spec/template/spec/volumes/0/projected/sources/0/secret/name",
        "/spec/template/spec/imagePullSecrets/0/name",
        "/spec/pod/volumes/0/csi/nodePublishSecretRef/name",
        "/spec/secretName",
        "/spec/adminSecret",
        "/spec/imagePullSecrets/0",
        "/spec/configMaps/0",
        "/spec/rootCASecretRef/name",
        "/spec/superuserSecret/name",
        "/spec/credentialName",
        "/spec/tls/certificateRefs/0/name",
        "/metadata/annotations/example.com~1auth-secret",
    ] {
        warns(&object("example.com/v1", "Thing", pointer, json!(BASE)), pointer);
    }
}

#[test]
fn the_message_names_object_old_name_and_new_name() {
    let thing = object("example.com/v1", "Thing", "/spec/secretName", json!(BASE));
    let out = rendered(vec![secret(BASE), thing], None);
    let new = name(&out.objects[0]);
    let kept = kept(&out);
    assert_eq!(
        kept[0].2,
        format!("Thing/it keeps the name `app` here, but Secret `app` is renamed to `{new}`")
    );
}

#[test]
fn fields_beside_the_name_say_what_it_is() {
    let reference = |value: Value| object("example.com/v1", "Thing", "/spec/source", value);
    warns(&reference(json!({"kind": "ConfigMap", "name": BASE})), "/spec/source/name");
    warns(&reference(json!({"apiVersion": "v1", "kind": "Secret", "name": BASE})), "/spec/source/name");
    warns(&reference(json!({"name": BASE, "key": "k"})), "/spec/source/name");
    is_silent(&reference(json!({"kind": "Service", "name": BASE})));
    is_silent(&reference(json!({"apiVersion": "example.com/v1", "kind": "Secret", "name": BASE})));
    is_silent(&reference(json!({"group": "example.com", "kind": "Secret", "name": BASE})));
    is_silent(&reference(json!({"kind": "Secret", "name": BASE, "namespace": "elsewhere"})));
}

#[test]
fn places_that_mean_something_else_are_silent() {
    for pointer in [
        "/metadata/labels/secret",
        "/spec/selector/secret",
        "/spec/serviceName",
        "/spec/secretStoreRef/name",
        "/spec/secretClassName",
        "/spec/data/0/secretKey",
        "/spec/writeConnectionSecretToRef/name",
        "/status/secretName",
    ] {
        is_silent(&object("example.com/v1", "Thing", pointer, json!(BASE)));
    }
}

#[test]
fn a_place_that_may_mean_another_object_of_the_set_is_silent() {
    let thing = object("example.com/v1", "Thing", "/spec/certificateRef/name", json!(BASE));
    warns(&thing, "/spec/certificateRef/name");
    let certificate =
        json!({"apiVersion": "example.com/v1", "kind": "Certificate", "metadata": {"name": BASE}});
    let out = rendered(vec![secret(BASE), user(), certificate, thing], None);
    assert_eq!(kept(&out), []);
}

#[test]
fn only_the_namespace_of_the_name_counts() {
    let place = |own: Option<&str>, value: Value| {
        let mut it = object("example.com/v1", "Thing", "/spec/secretRef", value);
        if let Some(own) = own {
            it["metadata"]["namespace"] = own.into();
        }
        let mut secret = secret(BASE);
        secret["metadata"]["namespace"] = "shop".into();
        kept(&rendered(vec![secret, it], None)).len()
    };
    assert_eq!(place(Some("shop"), json!({"name": BASE})), 1);
    assert_eq!(place(Some("other"), json!({"name": BASE})), 0);
    assert_eq!(place(Some("other"), json!({"name": BASE, "namespace": "shop"})), 1);
    assert_eq!(place(None, json!({"name": BASE})), 1, "an object of the whole cluster, as far as is known");
}

#[test]
fn names_that_do_not_change_are_silent() {
    let mut fixed = secret(BASE);
    put(&mut fixed, "/metadata/annotations/trimaran.dev~1versioned", json!("false"));
    let thing = object("example.com/v1", "Thing", "/spec/secretName", json!(BASE));
    assert_eq!(kept(&rendered(vec![fixed, thing], None)), []);
}

/// A policy and its binding in one set.
fn policy(kind: &str, parameter: Value) -> Vec<Value> {
    let group = "admissionregistration.k8s.io/v1";
    let mut policy = object(group, kind, "/spec/paramKind", json!({"apiVersion": "v1", "kind": "ConfigMap"}));
    policy["metadata"]["name"] = "ports".into();
    let spec = json!({"policyName": "ports", "paramRef": parameter});
    let binding = object(group, &format!("{kind}Binding"), "/spec", spec);
    let mut config = config_map(BASE);
    config["metadata"]["namespace"] = "shop".into();
    vec![config, policy, binding]
}

#[test]
fn parameters_of_admission_policies_follow() {
    for kind in ["ValidatingAdmissionPolicy", "MutatingAdmissionPolicy"] {
        let set = policy(kind, json!({"name": BASE, "namespace": "shop"}));
        let out = rendered(set.clone(), None);
        assert_eq!(out.objects[2]["spec"]["paramRef"]["name"].as_str(), Some(name(&out.objects[0]).as_str()));
        assert_eq!(out.findings, []);
        // Without the policy nothing says that the parameter is a ConfigMap.
        let out = rendered(vec![set[0].clone(), set[2].clone()], None);
        assert_eq!(kept(&out).len(), 1, "{:?}", out.findings);
        // Without a namespace it is the one of each request, and no single name is right.
        let out = rendered(policy(kind, json!({"name": BASE})), None);
        assert_eq!(out.objects[2]["spec"]["paramRef"]["name"], BASE);
        assert_eq!(kept(&out).len(), 1, "{:?}", out.findings);
    }
}
