//! The calls that are in flight, by target: each target has a semaphore, a queue and deadlines of its own, so one whose
//! platform hangs delays no call of another.
//!
//! A call that waits is not made: its permit begins when it starts. One that is not answered until its deadline is lost,
//! whatever its platform does later, and makes room for the next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use trimaran_model::id::{AssignmentId, TargetName};
use trimaran_model::limits::TARGET_CALLS_MAX;
use trimaran_model::time::{Millis, Timestamp};

use crate::driver::{CallId, Guard};

/// A call of an assignment.
pub(crate) type CallKey = (AssignmentId, CallId);

/// What is needed to make a call later.
pub(crate) struct WaitingCall<C> {
    pub(crate) key: CallKey,
    pub(crate) call: C,
    pub(crate) guard: Guard,
    pub(crate) deadline: Millis,
}

struct Target<C> {
    in_flight: usize,
    waiting: VecDeque<WaitingCall<C>>,
}

pub(crate) struct Calls<C> {
    targets: BTreeMap<TargetName, Target<C>>,
    in_flight: BTreeMap<CallKey, (TargetName, Timestamp)>,
    deadlines: BTreeSet<(Timestamp, CallKey)>,
}

impl<C> Calls<C> {
    pub(crate) fn new() -> Self {
        Self { targets: BTreeMap::new(), in_flight: BTreeMap::new(), deadlines: BTreeSet::new() }
    }

    /// Queues a call of a target; [`Calls::next`] says when it starts.
    pub(crate) fn push(&mut self, target: &TargetName, call: WaitingCall<C>) {
        let new = || Target { in_flight: 0, waiting: VecDeque::new() };
        self.targets.entry(target.clone()).or_insert_with(new).waiting.push_back(call);
    }

    /// The next call of a target that may start now.
    pub(crate) fn next(&mut self, target: &TargetName) -> Option<WaitingCall<C>> {
        let calls = self.targets.get_mut(target)?;
        if calls.in_flight >= TARGET_CALLS_MAX { None } else { calls.waiting.pop_front() }
    }

    /// A call is made.
    pub(crate) fn start(&mut self, target: &TargetName, key: CallKey, until: Timestamp) {
        self.targets.get_mut(target).expect("the call was queued there").in_flight += 1;
        self.in_flight.insert(key, (target.clone(), until));
        self.deadlines.insert((until, key));
    }

    pub(crate) fn is_in_flight(&self, key: CallKey) -> bool {
        self.in_flight.contains_key(&key)
    }

    /// A call has ended; the target that has room for another one, when it was in flight.
    pub(crate) fn end(&mut self, key: CallKey) -> Option<TargetName> {
        let (target, until) = self.in_flight.remove(&key)?;
        self.deadlines.remove(&(until, key));
        let calls = self.targets.get_mut(&target).expect("it has a call in flight");
        calls.in_flight -= 1;
        if calls.in_flight == 0 && calls.waiting.is_empty() {
            self.targets.remove(&target);
        }
        Some(target)
    }

    /// An assignment makes no more calls; those in flight still end.
    pub(crate) fn forget_waiting(&mut self, target: &TargetName, id: AssignmentId) {
        let Some(calls) = self.targets.get_mut(target) else { return };
        calls.waiting.retain(|call| call.key.0 != id);
        if calls.in_flight == 0 && calls.waiting.is_empty() {
            self.targets.remove(target);
        }
    }

    /// A call whose deadline has come.
    pub(crate) fn overdue(&self, now: Timestamp) -> Option<CallKey> {
        self.deadlines.first().filter(|(until, _)| *until <= now).map(|(_, key)| *key)
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(until, _)| *until)
    }
}
