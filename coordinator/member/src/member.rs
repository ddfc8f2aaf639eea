//! The member: construction, inputs, time, the leader's own commands, entries and answers.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use trimaran_engine::{Engine, Event, Outcome};
use trimaran_model::time::{Millis, Timestamp, WallTime};
use trimaran_replica::{Answer, Busy, EntryMeta, Replica, Role, Status, Waiter};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::command::{Command, CommandBody, Entry};
use trimaran_wire::v1::common::WireIdentity;

use crate::cluster_time::ClusterTime;
use crate::command_queue::{CommandQueue, Queued};
use crate::disk_level::DiskLevel;
use crate::forwarded::Forwarded;
use crate::io::{Applied, Input, MemberStatus, Output, Proposed, ReadAnswer};
use crate::state_machine::EngineMachine;
use crate::voters_clock::VotersClock;
use crate::voters_disk::VotersDisk;
use crate::wall_clock::{WallChange, WallGuard};

/// Entries in flight before commands wait for the next one.
const ENTRIES_IN_FLIGHT_MAX: usize = 2;
/// How often the wall clocks are compared.
const WALL_INTERVAL: Millis = Millis::seconds(1);
/// After an entry that was not applied, the leader adds no command of its own for so long.
const OWN_RETRY_DELAY: Millis = Millis(50);
/// What a requester reads whose command does not fit into the queue.
pub const QUEUE_FULL: &str = "the queue in front of the log is full";

/// What a peer reads whose command is older than its asker's deadline.
const WAITED_TOO_LONG: &str = "the command waited for too long in front of the log";

type ReplicaOutput = trimaran_replica::Output<Vec<Outcome>, (WallTime, Event)>;

/// One coordinator's core. See the documentation of the crate.
pub struct Member<M: EngineMachine, P, R> {
    pub(crate) replica: Replica<M>,
    time: ClusterTime,
    /// The state's time when `time` was set by it last.
    state_now: Timestamp,
    guard: WallGuard,
    /// The move of wall time that is on its way through the log.
    wall_move: Option<WallMove>,
    pub(crate) clocks: VotersClock,
    pub(crate) disks: VotersDisk,
    /// Jobs that are not written yet, by number, and the boot time at which each left.
    pub(crate) writes: VecDeque<(u64, Timestamp)>,
    /// Boot time before which leadership is not given away again.
    pub(crate) next_hand_over: Timestamp,
    /// Boot time of the next comparison of the wall clocks.
    wall_due: Timestamp,
    pub(crate) queue: CommandQueue<Asker<P>>,
    /// What the leader was passed.
    pub(crate) forwarded: Forwarded<P, R>,
    /// Boot time of the last sign of each other member.
    pub(crate) last_sign: BTreeMap<u64, Timestamp>,
    pub(crate) last_step: Option<Timestamp>,
    /// Boot time of the first step after the last pause of the process.
    pub(crate) resumed: Option<Timestamp>,
    /// Boot time since which a quorum and its leader are known to have been there.
    pub(crate) quorum_at: Option<Timestamp>,
    /// Boot time at which this member makes sure of the quorum again.
    pub(crate) touch_due: Timestamp,
    /// Who waits for which proposal or read of the replica.
    waiting: BTreeMap<Waiter, Waits<P, R>>,
    last_waiter: u64,
    /// Our entries that are not answered yet.
    in_flight: usize,
    /// Boot time before which the leader adds no command of its own.
    own_after: Timestamp,
    pub(crate) disk: DiskLevel,
    stopping: bool,
}

/// Until it is applied nothing is compared: the state is what it was, so the same difference would be found again, and as a
/// jump, whose small step would take the place of the whole gap.
struct WallMove {
    /// What to compare by again when it is not applied.
    before: WallGuard,
    /// Who waits for its entry, once it has one.
    waiter: Option<Waiter>,
}

