//! Three coordinators as they run: the members that the server runs, each over a disk that loses what was not synced,
//! with clocks of their own and a network between them; operators as scripts, and one fleet's agent, as a script or with its
//! hosts as they run (`whole`), who talk to any of them. One thread, one seed.
//!
//! Faults: crashes at any moment and for long, pauses, slow disks, messages that are lost or late, cuts between two members
//! in one or both directions, disks with little or no space, boot clocks of different rates, a wall clock that is hours or
//! years wrong, disks that are lost. Members are removed, dead or alive, and replaced by new ones, and leadership is moved,
//! under all of that. With [`Cluster::lose_quorum`] all disks but one are lost, and that one goes on alone; with
//! [`Cluster::restore`] all are, and a backup is restored. With [`Cluster::mix_builds`] the builds of the coordinators differ.
//!
//! Checked on the way: at most one leader a term; equal states at equal revisions; a read is never older than what was
//! answered before it was asked; nothing is passed on twice; the rows of the members are the members that replication goes
//! by; a watcher gets every event once, wherever it goes on; no voter is removed whose loss would end the quorum; who was paused or cut off keeps no lease; cluster time goes
//! on whoever leads, and wall time follows the true one; the leader's disk decides what is accepted; and what
//! `crate::check` says after every applied entry. After
//! [`Cluster::heal`] everything ends, every request is answered as before, and what was acknowledged is there.

mod membership;
mod node;
mod operate;
mod receiving;
mod recovery;
pub mod restore;
mod upgrade;
mod whole;

use std::collections::{BTreeMap, BTreeSet};

use trimaran_member::{DiskLevel, Input, Output, Proposed, ReadAnswer};
use trimaran_model::feature_level::SUPPORTED;
use trimaran_model::time::WallTime;
use trimaran_wire::frame::Frame;
use trimaran_wire::raft::{Message, Snapshot};
use trimaran_wire::v1::command::{CommandBody, Entry};
use trimaran_wire::v1::peer::PeerMessage;

use crate::lab::{WALL, system};
use crate::random::Random;
use crate::trace::Trace;
use crate::world::agent::Agent;
use crate::world::operator::Operators;
use crate::world::site::{Notice, Site, SiteSeen};
use crate::world::watchers::{WatchSeen, Watchers};
use crate::world::{Asker, Faults, WATCHERS_INTERVAL};
use membership::Care;
use node::Node;

pub(crate) const NODES: usize = 3;

/// What goes wrong between the members, beside what goes wrong in each.
#[derive(Debug, Clone, Copy)]
pub struct NetworkFaults {
    /// Of a thousand messages so many are lost.
    pub loss: u64,
    /// The longest delay of a message.
    pub delay_max: u64,
    /// Milliseconds between cuts, about.
    pub cut_every: u64,
}

impl NetworkFaults {
    pub const ROUGH: Self = Self { loss: 20, delay_max: 30, cut_every: 5000 };
    pub const NONE: Self = Self { loss: 0, delay_max: 5, cut_every: 0 };
}

/// Counts, so that a test can say that something happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    pub crashes: usize,
    pub pauses: usize,
    pub cuts: usize,
    pub leaders: usize,
    pub forwarded: usize,
    pub replaced: usize,
    pub transfers: usize,
    pub removals_refused: usize,
    pub snapshots: usize,
    pub reads: usize,
    pub repeated: usize,
    pub results: usize,
    pub runs: usize,
    /// Commands that were refused for want of space.
    pub no_space: usize,
    /// Quorums that were lost for good.
    pub recoveries: usize,
    /// Backups that were restored.
    pub restores: usize,
    /// Starts with another build.
    pub builds: usize,
    /// Builds that ended because the feature level was raised above what they support.
    pub too_old: usize,
    /// Answers to who raised the feature level, and to who asked for what it brings.
    pub finalized: usize,
    pub tokens_for_many: usize,
    pub level_refused: usize,
    /// Meetings of the agent with coordinators of an earlier incarnation than it knows.
    pub earlier_incarnations: usize,
    pub watch: WatchSeen,
    /// Of a world with the agent and its hosts as they run.
    pub site: SiteSeen,
}

