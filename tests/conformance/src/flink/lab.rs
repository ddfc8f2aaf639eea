//! Orders for one installation, performed one after the other on a cluster in memory or on a real one: the least that runs
//! a driver, so that one story is played on both. On request the agent or the JobManager dies once where the ledger is in a
//! phase that is named.

use std::collections::{BTreeMap, VecDeque};

use trimaran_agent_core::driver::{Driver as _, Effect, EffectOf, Found, Input, Journaled as _};
use trimaran_agent_core::platform::Answer;
use trimaran_flink_core::call::{Call, Reply};
use trimaran_flink_core::journal::ledger_from_bytes;
use trimaran_flink_core::ledger::{Ledger, Persisted, Start};
use trimaran_flink_core::machine::{Flink, Phase};
use trimaran_model::action::{Action, Commit, Outcome};
use trimaran_model::assignment::Assignment;
use trimaran_model::id::Digest;
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::{FlinkRelease, ReleaseWorkload};
use trimaran_model::time::{Millis, Timestamp};

use super::ModelJobManager;
use super::death::{Death, Moment, Mortal};

/// Where calls go, and what time it is there.
pub trait Cluster {
    fn now(&self) -> Timestamp;
    fn wait_until(&mut self, at: Timestamp);
    fn call(&mut self, call: Call) -> Answer<Reply>;
    /// The JobManager dies, and is there again at some time.
    fn kill_jobmanager(&mut self);
}

/// A cluster in memory, whose time passes as calls take it.
pub struct ModelCluster {
    pub jobmanager: ModelJobManager,
    now: Timestamp,
}

impl ModelCluster {
    pub fn new(jobmanager: ModelJobManager) -> Self {
        Self { jobmanager, now: Timestamp(1000) }
    }

    /// Lets the jobs work for a while.
    pub fn pass(&mut self, time: Millis) {
        self.now = self.now + time;
        self.jobmanager.advance(self.now);
    }

    pub fn kill(&mut self) {
        self.jobmanager.kill(self.now);
    }
}

/// The agent at work on an order.
struct Incarnation {
    phase: Phase,
    queue: VecDeque<Queued>,
    wake: Option<Timestamp>,
}

/// An effect, with what its step left to be written down.
struct Queued {
    effect: EffectOf<Flink>,
    persisted: Persisted,
    bytes: Vec<u8>,
}

impl Incarnation {
    fn begin(now: Timestamp, order: &Assignment, journal: Option<&[u8]>) -> Self {
        let load = |bytes: &[u8]| Found::Resumed(Flink.load(order, bytes).expect("its own bytes"));
        let mut effects = Vec::new();
        let phase = Flink.begin(now, order, journal.map(load), &mut effects);
        let mut it = Self { phase, queue: VecDeque::new(), wake: None };
        it.enqueue(effects);
        it.step(now, Input::LeaseBack);
        it
    }

    fn step(&mut self, now: Timestamp, input: Input<Reply, ()>) {
        let mut effects = Vec::new();
        Flink.step(&mut self.phase, now, input, &mut effects);
        self.enqueue(effects);
    }

    fn enqueue(&mut self, effects: Vec<EffectOf<Flink>>) {
        let persisted = self.phase.ledger().persisted();
        let bytes = Flink.save(&self.phase);
        let queued = |effect| Queued { effect, persisted, bytes: bytes.clone() };
        self.queue.extend(effects.into_iter().map(queued));
    }
}

impl Cluster for ModelCluster {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn wait_until(&mut self, at: Timestamp) {
        self.now = self.now.max(at);
    }

    fn call(&mut self, call: Call) -> Answer<Reply> {
        let (reply, takes) = self.jobmanager.call(self.now, call);
        self.now = self.now + takes;
        Answer::Reply(reply)
    }

    fn kill_jobmanager(&mut self) {
        self.kill();
    }
}

/// How an order ended.
#[derive(Debug, Clone)]
pub struct Ended {
    pub outcome: Outcome,
    pub ledger: Ledger,
    pub took: Millis,
    /// What was reported, each message once.
    pub messages: Vec<String>,
}

impl Ended {
    /// The reason of a failure or fault.
    pub fn code(&self) -> Option<ReasonCode> {
        match &self.outcome {
            Outcome::Failed(failure) | Outcome::Fault(failure) => Some(failure.code),
            Outcome::Done | Outcome::Stopped => None,
        }
    }

    /// What the installation's job began from.
    pub fn began_from(&self) -> Option<&str> {
        self.ledger.job.as_ref().and_then(|job| match &job.from {
            Start::Empty => None,
            Start::From(state) => Some(state.path.as_str()),
        })
    }
}

/// One installation with its releases.
pub struct Lab<C> {
    pub cluster: C,
    releases: BTreeMap<Digest, FlinkRelease>,
    committed: Option<Commit>,
    number: u64,
    /// What dies next, the first of them first.
    deaths: VecDeque<Death>,
}

