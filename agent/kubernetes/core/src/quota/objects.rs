//! What an object itself counts, beside its pods.

use serde_json::Value;

use super::amount::Amount;
use super::pod::Amounts;

/// Kinds of the core group that have a name of their own in a quota.
const NAMED: &[&str] = &[
    "configmaps",
    "persistentvolumeclaims",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
];

/// What an object counts; `plural` and `group` as it is served.
pub(super) fn usage(plural: &str, group: &str, document: &Value) -> Amounts {
    let one = Amount::whole(1);
    let dotted = if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") };
    let mut usage = Amounts::from([(format!("count/{dotted}"), one)]);
    if group.is_empty() && NAMED.contains(&plural) {
        usage.insert(plural.to_owned(), one);
    }
    match (group, plural) {
        ("", "services") => services(document, &mut usage),
        ("", "persistentvolumeclaims") => claim(document, &mut usage),
        _ => {}
    }
    usage
}

fn services(document: &Value, usage: &mut Amounts) {
    let spec = &document["spec"];
    let kind = spec["type"].as_str().unwrap_or("ClusterIP");
    let is_balanced = kind == "LoadBalancer";
    if is_balanced {
        usage.insert("services.loadbalancers".to_owned(), Amount::whole(1));
    }
    let has_ports = kind == "NodePort" || (is_balanced && spec["allocateLoadBalancerNodePorts"] != false);
    if has_ports {
        let ports = spec["ports"].as_array().map_or(0, Vec::len);
        let ports = u64::try_from(ports).expect("a list in memory has fewer");
        usage.insert("services.nodeports".to_owned(), Amount::whole(ports));
    }
}

pub(super) fn claim(document: &Value, usage: &mut Amounts) {
    let size = document.pointer("/spec/resources/requests/storage").and_then(Amount::of);
    let class = document.pointer("/spec/storageClassName").and_then(Value::as_str);
    if let Some(class) = class {
        usage.insert(format!("{class}.storageclass.storage.k8s.io/persistentvolumeclaims"), Amount::whole(1));
    }
    let Some(size) = size else { return };
    usage.insert("requests.storage".to_owned(), size);
    if let Some(class) = class {
        usage.insert(format!("{class}.storageclass.storage.k8s.io/requests.storage"), size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(plural: &str, group: &str, document: Value) -> Vec<String> {
        let usage = usage(plural, group, &document);
        usage.iter().map(|(name, amount)| format!("{name}={amount}")).collect()
    }

    #[test]
    fn objects_count_by_kind_and_some_by_what_they_are() {
        assert_eq!(shown("configmaps", "", json!({})), ["configmaps=1", "count/configmaps=1"]);
        assert_eq!(shown("deployments", "apps", json!({})), ["count/deployments.apps=1"]);
        assert_eq!(shown("services", "", json!({"spec": {}})), ["count/services=1", "services=1"]);
        let ports = json!([{"port": 80}, {"port": 443}]);
        assert_eq!(
            shown("services", "", json!({"spec": {"type": "LoadBalancer", "ports": ports}})),
            ["count/services=1", "services=1", "services.loadbalancers=1", "services.nodeports=2"]
        );
        let without =
            json!({"spec": {"type": "LoadBalancer", "ports": ports, "allocateLoadBalancerNodePorts": false}});
        assert_eq!(
            shown("services", "", without),
            ["count/services=1", "services=1", "services.loadbalancers=1"]
        );
        let claim =
            json!({"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "10Gi"}}}});
        assert_eq!(
            shown("persistentvolumeclaims", "", claim),
            [
                "count/persistentvolumeclaims=1",
                "fast.storageclass.storage.k8s.io/persistentvolumeclaims=1",
                "fast.storageclass.storage.k8s.io/requests.storage=10Gi",
                "persistentvolumeclaims=1",
                "requests.storage=10Gi",
            ]
        );
    }
}
