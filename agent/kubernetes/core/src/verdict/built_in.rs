//! Which kinds have rules in code. Any version of a group counts; a kind of the same name in another group is a
//! custom resource.

use super::context::Context;
use super::{
    argo_rollout, cluster, daemon_set, deployment, gateway, job, node, scaling, service, single_pod,
    stateful_set, storage,
};
use crate::judgment::Judgment;
use crate::object::Object;

/// A rule in code.
#[derive(Debug, Clone, Copy)]
pub(super) struct BuiltIn {
    pub(super) judge: for<'a> fn(Context<'a>, Object<'a>) -> Judgment,
    /// The API server or its controller always writes `status.observedGeneration`.
    pub(super) observes_generation: bool,
    /// Its own rule says what a deletion means.
    pub(super) judges_deletion: bool,
    /// Its own rule says when waiting has an end; all others have the deadline of the deploy.
    pub(super) has_deadline: bool,
}

/// Kinds that are healthy as soon as they exist: no controller reports on them.
const PLAIN: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "ConfigMap",
            "Secret",
            "ServiceAccount",
            "ResourceQuota",
            "LimitRange",
            "Endpoints",
            "PodTemplate",
            "Event",
        ],
    ),
    ("events.k8s.io", &["Event"]),
    ("apps", &["ControllerRevision"]),
    ("rbac.authorization.k8s.io", &["Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"]),
    ("networking.k8s.io", &["NetworkPolicy", "IngressClass", "IPAddress", "ServiceCIDR"]),
    (
        "storage.k8s.io",
        &[
            "StorageClass",
            "CSIDriver",
            "CSINode",
            "CSIStorageCapacity",
            "VolumeAttachment",
            "VolumeAttributesClass",
        ],
    ),
    ("scheduling.k8s.io", &["PriorityClass"]),
    ("node.k8s.io", &["RuntimeClass"]),
    ("coordination.k8s.io", &["Lease"]),
    ("discovery.k8s.io", &["EndpointSlice"]),
    ("resource.k8s.io", &["DeviceClass", "ResourceClaimTemplate", "ResourceSlice"]),
    ("flowcontrol.apiserver.k8s.io", &["FlowSchema", "PriorityLevelConfiguration"]),
    (
        "admissionregistration.k8s.io",
        &[
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "MutatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
        ],
    ),
];

/// Groups that no CustomResourceDefinition may extend without approval: what is not listed here has no rule.
const OWN_GROUPS: &[&str] = &["", "apps", "batch", "autoscaling", "policy", "extensions"];

pub(super) fn rule_of(group: &str, kind: &str) -> Option<BuiltIn> {
    let rule = |judge| {
        Some(BuiltIn { judge, observes_generation: false, judges_deletion: false, has_deadline: false })
    };
    let with_deadline = |judge| rule(judge).map(|rule| BuiltIn { has_deadline: true, ..rule });
    let workload = |judge| with_deadline(judge).map(|rule| BuiltIn { observes_generation: true, ..rule });
    match (group, kind) {
        ("apps", "Deployment") => workload(deployment::judge),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => workload(deployment::judge_replica_set),
        ("apps", "StatefulSet") => workload(stateful_set::judge),
        ("apps", "DaemonSet") => workload(daemon_set::judge),
        ("policy", "PodDisruptionBudget") => {
            rule(scaling::judge_budget).map(|rule| BuiltIn { observes_generation: true, ..rule })
        }
        ("", "Pod") => with_deadline(single_pod::judge),
        ("", "Node") => rule(node::judge),
        ("", "Service") => rule(service::judge),
        ("", "PersistentVolumeClaim") => rule(storage::judge_claim),
        ("", "PersistentVolume") => rule(|_, object| storage::judge_volume(object)),
        ("", "Namespace") => Some(BuiltIn {
            judge: |_, object| cluster::judge_namespace(object),
            observes_generation: false,
            judges_deletion: true,
            has_deadline: false,
        }),
        ("batch", "Job") => with_deadline(job::judge),
        ("batch", "CronJob") => rule(job::judge_cron_job),
        ("networking.k8s.io" | "extensions", "Ingress") => rule(service::judge_ingress),
        ("autoscaling", "HorizontalPodAutoscaler") => rule(scaling::judge_autoscaler),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => rule(cluster::judge_definition),
        ("apiregistration.k8s.io", "APIService") => rule(cluster::judge_api_service),
        (
            "admissionregistration.k8s.io",
            "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration",
        ) => rule(|_, object| cluster::judge_webhooks(object)),
        ("gateway.networking.k8s.io", "HTTPRoute" | "GRPCRoute" | "TCPRoute" | "TLSRoute" | "UDPRoute") => {
            rule(gateway::judge_route)
        }
        ("gateway.networking.k8s.io", "Gateway") => rule(gateway::judge_gateway),
        ("argoproj.io", "Rollout") => with_deadline(argo_rollout::judge),
        _ if is_plain(group, kind) => rule(|_, object| exists(object)),
        _ => None,
    }
}

fn is_plain(group: &str, kind: &str) -> bool {
    PLAIN.iter().any(|(of, kinds)| *of == group && kinds.contains(&kind))
}

/// Whether a kind belongs to Kubernetes itself, so that no rule of custom resources may speak of it.
pub(super) fn is_own_group(group: &str) -> bool {
    OWN_GROUPS.contains(&group)
}

fn exists(object: Object<'_>) -> Judgment {
    Judgment { message: format!("{} exists", object.display()), ..Judgment::healthy() }
}
