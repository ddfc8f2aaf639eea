//! One to three replicas over model disks and a model network, in one thread from one seed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use trimaran_model::time::{Millis, Timestamp};
use trimaran_replica::memory::MemoryStore;
use trimaran_replica::{
    Answer, EntryMeta, Input, InstallJob, Output, Replica, Role, Row, Settings, Waiter, WriteJob, Written,
};
use trimaran_wire::codec::Message as _;
use trimaran_wire::raft::{Blob, ConfState, Message, Snapshot};

use crate::toy::Toy;

type Out = Output<u64, Vec<u8>>;

#[derive(Debug, Clone)]
pub(crate) struct Faults {
    /// Messages lost, per thousand.
    pub(crate) loss: u64,
    pub(crate) delay_max: u64,
    /// Longest write.
    pub(crate) write_max: u64,
    /// A crash of some node about every so many milliseconds; 0 is never.
    pub(crate) crash_every: u64,
    pub(crate) partition_every: u64,
}

/// Where in a write a crash happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Boundary {
    /// Nothing of it reached the disk.
    Before,
    /// It may have, and is not synced.
    During,
    /// It is durable, and the replica was not notified.
    After,
}

#[derive(Debug)]
enum Event {
    Due { node: usize, incarnation: u64 },
    Deliver { node: usize, bytes: Vec<u8> },
    Snapshot { from: usize, incarnation: u64, node: usize, message: Message },
    WriteDone { node: usize, incarnation: u64 },
    Built { node: usize, incarnation: u64, snapshot: Option<Snapshot> },
    Restart { node: usize },
    Crash,
    CrashWriting { node: usize, boundary: Boundary },
    Partition,
    Heal,
    Client,
}

#[derive(Debug)]
enum Job {
    Write(WriteJob),
    Install(InstallJob),
}

struct Node {
    replica: Option<Replica<Toy>>,
    incarnation: u64,
    store: MemoryStore,
    queue: VecDeque<Job>,
    /// What the writer is busy with.
    writing: Vec<Job>,
    due: Option<u64>,
}

/// What a client asked and may still learn.
struct Asked {
    /// `None` for a read.
    value: Option<Vec<u8>>,
    /// The highest acknowledged index when it asked.
    acked: u64,
}

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) trace: u64,
    pub(crate) acked: BTreeMap<u64, Vec<u8>>,
    pub(crate) elections: usize,
    pub(crate) installs: usize,
    pub(crate) reads: usize,
    pub(crate) crashes: usize,
    /// Crashes whoever begins the write of this number.
    pub(crate) crash_at: Option<(usize, Boundary)>,
    /// Writes of these nodes take so long.
    pub(crate) slow: BTreeMap<usize, u64>,
    pub(crate) answers: BTreeMap<Waiter, Answer<u64>>,
    writes: usize,
    voters: usize,
    settings: Settings,
    faults: Faults,
    random: u64,
    nodes: Vec<Node>,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    cut: BTreeSet<usize>,
    snapshots: BTreeMap<Vec<u8>, Vec<Row>>,
    leaders: BTreeMap<u64, usize>,
    committed: BTreeMap<u64, (u64, Vec<u8>)>,
    refused: BTreeSet<Vec<u8>>,
    asked: BTreeMap<Waiter, Asked>,
    clients: bool,
}

impl World {
    pub(crate) fn new(seed: u64, voters: u64, settings: Settings, faults: Faults) -> Self {
        Self::growing(seed, voters, 0, settings, faults)
    }

