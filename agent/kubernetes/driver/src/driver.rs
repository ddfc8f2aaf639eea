//! The driver: what comes in is remembered, then the step of the order goes on as far as it can.

use std::collections::BTreeSet;

use trimaran_agent_core::driver::{CallId, Driver, Found, FoundOf, Input, Journaled};
use trimaran_model::action::{Commit, Outcome, Progress};
use trimaran_model::time::Timestamp;
use trimaran_wire::codec::CodecError;

use crate::apply::{self, Pass};
use crate::cluster_id::{ClusterId, other_cluster};
use crate::effects::{self, Effects, Next};
use crate::inventory::{Change, Inventory};
use crate::object_key::ObjectKey;
use crate::order::{Goal, Order};
use crate::phase::{Kept, Pending, Phase, Step};
use crate::platform::{Call, Live, LiveObject, Observation, Query, Refusal, Reply};
use crate::{prune, saved, settle, survey};

/// Deploys of installations on Kubernetes.
#[derive(Debug, Clone, Copy, Default)]
pub struct KubernetesDriver;

impl Driver for KubernetesDriver {
    type Order = Order;
    type Phase = Phase;
    type Call = Call;
    type Reply = Reply;
    type Snapshot = Observation;
    type Query = Query;
    type Progress = Progress;

    fn begin(&self, now: Timestamp, order: &Order, found: Option<FoundOf<Self>>, out: &mut Effects) -> Phase {
        let kept = match found {
            Some(Found::Resumed(phase)) => phase.into_kept(),
            Some(Found::Superseded { phase, .. }) => Kept::new(phase.inventory()),
            None => Kept::new(committed(order.committed.as_ref())),
        };
        begin(now, order, kept, out)
    }

    fn step(&self, phase: &mut Phase, now: Timestamp, input: Input<Reply, Observation>, out: &mut Effects) {
        match input {
            Input::Reply(id, reply) => replied(phase, now, id, reply, out),
            Input::Lost(id) | Input::Unmade(id) => {
                // What it was for is not known any more, so it is looked at again.
                phase.work.calls.remove(&id);
            }
            Input::Observed(observation) => phase.work.seen = Some(observation),
            Input::Due => {}
            Input::Abort(reason) => phase.work.abort = Some(reason),
            Input::LeaseLost => phase.work.lease = false,
            Input::LeaseBack => phase.work.lease = true,
            Input::Committed(n) => phase.work.committed = phase.work.committed.max(n),
        }
        advance(phase, now, out);
    }
}

impl Journaled for KubernetesDriver {
    fn save(&self, phase: &Phase) -> Vec<u8> {
        saved::save(&phase.clone().into_kept())
    }

    fn load(&self, order: &Order, bytes: &[u8]) -> Result<Phase, CodecError> {
        Ok(Phase::resume(order, Timestamp::default(), saved::load(bytes)?))
    }
}

/// Begins an order with what is known of the installation.
pub(crate) fn begin(now: Timestamp, order: &Order, kept: Kept, out: &mut Effects) -> Phase {
    let mut phase = Phase::resume(order, now, Kept { step: Step::Surveying, ..kept });
    advance(&mut phase, now, out);
    phase
}

/// What the log knows of the installation. What it does not know, or what another build wrote, can't be deleted: the
/// worst of that is an object that stays.
pub(crate) fn committed(commit: Option<&Commit>) -> Inventory {
    let body = commit.map(|commit| Inventory::from_bytes(&commit.body));
    body.and_then(Result::ok).unwrap_or_default()
}

