//! An executor and targets, wired like an agent, with a disk that is always ready and platforms that behave as they are
//! asked to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use trimaran_agent_core::driver::{
    CallId, Driver, Effect, EffectOf, FoundOf, Guard, Input as Step, Journaled,
};
use trimaran_agent_core::platform::{
    Answer, Connect, Judgment, JudgmentSink, Part, PartSink, Platform, PlatformError, Question, SnapshotSink,
    Standing,
};
use trimaran_agent_core::{Executor, Input, Output, Permit};
use trimaran_model::action::{Action, Outcome, Progress, Wave};
use trimaran_model::assignment::Assignment;
use trimaran_model::id::{AssignmentId, Attempt, Digest, Epoch, Fence, InstallationId, InstanceName};
use trimaran_model::reason::ReasonCode;
use trimaran_model::target::{HostSettings, PlatformKind, Target, TargetClass, TargetPlatform};
use trimaran_model::time::{Millis, Timestamp};
use trimaran_model::verdict::Verdict;
use trimaran_process::clock::boot_time;
use trimaran_targets::{Happened, Targets};
use trimaran_wire::codec::CodecError;
use trimaran_wire::v1::agent::{AgentUp, ResultAnswer};
use trimaran_wire::v1::runner::{LogLine, LogLines};

/// Nothing in these tests takes longer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Watches, makes one call, and again when that is lost; done with its answer.
#[derive(Clone, Copy)]
pub(crate) struct OneCall;

fn call(phase: &mut u64, out: &mut Vec<EffectOf<OneCall>>) {
    *phase += 1;
    let id = CallId(*phase);
    out.push(Effect::Call { id, call: (), deadline: Millis::minutes(5), guard: Guard::Read });
}

impl Driver for OneCall {
    type Order = Assignment;
    type Phase = u64;
    type Call = ();
    type Reply = ();
    type Snapshot = u64;
    type Query = ();
    type Progress = Progress;

    fn begin(
        &self,
        _: Timestamp,
        _: &Assignment,
        _: Option<FoundOf<Self>>,
        out: &mut Vec<EffectOf<Self>>,
    ) -> u64 {
        let mut phase = 0;
        out.push(Effect::Watch(()));
        call(&mut phase, out);
        phase
    }

    fn step(&self, phase: &mut u64, _: Timestamp, input: Step<(), u64>, out: &mut Vec<EffectOf<Self>>) {
        match input {
            Step::Reply(..) => out.push(Effect::Done(Outcome::Done)),
            Step::Lost(_) | Step::Unmade(_) => call(phase, out),
            Step::Observed(_) | Step::Due | Step::Abort(_) => {}
            Step::LeaseLost | Step::LeaseBack | Step::Committed(_) => {}
        }
    }
}

impl Journaled for OneCall {
    fn save(&self, phase: &u64) -> Vec<u8> {
        phase.to_le_bytes().to_vec()
    }

