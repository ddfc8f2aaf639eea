//! A small third driver: it moves a running job to a new release without losing its state.
//!
//! The job is stopped into a directory that the driver names, and started again from it. Both calls are unguarded, and
//! the platform shows a directory only to who knows its name: so the name is committed before it is used, persisted
//! before each call, and found by whoever takes over. A driver that forgets it loses the state.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_agent_core::driver::{
    CallId, Driver, Effect, EffectOf, Found, FoundOf, Guard, Input, Journaled,
};
use trimaran_model::action::{Action, Commit, Outcome, Progress, Wave};
use trimaran_model::assignment::Assignment;
use trimaran_model::id::{AssignmentId, Attempt, Digest, Fence, InstallationId};
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
    /// The directory's name is on its way to the log.
    Committing,
    Saving,
    Starting,
    Finished,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    which: Which,
    directory: u8,
    step: Step,
    calling: Option<CallId>,
    calls: u64,
    lease: bool,
    aborted: bool,
    ended: bool,
}

impl Phase {
    fn at(order: &Assignment, directory: u8, step: Step) -> Self {
        let which = if order.id == AssignmentId(1) { Which::First } else { Which::Second };
        let (calling, calls) = (None, 0);
        Self { which, directory, step, calling, calls, lease: false, aborted: false, ended: false }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Is there a directory of this name, and whose job runs? Answer: `Seen`.
    Check { directory: u8 },
    /// Stop the job into the directory. Answer: `Done`.
    Save { directory: u8 },
    /// Start the job from the directory. Answer: `Done`.
    Start { directory: u8 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    Done,
    Seen {
        saved: bool,
        /// The order whose job runs; `None` when none of an order's runs.
        runs: Option<Which>,
    },
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
            let n = u32::from(phase.directory);
            out.push(Effect::Commit { n, body: vec![phase.directory], progress: Progress::default() });
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
            Step::Saving if phase.lease => call(phase, Call::Save { directory }, Guard::Unguarded, out),
            Step::Starting if phase.lease => call(phase, Call::Start { directory }, Guard::Unguarded, out),
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
            (Step::Checking, Reply::Seen { saved: true, runs: None }) => {
                self.enter(phase, Step::Starting, out);
            }
            (Step::Checking, Reply::Seen { saved, .. }) => {
                // An earlier order's job runs from that directory: this one is saved to another.
                phase.directory += u8::from(saved);
                self.enter(phase, Step::Committing, out);
            }
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
        let committed = order.committed.as_ref().and_then(|commit| commit.body.first().copied());
        let directory = match &found {
            Some(Found::Resumed(phase) | Found::Superseded { phase, .. }) => Some(phase.directory),
            None => committed,
        };
        let directory = directory.filter(|_| !self.has(Defect::ForgetsFoundPhase));
        let mut phase = Phase::at(order, directory.unwrap_or(1), Step::Checking);
        let first = if directory.is_some() { Step::Checking } else { Step::Committing };
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
        vec![phase.directory, phase.step as u8]
    }

    fn load(&self, order: &Assignment, bytes: &[u8]) -> Result<Phase, CodecError> {
        const STEPS: [Step; 5] =
            [Step::Checking, Step::Committing, Step::Saving, Step::Starting, Step::Finished];
        let [directory, step] = bytes else { return Err(CodecError::value("a phase has two bytes")) };
        let step = STEPS.get(usize::from(*step)).ok_or_else(|| CodecError::value("there is no such step"))?;
        Ok(Phase::at(order, *directory, *step))
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

pub struct JobModel {
    driver: JobDriver,
    /// The job that runs: of which order, with which state; the one from before belongs to none.
    running: Option<(Option<Which>, State)>,
    directories: BTreeMap<u8, State>,
}

impl JobModel {
    pub fn new(defect: Option<Defect>) -> Self {
        Self {
            driver: JobDriver { defect },
            running: Some((None, State::Whole)),
            directories: BTreeMap::new(),
        }
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
            action: Action::Release(Digest([which as u8 + 1; 32])),
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
                let runs = self.running.and_then(|(of, _)| of);
                let saved = self.directories.contains_key(&directory);
                return Ok((Reply::Seen { saved, runs }, Millis(20)));
            }
            Call::Save { directory } => {
                let state = self.running.take().map_or(State::Empty, |(_, state)| state);
                if self.directories.insert(directory, state).is_some() {
                    return Err(format!("directory {directory} was written a second time"));
                }
            }
            Call::Start { directory } => {
                let state = self.directories.get(&directory).ok_or("it starts from nothing")?;
                if self.running.replace((Some(which), *state)).is_some() {
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
            Call::Check { .. } => return true,
            Call::Save { directory } => (directory, Step::Saving),
            Call::Start { directory } => (directory, Step::Starting),
        };
        durable.is_some_and(|phase| phase.directory == *directory && phase.step == step)
    }

    fn needs_lease(&self, call: &Call) -> bool {
        !matches!(call, Call::Check { .. })
    }

    fn starts(&self, call: &Call) -> bool {
        !matches!(call, Call::Check { .. })
    }

    fn verify(&self, finished: &Finished, _: &Phase) -> Result<(), String> {
        if self.directories.values().any(|state| *state == State::Empty) {
            return Err("the job's state was lost".to_owned());
        }
        match &finished.outcome {
            Some(Outcome::Done) if self.running == Some((Some(finished.which), State::Whole)) => Ok(()),
            Some(Outcome::Done) => Err(format!("done, and {:?} runs", self.running)),
            Some(Outcome::Stopped) if finished.canceled => Ok(()),
            other => Err(format!("it ended with {other:?}")),
        }
    }
}
