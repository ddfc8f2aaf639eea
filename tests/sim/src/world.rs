//! One coordinator as it runs: the engine behind a real replica with one voter, over a disk that loses what was
//! not synced; and a fleet's agent and operators as scripts. One thread, one seed.
//!
//! Checked on the way: an answer comes only after its entry is durable; a result of an agent is never answered
//! as unknown, and gets only fences that grow; a request that is repeated over crashes is answered as before; and
//! what `crate::check` says after every applied entry. After [`World::heal`] everything has to end.

mod agent;
mod operator;
mod owner;

use std::collections::{BTreeMap, VecDeque};

use trimaran_engine::Outcome;
use trimaran_model::time::Timestamp;
use trimaran_replica::memory::MemoryStore;
use trimaran_replica::{
    Answer, Input, Output, Replica, Settings, StateMachine as _, Waiter, WriteJob, Written,
};
use trimaran_wire::raft::ConfState;
use trimaran_wire::v1::command::{Command, CommandBody, Entry};

use crate::lab::{WALL, system};
use crate::random::Random;
use agent::Agent;
use operator::Operators;
use owner::{EngineMachine, Owner};

/// What goes wrong, and how often; 0 is never.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// Milliseconds between crashes of the coordinator, about.
    pub crash_every: u64,
    /// Milliseconds between crashes of the agent; every third time it loses its disk.
    pub agent_crash_every: u64,
    /// The longest write.
    pub write_max: u64,
    /// Of a hundred results so many are failures, and so many faults of the platform.
    pub failures: u64,
    pub faults: u64,
    /// The disk says that it synced and did not: a defect that has to be found.
    pub forgets_sync: bool,
}

impl Faults {
    pub const ROUGH: Self = Self {
        crash_every: 4000,
        agent_crash_every: 40_000,
        write_max: 40,
        failures: 10,
        faults: 8,
        forgets_sync: false,
    };
    const NONE: Self = Self {
        crash_every: 0,
        agent_crash_every: 0,
        write_max: 5,
        failures: 0,
        faults: 0,
        forgets_sync: false,
    };
}

/// Counts, so that a test can say that something happened.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub crashes: usize,
    pub agent_crashes: usize,
    pub entries: usize,
    pub results: usize,
    pub repeated: usize,
    pub runs: usize,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Due { incarnation: u64 },
    WriteDone { incarnation: u64 },
    Start,
    Crash,
    Agent,
    AgentCrash,
    Operator,
}

/// Who asked for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    Internal,
    /// The attach of the agent's incarnation of this number.
    Attach(u64),
    /// The result of this assignment.
    Result(u64),
    /// The operators' request of this number.
    Request(u64),
}

type Out = Output<Vec<Outcome>, trimaran_engine::Event>;

/// The world.
pub struct World {
    pub seen: Seen,
    now: u64,
    random: Random,
    faults: Faults,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    incarnation: u64,
    store: MemoryStore,
    writing: Vec<WriteJob>,
    jobs: VecDeque<WriteJob>,
    due: Option<u64>,
    owner: Option<Owner>,
    agent: Agent,
    operators: Operators,
    healing: bool,
}

impl World {
    pub fn new(seed: u64, faults: Faults) -> Self {
        let mut engine = trimaran_engine::Engine::new();
        let bootstrap = CommandBody::Bootstrap {
            cluster: "c0".to_owned(),
            wall_ms: WALL,
            incarnation: 1,
            admin_token_sha256: [1; 32],
            admin: "admin".to_owned(),
        };
        let first = engine.apply(1, &Entry { now_ms: 0, commands: vec![system(bootstrap)] });
        let rows: Vec<_> = first.rows.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        let members = ConfState { voters: vec![1], ..ConfState::default() };
        let mut world = Self {
            seen: Seen::default(),
            now: 1000,
            random: Random::new(seed),
            faults,
            events: BTreeMap::new(),
            sequence: 0,
            incarnation: 0,
            store: MemoryStore::init(members, &rows),
            writing: Vec::new(),
            jobs: VecDeque::new(),
            due: None,
            owner: None,
            agent: Agent::default(),
            operators: Operators::new(seed),
            healing: false,
        };
        world.at(0, Event::Start);
        world.at(50, Event::Agent);
        world.at(60, Event::Operator);
        world.at(faults.crash_every, Event::Crash);
        world.at(faults.agent_crash_every, Event::AgentCrash);
        world
    }

