//! What holds for any set of any JSON values.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use trimaran_kubernetes_core::config::collect;
use trimaran_kubernetes_core::lint::{Options, lint};

use super::rendered;

/// Words that rules look for, so that made-up objects come near to real ones.
fn word() -> impl Strategy<Value = String> {
    prop::sample::select(
        [
            "app",
            "web",
            "a",
            "",
            "v1",
            "apps/v1",
            "ConfigMap",
            "Secret",
            "Deployment",
            "Role",
            "Ingress",
            "Job",
            "Certificate",
            "cert-manager.io/v1",
            "rbac.authorization.k8s.io/v1",
            "networking.k8s.io/v1",
            "batch/v1",
            "kind",
            "apiVersion",
            "metadata",
            "name",
            "namespace",
            "labels",
            "annotations",
            "spec",
            "template",
            "containers",
            "initContainers",
            "env",
            "valueFrom",
            "configMapKeyRef",
            "secretKeyRef",
            "envFrom",
            "configMapRef",
            "volumes",
            "configMap",
            "secret",
            "secretName",
            "data",
            "stringData",
            "binaryData",
            "rules",
            "resourceNames",
            "resources",
            "apiGroups",
            "configmaps",
            "selector",
            "matchLabels",
            "tls",
            "trimaran.dev/versioned",
            "false",
            "trimaran.dev/config-base",
            "app-2456789bcd",
            "{{ .Values.x }}",
            "strategy",
            "rollingUpdate",
            "maxSurge",
            "maxUnavailable",
            "ports",
            "volumeMounts",
            "items",
            "key",
            "ä~/",
        ]
        .as_slice(),
    )
    .prop_map(str::to_owned)
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9_f64..1e9).prop_map(Value::from),
        word().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((word(), inner), 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Objects that are nearly right.
fn near_object() -> impl Strategy<Value = Value> {
    let kinds = prop::sample::select(
        [
            ("v1", "ConfigMap"),
            ("v1", "Secret"),
            ("apps/v1", "Deployment"),
            ("apps/v1", "StatefulSet"),
            ("batch/v1", "CronJob"),
            ("v1", "Pod"),
            ("rbac.authorization.k8s.io/v1", "Role"),
            ("networking.k8s.io/v1", "Ingress"),
            ("cert-manager.io/v1", "Certificate"),
            ("policy/v1", "PodDisruptionBudget"),
        ]
        .as_slice(),
    );
    let name = prop::sample::select(["app", "web", "b"].as_slice());
    (kinds, name, any_json(), any_json(), any_json(), name_of_reference()).prop_map(
        |((version, kind), name, spec, data, labels, used)| {
            let mut it = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": labels},
                                "spec": spec, "data": data});
            if let Some(used) = used {
                it["spec"] = json!({"template": {"spec": {"containers": [
                    {"envFrom": [{"configMapRef": {"name": used}}, {"secretRef": {"name": used}}]}]}},
                    "tls": [{"secretName": used}]});
            }
            it
        },
    )
}

fn name_of_reference() -> impl Strategy<Value = Option<&'static str>> {
    prop::option::of(prop::sample::select(["app", "web", "b", "none"].as_slice()))
}

fn set() -> impl Strategy<Value = Vec<Value>> {
    prop::collection::vec(prop_oneof![3 => near_object(), 1 => any_json()], 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn rendering_ends_keeps_the_order_and_is_idempotent(set in set(), namespace in prop::option::of(Just("shop"))) {
        let once = rendered(set.clone(), namespace);
        prop_assert_eq!(once.objects.len(), set.len());
        for (before, after) in set.iter().zip(&once.objects) {
            prop_assert_eq!(before.get("kind"), after.get("kind"));
            prop_assert_eq!(before.get("data"), after.get("data"));
        }
        let again = rendered(once.objects.clone(), namespace);
        prop_assert_eq!(again.objects, once.objects);
        prop_assert!(again.names.is_empty());
    }

    #[test]
    fn lint_ends_and_points_into_the_set(set in set()) {
        let targets = [("t".to_owned(), "shop".to_owned())];
        for finding in lint(&set, Options { namespace: Some("shop"), targets: &targets }) {
            prop_assert!(finding.object < set.len());
            prop_assert!(finding.pointer.is_empty() || finding.pointer.starts_with('/'));
            prop_assert!(finding.code.entry().is_some() && !finding.message.is_empty());
        }
    }

    #[test]
    fn collection_ends(existing in set(), live in set(), release in set()) {
        let found = collect(&existing, &live, &[release], &live);
        prop_assert!(found.len() <= existing.len());
    }
}
