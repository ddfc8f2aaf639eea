//! A small third driver: it moves a running job to a new release, to another number of instances, or only starts it anew, and
//! never loses its state.
//!
//! The job is stopped into a directory that the driver names, and started again from it. Both calls are unguarded, and
//! the platform shows a directory only to who knows its name: so the name is committed before it is used, persisted
//! before each call, and found by whoever takes over. A driver that forgets it loses the state. With the name goes how many
//! instances the job had: a restart brings as many back, and once the job is stopped no one else knows.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_agent_core::driver::{
    CallId, Driver, Effect, EffectOf, Found, FoundOf, Guard, Input, Journaled,
};
use trimaran_model::action::{Action, Commit, Failure, Outcome, Progress, Wave};
use trimaran_model::assignment::Assignment;
use trimaran_model::id::{AssignmentId, Attempt, Digest, Fence, InstallationId};
use trimaran_model::reason::ReasonCode;
use trimaran_model::target::PlatformKind;
use trimaran_model::time::{Millis, Timestamp};
use trimaran_wire::codec::CodecError;

use super::{Finished, Model, Which};

/// A defect of the driver, which the suite has to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    ActsBeforePersist,
    IgnoresLostLease,
    RepeatsUnguardedCall,
    ForgetsFoundPhase,
    DropsAbort,
}

impl Defect {
    pub const ALL: [Self; 5] = [
        Self::ActsBeforePersist,
        Self::IgnoresLostLease,
        Self::RepeatsUnguardedCall,
        Self::ForgetsFoundPhase,
        Self::DropsAbort,
    ];
}

#[derive(Debug, Clone, Copy)]
pub struct JobDriver {
    pub defect: Option<Defect>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// What is there is not known.
    Checking,
    /// What runs is asked: an order for a release that runs already is refused where another one does.
    Describing,
    /// The directory's name is on its way to the log.
    Committing,
    Saving,
    Starting,
    Finished,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    which: Which,
    action: Action,
    directory: u8,
    /// As many as the job had before it was touched; 0: not asked yet.
    had: u8,
    step: Step,
    calling: Option<CallId>,
    calls: u64,
    lease: bool,
    aborted: bool,
    ended: bool,
}

impl Phase {
    fn at(order: &Assignment, [directory, had]: [u8; 2], step: Step) -> Self {
        let which = if order.id == AssignmentId(1) { Which::First } else { Which::Second };
        let (action, calling, calls) = (order.action.clone(), None, 0);
        Self {
            which,
            action,
            directory,
            had,
            step,
            calling,
            calls,
            lease: false,
            aborted: false,
            ended: false,
        }
    }

    /// The first step in which something may change.
    fn before_saving(&self) -> Step {
        match self.action {
            Action::Release(_) => Step::Committing,
            _ => Step::Describing,
        }
    }

    /// The job that the order wants.
    fn job(&self) -> Job {
        let release = self.action.release().expect("the orders of a model name one");
        let instances = match self.action {
            Action::Scale { instances, .. } => instances,
            Action::Restart(_) => self.had.into(),
            _ => INSTANCES,
        };
        Job { release, instances }
    }

    /// Why the order can't be done on what runs.
    fn objection(&self, runs: Option<Job>) -> Option<String> {
        let wanted = self.job();
        match runs {
            None => Some("no job runs".to_owned()),
            Some(job) if job.release != wanted.release => {
                Some(format!("the job runs release {}, not {}", job.release.short(), wanted.release.short()))
            }
            Some(_) if wanted.instances > SLOTS => {
                Some(format!("{} instances need as many slots, and there are {SLOTS}", wanted.instances))
            }
            Some(_) => None,
        }
    }
}

/// As many as a release brings, and as there is place for.
const INSTANCES: u32 = 2;
const SLOTS: u32 = 8;
/// Runs before the first order.
const OLD: Digest = Digest([7; 32]);

/// A job as it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    release: Digest,
    instances: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Is there a directory of this name, and whose job runs? Answer: `Seen`.
    Check { directory: u8 },
    /// What runs? Answer: `Described`.
    Describe,
    /// Stop the job into the directory. Answer: `Done`.
    Save { directory: u8 },
    /// Start the job from the directory. Answer: `Done`.
    Start { directory: u8, job: Job },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    Done,
    Seen {
        saved: bool,
        /// The order whose job runs; `None` when none of an order's runs.
        runs: Option<Which>,
        /// Whether any job runs.
        any: bool,
    },
    Described(Option<Job>),
}

