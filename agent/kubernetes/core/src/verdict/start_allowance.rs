//! How long a pod may take to start, as its own template says.
//!
//! A startup probe and the initial delay of a probe allow a slow start (Kubernetes, "Protect slow starting
//! containers with startup probes"); a deadline that ignored them would fail what the kubelet still waits for.

use serde_json::Value;
use trimaran_model::time::Millis;

use crate::object::{Object, at, list_of};

/// The API server's defaults of a probe.
const PERIOD: u64 = 10;
const FAILURES: u64 = 3;
/// `terminationGracePeriodSeconds` where none is given: the default deadline allows for it already.
const TERMINATION: u64 = 30;
/// More than a week in one field is no statement about a start.
const FIELD_MAX: u64 = 7 * 24 * 3600;

/// What the pod template of a workload allows beyond the default deadline: the start of its containers, the time
/// for which a pod must be ready, and a long end of the pod before.
pub(super) fn of_workload(object: Object<'_>) -> Millis {
    let settling = seconds(object.at("spec.minReadySeconds")).unwrap_or(0);
    Millis(of_template(object).0.saturating_add(Millis::seconds(settling).0))
}

/// The part of it that is about single pods.
pub(super) fn of_template(object: Object<'_>) -> Millis {
    object.at("spec.template.spec").map_or(Millis::ZERO, of_pod_spec)
}

/// What one pod's spec allows.
pub(super) fn of_pod_spec(spec: &Value) -> Millis {
    // Init containers start one after the other; only sidecars have probes. All others start together.
    let first: u64 = list_of(spec.get("initContainers")).iter().map(of_container).sum();
    let then = list_of(spec.get("containers")).iter().map(of_container).max().unwrap_or(0);
    let ending = seconds(spec.get("terminationGracePeriodSeconds")).unwrap_or(TERMINATION);
    Millis::seconds(first.saturating_add(then).saturating_add(ending.saturating_sub(TERMINATION)))
}

fn of_container(container: &Value) -> u64 {
    let delay = |probe: &str| seconds(at(container, &format!("{probe}.initialDelaySeconds"))).unwrap_or(0);
    let startup = container.get("startupProbe").filter(|probe| probe.is_object()).map_or(0, |probe| {
        let period = seconds(probe.get("periodSeconds")).unwrap_or(PERIOD);
        let failures = seconds(probe.get("failureThreshold")).unwrap_or(FAILURES);
        delay("startupProbe").saturating_add(period.saturating_mul(failures))
    });
    startup.max(delay("readinessProbe")).max(delay("livenessProbe"))
}

fn seconds(value: Option<&Value>) -> Option<u64> {
    value.and_then(Value::as_u64).map(|seconds| seconds.min(FIELD_MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn probes_allow_what_they_say() {
        let spec = json!({
            "terminationGracePeriodSeconds": 90,
            "initContainers": [{"name": "proxy", "restartPolicy": "Always", "startupProbe": {"failureThreshold": 6}}],
            "containers": [
                {"name": "db", "startupProbe": {"periodSeconds": 30, "failureThreshold": 60, "initialDelaySeconds": 5}},
                {"name": "web", "readinessProbe": {"initialDelaySeconds": 120}},
            ],
        });
        assert_eq!(of_pod_spec(&spec), Millis::seconds(60 + 1805 + 60));
    }

    #[test]
    fn nothing_said_and_nonsense_allow_nothing() {
        for spec in [json!({}), json!(null), json!({"containers": [{}, 3, {"startupProbe": "x"}]}), json!([])]
        {
            assert_eq!(of_pod_spec(&spec), Millis::ZERO, "{spec}");
        }
        let huge = json!({"containers": [{"startupProbe": {"periodSeconds": u64::MAX, "failureThreshold": u64::MAX}}]});
        assert!(of_pod_spec(&huge).0 < u64::MAX);
    }
}
