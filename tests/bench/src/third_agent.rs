//! An agent with a small third driver: the real executor and the real workers of targets behind a real session. Each order is
//! one call, and the platform answers when it is asked to.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;
use trimaran_agent_core::driver::{
    CallId, Driver, Effect, EffectOf, FoundOf, Guard, Input as Step, Journaled,
};
use trimaran_agent_core::platform::{
    Answer, Connect, JudgmentSink, PartSink, Platform, PlatformError, Question, SnapshotSink, Standing,
};
use trimaran_agent_core::{Executor, Input, Output, Permit};
use trimaran_model::action::{Outcome, Progress};
use trimaran_model::assignment::Assignment;
use trimaran_model::id::{AssignmentId, Epoch, Fence};
use trimaran_model::limits::LEASE_PING;
use trimaran_model::target::Target;
use trimaran_model::time::{Millis, Timestamp};
use trimaran_process::clock::boot_time;
use trimaran_targets::{Happened, Targets};
use trimaran_transport::{Alpn, CloseCode, Endpoint};
use trimaran_wire::codec::{CodecError, Message as _};
use trimaran_wire::v1::agent::{AgentDown, AgentUp, KnownCluster};
use trimaran_wire::v1::target::WireTarget;

use crate::attaching;

/// One call, and done with its answer.
#[derive(Clone, Copy)]
struct OneCall;

impl Driver for OneCall {
    type Order = Assignment;
    type Phase = ();
    type Call = AssignmentId;
    type Reply = ();
    type Snapshot = ();
    type Query = ();
    type Progress = Progress;

    fn begin(
        &self,
        _: Timestamp,
        order: &Assignment,
        _: Option<FoundOf<Self>>,
        out: &mut Vec<EffectOf<Self>>,
    ) {
        let guard = Guard::Idempotent(order.id.0.to_string());
        out.push(Effect::Call { id: CallId(1), call: order.id, deadline: Millis::minutes(30), guard });
    }

    fn step(&self, (): &mut (), _: Timestamp, input: Step<(), ()>, out: &mut Vec<EffectOf<Self>>) {
        match input {
            Step::Reply(..) => out.push(Effect::Done(Outcome::Done)),
            Step::Abort(_) => out.push(Effect::Done(Outcome::Stopped)),
            Step::Lost(_) | Step::Unmade(_) | Step::Observed(()) | Step::Due => {}
            Step::LeaseLost | Step::LeaseBack | Step::Committed(_) => {}
        }
    }
}

impl Journaled for OneCall {
    fn save(&self, (): &()) -> Vec<u8> {
        Vec::new()
    }

    fn load(&self, _: &Assignment, _: &[u8]) -> Result<(), CodecError> {
        Ok(())
    }
}

/// What all targets share with the benchmark.
#[derive(Clone)]
pub(crate) struct Shared {
    made: Arc<AtomicUsize>,
    /// By assignment: how often it was called.
    calls: Arc<Mutex<BTreeMap<AssignmentId, u32>>>,
    answer: watch::Receiver<bool>,
    /// Answers at once, whatever `answer` says.
    is_quick: bool,
    /// From the arrival of an order of a quick target to the sending of its result.
    handled: Arc<Mutex<Vec<Duration>>>,
}

/// Targets whose name begins so answer at once.
pub(crate) const QUICK: &str = "quick";

impl Shared {
    /// Platforms that answer when `answer` says so.
    pub(crate) fn new(answer: watch::Receiver<bool>) -> Self {
        Self { made: Arc::default(), calls: Arc::default(), answer, is_quick: false, handled: Arc::default() }
    }

    /// Calls that reached a platform which does not answer at once.
    pub(crate) fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    /// The sorted times that orders of quick targets took in the agent since this was last asked.
    pub(crate) fn take_handled(&self) -> Vec<Duration> {
        let mut times = std::mem::take(&mut *self.handled.lock().expect("no panic while the lock is held"));
        times.sort_unstable();
        times
    }

    /// Orders whose call was made more than once.
    pub(crate) fn repeated(&self) -> usize {
        let calls = self.calls.lock().expect("no panic while the lock is held");
        calls.values().filter(|times| **times > 1).count()
    }
}

