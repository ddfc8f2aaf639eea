//! The same faults through the real executor: an agent in memory with a journal that has a volatile half, the platform
//! of a model, and a coordinator that keeps what is committed and sends the last order on each session.
//!
//! Here a point is counted before and behind each write that becomes durable and each call, so a crash can come between
//! any two of them, also between those of two orders of which one supersedes the other.

use std::collections::{BTreeMap, VecDeque};

use trimaran_agent_core::driver::{CallId, Driver, Guard, Journaled};
use trimaran_agent_core::{Executor, Input, Output, Permit};
use trimaran_model::action::{Commit, Outcome, Progress};
use trimaran_model::assignment::Assignment;
use trimaran_model::id::{AssignmentId, Epoch, Fence};
use trimaran_model::limits::LEASE_PING;
use trimaran_model::target::{HostSettings, Target, TargetClass, TargetPlatform};
use trimaran_model::time::Timestamp;
use trimaran_wire::v1::agent::{AgentUp, ResultAnswer};
use trimaran_wire::v1::agent_journal::JournalRecord;

use super::run::{COMMIT_TAKES, STEPS_MAX};
use super::{Fault, Faults, Finished, Model, Tried, Which, try_all};

/// Runs everything through the executor; the first violation with the faults that lead to it.
pub fn check<M>(make: impl Fn() -> M) -> Result<Tried, String>
where
    M: Model<Driver: Journaled<Order = Assignment, Progress = Progress> + Clone>,
{
    try_all(make, |model, faults| Agent::new(model, faults).play())
}

/// An order below one that the agent has seen is refused. When it is canceled it is answered as stopped, on each session
/// anew: whoever waits for its end goes on, and the later order is not touched.
pub fn check_refused<M>(model: M) -> Result<(), String>
where
    M: Model<Driver: Journaled<Order = Assignment, Progress = Progress> + Clone>,
{
    let none = Faults::default();
    let mut agent = Agent::new(model, &none);
    agent.which = Which::Second;
    agent.attach()?;
    for _ in 0..2 {
        let order = agent.order(Which::First);
        agent.expects_refusal = true;
        agent.step(Input::Assign(order.clone()))?;
        if agent.expects_refusal {
            return Err("an order with a lower fence is not refused".to_owned());
        }
        if let Some(outcome) = agent.results.get(&order.id) {
            return Err(format!("it is answered with {outcome:?} before it is canceled"));
        }
        agent.step(Input::Cancel { assignment: order.id, fence: order.fence })?;
        match agent.results.remove(&order.id) {
            Some(Outcome::Stopped) => {}
            other => return Err(format!("canceled, the refused order is answered with {other:?}")),
        }
        agent.step(Input::Detached)?;
        agent.attach()?;
    }
    agent.play().map(drop)
}

enum Event<R> {
    Reply(AssignmentId, CallId, R),
    Logged(Commit),
    Committed(AssignmentId, u32),
    SessionBack,
}

type Reply<M> = <<M as Model>::Driver as Driver>::Reply;

struct Agent<'a, M>
where
    M: Model<Driver: Journaled<Order = Assignment, Progress = Progress> + Clone>,
{
    model: M,
    faults: &'a Faults,
    now: Timestamp,
    executor: Executor<M::Driver>,
    durable: Vec<JournalRecord>,
    writing: VecDeque<(u64, bool, Vec<JournalRecord>)>,
    watching: Option<AssignmentId>,
    events: BTreeMap<(Timestamp, u64), Event<Reply<M>>>,
    event_count: u64,
    attached: bool,
    next_ping: Timestamp,
    /// The last order that the coordinators gave.
    which: Which,
    canceled: bool,
    session_lost: bool,
    lost_call: Option<u64>,
    in_log: Option<Commit>,
    results: BTreeMap<AssignmentId, Outcome>,
    points: u64,
    calls: u64,
    crashed: bool,
    /// The next order is one that must be refused.
    expects_refusal: bool,
}

