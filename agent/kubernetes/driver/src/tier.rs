//! In which order objects are applied, and which are never deleted.
//!
//! An object is applied after what it needs to be accepted or to start: its namespace, its definition, the account it
//! runs as, the configuration it mounts. Admission webhooks come last: applied earlier, one whose pods are not up yet
//! would refuse the rest of its own release. Deletion goes the other way.

use crate::object_key::ObjectKey;

/// Objects of one tier are applied side by side; a tier begins when the one before it is applied.
pub(crate) type Tier = u8;

/// Tiers whose objects must be usable before the next one begins: a namespace that is active, a kind that is served.
pub(crate) const NAMESPACES: Tier = 1;
pub(crate) const DEFINITIONS: Tier = 4;
/// What no row names: objects of kinds that the release or others define.
const CUSTOM: Tier = 13;

/// Group (empty: core), kinds, tier.
const ROWS: &[(&str, &[&str], Tier)] = &[
    ("scheduling.k8s.io", &["PriorityClass"], 0),
    ("", &["Namespace"], NAMESPACES),
    ("", &["ResourceQuota", "LimitRange"], 2),
    ("networking.k8s.io", &["NetworkPolicy"], 2),
    ("policy", &["PodDisruptionBudget"], 2),
    ("", &["ServiceAccount", "Secret", "ConfigMap"], 3),
    ("storage.k8s.io", &["StorageClass"], 3),
    ("apiextensions.k8s.io", &["CustomResourceDefinition"], DEFINITIONS),
    ("", &["PersistentVolume"], 5),
    ("", &["PersistentVolumeClaim"], 6),
    ("rbac.authorization.k8s.io", &["ClusterRole", "Role"], 6),
    ("rbac.authorization.k8s.io", &["ClusterRoleBinding", "RoleBinding"], 7),
    ("", &["Service"], 8),
    ("apps", &["DaemonSet", "ReplicaSet", "Deployment", "StatefulSet"], 9),
    ("", &["Pod", "ReplicationController"], 9),
    ("batch", &["Job", "CronJob"], 10),
    ("autoscaling", &["HorizontalPodAutoscaler"], 11),
    ("networking.k8s.io", &["IngressClass", "Ingress"], 12),
    ("gateway.networking.k8s.io", &["GatewayClass", "Gateway", "HTTPRoute", "GRPCRoute"], 12),
    ("apiregistration.k8s.io", &["APIService"], 14),
    (
        "admissionregistration.k8s.io",
        &[
            "MutatingWebhookConfiguration",
            "ValidatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
        ],
        15,
    ),
];

pub(crate) fn of(key: &ObjectKey) -> Tier {
    let row =
        ROWS.iter().find(|(group, kinds, _)| *group == key.group() && kinds.contains(&key.kind.as_str()));
    row.map_or(CUSTOM, |(_, _, tier)| *tier)
}

/// Whether the loss of the object would cost data or objects of others, so that only a human deletes it.
pub(crate) fn is_protected(key: &ObjectKey) -> bool {
    match key.group() {
        "" => matches!(key.kind.as_str(), "Namespace" | "PersistentVolume" | "PersistentVolumeClaim"),
        "apiextensions.k8s.io" => key.kind == "CustomResourceDefinition",
        "storage.k8s.io" => key.kind == "StorageClass",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(api_version: &str, kind: &str) -> ObjectKey {
        ObjectKey {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: String::new(),
            name: "a".to_owned(),
        }
    }

    #[test]
    fn what_is_needed_comes_first() {
        let order = [
            ("v1", "Namespace"),
            ("v1", "ConfigMap"),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            ("rbac.authorization.k8s.io/v1", "Role"),
            ("rbac.authorization.k8s.io/v1", "RoleBinding"),
            ("v1", "Service"),
            ("apps/v1", "Deployment"),
            ("batch/v1", "Job"),
            ("autoscaling/v2", "HorizontalPodAutoscaler"),
            ("example.com/v1", "Deployment"),
            ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
        ];
        let tiers: Vec<Tier> = order.iter().map(|(version, kind)| of(&key(version, kind))).collect();
        assert!(tiers.is_sorted_by(|a, b| a < b), "{tiers:?}");
    }

    #[test]
    fn data_is_protected_and_a_deployment_is_not() {
        assert!(is_protected(&key("v1", "PersistentVolumeClaim")));
        assert!(is_protected(&key("apiextensions.k8s.io/v1", "CustomResourceDefinition")));
        assert!(!is_protected(&key("apps/v1", "Deployment")));
        assert!(!is_protected(&key("example.com/v1", "Namespace")));
    }
}