    fn load(&self, _: &Assignment, _: &[u8]) -> Result<u64, CodecError> {
        Ok(0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Answers,
    /// Calls never end.
    Hangs,
    /// The first call panics.
    PanicsOnce,
    /// A watch shows 1, 2, up to this number as fast as it can; calls never end.
    ShowsUntil(u64),
}

/// What all platforms share with the test.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<BTreeMap<String, Place>>>, Arc<Notify>);

#[derive(Clone, Copy)]
struct Place {
    behaviour: Behaviour,
    made: u32,
    connected: u32,
}

impl Shared {
    fn with<T>(&self, target: &str, change: impl FnOnce(&mut Place) -> T) -> T {
        let mut all = self.0.lock().expect("nothing panics under it");
        let new = Place { behaviour: Behaviour::Answers, made: 0, connected: 0 };
        change(all.entry(target.to_owned()).or_insert(new))
    }

    pub(crate) fn behave(&self, target: &str, behaviour: Behaviour) {
        self.with(target, |place| place.behaviour = behaviour);
    }

    pub(crate) fn made(&self, target: &str) -> u32 {
        self.with(target, |place| place.made)
    }

    pub(crate) fn connected(&self, target: &str) -> u32 {
        self.with(target, |place| place.connected)
    }

    /// Every observer judges once more.
    pub(crate) fn judge_again(&self) {
        self.1.notify_waiters();
    }
}

pub(crate) struct ModelPlatform {
    target: String,
    shared: Shared,
}

impl Connect<OneCall> for Shared {
    type Platform = ModelPlatform;

    fn connect(&self, target: &Target) -> Option<Result<ModelPlatform, PlatformError>> {
        let name = target.name.to_string();
        self.with(&name, |place| place.connected += 1);
        Some(Ok(ModelPlatform { target: name, shared: self.clone() }))
    }
}

impl Platform<OneCall> for ModelPlatform {
    async fn call(&self, (): (), _: Permit) -> Answer<()> {
        let place = self.shared.with(&self.target, |place| {
            place.made += 1;
            *place
        });
        match place.behaviour {
            Behaviour::PanicsOnce if place.made == 1 => panic!("as it was asked to"),
            Behaviour::Answers | Behaviour::PanicsOnce => Answer::Reply(()),
            Behaviour::Hangs | Behaviour::ShowsUntil(_) => std::future::pending().await,
        }
    }

    async fn watch(&self, (): (), sink: impl SnapshotSink<u64>) {
        if let Behaviour::ShowsUntil(last) = self.shared.with(&self.target, |place| place.behaviour) {
            (1..=last).for_each(|n| sink.show("", n));
        }
    }

    async fn observe(&self, _: Standing, sink: impl JudgmentSink) {
        let judgment = Judgment { verdict: Verdict::Healthy, failure: None, down: 0, blind_since: None };
        loop {
            sink.judge(judgment.clone());
            self.shared.1.notified().await;
        }
    }

    async fn query(&self, question: Question, answer: impl PartSink) -> Result<(), PlatformError> {
        let refused = |message: &str| PlatformError {
            code: ReasonCode::OrderRefused,
            message: format!("{}: {message}", self.target),
        };
        let parts = match question {
            Question::Plan { order, content } => {
                let content = content.ok_or_else(|| refused("there is nothing to compare"))?;
                let lines = String::from_utf8_lossy(&content).into_owned();
                let first = Part::Plan(vec![format!("{} on {}", order.run, self.target)]);
                [first]
                    .into_iter()
                    .chain(lines.lines().map(|line| Part::Plan(vec![line.to_owned()])))
                    .collect()
            }
            Question::Logs { instances, previous, query } => {
                let line = |text: String| LogLine { at_ms: 1, stderr: false, release: None, line: text };
                let lines = |instance: &InstanceName| LogLines {
                    host: instance.to_string(),
                    lines: vec![line(format!("previous: {previous}, tail: {:?}", query.tail))],
                    missing: None,
                };
                instances.iter().map(|instance| Part::Logs(lines(instance))).collect()
            }
            Question::SealingKey => vec![Part::SealingKey(self.target.clone().into_bytes())],
            Question::Running { .. } => Vec::new(),
        };
        for part in parts {
            // Whoever does not read any more ends the answer.
            let Ok(()) = answer.put(part).await else { return Ok(()) };
        }
        Ok(())
    }
}

pub(crate) struct World {
    executor: Executor<OneCall>,
    pub(crate) targets: Targets<OneCall, Shared>,
    pub(crate) shared: Shared,
    inputs: Vec<Input<OneCall>>,
    pub(crate) results: BTreeMap<AssignmentId, Outcome>,
    pub(crate) seen: Vec<u64>,
    pub(crate) judged: Vec<(Standing, Judgment)>,
}

pub(crate) fn installation(n: u64, target: &str) -> InstallationId {
    let pipeline = format!("service-{n}").parse().expect("a name");
    InstallationId { pipeline, target: target.parse().expect("a name") }
}

impl World {
    pub(crate) fn new<const N: usize>(places: [(&str, Behaviour); N]) -> Self {
        let shared = Shared::default();
        for (target, behaviour) in places {
            shared.behave(target, behaviour);
        }
        let mut world = Self {
            executor: Executor::new(OneCall),
            targets: Targets::new(shared.clone(), Handle::current()),
            shared,
            inputs: Vec::new(),
            results: BTreeMap::new(),
            seen: Vec::new(),
            judged: Vec::new(),
        };
        world.step(Input::Attached { cluster: "lab".to_owned(), epoch: Epoch(0), incarnation: 1 });
        world.serve(&places.map(|(target, _)| target), 1);
        world
    }

    pub(crate) fn serve(&mut self, names: &[&str], settings: u32) {
        let target = |name: &&str| Target {
            name: name.parse().expect("a name"),
            agent: "lab".parse().expect("a name"),
            class: TargetClass::Staging,
            platform: TargetPlatform::Hosts {
                select: BTreeMap::from([("settings".to_owned(), settings.to_string())]),
                require_user: false,
                settings: HostSettings::default(),
            },
            parallel: 64,
        };
        self.step(Input::Targets(names.iter().map(target).collect()));
    }

    pub(crate) fn assign(&mut self, n: u64, target: &str) {
        self.step(Input::Assign(Self::order(n, target)));
    }

    /// An order of installation `n` on a target.
    pub(crate) fn order(n: u64, target: &str) -> Assignment {
        let wave = Wave { target_count: 1, ..Wave::default() };
        Assignment {
            id: AssignmentId(n),
            fence: Fence(n),
            installation: installation(n, target),
            run: "web#1".parse().expect("a run"),
            stage: "prod/prod".parse().expect("a stage"),
            attempt: Attempt(1),
            platform: PlatformKind::Hosts,
            action: Action::Stop(Digest([1; 32])),
            release: None,
            wave,
            hosts: BTreeSet::new(),
            retained: BTreeSet::new(),
            committed: None,
            restore_from: None,
        }
    }

    /// The result of an assignment is in the log.
    pub(crate) fn answer(&mut self, n: u64) {
        let answer = ResultAnswer::Applied;
        self.step(Input::Answer { assignment: AssignmentId(n), fence: Fence(n), answer });
    }

    fn step(&mut self, input: Input<OneCall>) {
        self.inputs.push(input);
        while !self.inputs.is_empty() {
            let mut out = Vec::new();
            let input = self.inputs.remove(0);
            self.executor.step(boot_time(), input, &mut out);
            out.into_iter().for_each(|output| self.perform(output));
        }
        while let Some(message) = self.executor.next_message(boot_time()) {
            if let AgentUp::Result { assignment, outcome, .. } = message {
                let outcome = outcome.try_into().expect("its own");
                self.results.insert(AssignmentId(assignment), outcome);
            }
        }
    }

    fn perform(&mut self, output: Output<OneCall>) {
        match output {
            Output::Write { sequence, .. } | Output::Replace { sequence, .. } => {
                self.inputs.push(Input::Written(sequence));
            }
            Output::Targets(targets) => self.targets.set_targets(targets),
            Output::Call { assignment, target, id, call, permit } => {
                self.targets.call(assignment, &target, id, call, permit);
            }
            Output::Watch { assignment, target, query } => self.targets.watch(assignment, target, query),
            Output::Unwatch { assignment } => self.targets.unwatch(assignment),
            Output::Busy { installation } => self.targets.busy(&installation),
            Output::Quiet { installation, fence } => self.targets.quiet(&installation, fence),
            Output::Refused(refused) => panic!("{refused}"),
        }
    }

    fn take(&mut self) {
        for happened in self.targets.take() {
            match happened {
                Happened::Answered { assignment, call, answer } => self.step(match answer {
                    Answer::Reply(reply) => Input::Reply { assignment, call, reply },
                    Answer::Lost => Input::Lost { assignment, call },
                    Answer::Unmade => Input::Unmade { assignment, call },
                }),
                Happened::Observed { assignment, snapshot } => {
                    self.seen.push(snapshot);
                    self.step(Input::Observed { assignment, snapshot });
                }
                Happened::Judged { standing, judgment } => self.judged.push((standing, judgment)),
            }
        }
    }

    /// Works until something holds.
    pub(crate) async fn until(&mut self, holds: impl Fn(&Self) -> bool) {
        let work = async {
            loop {
                self.take();
                if holds(self) {
                    return;
                }
                // Also the platforms' own counters are asked about, which wake no one.
                let _ = tokio::time::timeout(Duration::from_millis(20), self.targets.changed()).await;
            }
        };
        tokio::time::timeout(TIMEOUT, work).await.expect("it holds at last");
    }

    /// Whatever was on its way has come.
    pub(crate) async fn settle(&mut self) {
        for _ in 0..50 {
            tokio::task::yield_now().await;
            self.take();
        }
    }
}
