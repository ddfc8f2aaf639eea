//! What all steps of an order ask for in the same way: calls, commits, another look later, the end.

use trimaran_agent_core::driver::{Effect, Guard};
use trimaran_model::action::{Failure, Outcome, Progress};
use trimaran_model::limits::{COMMIT_BYTES_MAX, UNGUARDED_CALL};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Timestamp};
use trimaran_model::verdict::Fault;

use crate::decide::failure;
use crate::finish::total;
use crate::instances::reports;
use crate::inventory::Inventory;
use crate::object_key::ObjectKey;
use crate::phase::{Pending, Phase};
use crate::platform::{Call, Query, Refusal};

pub(crate) type Effects = Vec<Effect<Call, Query, Progress>>;

/// Calls of one order in flight: within a tier objects are independent, and an API server has other clients.
pub(crate) const CALLS_MAX: usize = 8;
/// A read of a whole release.
const READ_DEADLINE: Millis = Millis::seconds(30);
/// Reads of kept releases and of what is live.
pub(crate) const UNUSED_DEADLINE: Millis = Millis::seconds(30);
/// A change; also what an unguarded call may last.
const CHANGE_DEADLINE: Millis = UNGUARDED_CALL;
/// Between two tries when the API server says nothing useful.
pub(crate) const UNAVAILABLE_RETRY: Millis = Millis::seconds(2);
/// Between two looks at what changes on its own: an object that ends, a definition that gets established.
pub(crate) const RETRY_DELAY: Millis = Millis(500);

/// Whether a step may go on at once or waits for an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Again,
    Wait,
}

/// Asks for these objects, unless a read is in flight.
pub(crate) fn read(phase: &mut Phase, keys: Vec<ObjectKey>, out: &mut Effects) {
    let is_reading = phase.work.calls.values().any(|pending| matches!(pending, Pending::Read(_)));
    if keys.is_empty() || is_reading {
        return;
    }
    let id = phase.next_call(Pending::Read(keys.clone()));
    out.push(Effect::Call { id, call: Call::Read { keys }, deadline: READ_DEADLINE, guard: Guard::Read });
}

/// Asks which cluster this is, unless that is asked already.
pub(crate) fn identify(phase: &mut Phase, out: &mut Effects) {
    if phase.work.calls.values().any(|pending| *pending == Pending::Identify) {
        return;
    }
    let id = phase.next_call(Pending::Identify);
    out.push(Effect::Call { id, call: Call::Identify, deadline: READ_DEADLINE, guard: Guard::Read });
}

/// Asks for a change of one object, which is not known any more until it is answered.
pub(crate) fn change(phase: &mut Phase, key: &ObjectKey, call: Call, out: &mut Effects) {
    let guard = match &call {
        call if call.creates() => Guard::Unguarded,
        _ => Guard::CompareAndSet,
    };
    let pending = match &call {
        Call::Delete { .. } => Pending::Delete(key.clone()),
        Call::PutBack { .. } => Pending::PutBack(key.clone()),
        _ => Pending::Change(key.clone()),
    };
    phase.work.live.remove(key);
    let id = phase.next_call(pending);
    out.push(Effect::Call { id, call, deadline: CHANGE_DEADLINE, guard });
}

pub(crate) fn has_capacity(phase: &Phase) -> bool {
    phase.work.calls.len() < CALLS_MAX
}

/// Whether a change of this object is in flight.
pub(crate) fn is_changing(phase: &Phase, key: &ObjectKey) -> bool {
    phase.work.calls.values().any(|pending| match pending {
        Pending::Change(other) | Pending::PutBack(other) | Pending::Delete(other) => other == key,
        Pending::Identify | Pending::Read(_) | Pending::Free { .. } | Pending::Unused => false,
    })
}