type Effects = Vec<EffectOf<JobDriver>>;

impl JobDriver {
    fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    fn enter(&self, phase: &mut Phase, step: Step, out: &mut Effects) {
        phase.step = step;
        if self.has(Defect::ActsBeforePersist) {
            self.advance(phase, out);
        }
        out.push(Effect::Persist);
        if step == Step::Committing {
            let (n, body) = (u32::from(phase.directory), vec![phase.directory, phase.had]);
            out.push(Effect::Commit { n, body, progress: Progress::default() });
        }
    }

    fn advance(&self, phase: &mut Phase, out: &mut Effects) {
        if phase.ended || phase.calling.is_some() {
            return;
        }
        if phase.aborted {
            phase.ended = true;
            return out.push(Effect::Done(Outcome::Stopped));
        }
        let directory = phase.directory;
        match phase.step {
            Step::Checking => call(phase, Call::Check { directory }, Guard::Read, out),
            Step::Describing => call(phase, Call::Describe, Guard::Read, out),
            Step::Saving if phase.lease => call(phase, Call::Save { directory }, Guard::Unguarded, out),
            Step::Starting if phase.lease => {
                let job = phase.job();
                call(phase, Call::Start { directory, job }, Guard::Unguarded, out);
            }
            Step::Committing | Step::Saving | Step::Starting => {}
            Step::Finished => {
                phase.ended = true;
                out.push(Effect::Done(Outcome::Done));
            }
        }
    }

    fn reply(&self, phase: &mut Phase, reply: Reply, out: &mut Effects) {
        match (phase.step, reply) {
            (Step::Saving, Reply::Done) => self.enter(phase, Step::Starting, out),
            (Step::Starting, Reply::Done) => self.enter(phase, Step::Finished, out),
            (Step::Checking, Reply::Seen { runs, .. }) if runs == Some(phase.which) => {
                self.enter(phase, Step::Finished, out);
            }
            (Step::Checking, Reply::Seen { saved: true, any: false, .. }) => {
                self.enter(phase, Step::Starting, out);
            }
            (Step::Checking, Reply::Seen { saved, .. }) => {
                // An earlier order's job runs from that directory: this one is saved to another.
                phase.directory += u8::from(saved);
                let next = phase.before_saving();
                self.enter(phase, next, out);
            }
            (Step::Describing, Reply::Described(runs)) => match phase.objection(runs) {
                None => {
                    let had = runs.expect("there is no objection to it").instances;
                    phase.had = u8::try_from(had).expect("no more than slots");
                    self.enter(phase, Step::Committing, out);
                }
                Some(message) => {
                    phase.ended = true;
                    let why = Failure { code: ReasonCode::OrderRefused, message, instance: None };
                    out.push(Effect::Done(Outcome::Fault(why)));
                }
            },
            (step, reply) => unreachable!("{reply:?} at {step:?}"),
        }
    }
}

fn call(phase: &mut Phase, call: Call, guard: Guard, out: &mut Effects) {
    phase.calls += 1;
    let id = CallId(phase.calls);
    phase.calling = Some(id);
    out.push(Effect::Call { id, call, deadline: Millis::seconds(10), guard });
}

impl Driver for JobDriver {
    type Order = Assignment;
    type Phase = Phase;
    type Call = Call;
    type Reply = Reply;
    type Snapshot = ();
    type Query = ();
    type Progress = Progress;

    fn begin(
        &self,
        _: Timestamp,
        order: &Assignment,
        found: Option<FoundOf<Self>>,
        out: &mut Effects,
    ) -> Phase {
        let committed = || order.committed.as_ref()?.body.as_slice().try_into().ok();
        let known: Option<[u8; 2]> = match &found {
            Some(Found::Resumed(phase) | Found::Superseded { phase, .. }) => {
                Some([phase.directory, phase.had])
            }
            None => committed(),
        };
        let known = known.filter(|_| !self.has(Defect::ForgetsFoundPhase));
        let mut phase = Phase::at(order, known.unwrap_or([1, 0]), Step::Checking);
        let first = if known.is_some() { Step::Checking } else { phase.before_saving() };
        self.enter(&mut phase, first, out);
        self.advance(&mut phase, out);
        phase
    }