fn replied(phase: &mut Phase, now: Timestamp, id: CallId, reply: Reply, out: &mut Effects) {
    let Some(pending) = phase.work.calls.remove(&id) else { return };
    match (pending, reply) {
        (Pending::Identify, Reply::Identified(found)) => identified(phase, &found, out),
        (Pending::Read(keys), Reply::Live(live)) => phase.work.live.extend(keys.into_iter().zip(live)),
        (Pending::Change(key), Reply::Applied { object, changed }) => {
            changed_object(phase, key, object, changed);
        }
        (Pending::PutBack(key), Reply::Applied { object, .. }) => {
            phase.work.applied.insert(key.clone());
            phase.work.live.insert(key, Live::Present(object));
        }
        (Pending::Unused, Reply::Unused(versions)) => phase.work.unused = Some(versions),
        (Pending::Unused, Reply::Refused(Refusal::Unavailable { .. })) => {
            effects::retry_in(phase, now, effects::UNAVAILABLE_RETRY, out);
        }
        // What can't be known stays.
        (Pending::Unused, Reply::Refused(_)) => phase.work.unused = Some(BTreeSet::new()),
        (Pending::Free { uid }, Reply::Deleted) => {
            phase.work.freed.insert(uid);
        }
        // The next look shows whether it is gone.
        (Pending::Delete(_), Reply::Deleted) => {}
        (pending, Reply::Refused(refusal)) => {
            let key = match &pending {
                Pending::Change(key) | Pending::PutBack(key) | Pending::Delete(key) => Some(key),
                Pending::Identify | Pending::Read(_) | Pending::Free { .. } | Pending::Unused => None,
            };
            if let Some(end) = effects::refused(phase, now, key, refusal, out)
                && phase.work.abort.is_none()
            {
                effects::fail(phase, end, out);
            }
        }
        (pending, reply) => unreachable!("{reply:?} is no answer to {pending:?}"),
    }
}

/// The cluster says which one it is; a later order remembers it.
fn identified(phase: &mut Phase, found: &ClusterId, out: &mut Effects) {
    let place = format!("installation {}", phase.author.installation_text());
    match other_cluster(&phase.before.cluster, found, &place) {
        Some(why) if phase.work.abort.is_none() => effects::fail(phase, why, out),
        Some(_) => {}
        None => {
            phase.before.cluster = phase.before.cluster.updated(found);
            phase.work.is_identified = true;
        }
    }
}

/// The object as it is after a change; whether it is what was wanted is decided with the others.
fn changed_object(phase: &mut Phase, key: ObjectKey, object: LiveObject, changed: bool) {
    if let Some(receipt) = phase.receipts.get_mut(&key) {
        receipt.uid = Some(object.uid.clone());
        receipt.fields = object.fields;
        if !changed && receipt.change == Change::Updated {
            receipt.change = Change::Unchanged;
        }
    }
    phase.work.live.insert(key, Live::Present(object));
}

/// Goes on until the step waits for something.
fn advance(phase: &mut Phase, now: Timestamp, out: &mut Effects) {
    if phase.work.retry_at.is_some_and(|at| at <= now) {
        phase.work.retry_at = None;
    }
    loop {
        if phase.work.has_ended {
            return;
        }
        if phase.work.abort.is_some() {
            // A change in flight ends or reaches its deadline first: the next order must find it done or not done.
            if phase.work.calls.is_empty() {
                effects::end(phase, Outcome::Stopped, out);
            }
            return;
        }
        if phase.work.retry_at.is_some() {
            return;
        }
        let next = match phase.step {
            Step::Surveying => survey::advance(phase, now, out),
            Step::Committing => intents_committed(phase, now),
            Step::Applying => apply_step(phase, now, out),
            Step::Settling => settle::advance(phase, now, out),
            Step::Pruning => prune::advance(phase, now, out),
            Step::Closing => closed(phase, out),
        };
        if next == Next::Wait {
            return;
        }
    }
}

fn intents_committed(phase: &mut Phase, now: Timestamp) -> Next {
    if phase.work.committed < phase.commits {
        return Next::Wait;
    }
    phase.enter(Step::Applying, now);
    Next::Again
}

fn apply_step(phase: &mut Phase, now: Timestamp, out: &mut Effects) -> Next {
    match apply::advance(phase, now, out) {
        Ok(Pass::Going) => Next::Wait,
        Ok(Pass::Changed) => survey::commit_intents(phase, now, out),
        Ok(Pass::Complete) if matches!(phase.goal, Goal::Stop(_)) && phase.receipts.is_empty() => {
            phase.enter(Step::Pruning, now);
            Next::Again
        }
        Ok(Pass::Complete) => {
            let inventory = phase.inventory();
            // Where the uids don't fit any more, the marks on the objects tell whose they are.
            let _ = effects::commit(phase, &inventory, out);
            survey::settle(phase, now, out);
            Next::Again
        }
        Err(end) => {
            effects::fail(phase, end, out);
            Next::Wait
        }
    }
}

fn closed(phase: &mut Phase, out: &mut Effects) -> Next {
    if phase.work.committed >= phase.commits {
        effects::end(phase, Outcome::Done, out);
    }
    Next::Wait
}
