//! The driver: takes an input, moves both regions as far as they go, and says what to do next.

use trimaran_agent_core::driver::{CallId, Driver, Effect, EffectOf, Guard, Input};
use trimaran_model::assignment::{HostGoal, HostReport};
use trimaran_model::limits;
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::Release;
use trimaran_model::time::{Millis, Timestamp};

use super::call::{Call, HostFailure, Query, Reply, Snapshot};
use super::health::Window;
use super::journal::{Journal, Part, Step, host_release};
use super::phase::{Act, Life, Phase};
use super::{Exit, HostEffect};

/// The machine of one installation on one host.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostMachine;

/// Steps that one input may lead through without an act between them.
const STEPS_WITHOUT_ACT_MAX: usize = 8;

/// One step being taken.
pub(super) struct Move<'a> {
    pub(super) journal: &'a mut Journal,
    pub(super) life: &'a mut Life,
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
        found: Option<Phase>,
        out: &mut Vec<EffectOf<Self>>,
    ) -> Phase {
        let mut journal = match found {
            None => Journal::new(order.clone()),
            Some(phase) => phase.journal,
        };
        let in_turn = journal.step.is_disruptive();
        journal.take(order);
        let mut phase = Phase::from(journal);
        phase.life.turn = in_turn;
        let mut it = Move::of(&mut phase, now, out);
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
        if phase.life.done {
            return;
        }
        let mut it = Move::of(phase, now, out);
        match input {
            Input::Reply(id, reply) => it.reply(id, reply),
            Input::Lost(id) | Input::Unmade(id) => it.lost(id),
            Input::Observed(Snapshot { launch, exit }) => it.exited(launch, exit),
            Input::Due => it.life.woken = None,
            Input::Abort(reason) => it.life.abort = Some(reason),
            // A host finishes or reverts by itself what it has begun; it needs no lease.
            Input::LeaseLost | Input::LeaseBack | Input::Committed => {}
        }
        it.advance();
    }
}

impl<'a> Move<'a> {
    fn of(phase: &'a mut Phase, now: Timestamp, out: &'a mut Vec<HostEffect>) -> Self {
        Self { journal: &mut phase.journal, life: &mut phase.life, now, out }
    }

    /// Moves both regions as far as they go without another input.
    fn advance(&mut self) {
        if self.life.abort.is_none_or(|reason| self.goes_on_after(reason)) {
            self.next_acts();
            self.serve();
        } else {
            self.end_by_abort();
        }
        self.watch();
        self.report();
        if !self.life.done {
            self.wake();
        }
    }

    /// Asks for the next act; a step that needs none leads to the next step.
    fn next_acts(&mut self) {
        for _ in 0..STEPS_WITHOUT_ACT_MAX {
            let before = self.journal.step;
            if self.life.act.is_none() {
                self.next_act();
            }
            if self.life.act.is_some() || self.journal.step == before {
                return;
            }
        }
    }

    fn next_act(&mut self) {
        if self.life.look_at.is_some_and(|at| at > self.now) {
            return;
        }
        if self.life.facts.is_none() {
            return self.act(Act::Look, Call::Look, limits::HOST_CALL, Guard::Read);
        }
        match self.journal.step {
            Step::Accepted => self.pursue(),
            Step::Changing { to, back: _, part } => self.change(to, part),
            Step::Ending { .. } => self.end_everything(),
            Step::InPlace
            | Step::Prepared
            | Step::Committed
            | Step::Refused
            | Step::Failed
            | Step::Stopped => self.rest(),
        }
    }

    fn reply(&mut self, id: CallId, reply: Reply) {
        if self.life.probe == Some(id) {
            self.life.probe = None;
            return match reply {
                Reply::Failed(failure) => self.probed(Err(&failure.message)),
                _ => self.probed(Ok(())),
            };
        }
        if self.life.restart == Some(id) {
            self.life.restart = None;
            return self.restarted(reply);
        }
        if let Some((_, act)) = self.life.act.take_if(|(pending, _)| *pending == id) {
            self.acted(act, reply);
        }
    }

    fn acted(&mut self, act: Act, reply: Reply) {
        match (act, reply) {
            (Act::Look, Reply::Facts(facts)) => {
                self.life.look_at = None;
                self.reconcile(facts);
            }
            (Act::Look, reply) => self.look_failed(reply),
            (Act::Fetch, reply) => self.fetched(reply),
            (Act::Unpack, reply) => self.unpacked(reply),
            (Act::MakeRoom, _) => self.life.facts = None,
            (Act::TakeTurn, _) => self.life.turn = true,
            (Act::CheckPort, Reply::Failed(failure)) => self.refuse(failure),
            (Act::CheckPort, _) => self.life.port_checked = true,
            (Act::Stop, reply) => self.stopped(reply),
            (Act::Switch, reply) => self.switched(reply),
            (Act::Start, reply) => self.started(reply),
            (Act::Tidy, _) => self.life.tidied = true,
        }
    }

