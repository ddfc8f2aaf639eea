//! What a pod takes of a quota, and of which quotas.
//!
//! After `k8s.io/kubernetes/pkg/quota/v1/evaluator/core/pods.go` and `k8s.io/component-helpers/resource` of 1.34.

use std::collections::BTreeMap;

use serde_json::Value;

use super::amount::Amount;

pub(super) type Amounts = BTreeMap<String, Amount>;

/// Resources that are also written without `requests.`.
const PLAIN: &[&str] = &["cpu", "memory", "ephemeral-storage"];
/// What decides the class of service.
const OF_CLASS: &[&str] = &["cpu", "memory"];

/// A pod's spec with what a namespace gives to containers that don't say it.
pub(super) fn with_defaults(spec: &Value, limit_ranges: &[Value]) -> Value {
    let mut spec = spec.clone();
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            complete(container, limit_ranges);
        }
    }
    spec
}

fn complete(container: &mut Value, limit_ranges: &[Value]) {
    if !container.is_object() {
        return;
    }
    let of = |container: &Value, part: &str| {
        container
            .pointer(&format!("/resources/{part}"))
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
    };
    let (mut limits, mut requests) = (of(container, "limits"), of(container, "requests"));
    // The API server itself does this, before any range is looked at.
    fill(&mut requests, &limits);
    let ranges = limit_ranges.iter().filter_map(|range| range.pointer("/spec/limits")?.as_array()).flatten();
    for range in ranges.filter(|range| range["type"] == "Container") {
        let given = |name: &str| range[name].as_object().cloned().unwrap_or_default();
        fill(&mut limits, &given("default"));
        fill(&mut requests, &given("defaultRequest"));
    }
    container["resources"] = serde_json::json!({"limits": limits, "requests": requests});
}

fn fill(known: &mut serde_json::Map<String, Value>, more: &serde_json::Map<String, Value>) {
    for (name, value) in more {
        known.entry(name.clone()).or_insert_with(|| value.clone());
    }
}

/// What one pod counts.
pub(super) fn usage(spec: &Value) -> Amounts {
    let one = Amount::whole(1);
    let mut usage = Amounts::from([("pods".to_owned(), one), ("count/pods".to_owned(), one)]);
    for (name, amount) in total(spec, "requests") {
        if PLAIN.contains(&name.as_str()) || name.starts_with("hugepages-") {
            usage.insert(name.clone(), amount);
        }
        usage.insert(format!("requests.{name}"), amount);
    }
    for (name, amount) in total(spec, "limits") {
        usage.insert(format!("limits.{name}"), amount);
    }
    usage
}

/// What the pod asks for, `requests` or `limits`: all containers at once, or what an earlier one needs alone.
fn total(spec: &Value, part: &str) -> Amounts {
    let mut main = Amounts::new();
    for container in list(spec, "containers") {
        add(&mut main, &asked(container, part));
    }
    let (mut beside, mut before) = (Amounts::new(), Amounts::new());
    for container in list(spec, "initContainers") {
        let mut now = asked(container, part);
        if container["restartPolicy"] == "Always" {
            add(&mut main, &now);
            add(&mut beside, &now);
            now.clone_from(&beside);
        } else {
            add(&mut now, &beside);
        }
        for (name, amount) in now {
            let known = before.entry(name).or_default();
            *known = (*known).max(amount);
        }
    }
    let mut total = main;
    for (name, amount) in before {
        let known = total.entry(name).or_default();
        *known = (*known).max(amount);
    }
    // What the pod as a whole asks for stands for its containers.
    total.extend(asked(spec, part));
    for (name, amount) in amounts(spec.get("overhead")) {
        if part == "requests" || total.contains_key(&name) {
            let known = total.entry(name).or_default();
            *known = known.plus(amount);
        }
    }
    total
}

fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let known = sum.entry(name.clone()).or_default();
        *known = known.plus(*amount);
    }
}

/// Of a container, or of a pod's spec.
fn asked(of: &Value, part: &str) -> Amounts {
    amounts(of.pointer(&format!("/resources/{part}")))
}

fn amounts(map: Option<&Value>) -> Amounts {
    let all = map.and_then(Value::as_object).into_iter().flatten();
    all.filter_map(|(name, value)| Some((name.clone(), Amount::of(value)?))).collect()
}

