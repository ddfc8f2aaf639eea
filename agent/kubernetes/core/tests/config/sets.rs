//! Whole sets: namespaces, opt-out, rights by name, names that are too long, and what is warned about.

use serde_json::{Value, json};
use trimaran_kubernetes_core::config::{BASE_LABEL, CHECKSUM_ANNOTATION, ConfigKind, Rendered};
use trimaran_model::error_code::{self, ErrorCode};

use super::{BASE, config_map, name, object, rendered, secret};

fn user(namespace: Option<&str>) -> Value {
    let spec = json!({"containers": [{"name": "c", "envFrom": [{"configMapRef": {"name": BASE}}]}]});
    let mut it = object("apps/v1", "Deployment", "/spec/template/spec", spec);
    if let Some(namespace) = namespace {
        it["metadata"]["namespace"] = namespace.into();
    }
    it
}

fn used(out: &Rendered, index: usize) -> &str {
    let pointer = "/spec/template/spec/containers/0/envFrom/0/configMapRef/name";
    out.objects[index].pointer(pointer).unwrap().as_str().unwrap()
}

fn in_namespace(mut object: Value, namespace: &str) -> Value {
    object["metadata"]["namespace"] = namespace.into();
    object
}

fn codes(out: &Rendered) -> Vec<ErrorCode> {
    out.findings.iter().map(|it| it.code).collect()
}

fn annotated(mut object: Value, value: Value) -> Value {
    object["metadata"]["annotations"] = json!({"trimaran.dev/versioned": value});
    object
}

#[test]
fn a_version_says_what_it_is() {
    let out = rendered(vec![config_map(BASE), user(None)], None);
    let new = name(&out.objects[0]);
    assert_eq!(out.objects[0]["immutable"], true);
    assert_eq!(out.objects[0]["metadata"]["labels"][BASE_LABEL], BASE);
    let suffix = new.strip_prefix("app-").unwrap();
    assert!(suffix.len() == 10 && suffix.chars().all(|c| "2456789bcdfghkmt".contains(c)), "{new}");
    assert_eq!(out.names.len(), 1);
    let rename = &out.names[0];
    assert_eq!(
        (rename.kind, rename.namespace.as_deref(), rename.from.as_str(), &rename.to),
        (ConfigKind::ConfigMap, None, BASE, &new)
    );
    assert!(out.findings.is_empty());
}

#[test]
fn rendering_again_changes_nothing() {
    let long = config_map(&"n".repeat(250));
    let set = vec![config_map(BASE), user(None), annotated(secret("keep"), json!("false")), long];
    let once = rendered(set, None);
    let again = rendered(once.objects.clone(), None);
    assert_eq!(again.objects, once.objects);
    assert!(again.names.is_empty());
}

#[test]
fn a_version_that_was_changed_by_hand_gets_the_name_of_its_content() {
    let mut once = rendered(vec![config_map(BASE), user(None)], None).objects;
    let old = name(&once[0]);
    once[0]["data"]["key"] = "other".into();
    let again = rendered(once, None);
    let new = name(&again.objects[0]);
    assert!(new != old && new.starts_with("app-") && new.len() == old.len());
    assert_eq!(used(&again, 1), new, "references to the old version follow");
    assert_eq!(again.names[0].from, old);
}

#[test]
fn namespaces_are_kept_apart() {
    let two = vec![
        in_namespace(config_map(BASE), "a"),
        in_namespace(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": BASE}, "data": {"x": "y"}}),
            "b",
        ),
        user(Some("a")),
        user(Some("b")),
        user(Some("c")),
    ];
    let out = rendered(two, None);
    assert_eq!(used(&out, 2), name(&out.objects[0]));
    assert_eq!(used(&out, 3), name(&out.objects[1]));
    assert_eq!(used(&out, 4), BASE);
    assert_ne!(name(&out.objects[0]), name(&out.objects[1]));
    assert_eq!(out.names[1].namespace.as_deref(), Some("b"));
}

#[test]
fn objects_without_namespace_are_where_the_caller_says() {
    let set = || vec![config_map(BASE), user(Some("shop"))];
    let out = rendered(set(), Some("shop"));
    assert_eq!(used(&out, 1), name(&out.objects[0]));
    assert_eq!(out.names[0].namespace.as_deref(), Some("shop"));
    assert!(out.objects[0]["metadata"].get("namespace").is_none(), "nothing else is written");
    // Without an answer whether the two belong together is not known.
    let out = rendered(set(), None);
    assert_eq!(used(&out, 1), BASE);
    assert!(codes(&out).contains(&error_code::CONFIG_OTHER_NAMESPACE));
    let out = rendered(set(), Some("other"));
    assert_eq!(used(&out, 1), BASE);
}

#[test]
fn opted_out_objects_keep_their_names_and_roll_the_pods() {
    for value in [json!("false"), json!(false)] {
        let out = rendered(vec![annotated(config_map(BASE), value.clone()), user(None)], None);
        assert_eq!(out.objects[0], annotated(config_map(BASE), value));
        assert_eq!(used(&out, 1), BASE);
        assert!(out.names.is_empty() && out.findings.is_empty());
        let checksum = |out: &Rendered| {
            out.objects[1]["spec"]["template"]["metadata"]["annotations"][CHECKSUM_ANNOTATION].clone()
        };
        assert_eq!(checksum(&out).as_str().unwrap().len(), 10);
        let mut other = annotated(config_map(BASE), json!("false"));
        other["data"]["key"] = "other".into();
        assert_ne!(checksum(&rendered(vec![other, user(None)], None)), checksum(&out));
        assert_eq!(rendered(out.objects.clone(), None).objects, out.objects);
    }
    let out = rendered(vec![annotated(config_map(BASE), json!("true")), user(None)], None);
    assert_ne!(name(&out.objects[0]), BASE);
}

