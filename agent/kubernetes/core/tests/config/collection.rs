//! Collection never removes what anybody uses, and removes what nothing uses.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};
use trimaran_kubernetes_core::config::collect;

use super::{name, object, rendered};

/// Versions of three bases as a cluster holds them: some of them Secrets, in two namespaces.
fn versions(count: usize) -> Vec<Value> {
    (0..count)
        .map(|n| {
            let kind = if n % 3 == 0 { "Secret" } else { "ConfigMap" };
            let section = if n % 3 == 0 { "stringData" } else { "data" };
            let it = json!({"apiVersion": "v1", "kind": kind,
                            "metadata": {"name": format!("base.v{}", n % 3), "namespace": format!("ns-{}", n % 2),
                                         "uid": format!("uid-{n}")},
                            section: {"n": n.to_string()}});
            rendered(vec![it], None).objects.remove(0)
        })
        .collect()
}

/// An object that uses a version, in one of the ways in which live objects and releases do.
fn user(way: usize, name: &str) -> Value {
    let pod = json!({"containers": [{"name": "c", "env": [
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": name, "key": "n"}}}]}]});
    let volume = json!({"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": name}}]}}]});
    let live = json!({"ephemeralContainers": [{"name": "c", "envFrom": [{"secretRef": {"name": name}}]}]});
    match way {
        0 => object("apps/v1", "ReplicaSet", "/spec/template/spec", pod),
        1 => object("apps/v1", "ControllerRevision", "/data/spec/template/spec", volume),
        2 => object("v1", "Pod", "/spec", live),
        3 => object("batch/v1", "Job", "/spec/template/spec", volume),
        4 => object("batch/v1", "CronJob", "/spec/jobTemplate/spec/template/spec", pod),
        5 => object("example.com/v1", "Thing", "/spec/anything/configFrom", json!(format!("shop/{name}"))),
        6 => object("v1", "Pod", "/metadata/annotations/x", json!(format!("{{\"volume\":\"{name}\"}}"))),
        _ => object("networking.k8s.io/v1", "Ingress", "/spec/tls/0/secretName", json!(name)),
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Holder {
    Nothing,
    Live,
    KeptRelease,
    /// A release that holds the version itself, which nothing in it refers to.
    KeptVersion,
    Running,
}

fn holder() -> impl Strategy<Value = Holder> {
    prop_oneof![
        2 => Just(Holder::Nothing),
        1 => Just(Holder::Live),
        1 => Just(Holder::KeptRelease),
        1 => Just(Holder::KeptVersion),
        1 => Just(Holder::Running),
    ]
}

proptest! {
    #[test]
    fn what_is_used_is_never_removable_and_the_rest_is(
        holders in prop::collection::vec((holder(), 0_usize..8), 1..30),
        releases in 1_usize..4,
    ) {
        let existing = versions(holders.len());
        let (mut live, mut running) = (existing.clone(), Vec::new());
        let mut kept: Vec<Vec<Value>> = vec![Vec::new(); releases];
        let mut unused = BTreeSet::new();
        for (index, (holder, way)) in holders.iter().enumerate() {
            let name = name(&existing[index]);
            match holder {
                Holder::Nothing => { unused.insert(format!("uid-{index}")); }
                Holder::Live => live.push(user(*way, &name)),
                Holder::KeptRelease => kept[index % releases].push(user(*way, &name)),
                Holder::KeptVersion => kept[index % releases].push(existing[index].clone()),
                Holder::Running => running.push(user(*way, &name)),
            }
        }
        let found: BTreeSet<String> = collect(&existing, &live, &kept, &running).into_iter().map(|it| it.uid).collect();
        prop_assert_eq!(found, unused);
    }
}

#[test]
fn only_versions_with_a_uid_are_removable() {
    let foreign = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app", "uid": "u"}});
    let mut labelled = foreign.clone();
    labelled["metadata"]["labels"] = json!({"trimaran.dev/config-base": "app"});
    let mut other = versions(1).remove(0);
    other["kind"] = "Service".into();
    let mut without = versions(2).remove(1);
    without["metadata"].as_object_mut().unwrap().remove("uid");
    let existing = [foreign, labelled, other, without, versions(5).remove(4)];
    let found = collect(&existing, &[], &[], &[]);
    assert_eq!(found.iter().map(|it| it.uid.as_str()).collect::<Vec<_>>(), ["uid-4"]);
    assert_eq!(found[0].namespace.as_deref(), Some("ns-0"));
}
