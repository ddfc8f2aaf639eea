//! The driver: takes an input, moves both regions as far as they go, and says what to do next.

use trimaran_agent_core::driver::{CallId, Driver, Effect, EffectOf, FoundOf, Guard, Handover, Input};
use trimaran_model::assignment::{HostGoal, HostReport};
use trimaran_model::limits;
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::Release;
use trimaran_model::time::{Millis, Timestamp};

use super::call::{Call, HostFailure, Query, Reply, Snapshot};
use super::health::Watch;
use super::journal::{Journal, Step, host_release};
use super::phase::{Operation, Phase, VolatileState};
use super::{Exit, HostEffect};

/// The machine of one installation on one host.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostMachine;

/// Steps that one input may lead through without an operation between them.
const STEPS_WITHOUT_OPERATION_MAX: usize = 8;

/// One step being taken.
pub(super) struct Transition<'a> {
    pub(super) journal: &'a mut Journal,
    pub(super) volatile: &'a mut VolatileState,
    pub(super) now: Timestamp,
    pub(super) out: &'a mut Vec<HostEffect>,
}

impl Driver for HostMachine {
    type Order = HostGoal;
    type Phase = Phase;
    type Call = Call;
    type Reply = Reply;
    type Snapshot = Snapshot;
    type Query = Query;
    type Progress = HostReport;

    fn begin(
        &self,
        now: Timestamp,
        order: &HostGoal,
        found: Option<FoundOf<Self>>,
        out: &mut Vec<EffectOf<Self>>,
    ) -> Phase {
        let mut journal = match found {
            None => Journal::new(order.clone()),
            // Its journal names the goal that it was of: an earlier one is continued from where it is.
            Some(found) => found.into_phase().journal,
        };
        let slot_held = journal.step.is_disruptive();
        journal.accept(order);
        let mut phase = Phase::from(journal);
        phase.volatile.slot = slot_held;
        let mut it = Transition::of(&mut phase, now, out);
        it.persist();
        it.advance();
        phase
    }

    fn step(
        &self,
        phase: &mut Phase,
        now: Timestamp,
        input: Input<Reply, Snapshot>,
        out: &mut Vec<EffectOf<Self>>,
    ) {
        if phase.volatile.done {
            return;
        }
        let mut it = Transition::of(phase, now, out);
        match input {
            Input::Reply(id, reply) => it.on_reply(id, reply),
            Input::Lost(id) | Input::Unmade(id) => it.lost(id),
            Input::Observed(Snapshot { launch, exit }) => it.exited(launch, exit),
            Input::Due => it.volatile.wake_requested = None,
            Input::Abort(reason) => it.volatile.abort = Some(reason),
            // A host finishes or reverts alone what it has begun; it needs no lease.
            Input::LeaseLost | Input::LeaseBack | Input::Committed(_) => {}
        }
        it.advance();
    }

    fn handover(&self, phase: &Phase, next: &HostGoal) -> Handover {
        phase.handover(next)
    }
}

impl HostMachine {
    /// Ends what runs and starts it again, apart from any goal: as soon as nothing else changes the service. Returns
    /// whether a release should run here, so that there is something to restart.
    pub fn restart(&self, phase: &mut Phase, now: Timestamp, out: &mut Vec<HostEffect>) -> bool {
        if phase.volatile.done || phase.journal.serving.is_none() {
            return false;
        }
        phase.volatile.restart_requested = true;
        Transition::of(phase, now, out).advance();
        true
    }
}

impl<'a> Transition<'a> {
    fn of(phase: &'a mut Phase, now: Timestamp, out: &'a mut Vec<HostEffect>) -> Self {
        Self { journal: &mut phase.journal, volatile: &mut phase.volatile, now, out }
    }

    /// Moves both regions as far as they go without another input.
    fn advance(&mut self) {
        if self.volatile.abort.is_none_or(|reason| self.continues_after(reason)) {
            self.next_operations();
            self.serve();
        } else {
            self.end_by_abort();
        }
        self.watch();
        self.report();
        if !self.volatile.done {
            self.wake();
        }
    }

    /// Asks for the next operation; a step that needs none leads to the next step.
    fn next_operations(&mut self) {
        for _ in 0..STEPS_WITHOUT_OPERATION_MAX {
            let before = self.journal.step;
            if self.volatile.operation.is_none() {
                self.next_operation();
            }
            if self.volatile.operation.is_some() || self.journal.step == before {
                return;
            }
        }
    }