    fn step(&self, phase: &mut Phase, _: Timestamp, input: Input<Reply, ()>, out: &mut Effects) {
        match input {
            Input::Reply(id, reply) if phase.calling == Some(id) => {
                phase.calling = None;
                self.reply(phase, reply, out);
            }
            Input::Unmade(id) if phase.calling == Some(id) => phase.calling = None,
            Input::Lost(id) if phase.calling == Some(id) => {
                phase.calling = None;
                if !self.has(Defect::RepeatsUnguardedCall) {
                    phase.step = Step::Checking;
                }
            }
            Input::Committed(_) if phase.step == Step::Committing => self.enter(phase, Step::Saving, out),
            Input::Abort(_) => phase.aborted = !self.has(Defect::DropsAbort),
            Input::LeaseLost => phase.lease = self.has(Defect::IgnoresLostLease),
            Input::LeaseBack => phase.lease = true,
            Input::Reply(..) | Input::Unmade(_) | Input::Lost(_) | Input::Committed(_) => {}
            Input::Observed(()) | Input::Due => {}
        }
        self.advance(phase, out);
    }

    fn accepts(&self, order: &Assignment) -> bool {
        order.platform == PlatformKind::Flink
    }
}

impl Journaled for JobDriver {
    fn save(&self, phase: &Phase) -> Vec<u8> {
        vec![phase.directory, phase.had, phase.step as u8]
    }

    fn load(&self, order: &Assignment, bytes: &[u8]) -> Result<Phase, CodecError> {
        const STEPS: [Step; 6] = [
            Step::Checking,
            Step::Describing,
            Step::Committing,
            Step::Saving,
            Step::Starting,
            Step::Finished,
        ];
        let [directory, had, step] = bytes else {
            return Err(CodecError::value("a phase has three bytes"));
        };
        let step = STEPS.get(usize::from(*step)).ok_or_else(|| CodecError::value("there is no such step"))?;
        Ok(Phase::at(order, [*directory, *had], *step))
    }
}

/// What a directory holds, or a job works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Everything since the first start.
    Whole,
    /// Saved when nothing ran.
    Empty,
}

/// The two orders of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orders {
    Releases,
    RestartThenScale,
    ScaleThenRestart,
    /// A restart of a release that does not run.
    OfAnother,
    /// More instances than there are slots.
    TooMany,
}

impl Orders {
    fn action(self, which: Which) -> Action {
        let scale = |instances| Action::Scale { release: OLD, instances };
        match (self, which) {
            (Self::Releases, _) => Action::Release(Digest([which as u8 + 1; 32])),
            (Self::RestartThenScale, Which::First) | (Self::ScaleThenRestart, Which::Second) => {
                Action::Restart(OLD)
            }
            (Self::RestartThenScale, Which::Second) | (Self::ScaleThenRestart, Which::First) => {
                scale(INSTANCES + 1)
            }
            (Self::OfAnother, _) => Action::Restart(Digest([9; 32])),
            (Self::TooMany, _) => scale(SLOTS + 1),
        }
    }
}

pub struct JobModel {
    driver: JobDriver,
    orders: Orders,
    /// The job that runs: of which order, with which state; the one from before belongs to none.
    running: Option<(Option<Which>, State, Job)>,
    /// With what each holds and what was stopped into it.
    directories: BTreeMap<u8, (State, Option<Job>)>,
}

impl JobModel {
    pub fn new(defect: Option<Defect>) -> Self {
        Self::ordering(Orders::Releases, defect)
    }

    pub fn ordering(orders: Orders, defect: Option<Defect>) -> Self {
        Self {
            driver: JobDriver { defect },
            orders,
            running: Some((None, State::Whole, Job { release: OLD, instances: INSTANCES })),
            directories: BTreeMap::new(),
        }
    }

    /// The job that an order leaves when it is done.
    fn wanted(&self, which: Which) -> Option<Job> {
        let action = self.orders.action(which);
        let instances = match action {
            Action::Scale { instances, .. } => instances,
            // As many as were stopped.
            Action::Restart(_) => self.directories.values().next_back()?.1?.instances,
            _ => INSTANCES,
        };
        Some(Job { release: action.release()?, instances })
    }

