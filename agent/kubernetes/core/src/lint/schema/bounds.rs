//! Bounds of numbers and forms of names that a server asks for and no schema shows.
//!
//! Each row is a check of the validation of an API server (`pkg/apis/*/validation` of Kubernetes 1.33 to 1.37), for one
//! field of a type. What is not certain in every release, or depends on other fields, is not here.

use serde_json::Value;

use super::document::kind_of;
use crate::finding::shown;
use crate::lint::quantity::whole;
use crate::lint::unrendered::is_template;

/// What is wrong with a value, and what to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) help: String,
}

/// What a value has to be.
#[derive(Debug, Clone, Copy)]
enum Bound {
    /// A whole number, both ends included.
    Number(i64, i64),
    /// A number of a port or the name of one.
    Port,
    /// The name of a port (RFC 6335, 5.1).
    PortName,
    /// A label of the domain name system (RFC 1123, 2.1).
    Label,
    /// Such labels with points between them, and perhaps `*.` before them.
    Host,
    /// Printable ASCII without `=`.
    Variable,
}

const MAX: i64 = i64::MAX;
const A_PORT: Bound = Bound::Number(1, 65_535);
const COUNT: Bound = Bound::Number(0, MAX);

/// The bound of a field.
fn bound(type_name: &str, field: &str) -> Option<Bound> {
    let group = type_name.split('.').next().unwrap_or_default();
    Some(match (group, kind_of(type_name), field) {
        ("core", "Container" | "EphemeralContainer" | "Volume", "name") => Bound::Label,
        ("core", "ContainerPort", "containerPort")
        | ("core", "ServicePort", "port")
        | ("core", "GRPCAction", "port")
        | ("networking", "ServiceBackendPort", "number")
        | ("networking", "NetworkPolicyPort", "endPort") => A_PORT,
        ("core", "ContainerPort", "hostPort")
        | ("core", "ServicePort", "nodePort")
        | ("core", "ServiceSpec", "healthCheckNodePort") => Bound::Number(0, 65_535),
        ("core", "HTTPGetAction" | "TCPSocketAction", "port")
        | ("core", "ServicePort", "targetPort")
        | ("networking", "NetworkPolicyPort", "port") => Bound::Port,
        ("core", "ContainerPort", "name") => Bound::PortName,
        ("core", "ServicePort", "name") => Bound::Label,
        ("core", "EnvVar", "name") => Bound::Variable,
        ("networking", "IngressRule", "host") => Bound::Host,
        (
            "core",
            "Probe",
            "initialDelaySeconds"
            | "timeoutSeconds"
            | "periodSeconds"
            | "successThreshold"
            | "failureThreshold",
        )
        | ("core", "PodSpec", "terminationGracePeriodSeconds")
        | ("core", "SecurityContext" | "PodSecurityContext", "runAsUser" | "runAsGroup")
        | (
            "apps",
            "DeploymentSpec" | "StatefulSetSpec" | "DaemonSetSpec" | "ReplicaSetSpec",
            "replicas" | "minReadySeconds" | "revisionHistoryLimit" | "progressDeadlineSeconds",
        )
        | (
            "batch",
            "JobSpec",
            "parallelism"
            | "completions"
            | "backoffLimit"
            | "activeDeadlineSeconds"
            | "ttlSecondsAfterFinished",
        )
        | (
            "batch",
            "CronJobSpec",
            "startingDeadlineSeconds" | "successfulJobsHistoryLimit" | "failedJobsHistoryLimit",
        )
        | ("autoscaling", "HorizontalPodAutoscalerSpec", "minReplicas") => COUNT,
        ("core", "Probe", "terminationGracePeriodSeconds")
        | ("core", "PodSpec", "activeDeadlineSeconds")
        | ("core", "TopologySpreadConstraint", "maxSkew")
        | ("autoscaling", "HorizontalPodAutoscalerSpec", "maxReplicas") => Bound::Number(1, MAX),
        ("core", "PreferredSchedulingTerm" | "WeightedPodAffinityTerm", "weight") => Bound::Number(1, 100),
        ("core", "ClientIPConfig", "timeoutSeconds") => Bound::Number(1, 86_400),
        (
            "core",
            "ConfigMapVolumeSource"
            | "SecretVolumeSource"
            | "ProjectedVolumeSource"
            | "DownwardAPIVolumeSource",
            "defaultMode",
        )
        | ("core", "KeyToPath" | "DownwardAPIVolumeFile", "mode") => Bound::Number(0, 0o777),
        _ => return None,
    })
}

