//! A runner of drivers that keeps their contract, with the faults of one run.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use trimaran_agent_core::driver::{CallId, Driver, Effect, Found, Guard, Input};
use trimaran_model::action::{Commit, Outcome};
use trimaran_model::id::AssignmentId;
use trimaran_model::limits::SUPERSEDE_TIMEOUT;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Timestamp};

use super::{EffectIn, FoundIn, Model, Which};

/// A run that has not ended by then never ends.
pub(super) const STEPS_MAX: u32 = 100_000;
/// A commit is in the log after this.
pub(super) const COMMIT_TAKES: Millis = Millis(40);

/// What happens to the answer of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Dropped,
    Delayed(Millis),
    Repeated(Millis),
}

/// The faults of one run. Points are counted before and behind each persist and each call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// The process dies at this point; its directory may be lost too.
    pub crash: Option<(u64, bool)>,
    /// The answer of this call, counted from 1.
    pub reply: Option<(u64, Fault)>,
    /// The lease is lost at this point and back after a while.
    pub lease_lost: Option<(u64, Millis)>,
    pub cancel: Option<u64>,
    pub supersede: Option<u64>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    pub which: Which,
    /// `None`: the driver never ends on its own and has settled.
    pub outcome: Option<Outcome>,
    pub canceled: bool,
    /// The number of the call whose answer never came.
    pub lost_call: Option<u64>,
    pub points: u64,
    pub calls: u64,
}

/// What is on the disk.
#[derive(Clone)]
enum Durable {
    Nothing,
    /// The second order was accepted with what the first one had done.
    HandedOver(Vec<u8>),
    Own(Which, Vec<u8>),
}

enum Event<R> {
    Reply(CallId, R),
    /// With the number of the call.
    Lost(CallId, u64),
    Wake,
    /// A commit is in the log, whoever made it.
    Logged(Commit),
    Committed(u32),
    LeaseBack,
    /// A superseded driver has had its time.
    OutOfTime,
}

/// An effect, or the bytes of the phase as they were when it was persisted.
enum Queued<M: Model> {
    Persist(Vec<u8>),
    /// With what the driver knew when it asked.
    Effect {
        effect: EffectIn<M>,
        lease: bool,
        aborted: bool,
    },
}

type Events<M> = BTreeMap<(Timestamp, u64), Event<<<M as Model>::Driver as Driver>::Reply>>;

struct Run<'a, M: Model> {
    model: M,
    faults: &'a Faults,
    now: Timestamp,
    which: Which,
    phase: Option<<M::Driver as Driver>::Phase>,
    durable: Durable,
    queue: VecDeque<Queued<M>>,
    events: Events<M>,
    event_count: u64,
    in_flight: BTreeSet<CallId>,
    lease: bool,
    lease_fault_made: bool,
    aborted: Option<ReasonCode>,
    canceled: bool,
    /// The second order was sent.
    superseded: bool,
    frozen: bool,
    outcome: Option<Outcome>,
    in_log: Option<Commit>,
    lost_call: Option<u64>,
    points: u64,
    calls: u64,
    crashed: bool,
}

/// Plays one run to its end.
pub fn play<M: Model>(model: M, faults: &Faults) -> Result<Finished, String> {
    let mut run = Run {
        model,
        faults,
        now: Timestamp(1000),
        which: Which::First,
        phase: None,
        durable: Durable::Nothing,
        queue: VecDeque::new(),
        events: BTreeMap::new(),
        event_count: 0,
        in_flight: BTreeSet::new(),
        lease: true,
        lease_fault_made: false,
        aborted: None,
        canceled: false,
        superseded: false,
        frozen: false,
        outcome: None,
        in_log: None,
        lost_call: None,
        points: 0,
        calls: 0,
        crashed: false,
    };
    run.begin(None);
    for _ in 0..STEPS_MAX {
        if run.is_over() {
            let Run { which, outcome, canceled, lost_call, points, calls, phase, model, .. } = run;
            let finished = Finished { which, outcome, canceled, lost_call, points, calls };
            model.verify(&finished, &phase.expect("it was begun"))?;
            return Ok(finished);
        }
        run.advance()?;
    }
    Err("it does not end".to_owned())
}