impl Connect<OneCall> for Shared {
    type Platform = Self;

    fn connect(&self, target: &Target) -> Option<Result<Self, PlatformError>> {
        let is_quick = target.name.as_str().starts_with(QUICK);
        Some(Ok(Self { is_quick, ..self.clone() }))
    }
}

impl Platform<OneCall> for Shared {
    async fn call(&self, call: AssignmentId, _: Permit) -> Answer<()> {
        if self.is_quick {
            return Answer::Reply(());
        }
        self.made.fetch_add(1, Ordering::Relaxed);
        *self.calls.lock().expect("no panic while the lock is held").entry(call).or_default() += 1;
        let mut answer = self.answer.clone();
        match answer.wait_for(|answers| *answers).await {
            Ok(_) => Answer::Reply(()),
            Err(_) => Answer::Lost,
        }
    }

    async fn watch(&self, (): (), _: impl SnapshotSink<()>) {
        std::future::pending().await
    }

    async fn observe(&self, _: Standing, _: impl JudgmentSink) {
        std::future::pending().await
    }

    async fn query(&self, _: Question, _: impl PartSink) -> Result<(), PlatformError> {
        Ok(())
    }
}

/// What the benchmark sees of the agent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    /// Sessions so far.
    pub(crate) sessions: u32,
    /// Orders of the present session.
    pub(crate) orders: usize,
    pub(crate) refused: usize,
    pub(crate) ended: usize,
    /// When the last order of the present session came, and since when its lease is live.
    pub(crate) last_order: Option<Instant>,
    pub(crate) lease: Option<Instant>,
    /// When the present session was dialed.
    pub(crate) dialed: Option<Instant>,
}

struct Agent {
    executor: Executor<OneCall>,
    targets: Targets<OneCall, Shared>,
    inputs: VecDeque<Input<OneCall>>,
    pages: Vec<WireTarget>,
    refused: usize,
    /// When orders of quick targets came.
    came: BTreeMap<u64, Instant>,
}

impl Agent {
    /// Steps until nothing waits; the disk is always ready.
    fn work(&mut self) {
        while let Some(input) = self.inputs.pop_front() {
            let mut out = Vec::new();
            self.executor.step(boot_time(), input, &mut out);
            for output in out {
                match output {
                    Output::Write { sequence, .. } | Output::Replace { sequence, .. } => {
                        self.inputs.push_back(Input::Written(sequence));
                    }
                    Output::Targets(targets) => self.targets.set_targets(targets),
                    Output::Call { assignment, target, id, call, permit } => {
                        self.targets.call(assignment, &target, id, call, permit);
                    }
                    Output::Watch { assignment, target, query } => {
                        self.targets.watch(assignment, target, query);
                    }
                    Output::Unwatch { assignment } => self.targets.unwatch(assignment),
                    Output::Busy { installation } => self.targets.busy(&installation),
                    Output::Quiet { installation, fence } => self.targets.quiet(&installation, fence),
                    Output::Refused(_) => self.refused += 1,
                }
            }
        }
    }

    fn take(&mut self) {
        for happened in self.targets.take() {
            if let Happened::Answered { assignment, call, answer } = happened {
                self.inputs.push_back(match answer {
                    Answer::Reply(()) => Input::Reply { assignment, call, reply: () },
                    Answer::Lost => Input::Lost { assignment, call },
                    Answer::Unmade => Input::Unmade { assignment, call },
                });
            }
        }
    }

    /// Handles a message; the orders in it.
    fn on_message(&mut self, message: AgentDown) -> usize {
        match message {
            AgentDown::Welcome { cluster, epoch, incarnation, .. } => {
                self.inputs.push_back(Input::Attached { cluster, epoch: Epoch(epoch), incarnation });
            }
            AgentDown::Targets { targets, last } => {
                self.pages.extend(targets);
                if last {
                    let all = std::mem::take(&mut self.pages).into_iter().map(Target::try_from);
                    let all = all.collect::<Result<_, _>>().expect("the coordinator's own values");
                    self.inputs.push_back(Input::Targets(all));
                }
            }
            AgentDown::Assign(order) => {
                if order.installation.target.starts_with(QUICK) {
                    self.came.insert(order.id, Instant::now());
                }
                let order = Assignment::try_from(order).expect("the coordinator's own values");
                self.inputs.push_back(Input::Assign(order));
                return 1;
            }
            AgentDown::Answer { assignment, fence, answer } => {
                let (assignment, fence) = (AssignmentId(assignment), Fence(fence));
                self.inputs.push_back(Input::Answer { assignment, fence, answer });
            }
            AgentDown::Cancel { assignment, fence } => {
                let (assignment, fence) = (AssignmentId(assignment), Fence(fence));
                self.inputs.push_back(Input::Cancel { assignment, fence });
            }
            AgentDown::Pong { sent_ms, .. } => {
                self.inputs.push_back(Input::PongReceived { sent: Timestamp(sent_ms) });
            }
            _ => {}
        }
        0
    }
}