pub(crate) enum Waits<P, R> {
    /// One a command of the entry; `None` for the leader's own.
    Commands(Vec<Option<Asker<P>>>),
    Members(Asker<P>),
    Read(R),
    /// A read that a peer passed on.
    PeerRead {
        id: u64,
        number: u64,
    },
    /// This member makes sure of its quorum, since this boot time.
    Quorum(Timestamp),
    /// This member gives leadership away.
    HandOver,
}

/// Who asked for a command.
pub(crate) enum Asker<P> {
    Here(P),
    /// A peer, by its own number.
    Peer {
        id: u64,
        number: u64,
    },
}

impl<M: EngineMachine, P, R> Member<M, P, R> {
    /// A member over a replica whose state is loaded; `now` is boot time. The first call must be a step with
    /// [`Input::Due`]. `first_number` is random, or larger than what every earlier process of this member used for the
    /// requests that it passes on.
    pub fn new(replica: Replica<M>, now: Timestamp, first_number: u64) -> Self {
        let state = replica.state_machine().engine().now();
        Self {
            replica,
            time: ClusterTime::new(state, now),
            state_now: state,
            guard: WallGuard::default(),
            wall_move: None,
            clocks: VotersClock::default(),
            disks: VotersDisk::default(),
            writes: VecDeque::new(),
            next_hand_over: now,
            forwarded: Forwarded::new(first_number),
            last_sign: BTreeMap::new(),
            last_step: None,
            resumed: None,
            quorum_at: None,
            touch_due: now,
            wall_due: now,
            queue: CommandQueue::new(),
            waiting: BTreeMap::new(),
            last_waiter: 0,
            in_flight: 0,
            own_after: now,
            disk: DiskLevel::Enough,
            stopping: false,
        }
    }

