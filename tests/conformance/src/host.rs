//! A host in memory: its disk is a [`ModelDisk`] behind the real store, its processes follow scripts.
//!
//! It executes the effects of the machine as a runner does and checks, at each of them, what must never
//! happen: two processes at once, a launch started twice, something done before its phase was durable.

mod calls;
mod driven;

use std::collections::BTreeMap;
use std::path::PathBuf;

use trimaran_agent_core::driver::{CallId, Driver as _, Effect, Found, Handover, Input};
use trimaran_host::filesystem::FileSystem as _;
use trimaran_host::store::{Loaded, Store};
use trimaran_host_core::host::{Call, Exit, HostEffect, HostMachine, Journal, Phase, Reply, Snapshot};
use trimaran_model::assignment::{HostGoal, HostReport, HostState};
use trimaran_model::id::Digest;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Timestamp};

use crate::disk::{Loss, ModelDisk};

/// The port at which a liveness probe of the model asks.
pub const LIVENESS_PORT: u16 = 9;

/// How the processes of a release behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers from so many milliseconds after its start.
    Healthy { after: u64 },
    /// Never answers.
    Sick,
    /// Answers for so many milliseconds, then no more.
    HealthyUntil(u64),
    /// Ends after so many milliseconds.
    Exits { after: u64, code: i32 },
    /// Its first process ends after so many milliseconds, and what that left answers for so many more.
    LeavesWorker { after: u64, code: i32, worker: u64 },
    /// Answers; probes of [`LIVENESS_PORT`] fail from so many milliseconds after its start.
    Hangs { after: u64 },
    /// Answers, and whether a process of the release does can't be known.
    Unverified,
    /// Can't be started.
    NotStartable,
    /// Answers and fails alternately for so many milliseconds.
    Flaps(u64),
}

/// What happens to the answer of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It does not come; the caller is notified.
    Dropped,
    /// It comes so many milliseconds late.
    Delayed(u64),
    /// It comes twice, the second time so many milliseconds later.
    Repeated(u64),
}

#[derive(Debug, Clone)]
struct Process {
    digest: Digest,
    started: Timestamp,
    exit: Option<Exit>,
}

/// Something that comes back to the machine.
#[derive(Debug, Clone)]
enum Event {
    Reply(CallId, Reply),
    Lost(CallId),
    Wake,
}

pub struct ModelHost {
    pub disk: ModelDisk,
    store: Store<ModelDisk>,
    pub now: Timestamp,
    pub boot: u32,
    phase: Option<Phase>,
    processes: BTreeMap<u64, Process>,
    watched: Vec<u64>,
    events: Vec<(Timestamp, u64, Event)>,
    event_count: u64,
    behaviours: BTreeMap<Digest, Behaviour>,
    /// Artifacts that can be fetched.
    pub served: bool,
    blobs: Vec<Digest>,
    pub fetches: u32,
    /// Each start that was made: launch and release.
    pub starts: Vec<(u64, Digest)>,
    /// What was done beside the service, in order: `drain v1`, `before_stop v1`.
    pub errands: Vec<String>,
    /// What of it does not work, and how it answers.
    pub bad_errands: BTreeMap<String, Reply>,
    /// Errands take so long.
    pub errand_time: Millis,
    pub reports: Vec<HostReport>,
    pub calls: u64,
    /// By number of the call, from 1.
    pub fates: BTreeMap<u64, Fate>,
    pub broken_switch: bool,
    pub unkillable: bool,
    pub foreign_port: bool,
    /// No other installation may be disrupted.
    turn: bool,
    /// So many unpacks find no space.
    pub narrow: u32,
}

/// The process of the runner died; the world continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Died;

pub fn directory() -> PathBuf {
    PathBuf::from("/data/services/web@lab")
}