#[test]
fn objects_of_controllers_keep_their_names() {
    for kind in ["kubernetes.io/service-account-token", "helm.sh/release.v1", "bootstrap.kubernetes.io/token"]
    {
        let mut it = secret(BASE);
        it["type"] = kind.into();
        let out = rendered(vec![it.clone()], None);
        assert_eq!(
            (out.objects, codes_of(&out.findings)),
            (vec![it], vec![error_code::CONFIG_NOT_VERSIONED])
        );
    }
    let mut it = secret(BASE);
    it["type"] = "kubernetes.io/tls".into();
    assert_ne!(name(&rendered(vec![it], None).objects[0]), BASE);
    let generated = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "a-"}});
    let out = rendered(vec![generated.clone()], None);
    assert_eq!(
        (out.objects, codes_of(&out.findings)),
        (vec![generated], vec![error_code::CONFIG_NOT_VERSIONED])
    );
}

fn codes_of(findings: &[trimaran_kubernetes_core::finding::Finding]) -> Vec<ErrorCode> {
    findings.iter().map(|it| it.code).collect()
}

#[test]
fn rights_by_name_follow() {
    let role = |kind: &str, resources: Value, names: Value| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": "r"},
               "rules": [{"apiGroups": [""], "resources": resources, "resourceNames": names, "verbs": ["get"]}]})
    };
    let names = |role: Value| {
        let out = rendered(vec![config_map(BASE), secret(BASE), role], None).objects;
        (name(&out[0]), name(&out[1]), out[2]["rules"][0]["resourceNames"].clone())
    };
    let (map, _, new) = names(role("Role", json!(["configmaps"]), json!(["app", "other"])));
    assert_eq!(new, json!([map, "other"]));
    let (_, secret, new) = names(role("ClusterRole", json!(["secrets"]), json!(["app"])));
    assert_eq!(new, json!([secret]));
    let (map, secret, new) = names(role("Role", json!(["secrets", "configmaps"]), json!(["app"])));
    assert_eq!(new, json!([map, secret]));
    // The rule is about Services of that name too.
    let (map, _, new) = names(role("Role", json!(["configmaps", "services"]), json!(["app"])));
    assert_eq!(new, json!([map, "app"]));
    assert_eq!(names(role("Role", json!(["services"]), json!(["app"]))).2, json!(["app"]));
    assert_eq!(names(role("Role", json!(["configmaps"]), json!([]))).2, json!([]));
}

#[test]
fn what_nothing_refers_to_is_warned_about_with_the_nearest_text() {
    let out = rendered(vec![config_map(BASE), secret(BASE)], None);
    assert_eq!(codes(&out), [error_code::CONFIG_UNREFERENCED; 2]);
    assert_ne!(name(&out.objects[0]), BASE, "it is versioned all the same");
    let spec = json!({"containers": [{"name": "c", "args": ["--config", BASE]}]});
    let out = rendered(vec![config_map(BASE), object("v1", "Pod", "/spec", spec)], None);
    assert!(out.findings[0].help.contains("Pod `it` at /spec/containers/0/args/1"), "{:?}", out.findings);
    // A right to read an object by name does not show that a workload does.
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r"},
                      "rules": [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["app"]}]});
    assert_eq!(codes(&rendered(vec![config_map(BASE), role], None)), [error_code::CONFIG_UNREFERENCED]);
}

#[test]
fn one_name_for_two_objects_is_an_error() {
    let version = rendered(vec![config_map(BASE)], None).objects.remove(0);
    let out = rendered(vec![version, config_map(BASE), user(None)], None);
    assert!(codes(&out).contains(&error_code::OBJECT_TWICE), "{:?}", out.findings);
}

#[test]
fn names_keep_to_the_bounds() {
    let bases = [
        "n".repeat(253),
        "n".repeat(242),
        "n".repeat(243),
        format!("{}.{}", "a".repeat(241), "b".repeat(11)),
    ];
    for base in bases {
        let out = rendered(vec![config_map(&base)], None);
        let new = name(&out.objects[0]);
        assert!(new.len() <= 253 && !new.contains(".-") && !new.contains("--"), "{new}");
        let label = out.objects[0]["metadata"]["labels"][BASE_LABEL].as_str().unwrap();
        assert!(label.len() <= 63);
        assert_eq!(out.names[0].from, base);
    }
}

#[test]
fn templates_are_found_for_the_checksum_in_every_workload() {
    let spec = json!({"containers": [{"name": "c", "envFrom": [{"configMapRef": {"name": BASE}}]}]});
    for (version, kind, template) in [
        ("batch/v1", "CronJob", "/spec/jobTemplate/spec/template"),
        ("apps/v1", "StatefulSet", "/spec/template"),
        ("jobset.x-k8s.io/v1alpha2", "JobSet", "/spec/replicatedJobs/0/template/spec/template"),
    ] {
        let it = object(version, kind, &format!("{template}/spec"), spec.clone());
        let out = rendered(vec![annotated(config_map(BASE), json!("false")), it], None);
        let annotations = out.objects[1].pointer(&format!("{template}/metadata/annotations")).unwrap();
        assert!(annotations.get(CHECKSUM_ANNOTATION).is_some(), "{kind}");
    }
    // A pod of its own has no template.
    let pod = object("v1", "Pod", "/spec", spec);
    let out = rendered(vec![annotated(config_map(BASE), json!("false")), pod.clone()], None);
    assert_eq!(out.objects[1], pod);
}
