//! One coordinator of three: its member, its disk, its clocks.

use std::collections::VecDeque;

use trimaran_member::{DiskLevel, EngineMachine as _, Input, Member, Output, Proposed, StateChange};
use trimaran_model::feature_level::{Levels, SUPPORTED};
use trimaran_model::limits::QUORUM_LEASE;
use trimaran_model::time::{Timestamp, WallTime};
use trimaran_replica::io::Role;
use trimaran_replica::memory::MemoryStore;
use trimaran_replica::staging::Staged;
use trimaran_replica::{
    EntryMeta, InstallJob, Replica, Row, Settings, StateMachine as _, WriteGroup, WriteJob, Written,
};
use trimaran_wire::raft::ConfState;
use trimaran_wire::v1::peer::{PeerMessage, WireProposed};

use super::receiving::Receiving;
use super::{Cluster, Event, In, NODES, Out, membership};
use crate::random::Random;
use crate::world::clock::Clock;
use crate::world::machine::CheckedMachine;
use crate::world::site::Notice;
use crate::world::{Asker, Faults};

/// How soon a write that hangs may end once the disk answers again.
const HANGING_DISK_ASKED: u64 = 20;

/// What waits for the disk.
enum Job {
    Write(WriteJob),
    /// With the generation of its rows.
    Install(InstallJob, u64),
}

enum Writing {
    Group(WriteGroup),
    Install(InstallJob, u64),
}

pub(super) struct Node {
    /// The feature levels that its build supports.
    pub(super) levels: Levels,
    /// Its raft id: another one after its disk was lost.
    pub(super) id: u64,
    pub(super) member: Option<Member<CheckedMachine, Asker, u64>>,
    pub(super) clock: Clock,
    /// Milliseconds that its wall clock is wrong.
    pub(super) wall_error: i64,
    pub(super) disk: DiskLevel,
    /// Its disk does not answer.
    pub(super) disk_hangs: bool,
    /// What the member knows of it: a process that is paused learns it later.
    disk_known: DiskLevel,
    pub(super) store: MemoryStore,
    jobs: VecDeque<Job>,
    writing: Option<Writing>,
    pub(super) receiving: Option<Receiving>,
    /// Generations of rows whose messages were stepped.
    pub(super) staged: Staged<u64>,
    pub(super) due: Option<u64>,
    pub(super) incarnation: u64,
    /// What waits for a process that is paused, and since when.
    paused: Option<(u64, Vec<In>)>,
    /// True time at which it continued after its last pause.
    pub(super) continued_at: u64,
    /// True time and cluster time since which it leads.
    pub(super) leads_since: Option<(u64, Timestamp)>,
}

impl Node {
    pub(super) fn new(id: u64, now: u64, rows: &[Row], faults: Faults, random: &mut Random) -> Self {
        let members = ConfState { voters: (1..=NODES as u64).collect(), ..ConfState::default() };
        Self {
            levels: SUPPORTED,
            id,
            member: None,
            clock: Clock::boot(now, faults.drift_ppm, random),
            wall_error: 0,
            disk: DiskLevel::Enough,
            disk_hangs: false,
            disk_known: DiskLevel::Enough,
            store: MemoryStore::init(members, rows),
            jobs: VecDeque::new(),
            writing: None,
            receiving: None,
            staged: Staged::default(),
            due: None,
            incarnation: 0,
            paused: None,
            continued_at: 0,
            leads_since: None,
        }
    }

    /// Another disk, that of a new member, in the place of the old one.
    pub(super) fn replace_disk(&mut self, id: u64, members: ConfState) {
        assert!(self.member.is_none(), "no process uses the disk");
        (self.id, self.store) = (id, MemoryStore::joining(members));
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.is_some()
    }
}

impl Cluster {
    pub(super) fn is_due(&self, node: usize, incarnation: u64) -> bool {
        self.nodes[node].incarnation == incarnation && self.nodes[node].due == Some(self.now)
    }