/// Serves until it is dropped; a change of `cut` ends the session, and another one is dialed at once.
pub(crate) async fn serve(
    folder: PathBuf,
    coordinator: SocketAddr,
    shared: Shared,
    mut cut: watch::Receiver<u32>,
    seen: watch::Sender<Seen>,
) {
    let mut agent = Agent {
        executor: Executor::new(OneCall),
        targets: Targets::new(shared.clone(), Handle::current()),
        inputs: VecDeque::new(),
        pages: Vec::new(),
        refused: 0,
        came: BTreeMap::new(),
    };
    let endpoint = attaching::endpoint(&folder);
    loop {
        seen.send_modify(|seen| {
            *seen = Seen {
                sessions: seen.sessions + 1,
                ended: seen.ended,
                dialed: Some(Instant::now()),
                ..Seen::default()
            };
        });
        one_session(&endpoint, coordinator, &mut agent, &shared, &mut cut, &seen).await;
        agent.inputs.push_back(Input::Detached);
        agent.work();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn one_session(
    endpoint: &Endpoint,
    coordinator: SocketAddr,
    agent: &mut Agent,
    shared: &Shared,
    cut: &mut watch::Receiver<u32>,
    seen: &watch::Sender<Seen>,
) {
    let Ok(session) = endpoint.connect(coordinator, Alpn::Agent).await else { return };
    let Ok((mut sender, mut receiver)) = session.open_stream().await else { return };
    let hello = AgentUp::Hello {
        incarnation: 1,
        known: KnownCluster::default(),
        held: agent.executor.held(),
        listen: None,
        platforms: vec!["hosts".to_owned()],
    };
    if sender.send(&hello.to_frame()).await.is_err() {
        return;
    }
    let mut ping = tokio::time::interval(LEASE_PING.to_std());
    loop {
        tokio::select! {
            frame = receiver.next() => {
                let Ok(Some(frame)) = frame else { return };
                let message = AgentDown::from_frame(&frame).expect("a message");
                let pong = matches!(message, AgentDown::Pong { .. });
                let orders = agent.on_message(message);
                agent.work();
                seen.send_modify(|seen| {
                    seen.orders += orders;
                    if orders > 0 {
                        seen.last_order = Some(Instant::now());
                    }
                    if pong && seen.lease.is_none() {
                        seen.lease = Some(Instant::now());
                    }
                });
            }
            () = agent.targets.changed() => {
                agent.take();
                agent.work();
            }
            _ = ping.tick() => {
                let up = AgentUp::Ping { sent_ms: boot_time().0, refused: Default::default() };
                if sender.send(&up.to_frame()).await.is_err() {
                    return;
                }
            }
            Ok(()) = cut.changed() => return session.close(CloseCode::Busy, "cut by the benchmark"),
        }
        while let Some(up) = agent.executor.next_message(boot_time()) {
            let ended = usize::from(matches!(up, AgentUp::Result { .. }));
            let refused = usize::from(matches!(up, AgentUp::Refused(_)));
            if let AgentUp::Result { assignment, .. } = &up
                && let Some(came) = agent.came.remove(assignment)
            {
                shared.handled.lock().expect("no panic while the lock is held").push(came.elapsed());
            }
            if sender.send(&up.to_frame()).await.is_err() {
                return;
            }
            seen.send_modify(|seen| {
                (seen.ended, seen.refused) = (seen.ended + ended, seen.refused + refused)
            });
        }
    }
}