    /// When to call [`Self::step`] with [`Input::Due`] at the latest, in boot time. In the past while work is left
    /// over; `None` when the process has to end.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let replica = self.replica.next_deadline()?;
        if !self.queue.is_empty() && self.in_flight < ENTRIES_IN_FLIGHT_MAX {
            return Some(Timestamp(0));
        }
        Some(match self.leads() {
            true => replica.min(self.own_deadline()),
            false => replica,
        })
    }

    /// When the leader has a command of its own to add.
    fn own_deadline(&self) -> Timestamp {
        let wall = self.wall_due.max(self.own_after);
        // An entry in flight runs due timers and part of the settle queue itself.
        if self.in_flight > 0 {
            return wall;
        }
        let settle = (self.engine().settle_queue_len() > 0).then_some(Timestamp(0));
        let timer = self.engine().next_timer().map(|timer| self.time.boot_at(timer));
        let own = settle.or(timer).map_or(wall, |at| at.max(self.own_after));
        wall.min(own)
    }

    /// Handles an input at boot time `now` and system wall time `wall`.
    pub fn step(&mut self, now: Timestamp, wall: WallTime, input: Input<P, R>, out: &mut Vec<Output<P, R>>) {
        self.note_pause(now);
        match input {
            Input::Due => self.due(now, wall, out),
            Input::Propose { requester, command, bytes } => {
                self.propose(now, requester, (command, bytes), out);
            }
            Input::Read { requester } => self.read(now, requester, out),
            Input::Members { requester, request, context } => {
                self.change_members(now, requester, request, context, out);
            }
            Input::Peer(message) => {
                self.note_sign(now, message.from);
                self.step_replica(now, trimaran_replica::Input::Peer(message), out);
            }
            Input::PeerMessage { from, message } => self.on_peer_message(now, from, message, out),
            Input::Unreachable { peer } => {
                self.give_up(now, |to| to == peer, out);
                self.step_replica(now, trimaran_replica::Input::Unreachable { peer }, out);
            }
            Input::SnapshotBuilt { snapshot } => {
                self.step_replica(now, trimaran_replica::Input::SnapshotBuilt { snapshot }, out);
            }
            Input::SnapshotFailed => self.step_replica(now, trimaran_replica::Input::SnapshotFailed, out),
            Input::SnapshotSent { to, ok } => {
                self.step_replica(now, trimaran_replica::Input::SnapshotSent { to, ok }, out);
            }
            Input::Written(written) => {
                while self.writes.pop_front_if(|(number, _)| *number <= written.number).is_some() {}
                self.step_replica(now, trimaran_replica::Input::Written(written), out);
            }
            Input::WriteFailed { reason } => {
                self.step_replica(now, trimaran_replica::Input::WriteFailed { reason }, out);
            }
            Input::SnapshotInstalled { number, rows } => {
                self.step_replica(now, trimaran_replica::Input::SnapshotInstalled { number, rows }, out);
            }
            Input::DiskSpace(level) => self.disk = level,
            Input::Shutdown => self.shut_down(now, out),
        }
    }

    fn due(&mut self, now: Timestamp, wall: WallTime, out: &mut Vec<Output<P, R>>) {
        if self.replica.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.step_replica(now, trimaran_replica::Input::Due, out);
        }
        if self.stopping {
            return;
        }
        self.keep_in_touch(now, wall, out);
        if self.leads() && now >= self.own_after {
            self.add_own_commands(now, wall);
        }
        for asker in self.queue.drop_expired(now) {
            self.answer_asker(asker, Proposed::Busy(WAITED_TOO_LONG.to_owned()), out);
        }
        while !self.queue.is_empty() && self.in_flight < ENTRIES_IN_FLIGHT_MAX {
            self.propose_entry(now, out);
        }
    }

    fn shut_down(&mut self, now: Timestamp, out: &mut Vec<Output<P, R>>) {
        self.stopping = true;
        // No entry has them: nothing happened.
        for asker in self.queue.drain_requesters() {
            self.answer_asker(asker, Proposed::NotLeader, out);
        }
        self.give_up_all(out);
        self.step_replica(now, trimaran_replica::Input::Shutdown, out);
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.replica.state_machine().engine()
    }

    pub(crate) fn leads(&self) -> bool {
        matches!(self.replica.role().role, Role::Leader { ready: true })
    }

    fn cluster_now(&self, now: Timestamp) -> Timestamp {
        self.time.at(now, self.engine().now())
    }

    /// What the leader adds automatically: wall time, time that is due, the settle queue.
    fn add_own_commands(&mut self, now: Timestamp, wall: WallTime) {
        let cluster_now = self.cluster_now(now);
        if now >= self.wall_due {
            self.wall_due = now + WALL_INTERVAL;
            let before = self.guard;
            if self.wall_move.is_none()
                && let Some(change) = self.observe_wall(now, wall, cluster_now)
            {
                self.wall_move = Some(WallMove { before, waiter: None });
                self.queue.push_own(system(change));
            }
        }
        if self.in_flight > 0 {
            return;
        }
        if self.engine().next_timer().is_some_and(|timer| timer <= cluster_now) && !mutant!(NoAdvance) {
            self.queue.push_own(system(CommandBody::Advance));
        }
        if self.engine().settle_queue_len() > 0 {
            self.queue.push_own(system(CommandBody::Settle));
        }
    }

    fn observe_wall(
        &mut self,
        boot: Timestamp,
        wall: WallTime,
        cluster_now: Timestamp,
    ) -> Option<CommandBody> {
        let engine = self.engine();
        let offset = engine.wall().0 - i64::try_from(engine.now().0).unwrap_or(i64::MAX);
        let state = WallTime(offset) + Millis(cluster_now.0);
        let change = if self.replica.is_only_voter() || mutant!(OwnWallAlone) {
            self.guard.compare(boot, wall, state)
        } else {
            let own = (self.replica.id(), wall);
            let median = self.clocks.median(own, &self.replica.members().voters, boot, state);
            median.and_then(|median| self.guard.follow(median, state))
        };
        match change? {
            WallChange::Move { by_ms, jump } => {
                Some(CommandBody::WallOffset { offset_ms: offset + by_ms, jump })
            }
            WallChange::Clear => Some(CommandBody::WallOffset { offset_ms: offset, jump: false }),
        }
    }

    fn propose_entry(&mut self, now: Timestamp, out: &mut Vec<Output<P, R>>) {
        let (commands, requesters) = self.queue.next_entry();
        let moves_wall = commands.iter().any(|it| matches!(it.body, CommandBody::WallOffset { .. }));
        let entry = Entry { now_ms: self.cluster_now(now).0, commands };
        let data = Bytes::from(entry.to_bytes());
        let waiter = self.wait(Waits::Commands(requesters));
        if moves_wall && let Some(wall_move) = &mut self.wall_move {
            wall_move.waiter = Some(waiter);
        }
        self.in_flight += 1;
        self.step_replica(now, trimaran_replica::Input::Propose { waiter, data }, out);
    }

    pub(crate) fn wait(&mut self, waits: Waits<P, R>) -> Waiter {
        self.last_waiter += 1;
        let waiter = Waiter(self.last_waiter);
        self.waiting.insert(waiter, waits);
        waiter
    }

    pub(crate) fn step_replica(
        &mut self,
        now: Timestamp,
        input: trimaran_replica::Input,
        out: &mut Vec<Output<P, R>>,
    ) {
        let mut outputs = Vec::new();
        self.replica.step(now, input, &mut outputs);
        self.follow_state_time(now);
        for output in outputs {
            self.on_output(now, output, out);
        }
    }

    /// Time goes on from the last entry that moved it, or from the state that was installed.
    fn follow_state_time(&mut self, now: Timestamp) {
        let state = self.engine().now();
        if state != self.state_now {
            self.state_now = state;
            let leads = matches!(self.replica.role().role, Role::Leader { .. });
            self.time.rebase(now, state, leads);
        }
    }

    fn on_output(&mut self, now: Timestamp, output: ReplicaOutput, out: &mut Vec<Output<P, R>>) {
        match output {
            ReplicaOutput::Write(job) => {
                self.writes.push_back((job.number, now));
                out.push(Output::Write(job));
            }
            ReplicaOutput::Reply { waiter, answer } => self.answer(now, waiter, answer, out),
            ReplicaOutput::Events { revision, events } => {
                let wall = events.first().map_or(WallTime(0), |(wall, _)| *wall);
                let events = events.into_iter().map(|(_, event)| event).collect();
                out.push(Output::Applied(Applied { revision, wall, events }));
            }
            // What another leader was passed it will not answer, or not in time: whoever asked asks again.
            ReplicaOutput::Role(role) => self.give_up(now, |to| role.leader != Some(to), out),
            ReplicaOutput::Fatal(fatal) => out.push(Output::Fatal(fatal)),
            ReplicaOutput::Send { to, class, message } => out.push(Output::Send { to, class, message }),
            ReplicaOutput::BuildSnapshot { min_index } => out.push(Output::BuildSnapshot { min_index }),
            ReplicaOutput::SendSnapshot { to, message } => out.push(Output::SendSnapshot { to, message }),
            ReplicaOutput::InstallSnapshot(job) => out.push(Output::InstallSnapshot(job)),
            ReplicaOutput::StateReplaced { applied } => {
                out.push(Output::StateReplaced { revision: applied.index });
            }
        }
    }

    fn answer(
        &mut self,
        now: Timestamp,
        waiter: Waiter,
        answer: Answer<Vec<Outcome>>,
        out: &mut Vec<Output<P, R>>,
    ) {
        match self.waiting.remove(&waiter).expect("each waiter is answered once") {
            Waits::Commands(requesters) => {
                self.in_flight -= 1;
                let is_applied = matches!(answer, Answer::Applied { .. });
                if !is_applied {
                    self.own_after = now + OWN_RETRY_DELAY;
                }
                if let Some(wall_move) = self.wall_move.take_if(|it| it.waiter == Some(waiter))
                    && !is_applied
                {
                    self.guard = wall_move.before;
                }
                self.answer_commands(requesters, answer, out);
            }
            Waits::Members(asker) => self.answer_asker(asker, members_answer(answer), out),
            // Whoever leads now: when this one still does, it tries again, or is asked again.
            Waits::HandOver => {}
            waits @ (Waits::Read(_) | Waits::PeerRead { .. } | Waits::Quorum(_)) => {
                self.answer_read(waits, read_answer(answer), out);
            }
        }
    }

    fn answer_commands(
        &self,
        askers: Vec<Option<Asker<P>>>,
        answer: Answer<Vec<Outcome>>,
        out: &mut Vec<Output<P, R>>,
    ) {
        let one = match answer {
            Answer::Applied { entry, reply: mut outcomes } => {
                if mutant!(SwapAnswers) {
                    outcomes.reverse();
                }
                for (asker, outcome) in askers.into_iter().zip(outcomes) {
                    let Some(asker) = asker else { continue };
                    self.answer_asker(asker, Proposed::Done { revision: entry.index, outcome }, out);
                }
                return;
            }
            Answer::NotLeader { .. } => Proposed::NotLeader,
            Answer::Busy(Busy::Shutdown) | Answer::Indeterminate => Proposed::Indeterminate,
            Answer::Busy(busy) => Proposed::Busy(busy.to_string()),
            Answer::MembersChanged { .. }
            | Answer::MembersRefused(_)
            | Answer::LeaderChanged { .. }
            | Answer::Read { .. } => unreachable!("a proposal is answered as one"),
        };
        for asker in askers.into_iter().flatten() {
            self.answer_asker(asker, one.clone(), out);
        }
    }

    /// What everyone may know, at boot time `now`.
    pub fn status(&self, now: Timestamp) -> MemberStatus {
        let cluster_now = self.cluster_now(now);
        let engine = self.engine();
        let only = self.leads() && (self.replica.is_only_voter() || mutant!(LeaseWithoutQuorum));
        MemberStatus {
            id: self.replica.id(),
            role: self.replica.role(),
            quorum_at: if only { Some(now) } else { self.quorum_at },
            voters: self.replica.members().voters,
            last_sign: self.last_sign.clone(),
            now: cluster_now,
            wall: engine.wall() + (cluster_now - engine.now()),
            at: now,
        }
    }

    /// See [`Replica::pending_snapshot`].
    pub fn pending_snapshot(&self) -> Option<EntryMeta> {
        self.replica.pending_snapshot()
    }

    /// Status of the replica.
    pub fn replica_status(&self) -> Status {
        self.replica.status()
    }

    /// The commands that wait for an entry here, those of this coordinator's requesters and those that others passed on.
    pub fn queued(&self) -> Queued {
        self.queue.queued()
    }

    pub fn state_machine(&self) -> &M {
        self.replica.state_machine()
    }
}