    pub(super) fn start(&mut self, node: usize) {
        let now = self.now;
        let drift = self.faults.drift_ppm;
        let it = &mut self.nodes[node];
        if it.member.is_some() || self.care.keeps_down(node) {
            return;
        }
        let loaded = it.store.load();
        let mut machine = CheckedMachine::new(it.levels);
        let rows = Box::new(it.store.rows().into_iter());
        if let Err(error) = machine.restore(loaded.applied, rows) {
            assert!(self.ends_as_too_old(node), "rows of an engine: {}", error.why);
            return self.at(10, Event::Start { node });
        }
        let mut settings = Settings::new(it.id, self.random.number());
        (settings.snapshot_entries, settings.kept_entries) = (12, 4);
        let revision = loaded.applied.index;
        let replica = Replica::new(settings, machine, loaded).expect("a store always loads");
        if self.random.below(3) == 0 {
            it.clock = Clock::boot(now, drift, &mut self.random);
        }
        let first_number = (node as u64) << 56 | it.incarnation << 32;
        it.member = Some(Member::new(replica, it.clock.at(now), first_number));
        (it.due, it.leads_since) = (None, None);
        it.disk_known = DiskLevel::Enough;
        let disk = it.disk;
        self.note(format_args!("{node} starts at revision {revision}"));
        self.watchers.start(node, revision);
        self.input(node, Input::Due);
        self.input(node, Input::DiskSpace(disk));
    }

    /// The process ends in the middle of whatever it does, and the disk loses what was not synced.
    pub(super) fn crash(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        if it.member.take().is_none() {
            return;
        }
        self.seen.crashes += 1;
        it.incarnation += 1;
        it.paused = None;
        if let Some(Writing::Group(group)) = it.writing.take()
            && self.random.below(2) == 0
        {
            it.store.write_unsynced(group.jobs().to_vec());
        }
        it.jobs.clear();
        it.staged = Staged::default();
        self.stop_receiving(node);
        let it = &mut self.nodes[node];
        let kept = self.random.below(it.store.unsynced() as u64 + 1);
        it.store.crash(usize::try_from(kept).expect("few groups"));
        self.note(format_args!("{node} crashes"));
        self.watchers.crash(node);
        self.notify_site(node, Notice::Crashed);
        self.session_lost(node);
        let long = self.random.below(4) == 0;
        let down = 10 + self.random.below(if long { 15_000 } else { 1500 });
        self.at(down, Event::Start { node });
    }

    /// The process is stopped for a while: nothing is read, and its clock runs on.
    pub(super) fn pause(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        if it.member.is_none() || it.paused.is_some() {
            return;
        }
        self.seen.pauses += 1;
        it.paused = Some((self.now, Vec::new()));
        let (length, incarnation) = (10 + self.random.below(6000), it.incarnation);
        self.note(format_args!("{node} is paused for {length} ms"));
        self.at(length, Event::Continue { node, incarnation });
    }

    pub(super) fn resume(&mut self, node: usize, incarnation: u64) {
        let now = self.now;
        let it = &mut self.nodes[node];
        if it.incarnation != incarnation {
            return;
        }
        let Some((since, waiting)) = it.paused.take() else { return };
        it.continued_at = now;
        let boot = it.clock.at(now);
        let keeps = it.member.as_ref().is_some_and(|member| member.status(boot).keeps_leases(boot));
        // A little more, for clocks of different rates.
        let long = now - since > QUORUM_LEASE.0 + 100;
        // The only voter keeps leases as soon as it continues, and no one else does. Nothing can have been decided without it:
        // no one gets a vote but by an entry of its own log, so no one else led in this incarnation of the cluster, and a handover of
        // an installation to another agent is an entry too. Nor does its pause make a lease younger: that counts from the
        // agent's own ping, on the agent's own clock. Members of an earlier incarnation are no others: agents refuse its epoch.
        let alone = self.is_only_voter(node);
        assert!(!(long && keeps && !alone), "{node} was paused for {} ms and keeps leases", now - since);
        let led = |other: &Node| other.member.is_some() && other.leads_since.is_some();
        let others = self.nodes.iter().enumerate().filter(|(other, _)| *other != node);
        assert!(
            !alone || others.map(|(_, other)| other).all(|other| !led(other)),
            "another one leads beside {node}"
        );
        self.note(format_args!("{node} continues"));
        waiting.into_iter().for_each(|input| self.step(node, input));
        self.settle(node);
        self.notify_site(node, Notice::Continues);
    }