impl Seen {
    pub fn add(&mut self, other: &Self) {
        self.crashes += other.crashes;
        self.pauses += other.pauses;
        self.cuts += other.cuts;
        self.leaders += other.leaders;
        self.forwarded += other.forwarded;
        self.replaced += other.replaced;
        self.transfers += other.transfers;
        self.removals_refused += other.removals_refused;
        self.snapshots += other.snapshots;
        self.reads += other.reads;
        self.repeated += other.repeated;
        self.results += other.results;
        self.runs += other.runs;
        self.no_space += other.no_space;
        self.recoveries += other.recoveries;
        self.restores += other.restores;
        self.earlier_incarnations += other.earlier_incarnations;
        self.watch.add(&other.watch);
        self.site.add(&other.site);
        self.builds += other.builds;
        self.too_old += other.too_old;
        self.finalized += other.finalized;
        self.tokens_for_many += other.tokens_for_many;
        self.level_refused += other.level_refused;
    }
}

/// Who reads: by the highest revision that was answered before.
type Reader = u64;
pub(crate) type In = Input<Asker, Reader>;
pub(crate) type Out = Output<Asker, Reader>;

pub(crate) enum Event {
    Due {
        node: usize,
        incarnation: u64,
    },
    WriteDone {
        node: usize,
        incarnation: u64,
    },
    Start {
        node: usize,
    },
    Crash,
    Pause,
    Continue {
        node: usize,
        incarnation: u64,
    },
    Cut,
    Uncut {
        cut: (usize, usize),
    },
    Raft {
        message: Message,
    },
    /// From one raft id to another.
    Peer {
        from: u64,
        to: u64,
        message: PeerMessage,
    },
    Built {
        node: usize,
        incarnation: u64,
        snapshot: Option<Snapshot>,
    },
    Snapshot {
        from: usize,
        incarnation: u64,
        message: Message,
    },
    /// The next write of a snapshot that is received.
    Stage {
        node: usize,
        incarnation: u64,
    },
    SnapshotEnded {
        from: usize,
        incarnation: u64,
        to: u64,
        ok: bool,
    },
    Care,
    Agent,
    AgentCrash,
    Operator,
    Watchers,
    Reader,
    DiskSpace {
        node: usize,
    },
    /// By its number in the site.
    Site(u64),
    Build,
}

/// The world of three.
pub struct Cluster {
    pub seen: Seen,
    pub trace: Trace,
    now: u64,
    random: Random,
    /// Of its own, so that what else happens in a world of one seed does not depend on it.
    disk_random: Random,
    faults: Faults,
    network: NetworkFaults,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    nodes: Vec<Node>,
    care: Care,
    /// From whom to whom nothing arrives.
    cuts: BTreeSet<(usize, usize)>,
    /// Chunks of the snapshots that were built, by their manifest.
    snapshots: BTreeMap<Vec<u8>, Vec<Frame>>,
    leaders: BTreeMap<u64, usize>,
    hashes: BTreeMap<u64, u128>,
    /// The highest revision that anyone was answered.
    answered: u64,
    /// Requests that arrived from each member, by its number.
    arrived: BTreeSet<(u64, u64)>,
    agent: Agent,
    /// The member that the agent talks to, and the revision from which on it has what the agent needs.
    agent_at: (usize, Option<u64>),
    operators: Operators,
    watchers: Watchers,
    /// Coordinators of the incarnations before the present one.
    earlier: Vec<restore::Earlier>,
    /// Coordinators of two builds work together.
    upgrade: Option<upgrade::Upgrade>,
    healing: bool,
    /// The agent and its hosts as they run, instead of the script.
    site: Option<Site>,
    is_whole: bool,
    /// What the site has to take in.
    notices: Vec<(usize, Notice)>,
}