fn system(body: CommandBody) -> Command {
    Command { identity: WireIdentity::System, request: None, body }
}

fn members_answer(answer: Answer<Vec<Outcome>>) -> Proposed {
    match answer {
        Answer::MembersChanged { entry, reply } => {
            let outcome = reply.into_iter().next().unwrap_or(Outcome::Nothing);
            Proposed::Done { revision: entry.index, outcome }
        }
        Answer::LeaderChanged { .. } => Proposed::Done { revision: 0, outcome: Outcome::Nothing },
        Answer::MembersRefused(refusal) => Proposed::Refused(refusal.to_string()),
        Answer::NotLeader { .. } => Proposed::NotLeader,
        Answer::Busy(Busy::Shutdown) | Answer::Indeterminate => Proposed::Indeterminate,
        Answer::Busy(busy) => Proposed::Busy(busy.to_string()),
        Answer::Applied { .. } | Answer::Read { .. } => {
            unreachable!("a change of members is answered as one")
        }
    }
}

fn read_answer(answer: Answer<Vec<Outcome>>) -> ReadAnswer {
    match answer {
        Answer::Read { revision } => ReadAnswer::At(revision),
        Answer::Busy(busy) => ReadAnswer::Busy(busy.to_string()),
        Answer::NotLeader { .. } | Answer::Indeterminate => ReadAnswer::NotLeader,
        Answer::Applied { .. }
        | Answer::MembersChanged { .. }
        | Answer::MembersRefused(_)
        | Answer::LeaderChanged { .. } => unreachable!("a read is answered as one"),
    }
}