impl<C: Cluster> Lab<C> {
    pub fn new(cluster: C, releases: BTreeMap<Digest, FlinkRelease>) -> Self {
        Self { cluster, releases, committed: None, number: 0, deaths: VecDeque::new() }
    }

    /// Another release may be ordered from now on.
    pub fn add(&mut self, digest: Digest, release: FlinkRelease) {
        self.releases.insert(digest, release);
    }

    /// Performs an order to its end, in a run of its own.
    pub fn perform(&mut self, action: Action) -> Ended {
        self.number += 1;
        let mut order = crate::driver::flink::order(self.number, action, self.committed.clone());
        if let (Some(digest), Some(release)) = (order.action.release(), &mut order.release) {
            let flink = self.releases.get(&digest).expect("a release that was added").clone();
            release.workload = ReleaseWorkload::Flink(flink);
        }
        self.run(&order)
    }

    /// As [`Lab::perform`], while these die one after the other; those that did not.
    pub fn perform_while(&mut self, action: Action, deaths: &[Death]) -> (Ended, Vec<Death>) {
        self.deaths = deaths.iter().copied().collect();
        let ended = self.perform(action);
        (ended, std::mem::take(&mut self.deaths).into())
    }

    /// Forgets the installation: the next order is its first.
    pub fn forget(&mut self) {
        self.committed = None;
    }

    fn run(&mut self, order: &Assignment) -> Ended {
        let began = self.cluster.now();
        let mut messages = Vec::new();
        let mut journal: Option<Vec<u8>> = None;
        loop {
            let order = Assignment { committed: self.committed.clone(), ..order.clone() };
            let mut agent = Incarnation::begin(self.cluster.now(), &order, journal.as_deref());
            match self.work(&order, &mut agent, &mut journal, &mut messages) {
                Worked::Done(outcome) => {
                    let ledger = self.ledger().unwrap_or_else(|| agent.phase.ledger().clone());
                    return Ended { outcome, ledger, took: self.cluster.now() - began, messages };
                }
                Worked::Died(Mortal::AgentAndDisk) => journal = None,
                Worked::Died(_) => {}
            }
        }
    }

    /// Carries effects out until the agent is done or dies.
    fn work(
        &mut self,
        order: &Assignment,
        agent: &mut Incarnation,
        journal: &mut Option<Vec<u8>>,
        messages: &mut Vec<String>,
    ) -> Worked {
        // The ledger of the next death is written down: it comes with the next call.
        let mut is_near = false;
        loop {
            let Some(Queued { effect, persisted, bytes }) = agent.queue.pop_front() else {
                let at = agent.wake.take().expect("a driver that is not done waits for something");
                self.cluster.wait_until(at);
                agent.step(self.cluster.now(), Input::Due);
                continue;
            };
            match effect {
                Effect::Watch(()) => {}
                Effect::Persist => {
                    let is_here = self.deaths.front().is_some_and(|death| death.at == persisted);
                    if is_here && let Some(of) = self.die(Moment::Unwritten) {
                        return Worked::Died(of);
                    }
                    is_near |= is_here;
                    *journal = Some(bytes);
                }
                Effect::WakeAt(at) => agent.wake = Some(at),
                Effect::Report(progress) => note(messages, &progress),
                Effect::Commit { n, body, progress } => {
                    note(messages, &progress);
                    self.committed = Some(Commit { assignment: order.id, n, body });
                    agent.step(self.cluster.now(), Input::Committed(n));
                }
                Effect::Call { id, call, .. } => {
                    let mut is_near = std::mem::take(&mut is_near);
                    if is_near && let Some(of) = self.die(Moment::BeforeCall) {
                        if of != Mortal::JobManager {
                            return Worked::Died(of);
                        }
                        is_near = false;
                    }
                    let input = match self.cluster.call(call) {
                        Answer::Reply(reply) => Input::Reply(id, reply),
                        Answer::Lost => Input::Lost(id),
                        Answer::Unmade => Input::Unmade(id),
                    };
                    if is_near
                        && let Some(of) = self.die(Moment::BehindCall)
                        && of != Mortal::JobManager
                    {
                        return Worked::Died(of);
                    }
                    agent.step(self.cluster.now(), input);
                }
                Effect::Done(outcome) => return Worked::Done(outcome),
            }
        }
    }

    /// The next death, when this is its moment. That of the JobManager happens here.
    fn die(&mut self, moment: Moment) -> Option<Mortal> {
        let death = self.deaths.pop_front_if(|death| death.moment == moment)?;
        if death.of == Mortal::JobManager {
            self.cluster.kill_jobmanager();
        }
        Some(death.of)
    }

    /// What is in the log.
    fn ledger(&self) -> Option<Ledger> {
        self.committed.as_ref().map(|commit| ledger_from_bytes(&commit.body).expect("its own bytes"))
    }
}

/// How the work of one incarnation ended.
enum Worked {
    Done(Outcome),
    Died(Mortal),
}

fn note(messages: &mut Vec<String>, progress: &trimaran_model::action::Progress) {
    for instance in &progress.instances {
        if !messages.contains(&instance.message) {
            messages.push(instance.message.clone());
        }
    }
}
