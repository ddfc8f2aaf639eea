//! Objects whose controller was instructed to leave them alone, or that were switched off on purpose.
//!
//! Their status describes the time before, often in best health, and their generation lags, so this is asked before
//! the generation and before any rule. A rule that names a field or condition itself decides what it means.

use trimaran_model::time::Wall;

use super::condition::{Condition, Conditions, Truth};
use super::polarity::{Polarity, polarity};
use super::status_vocabulary::tokens;
use super::subject::{Status, Subject};
use crate::judgment::Judgment;
use crate::object::Object;

/// Which value of a marker switches the controller off.
#[derive(Debug, Clone, Copy)]
enum When {
    /// Any, also an empty one.
    Set,
    Is(&'static str),
}

/// Annotations and labels that the documentation of a controller names; they work on objects of every group.
const MARKERS: &[(&str, When)] = &[
    ("argocd.argoproj.io/skip-reconcile", When::Is("true")),
    ("autoscaling.keda.sh/paused", When::Is("true")),
    ("baremetalhost.metal3.io/paused", When::Set),
    ("cluster.x-k8s.io/paused", When::Set),
    ("common.k8s.elastic.co/managed", When::Is("false")),
    ("common.k8s.elastic.co/pause", When::Is("true")),
    ("crossplane.io/paused", When::Is("true")),
    ("eck.k8s.elastic.co/managed", When::Is("false")),
    ("eck.k8s.elastic.co/pause-orchestration", When::Is("true")),
    ("rabbitmq.com/pauseReconciliation", When::Is("true")),
    ("serviceoperator.azure.com/reconcile-policy", When::Is("skip")),
    ("serving.kserve.io/stop", When::Is("true")),
    ("strimzi.io/pause-reconciliation", When::Is("true")),
];

/// Words of a marker's name that stop a controller, alone or beside one of [`CONTROLLER`].
const STOPS: &[&str] = &["pause", "paused", "suspend", "suspended"];
/// Words that do so only beside one of [`CONTROLLER`].
const SKIPS: &[&str] = &["skip", "disable", "disabled", "stop", "stopped"];
const CONTROLLER: &[&str] =
    &["reconcile", "reconciliation", "reconciling", "reconciler", "orchestration", "operator", "controller"];
const TRUTHS: &[&str] = &["", "true", "yes", "on", "1", "enabled"];
/// Values of a marker such as `reconciliationLoop` or `reconcile-policy` that stop its controller.
const OFF: &[&str] = &["disabled", "false", "off", "no", "skip", "paused", "unmanaged"];

/// Fields of a spec that suspend an object when they are true.
const FIELDS: &[&str] = &["suspend", "suspended", "paused", "pause", "stopped"];

/// An annotation or label that stops the controller of the object.
pub(super) fn by_marker(subject: &Subject<'_>) -> Option<Judgment> {
    ["annotations", "labels"].into_iter().find_map(|kind| {
        let map = Object::new(subject.object).at(&format!("metadata.{kind}"))?.as_object()?;
        let mut stopping: Vec<(&String, &str)> = map
            .iter()
            .filter_map(|(key, value)| Some((key, value.as_str()?)))
            .filter(|(key, value)| stops(subject, key, value))
            .collect();
        stopping.sort_unstable();
        let (key, value) = *stopping.first()?;
        let what = kind.trim_end_matches('s');
        let message = if value.is_empty() {
            format!("its controller leaves it alone: the {what} {key} is set")
        } else {
            format!("its controller leaves it alone: the {what} {key} is {value}")
        };
        let evidence = subject.evidence(format!("metadata.{kind}[{key}]"), &value.into(), None);
        Some(Judgment::suspended(message).with(evidence))
    })
}

fn stops(subject: &Subject<'_>, key: &str, value: &str) -> bool {
    let known = MARKERS.iter().find(|(marker, _)| *marker == key);
    if let Some((_, when)) = known {
        return match when {
            When::Set => true,
            When::Is(stop) => value.eq_ignore_ascii_case(stop),
        };
    }
    let Some((domain, name)) = key.split_once('/') else { return false };
    let words = tokens(name);
    let value = value.to_lowercase();
    let (controller, rest): (Vec<&String>, Vec<&String>) =
        words.iter().partition(|word| CONTROLLER.contains(&word.as_str()));
    let all = |list: &[&str]| !rest.is_empty() && rest.iter().all(|word| list.contains(&word.as_str()));
    let stops = all(STOPS) || (all(SKIPS) && !controller.is_empty());
    let loops = !controller.is_empty() && (rest.is_empty() || all(&["loop", "policy"]));
    (stops && TRUTHS.contains(&value.as_str()) || loops && OFF.contains(&value.as_str()))
        && is_related(domain, subject.group)
}

/// Whether a domain is of the same owner as a group: both end in the same two labels.
fn is_related(domain: &str, group: &str) -> bool {
    let owner = |name: &str| name.rsplit('.').take(2).map(str::to_owned).collect::<Vec<_>>();
    let (of_domain, of_group) = (owner(domain), owner(group));
    of_domain.len() == 2 && of_domain == of_group
}

/// A field of the spec that suspends, unless `names` says that the rule of the kind reads it itself.
pub(super) fn by_spec(subject: &Subject<'_>, names: impl Fn(&str) -> bool) -> Option<Judgment> {
    let is_true = FIELDS.iter().find_map(|field| {
        let value = subject.spec(field).filter(|value| value.as_bool() == Some(true) && !names(field))?;
        Some((*field, value))
    });
    let unmanaged = || {
        let state = subject.spec("managementState")?;
        let is_off = state.as_str().is_some_and(|state| state.eq_ignore_ascii_case("unmanaged"));
        (is_off && !names("managementState")).then_some(("managementState", state))
    };
    let (field, value) = is_true.or_else(unmanaged)?;
    let path = format!("spec.{field}");
    let shown = super::subject::shown(value);
    Some(Judgment::suspended(format!("{path} is {shown}")).with(subject.evidence(path, value, None)))
}

/// A condition that says so (`Paused`, `Suspended`, `Stopped`), or a summary that is not True for that reason. `names`
/// says which conditions the rule of the kind reads itself.
pub(super) fn by_condition(
    subject: &Subject<'_>,
    conditions: &Conditions<'_>,
    names: impl Fn(&str) -> bool,
) -> Option<Judgment> {
    let Status::Map(_) = subject.status else { return None };
    let mut all = conditions.by_name.values().filter(|condition| !condition.stale);
    let found = all.find(|condition| {
        (suspends(condition) && !names(&condition.name)) || is_stopped(subject, condition)
    })?;
    let path = format!("status.conditions[{}].status", found.name);
    let evidence = subject.evidence(path, &found.truth.as_str().into(), found.at as Option<Wall>);
    Some(Judgment::suspended(found.sentence()).with(evidence))
}

fn suspends(condition: &Condition<'_>) -> bool {
    polarity(&condition.name) == Some(Polarity::Suspended) && condition.truth == Truth::True
}

/// `Ready` False for the reason `Stopped`, `Paused`, `ReconcilePaused` or `ClusterSuspended`.
fn is_stopped(subject: &Subject<'_>, condition: &Condition<'_>) -> bool {
    let sums_up = polarity(&condition.name) == Some(Polarity::Proof) || condition.name == "Active";
    if !sums_up || condition.truth == Truth::True {
        return false;
    }
    let kind = tokens(subject.kind);
    let words = tokens(condition.reason);
    let Some((last, rest)) = words.split_last() else { return false };
    let stopped = STOPS.contains(&last.as_str()) || matches!(last.as_str(), "stopped" | "hibernated");
    stopped && rest.iter().all(|word| CONTROLLER.contains(&word.as_str()) || kind.contains(word))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(group: &str, metadata: Value) -> Value {
        json!({"apiVersion": format!("{group}/v1"), "kind": "Widget", "metadata": metadata})
    }

    #[test]
    fn markers_of_controllers_suspend() {
        for (group, key, value) in [
            ("postgresql.cnpg.io", "cnpg.io/reconciliationLoop", "disabled"),
            ("postgresql.k8s.enterprisedb.io", "k8s.enterprisedb.io/reconciliationLoop", "disabled"),
            ("infrastructure.cluster.x-k8s.io", "cluster.x-k8s.io/paused", ""),
            ("kibana.k8s.elastic.co", "eck.k8s.elastic.co/managed", "false"),
            ("shop.example.org", "crossplane.io/paused", "true"),
            ("redis.redis.opstreelabs.in", "redis.opstreelabs.in/skip-reconcile", "true"),
            ("acme.example", "ops.acme.example/pause-reconciliation", "True"),
            ("acme.example", "acme.example/reconcile", "disabled"),
        ] {
            let object = object(group, json!({"annotations": {key: value}}));
            let judgment =
                by_marker(&Subject::new(&object, None)).unwrap_or_else(|| panic!("{key}: {value}"));
            assert!(judgment.message.contains(key), "{}", judgment.message);
        }
        let labelled =
            object("rabbitmq.com", json!({"labels": {"rabbitmq.com/pauseReconciliation": "true"}}));
        assert!(by_marker(&Subject::new(&labelled, None)).is_some());
    }

    #[test]
    fn other_markers_do_not() {
        for (group, key, value) in [
            ("kibana.k8s.elastic.co", "eck.k8s.elastic.co/managed", "true"),
            ("shop.example.org", "crossplane.io/paused", "false"),
            ("source.toolkit.fluxcd.io", "reconcile.fluxcd.io/requestedAt", "now"),
            ("shop.example.org", "kustomize.toolkit.fluxcd.io/reconcile", "disabled"),
            ("acme.example", "other.example.org/pause", "true"),
            ("acme.example", "acme.example/stop", "true"),
            ("acme.example", "acme.example/paused-replicas", "3"),
            ("acme.example", "paused", "true"),
        ] {
            let object = object(group, json!({"annotations": {key: value}}));
            assert!(by_marker(&Subject::new(&object, None)).is_none(), "{key}: {value}");
        }
    }
}
