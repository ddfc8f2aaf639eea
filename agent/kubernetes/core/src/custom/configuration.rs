//! Kinds that configure a controller: no controller writes a status for them, or only where they are used, so they
//! are healthy as soon as they exist.
//!
//! A rule for every kind of a group would wait for their status for ever. Deliberately not here: kinds whose status
//! says something; an object of these that has conditions is judged by them.

use serde_json::Value;

use super::subject::Subject;
use crate::judgment::Judgment;

/// Groups with their kinds. A group that begins with `*` is every group below that domain; a kind with `*` at one end
/// is every kind with that ending or beginning.
const KINDS: &[(&str, &[&str])] = &[
    (
        "argoproj.io",
        &[
            "AnalysisTemplate",
            "AppProject",
            "ClusterAnalysisTemplate",
            "ClusterWorkflowTemplate",
            "WorkflowEventBinding",
            "WorkflowTemplate",
        ],
    ),
    ("atlas.mongodb.com", &["AtlasBackupPolicy", "AtlasBackupSchedule"]),
    (
        "cilium.io",
        &[
            "CiliumCIDRGroup",
            "CiliumClusterwideNetworkPolicy",
            "CiliumEgressGatewayPolicy",
            "CiliumEnvoyConfig",
            "CiliumNetworkPolicy",
        ],
    ),
    ("cloud.google.com", &["BackendConfig"]),
    ("*.cluster.x-k8s.io", &["*Template"]),
    ("configuration.konghq.com", &["KongClusterPlugin", "KongIngress", "KongPlugin", "KongUpstreamPolicy"]),
    ("crd.k8s.amazonaws.com", &["ENIConfig"]),
    (
        "*.crossplane.io",
        &[
            "*ProviderConfig",
            "*ProviderConfigUsage",
            "ControllerConfig",
            "DeploymentRuntimeConfig",
            "EnvironmentConfig",
            "ImageConfig",
            "Lock",
            "StoreConfig",
        ],
    ),
    ("dapr.io", &["Component", "Configuration", "HTTPEndpoint", "Resiliency", "Subscription"]),
    ("elbv2.k8s.aws", &["IngressClassParams"]),
    ("gateway.envoyproxy.io", &["EnvoyProxy", "HTTPRouteFilter"]),
    ("gateway.networking.k8s.io", &["ReferenceGrant"]),
    ("generators.external-secrets.io", &["*"]),
    ("getambassador.io", &["Mapping", "Module", "TLSContext"]),
    ("groupsnapshot.storage.k8s.io", &["VolumeGroupSnapshotClass"]),
    ("instancetype.kubevirt.io", &["*"]),
    ("k8s.cni.cncf.io", &["NetworkAttachmentDefinition"]),
    ("keda.sh", &["ClusterTriggerAuthentication", "TriggerAuthentication"]),
    ("kueue.x-k8s.io", &["ResourceFlavor", "Topology", "WorkloadPriorityClass"]),
    ("linkerd.io", &["ServiceProfile"]),
    ("metallb.io", &["BFDProfile", "BGPAdvertisement", "Community", "IPAddressPool", "L2Advertisement"]),
    ("networking.gke.io", &["FrontendConfig"]),
    ("nfd.k8s-sigs.io", &["NodeFeature", "NodeFeatureRule"]),
    ("opentelemetry.io", &["Instrumentation"]),
    (
        "policy.linkerd.io",
        &[
            "AuthorizationPolicy",
            "MeshTLSAuthentication",
            "NetworkAuthentication",
            "Server",
            "ServerAuthorization",
        ],
    ),
    (
        "*.projectcalico.org",
        &[
            "BGPConfiguration",
            "BGPFilter",
            "BGPPeer",
            "FelixConfiguration",
            "GlobalNetworkPolicy",
            "GlobalNetworkSet",
            "HostEndpoint",
            "IPPool",
            "IPReservation",
            "NetworkPolicy",
            "NetworkSet",
            "Tier",
        ],
    ),
    ("projectcontour.io", &["TLSCertificateDelegation"]),
    ("secrets-store.csi.x-k8s.io", &["SecretProviderClass"]),
    ("security.openshift.io", &["SecurityContextConstraints"]),
    ("serving.kserve.io", &["ClusterServingRuntime", "ClusterStorageContainer", "ServingRuntime"]),
    ("snapshot.storage.k8s.io", &["VolumeSnapshotClass"]),
    ("tekton.dev", &["ClusterTask", "Pipeline", "StepAction", "Task"]),
    ("traefik.containo.us", &["*"]),
    ("traefik.io", &["*"]),
    ("trainer.kubeflow.org", &["ClusterTrainingRuntime", "TrainingRuntime"]),
    ("triggers.tekton.dev", &["ClusterTriggerBinding", "Trigger", "TriggerBinding", "TriggerTemplate"]),
    ("*.upbound.io", &["*ProviderConfig", "*ProviderConfigUsage", "StoreConfig"]),
    ("vpcresources.k8s.aws", &["SecurityGroupPolicy"]),
];

/// Healthy, when the kind only configures; `declared` is what its definition says of a status, where that is known.
pub(super) fn judge(subject: &Subject<'_>, declares_status: Option<bool>) -> Option<Judgment> {
    let is_known = KINDS.iter().any(|(group, kinds)| {
        is_group(group, subject.group) && kinds.iter().any(|kind| is_kind(kind, subject.kind))
    });
    let without = declares_status == Some(false) && subject.object.get("status").is_none_or(Value::is_null);
    let has_conditions = match subject.status("conditions") {
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(map)) => !map.is_empty(),
        _ => false,
    };
    ((is_known && !has_conditions) || without).then(|| Judgment {
        message: format!("{} exists; its kind has no status", subject.kind),
        ..Judgment::healthy()
    })
}

fn is_group(pattern: &str, group: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(domain) => group.ends_with(domain) || group == domain.trim_start_matches('.'),
        None => pattern == group,
    }
}

fn is_kind(pattern: &str, kind: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(ending), _) => kind.ends_with(ending),
        (None, Some(beginning)) => kind.starts_with(beginning),
        (None, None) => pattern == kind,
    }
}