    /// `voters` members, and `joiners` with an empty disk that are not members yet.
    pub(crate) fn growing(seed: u64, voters: u64, joiners: u64, settings: Settings, faults: Faults) -> Self {
        let members = ConfState { voters: (1..=voters).collect(), ..ConfState::default() };
        let first: Row = (b"first".to_vec(), b"row".to_vec());
        let node = |joins: bool| Node {
            replica: None,
            incarnation: 0,
            store: match joins {
                true => MemoryStore::joining(members.clone()),
                false => MemoryStore::init(members.clone(), std::slice::from_ref(&first)),
            },
            queue: VecDeque::new(),
            writing: Vec::new(),
            due: None,
        };
        let nodes = (0..voters + joiners).map(|n| node(n >= voters)).collect();
        let mut world = Self {
            now: 1000,
            trace: 0,
            acked: BTreeMap::new(),
            elections: 0,
            installs: 0,
            reads: 0,
            crashes: 0,
            crash_at: None,
            slow: BTreeMap::new(),
            answers: BTreeMap::new(),
            writes: 0,
            voters: voters as usize,
            settings,
            faults,
            random: seed,
            nodes,
            events: BTreeMap::new(),
            sequence: 0,
            cut: BTreeSet::new(),
            snapshots: BTreeMap::new(),
            leaders: BTreeMap::new(),
            committed: BTreeMap::new(),
            refused: BTreeSet::new(),
            asked: BTreeMap::new(),
            clients: true,
        };
        for node in 0..world.nodes.len() {
            world.at(0, Event::Restart { node });
        }
        world.at(5, Event::Client);
        world.at(world.faults.crash_every, Event::Crash);
        world.at(world.faults.partition_every, Event::Partition);
        world
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound.max(1)
    }

