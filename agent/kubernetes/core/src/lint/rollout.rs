//! Rollouts that can never move: strategies that allow no step, volumes that only one pod may mount, two owners of a count.

use serde_json::Value;
use trimaran_model::error_code;

use super::set::{Set, list, template_pointer};
use crate::finding::{Finding, shown};
use crate::identity::{group, text};

pub(super) fn check(set: &Set<'_>, found: &mut Vec<Finding>) {
    for (index, object) in set.objects.iter().enumerate() {
        if group(object) != "apps" {
            continue;
        }
        match text(object, "/kind") {
            Some("Deployment") => {
                deployment(index, object, found);
                volumes(set, index, object, found);
                replicas(set, index, object, found);
            }
            Some("StatefulSet") => replicas(set, index, object, found),
            Some("DaemonSet") => {
                let update = object.pointer("/spec/updateStrategy/rollingUpdate");
                no_pod_may_move(index, update, "/spec/updateStrategy/rollingUpdate", (1, 0), found);
            }
            _ => {}
        }
    }
}

fn deployment(index: usize, object: &Value, found: &mut Vec<Finding>) {
    let update = object.pointer("/spec/strategy/rollingUpdate").filter(|it| !it.is_null());
    if text(object, "/spec/strategy/type") == Some("Recreate") {
        if update.is_some() {
            let message = "`rollingUpdate` does not go with `type: Recreate`";
            found.push(Finding::error(
                index,
                "/spec/strategy/rollingUpdate",
                error_code::ROLLOUT_STUCK,
                message,
            ));
        }
    } else {
        no_pod_may_move(index, update, "/spec/strategy/rollingUpdate", (1, 1), found);
    }
    let seconds = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
    if let Some(ready) = seconds("/spec/minReadySeconds")
        && ready >= seconds("/spec/progressDeadlineSeconds").unwrap_or(600)
        && ready > 0
    {
        let message = "`minReadySeconds` is not shorter than `progressDeadlineSeconds` (600 unless set)";
        found.push(Finding::error(index, "/spec/minReadySeconds", error_code::ROLLOUT_STUCK, message));
    }
}

/// Neither more nor fewer pods than wanted: nothing may start and nothing may stop. `defaults` are those of
/// `maxUnavailable` and `maxSurge`, as zero or not.
fn no_pod_may_move(
    index: usize,
    update: Option<&Value>,
    pointer: &str,
    defaults: (i64, i64),
    found: &mut Vec<Finding>,
) {
    let zero = |key: &str, default: i64| match update.and_then(|it| it.get(key)) {
        None | Some(Value::Null) => default == 0,
        Some(value) => is_zero(value),
    };
    if zero("maxUnavailable", defaults.0) && zero("maxSurge", defaults.1) {
        let message = "with `maxUnavailable` 0 and `maxSurge` 0 no pod can ever be replaced";
        found.push(
            Finding::error(index, format!("{pointer}/maxUnavailable"), error_code::ROLLOUT_STUCK, message)
                .help("raise one of the two"),
        );
    }
}

/// `0` or `0%`.
pub(super) fn is_zero(value: &Value) -> bool {
    value.as_i64() == Some(0) || value.as_str().is_some_and(|it| it.trim_end_matches('%') == "0")
}

/// A new pod that starts on another node before the old one is gone never gets its volume.
fn volumes(set: &Set<'_>, index: usize, object: &Value, found: &mut Vec<Finding>) {
    if text(object, "/spec/strategy/type") == Some("Recreate") {
        return;
    }
    let surge = object.pointer("/spec/strategy/rollingUpdate/maxSurge");
    let replicas = object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    let Some(template) = template_pointer(object) else { return };
    let Some(spec) = object.pointer(&format!("{template}/spec")) else { return };
    for (at, volume) in list(spec, "volumes").iter().enumerate() {
        let Some(claim) = text(volume, "/persistentVolumeClaim/claimName") else { continue };
        let Some(known) = set.neighbour(index, "", "PersistentVolumeClaim", claim) else { continue };
        let modes = set.objects[known].pointer("/spec/accessModes").and_then(Value::as_array);
        let modes: Vec<&str> = modes.into_iter().flatten().filter_map(Value::as_str).collect();
        let single =
            !modes.is_empty() && modes.iter().all(|it| matches!(*it, "ReadWriteOnce" | "ReadWriteOncePod"));
        let place = format!("{template}/spec/volumes/{at}/persistentVolumeClaim/claimName");
        if !single {
            continue;
        }
        let (claim, mode) = (shown(claim), modes[0]);
        if !surge.is_some_and(is_zero) {
            let message = format!(
                "claim `{claim}` is {mode}, but a rolling update starts new pods before old ones stop"
            );
            let help = "use `strategy: { type: Recreate }`, `maxSurge: 0`, or a StatefulSet";
            found.push(Finding::warning(index, place, error_code::ROLLOUT_STUCK, message).help(help));
        } else if replicas > 1 {
            let message = format!("claim `{claim}` is {mode}, but {replicas} replicas share it");
            let help = "use a StatefulSet with `volumeClaimTemplates`, or a ReadWriteMany claim";
            found.push(Finding::warning(index, place, error_code::ROLLOUT_STUCK, message).help(help));
        }
    }
}

/// Each deploy would undo what the autoscaler decided.
fn replicas(set: &Set<'_>, index: usize, object: &Value, found: &mut Vec<Finding>) {
    if object.pointer("/spec/replicas").is_some_and(|it| !it.is_null()) && set.scaled(index).is_some() {
        let message = "`replicas` is set here and by an autoscaler of the set";
        let help = "remove `replicas`";
        found
            .push(Finding::warning(index, "/spec/replicas", error_code::REPLICAS_SCALED, message).help(help));
    }
}