fn list<'a>(spec: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    spec.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// Whether a quota counts a pod: all of its scopes do.
pub(super) fn is_counted(quota: &Value, spec: &Value) -> bool {
    scopes(quota).all(|scope| matches(scope, spec))
}

/// Name, operator and values.
type Scope<'a> = (&'a str, &'a str, Vec<&'a str>);

pub(super) fn scopes(quota: &Value) -> impl Iterator<Item = Scope<'_>> {
    let plain = quota.pointer("/spec/scopes").and_then(Value::as_array).into_iter().flatten();
    let plain = plain.filter_map(Value::as_str).map(|name| (name, "Exists", Vec::new()));
    let selected = quota.pointer("/spec/scopeSelector/matchExpressions").and_then(Value::as_array);
    let selected = selected.into_iter().flatten().map(|it| {
        let values = it["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        (it["scopeName"].as_str().unwrap_or_default(), it["operator"].as_str().unwrap_or_default(), values)
    });
    plain.chain(selected)
}

fn matches((name, operator, values): Scope<'_>, spec: &Value) -> bool {
    let ends = spec["activeDeadlineSeconds"].as_i64().is_some_and(|seconds| seconds >= 0);
    match name {
        "Terminating" => ends,
        "NotTerminating" => !ends,
        "BestEffort" => is_best_effort(spec),
        "NotBestEffort" => !is_best_effort(spec),
        "PriorityClass" => {
            let class = spec["priorityClassName"].as_str().unwrap_or_default();
            match operator {
                "In" => values.contains(&class),
                "NotIn" => !values.contains(&class),
                "DoesNotExist" => class.is_empty(),
                _ => !class.is_empty(),
            }
        }
        "CrossNamespacePodAffinity" => has_affinity_elsewhere(spec),
        // Of other kinds.
        _ => false,
    }
}

/// No container asks for anything that decides the class.
fn is_best_effort(spec: &Value) -> bool {
    let containers = list(spec, "containers").chain(list(spec, "initContainers")).chain([spec]);
    let asks = |of: &Value, part: &str| {
        asked(of, part).iter().any(|(name, amount)| OF_CLASS.contains(&name.as_str()) && amount.is_positive())
    };
    !containers.into_iter().any(|of| asks(of, "requests") || asks(of, "limits"))
}