    /// Whether a member that runs is the only one with a vote, and no change of the members is half done.
    fn is_only_voter(&self, node: usize) -> bool {
        let it = &self.nodes[node];
        let members = it.member.as_ref().map(|member| member.replica_status().members);
        members.is_some_and(|members| members.voters == [it.id] && members.voters_outgoing.is_empty())
    }

    /// Hands an input over as the server's thread does: what is due follows when nothing else waits.
    pub(super) fn input(&mut self, node: usize, input: In) {
        if let Some((_, waiting)) = &mut self.nodes[node].paused {
            return waiting.push(input);
        }
        self.step(node, input);
        self.settle(node);
    }

    /// Lets the member do what is due now, and plans when to call it again.
    fn settle(&mut self, node: usize) {
        if self.deadline(node).is_some_and(|at| at <= self.now) {
            self.step(node, Input::Due);
        }
        if let Some(at) = self.deadline(node) {
            let at = at.max(self.now + 1);
            let it = &mut self.nodes[node];
            if it.due.is_none_or(|due| at < due) {
                it.due = Some(at);
                let incarnation = it.incarnation;
                self.at(at - self.now, Event::Due { node, incarnation });
            }
        }
    }

    fn deadline(&self, node: usize) -> Option<u64> {
        let it = &self.nodes[node];
        Some(it.clock.true_time(it.member.as_ref()?.next_deadline()?))
    }

    fn step(&mut self, node: usize, input: In) {
        let (now, wall) = (self.now, self.wall());
        let it = &mut self.nodes[node];
        let (boot, wall) = (it.clock.at(now), WallTime(wall.0 + it.wall_error));
        let Some(member) = &mut it.member else { return };
        if let Input::DiskSpace(level) = &input {
            it.disk_known = *level;
        }
        // What the feature level refuses is refused whatever the disk has.
        let level = member.state_machine().engine().level();
        let fits = match &input {
            Input::Propose { command, .. }
            | Input::PeerMessage { message: PeerMessage::Command { command, .. }, .. } => {
                (command.body.feature_level() <= level).then(|| it.disk_known.accepts(&command.body))
            }
            _ => None,
        };
        let before = member.status(boot).role;
        let led = matches!(before.role, Role::Leader { .. });
        let passes_on = !led && before.leader.is_some_and(|leader| leader != node as u64 + 1);
        let mut out: Vec<Out> = Vec::new();
        member.step(boot, wall, input, &mut out);
        let refused = fits.is_some() && out.iter().any(is_no_space);
        // Who does not lead passes a command on, whatever its own disk has.
        let is_right = match fits {
            Some(fits) if led => refused != fits,
            Some(_) if passes_on => !refused,
            Some(fits) => !(refused && fits),
            None => true,
        };
        assert!(is_right, "space of {node}: {:?}, refused: {refused}", it.disk_known);
        self.seen.no_space += usize::from(refused);
        let status = member.status(boot);
        match status.leads() {
            true => drop(it.leads_since.get_or_insert((now, status.now))),
            false => it.leads_since = None,
        }
        let (term, leads) = (status.role.term, matches!(status.role.role, Role::Leader { .. }));
        let (index, hash) = {
            let replica = member.replica_status();
            membership::check(&replica, member.state_machine());
            (replica.applied.index, replica.hash)
        };
        if leads {
            self.seen.leaders += usize::from(!self.leaders.contains_key(&term));
            let leader = *self.leaders.entry(term).or_insert(node);
            assert_eq!(leader, node, "two leaders of term {term}");
        }
        let known = *self.hashes.entry(index).or_insert(hash);
        assert_eq!(known, hash, "{node} has another state at revision {index}");
        self.note_level(node);
        for output in out {
            self.output(node, output);
        }
        self.remove_unwanted(node);
    }

