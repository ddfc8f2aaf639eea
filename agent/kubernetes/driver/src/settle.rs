//! The fourth step: everything is applied and has to become healthy and stay so.

use std::collections::BTreeMap;

use trimaran_agent_core::driver::{Effect, Guard};
use trimaran_model::limits::UNGUARDED_CALL;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Timestamp};

use crate::decide::failure;
use crate::effects::{self, Effects, Next};
use crate::finish::{Assessment, Expected, Rollout};
use crate::inventory::Receipt;
use crate::object_key::ObjectKey;
use crate::order::Goal;
use crate::phase::{Pending, Phase, Step};
use crate::platform::{Call, Observation};

/// What was put back is waited for so long before what served in its place goes.
const PUT_BACK_WAIT: Millis = Millis::minutes(2);

pub(crate) fn advance(phase: &mut Phase, now: Timestamp, out: &mut Effects) -> Next {
    let release = phase.goal.release().cloned();
    let Some(seen) = phase.work.seen.clone() else {
        if now >= phase.work.since + phase.progress_deadline {
            if release.is_none() {
                return finished(phase, now, out);
            }
            let message = "nothing was received from the API server since the release was applied".to_owned();
            effects::fail(phase, failure(ReasonCode::ApiUnavailable, message), out);
        }
        return Next::Wait;
    };
    free_stuck_pod(phase, &seen, out);
    let expected = expected(phase);
    let rollout = Rollout {
        fence: phase.goal.marks_objects().then_some(phase.author.fence),
        expected: &expected,
        stability: release.as_ref().map_or(Millis::ZERO, |release| release.stability),
        progress_deadline: release.as_ref().map_or(PUT_BACK_WAIT, |_| phase.progress_deadline),
        frees: frees(&phase.goal),
    };
    match phase.work.finish.assess(&rollout, &seen, now) {
        Assessment::Wait { until, why } => {
            out.push(Effect::Report(effects::progress(phase, why)));
            out.push(Effect::WakeAt(until));
            Next::Wait
        }
        Assessment::Finished => finished(phase, now, out),
        // What was put back is as its owners had it; how well it works is not this order's to judge.
        Assessment::Failed(_) | Assessment::Fault(_) if release.is_none() => finished(phase, now, out),
        Assessment::Failed(why) | Assessment::Fault(why) => {
            effects::fail(phase, why, out);
            Next::Wait
        }
    }
}

/// What is left over goes only when everything else is healthy.
fn finished(phase: &mut Phase, now: Timestamp, out: &mut Effects) -> Next {
    phase.enter(Step::Pruning, now);
    out.push(Effect::Report(effects::progress(phase, None)));
    out.push(Effect::Persist);
    Next::Again
}

/// What this order applied or put back, or found when it only judges.
fn expected(phase: &Phase) -> BTreeMap<ObjectKey, Expected> {
    let release = phase.goal.release();
    let one = |receipt: &Receipt| {
        let is_applied = release.is_some_and(|release| release.has(&receipt.key));
        let fields = receipt.fields.filter(|_| is_applied);
        let expected = Expected { uid: receipt.uid.clone()?, fields };
        // What a rollback put back beside its release is its owners'.
        (is_applied || release.is_none()).then(|| (receipt.key.clone(), expected))
    };
    match &phase.goal {
        Goal::Verify(_) => phase.before.receipts().filter_map(one).collect(),
        Goal::Release(_) | Goal::Restore(_) | Goal::Stop(_) | Goal::Restart(_) | Goal::Scale(..) => {
            phase.receipts.values().filter_map(one).collect()
        }
    }
}

/// Who only judges deletes nothing.
fn frees(goal: &Goal) -> bool {
    !matches!(goal, Goal::Verify(_))
}

/// A StatefulSet never replaces a broken pod of an earlier revision: it is deleted for it, one at a time.
fn free_stuck_pod(phase: &mut Phase, seen: &Observation, out: &mut Effects) {
    let is_freeing = phase.work.calls.values().any(|pending| matches!(pending, Pending::Free { .. }));
    if is_freeing || !frees(&phase.goal) {
        return;
    }
    let mut stuck = seen.objects.iter().filter_map(|object| Some((object, object.stuck.as_ref()?)));
    let Some((object, pod)) = stuck.find(|(_, pod)| !phase.work.freed.contains(&pod.uid)) else { return };
    let key = ObjectKey {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        namespace: object.key.namespace.clone(),
        name: pod.name.clone(),
    };
    let id = phase.next_call(Pending::Free { uid: pod.uid.clone() });
    let call = Call::Delete { key, uid: pod.uid.clone(), resource_version: None };
    out.push(Effect::Call { id, call, deadline: UNGUARDED_CALL, guard: Guard::CompareAndSet });
}
