//! Replicas over model disks, model clocks and a model network, in one thread from one seed.

mod clients;
mod disk;
mod injection;
mod membership;
mod network;
mod receiving;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use trimaran_model::time::{Millis, Timestamp};
use trimaran_replica::memory::MemoryStore;
use trimaran_replica::staging::Staged;
use trimaran_replica::{
    Answer, EntryMeta, Fatal, Input, Output, Replica, Role, Row, Settings, StateMachine, Waiter,
};
use trimaran_wire::frame::Frame;
use trimaran_wire::raft::{ConfState, Message, Snapshot};

use crate::faults::{CALM, Fault, Faults};
use crate::random::Random;
use crate::toy::{MEMBERS, Toy, members_row};
use clients::Asked;
pub(crate) use disk::Boundary;
use disk::Job;
use membership::Membership;
use receiving::Receiving;

type Out = Output<u64, Vec<u8>>;

#[derive(Debug)]
enum Event {
    Due { node: usize, incarnation: u64 },
    Deliver { node: usize, bytes: Vec<u8> },
    Snapshot { from: usize, incarnation: u64, node: usize, message: Message },
    Stage { node: usize, incarnation: u64 },
    SnapshotEnded { from: usize, incarnation: u64, to: u64, ok: bool },
    WriteDone { node: usize, incarnation: u64 },
    Built { node: usize, incarnation: u64, snapshot: Option<Snapshot> },
    Restart { node: usize },
    CrashWriting { node: usize, boundary: Boundary },
    Fault(Fault),
    Uncut { links: Vec<(usize, usize)> },
    FastDisk { node: usize },
    Client,
}

impl Event {
    /// Whose process has to run for it.
    fn node(&self) -> Option<usize> {
        match self {
            Self::Due { node, .. }
            | Self::Deliver { node, .. }
            | Self::Snapshot { node, .. }
            | Self::Stage { node, .. }
            | Self::SnapshotEnded { from: node, .. }
            | Self::WriteDone { node, .. }
            | Self::Built { node, .. } => Some(*node),
            Self::Restart { .. }
            | Self::CrashWriting { .. }
            | Self::Fault(_)
            | Self::Uncut { .. }
            | Self::FastDisk { .. }
            | Self::Client => None,
        }
    }
}

struct Node {
    replica: Option<Replica<Toy>>,
    incarnation: u64,
    store: MemoryStore,
    queue: VecDeque<Job>,
    /// What the writer is busy with.
    writing: Vec<Job>,
    receiving: Option<Receiving>,
    /// Generations of rows whose messages were stepped.
    staged: Staged<u64>,
    due: Option<u64>,
    /// Thousandths by which its clock is faster than the world's.
    rate: u64,
    paused_until: u64,
    /// Its next write fails.
    disk_fails: bool,
    /// Its disk is lost: it never starts again.
    gone: bool,
}

impl Node {
    fn new(store: MemoryStore, rate: u64) -> Self {
        Self {
            replica: None,
            incarnation: 0,
            store,
            queue: VecDeque::new(),
            writing: Vec::new(),
            receiving: None,
            staged: Staged::default(),
            due: None,
            rate,
            paused_until: 0,
            disk_fails: false,
            gone: false,
        }
    }

    fn local(&self, now: u64) -> u64 {
        now * self.rate / 1000
    }

    /// How long until the local time `at`.
    fn delay_until(&self, at: u64, now: u64) -> u64 {
        (at * 1000).div_ceil(self.rate).saturating_sub(now)
    }
}

/// What happened, so that tests can tell that it did.
#[derive(Debug, Default, Clone)]
pub(crate) struct Counts {
    pub(crate) elections: usize,
    pub(crate) installs: usize,
    /// Snapshots whose rows did not arrive whole.
    pub(crate) refused_snapshots: usize,
    pub(crate) reads: usize,
    pub(crate) crashes: usize,
    pub(crate) failed_writes: usize,
    pub(crate) wipes: usize,
    pub(crate) members_changed: usize,
    pub(crate) replaced: usize,
    pub(crate) transfers: usize,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.elections += other.elections;
        self.installs += other.installs;
        self.refused_snapshots += other.refused_snapshots;
        self.reads += other.reads;
        self.crashes += other.crashes;
        self.failed_writes += other.failed_writes;
        self.wipes += other.wipes;
        self.members_changed += other.members_changed;
        self.replaced += other.replaced;
        self.transfers += other.transfers;
    }
}

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) trace: u64,
    pub(crate) acked: BTreeMap<u64, Vec<u8>>,
    pub(crate) counts: Counts,
    /// Crashes whoever begins the write of this number.
    pub(crate) crash_at: Option<(usize, Boundary)>,
    /// Writes of these nodes take so long.
    pub(crate) slow: BTreeMap<usize, u64>,
    pub(crate) answers: BTreeMap<Waiter, Answer<u64>>,
    writes: usize,
    settings: Settings,
    faults: Faults,
    random: Random,
    nodes: Vec<Node>,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    cut: BTreeSet<(usize, usize)>,
    /// Chunks of the snapshots that were built, by their manifest.
    snapshots: BTreeMap<Vec<u8>, Vec<Frame>>,
    leaders: BTreeMap<u64, usize>,
    committed: BTreeMap<u64, (u64, Vec<u8>)>,
    hashes: BTreeMap<u64, u128>,
    refused: BTreeSet<Vec<u8>>,
    asked: BTreeMap<Waiter, Asked>,
    membership: Membership,
    clients: bool,
}

