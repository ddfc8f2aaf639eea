//! What an object is called: group, kind, namespace and name.

use serde_json::Value;

/// The identity of an object in a set. The version is not part of it: an API server stores an object once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    /// Empty for the core group.
    pub(crate) group: String,
    pub(crate) kind: String,
    /// `None` for objects without one: those of the whole cluster, and those whose namespace is not given.
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
}

impl Identity {
    /// Reads an object; `None` without kind or name. `namespace` is where an object without one goes.
    pub(crate) fn of(object: &Value, namespace: Option<&str>) -> Option<Self> {
        let kind = text(object, "/kind")?.to_owned();
        let group = group(object).to_owned();
        let namespace = if is_cluster_scoped(&group, &kind) {
            None
        } else {
            text(object, "/metadata/namespace").or(namespace).map(str::to_owned)
        };
        Some(Self { group, kind, namespace, name: text(object, "/metadata/name")?.to_owned() })
    }
}

/// A text that is there and not empty.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer)?.as_str().filter(|text| !text.is_empty())
}

/// The group of an object's `apiVersion`; empty for the core group.
pub(crate) fn group(object: &Value) -> &str {
    text(object, "/apiVersion").and_then(|version| version.split_once('/')).map_or("", |(group, _)| group)
}

/// Kinds without namespace, of Kubernetes and of resources that most clusters have. A kind that is missing here
/// is taken for one with a namespace.
pub(crate) fn is_cluster_scoped(group: &str, kind: &str) -> bool {
    match group {
        "" => matches!(kind, "Namespace" | "Node" | "PersistentVolume" | "ComponentStatus"),
        "admissionregistration.k8s.io"
        | "apiregistration.k8s.io"
        | "apiextensions.k8s.io"
        | "certificates.k8s.io"
        | "flowcontrol.apiserver.k8s.io"
        | "node.k8s.io"
        | "scheduling.k8s.io" => true,
        "rbac.authorization.k8s.io" => matches!(kind, "ClusterRole" | "ClusterRoleBinding"),
        "storage.k8s.io" => kind != "CSIStorageCapacity",
        "snapshot.storage.k8s.io" => kind != "VolumeSnapshot",
        "networking.k8s.io" => matches!(kind, "IngressClass" | "IPAddress" | "ServiceCIDR"),
        "gateway.networking.k8s.io" => kind == "GatewayClass",
        "gateway.networking.x-k8s.io" => kind == "XMesh",
        "pkg.crossplane.io" => true,
        "trust.cert-manager.io" => kind == "Bundle",
        "resource.k8s.io" => matches!(kind, "DeviceClass" | "ResourceSlice"),
        "policy" => kind == "PodSecurityPolicy",
        "cert-manager.io" => kind == "ClusterIssuer",
        "karpenter.sh" | "karpenter.k8s.aws" => true,
        _ => kind.starts_with("Cluster") && CLUSTER_KINDS.contains(&kind),
    }
}

const CLUSTER_KINDS: &[&str] = &[
    "ClusterAnalysisTemplate",
    "ClusterCloudEventSource",
    "ClusterExternalSecret",
    "ClusterGenerator",
    "ClusterPolicy",
    "ClusterPushSecret",
    "ClusterSecretStore",
    "ClusterTask",
    "ClusterTrainingRuntime",
    "ClusterTriggerAuthentication",
    "ClusterWorkflowTemplate",
];