impl ModelHost {
    pub fn new() -> Self {
        let disk = ModelDisk::default();
        let made = disk.create_dir_all(&PathBuf::from("/data/services"));
        made.and_then(|()| disk.sync_dir(&PathBuf::from("/data")))
            .and_then(|()| disk.sync_dir(&PathBuf::from("/")))
            .expect("an empty model has space");
        let store = Store::new(disk.clone(), directory(), PathBuf::from("/data/reserve"));
        Self {
            disk,
            store,
            now: Timestamp(1_000_000),
            boot: 1,
            phase: None,
            processes: BTreeMap::new(),
            watched: Vec::new(),
            events: Vec::new(),
            event_count: 0,
            behaviours: BTreeMap::new(),
            served: true,
            blobs: Vec::new(),
            fetches: 0,
            starts: Vec::new(),
            errands: Vec::new(),
            bad_errands: BTreeMap::new(),
            errand_time: Millis(50),
            reports: Vec::new(),
            calls: 0,
            fates: BTreeMap::new(),
            broken_switch: false,
            unkillable: false,
            foreign_port: false,
            turn: false,
            narrow: 0,
        }
    }

    pub fn behave(&mut self, digest: Digest, behaviour: Behaviour) {
        self.behaviours.insert(digest, behaviour);
    }

    /// The runner starts and finds what is on the disk, or takes its first goal.
    pub fn open(&mut self, goal: &HostGoal) -> Result<(), Died> {
        let loaded = self.store.load();
        self.alive()?;
        let found = match loaded.expect("the model's journals are of this version") {
            Loaded::Journal(journal, _) => Some(journal),
            Loaded::Damaged => {
                let observation = self.observe();
                self.alive()?;
                Journal::from_observation(&goal.installation, &observation.expect("the model can be read"))
            }
            Loaded::Nothing => None,
        };
        if found.is_none() {
            let created = self.store.create();
            self.alive()?;
            created.expect("the model's disk has space");
        }
        // The host keeps the slot of a change that an earlier process left in the middle.
        self.turn |= found.as_ref().is_some_and(|journal| journal.step.is_disruptive());
        let mut out = Vec::new();
        self.phase = Some(HostMachine.begin(
            self.now,
            goal,
            found.map(|journal| Found::Resumed(journal.into())),
            &mut out,
        ));
        self.perform_all(out)
    }

    /// A later goal arrives while the runner runs.
    pub fn order(&mut self, goal: &HostGoal) -> Result<(), Died> {
        // The runner begins the next goal when the machine is done; the phase goes with it.
        let mut pressed = false;
        for _ in 0..100_000 {
            let Some(phase) = &self.phase else { return self.open(goal) };
            match HostMachine.handover(phase, goal) {
                Handover::Now => self.step(Input::Abort(ReasonCode::Fenced))?,
                Handover::AfterChange if !pressed => {
                    pressed = true;
                    self.step(Input::Abort(ReasonCode::Interrupted))?;
                }
                Handover::AfterChange | Handover::Later => {}
            }
            if self.phase.is_some() {
                assert!(self.advance()?, "the machine makes way");
            }
        }
        panic!("the machine does not make way");
    }

    /// The runner dies, and perhaps the whole machine.
    pub fn crash(&mut self, loss: Loss) {
        self.disk.crash_at(None);
        self.disk.recover(loss);
        self.phase = None;
        self.turn = false;
        self.events.clear();
        self.watched.clear();
        if loss != Loss::Nothing {
            self.boot += 1;
            self.now = Timestamp(1000);
            for process in self.processes.values_mut() {
                process.exit.get_or_insert(Exit::LOST);
            }
        }
    }

    /// Runs until the goal has come to its end and nothing is left to be done for it.
    pub fn settle(&mut self) -> Result<HostReport, Died> {
        for _ in 0..100_000 {
            let phase = self.phase.as_ref().expect("the runner runs");
            if phase.is_settled() {
                assert!(!self.turn, "the slot is released");
                return Ok(phase.report());
            }
            assert!(self.advance()?, "nothing will ever happen: {:?}", self.report());
        }
        panic!("the machine does not come to an end: {:?}", self.report());
    }