/// Makes phase and inventory durable, here and in the log. False when the inventory is too large for that.
#[must_use]
pub(crate) fn commit(phase: &mut Phase, inventory: &Inventory, out: &mut Effects) -> bool {
    let mut body = inventory.to_bytes();
    if body.len() > COMMIT_BYTES_MAX {
        // Versions that are forgotten stay for nothing; that costs less than a deploy.
        body = inventory.clone().with_older([]).to_bytes();
    }
    if body.len() > COMMIT_BYTES_MAX {
        return false;
    }
    phase.commits += 1;
    out.push(Effect::Persist);
    out.push(Effect::Commit { n: phase.commits, body, progress: progress(phase, None) });
    true
}

/// Nothing is asked until then.
pub(crate) fn retry_in(phase: &mut Phase, now: Timestamp, pause: Millis, out: &mut Effects) {
    let at = now + pause;
    phase.work.retry_at = Some(at);
    out.push(Effect::WakeAt(at));
}

/// Ends the order. Whose fault it is decides between a failure of the release and one of the platform.
pub(crate) fn fail(phase: &mut Phase, why: Failure, out: &mut Effects) {
    let outcome =
        if why.code.fault() == Some(Fault::Release) { Outcome::Failed(why) } else { Outcome::Fault(why) };
    end(phase, outcome, out);
}

pub(crate) fn end(phase: &mut Phase, outcome: Outcome, out: &mut Effects) {
    phase.work.has_ended = true;
    out.push(Effect::Done(outcome));
}

/// What a refused call means for the order: `None` when it is tried again.
pub(crate) fn refused(
    phase: &mut Phase,
    now: Timestamp,
    key: Option<&ObjectKey>,
    refusal: Refusal,
    out: &mut Effects,
) -> Option<Failure> {
    let named = |message: String| key.map_or(message.clone(), |key| format!("{key}: {message}"));
    let end = |code, message| Some(failure(code, named(message)));
    let (code, message) = match refusal {
        Refusal::Moved => {
            retry_in(phase, now, Millis(200), out);
            return None;
        }
        Refusal::FieldConflict { message, .. } => return end(ReasonCode::FieldConflict, message),
        Refusal::Invalid { message } => return end(ReasonCode::ObjectRefused, message),
        Refusal::Denied { message } => return end(ReasonCode::AdmissionDenied, message),
        Refusal::Forbidden { message } => return end(ReasonCode::PermissionDenied, message),
        Refusal::Quota { message } => return end(ReasonCode::Quota, message),
        Refusal::NoNamespace { message } => return end(ReasonCode::Missing, message),
        Refusal::NamespaceEnding { message } => return end(ReasonCode::ObjectEnding, message),
        Refusal::NotServed { message } => (ReasonCode::KindNotServed, named(message)),
        Refusal::WebhookUnavailable { message } => (ReasonCode::WebhookUnavailable, named(message)),
        Refusal::Unavailable { message } => (ReasonCode::ApiUnavailable, named(message)),
    };
    // A definition that was applied just now is served a moment later.
    let pause = if code == ReasonCode::KindNotServed { RETRY_DELAY } else { UNAVAILABLE_RETRY };
    later(phase, now, failure(code, message), pause, out)
}

/// Tries again later what can't be done now, until the step has lasted for the deadline of progress.
pub(crate) fn later(
    phase: &mut Phase,
    now: Timestamp,
    why: Failure,
    pause: Millis,
    out: &mut Effects,
) -> Option<Failure> {
    if now >= phase.work.since + phase.progress_deadline {
        return Some(why);
    }
    phase.work.obstacle = Some(why.message.clone());
    out.push(Effect::Report(progress(phase, Some(why))));
    retry_in(phase, now, pause, out);
    None
}

/// How far the order is, in instances of all its workloads.
pub(crate) fn progress(phase: &Phase, failure: Option<Failure>) -> Progress {
    let objects = phase.work.seen.iter().flat_map(|seen| &seen.objects).collect::<Vec<_>>();
    let pods = total(&objects);
    let instances = phase.work.seen.as_ref().map(|seen| reports(&seen.instances, phase.author.release));
    Progress {
        done: pods.available.min(pods.updated),
        total: pods.desired,
        failed: Vec::new(),
        lost: Vec::new(),
        failure,
        instances: instances.unwrap_or_default(),
    }
}