impl Cluster {
    /// A world at its begin; `trace` keeps what happens.
    pub fn new(seed: u64, faults: Faults, network: NetworkFaults, trace: Trace) -> Self {
        let mut engine = trimaran_engine::Engine::new();
        let bootstrap = CommandBody::Bootstrap {
            cluster: "c0".to_owned(),
            wall_ms: WALL,
            incarnation: 1,
            admin_token_sha256: [1; 32],
            admin: "admin".to_owned(),
        };
        let members = (1..=NODES as u64).map(|id| membership::row(id, SUPPORTED));
        let commands = [bootstrap].into_iter().chain(members).map(system).collect();
        let first = engine.apply(1, &Entry { now_ms: 0, commands });
        let rows: Vec<_> = first.rows.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        let mut random = Random::new(seed);
        let nodes = (1..=NODES as u64).map(|id| Node::new(id, 1000, &rows, faults, &mut random)).collect();
        let mut cluster = Self {
            seen: Seen::default(),
            trace,
            now: 1000,
            random,
            disk_random: Random::new(seed ^ 0x0D15_C0DE),
            faults,
            network,
            events: BTreeMap::new(),
            sequence: 0,
            nodes,
            care: Care::default(),
            cuts: BTreeSet::new(),
            snapshots: BTreeMap::new(),
            leaders: BTreeMap::new(),
            hashes: BTreeMap::new(),
            answered: 0,
            arrived: BTreeSet::new(),
            agent: Agent::default(),
            agent_at: (0, None),
            operators: Operators::new(seed),
            watchers: Watchers::new(seed, NODES),
            earlier: Vec::new(),
            upgrade: None,
            healing: false,
            site: None,
            is_whole: false,
            notices: Vec::new(),
        };
        cluster.break_a_wall_clock();
        cluster.care_begins();
        cluster.plan_begin();
        cluster
    }

    /// The members start, everyone begins to work, and things begin to go wrong.
    fn plan_begin(&mut self) {
        let (faults, network) = (self.faults, self.network);
        for node in 0..NODES {
            // One of them may come much later.
            let late = self.random.below(4) == 0 && node > 0;
            let delay = self.random.below(if late { 15_000 } else { 200 });
            self.at(delay, Event::Start { node });
        }
        if faults.disk_full_every > 0 {
            for node in 0..NODES {
                let delay = self.disk_random.below(faults.disk_full_every * 2);
                self.at(delay, Event::DiskSpace { node });
            }
        }
        for (delay, event) in [
            (50, Event::Agent),
            (60, Event::Operator),
            (70, Event::Reader),
            (WATCHERS_INTERVAL, Event::Watchers),
            (3000, Event::Care),
            (faults.crash_every, Event::Crash),
            (faults.pause_every, Event::Pause),
            (faults.agent_crash_every, Event::AgentCrash),
            (network.cut_every, Event::Cut),
        ] {
            self.at(delay, event);
        }
    }

    /// In every third world one machine believes in another date.
    fn break_a_wall_clock(&mut self) {
        const HOUR: i64 = 3_600_000;
        let node = usize::try_from(self.random.below(NODES as u64 * 3)).expect("small");
        let error = *self.random.pick(&[HOUR, -HOUR, 87_600 * HOUR]).expect("there are some");
        if let Some(node) = self.nodes.get_mut(node) {
            node.wall_error = error;
        }
    }