    /// Runs for so long.
    pub fn run_for(&mut self, length: Millis) -> Result<(), Died> {
        let end = self.now + length;
        loop {
            let next = self.next_time();
            if next.is_none_or(|at| at > end) {
                self.now = end;
                return Ok(());
            }
            self.advance()?;
        }
    }

    /// A user asks for a restart. Returns whether there was something to restart.
    pub fn restart_by_hand(&mut self) -> Result<bool, Died> {
        let mut phase = self.phase.take().expect("the runner runs");
        let mut out = Vec::new();
        let restarts = HostMachine.restart(&mut phase, self.now, &mut out);
        self.phase = Some(phase);
        self.perform_all(out).map(|()| restarts)
    }

    /// The runner is paused: time goes by and nothing is done.
    pub fn pause(&mut self, length: Millis) {
        self.now = self.now + length;
    }

    /// Whether the host was inspected since its runner was started.
    pub fn is_inspected(&self) -> bool {
        self.phase.as_ref().is_some_and(Phase::is_inspected)
    }

    pub fn report(&self) -> HostReport {
        self.phase.as_ref().expect("the runner runs").report()
    }

    pub fn journal(&self) -> &Journal {
        &self.phase.as_ref().expect("the runner runs").journal
    }

    /// Releases that run now.
    pub fn running(&self) -> Vec<Digest> {
        self.processes.values().filter(|it| self.is_alive(it)).map(|it| it.digest).collect()
    }

    /// What `current` names.
    pub fn current(&self) -> Option<Digest> {
        self.disk.watch(|| {
            let releases = self.store.releases().expect("the model can be read");
            self.store.current(&releases).expect("the model can be read")
        })
    }

    /// Ends the running process from outside.
    pub fn kill_service(&mut self, exit: Exit) {
        let now = self.now;
        let behaviours = self.behaviours.clone();
        for process in self.processes.values_mut() {
            if exit_at(&behaviours, process).is_none_or(|(at, _)| at > now) {
                process.exit.get_or_insert(exit);
            }
        }
    }

    fn is_alive(&self, process: &Process) -> bool {
        process.exit.is_none() && exit_at(&self.behaviours, process).is_none_or(|(at, _)| at > self.now)
    }

    fn exit_of(&self, process: &Process) -> Option<Exit> {
        process.exit.or_else(|| {
            exit_at(&self.behaviours, process).filter(|(at, _)| *at <= self.now).map(|(_, exit)| exit)
        })
    }

    fn alive(&self) -> Result<(), Died> {
        if self.disk.is_dead() { Err(Died) } else { Ok(()) }
    }

    fn tick(&self) -> Result<(), Died> {
        self.disk.tick().map_err(|_| Died)
    }

    fn step(&mut self, input: Input<Reply, Snapshot>) -> Result<(), Died> {
        let Some(mut phase) = self.phase.take() else { return Ok(()) };
        let mut out = Vec::new();
        HostMachine.step(&mut phase, self.now, input, &mut out);
        self.phase = Some(phase);
        self.perform_all(out)
    }

    fn perform_all(&mut self, effects: Vec<HostEffect>) -> Result<(), Died> {
        for effect in effects {
            match effect {
                Effect::Persist => {
                    self.tick()?;
                    let phase = self.phase.as_ref().expect("a machine persists");
                    let saved = self.store.save(&phase.journal.to_wire(None));
                    self.alive()?;
                    saved.expect("the model's disk has space");
                    self.tick()?;
                }
                Effect::Call { id, call, .. } => self.start_call(id, call)?,
                Effect::Watch(query) => self.watched.push(query.launch),
                Effect::Report(progress) | Effect::Commit { progress, .. } => self.reports.push(progress),
                Effect::WakeAt(at) => self.schedule(at, Event::Wake),
                Effect::Done(_) => {
                    let phase = self.phase.take();
                    // As a runner does: what is in flight is dropped, and calls are counted anew.
                    self.events.clear();
                    self.watched.clear();
                    self.turn &= phase.is_some_and(|phase| phase.journal.step.is_disruptive());
                }
            }
        }
        Ok(())
    }

