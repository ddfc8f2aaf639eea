//! How many pods of a workload come, go, and stand beside each other while it is rolled out.

use serde_json::Value;

/// Pods of one workload, before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rollout<'a> {
    /// How many there are, and of what shape; `None` where the workload is new.
    pub(super) before: Option<(u64, &'a Value)>,
    pub(super) after: u64,
    pub(super) template: &'a Value,
    /// How many stand beside those that they replace.
    pub(super) surge: u64,
    /// Without room for any of them the rollout goes on: old ones end first.
    pub(super) makes_room: bool,
}

/// The spec of a workload's pods.
fn template<'a>(group: &str, kind: &str, document: &'a Value) -> Option<&'a Value> {
    match (group, kind) {
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("batch", "Job")
        | ("", "ReplicationController") => document.pointer("/spec/template/spec"),
        ("", "Pod") => document.pointer("/spec"),
        // A CronJob's pods come at their own time.
        _ => None,
    }
}

/// `None` for what has no pods.
pub(super) fn rollout<'a>(
    group: &str,
    kind: &str,
    before: Option<&'a Value>,
    after: &'a Value,
) -> Option<Rollout<'a>> {
    let new = template(group, kind, after)?;
    let number = |document: &Value, pointer: &str| document.pointer(pointer).and_then(Value::as_u64);
    let there = |status: &str| before.map(|before| number(before, status).unwrap_or(0));
    let (there, wanted) = match kind {
        // What is done is done again by no update, and what runs can't be changed.
        "Job" | "Pod" if before.is_some() => return None,
        "Pod" => (None, 1),
        "Job" => {
            let parallel = number(after, "/spec/parallelism").unwrap_or(1);
            (None, parallel.min(number(after, "/spec/completions").unwrap_or(parallel)))
        }
        // On how many machines it will be is known when it is there.
        "DaemonSet" => {
            let desired = before.and_then(|it| number(it, "/status/desiredNumberScheduled"));
            (there("/status/currentNumberScheduled"), desired.unwrap_or(1))
        }
        _ => (there("/status/replicas"), number(after, "/spec/replicas").unwrap_or(1)),
    };
    let old = before.and_then(|before| template(group, kind, before));
    let mut rollout =
        Rollout { before: there.zip(old), after: wanted, template: new, surge: 0, makes_room: true };
    let is_replaced = before.and_then(|it| it.pointer("/spec/template")) != after.pointer("/spec/template");
    if there.is_some_and(|there| there > 0) && is_replaced {
        (rollout.surge, rollout.makes_room) = overlap(kind, after, wanted);
    }
    Some(rollout)
}

