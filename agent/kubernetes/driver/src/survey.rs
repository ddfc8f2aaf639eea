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
    if !phase.work.is_identified {
        effects::identify(phase, out);
    }
    if !unknown.is_empty() || !phase.work.is_identified {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use trimaran_agent_core::driver::{Driver as _, Input};
    use trimaran_model::action::{Commit, Outcome};
    use trimaran_model::id::{AssignmentId, Digest, Fence, InstallationId, PipelineName, TargetName};
    use trimaran_model::time::Millis;

    use super::*;
    use crate::cluster_id::ClusterId;
    use crate::driver::KubernetesDriver;
    use crate::inventory::Inventory;
    use crate::order::{OnConflict, Order, Release};
    use crate::platform::{Call, Live, Reply};

    const RELEASE: Digest = Digest([1; 32]);

    fn id(cluster: &str) -> ClusterId {
        ClusterId { cluster: Some(cluster.to_owned()), namespace: None }
    }

    fn order(committed: &Inventory) -> Order {
        let document =
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}});
        let release = Release::new(RELEASE, vec![document], Millis::ZERO, OnConflict::Refuse);
        Order {
            installation: InstallationId {
                pipeline: PipelineName::new("web").expect("a name"),
                target: TargetName::new("tokyo").expect("a name"),
            },
            assignment: AssignmentId(2),
            fence: Fence(2),
            goal: Goal::Release(Arc::new(release.expect("a release"))),
            progress_deadline: Millis::minutes(10),
            retained: BTreeSet::new(),
            keep_serving: false,
            committed: Some(Commit { assignment: AssignmentId(1), n: 1, body: committed.to_bytes() }),
        }
    }

    /// All effects of an order that finds nothing in a cluster with this id.
    fn surveyed(committed: &Inventory, found: &ClusterId) -> Effects {
        let mut out = Vec::new();
        let order = order(committed);
        let mut phase = KubernetesDriver.begin(Timestamp(0), &order, None, &mut out);
        KubernetesDriver.step(&mut phase, Timestamp(0), Input::LeaseBack, &mut out);
        let mut answered = 0;
        while let Some(effect) = out.get(answered) {
            answered += 1;
            let Effect::Call { id, call, .. } = effect else { continue };
            let reply = match call {
                Call::Identify => Reply::Identified(found.clone()),
                Call::Read { keys } => Reply::Live(keys.iter().map(|_| Live::Absent).collect()),
                other => unreachable!("{other:?} is no question"),
            };
            let input = Input::Reply(*id, reply);
            KubernetesDriver.step(&mut phase, Timestamp(1), input, &mut out);
        }
        out
    }

    #[test]
    fn another_cluster_ends_an_order_before_anything_is_changed() {
        let out = surveyed(&Inventory::default().within(id("c-1")), &id("c-2"));
        let ends: Vec<_> = out.iter().filter(|effect| matches!(effect, Effect::Done(_))).collect();
        let [Effect::Done(Outcome::Fault(why))] = ends[..] else { panic!("{ends:?}") };
        assert_eq!(why.code, ReasonCode::PermissionDenied);
        assert!(why.message.contains("c-1") && why.message.contains("c-2"), "{}", why.message);
        assert!(!out.iter().any(|effect| matches!(effect, Effect::Commit { .. })), "nothing was intended");
    }

    #[test]
    fn the_first_order_remembers_its_cluster_and_the_next_one_finds_it() {
        let committed = |out: &Effects| {
            let body = out.iter().find_map(|effect| match effect {
                Effect::Commit { body, .. } => Some(body.clone()),
                _ => None,
            });
            Inventory::from_bytes(&body.expect("intents are committed")).expect("it is an inventory")
        };
        let first = committed(&surveyed(&Inventory::default(), &id("c-1")));
        assert_eq!(first.cluster, id("c-1"));
        // Who may not ask any more goes on, and forgets nothing.
        let next = committed(&surveyed(&first, &ClusterId::default()));
        assert_eq!(next.cluster, id("c-1"));
    }
}