    /// An order that can't be done was refused, and the job runs on.
    fn is_refused(&self, outcome: Option<&Outcome>) -> bool {
        let untouched = self.directories.is_empty() && self.running.is_some_and(|(of, ..)| of.is_none());
        let refused = matches!(outcome, Some(Outcome::Fault(why)) if why.code == ReasonCode::OrderRefused);
        matches!(self.orders, Orders::OfAnother | Orders::TooMany) && untouched && refused
    }
}

impl Model for JobModel {
    type Driver = JobDriver;

    fn driver(&self) -> &JobDriver {
        &self.driver
    }

    fn order(&self, which: Which, committed: Option<Commit>) -> Assignment {
        let number = which as u64 + 1;
        Assignment {
            id: AssignmentId(number),
            fence: Fence(number),
            installation: InstallationId {
                pipeline: "clicks".parse().expect("a name"),
                target: "streams".parse().expect("a name"),
            },
            run: format!("clicks#{number}").parse().expect("a run"),
            stage: "prod/streams".parse().expect("a stage"),
            attempt: Attempt(1),
            platform: PlatformKind::Flink,
            action: self.orders.action(which),
            release: None,
            wave: Wave { target_count: 1, ..Wave::default() },
            hosts: BTreeSet::new(),
            retained: BTreeSet::new(),
            committed,
            restore_from: None,
        }
    }

    fn save(&self, phase: &Phase) -> Vec<u8> {
        self.driver.save(phase)
    }

    fn load(&self, order: &Assignment, bytes: &[u8]) -> Phase {
        self.driver.load(order, bytes).expect("its own bytes")
    }

    fn call(&mut self, _: Timestamp, which: Which, call: Call) -> Result<(Reply, Millis), String> {
        match call {
            Call::Check { directory } => {
                let (runs, any) = (self.running.and_then(|(of, ..)| of), self.running.is_some());
                let saved = self.directories.contains_key(&directory);
                return Ok((Reply::Seen { saved, runs, any }, Millis(20)));
            }
            Call::Describe => {
                return Ok((Reply::Described(self.running.map(|(.., job)| job)), Millis(20)));
            }
            Call::Save { directory } => {
                let saved = self.running.take().map(|(_, state, job)| (state, Some(job)));
                if self.directories.insert(directory, saved.unwrap_or((State::Empty, None))).is_some() {
                    return Err(format!("directory {directory} was written a second time"));
                }
            }
            Call::Start { directory, job } => {
                let (state, _) = self.directories.get(&directory).ok_or("it starts from nothing")?;
                if self.running.replace((Some(which), *state, job)).is_some() {
                    return Err("two jobs run at once".to_owned());
                }
            }
        }
        Ok((Reply::Done, Millis(200)))
    }

    fn watch(&mut self, (): ()) {}

    fn observations(&mut self, _: Timestamp) -> Vec<()> {
        Vec::new()
    }

    fn next_change(&self, _: Timestamp) -> Option<Timestamp> {
        None
    }

    fn crashed(&mut self) {}

    fn is_covered(&self, durable: Option<&Phase>, call: &Call) -> bool {
        let (directory, step) = match call {
            Call::Check { .. } | Call::Describe => return true,
            Call::Save { directory } => (directory, Step::Saving),
            Call::Start { directory, .. } => (directory, Step::Starting),
        };
        durable.is_some_and(|phase| phase.directory == *directory && phase.step == step)
    }

    fn needs_lease(&self, call: &Call) -> bool {
        !matches!(call, Call::Check { .. } | Call::Describe)
    }

    fn starts(&self, call: &Call) -> bool {
        !matches!(call, Call::Check { .. } | Call::Describe)
    }

    fn verify(&self, finished: &Finished, _: &Phase) -> Result<(), String> {
        if self.directories.values().any(|(state, _)| *state == State::Empty) {
            return Err("the job's state was lost".to_owned());
        }
        let wanted = self.wanted(finished.which).map(|job| (Some(finished.which), State::Whole, job));
        match &finished.outcome {
            outcome if self.is_refused(outcome.as_ref()) => Ok(()),
            Some(Outcome::Done) if wanted.is_some() && self.running == wanted => Ok(()),
            Some(Outcome::Done) => Err(format!("done, and {:?} runs", self.running)),
            Some(Outcome::Stopped) if finished.canceled => Ok(()),
            other => Err(format!("it ended with {other:?}")),
        }
    }
}
