//! Disruption budgets that allow no disruption: no node can be drained any more.

use serde_json::Value;
use trimaran_model::error_code;

use super::rollout::is_zero;
use super::set::{Set, list, template_pointer};
use crate::finding::{Finding, shown};
use crate::identity::text;

pub(super) fn check(set: &Set<'_>, found: &mut Vec<Finding>) {
    for (index, budget) in set.of_kind("policy", "PodDisruptionBudget") {
        let field = |key: &str| budget.pointer(&format!("/spec/{key}")).filter(|it| !it.is_null());
        let mut blocked = |key: &str, why: String| {
            let message = format!("{why}, so no pod can ever be evicted and no node drained");
            let finding =
                Finding::warning(index, format!("/spec/{key}"), error_code::DISRUPTION_BLOCKED, message);
            found.push(finding.help("allow one pod less, such as `maxUnavailable: 1`"));
        };
        match (field("minAvailable"), field("maxUnavailable")) {
            (Some(_), Some(_)) => {
                let message = "`minAvailable` and `maxUnavailable` exclude each other";
                let finding =
                    Finding::error(index, "/spec/maxUnavailable", error_code::DISRUPTION_BLOCKED, message);
                found.push(finding.help("remove one of the two"));
            }
            (None, Some(value)) if is_zero(value) => {
                blocked("maxUnavailable", "nothing may be unavailable".to_owned());
            }
            (Some(value), None) if value.as_str() == Some("100%") => {
                blocked("minAvailable", "every pod has to be available".to_owned());
            }
            (Some(value), None) => {
                let (Some(wanted), Some((name, replicas))) =
                    (value.as_i64(), only_workload(set, index, budget))
                else {
                    continue;
                };
                if replicas > 0 && wanted >= replicas {
                    let why =
                        format!("`{name}` has {replicas} replicas, of which {wanted} have to be available");
                    blocked("minAvailable", why);
                }
            }
            (None, _) => {}
        }
    }
}

/// The one workload of the set that a budget covers, with its smallest number of replicas.
fn only_workload(set: &Set<'_>, index: usize, budget: &Value) -> Option<(String, i64)> {
    let wanted = budget.pointer("/spec/selector/matchLabels")?.as_object()?;
    if wanted.is_empty() || !list(budget.pointer("/spec/selector")?, "matchExpressions").is_empty() {
        return None;
    }
    let (key, value) = wanted.iter().next()?;
    let label = (set.namespace(index), key.clone(), value.as_str()?.to_owned());
    let mut covered = set.by_label.get(&label)?.iter().filter_map(|at| {
        let object = &set.objects[*at];
        let kind = text(object, "/kind")?;
        let labels = object.pointer(&format!("{}/metadata/labels", template_pointer(object)?))?;
        let replicated = matches!(kind, "Deployment" | "StatefulSet" | "ReplicaSet" | "Rollout");
        if !replicated || !wanted.iter().all(|(key, value)| labels.get(key) == Some(value)) {
            return None;
        }
        let fixed = || object.pointer("/spec/replicas").and_then(Value::as_i64);
        let replicas = set.scaled(*at).or_else(fixed).unwrap_or(1);
        Some((format!("{kind}/{}", shown(text(object, "/metadata/name")?)), replicas))
    });
    let one = covered.next()?;
    covered.next().is_none().then_some(one)
}