    fn next_operation(&mut self) {
        if self.volatile.inspect_at.is_some_and(|at| at > self.now) {
            return;
        }
        if self.volatile.observation.is_none() {
            return self.begin_operation(Operation::Inspect, Call::Inspect, limits::HOST_CALL, Guard::Read);
        }
        match self.journal.step {
            Step::Accepted => self.pursue(),
            Step::Changing { to, reverting: _, part } => self.change(to, part),
            Step::Ending { part, .. } => self.end_everything(part),
            Step::InPlace
            | Step::Prepared
            | Step::Committed
            | Step::Refused
            | Step::Failed
            | Step::Stopped => self.conclude_goal(),
        }
    }

    fn on_reply(&mut self, id: CallId, reply: Reply) {
        if let Some(place) = self.volatile.watch.take_pending(id) {
            return self.on_probe_reply(place, reply);
        }
        if self.service_replied(id, &reply) {
            return;
        }
        if let Some((_, operation)) = self.volatile.operation.take_if(|(pending, _)| *pending == id) {
            self.on_operation_reply(operation, reply);
        }
    }

    /// The end of the first process counts more than any answer.
    fn on_probe_reply(&mut self, place: usize, reply: Reply) {
        match reply {
            Reply::Ended(exit) => {
                let launch = self.journal.launch.as_ref().map(|launch| launch.number);
                self.exited(launch.unwrap_or_default(), exit);
            }
            Reply::Failed(failure) => self.probed(place, Err(&failure.message)),
            Reply::Warned(warning) => {
                self.volatile.warning = Some(warning);
                self.probed(place, Ok(()));
            }
            _ => {
                self.volatile.warning = None;
                self.probed(place, Ok(()));
            }
        }
    }

    fn on_operation_reply(&mut self, operation: Operation, reply: Reply) {
        match (operation, reply) {
            (Operation::Inspect, Reply::Observation(observation)) => {
                self.volatile.inspect_at = None;
                self.volatile.inspection_failures = 0;
                self.volatile.inspection_failure = None;
                self.reconcile(observation);
            }
            (Operation::Inspect, reply) => self.inspection_failed(reply),
            (Operation::Fetch, reply) => self.fetched(reply),
            (Operation::Unpack, reply) => self.unpacked(reply),
            (Operation::FreeSpace, _) => self.volatile.observation = None,
            (Operation::AcquireSlot, _) => self.volatile.slot = true,
            (Operation::Preflight, Reply::Failed(failure)) => self.refuse(failure),
            (Operation::Preflight, _) => self.volatile.preflight_passed = true,
            (Operation::MayStop, reply) => self.stop_answered(reply),
            (Operation::Errand(part), reply) => self.errand_replied(part, reply),
            (Operation::Stop, reply) => self.stopped(reply),
            (Operation::Switch, reply) => self.switched(reply),
            (Operation::Start, reply) => self.started(reply),
            (Operation::CollectGarbage, _) => self.volatile.garbage_collected = true,
        }
    }

    /// The answer of a call can't come: whether it had its effect shows the next inspection.
    fn lost(&mut self, id: CallId) {
        if let Some(place) = self.volatile.watch.take_pending(id) {
            return self.probed(place, Err("the probe was not answered"));
        }
        if self.volatile.slot_call.take_if(|pending| *pending == id).is_some() {
            return;
        }
        if self.volatile.service_call.take_if(|(pending, _)| *pending == id).is_some() {
            return self.inspect_again();
        }
        let Some((_, operation)) = self.volatile.operation.take_if(|(pending, _)| *pending == id) else {
            return;
        };
        match operation {
            Operation::AcquireSlot
            | Operation::Preflight
            | Operation::MayStop
            | Operation::CollectGarbage => self.count_loss(),
            Operation::Inspect => self.inspection_failed(Reply::Failed(HostFailure::new(
                ReasonCode::HostInternal,
                "the host could not be inspected in time",
            ))),
            Operation::Fetch => self.refuse(HostFailure::new(
                ReasonCode::FetchTimeout,
                format!("the artifact did not arrive within {}", limits::HOST_FETCH),
            )),
            Operation::Unpack
            | Operation::FreeSpace
            | Operation::Errand(_)
            | Operation::Stop
            | Operation::Switch
            | Operation::Start => self.inspect_again(),
        }
    }

    fn inspect_again(&mut self) {
        self.volatile.observation = None;
        self.count_loss();
    }

