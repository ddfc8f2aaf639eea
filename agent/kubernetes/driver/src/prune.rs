//! The fifth step: what is left over is deleted.
//!
//! A rollback, or the end of an installation, deletes what the releases created that are left. A deploy deletes what
//! earlier releases created and this one has not any more. Versions of configuration are kept then: pods of an earlier
//! revision may use them, and a rollback needs them; they go with the first order that finds them unused. What does not
//! go in time stays in the inventory.

use std::collections::BTreeSet;

use trimaran_agent_core::driver::{Effect, Guard};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Timestamp};

use crate::decide::{deletable, failure, terminating};
use crate::effects::{self, Effects, Next, RETRY_DELAY};
use crate::inventory::{Inventory, Receipt};
use crate::object_key::ObjectKey;
use crate::order::Goal;
use crate::phase::{Pending, Phase, Step};
use crate::platform::{Call, Live};
use crate::tier;

/// How long finalizers may take before the order is finished without them.
const WAIT: Millis = Millis::seconds(60);

/// In the order of deletion: what was applied last goes first.
pub(crate) fn leftovers(goal: &Goal, before: &Inventory) -> Vec<Receipt> {
    let is_leftover = |receipt: &&Receipt| {
        let Some(created_by) = receipt.created_by else { return false };
        let due = match goal {
            Goal::Release(release) => !release.has(&receipt.key) && !receipt.is_versioned,
            Goal::Restore(release) => !release.has(&receipt.key) && before.is_left(goal, created_by),
            Goal::Stop(_) => before.is_left(goal, created_by),
            Goal::Verify(_) | Goal::Restart(_) | Goal::Scale(..) => false,
        };
        due && !tier::is_protected(&receipt.key)
    };
    let mut found: Vec<Receipt> = before.receipts().filter(is_leftover).cloned().collect();
    found.sort_by_key(|receipt| std::cmp::Reverse(tier::of(&receipt.key)));
    found
}

/// Versions of configuration that only earlier releases have, and that are no leftovers of this order.
fn versions(goal: &Goal, before: &Inventory) -> Vec<Receipt> {
    let Some(release) = goal.release() else { return before.older().cloned().collect() };
    let is_version = |receipt: &&Receipt| {
        receipt.is_versioned
            && receipt.created_by.is_some_and(|by| !before.is_left(goal, by))
            && !release.has(&receipt.key)
    };
    before.receipts().chain(before.older()).filter(is_version).cloned().collect()
}

/// Asks once which versions are unused; whether the answer is known.
fn knows_unused(phase: &mut Phase, out: &mut Effects) -> bool {
    if phase.work.unused.is_some() {
        return true;
    }
    let versions: Vec<ObjectKey> = match phase.goal {
        Goal::Release(_) | Goal::Restore(_) => {
            versions(&phase.goal, &phase.before).into_iter().map(|receipt| receipt.key).collect()
        }
        Goal::Verify(_) | Goal::Stop(_) | Goal::Restart(_) | Goal::Scale(..) => Vec::new(),
    };
    if versions.is_empty() {
        phase.work.unused = Some(BTreeSet::new());
        return true;
    }
    if !phase.work.calls.values().any(|pending| *pending == Pending::Unused) {
        let id = phase.next_call(Pending::Unused);
        let call = Call::Unused { versions, retained: phase.retained.clone() };
        out.push(Effect::Call { id, call, deadline: effects::UNUSED_DEADLINE, guard: Guard::Read });
    }
    false
}

/// What this order deletes, once it knows which versions are unused.
fn due(phase: &Phase) -> Vec<Receipt> {
    let is_unused =
        |receipt: &Receipt| phase.work.unused.as_ref().is_some_and(|unused| unused.contains(&receipt.key));
    let mut due = leftovers(&phase.goal, &phase.before);
    due.extend(versions(&phase.goal, &phase.before).into_iter().filter(is_unused));
    due
}

pub(crate) fn advance(phase: &mut Phase, now: Timestamp, out: &mut Effects) -> Next {
    let is_late = now >= phase.work.since + WAIT;
    if !is_late && !knows_unused(phase, out) {
        return Next::Wait;
    }
    let mut left = due(phase);
    left.retain(|receipt| !phase.work.pruned.contains(&receipt.key));
    if is_late {
        left.clear();
    }
    let mut unknown = Vec::new();
    for receipt in &left {
        if effects::is_changing(phase, &receipt.key) {
            continue;
        }
        match phase.work.live.get(&receipt.key).cloned() {
            None => unknown.push(receipt.key.clone()),
            Some(Live::Absent | Live::NotServed) => gone(phase, &receipt.key),
            Some(Live::Present(object)) => {
                match (deletable(receipt, &object, &phase.author), object.terminating) {
                    (None, _) => gone(phase, &receipt.key),
                    (Some(_), Some(finalizers)) => retry_later(phase, now, &receipt.key, &finalizers, out),
                    (Some(uid), None) if effects::has_capacity(phase) => {
                        // A later order may have taken it over since it was seen: then it has another version.
                        let resource_version = Some(object.resource_version);
                        let call = Call::Delete { key: receipt.key.clone(), uid, resource_version };
                        effects::change(phase, &receipt.key, call, out);
                    }
                    (Some(_), None) => {}
                }
            }
        }
    }
    effects::read(phase, unknown, out);
    let is_open = left.iter().any(|receipt| !phase.work.pruned.contains(&receipt.key));
    if is_open { Next::Wait } else { close(phase, now, out) }
}

/// There is nothing to delete any more, or it is not ours to delete.
fn gone(phase: &mut Phase, key: &ObjectKey) {
    phase.work.pruned.insert(key.clone());
}

fn retry_later(phase: &mut Phase, now: Timestamp, key: &ObjectKey, finalizers: &[String], out: &mut Effects) {
    phase.work.live.remove(key);
    let why = failure(ReasonCode::ObjectEnding, terminating(key, finalizers));
    out.push(Effect::Report(effects::progress(phase, Some(why))));
    effects::retry_in(phase, now, RETRY_DELAY, out);
}

/// The order is finished when the log has its inventory.
fn close(phase: &mut Phase, now: Timestamp, out: &mut Effects) -> Next {
    phase.enter(Step::Closing, now);
    let mut inventory = final_inventory(phase);
    for receipt in leftovers(&phase.goal, &phase.before) {
        if !phase.work.pruned.contains(&receipt.key) {
            inventory.put(receipt);
        }
    }
    assert!(effects::commit(phase, &inventory, out), "it is a part of what was committed before");
    Next::Wait
}

/// The inventory of an order that is finished: its release's objects, and versions that are still there. What was not
/// its to delete is no one's any more, and neither is what was put back.
fn final_inventory(phase: &Phase) -> Inventory {
    let is_there = |receipt: &Receipt| {
        let is_live = matches!(phase.work.live.get(&receipt.key), Some(Live::Present(_)));
        is_live && !phase.work.pruned.contains(&receipt.key)
    };
    let older = versions(&phase.goal, &phase.before).into_iter().filter(is_there);
    match &phase.goal {
        Goal::Release(release) | Goal::Restore(release) => {
            let own = phase.receipts.values().filter(|receipt| release.has(&receipt.key)).cloned();
            let cluster = phase.before.cluster.clone();
            Inventory::new(vec![release.digest], own).within(cluster).with_older(older)
        }
        // What begins anew may begin elsewhere.
        Goal::Stop(_) => Inventory::default().with_older(older),
        Goal::Verify(_) | Goal::Restart(_) | Goal::Scale(..) => phase.inventory(),
    }
}

#[cfg(test)]
mod tests;