impl World {
    pub(crate) fn new(seed: u64, voters: u64, settings: Settings, faults: Faults) -> Self {
        Self::growing(seed, voters, 0, settings, faults)
    }

    /// `voters` members, and `joiners` with an empty disk that are not members yet.
    pub(crate) fn growing(seed: u64, voters: u64, joiners: u64, settings: Settings, faults: Faults) -> Self {
        let members = ConfState { voters: (1..=voters).collect(), ..ConfState::default() };
        let rows: [Row; 2] =
            [(b"first".to_vec(), b"row".to_vec()), (MEMBERS.to_vec(), members_row(&members))];
        let mut world = Self {
            now: 1000,
            trace: 0,
            acked: BTreeMap::new(),
            counts: Counts::default(),
            crash_at: None,
            slow: BTreeMap::new(),
            answers: BTreeMap::new(),
            writes: 0,
            settings,
            faults,
            random: Random(seed),
            nodes: Vec::new(),
            events: BTreeMap::new(),
            sequence: 0,
            cut: BTreeSet::new(),
            snapshots: BTreeMap::new(),
            leaders: BTreeMap::new(),
            committed: BTreeMap::new(),
            hashes: BTreeMap::new(),
            refused: BTreeSet::new(),
            asked: BTreeMap::new(),
            membership: Membership::default(),
            clients: true,
        };
        for _ in 0..voters {
            world.add_node(MemoryStore::init(members.clone(), &rows));
        }
        for _ in 0..joiners {
            world.add_node(MemoryStore::joining(members.clone()));
        }
        world.at(5, Event::Client);
        let faults = world.faults.clone();
        world.set_faults(faults);
        world
    }