    fn at(&mut self, delay: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + delay, self.sequence), event);
    }

    /// Lets so many virtual milliseconds pass.
    pub fn run(&mut self, length: u64) {
        let end = self.now + length;
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((now, _), event) = entry.remove_entry();
            self.now = now;
            self.handle(event);
        }
        self.now = end;
    }

    /// Ends all faults and new work; then everything that began has to end within `length`.
    pub fn heal(&mut self, length: u64) {
        self.faults = Faults::NONE;
        self.healing = true;
        self.run(length);
        let owner = self.owner.as_ref().expect("a healed coordinator runs");
        let left = owner.live_runs();
        assert!(left.is_empty(), "these never end: {left:?}");
        self.operators.check(owner.rows());
        self.seen.runs = self.operators.runs();
    }

    fn handle(&mut self, event: Event) {
        match event {
            // An earlier moment may have been set after this one was.
            Event::Due { incarnation } if incarnation == self.incarnation && self.due == Some(self.now) => {
                self.due = None;
                self.step(Input::Due);
                self.work();
            }
            Event::WriteDone { incarnation } if incarnation == self.incarnation => self.write_done(),
            Event::Due { .. } | Event::WriteDone { .. } => {}
            Event::Start => self.start(),
            Event::Crash => {
                if self.faults.crash_every > 0 {
                    self.crash();
                    let again = self.faults.crash_every / 2 + self.random.below(self.faults.crash_every);
                    self.at(again, Event::Crash);
                }
            }
            Event::Agent => {
                self.agent_moves();
                let again = 20 + self.random.below(150);
                self.at(again, Event::Agent);
            }
            Event::AgentCrash => {
                if self.faults.agent_crash_every > 0 {
                    self.seen.agent_crashes += 1;
                    self.agent.crash(self.random.below(3) == 0);
                    let every = self.faults.agent_crash_every;
                    let again = every / 2 + self.random.below(every);
                    self.at(again, Event::AgentCrash);
                }
            }
            Event::Operator => {
                self.operators_move();
                let again = 50 + self.random.below(400);
                self.at(again, Event::Operator);
            }
        }
    }

    fn start(&mut self) {
        if self.owner.is_some() {
            return;
        }
        let loaded = self.store.load();
        let mut machine = EngineMachine::default();
        machine.restore(loaded.applied, Box::new(self.store.rows().into_iter())).expect("rows of an engine");
        let mut settings = Settings::new(1, self.random.number());
        (settings.snapshot_entries, settings.kept_entries) = (60, 20);
        let replica = Replica::new(settings, machine, loaded).expect("a store always loads");
        self.owner = Some(Owner::new(replica, self.now));
        self.due = None;
        self.step(Input::Due);
        self.work();
    }

    /// The process ends in the middle of whatever it does, and the disk loses what was not synced.
    fn crash(&mut self) {
        if self.owner.take().is_none() {
            return;
        }
        self.seen.crashes += 1;
        self.incarnation += 1;
        let group = std::mem::take(&mut self.writing);
        if !group.is_empty() && self.random.below(2) == 0 {
            self.store.write_unsynced(group);
        }
        self.jobs.clear();
        let kept = self.random.below(self.store.unsynced() as u64 + 1);
        self.store.crash(usize::try_from(kept).expect("few groups"));
        self.agent.session_lost();
        self.operators.session_lost();
        let down = 10 + self.random.below(1500);
        self.at(down, Event::Start);
    }

    /// Sends the coordinator a command; it is lost when that is down.
    fn ask(&mut self, command: Command, asker: Asker) {
        if let Some(owner) = &mut self.owner {
            owner.take(command, asker);
            self.work();
        }
    }

    /// What the owner of the state does beside its inputs: the leader's own commands, and what waits.
    fn work(&mut self) {
        let Some(owner) = &mut self.owner else { return };
        owner.own_commands(self.now);
        while let Some(input) = self.owner.as_mut().and_then(|owner| owner.next_proposal(self.now)) {
            self.step(input);
        }
        if let Some(at) = self.owner.as_ref().and_then(|owner| owner.next_timer(self.now))
            && self.due.is_none_or(|due| at < due)
        {
            self.wake(at);
        }
    }

    fn wake(&mut self, at: u64) {
        let (delay, incarnation) = (at.saturating_sub(self.now).max(1), self.incarnation);
        self.due = Some(self.now + delay);
        self.at(delay, Event::Due { incarnation });
    }

    fn step(&mut self, input: Input) {
        let Some(owner) = &mut self.owner else { return };
        let mut out: Vec<Out> = Vec::new();
        owner.replica.step(Timestamp(self.now), input, &mut out);
        let deadline = owner.replica.next_deadline().map(|at| at.0.max(self.now));
        for output in out {
            self.output(output);
        }
        if let Some(at) = deadline
            && self.due.is_none_or(|due| at < due)
        {
            self.wake(at);
        }
    }

    fn output(&mut self, output: Out) {
        match output {
            Output::Write(job) => {
                self.jobs.push_back(job);
                self.start_write();
            }
            Output::Reply { waiter, answer } => self.reply(waiter, answer),
            Output::Events { .. } => self.seen.entries += 1,
            Output::Fatal(fatal) => panic!("{fatal}"),
            Output::Role(_) => {}
            Output::Send { .. } | Output::SendSnapshot { .. } | Output::BuildSnapshot { .. } => {
                panic!("one voter has no peers")
            }
            Output::InstallSnapshot(_) => panic!("no peer sends snapshots"),
        }
    }

    fn reply(&mut self, waiter: Waiter, answer: Answer<Vec<Outcome>>) {
        let askers = self.owner.as_mut().map(|owner| owner.answered(waiter)).unwrap_or_default();
        let Answer::Applied { entry, reply } = answer else {
            // Nothing happened: whoever asked asks again.
            for asker in askers {
                match asker {
                    Asker::Attach(_) => self.agent.session_lost(),
                    Asker::Request(number) => self.operators.not_taken(number),
                    Asker::Internal | Asker::Result(_) => {}
                }
            }
            return;
        };
        assert!(self.store.holds(entry), "entry {} is answered and not durable", entry.index);
        for (asker, outcome) in askers.into_iter().zip(reply) {
            match asker {
                Asker::Internal => {}
                Asker::Attach(incarnation) => self.agent.attached(incarnation, &outcome),
                Asker::Result(assignment) => {
                    self.seen.results += 1;
                    self.agent.answered(assignment, &outcome);
                }
                Asker::Request(number) => self.seen.repeated += self.operators.answered(number, outcome),
            }
        }
    }

    fn start_write(&mut self) {
        if !self.writing.is_empty() || self.jobs.is_empty() {
            return;
        }
        self.writing = self.jobs.drain(..).collect();
        let (delay, incarnation) = (1 + self.random.below(self.faults.write_max), self.incarnation);
        self.at(delay, Event::WriteDone { incarnation });
    }

    fn write_done(&mut self) {
        let mut group = std::mem::take(&mut self.writing);
        let Some(number) = group.last().map(|job| job.number) else { return };
        if self.faults.forgets_sync {
            group.iter_mut().for_each(|job| job.sync = false);
        }
        self.store.write(group);
        self.start_write();
        self.step(Input::Written(Written { number }));
        self.work();
    }

    fn agent_moves(&mut self) {
        let Some(owner) = &self.owner else { return };
        let moves = self.agent.moves(owner.rows(), &mut self.random, self.faults);
        for (command, asker) in moves {
            self.ask(command, asker);
        }
    }

    fn operators_move(&mut self) {
        let Some(owner) = &self.owner else { return };
        let wall = owner.wall(self.now);
        let moves = self.operators.moves(owner.rows(), wall, self.healing);
        for (command, asker) in moves {
            self.ask(command, asker);
        }
    }
}
