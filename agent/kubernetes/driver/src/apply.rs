//! The third step: what was intended is done, tier by tier.

use trimaran_model::action::Failure;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Timestamp;

use crate::adjust::{self, Adjustment};
use crate::decide::{Decision, Situation, decide, failure, put_back};
use crate::effects::{self, Effects, RETRY_DELAY};
use crate::inventory::Receipt;
use crate::object_key::ObjectKey;
use crate::order::{Goal, OnConflict};
use crate::phase::Phase;
use crate::platform::{Call, Live};
use crate::tier::{self, Tier};

/// One object that the order may change.
pub(crate) struct Target {
    pub(crate) key: ObjectKey,
    tier: Tier,
}

/// What a pass over the objects of a tier came to.
pub(crate) enum Pass {
    /// All of them are applied, and so are all tiers before.
    Complete,
    Going,
    /// An intent changed, so it has to be committed again.
    Changed,
}

/// In the order in which they are applied.
pub(crate) fn targets(phase: &Phase) -> Vec<Target> {
    match &phase.goal {
        Goal::Release(release) | Goal::Restore(release) => {
            let manifests = release.manifests.iter();
            let manifests =
                manifests.map(|manifest| Target { key: manifest.key.clone(), tier: manifest.tier });
            let mut targets: Vec<Target> = manifests.chain(taken_over(phase)).collect();
            targets.sort_by_key(|target| target.tier);
            targets
        }
        Goal::Stop(_) => {
            let mut targets: Vec<Target> = taken_over(phase).collect();
            targets.sort_by_key(|target| target.tier);
            targets
        }
        Goal::Restart(release) | Goal::Scale(release, _) => {
            let adjustment = Adjustment::of(&phase.goal).expect("both are one");
            let keys = adjust::workloads(release, adjustment);
            keys.map(|key| Target { key: key.clone(), tier: tier::of(key) }).collect()
        }
        Goal::Verify(_) => Vec::new(),
    }
}

/// What releases that are left took over from others, and the release to go to has not.
pub(crate) fn taken_over(phase: &Phase) -> impl Iterator<Item = Target> {
    let receipts = phase.before.receipts();
    let left = receipts.filter(|receipt| {
        let by = receipt.adopted_by;
        by.is_some_and(|by| phase.before.is_left(&phase.goal, by))
            && phase.goal.release().is_none_or(|release| !release.has(&receipt.key))
    });
    left.map(|receipt| Target { key: receipt.key.clone(), tier: tier::of(&receipt.key) })
}

pub(crate) fn decide_target(phase: &Phase, target: &Target) -> Decision {
    let live = phase.work.live.get(&target.key).expect("it was read before");
    let before = phase.before.receipt(&target.key);
    let intended = phase.receipts.get(&target.key);
    if let Some(adjustment) = Adjustment::of(&phase.goal) {
        return adjust::decide(&phase.author, adjustment, &target.key, live, [before, intended]);
    }
    let wanted = phase.goal.release().and_then(|release| Some((release, release.manifest(&target.key)?)));
    let Some((release, manifest)) = wanted else {
        return put_back(&phase.author, live, before.expect("what was taken over has a receipt"));
    };
    decide(&Situation {
        author: &phase.author,
        is_restore: matches!(phase.goal, Goal::Restore(_)),
        manifest,
        live,
        before,
        intended,
        is_defined_here: release.defines(&target.key),
    })
}

/// The failure that a decision means for the order, if it does.
pub(crate) fn end_of(key: &ObjectKey, decision: &Decision) -> Option<Failure> {
    match decision {
        Decision::Superseded { by } => {
            Some(failure(ReasonCode::Fenced, format!("{key} carries fence {by} of a later order")))
        }
        Decision::Refuse(why) => Some(why.clone()),
        Decision::Apply { .. }
        | Decision::PutBack { .. }
        | Decision::Stamp { .. }
        | Decision::Adjust { .. }
        | Decision::Applied(_)
        | Decision::Leave
        | Decision::Wait { .. } => None,
    }
}