    /// The answer of a call can't come: whether it had its effect is seen by looking.
    fn lost(&mut self, id: CallId) {
        if self.life.probe == Some(id) {
            self.life.probe = None;
            return self.probed(Err("the probe was not answered"));
        }
        if self.life.restart == Some(id) {
            self.life.restart = None;
            return self.look_again();
        }
        let Some((_, act)) = self.life.act.take_if(|(pending, _)| *pending == id) else { return };
        match act {
            Act::TakeTurn | Act::CheckPort | Act::Tidy => self.count_loss(),
            Act::Look => self.look_failed(Reply::Failed(HostFailure::new(
                ReasonCode::HostInternal,
                "the host could not be looked at in time",
            ))),
            Act::Fetch => self.refuse(HostFailure::new(
                ReasonCode::FetchTimeout,
                format!("the artifact did not arrive within {}", limits::HOST_FETCH),
            )),
            Act::Unpack | Act::MakeRoom | Act::Stop | Act::Switch | Act::Start => self.look_again(),
        }
    }

    fn look_again(&mut self) {
        self.life.facts = None;
        self.count_loss();
    }

    /// A host that loses answer after answer gives its goal up instead of trying for ever.
    fn count_loss(&mut self) {
        self.life.losses = self.life.losses.saturating_add(1);
        if self.life.losses >= limits::HOST_LOSSES_MAX && self.journal.step == Step::Accepted {
            self.refuse(HostFailure::new(ReasonCode::HostInternal, "the host's answers get lost"));
        }
    }

    /// Nothing is known of the host: nothing may be touched.
    fn look_failed(&mut self, reply: Reply) {
        let failure = match reply {
            Reply::Failed(failure) => failure,
            _ => HostFailure::new(ReasonCode::HostInternal, "the host answered another question"),
        };
        self.life.look_at = Some(self.now + limits::HOST_INSPECT_RETRY_DELAY);
        if self.journal.step == Step::Accepted {
            self.refuse(failure);
        }
    }

    pub(super) fn act(&mut self, act: Act, call: Call, deadline: Millis, guard: Guard) {
        let id = self.call(call, deadline, guard);
        self.life.act = Some((id, act));
    }

    pub(super) fn call(&mut self, call: Call, deadline: Millis, guard: Guard) -> CallId {
        self.life.last_call += 1;
        let id = CallId(self.life.last_call);
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
        if self.life.process.is_some() && self.life.watched != launch {
            self.life.watched = launch;
            self.out.extend(launch.map(|launch| Effect::Watch(Query { launch })));
        }
    }

    fn wake(&mut self) {
        let probe = self.life.probe_at.filter(|_| self.life.probe.is_none());
        let restart = self.life.restart_at.filter(|_| self.life.restart.is_none());
        let look = self.life.look_at.filter(|_| self.life.act.is_none());
        // What is due already waits for an answer, which will come.
        let next = [probe, restart, look].into_iter().flatten().filter(|at| *at > self.now).min();
        if let Some(at) = next
            && self.life.woken != next
        {
            self.out.push(Effect::WakeAt(at));
        }
        self.life.woken = next;
    }

    /// A release on this host.
    pub(super) fn on_host(&self, digest: trimaran_model::id::Digest) -> Option<&Release> {
        let facts = self.life.facts.as_ref()?;
        facts.releases.get(&digest).map(|stored| &stored.release)
    }

    /// The release that should run.
    pub(super) fn serving_release(&self) -> Option<&Release> {
        self.on_host(self.journal.serving?)
    }

    /// The end of a process, as the watch saw it.
    fn exited(&mut self, launch: u64, exit: Exit) {
        if self.journal.launch.as_ref().is_none_or(|known| known.number != launch)
            || self.life.process.is_none()
        {
            return;
        }
        self.forget_process();
        match self.journal.step {
            // It is ended on purpose; the answer of the stop says so.
            Step::Changing { part: Part::Stopping | Part::Switching, .. } | Step::Ending { .. } => {}
            Step::Changing { part: Part::Starting, .. } | Step::InPlace => {
                self.verify_failed(HostFailure::new(ReasonCode::ProcessExited, exit.to_string()));
            }
            Step::Accepted
            | Step::Prepared
            | Step::Committed
            | Step::Refused
            | Step::Failed
            | Step::Stopped => self.service_ended(exit),
        }
    }

    pub(super) fn forget_process(&mut self) {
        self.life.process = None;
        self.life.probe = None;
        self.life.probe_at = None;
        self.life.deadline = None;
    }

    pub(super) fn has_process(&mut self, started: Timestamp) {
        self.life.process = Some(started);
        self.life.window = Window::begin(self.now);
        self.life.probe_at = Some(self.now);
    }

    /// The verification of what runs begins; its end is counted from `from`.
    pub(super) fn begin_verification(&mut self, from: Timestamp) {
        let length = self.serving_release().map(|release| host_release(release).health.deadline);
        self.life.window = Window::begin(self.now);
        self.life.deadline = length.map(|length| from + length);
        self.life.probe_at = Some(self.now);
    }
}