    pub(crate) fn at(&mut self, delay: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + delay, self.sequence), event);
    }

    /// About every so many milliseconds.
    fn again(&mut self, every: u64, event: Event) {
        let delay = every / 2 + self.random.below(every);
        self.at(delay, event);
    }

    pub(crate) fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.line(self.now, what);
    }

    fn wall(&self) -> WallTime {
        WallTime(WALL + i64::try_from(self.now).expect("a short time"))
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
            if !self.notices.is_empty() {
                self.at_site(|_| {});
            }
        }
        self.now = end;
    }

    /// Ends all faults and new work; then everything that began has to end within `length`.
    pub fn heal(&mut self, length: u64) {
        self.note(format_args!("the faults end"));
        (self.faults, self.network) = (Faults::NONE, NetworkFaults::NONE);
        self.cuts.clear();
        self.healing = true;
        (0..NODES).for_each(|node| self.set_disk(node, DiskLevel::Enough));
        self.upgrade_all();
        match self.is_whole {
            true => self.heal_site(length),
            false => self.run(length),
        }
        self.check_end();
        self.watchers.check_end();
        self.seen.watch = self.watchers.seen.clone();
    }

    fn handle(&mut self, event: Event) {
        match event {
            // An earlier moment may have been set after this one was.
            Event::Due { node, incarnation } if self.is_due(node, incarnation) => {
                self.nodes[node].due = None;
                self.input(node, Input::Due);
            }
            Event::Due { .. } => {}
            Event::WriteDone { node, incarnation } => self.write_done(node, incarnation),
            Event::Start { node } => self.start(node),
            Event::Continue { node, incarnation } => self.resume(node, incarnation),
            Event::Crash if self.faults.crash_every > 0 => {
                let node = self.any_node();
                self.crash(node);
                self.again(self.faults.crash_every, Event::Crash);
            }
            Event::Pause if self.faults.pause_every > 0 => {
                let node = self.any_node();
                self.pause(node);
                self.again(self.faults.pause_every, Event::Pause);
            }
            Event::Cut if self.network.cut_every > 0 => {
                self.cut();
                self.again(self.network.cut_every, Event::Cut);
            }
            Event::AgentCrash if self.faults.agent_crash_every > 0 => {
                self.crash_agent();
                self.again(self.faults.agent_crash_every, Event::AgentCrash);
            }
            Event::Crash | Event::Pause | Event::Cut | Event::AgentCrash => {}
            Event::Agent if self.is_whole => {}
            Event::Site(number) => self.at_site(|site| site.on_event(number)),
            Event::Uncut { cut } => drop(self.cuts.remove(&cut)),
            Event::Raft { message } => {
                if let Some(to) = self.node_of(message.to) {
                    self.input(to, Input::Peer(message));
                }
            }
            Event::Peer { from, to, message } => self.deliver(from, to, message),
            Event::Built { node, incarnation, snapshot } => self.built(node, incarnation, snapshot),
            Event::Snapshot { from, incarnation, message } => {
                self.deliver_snapshot((from, incarnation), message);
            }
            Event::Stage { node, incarnation } => self.stage(node, incarnation),
            Event::SnapshotEnded { from, incarnation, to, ok } => self.sent((from, incarnation), to, ok),
            Event::Care => {
                self.care();
                let delay = 200 + self.random.below(800);
                self.at(delay, Event::Care);
            }
            Event::Agent => self.agent_event(),
            Event::Operator => {
                self.check_time();
                self.operators_move();
                self.upgrade_moves();
                let delay = 50 + self.random.below(400);
                self.at(delay, Event::Operator);
            }
            Event::Build => self.change_build(),
            Event::Watchers => {
                self.watchers.moves();
                self.at(WATCHERS_INTERVAL, Event::Watchers);
            }
            Event::DiskSpace { node } => self.disk_changes(node),
            Event::Reader => self.reader_event(),
        }
    }

    fn crash_agent(&mut self) {
        let disk_lost = self.random.below(3) == 0;
        self.note(format_args!("the agent crashes, its disk lost: {disk_lost}"));
        self.agent.crash(disk_lost);
    }

    fn agent_event(&mut self) {
        self.meet_earlier_incarnation();
        self.agent_moves();
        let delay = 20 + self.random.below(150);
        self.at(delay, Event::Agent);
    }

    fn reader_event(&mut self) {
        let (node, floor) = (self.any_node(), self.answered);
        self.input(node, Input::Read { requester: floor });
        let delay = 50 + self.random.below(300);
        self.at(delay, Event::Reader);
    }

    /// A disk with enough space loses it for a while.
    fn disk_changes(&mut self, node: usize) {
        let every = self.faults.disk_full_every;
        if every == 0 {
            return;
        }
        let (level, length) = match self.nodes[node].disk {
            DiskLevel::Enough if self.disk_random.below(2) == 0 => (DiskLevel::Low, 3000),
            DiskLevel::Enough => (DiskLevel::Full, 3000),
            DiskLevel::Low | DiskLevel::Full => (DiskLevel::Enough, every),
        };
        self.set_disk(node, level);
        let length = length / 2 + self.disk_random.below(length);
        self.at(length, Event::DiskSpace { node });
    }

    /// From now on the disk of this member has so much space.
    pub fn set_disk(&mut self, node: usize, level: DiskLevel) {
        self.note(format_args!("the space of the disk of {node}: {level:?}"));
        self.nodes[node].disk = level;
        self.input(node, Input::DiskSpace(level));
    }

    /// From now on the disk of this member does not answer, or does again.
    pub fn hang_disk(&mut self, node: usize, hangs: bool) {
        self.note(format_args!("the disk of {node} hangs: {hangs}"));
        self.nodes[node].disk_hangs = hangs;
    }

    /// The member that leads, as it believes itself.
    pub fn leader(&self) -> Option<usize> {
        self.nodes.iter().position(|node| node.leads_since.is_some())
    }

    pub(crate) fn any_node(&mut self) -> usize {
        usize::try_from(self.random.below(NODES as u64)).expect("small")
    }

    /// Nothing arrives any more from one member at another, or in both directions, or at anyone.
    fn cut(&mut self) {
        self.seen.cuts += 1;
        let (from, to) = (self.any_node(), self.any_node());
        let cuts: Vec<(usize, usize)> = match self.random.below(3) {
            0 => vec![(from, to)],
            1 => vec![(from, to), (to, from)],
            _ => (0..NODES).flat_map(|other| [(from, other), (other, from)]).collect(),
        };
        self.note(format_args!("cut: {cuts:?}"));
        let length = 200 + self.random.below(8000);
        for cut in cuts.into_iter().filter(|(from, to)| from != to) {
            self.cuts.insert(cut);
            self.at(length, Event::Uncut { cut });
        }
    }

    /// Whether a message gets through, and after which delay.
    fn passes(&mut self, from: usize, to: usize) -> Option<u64> {
        if self.cuts.contains(&(from, to)) || self.random.below(1000) < self.network.loss {
            return None;
        }
        Some(1 + self.random.below(self.network.delay_max))
    }

    pub(crate) fn send_raft(&mut self, from: usize, message: Message) {
        let Some(to) = self.node_of(message.to) else { return };
        if let Some(delay) = self.passes(from, to) {
            self.at(delay, Event::Raft { message });
        }
    }

    pub(crate) fn send_peer(&mut self, from: usize, to: u64, message: PeerMessage) {
        let Some(node) = self.node_of(to) else { return };
        if let Some(delay) = self.passes(from, node) {
            let from = self.nodes[from].id;
            self.at(delay, Event::Peer { from, to, message });
        }
    }

    fn deliver(&mut self, from: u64, to: u64, message: PeerMessage) {
        let Some(node) = self.node_of(to) else { return };
        if let PeerMessage::Command { number, .. } = &message {
            self.seen.forwarded += 1;
            assert!(self.arrived.insert((from, *number)), "a command is passed on twice");
        }
        self.input(node, Input::PeerMessage { from, message });
    }

    pub(crate) fn answer_read(&mut self, node: usize, floor: Reader, answer: &ReadAnswer) {
        if let ReadAnswer::At(revision) = answer {
            self.seen.reads += 1;
            assert!(*revision >= floor, "node {node} reads at {revision}, and {floor} was answered before");
        }
    }

    pub(crate) fn answer(&mut self, node: usize, asker: Asker, answer: Proposed) {
        self.note(format_args!("{asker:?} is answered {answer:?} by {node}"));
        match asker {
            Asker::Members(number) => return self.members_answered(number, answer),
            Asker::Upgrade => return self.upgrade_answered(&answer),
            _ => {}
        }
        let Proposed::Done { revision, outcome } = answer else {
            return match asker {
                Asker::Attach(_) => self.agent_leaves(),
                Asker::Request(number) => self.operators.not_accepted(number),
                Asker::Internal | Asker::Result(_) | Asker::Members(_) | Asker::Upgrade => {}
                Asker::Session { link, number, .. } => {
                    self.notify_site(node, Notice::Answered { link, number, answer });
                }
            };
        };
        self.answered = self.answered.max(revision);
        match asker {
            Asker::Internal | Asker::Members(_) | Asker::Upgrade => {}
            Asker::Session { link, number, .. } => {
                let answer = Proposed::Done { revision, outcome };
                self.notify_site(node, Notice::Answered { link, number, answer });
            }
            Asker::Attach(incarnation) => {
                self.agent.attached(incarnation, &outcome);
                if self.agent_at.0 == node {
                    self.agent_at.1 = Some(revision);
                }
            }
            Asker::Result(assignment) => {
                self.seen.results += 1;
                self.agent.answered(assignment, &outcome);
            }
            Asker::Request(number) => self.seen.repeated += self.operators.answered(number, outcome),
        }
    }
}