    fn start_call(&mut self, id: CallId, call: Call) -> Result<(), Died> {
        self.tick()?;
        let (reply, takes) = self.call(call);
        self.alive()?;
        self.tick()?;
        self.calls += 1;
        let at = self.now + takes;
        match self.fates.get(&self.calls).copied() {
            None => self.schedule(at, Event::Reply(id, reply)),
            Some(Fate::Dropped) => self.schedule(at + Millis(50), Event::Lost(id)),
            Some(Fate::Delayed(length)) => self.schedule(at + Millis(length), Event::Reply(id, reply)),
            Some(Fate::Repeated(length)) => {
                self.schedule(at, Event::Reply(id, reply.clone()));
                self.schedule(at + Millis(length), Event::Reply(id, reply));
            }
        }
        Ok(())
    }

    fn schedule(&mut self, at: Timestamp, event: Event) {
        if matches!(event, Event::Wake) {
            self.events.retain(|(_, _, event)| !matches!(event, Event::Wake));
        }
        self.event_count += 1;
        self.events.push((at, self.event_count, event));
    }

    fn next_exit(&self) -> Option<(Timestamp, u64, Exit)> {
        let ends = self.watched.iter().filter_map(|launch| {
            let process = self.processes.get(launch)?;
            match process.exit {
                Some(exit) => Some((self.now, *launch, exit)),
                None => {
                    exit_at(&self.behaviours, process).map(|(at, exit)| (at.max(self.now), *launch, exit))
                }
            }
        });
        ends.min_by_key(|(at, launch, _)| (*at, *launch))
    }

    fn next_time(&self) -> Option<Timestamp> {
        let event = self.events.iter().map(|(at, ..)| *at).min();
        let exit = self.next_exit().map(|(at, ..)| at);
        [event, exit].into_iter().flatten().min().map(|at| at.max(self.now))
    }

    /// Delivers the next thing that happens. False when nothing will.
    fn advance(&mut self) -> Result<bool, Died> {
        let Some(at) = self.next_time() else { return Ok(false) };
        self.now = at;
        if let Some((end, launch, exit)) = self.next_exit()
            && end <= at
        {
            self.watched.retain(|watched| *watched != launch);
            self.step(Input::Observed(Snapshot { launch, exit }))?;
            return Ok(true);
        }
        let first = self.events.iter().enumerate().min_by_key(|(_, (at, number, _))| (*at, *number));
        let Some((place, _)) = first else { return Ok(true) };
        let (_, _, event) = self.events.remove(place);
        self.step(match event {
            Event::Reply(id, reply) => Input::Reply(id, reply),
            Event::Lost(id) => Input::Lost(id),
            Event::Wake => Input::Due,
        })?;
        Ok(true)
    }

    /// Whether what runs would be found healthy.
    pub fn is_healthy(&self) -> bool {
        self.probe(8080) == Reply::Done
    }

    /// Leftovers that must not be there when nothing is in progress.
    pub fn leftovers(&self) -> Vec<String> {
        let tree = self.disk.tree(&directory());
        tree.into_iter().filter(|path| path.contains(".tmp")).collect()
    }

    /// Whether the last state that was reported is this.
    pub fn reported(&self, state: HostState) -> bool {
        self.reports.iter().any(|report| report.state == state)
    }
}

impl Default for ModelHost {
    fn default() -> Self {
        Self::new()
    }
}

fn exit_at(behaviours: &BTreeMap<Digest, Behaviour>, process: &Process) -> Option<(Timestamp, Exit)> {
    match behaviours.get(&process.digest) {
        Some(Behaviour::Exits { after, code }) => {
            let exit = Exit::code(*code);
            Some((process.started + Millis(*after), exit))
        }
        Some(Behaviour::LeavesWorker { after, code, worker }) => {
            let exit = Exit::code(*code);
            Some((process.started + Millis(*after + *worker), exit))
        }
        _ => None,
    }
}
