//! Whether a namespace has room for a release: what the release adds, against what its quotas leave.
//!
//! A dry run tries one object at a time and is forgotten, so it finds a quota that is used up and none that is too small
//! for all of them. Here everything is added up: objects, pods times what each asks for, minus the pods that they replace,
//! and those that stand beside the old ones while a workload is rolled out.
//!
//! Deliberately not here: how much of a machine is free, and pods that a webhook changes after they were counted.

mod amount;
mod objects;
mod pod;
mod workload;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use amount::Amount;
use pod::Amounts;

/// One object as it is and as it will be.
#[derive(Debug, Clone, Copy)]
pub struct Planned<'a> {
    /// `deployments`.
    pub plural: &'a str,
    /// Empty for the core group.
    pub group: &'a str,
    pub kind: &'a str,
    /// `Deployment/web`.
    pub name: &'a str,
    /// `None` when it is created.
    pub before: Option<&'a Value>,
    pub after: &'a Value,
    /// The spec of one of its pods as the API server would take it, where that is known.
    pub pod: Option<&'a Value>,
}

/// Something of which a quota leaves less than is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    pub quota: String,
    /// As the quota names it: `pods`, `requests.cpu`, `count/configmaps`.
    pub resource: String,
    /// What needs it: `Deployment/web`.
    pub objects: BTreeSet<String>,
    needed: Amount,
    left: Amount,
    hard: Amount,
    used: Amount,
    /// The release can't be finished. Otherwise it may go on slowly: old pods make room.
    pub is_certain: bool,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { quota, resource, objects, needed, left, hard, used, .. } = self;
        let objects: Vec<&str> = objects.iter().map(String::as_str).collect();
        write!(
            f,
            "{}: quota {quota}: {needed} more of {resource} needed, {left} left ({used} of {hard} used)",
            objects.join(", ")
        )
    }
}

/// How much is needed, and how much at the worst moment of a rollout that could go on with less.
#[derive(Default)]
struct Need {
    certain: Amount,
    most: Amount,
    objects: BTreeSet<String>,
}

impl Need {
    fn add(&mut self, planned: &Planned<'_>, certain: Amount, most: Amount) {
        self.certain = self.certain.plus(certain);
        self.most = self.most.plus(most);
        if most.is_positive() {
            self.objects.insert(planned.name.to_owned());
        }
    }
}

/// What the quotas of a namespace leave too little of for these objects, which are all in it.
///
/// `quotas` and `limit_ranges` are live `ResourceQuota`s and `LimitRange`s. A quota of which the cluster does not say yet
/// how much is used says nothing.
pub fn shortages(planned: &[Planned<'_>], quotas: &[Value], limit_ranges: &[Value]) -> Vec<Shortage> {
    quotas.iter().flat_map(|quota| of_quota(planned, quota, limit_ranges)).collect()
}

fn of_quota(planned: &[Planned<'_>], quota: &Value, limit_ranges: &[Value]) -> Vec<Shortage> {
    let hard = ["/status/hard", "/spec/hard"].iter().find_map(|it| quota.pointer(it)?.as_object());
    let mut needs: BTreeMap<String, Need> = BTreeMap::new();
    for object in planned {
        count_object(object, quota, &mut needs);
        count_pods(object, quota, limit_ranges, &mut needs);
    }
    let name = quota.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let mut found = Vec::new();
    for (resource, hard) in hard.into_iter().flatten() {
        let used = quota.pointer("/status/used").and_then(|used| used.get(resource));
        let (Some(hard), Some(used)) = (Amount::of(hard), used.and_then(Amount::of)) else { continue };
        let Some(need) = needs.remove(resource) else { continue };
        let left = hard.minus(used);
        let is_short = |needed: Amount| needed.is_positive() && needed > left;
        let (needed, is_certain) = match (is_short(need.certain), is_short(need.most)) {
            (true, _) => (need.certain, true),
            (false, true) => (need.most, false),
            (false, false) => continue,
        };
        let (quota, resource, objects) = (name.to_owned(), resource.clone(), need.objects);
        found.push(Shortage { quota, resource, objects, needed, left, hard, used, is_certain });
    }
    found
}

/// What the object counts itself; a quota with scopes counts pods alone.
fn count_object(object: &Planned<'_>, quota: &Value, needs: &mut BTreeMap<String, Need>) {
    if pod::scopes(quota).next().is_some() || (object.group.is_empty() && object.kind == "Pod") {
        return;
    }
    let before = object.before.map(|it| objects::usage(object.plural, object.group, it)).unwrap_or_default();
    for (resource, amount) in objects::usage(object.plural, object.group, object.after) {
        let more = amount.minus(before.get(&resource).copied().unwrap_or_default());
        needs.entry(resource).or_default().add(object, more, more);
    }
    let claims = object.after.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
    let Some(rollout) = workload::rollout(object.group, object.kind, object.before, object.after) else {
        return;
    };
    if let Some(resource) = workload::made_beside(object.group, object.kind, &rollout) {
        needs.entry(resource.to_owned()).or_default().add(object, Amount::whole(1), Amount::whole(1));
    }
    let more = rollout.after.saturating_sub(rollout.before.map_or(0, |(count, _)| count));
    for claim in claims.into_iter().flatten() {
        for (resource, amount) in objects::usage("persistentvolumeclaims", "", claim) {
            // Claims of pods that were there once may be there still.
            needs.entry(resource).or_default().add(object, Amount::default(), amount.times(more));
        }
    }
}

fn count_pods(
    object: &Planned<'_>,
    quota: &Value,
    limit_ranges: &[Value],
    needs: &mut BTreeMap<String, Need>,
) {
    let Some(rollout) = workload::rollout(object.group, object.kind, object.before, object.after) else {
        return;
    };
    let counted = |spec: &Value| -> Amounts {
        if pod::is_counted(quota, spec) { pod::usage(spec) } else { Amounts::new() }
    };
    let new = match object.pod {
        Some(spec) if rollout.before.is_none() => counted(spec),
        // What a webhook adds is in those that run, too: both are counted as they are written.
        _ => counted(&pod::with_defaults(rollout.template, limit_ranges)),
    };
    let old = rollout.before.map(|(count, spec)| (count, counted(&pod::with_defaults(spec, limit_ranges))));
    let resources: BTreeSet<&String> =
        new.keys().chain(old.iter().flat_map(|(_, amounts)| amounts.keys())).collect();
    for resource in resources {
        let one = new.get(resource).copied().unwrap_or_default();
        let replaced = old.as_ref().and_then(|(count, amounts)| Some(amounts.get(resource)?.times(*count)));
        let grown = one.times(rollout.after).minus(replaced.unwrap_or_default());
        let surge = one.times(rollout.surge);
        // While some stand beside the others, nothing that shrinks has shrunk.
        let most = if surge.is_positive() { grown.max(Amount::default()).plus(surge) } else { grown };
        let certain = if rollout.makes_room { grown } else { most };
        needs.entry(resource.clone()).or_default().add(object, certain, most);
    }
}

#[cfg(test)]
mod tests;