/// What is wrong with the value of a field; `None` also where it is of another type, which is a finding of its own.
pub(super) fn fault(type_name: &str, field: &str, value: &Value) -> Option<Fault> {
    let bound = bound(type_name, field)?;
    let name = value.as_str().filter(|text| !is_template(text));
    let fault = |message: String, help: &str| Some(Fault { message, help: help.to_owned() });
    match (bound, name) {
        (Bound::Number(least, most), _) => outside(field, whole(value)?, least, most),
        (Bound::Port, None) => outside(field, whole(value)?, 1, 65_535),
        // A number in quotes is a value of another type.
        (Bound::Port, Some(name)) if name.bytes().all(|it| it.is_ascii_digit()) => None,
        (Bound::Port | Bound::PortName, Some(name)) if !name.is_empty() && !is_port_name(name) => {
            let help = "use 1 to 15 lower-case letters, digits and `-`, with at least one letter";
            fault(format!("`{}` is not a valid name of a port", shown(name)), help)
        }
        (Bound::Label, Some(name)) if !is_label(name) => {
            let help = "use 1 to 63 lower-case letters, digits and `-`, with a letter or digit at both ends";
            fault(format!("`{}` is not a valid `{field}` of a {}", shown(name), plain(type_name)), help)
        }
        (Bound::Host, Some(name)) if !name.is_empty() && !is_host(name) => {
            let help = "use lower-case letters, digits, `-` and `.`, without a scheme, a port or a path";
            fault(format!("`{}` is not a valid name of a host", shown(name)), help)
        }
        (Bound::Variable, Some(name))
            if name.is_empty() || !name.bytes().all(|it| (0x20..0x7f).contains(&it) && it != b'=') =>
        {
            let help = "use printable ASCII characters without `=`";
            fault(format!("`{}` is not a valid name of a variable", shown(name)), help)
        }
        _ => None,
    }
}

fn outside(field: &str, number: i64, least: i64, most: i64) -> Option<Fault> {
    let (message, help) = match number {
        _ if (least..=most).contains(&number) => return None,
        _ if most == MAX => (format!("`{field}` is {number}"), format!("write {least} or more")),
        _ => (format!("`{field}` is {number}"), format!("write a number from {least} to {most}")),
    };
    Some(Fault { message, help })
}

/// How messages call the thing of a type.
fn plain(type_name: &str) -> &'static str {
    match kind_of(type_name) {
        "Volume" => "volume",
        "ServicePort" => "port",
        _ => "container",
    }
}

fn is_label(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = text.bytes().next().is_some_and(fits) && text.bytes().last().is_some_and(fits);
    ends && text.len() <= 63 && text.bytes().all(|byte| fits(byte) || byte == b'-')
}

fn is_host(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    name.len() <= 253 && name.split('.').all(is_label)
}

fn is_port_name(text: &str) -> bool {
    is_label(text)
        && text.len() <= 15
        && !text.contains("--")
        && text.bytes().any(|it| it.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bounds_have_two_sides() {
        let cases = [
            ("core.v1.ContainerPort", "containerPort", json!([1, 65_535]), json!([0, -1, 65_536])),
            ("core.v1.ContainerPort", "hostPort", json!([0, 80]), json!([-1, 65_536])),
            (
                "core.v1.ServicePort",
                "targetPort",
                json!([1, "http", "80", ""]),
                json!([0, 70_000, "Http", "a--b", "a234567890123456"]),
            ),
            (
                "core.v1.ContainerPort",
                "name",
                json!(["http", "a1", ""]),
                json!(["HTTP", "-a", "12", "metrics_port", "much-too-long-name"]),
            ),
            ("core.v1.ServicePort", "name", json!(["http-metrics-of-all"]), json!(["http_metrics", "A"])),
            (
                "core.v1.Container",
                "name",
                json!(["web", "1", "{{ name }}"]),
                json!(["Web", "a_b", "a.b", "-a", ""]),
            ),
            ("core.v1.Volume", "name", json!(["data"]), json!(["data_1"])),
            ("core.v1.EnvVar", "name", json!(["A", "a.b", "my var"]), json!(["A=B", "", "Ä"])),
            (
                "networking.v1.IngressRule",
                "host",
                json!(["a.example", "*.a.example", ""]),
                json!(["https://a", "A.example", "a:80"]),
            ),
            ("apps.v1.DeploymentSpec", "replicas", json!([0, 7]), json!([-1])),
            ("autoscaling.v2.HorizontalPodAutoscalerSpec", "maxReplicas", json!([1]), json!([0])),
            ("core.v1.TopologySpreadConstraint", "maxSkew", json!([1]), json!([0])),
            ("core.v1.WeightedPodAffinityTerm", "weight", json!([1, 100]), json!([0, 101])),
            ("core.v1.KeyToPath", "mode", json!([0, 511]), json!([512, -1])),
        ];
        for (name, field, good, bad) in cases {
            for value in good.as_array().expect("a list") {
                assert_eq!(fault(name, field, value), None, "{name}.{field}: {value}");
            }
            for value in bad.as_array().expect("a list") {
                let fault = fault(name, field, value).unwrap_or_else(|| panic!("{name}.{field}: {value}"));
                assert!(!fault.message.is_empty() && !fault.help.is_empty(), "{fault:?}");
            }
        }
    }

    #[test]
    fn values_of_another_type_are_not_judged() {
        for value in [json!("80"), json!([80]), json!(null), json!(1.5), json!(true)] {
            assert_eq!(fault("core.v1.ContainerPort", "containerPort", &value), None, "{value}");
        }
        assert_eq!(fault("core.v1.Container", "image", &json!("")), None);
    }
}