/// Whether an object's pods are made by objects of another kind, which count, too.
pub(super) fn made_beside(group: &str, kind: &str, rollout: &Rollout<'_>) -> Option<&'static str> {
    let is_new = rollout.before.is_none_or(|(_, before)| before != rollout.template);
    match (group, kind) {
        ("apps", "Deployment") if is_new => Some("count/replicasets.apps"),
        ("apps", "StatefulSet" | "DaemonSet") if is_new => Some("count/controllerrevisions.apps"),
        _ => None,
    }
}

/// How many pods of a rolling update stand beside the old ones, and whether it goes on without them.
fn overlap(kind: &str, after: &Value, replicas: u64) -> (u64, bool) {
    let (strategy, surge_default) = match kind {
        "Deployment" => ("strategy", "25%"),
        "DaemonSet" => ("updateStrategy", "0"),
        // Those of others end before their successors begin, or are not replaced at all.
        _ => return (0, true),
    };
    let kind_of = after.pointer(&format!("/spec/{strategy}/type")).and_then(Value::as_str);
    if kind_of.is_some_and(|kind| kind != "RollingUpdate") {
        return (0, true);
    }
    let of = |name: &str| after.pointer(&format!("/spec/{strategy}/rollingUpdate/{name}"));
    let surge = scaled(of("maxSurge"), surge_default, replicas, true);
    let unavailable =
        scaled(of("maxUnavailable"), if kind == "Deployment" { "25%" } else { "1" }, replicas, false);
    // With none of both nothing would ever move: one may be away then.
    (surge, unavailable > 0 || surge == 0)
}

/// A number, or a share of the replicas.
fn scaled(value: Option<&Value>, default: &str, replicas: u64, up: bool) -> u64 {
    let text = match value {
        Some(Value::Number(number)) => return number.as_u64().unwrap_or(0),
        Some(Value::String(text)) => text,
        _ => default,
    };
    let Some(percent) = text.strip_suffix('%') else { return text.parse().unwrap_or(0) };
    let parts = percent.parse::<u64>().unwrap_or(0).saturating_mul(replicas);
    if up { parts.div_ceil(100) } else { parts / 100 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(replicas: u64, there: u64, image: &str, strategy: Value) -> Value {
        json!({"spec": {"replicas": replicas, "strategy": strategy, "template": {"spec": {"image": image}}},
               "status": {"replicas": there}})
    }

    /// Before, after, surge, and whether it makes room.
    fn counts(before: Option<&Value>, after: &Value, kind: &str) -> Option<(Option<u64>, u64, u64, bool)> {
        let group = if kind == "Job" { "batch" } else { "apps" };
        let it = rollout(group, kind, before, after)?;
        Some((it.before.map(|(count, _)| count), it.after, it.surge, it.makes_room))
    }

    #[test]
    fn a_rolling_update_needs_room_for_its_surge() {
        let rolling = |surge: Value, unavailable: Value| json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
        for (strategy, replicas, surge, makes_room) in [
            (json!({}), 2, 1, false),
            (json!({}), 4, 1, true),
            (rolling(json!("50%"), json!(0)), 3, 2, false),
            (rolling(json!(0), json!(1)), 3, 0, true),
            (rolling(json!(0), json!("10%")), 3, 0, true),
            (json!({"type": "Recreate"}), 3, 0, true),
        ] {
            let before = deployment(replicas, replicas, "old", json!({}));
            let after = deployment(replicas, replicas, "new", strategy.clone());
            let expected = Some((Some(replicas), replicas, surge, makes_room));
            assert_eq!(counts(Some(&before), &after, "Deployment"), expected, "{strategy}");
        }
    }

    #[test]
    fn what_is_only_scaled_or_new_replaces_nothing() {
        let before = deployment(2, 2, "same", json!({}));
        let after = deployment(5, 2, "same", json!({}));
        assert_eq!(counts(Some(&before), &after, "Deployment"), Some((Some(2), 5, 0, true)));
        assert_eq!(counts(None, &after, "Deployment"), Some((None, 5, 0, true)));
        let none = deployment(0, 0, "old", json!({}));
        assert_eq!(counts(Some(&none), &after, "Deployment"), Some((Some(0), 5, 0, true)));
        let mut unset = after.clone();
        unset["spec"]["replicas"] = Value::Null;
        assert_eq!(counts(None, &unset, "StatefulSet"), Some((None, 1, 0, true)));
    }

    #[test]
    fn other_kinds_count_as_they_are_run() {
        let job = json!({"spec": {"parallelism": 4, "completions": 3, "template": {"spec": {}}}});
        assert_eq!(counts(None, &job, "Job"), Some((None, 3, 0, true)));
        assert_eq!(counts(Some(&job), &job, "Job"), None);
        assert_eq!(rollout("batch", "CronJob", None, &job), None);
        let machines = json!({"spec": {"template": {"spec": {"image": "old"}}},
                              "status": {"desiredNumberScheduled": 7, "currentNumberScheduled": 6}});
        let mut after = machines.clone();
        after["spec"]["template"]["spec"]["image"] = json!("new");
        assert_eq!(counts(Some(&machines), &after, "DaemonSet"), Some((Some(6), 7, 0, true)));
        assert_eq!(counts(None, &after, "DaemonSet"), Some((None, 1, 0, true)));
    }
}