    fn at(&mut self, delay: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + delay, self.sequence), event);
    }

    pub(crate) fn run(&mut self, length: u64) {
        let end = self.now + length;
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((now, _), event) = entry.remove_entry();
            self.now = now;
            self.note(&event);
            self.handle(event);
        }
        self.now = end;
    }

    /// Ends all faults, starts every node, and runs until all agree or `length` is over.
    pub(crate) fn heal(&mut self, length: u64) {
        self.faults = Faults { loss: 0, delay_max: 5, write_max: 5, crash_every: 0, partition_every: 0 };
        self.cut.clear();
        self.clients = false;
        for node in 0..self.nodes.len() {
            if self.nodes[node].replica.is_none() {
                self.restart(node);
            }
        }
        self.run(length);
        let before = self.acked.len();
        for _ in 0..40 {
            self.propose();
            self.run(500);
        }
        assert!(self.acked.len() > before, "a healed cluster takes writes");
        let all: Vec<_> =
            self.nodes.iter().map(|node| node.replica.as_ref().expect("all run").status()).collect();
        for status in &all {
            assert_eq!((status.applied, status.hash), (all[0].applied, all[0].hash), "replicas agree");
        }
        for (index, value) in &self.acked {
            assert_eq!(
                self.committed.get(index).map(|(_, data)| data),
                Some(value),
                "acknowledged at {index}"
            );
        }
        for (_, data) in self.committed.values() {
            assert!(!self.refused.contains(data), "refused, but applied");
        }
    }

    fn note(&mut self, what: &impl std::fmt::Debug) {
        for byte in format!("{}{what:?}", self.now).bytes() {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn handle(&mut self, event: Event) {
        let (crash_every, partition_every) = (self.faults.crash_every, self.faults.partition_every);
        match event {
            Event::Due { node, incarnation } => {
                if self.nodes[node].incarnation == incarnation {
                    self.nodes[node].due = None;
                    self.step(node, Input::Due);
                }
            }
            Event::Deliver { node, bytes } => {
                let message = Message::from_bytes(&bytes).expect("what was encoded");
                let from = usize::try_from(message.from - 1).unwrap();
                if !self.cut.contains(&node) && !self.cut.contains(&from) {
                    self.step(node, Input::Peer(message));
                }
            }
            Event::Snapshot { from, incarnation, node, message } => {
                let ok = self.nodes[node].replica.is_some() && self.below(1000) >= self.faults.loss;
                let to = node as u64 + 1;
                if ok {
                    self.step(node, Input::Peer(message));
                }
                if self.nodes[from].incarnation == incarnation {
                    self.step(from, Input::SnapshotSent { to, ok });
                }
            }
            Event::WriteDone { node, incarnation } => {
                if self.nodes[node].incarnation == incarnation {
                    self.write_done(node);
                }
            }
            Event::Built { node, incarnation, snapshot } => {
                if self.nodes[node].incarnation == incarnation {
                    let input =
                        snapshot.map_or(Input::SnapshotFailed, |snapshot| Input::SnapshotBuilt { snapshot });
                    self.step(node, input);
                }
            }
            Event::Restart { node } => self.restart(node),
            Event::Crash if crash_every > 0 => {
                let node = self.below(self.nodes.len() as u64) as usize;
                self.crash(node);
                let again = crash_every / 2 + self.below(crash_every);
                self.at(again, Event::Crash);
            }
            Event::Partition if partition_every > 0 => {
                let node = self.below(self.nodes.len() as u64) as usize;
                self.cut.insert(node);
                let (heal, again) = (self.below(4000), partition_every / 2 + self.below(partition_every));
                self.at(heal, Event::Heal);
                self.at(again, Event::Partition);
            }
            Event::CrashWriting { node, boundary } => {
                if boundary == Boundary::After {
                    self.write_to_store(node);
                }
                self.crash_while(node, boundary);
            }
            Event::Crash | Event::Partition => {}
            Event::Heal => self.cut.clear(),
            Event::Client => {
                if self.clients {
                    self.propose();
                    let again = 1 + self.below(20);
                    self.at(again, Event::Client);
                }
            }
        }
    }

    /// Clients ask the node that they believe to lead, and sometimes any other.
    fn propose(&mut self) {
        let guess = self.leaders.last_key_value().map_or(0, |(_, node)| *node);
        let node = match self.below(10) {
            0 => self.below(self.nodes.len() as u64) as usize,
            _ => guess,
        };
        if self.nodes[node].replica.is_none() {
            return;
        }
        let waiter = Waiter(self.sequence);
        self.sequence += 1;
        let acked = self.acked.last_key_value().map_or(0, |(index, _)| *index);
        if self.below(4) == 0 {
            self.asked.insert(waiter, Asked { value: None, acked });
            self.step(node, Input::Read { waiter });
        } else {
            let value = format!("k{}={}", self.below(50), waiter.0).into_bytes();
            self.asked.insert(waiter, Asked { value: Some(value.clone()), acked });
            self.step(node, Input::Propose { waiter, data: value.into() });
        }
    }

    /// Asks one node; the answer will be in `answers`.
    pub(crate) fn ask(&mut self, node: usize, input: impl FnOnce(Waiter) -> Input) -> Waiter {
        let waiter = Waiter(self.sequence);
        self.sequence += 1;
        self.step(node, input(waiter));
        waiter
    }

    pub(crate) fn leader(&self) -> usize {
        *self.leaders.last_key_value().expect("an election was won").1
    }

    pub(crate) fn step_node(&mut self, node: usize, input: Input) {
        self.step(node, input);
    }

    pub(crate) fn crash(&mut self, node: usize) {
        let boundary = if self.below(2) == 0 { Boundary::During } else { Boundary::Before };
        self.crash_while(node, boundary);
    }

    fn crash_while(&mut self, node: usize, boundary: Boundary) {
        if self.nodes[node].replica.is_none() {
            return;
        }
        self.crashes += 1;
        let partly = boundary == Boundary::During;
        let this = &mut self.nodes[node];
        this.replica = None;
        this.incarnation += 1;
        // The write in flight may be on the disk or not, and what was not synced may be gone.
        let writing = std::mem::take(&mut this.writing).into_iter();
        let group: Vec<_> =
            writing.filter_map(|job| if let Job::Write(job) = job { Some(job) } else { None }).collect();
        if partly && !group.is_empty() {
            this.store.write_unsynced(group);
        }
        this.queue.clear();
        let unsynced = this.store.unsynced() as u64;
        let kept = self.below(unsynced + 1) as usize;
        self.nodes[node].store.crash(kept);
        let down = 10 + self.below(3000);
        self.at(down, Event::Restart { node });
    }

    fn restart(&mut self, node: usize) {
        if self.nodes[node].replica.is_some() {
            return;
        }
        let mut settings = self.settings.clone();
        settings.id = node as u64 + 1;
        let this = &self.nodes[node];
        let loaded = this.store.load();
        let mut toy = Toy::default();
        trimaran_replica::StateMachine::restore(
            &mut toy,
            loaded.applied,
            Box::new(this.store.rows().into_iter()),
        )
        .unwrap();
        let replica = Replica::new(settings, toy, loaded).expect("a store always loads");
        self.nodes[node].replica = Some(replica);
        self.nodes[node].due = None;
        self.step(node, Input::Due);
    }

    fn step(&mut self, node: usize, input: Input) {
        let now = Timestamp(self.now);
        let mut out: Vec<Out> = Vec::new();
        let this = &mut self.nodes[node];
        let Some(replica) = &mut this.replica else { return };
        replica.step(now, input, &mut out);
        let applied = replica.take_applied();
        let deadline = replica.next_deadline().map(|at| at.0.max(self.now));
        let incarnation = this.incarnation;
        for (entry, data) in applied {
            let before = self.committed.insert(entry.index, (entry.term, data.clone()));
            assert!(
                before.is_none_or(|before| before == (entry.term, data)),
                "one history at {}",
                entry.index
            );
        }
        for output in out {
            self.note(&output);
            self.output(node, output);
        }
        let this = &mut self.nodes[node];
        if let Some(at) = deadline
            && this.due.is_none_or(|due| at < due)
        {
            this.due = Some(at);
            let delay = at - self.now;
            self.at(delay, Event::Due { node, incarnation });
        }
    }

    fn output(&mut self, node: usize, output: Out) {
        let incarnation = self.nodes[node].incarnation;
        match output {
            Output::Send { to, message, .. } => {
                if self.below(1000) >= self.faults.loss {
                    let delay = 1 + self.below(self.faults.delay_max);
                    let to = usize::try_from(to - 1).unwrap();
                    self.at(delay, Event::Deliver { node: to, bytes: message.to_bytes() });
                }
            }
            Output::Write(job) => {
                self.nodes[node].queue.push_back(Job::Write(job));
                self.start_write(node);
            }
            Output::InstallSnapshot(job) => {
                self.nodes[node].queue.push_back(Job::Install(job));
                self.start_write(node);
            }
            Output::Reply { waiter, answer } => self.answer(waiter, answer),
            Output::Events { .. } => {}
            Output::BuildSnapshot { min_index } => {
                let loaded = self.nodes[node].store.load();
                let snapshot = (loaded.applied.index >= min_index).then(|| {
                    let manifest = format!("{node}/{}/{incarnation}", loaded.applied.index).into_bytes();
                    self.snapshots.insert(manifest.clone(), self.nodes[node].store.rows());
                    let meta = trimaran_wire::raft::SnapshotMeta {
                        index: loaded.applied.index,
                        term: loaded.applied.term,
                        conf_state: loaded.conf_state,
                    };
                    Snapshot { meta, manifest: Blob(manifest.into()) }
                });
                self.at(3, Event::Built { node, incarnation, snapshot });
            }
            Output::SendSnapshot { to, message } => {
                let delay = 5 + self.below(50);
                let to = usize::try_from(to - 1).unwrap();
                self.at(delay, Event::Snapshot { from: node, incarnation, node: to, message });
            }
            Output::Role(change) => {
                if let Role::Leader { .. } = change.role {
                    let before = self.leaders.insert(change.term, node);
                    assert!(before.is_none_or(|before| before == node), "one leader in term {}", change.term);
                    self.elections += usize::from(before.is_none());
                }
            }
            Output::Fatal(fatal) => panic!("node {node}: {fatal}"),
        }
    }

    fn answer(&mut self, waiter: Waiter, answer: Answer<u64>) {
        let Some(asked) = self.asked.remove(&waiter) else {
            let before = self.answers.insert(waiter, answer);
            assert!(before.is_none(), "each waiter is answered once");
            return;
        };
        match (answer, asked.value) {
            (Answer::Applied { entry, reply }, Some(value)) => {
                assert_eq!(reply, entry.index);
                let holders = self.nodes.iter().filter(|node| node.store.holds(entry)).count();
                assert!(holders * 2 > self.voters, "acknowledged at {} on {holders} disks", entry.index);
                self.acked.insert(entry.index, value);
            }
            (Answer::Read { revision }, None) => {
                assert!(revision >= asked.acked, "a read at {revision} after an answer at {}", asked.acked);
                self.reads += 1;
            }
            (Answer::NotLeader { .. } | Answer::Busy(_), Some(value)) => {
                self.refused.insert(value);
            }
            (Answer::NotLeader { .. } | Answer::Busy(_), None) | (Answer::Indeterminate, Some(_)) => {}
            (answer, value) => panic!("{answer:?} to {value:?}"),
        }
    }

    fn start_write(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        if !this.writing.is_empty() {
            return;
        }
        while let Some(job) = this.queue.pop_front() {
            let install = matches!(job, Job::Install(_));
            if install && !this.writing.is_empty() {
                this.queue.push_front(job);
                break;
            }
            this.writing.push(job);
            if install {
                break;
            }
        }
        if !self.nodes[node].writing.is_empty() {
            let (incarnation, delay) = (self.nodes[node].incarnation, 1 + self.below(self.faults.write_max));
            let delay = self.slow.get(&node).copied().unwrap_or(delay);
            self.writes += 1;
            if let Some((number, boundary)) = self.crash_at
                && number == self.writes
            {
                self.at(0, Event::CrashWriting { node, boundary });
            }
            self.at(delay, Event::WriteDone { node, incarnation });
        }
    }

    fn write_done(&mut self, node: usize) {
        let input = self.write_to_store(node);
        self.start_write(node);
        self.step(node, input);
    }

    fn write_to_store(&mut self, node: usize) -> Input {
        let this = &mut self.nodes[node];
        let mut group = Vec::new();
        let mut input = None;
        for job in std::mem::take(&mut this.writing) {
            match job {
                Job::Write(job) => {
                    input = Some(Input::Written(Written { number: job.number }));
                    group.push(job);
                }
                Job::Install(job) => {
                    let rows = self.snapshots[&job.manifest.to_vec()].clone();
                    this.store.install(&job, &rows);
                    self.installs += 1;
                    let number = job.number;
                    input = Some(Input::SnapshotInstalled { number, rows: Box::new(rows.into_iter()) });
                }
            }
        }
        if !group.is_empty() {
            this.store.write(group);
        }
        input.expect("something was written")
    }

    pub(crate) fn set_voters(&mut self, voters: usize) {
        self.voters = voters;
    }

    pub(crate) fn store(&self, node: usize) -> &MemoryStore {
        &self.nodes[node].store
    }

    pub(crate) fn replica(&self, node: usize) -> &Replica<Toy> {
        self.nodes[node].replica.as_ref().expect("it runs")
    }
}

/// The usual settings, with short snapshots so that they happen.
pub(crate) fn settings(seed: u64) -> Settings {
    Settings {
        snapshot_entries: 40,
        kept_entries: 10,
        indeterminate_after: Millis(2000),
        ..Settings::new(1, seed)
    }
}

trait TakeApplied {
    fn take_applied(&mut self) -> Vec<(EntryMeta, Vec<u8>)>;
}

impl TakeApplied for Replica<Toy> {
    fn take_applied(&mut self) -> Vec<(EntryMeta, Vec<u8>)> {
        std::mem::take(&mut self.state_machine_mut().applied)
    }
}