fn id(which: Which) -> AssignmentId {
    AssignmentId(which as u64 + 1)
}

impl<'a, M> Agent<'a, M>
where
    M: Model<Driver: Journaled<Order = Assignment, Progress = Progress> + Clone>,
{
    fn new(model: M, faults: &'a Faults) -> Self {
        let executor = Executor::new(model.driver().clone());
        Self {
            model,
            faults,
            now: Timestamp(1000),
            executor,
            durable: Vec::new(),
            writing: VecDeque::new(),
            watching: None,
            events: BTreeMap::new(),
            event_count: 0,
            attached: false,
            next_ping: Timestamp(1000),
            which: Which::First,
            canceled: false,
            session_lost: false,
            lost_call: None,
            in_log: None,
            results: BTreeMap::new(),
            points: 0,
            calls: 0,
            crashed: false,
            expects_refusal: false,
        }
    }

    fn play(mut self) -> Result<Finished, String> {
        self.attach()?;
        for _ in 0..STEPS_MAX {
            if let Some(outcome) = self.results.get(&id(self.which)) {
                let finished = Finished {
                    which: self.which,
                    outcome: Some(outcome.clone()),
                    canceled: self.canceled,
                    lost_call: self.lost_call,
                    points: self.points,
                    calls: self.calls,
                };
                let phase = self.last_phase();
                self.model.verify(&finished, &phase)?;
                return Ok(finished);
            }
            self.advance()?;
        }
        Err("it does not end".to_owned())
    }

    fn order(&self, which: Which) -> Assignment {
        self.model.order(which, self.in_log.clone())
    }

    /// The phase with which the last order ended, as far as it was written down.
    fn last_phase(&self) -> <M::Driver as Driver>::Phase {
        let order = self.order(self.which);
        match self.durable_phase(order.id) {
            Some(bytes) => self.model.load(&order, bytes),
            None => self.model.driver().begin(self.now, &order, None, &mut Vec::new()),
        }
    }

    fn durable_phase(&self, of: AssignmentId) -> Option<&[u8]> {
        self.durable.iter().rev().find_map(|record| match record {
            JournalRecord::Phase { assignment, bytes } if *assignment == of.0 => Some(bytes.as_slice()),
            _ => None,
        })
    }

    /// A session begins: the targets, the last order, and its cancel where a user asked for it.
    fn attach(&mut self) -> Result<(), String> {
        self.attached = true;
        self.step(Input::Attached { cluster: "lab".to_owned(), epoch: Epoch(0), incarnation: 1 })?;
        let order = self.order(self.which);
        let target = Target {
            name: order.installation.target.clone(),
            agent: "lab".parse().expect("a name"),
            class: TargetClass::Staging,
            platform: TargetPlatform::Hosts {
                select: BTreeMap::new(),
                require_user: false,
                settings: HostSettings::default(),
            },
            parallel: 1,
        };
        self.step(Input::Targets(vec![target]))?;
        if !self.results.contains_key(&order.id) {
            self.step(Input::Assign(order))?;
        }
        if self.canceled {
            self.cancel()?;
        }
        self.next_ping = self.now + LEASE_PING;
        self.step(Input::PongReceived { sent: self.now })
    }

    fn cancel(&mut self) -> Result<(), String> {
        let order = self.order(self.which);
        self.step(Input::Cancel { assignment: order.id, fence: order.fence })
    }

    fn step(&mut self, input: Input<M::Driver>) -> Result<(), String> {
        if self.crashed {
            return Ok(());
        }
        let mut out = Vec::new();
        self.executor.step(self.now, input, &mut out);
        self.perform(out)?;
        while self.attached
            && !self.crashed
            && let Some(message) = self.executor.next_message(self.now)
        {
            self.receive(message)?;
        }
        Ok(())
    }

    fn perform(&mut self, out: Vec<Output<M::Driver>>) -> Result<(), String> {
        for output in out {
            match output {
                Output::Write { sequence, records } => self.writing.push_back((sequence, false, records)),
                Output::Replace { sequence, records } => self.writing.push_back((sequence, true, records)),
                Output::Call { assignment, id, call, permit, .. } => {
                    self.call(assignment, id, call, &permit)?;
                    if self.crashed {
                        return Ok(());
                    }
                }
                Output::Watch { assignment, query, .. } => {
                    self.watching = Some(assignment);
                    self.model.watch(query);
                }
                Output::Unwatch { assignment } => {
                    self.watching = self.watching.filter(|watching| *watching != assignment);
                }
                Output::Refused(_) if self.expects_refusal => self.expects_refusal = false,
                Output::Refused(refused) => return Err(format!("it refuses: {refused}")),
                Output::Targets(_) | Output::Busy { .. } | Output::Quiet { .. } => {}
            }
        }
        Ok(())
    }

    fn call(
        &mut self,
        assignment: AssignmentId,
        call_id: CallId,
        call: <M::Driver as Driver>::Call,
        permit: &Permit,
    ) -> Result<(), String> {
        let which = if assignment == id(Which::First) { Which::First } else { Which::Second };
        if !permit.allows(self.now) {
            return Err("a call was let go that its permit does not allow".to_owned());
        }
        if self.model.needs_lease(&call) && *permit.guard() != Guard::Unguarded {
            return Err(format!("a call that needs the lease is guarded by {:?}", permit.guard()));
        }
        let durable = self.durable_phase(assignment).map(|bytes| self.model.load(&self.order(which), bytes));
        if !self.model.is_covered(durable.as_ref(), &call) {
            return Err("a call was made before the phase that names it was durable".to_owned());
        }
        if self.point() {
            return Ok(());
        }
        let (reply, takes) = self.model.call(self.now, which, call)?;
        self.calls += 1;
        if self.point() {
            return Ok(());
        }
        let at = self.now + takes;
        let answered = |reply| Event::Reply(assignment, call_id, reply);
        match self.faults.reply.filter(|(call, _)| *call == self.calls).map(|(_, fault)| fault) {
            None => self.schedule(at, answered(reply)),
            // The executor itself gives it up at its deadline.
            Some(Fault::Dropped) => self.lost_call = Some(self.calls),
            Some(Fault::Delayed(late)) => self.schedule(at + late, answered(reply)),
            Some(Fault::Repeated(later)) => {
                self.schedule(at, answered(reply.clone()));
                self.schedule(at + later, answered(reply));
            }
        }
        Ok(())
    }

    fn receive(&mut self, message: AgentUp) -> Result<(), String> {
        match message {
            AgentUp::Commit { commit, .. } => {
                let commit = Commit::from(commit);
                let (assignment, n) = (commit.assignment, commit.n);
                self.schedule(self.now + COMMIT_TAKES, Event::Logged(commit));
                self.schedule(self.now + COMMIT_TAKES + COMMIT_TAKES, Event::Committed(assignment, n));
                Ok(())
            }
            AgentUp::Result { assignment, fence, outcome, .. } => {
                let outcome = Outcome::try_from(outcome).map_err(|error| error.to_string())?;
                let assignment = AssignmentId(assignment);
                self.results.entry(assignment).or_insert(outcome);
                let answer = ResultAnswer::Applied;
                self.step(Input::Answer { assignment, fence: Fence(fence), answer })
            }
            AgentUp::Unknown(held) if held.is_empty() => Ok(()),
            // It is noticed as it happens.
            AgentUp::Refused(_) => Ok(()),
            AgentUp::Progress(_) | AgentUp::ProgressChanges(_) => Ok(()),
            other => Err(format!("it says {other:?}")),
        }
    }

    /// Makes one write durable, or lets time pass to the next thing that happens.
    fn advance(&mut self) -> Result<(), String> {
        if self.crashed {
            return self.restart();
        }
        self.inject()?;
        if self.crashed {
            return Ok(());
        }
        if let Some((sequence, replaces, records)) = self.writing.pop_front() {
            if self.point() {
                return Ok(());
            }
            if replaces {
                self.durable.clear();
            }
            self.durable.extend(records);
            if self.point() {
                return Ok(());
            }
            return self.step(Input::Written(sequence));
        }
        if let Some(assignment) = self.watching {
            let seen = self.model.observations(self.now);
            let any = !seen.is_empty();
            for snapshot in seen {
                self.step(Input::Observed { assignment, snapshot })?;
            }
            if any {
                return Ok(());
            }
        }
        self.pass_time()
    }

    fn pass_time(&mut self) -> Result<(), String> {
        let event = self.events.first_key_value().map(|((at, _), _)| *at);
        let change = self.model.next_change(self.now).filter(|_| self.watching.is_some());
        let ping = self.attached.then_some(self.next_ping);
        let due = self.executor.next_deadline();
        let Some(at) = event.into_iter().chain(change).chain(ping).chain(due).min() else {
            return Err("nothing will ever happen".to_owned());
        };
        self.now = self.now.max(at);
        if event.is_some_and(|event| event <= self.now) {
            let (_, event) = self.events.pop_first().expect("there is one");
            return self.happen(event);
        }
        if ping.is_some_and(|ping| ping <= self.now) {
            self.next_ping = self.now + LEASE_PING;
            self.step(Input::PongReceived { sent: self.now })?;
        }
        self.step(Input::Due)
    }

    fn happen(&mut self, event: Event<Reply<M>>) -> Result<(), String> {
        match event {
            Event::Reply(assignment, call, reply) => self.step(Input::Reply { assignment, call, reply }),
            Event::Logged(commit) => {
                self.in_log = Some(commit);
                Ok(())
            }
            Event::Committed(assignment, n) if self.attached => self.step(Input::Committed { assignment, n }),
            // The session that waited for it is over: the next one sends the commit again.
            Event::Committed(..) => Ok(()),
            Event::SessionBack => self.attach(),
        }
    }

    fn inject(&mut self) -> Result<(), String> {
        if let Some((at, back_after)) = self.faults.lease_lost
            && self.points >= at
            && !self.session_lost
        {
            (self.session_lost, self.attached) = (true, false);
            self.schedule(self.now + back_after, Event::SessionBack);
            self.step(Input::Detached)?;
        }
        if self.faults.cancel.is_some_and(|at| self.points >= at) && !self.canceled {
            self.canceled = true;
            if self.attached {
                self.cancel()?;
            }
        }
        if self.faults.supersede.is_some_and(|at| self.points >= at) && self.which == Which::First {
            self.which = Which::Second;
            let order = self.order(Which::Second);
            self.step(Input::Assign(order))?;
        }
        Ok(())
    }

    /// The process starts again, on its directory or on an empty one.
    fn restart(&mut self) -> Result<(), String> {
        self.crashed = false;
        self.writing.clear();
        self.watching = None;
        self.model.crashed();
        // What was sent before the crash reaches the log before an agent is back.
        for (_, event) in std::mem::take(&mut self.events) {
            if let Event::Logged(commit) = event {
                self.in_log = Some(commit);
            }
        }
        if self.faults.crash.is_some_and(|(_, lose_journal)| lose_journal) {
            self.durable.clear();
        }
        let driver = self.model.driver().clone();
        self.executor = Executor::restore(driver, &self.durable).map_err(|error| error.to_string())?;
        let mut out = Vec::new();
        self.executor.resume(self.now, &mut out);
        self.perform(out)?;
        self.attach()
    }

    fn schedule(&mut self, at: Timestamp, event: Event<Reply<M>>) {
        self.event_count += 1;
        self.events.insert((at, self.event_count), event);
    }

    /// Counts a point; true when the process dies there.
    fn point(&mut self) -> bool {
        self.points += 1;
        self.crashed |= self.faults.crash.is_some_and(|(at, _)| at == self.points);
        self.crashed
    }
}