    /// A host that loses answer after answer abandons its goal instead of retrying for ever.
    fn count_loss(&mut self) {
        self.volatile.losses = self.volatile.losses.saturating_add(1);
        if self.volatile.losses >= limits::HOST_LOSSES_MAX && self.journal.step == Step::Accepted {
            self.refuse(HostFailure::new(ReasonCode::HostInternal, "the host's answers get lost"));
        }
    }

    /// Nothing is known of the host: nothing may be touched.
    fn inspection_failed(&mut self, reply: Reply) {
        let failure = match reply {
            Reply::Failed(failure) => failure,
            _ => HostFailure::new(ReasonCode::HostInternal, "the host answered another question"),
        };
        self.volatile.inspect_at = Some(self.now + limits::HOST_INSPECT_RETRY_DELAY);
        self.volatile.inspection_failures = self.volatile.inspection_failures.saturating_add(1);
        self.volatile.inspection_failure = Some(failure.clone());
        if self.journal.step == Step::Accepted {
            self.refuse(failure);
        }
    }

    pub(super) fn begin_operation(
        &mut self,
        operation: Operation,
        call: Call,
        deadline: Millis,
        guard: Guard,
    ) {
        let id = self.call(call, deadline, guard);
        self.volatile.operation = Some((id, operation));
    }

    pub(super) fn call(&mut self, call: Call, deadline: Millis, guard: Guard) -> CallId {
        self.volatile.last_call += 1;
        let id = CallId(self.volatile.last_call);
        self.out.push(Effect::Call { id, call, deadline, guard });
        id
    }

    pub(super) fn persist(&mut self) {
        self.out.push(Effect::Persist);
    }

    pub(super) fn enter(&mut self, step: Step) {
        self.journal.step = step;
        self.persist();
    }

    /// Watches the end of a process that was not watched before.
    fn watch(&mut self) {
        let launch = self.journal.launch.as_ref().map(|launch| launch.number);
        if self.volatile.process.is_some() && self.volatile.watched != launch {
            self.volatile.watched = launch;
            self.out.extend(launch.map(|launch| Effect::Watch(Query { launch })));
        }
    }

    fn wake(&mut self) {
        let probe = self.volatile.watch.next_at();
        let restart = self.volatile.restart_at.filter(|_| self.volatile.service_call.is_none());
        let look = self.volatile.inspect_at.filter(|_| self.volatile.operation.is_none());
        let permission = self.volatile.stop_asked_again_at.filter(|_| self.volatile.operation.is_none());
        // What is due already waits for an answer, which will come.
        let next = [probe, restart, look, permission].into_iter().flatten().filter(|at| *at > self.now).min();
        if let Some(at) = next
            && self.volatile.wake_requested != next
        {
            self.out.push(Effect::WakeAt(at));
        }
        self.volatile.wake_requested = next;
    }

    /// A release on this host.
    pub(super) fn on_host(&self, digest: trimaran_model::id::Digest) -> Option<&Release> {
        let observation = self.volatile.observation.as_ref()?;
        observation.releases.get(&digest).map(|stored| &stored.release)
    }

    /// The release that should run.
    pub(super) fn serving_release(&self) -> Option<&Release> {
        self.on_host(self.journal.serving?)
    }

    /// The end of a process, as the watch saw it.
    fn exited(&mut self, launch: u64, exit: Exit) {
        if self.journal.launch.as_ref().is_none_or(|known| known.number != launch)
            || self.volatile.process.is_none()
        {
            return;
        }
        self.forget_process();
        match self.journal.step {
            Step::Changing { part, .. } if part.is_after_start() => self.verify_failed(exit.failure()),
            // It is to be ended, or was: the answer of the stop says so.
            Step::Changing { .. } | Step::Ending { .. } => {}
            Step::InPlace => self.verify_failed(exit.failure()),
            Step::Accepted
            | Step::Prepared
            | Step::Committed
            | Step::Refused
            | Step::Failed
            | Step::Stopped => self.service_ended(exit),
        }
    }

    pub(super) fn forget_process(&mut self) {
        self.volatile.process = None;
        self.volatile.watch = Watch::default();
        self.volatile.deadline = None;
        self.volatile.warning = None;
    }

    pub(super) fn has_process(&mut self, started: Timestamp) {
        self.volatile.process = Some(started);
        self.volatile.watch = Watch::begin(self.now);
        self.volatile.restart_requested = false;
    }

    /// The verification of what runs begins; its end is counted from `from`.
    pub(super) fn begin_verification(&mut self, from: Timestamp) {
        let length = self.serving_release().map(|release| host_release(release).health.deadline);
        self.volatile.watch.restart(self.now);
        self.volatile.deadline = length.map(|length| from + length);
    }
}