    /// From now on these faults happen.
    pub(crate) fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
        for fault in Fault::ALL {
            self.at(self.faults.period(fault), Event::Fault(fault));
        }
    }

    fn add_node(&mut self, store: MemoryStore) -> usize {
        let spread = self.faults.clock_rate;
        let rate = 1000 - spread + self.below(2 * spread + 1);
        self.nodes.push(Node::new(store, rate));
        let node = self.nodes.len() - 1;
        self.at(0, Event::Restart { node });
        node
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    fn any_node(&mut self) -> usize {
        usize::try_from(self.below(self.nodes.len() as u64)).expect("below a length")
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
        self.faults = CALM;
        self.cut.clear();
        self.slow.clear();
        self.clients = false;
        for node in 0..self.nodes.len() {
            self.nodes[node].disk_fails = false;
            self.nodes[node].paused_until = self.now;
            self.restart(node);
        }
        self.run(length);
        let before = self.acked.len();
        for _ in 0..40 {
            self.propose();
            self.run(150);
        }
        assert!(self.acked.len() > before, "a healed cluster takes writes");
        self.check_agreement();
    }

    fn check_agreement(&self) {
        let members = self.members();
        assert!(members.voters_outgoing.is_empty(), "a joint configuration ends: {members:?}");
        let ids = members.voters.iter().chain(&members.learners);
        let all: Vec<_> = ids
            .map(|id| usize::try_from(*id - 1).expect("ids are small"))
            .filter(|node| !self.nodes[*node].gone)
            .map(|node| self.replica(node).status())
            .collect();
        for status in &all {
            assert_eq!((status.applied, status.hash), (all[0].applied, all[0].hash), "replicas agree");
            assert_eq!(members_row(&status.members), members_row(&members));
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
        assert!(self.asked.is_empty() || self.counts.crashes > 0, "who asks is answered");
    }

    fn note(&mut self, what: &impl std::fmt::Debug) {
        for byte in format!("{}{what:?}", self.now).bytes() {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn handle(&mut self, event: Event) {
        if let Some(node) = event.node()
            && self.nodes[node].paused_until > self.now
        {
            self.at(self.nodes[node].paused_until - self.now, event);
            return;
        }
        match event {
            Event::Due { node, incarnation } => {
                if self.nodes[node].incarnation == incarnation {
                    self.nodes[node].due = None;
                    self.step(node, Input::Due);
                }
            }
            Event::Deliver { node, bytes } => self.deliver(node, &bytes),
            Event::Snapshot { from, incarnation, node, message } => {
                self.deliver_snapshot(from, incarnation, node, message);
            }
            Event::Stage { node, incarnation } => self.stage(node, incarnation),
            Event::SnapshotEnded { from, incarnation, to, ok } => {
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
            Event::CrashWriting { node, boundary } => {
                if boundary == Boundary::After {
                    self.write_to_store(node);
                }
                self.crash_while(node, boundary);
            }
            Event::Fault(fault) => {
                let period = self.faults.period(fault);
                if period > 0 {
                    self.inject(fault);
                    let again = period / 2 + self.below(period);
                    self.at(again, Event::Fault(fault));
                }
            }
            Event::Uncut { links } => {
                for link in links {
                    self.cut.remove(&link);
                }
            }
            Event::FastDisk { node } => {
                self.slow.remove(&node);
            }
            Event::Client => {
                if self.clients {
                    self.propose();
                    let again = 1 + self.below(20);
                    self.at(again, Event::Client);
                }
            }
        }
    }

    pub(crate) fn leader(&self) -> usize {
        *self.leaders.last_key_value().expect("an election was won").1
    }

    fn restart(&mut self, node: usize) {
        if self.nodes[node].replica.is_some() || self.nodes[node].gone {
            return;
        }
        let mut settings = self.settings.clone();
        settings.id = node as u64 + 1;
        let this = &self.nodes[node];
        let (loaded, rows) = (this.store.load(), this.store.rows());
        if let Some((_, row)) = rows.iter().find(|(key, _)| key == MEMBERS) {
            let known = String::from_utf8_lossy(row);
            let found = members_row(&loaded.conf_state);
            assert_eq!(known, String::from_utf8_lossy(&found), "the members and their row agree");
        }
        let mut toy = Toy::default();
        toy.restore(loaded.applied, Box::new(rows.into_iter())).unwrap();
        let replica = Replica::new(settings, toy, loaded).expect("a store always loads");
        self.nodes[node].replica = Some(replica);
        self.nodes[node].due = None;
        self.step(node, Input::Due);
    }

    fn step(&mut self, node: usize, input: Input) {
        let now = self.now;
        let mut out: Vec<Out> = Vec::new();
        let this = &mut self.nodes[node];
        let local = this.local(now);
        let Some(replica) = &mut this.replica else { return };
        let members = replica.members();
        replica.step(Timestamp(local), input, &mut out);
        let applied = std::mem::take(&mut replica.state_machine_mut().applied);
        let (at, hash) = (replica.applied().index, replica.state_machine().hash());
        let deadline = replica.next_deadline().map(|at| now + this.delay_until(at.0, now));
        let incarnation = this.incarnation;
        for (entry, data) in applied {
            let before = self.committed.insert(entry.index, (entry.term, data.clone()));
            let same = before.is_none_or(|before| before == (entry.term, data));
            assert!(same, "one history at {}", entry.index);
        }
        let before = self.hashes.insert(at, hash);
        assert!(before.is_none_or(|before| before == hash), "one state at {at}");
        for output in out {
            self.note(&output);
            self.output(node, output, &members);
        }
        self.remove_unwanted(node);
        let this = &mut self.nodes[node];
        if let Some(at) = deadline
            && this.incarnation == incarnation
            && this.due.is_none_or(|due| at < due)
        {
            this.due = Some(at);
            self.at(at - now, Event::Due { node, incarnation });
        }
    }

    fn output(&mut self, node: usize, output: Out, members_before: &ConfState) {
        match output {
            Output::Send { to, message, .. } => self.send(node, to, &message),
            Output::Write(job) => self.enqueue(node, Job::Write(job)),
            Output::InstallSnapshot(job) => {
                let at = EntryMeta { index: job.meta.index, term: job.meta.term };
                let generation = self.nodes[node].staged.take(at).expect("its rows are staged");
                self.enqueue(node, Job::Install(job, generation));
            }
            Output::Reply { waiter, answer } => self.answer(node, waiter, answer, members_before),
            Output::Events { .. } | Output::StateReplaced { .. } => {}
            Output::BuildSnapshot { min_index } => self.build_snapshot(node, min_index),
            Output::SendSnapshot { to, message } => self.send_snapshot(node, to, message),
            Output::Role(change) => {
                if let Role::Leader { .. } = change.role {
                    let before = self.leaders.insert(change.term, node);
                    assert!(before.is_none_or(|before| before == node), "one leader in term {}", change.term);
                    self.counts.elections += usize::from(before.is_none());
                }
            }
            Output::Fatal(Fatal::Write { .. }) if self.nodes[node].disk_fails => {
                self.nodes[node].disk_fails = false;
                self.counts.failed_writes += 1;
                self.crash_while(node, Boundary::Before);
            }
            Output::Fatal(fatal) => panic!("node {node}: {fatal}"),
        }
    }

    /// The members as the replica knows them that has applied most.
    fn members(&self) -> ConfState {
        let known = self.nodes.iter().filter_map(|node| node.replica.as_ref());
        let furthest = known.max_by_key(|replica| replica.applied().index).expect("someone runs");
        furthest.members()
    }

    pub(crate) fn store(&self, node: usize) -> &MemoryStore {
        &self.nodes[node].store
    }

    pub(crate) fn replica(&self, node: usize) -> &Replica<Toy> {
        self.nodes[node].replica.as_ref().expect("it runs")
    }

    pub(crate) fn entry_data(&self, entry: EntryMeta) -> Option<&Vec<u8>> {
        self.committed.get(&entry.index).map(|(_, data)| data)
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