fn has_affinity_elsewhere(spec: &Value) -> bool {
    let mut terms = Vec::new();
    for kind in ["podAffinity", "podAntiAffinity"] {
        let of = |name: &str| spec.pointer(&format!("/affinity/{kind}/{name}")).and_then(Value::as_array);
        terms.extend(of("requiredDuringSchedulingIgnoredDuringExecution").into_iter().flatten());
        let preferred = of("preferredDuringSchedulingIgnoredDuringExecution").into_iter().flatten();
        terms.extend(preferred.filter_map(|it| it.get("podAffinityTerm")));
    }
    let is_elsewhere = |term: &&Value| {
        let names = term["namespaces"].as_array().is_some_and(|names| !names.is_empty());
        names || term.get("namespaceSelector").is_some_and(|it| !it.is_null())
    };
    terms.iter().any(is_elsewhere)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(spec: &Value) -> Vec<String> {
        let usage = usage(spec);
        usage.iter().map(|(name, amount)| format!("{name}={amount}")).collect()
    }

    fn container(requests: Value, limits: Value) -> Value {
        json!({"name": "web", "resources": {"requests": requests, "limits": limits}})
    }

    #[test]
    fn a_pod_counts_what_its_containers_ask_for_together() {
        let spec = json!({
            "containers": [container(json!({"cpu": "100m", "memory": "64Mi"}), json!({"memory": "128Mi"})),
                           container(json!({"cpu": "150m"}), json!({}))],
            "initContainers": [container(json!({"cpu": "1"}), json!({}))],
        });
        assert_eq!(
            shown(&spec),
            [
                "count/pods=1",
                "cpu=1",
                "limits.memory=128Mi",
                "memory=64Mi",
                "pods=1",
                "requests.cpu=1",
                "requests.memory=64Mi"
            ]
        );
    }

    #[test]
    fn sidecars_count_all_the_time_and_beside_what_begins_after_them() {
        let mut sidecar = container(json!({"cpu": "200m"}), json!({}));
        sidecar["restartPolicy"] = json!("Always");
        let first = container(json!({"cpu": "500m"}), json!({}));
        let spec = |init: Vec<&Value>| json!({"containers": [container(json!({"cpu": "100m"}), json!({}))], "initContainers": init});
        let cpu = |spec: Value| usage(&spec)["requests.cpu"].to_string();
        assert_eq!(cpu(spec(vec![&sidecar])), "300m");
        assert_eq!(cpu(spec(vec![&first, &sidecar])), "500m", "it ended before the sidecar began");
        assert_eq!(cpu(spec(vec![&sidecar, &first])), "700m");
    }

    #[test]
    fn overhead_and_what_the_pod_asks_for_as_a_whole_count() {
        let spec = json!({
            "resources": {"requests": {"cpu": "2"}}, "overhead": {"cpu": "100m", "memory": "10Mi"},
            "containers": [container(json!({"cpu": "1", "nvidia.com/gpu": "1"}), json!({}))],
        });
        assert_eq!(
            shown(&spec),
            [
                "count/pods=1",
                "cpu=2100m",
                "memory=10Mi",
                "pods=1",
                "requests.cpu=2100m",
                "requests.memory=10Mi",
                "requests.nvidia.com/gpu=1"
            ]
        );
    }

    #[test]
    fn a_namespace_gives_what_containers_do_not_say() {
        let range = json!({"spec": {"limits": [
            {"type": "Pod", "max": {"cpu": "4"}},
            {"type": "Container", "default": {"cpu": "1", "memory": "1Gi"}, "defaultRequest": {"cpu": "250m"}},
        ]}});
        let spec = |requests: Value, limits: Value| {
            let spec = json!({"containers": [container(requests, limits), {"name": "side"}]});
            with_defaults(&spec, std::slice::from_ref(&range))
        };
        let found = usage(&spec(json!({}), json!({"cpu": "500m"})));
        assert_eq!(found["requests.cpu"].to_string(), "750m", "a limit alone is a request, too");
        assert_eq!(found["limits.cpu"].to_string(), "1500m");
        assert_eq!(found["limits.memory"].to_string(), "2Gi");
        assert_eq!(usage(&with_defaults(&json!({"containers": [{"name": "web"}]}), &[])).len(), 2);
    }

    #[test]
    fn a_quota_counts_the_pods_of_its_scopes() {
        let plain = json!({"containers": [{"name": "web"}]});
        let asking =
            json!({"containers": [container(json!({"cpu": "1"}), json!({}))], "priorityClassName": "high"});
        let ending = json!({"containers": [], "activeDeadlineSeconds": 60});
        let counted = |spec: Value| {
            let quota = json!({"spec": spec});
            [&plain, &asking, &ending].map(|spec| is_counted(&quota, spec))
        };
        assert_eq!(counted(json!({})), [true, true, true]);
        assert_eq!(counted(json!({"scopes": ["BestEffort"]})), [true, false, true]);
        assert_eq!(counted(json!({"scopes": ["NotBestEffort"]})), [false, true, false]);
        assert_eq!(counted(json!({"scopes": ["Terminating"]})), [false, false, true]);
        assert_eq!(counted(json!({"scopes": ["NotTerminating", "BestEffort"]})), [true, false, false]);
        let class = |operator: &str, values: Value| {
            json!({"scopeSelector": {"matchExpressions": [
                {"scopeName": "PriorityClass", "operator": operator, "values": values}]}})
        };
        assert_eq!(counted(class("In", json!(["high"]))), [false, true, false]);
        assert_eq!(counted(class("NotIn", json!(["high"]))), [true, false, true]);
        assert_eq!(counted(class("Exists", json!([]))), [false, true, false]);
        assert_eq!(counted(class("DoesNotExist", json!([]))), [true, false, true]);
        assert_eq!(counted(json!({"scopes": ["VolumeAttributesClass"]})), [false, false, false]);
        let near = json!({"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"podAffinityTerm": {"namespaces": ["other"]}}]}}});
        let quota = json!({"spec": {"scopes": ["CrossNamespacePodAffinity"]}});
        assert!(is_counted(&quota, &near) && !is_counted(&quota, &plain));
    }
}