    fn output(&mut self, node: usize, output: Out) {
        match output {
            Output::Write(job) => {
                self.nodes[node].jobs.push_back(Job::Write(job));
                self.start_write(node);
            }
            Output::Proposed { requester, answer } => self.answer(node, requester, answer),
            Output::Read { requester, answer } => self.answer_read(node, requester, &answer),
            Output::Applied(applied) => {
                self.watchers.on_change(node, StateChange::Applied(&applied));
                self.notify_site(node, Notice::Applied(applied));
            }
            Output::Fatal(fatal) => assert!(self.ends_as_too_old(node), "{node}: {fatal}"),
            Output::Send { message, .. } => self.send_raft(node, message),
            Output::SendPeer { to, message } => self.send_peer(node, to, message),
            Output::StateReplaced { revision } => {
                self.seen.snapshots += 1;
                self.watchers.on_change(node, StateChange::Missed { revision });
                self.notify_site(node, Notice::Replaced(revision));
            }
            Output::BuildSnapshot { min_index } => self.build(node, min_index),
            Output::SendSnapshot { message, .. } => {
                let (delay, incarnation) = (5 + self.random.below(50), self.nodes[node].incarnation);
                self.at(delay, Event::Snapshot { from: node, incarnation, message });
            }
            Output::InstallSnapshot(job) => {
                let at = EntryMeta { index: job.meta.index, term: job.meta.term };
                let it = &mut self.nodes[node];
                let generation = it.staged.take(at).expect("its rows are staged");
                it.jobs.push_back(Job::Install(job, generation));
                self.start_write(node);
            }
        }
    }

    fn start_write(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        if it.writing.is_some() {
            return;
        }
        let Some(first) = it.jobs.pop_front() else { return };
        it.writing = Some(match first {
            Job::Install(job, generation) => Writing::Install(job, generation),
            Job::Write(job) => {
                let mut group = WriteGroup::new(job);
                while group.has_capacity()
                    && matches!(it.jobs.front(), Some(Job::Write(_)))
                    && let Some(Job::Write(job)) = it.jobs.pop_front()
                {
                    group.push(job);
                }
                Writing::Group(group)
            }
        });
        let (delay, incarnation) = (1 + self.random.below(self.faults.write_max), it.incarnation);
        self.at(delay, Event::WriteDone { node, incarnation });
    }

    pub(super) fn write_done(&mut self, node: usize, incarnation: u64) {
        let it = &mut self.nodes[node];
        if it.incarnation != incarnation {
            return;
        }
        if it.disk_hangs {
            return self.at(HANGING_DISK_ASKED, Event::WriteDone { node, incarnation });
        }
        let input = match it.writing.take() {
            None => return,
            Some(Writing::Group(group)) => {
                it.store.write(group.jobs().to_vec());
                Input::Written(Written { number: group.number() })
            }
            Some(Writing::Install(job, generation)) => {
                it.store.install(&job, generation);
                Input::SnapshotInstalled { number: job.number, rows: Box::new(it.store.rows().into_iter()) }
            }
        };
        self.start_write(node);
        self.input(node, input);
    }
}

/// Whether a command was refused for want of space, of an asker here or of another member.
fn is_no_space(output: &Out) -> bool {
    match output {
        Output::Proposed { answer, .. } => *answer == Proposed::NoSpace,
        Output::SendPeer { message: PeerMessage::Proposed { answer, .. }, .. } => {
            *answer == WireProposed::NoSpace
        }
        _ => false,
    }
}
