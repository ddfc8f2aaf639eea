//! The first step: what is there, and what the order will do about it. Nothing is changed.

use std::collections::BTreeSet;

use trimaran_agent_core::driver::Effect;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Timestamp;

use crate::adjust;
use crate::apply::{Target, decide_target, end_of, targets};
use crate::decide::{Decision, failure};
use crate::effects::{self, Effects, Next, RETRY_DELAY};
use crate::object_key::ObjectKey;
use crate::order::Goal;
use crate::phase::{Phase, Step};
use crate::platform::Query;
use crate::serving;

pub(crate) fn advance(phase: &mut Phase, now: Timestamp, out: &mut Effects) -> Next {
    if let Goal::Verify(_) = phase.goal {
        settle(phase, now, out);
        return Next::Again;
    }
    if let Some(end) = adjust::objection(&phase.goal) {
        effects::fail(phase, end, out);
        return Next::Wait;
    }
    let unknown: Vec<ObjectKey> =
        wanted(phase).into_iter().filter(|key| !phase.work.live.contains_key(key)).collect();
    if !unknown.is_empty() {
        effects::read(phase, unknown, out);
        return Next::Wait;
    }
    if let Some(why) = serving::paused(phase) {
        effects::fail(phase, why, out);
        return Next::Wait;
    }
    for target in targets(phase) {
        let decision = decide_target(phase, &target);
        if let Some(end) = end_of(&target.key, &decision) {
            effects::fail(phase, end, out);
            return Next::Wait;
        }
        if !accept(phase, now, &target, decision, out) {
            return Next::Wait;
        }
    }
    commit_intents(phase, now, out)
}

/// What has to be known: the release's objects, and those of earlier releases.
fn wanted(phase: &Phase) -> Vec<ObjectKey> {
    let mut keys: BTreeSet<ObjectKey> = targets(phase).into_iter().map(|target| target.key).collect();
    keys.extend(phase.before.receipts().chain(phase.before.older()).map(|receipt| receipt.key.clone()));
    keys.into_iter().collect()
}

/// Remembers what is intended with one object; false when it has to be looked at again later.
fn accept(phase: &mut Phase, now: Timestamp, target: &Target, decision: Decision, out: &mut Effects) -> bool {
    match decision {
        Decision::Apply { receipt, .. }
        | Decision::PutBack { receipt, .. }
        | Decision::Stamp { receipt, .. }
        | Decision::Adjust { receipt, .. }
        | Decision::Applied(receipt) => {
            phase.receipts.insert(target.key.clone(), receipt);
        }
        Decision::Leave => {
            phase.work.applied.insert(target.key.clone());
        }
        Decision::Wait { message } => {
            phase.work.live.remove(&target.key);
            let why = failure(ReasonCode::ObjectEnding, message);
            if let Some(end) = effects::later(phase, now, why, RETRY_DELAY, out) {
                effects::fail(phase, end, out);
            }
            return false;
        }
        Decision::Superseded { .. } | Decision::Refuse(_) => unreachable!("these end the order"),
    }
    true
}

/// Nothing is created before the log knows that it will be.
pub(crate) fn commit_intents(phase: &mut Phase, now: Timestamp, out: &mut Effects) -> Next {
    phase.enter(Step::Committing, now);
    let inventory = phase.inventory();
    if !effects::commit(phase, &inventory, out) {
        let message =
            "the release has too many objects for one installation; split it into several".to_owned();
        effects::fail(phase, failure(ReasonCode::ObjectRefused, message), out);
    }
    Next::Wait
}

/// Begins to wait until everything is healthy.
pub(crate) fn settle(phase: &mut Phase, now: Timestamp, out: &mut Effects) {
    phase.enter(Step::Settling, now);
    let keys = match phase.goal.release() {
        Some(release) => release.manifests.iter().map(|it| it.key.clone()).collect(),
        None => phase.receipts.keys().cloned().collect(),
    };
    out.push(Effect::Persist);
    out.push(Effect::Watch(Query { installation: phase.author.installation.clone(), keys }));
    out.push(Effect::WakeAt(now + phase.progress_deadline));
}