impl<M: Model> Run<'_, M> {
    fn order(&self, which: Which) -> <M::Driver as Driver>::Order {
        self.model.order(which, self.in_log.clone())
    }

    fn begin(&mut self, found: Option<FoundIn<M>>) {
        let order = self.order(self.which);
        let mut out = Vec::new();
        let phase = self.model.driver().begin(self.now, &order, found, &mut out);
        self.phase = Some(phase);
        self.enqueue(out);
        if self.lease {
            self.feed(Input::LeaseBack);
        }
    }

    fn enqueue(&mut self, effects: Vec<EffectIn<M>>) {
        for effect in effects {
            let queued = match effect {
                Effect::Persist => {
                    Queued::Persist(self.model.save(self.phase.as_ref().expect("a driver persists")))
                }
                effect => Queued::Effect { effect, lease: self.lease, aborted: self.aborted.is_some() },
            };
            self.queue.push_back(queued);
        }
    }

    fn feed(&mut self, input: Input<<M::Driver as Driver>::Reply, <M::Driver as Driver>::Snapshot>) {
        if self.outcome.is_some() || self.frozen {
            return;
        }
        let Some(phase) = self.phase.as_mut() else { return };
        let mut out = Vec::new();
        self.model.driver().step(phase, self.now, input, &mut out);
        self.enqueue(out);
    }

    fn is_over(&self) -> bool {
        let waits = self.superseded && self.which == Which::First;
        let settled = || self.phase.as_ref().is_some_and(|phase| self.model.is_settled(phase));
        self.queue.is_empty() && !waits && (self.outcome.is_some() || settled())
    }

    /// Performs one effect, or lets time pass to the next event.
    fn advance(&mut self) -> Result<(), String> {
        if self.crashed {
            self.restart();
            return Ok(());
        }
        self.inject();
        if let Some(queued) = self.queue.pop_front() {
            return self.perform(queued);
        }
        if self.superseded && self.which == Which::First {
            if self.outcome.is_some() || (self.frozen && self.in_flight.is_empty()) {
                self.hand_over();
                return Ok(());
            }
            if self.request_handover() {
                return Ok(());
            }
        }
        for snapshot in self.model.observations(self.now) {
            self.feed(Input::Observed(snapshot));
        }
        if !self.queue.is_empty() || self.is_over() {
            return Ok(());
        }
        let event = self.events.first_key_value().map(|((at, _), _)| *at);
        let change = self.model.next_change(self.now);
        let Some(at) = event.into_iter().chain(change).min() else {
            return Err("nothing will ever happen".to_owned());
        };
        self.now = self.now.max(at);
        if event.is_some_and(|event| event <= self.now) {
            let (_, event) = self.events.pop_first().expect("there is one");
            self.happen(event);
        }
        Ok(())
    }

    /// Faults that come between two steps.
    fn inject(&mut self) {
        if let Some((at, back_after)) = self.faults.lease_lost
            && self.points >= at
            && !self.lease_fault_made
        {
            (self.lease, self.lease_fault_made) = (false, true);
            self.schedule(self.now + back_after, Event::LeaseBack);
            self.feed(Input::LeaseLost);
        }
        if self.faults.cancel.is_some_and(|at| self.points >= at) && !self.canceled {
            self.canceled = true;
            self.abort(ReasonCode::Canceled);
        }
        if self.faults.supersede.is_some_and(|at| self.points >= at) && !self.superseded {
            self.superseded = true;
            self.schedule(self.now + SUPERSEDE_TIMEOUT, Event::OutOfTime);
            self.request_handover();
        }
    }

    fn abort(&mut self, reason: ReasonCode) {
        self.aborted = Some(reason);
        self.feed(Input::Abort(reason));
    }

    /// True when the driver was asked just now.
    fn request_handover(&mut self) -> bool {
        let Some(phase) = &self.phase else { return false };
        let next = self.order(Which::Second);
        let reason = self.model.driver().handover(phase, &next).abort_reason();
        let is_new = self.aborted.is_none() || reason == Some(ReasonCode::Fenced);
        match reason.filter(|reason| is_new && self.aborted != Some(*reason)) {
            Some(reason) => {
                self.abort(reason);
                true
            }
            None => false,
        }
    }

    /// The first order is over: the second one begins, with one write for both.
    fn hand_over(&mut self) {
        let phase = self.phase.take().expect("the first order was begun");
        self.durable = Durable::HandedOver(self.model.save(&phase));
        let order = self.order(Which::First);
        self.forget_volatile();
        self.which = Which::Second;
        self.begin(Some(Found::Superseded { order, phase }));
    }

    fn forget_volatile(&mut self) {
        self.queue.clear();
        self.in_flight.clear();
        self.events.retain(|_, event| matches!(event, Event::Logged(_) | Event::LeaseBack));
        (self.aborted, self.frozen, self.outcome) = (None, false, None);
        self.model.crashed();
    }

    /// The process starts again, on its directory or on an empty one; the coordinators send the last order again.
    fn restart(&mut self) {
        self.crashed = false;
        self.forget_volatile();
        self.phase = None;
        if self.faults.crash.is_some_and(|(_, lose_journal)| lose_journal) {
            self.durable = Durable::Nothing;
        }
        let first = self.order(Which::First);
        let found = match self.durable.clone() {
            Durable::Nothing => {
                // What was sent before the crash reaches the log before an agent is replaced.
                self.settle_log();
                self.which = if self.superseded { Which::Second } else { self.which };
                self.model.found_without_journal().map(Found::Resumed)
            }
            Durable::HandedOver(bytes) => {
                self.which = Which::Second;
                let phase = self.model.load(&first, &bytes);
                Some(Found::Superseded { order: first, phase })
            }
            Durable::Own(which, bytes) => {
                self.which = which;
                Some(Found::Resumed(self.model.load(&self.order(which), &bytes)))
            }
        };
        self.begin(found);
        if self.canceled {
            self.abort(ReasonCode::Canceled);
        }
        if self.superseded && self.which == Which::First {
            self.schedule(self.now + SUPERSEDE_TIMEOUT, Event::OutOfTime);
        }
    }

    fn settle_log(&mut self) {
        let events = std::mem::take(&mut self.events);
        for (key, event) in events {
            match event {
                Event::Logged(commit) => self.in_log = Some(commit),
                other => drop(self.events.insert(key, other)),
            }
        }
    }

    fn schedule(&mut self, at: Timestamp, event: Event<<M::Driver as Driver>::Reply>) {
        self.event_count += 1;
        self.events.insert((at, self.event_count), event);
    }

    fn happen(&mut self, event: Event<<M::Driver as Driver>::Reply>) {
        match event {
            Event::Reply(id, reply) => {
                // The second answer of a call finds no call.
                if self.in_flight.remove(&id) {
                    self.feed(Input::Reply(id, reply));
                }
            }
            Event::Lost(id, number) => {
                if self.in_flight.remove(&id) {
                    self.lost_call = Some(number);
                    self.feed(Input::Lost(id));
                }
            }
            Event::Wake => self.feed(Input::Due),
            Event::Logged(commit) => self.in_log = Some(commit),
            Event::Committed(n) => self.feed(Input::Committed(n)),
            Event::LeaseBack => {
                self.lease = true;
                self.feed(Input::LeaseBack);
            }
            Event::OutOfTime => {
                self.frozen = true;
                self.queue.clear();
            }
        }
    }

    /// Counts a point; true when the process dies there.
    fn point(&mut self) -> bool {
        self.points += 1;
        self.crashed |= self.faults.crash.is_some_and(|(at, _)| at == self.points);
        self.crashed
    }

    fn perform(&mut self, queued: Queued<M>) -> Result<(), String> {
        let (effect, lease, aborted) = match queued {
            Queued::Persist(bytes) => {
                if self.point() {
                    return Ok(());
                }
                let phase = self.model.load(&self.order(self.which), &bytes);
                self.durable = Durable::Own(self.which, bytes);
                self.model.persisted(&phase);
                self.point();
                return Ok(());
            }
            Queued::Effect { effect, lease, aborted } => (effect, lease, aborted),
        };
        match effect {
            Effect::Persist => unreachable!("it was queued as bytes"),
            Effect::Call { id, call, deadline, guard } => {
                self.check_call(&call, &guard, lease, aborted)?;
                if guard == Guard::Unguarded && !self.lease {
                    self.feed(Input::Unmade(id));
                    return Ok(());
                }
                return self.start_call(id, call, deadline);
            }
            Effect::Watch(query) => self.model.watch(query),
            Effect::Report(_) => {}
            Effect::Commit { n, body, .. } => {
                let assignment = AssignmentId(self.which as u64 + 1);
                self.schedule(self.now + COMMIT_TAKES, Event::Logged(Commit { assignment, n, body }));
                self.schedule(self.now + COMMIT_TAKES + COMMIT_TAKES, Event::Committed(n));
            }
            Effect::WakeAt(at) => {
                self.events.retain(|_, event| !matches!(event, Event::Wake));
                self.schedule(at, Event::Wake);
            }
            Effect::Done(outcome) => self.outcome = Some(outcome),
        }
        Ok(())
    }

    /// Whether the driver may ask for this call.
    fn check_call(
        &self,
        call: &<M::Driver as Driver>::Call,
        guard: &Guard,
        lease: bool,
        aborted: bool,
    ) -> Result<(), String> {
        if self.model.needs_lease(call) && *guard != Guard::Unguarded {
            return Err(format!("a call that needs the lease is guarded by {guard:?}"));
        }
        if *guard == Guard::Unguarded && !lease {
            return Err("an unguarded call was asked for without a lease".to_owned());
        }
        if aborted && self.model.starts(call) {
            return Err("something new was started after an abort".to_owned());
        }
        let durable = match &self.durable {
            Durable::Own(which, bytes) => Some(self.model.load(&self.order(*which), bytes)),
            Durable::Nothing | Durable::HandedOver(_) => None,
        };
        if !self.model.is_covered(durable.as_ref(), call) {
            return Err("a call was made before the phase that names it was durable".to_owned());
        }
        Ok(())
    }

    fn start_call(
        &mut self,
        id: CallId,
        call: <M::Driver as Driver>::Call,
        deadline: Millis,
    ) -> Result<(), String> {
        if self.point() {
            return Ok(());
        }
        let (reply, takes) = self.model.call(self.now, self.which, call)?;
        self.calls += 1;
        self.in_flight.insert(id);
        if self.point() {
            return Ok(());
        }
        let (at, end) = (self.now + takes, self.now + deadline);
        match self.faults.reply.filter(|(call, _)| *call == self.calls).map(|(_, fault)| fault) {
            None => self.schedule(at, Event::Reply(id, reply)),
            Some(Fault::Dropped) => self.schedule(end, Event::Lost(id, self.calls)),
            Some(Fault::Delayed(late)) if at + late < end => {
                self.schedule(at + late, Event::Reply(id, reply))
            }
            Some(Fault::Delayed(_)) => self.schedule(end, Event::Lost(id, self.calls)),
            Some(Fault::Repeated(later)) => {
                self.schedule(at, Event::Reply(id, reply.clone()));
                self.schedule(at + later, Event::Reply(id, reply));
            }
        }
        Ok(())
    }
}