/// Asks for what may be done now. An end of the order comes as `Err`.
pub(crate) fn advance(phase: &mut Phase, now: Timestamp, out: &mut Effects) -> Result<Pass, Failure> {
    let open = |phase: &Phase, target: &Target| !phase.work.applied.contains(&target.key);
    let mut all = targets(phase);
    all.retain(|target| open(phase, target));
    let Some(tier) = all.first().map(|target| target.tier) else { return Ok(Pass::Complete) };
    all.retain(|target| target.tier == tier);
    let mut unknown = Vec::new();
    for target in &all {
        if effects::is_changing(phase, &target.key) {
            continue;
        }
        if !phase.work.live.contains_key(&target.key) {
            unknown.push(target.key.clone());
            continue;
        }
        if perform(phase, now, target, out)? {
            return Ok(Pass::Changed);
        }
    }
    effects::read(phase, unknown, out);
    let complete = all.iter().all(|target| !open(phase, target));
    if complete { advance(phase, now, out) } else { Ok(Pass::Going) }
}

/// Does what is decided about one object; true when that is not what was committed.
fn perform(phase: &mut Phase, now: Timestamp, target: &Target, out: &mut Effects) -> Result<bool, Failure> {
    let key = &target.key;
    let decision = decide_target(phase, target);
    if let Some(end) = end_of(key, &decision) {
        return Err(end);
    }
    let call = match &decision {
        Decision::Apply { document, expect, keep, .. } => Call::Apply {
            key: key.clone(),
            document: document.clone(),
            expect: expect.clone(),
            on_conflict: phase.goal.release().map_or(OnConflict::default(), |release| release.on_conflict),
            keep: *keep,
        },
        Decision::PutBack { uid, resource_version, .. } => {
            Call::PutBack { key: key.clone(), uid: uid.clone(), resource_version: resource_version.clone() }
        }
        Decision::Stamp { uid, resource_version, merge, .. } => Call::Edit {
            key: key.clone(),
            uid: uid.clone(),
            resource_version: resource_version.clone(),
            merge: merge.clone(),
        },
        Decision::Adjust { uid, resource_version, merge, .. } => Call::Adjust {
            key: key.clone(),
            uid: uid.clone(),
            resource_version: resource_version.clone(),
            merge: merge.clone(),
        },
        Decision::Applied(receipt) => {
            applied(phase, now, target, receipt.clone(), out)?;
            return Ok(false);
        }
        Decision::Leave => {
            phase.work.applied.insert(key.clone());
            phase.receipts.remove(key);
            return Ok(false);
        }
        Decision::Wait { message } => {
            phase.work.live.remove(key);
            let why = failure(ReasonCode::ObjectEnding, message.clone());
            return effects::later(phase, now, why, RETRY_DELAY, out).map_or(Ok(false), Err);
        }
        Decision::Superseded { .. } | Decision::Refuse(_) => unreachable!("these end the order"),
    };
    if let Decision::Apply { receipt, .. }
    | Decision::PutBack { receipt, .. }
    | Decision::Stamp { receipt, .. }
    | Decision::Adjust { receipt, .. } = decision
    {
        let origin = |it: &Receipt| (it.uid.clone(), it.created_by, it.adopted_by);
        let known = phase.receipts.insert(key.clone(), receipt.clone());
        if known.is_none_or(|known| origin(&known) != origin(&receipt)) {
            return Ok(true);
        }
    }
    if effects::has_capacity(phase) && (phase.work.lease || !call.creates()) {
        effects::change(phase, key, call, out);
    }
    Ok(false)
}

/// An object carries the marks of this order. What the next tier needs has to be usable, too.
fn applied(
    phase: &mut Phase,
    now: Timestamp,
    target: &Target,
    receipt: Receipt,
    out: &mut Effects,
) -> Result<(), Failure> {
    let key = &target.key;
    phase.receipts.insert(key.clone(), receipt);
    let usable = match phase.work.live.get(key) {
        Some(Live::Present(object)) => object.is_usable,
        Some(Live::Absent | Live::NotServed) | None => true,
    };
    if usable || !matches!(target.tier, tier::NAMESPACES | tier::DEFINITIONS) {
        phase.work.applied.insert(key.clone());
        return Ok(());
    }
    phase.work.live.remove(key);
    let why = failure(ReasonCode::NotReady, format!("{key} is not usable yet"));
    effects::later(phase, now, why, RETRY_DELAY, out).map_or(Ok(()), Err)
}
