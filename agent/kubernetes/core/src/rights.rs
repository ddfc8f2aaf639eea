//! The least rights that an agent needs for one target, as objects that an administrator of the cluster applies.
//!
//! A role of the namespace holds what releases consist of and what verdicts are made from; beside it an agent only reads
//! nodes and storage classes, which tell a broken machine from a broken release, and the one namespace that tells the
//! cluster from others. Objects of other groups, and of the whole
//! cluster, need rights of their own.
//!
//! Deliberately not here: `escalate` and `bind`, without which an agent can't apply roles. Who wants that adds it.

use serde_json::{Value, json};

use crate::state_name::{SEGMENTS, StateName};

/// What is done with objects of releases.
const MANAGE: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];
/// What is done with evidence.
const READ: &[&str] = &["get", "list", "watch"];

/// What is done with what bounds a namespace, when a release is planned.
const LIST: &[&str] = &["get", "list"];

/// Group, plurals, verbs.
const RULES: &[(&str, &[&str], &[&str])] = &[
    (
        "",
        &[
            "configmaps",
            "persistentvolumeclaims",
            "pods",
            "replicationcontrollers",
            "secrets",
            "serviceaccounts",
            "services",
        ],
        MANAGE,
    ),
    ("", &["events"], READ),
    ("", &["limitranges", "resourcequotas"], LIST),
    // Its own: within a role it means no other.
    ("", &["namespaces"], &["get"]),
    ("", &["pods/log"], &["get"]),
    ("apps", &["daemonsets", "deployments", "replicasets", "statefulsets"], MANAGE),
    ("apps", &["controllerrevisions"], READ),
    ("batch", &["cronjobs", "jobs"], MANAGE),
    ("autoscaling", &["horizontalpodautoscalers"], MANAGE),
    ("policy", &["poddisruptionbudgets"], MANAGE),
    ("networking.k8s.io", &["ingresses", "networkpolicies"], MANAGE),
    ("discovery.k8s.io", &["endpointslices"], READ),
];

/// Read in the whole cluster.
const CLUSTER_RULES: &[(&str, &[&str], &[&str])] =
    &[("", &["nodes"], READ), ("storage.k8s.io", &["storageclasses"], READ)];

const GROUP: &str = "rbac.authorization.k8s.io";

/// A service account with its roles, named after the target.
pub fn rights(target: &str, namespace: &str) -> Vec<Value> {
    let name = account_of(target);
    let account = json!({"kind": "ServiceAccount", "name": name, "namespace": namespace});
    let named = |api_version: &str, kind: &str| json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}});
    let within = |mut object: Value| {
        object["metadata"]["namespace"] = namespace.into();
        object
    };
    let rbac = |kind: &str| named(&format!("{GROUP}/v1"), kind);
    let bind = |mut binding: Value, kind: &str| {
        binding["roleRef"] = json!({"apiGroup": GROUP, "kind": kind, "name": name});
        binding["subjects"] = json!([account]);
        binding
    };
    let mut role = within(rbac("Role"));
    role["rules"] = rules(RULES);
    let mut cluster_role = rbac("ClusterRole");
    cluster_role["rules"] = rules(CLUSTER_RULES);
    if let Some(rules) = cluster_role["rules"].as_array_mut() {
        // Its uid tells the cluster from others.
        rules.push(json!({"apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"]}));
    }
    vec![
        within(named("v1", "ServiceAccount")),
        role,
        bind(within(rbac("RoleBinding")), "Role"),
        cluster_role,
        bind(rbac("ClusterRoleBinding"), "ClusterRole"),
    ]
}

/// What the account of a target needs besides, when the agent keeps its state in Secrets: these Secrets and the Lease alone. What
/// is not there yet has no name for an API server, so that the right to create is for the whole namespace.
pub fn state_rights(target: &str, namespace: &str, state: &StateName) -> Vec<Value> {
    let (account, name) = (account_of(target), format!("trimaran-state-{}", state.name()));
    let object = |kind: &str| {
        json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": kind,
            "metadata": {"name": name, "namespace": state.namespace()},
        })
    };
    let secrets: Vec<String> = std::iter::once(state.name().to_owned())
        .chain((0..SEGMENTS).map(|slot| state.segment(slot)))
        .collect();
    const LEASES: &str = "coordination.k8s.io";
    let mut role = object("Role");
    role["rules"] = json!([
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": secrets, "verbs": ["get", "patch", "delete"]},
        {"apiGroups": [LEASES], "resources": ["leases"], "resourceNames": [state.name()], "verbs": ["get", "patch"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
        {"apiGroups": [LEASES], "resources": ["leases"], "verbs": ["create"]},
    ]);
    let mut binding = object("RoleBinding");
    binding["roleRef"] = json!({"apiGroup": GROUP, "kind": "Role", "name": name});
    binding["subjects"] = json!([{"kind": "ServiceAccount", "name": account, "namespace": namespace}]);
    vec![role, binding]
}

/// The name of a target's service account.
fn account_of(target: &str) -> String {
    format!("trimaran-{target}")
}

fn rules(rows: &[(&str, &[&str], &[&str])]) -> Value {
    let rule = |(group, resources, verbs): &(&str, &[&str], &[&str])| json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
    rows.iter().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_bound_to_one_account_and_hold_no_wildcard() {
        let objects = rights("tokyo", "shop");
        let kinds: Vec<_> = objects.iter().filter_map(|it| it["kind"].as_str()).collect();
        assert_eq!(kinds, ["ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"]);
        assert!(objects.iter().all(|it| it["metadata"]["name"] == "trimaran-tokyo"));
        assert_eq!(objects[2]["subjects"][0]["namespace"], "shop");
        let text = Value::from(objects).to_string();
        assert!(!text.contains('*') && !text.contains("escalate") && !text.contains("update"));
    }

    #[test]
    fn rights_for_a_state_are_for_its_objects_alone() {
        let state: StateName = "secret:agents/tokyo".parse().expect("a name");
        let [role, binding] = state_rights("east", "shop", &state).try_into().expect("two objects");
        assert_eq!(role["metadata"]["namespace"], "agents");
        let rules = role["rules"].as_array().expect("rules");
        let is_bound = |rule: &&Value| rule["resourceNames"].is_array();
        let (bound, free): (Vec<_>, Vec<_>) = rules.iter().partition(is_bound);
        assert!(free.iter().all(|rule| rule["verbs"] == json!(["create"])), "{free:?}");
        let names = bound[0]["resourceNames"].as_array().expect("names");
        assert_eq!((names.len(), &names[0], &names[32]), (33, &json!("tokyo"), &json!("tokyo-31")));
        assert_eq!(bound[1]["resourceNames"], json!(["tokyo"]));
        let account = json!([{"kind": "ServiceAccount", "name": "trimaran-east", "namespace": "shop"}]);
        assert_eq!(binding["subjects"], account);
        assert!(!role.to_string().contains('*') && !role.to_string().contains("list"));
    }
}
