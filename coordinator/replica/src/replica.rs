//! The replica: construction, inputs, time and roles. What raft hands out is handled in `ready`.

use std::collections::VecDeque;

use bytes::Bytes;
use raft::eraftpb;
use raft::{RawNode, SnapshotStatus, StateRole};
use trimaran_model::hash::splitmix;
use trimaran_model::limits;
use trimaran_model::time::Timestamp;
use trimaran_wire::codec::Message as _;
use trimaran_wire::raft::{Blob, ConfState, MemberChangeKind, MemberChanges, Message, MessageKind};

use crate::convert;
use crate::inflight::{InFlightWrite, PendingJob};
use crate::io::{
    Answer, Busy, Fatal, Input, LogPosition, MemberChange, Output, Role, RoleChange, Waiter, Written,
};
use crate::log::{Loaded, Log, LogError};
use crate::proposals::Proposals;
use crate::reads::Reads;
use crate::settings::Settings;
use crate::state_machine::{EntryMeta, StateMachine};

/// Ticks made up for after a pause. More would let a paused replica disturb a healthy leader at once.
const TICKS_CAUGHT_UP_MAX: u64 = 3;
/// Write jobs in flight above which new proposals wait in raft for the next one, and are written together.
const IN_FLIGHT_ALONE: usize = 1;
const IN_FLIGHT_WITH_PEERS: usize = 2;

/// Why a replica does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the log on the disk is broken; remove this member and join with an empty directory")]
    Log(#[source] LogError),
    #[error("the settings of the replica are not possible: {why}")]
    Settings { why: String },
}

/// What a replica knows about itself and its cluster, for status pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub id: u64,
    pub role: RoleChange,
    pub members: ConfState,
    pub commit: u64,
    pub applied: EntryMeta,
    pub first: u64,
    pub last: u64,
    /// Everything up to this index is durable here.
    pub persisted: u64,
    pub snapshot: LogPosition,
    pub log_bytes: usize,
    pub hash: u128,
    /// What the leader knows of each member: id and the index up to which its log is known to match.
    /// Empty on others.
    pub matched: Vec<(u64, u64)>,
}

/// The driver of one replica. See the documentation of the crate.
pub struct Replica<M: StateMachine> {
    pub(crate) settings: Settings,
    pub(crate) state_machine: M,
    pub(crate) raw: RawNode<Log>,
    pub(crate) applied: EntryMeta,
    pub(crate) proposals: Proposals,
    pub(crate) reads: Reads,
    pub(crate) pending: PendingJob,
    pub(crate) in_flight: VecDeque<InFlightWrite>,
    pub(crate) job_number: u64,
    pub(crate) done_number: u64,
    /// The snapshot being installed; nothing else proceeds.
    pub(crate) installing: Option<(u64, eraftpb::SnapshotMetadata)>,
    /// The last synced snapshot position.
    pub(crate) snapshot: LogPosition,
    /// A position was handed to the writer and is not synced yet.
    pub(crate) position_unsynced: bool,
    pub(crate) bytes_since_position: usize,
    pub(crate) snapshot_building: bool,
    /// No position was set since the last snapshot for a peer was built.
    pub(crate) built_since_position: bool,
    /// Committed entries are left for the next step.
    pub(crate) more: bool,
    /// Term and vote as last handed to the writer.
    pub(crate) vote: (u64, u64),
    pub(crate) role: RoleChange,
    next_tick: Timestamp,
    started: bool,
    stopping: bool,
    disk_low: bool,
    pub(crate) dead: bool,
}

impl<M: StateMachine> Replica<M> {
    /// A replica over what a store has loaded. `state_machine` holds the rows of that store already, that is the
    /// state at `loaded.applied`. The first call must be a step with [`Input::Due`].
    pub fn new(settings: Settings, state_machine: M, loaded: Loaded) -> Result<Self, StartError> {
        loaded.check().map_err(StartError::Log)?;
        let (applied, snapshot, term) = (loaded.applied, loaded.snapshot, loaded.hard_state.term);
        let vote = (term, loaded.hard_state.vote);
        let config = raft::Config {
            id: settings.id,
            applied: applied.index,
            heartbeat_tick: settings.heartbeat_ticks,
            election_tick: settings.election_ticks,
            min_election_tick: settings.election_ticks,
            max_election_tick: settings.election_ticks_max,
            pre_vote: true,
            check_quorum: true,
            max_size_per_msg: limits::APPEND_BYTES_MAX as u64,
            max_inflight_msgs: limits::APPENDS_IN_FLIGHT_MAX,
            max_uncommitted_size: limits::UNCOMMITTED_BYTES_MAX as u64,
            max_committed_size_per_ready: limits::APPLY_BYTES_PER_STEP_MAX as u64,
            batch_append: true,
            ..raft::Config::default()
        };
        let why = |why: &dyn std::fmt::Display| StartError::Settings { why: why.to_string() };
        if settings.id == 0 || settings.tick.0 == 0 || settings.snapshot_entries == 0 {
            return Err(why(&"id, tick and snapshot_entries are above 0"));
        }
        config.validate().map_err(|error| why(&error))?;
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&config, Log::new(loaded), &logger).map_err(|error| why(&error))?;
        let mut replica = Self {
            settings,
            state_machine,
            raw,
            applied,
            proposals: Proposals::default(),
            reads: Reads::default(),
            pending: PendingJob::default(),
            in_flight: VecDeque::new(),
            job_number: 0,
            done_number: 0,
            installing: None,
            snapshot,
            position_unsynced: false,
            bytes_since_position: 0,
            snapshot_building: false,
            built_since_position: false,
            more: false,
            vote,
            role: RoleChange { role: Role::Follower, term, leader: None },
            next_tick: Timestamp(0),
            started: false,
            stopping: false,
            disk_low: false,
            dead: false,
        };
        replica.fix_election_timeout();
        Ok(replica)
    }

    /// When to call [`Self::step`] with [`Input::Due`] at the latest. In the past while work is left over.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        match (self.dead, self.more) {
            (true, _) => None,
            (false, true) => Some(Timestamp(0)),
            (false, false) => Some(self.next_tick),
        }
    }

    pub fn state_machine(&self) -> &M {
        &self.state_machine
    }

    /// For what the state machine keeps beside its state, such as counters; the state itself changes by entries.
    pub fn state_machine_mut(&mut self) -> &mut M {
        &mut self.state_machine
    }

    pub fn role(&self) -> RoleChange {
        self.role
    }

    pub fn applied(&self) -> EntryMeta {
        self.applied
    }

    pub fn status(&self) -> Status {
        let raft = &self.raw.raft;
        let matched = match raft.state {
            StateRole::Leader => raft.prs().iter().map(|(id, progress)| (*id, progress.matched)).collect(),
            StateRole::Follower | StateRole::Candidate | StateRole::PreCandidate => Vec::new(),
        };
        let mut matched: Vec<(u64, u64)> = matched;
        matched.sort_unstable();
        Status {
            id: self.settings.id,
            role: self.role,
            members: convert::conf_state_to_wire(self.raw.store().conf_state()),
            commit: raft.raft_log.committed,
            applied: self.applied,
            first: self.raw.store().first(),
            last: raft.raft_log.last_index(),
            persisted: raft.raft_log.persisted,
            snapshot: self.snapshot,
            log_bytes: self.raw.store().bytes(),
            hash: self.state_machine.hash(),
            matched,
        }
    }

    /// Takes one input and appends what has to happen to `out`, in order. `now` never falls.
    pub fn step(&mut self, now: Timestamp, input: Input, out: &mut Vec<Output<M::Reply, M::Event>>) {
        if self.dead {
            self.refuse_after_end(input, out);
            return;
        }
        self.start(now);
        self.more = false;
        let is_proposal = matches!(input, Input::Propose { .. });
        self.handle_input(input, out);
        self.tick(now);
        if let Some(round) = self.reads.start_round() {
            self.raw.read_index(self.read_context(round));
        }
        // Proposals that meet a write in flight wait for its end and share the next one.
        if !(is_proposal && self.in_flight.len() >= self.in_flight_limit()) {
            self.pump(out);
        }
        self.after(now, out);
    }

    fn in_flight_limit(&self) -> usize {
        if self.is_alone() { IN_FLIGHT_ALONE } else { IN_FLIGHT_WITH_PEERS }
    }

    fn is_alone(&self) -> bool {
        let members = self.raw.store().conf_state();
        members.voters == [self.settings.id] && members.voters_outgoing.is_empty()
    }

    fn start(&mut self, now: Timestamp) {
        if self.started {
            return;
        }
        self.started = true;
        self.next_tick = now + self.settings.tick;
        if self.is_alone() {
            // No one else can win: an election timeout would only delay the start.
            self.raw.campaign().expect("a voter may campaign");
            self.fix_election_timeout();
        }
    }

    fn tick(&mut self, now: Timestamp) {
        let mut ticks = 0;
        while now >= self.next_tick && ticks < TICKS_CAUGHT_UP_MAX {
            self.next_tick = self.next_tick + self.settings.tick;
            ticks += 1;
            self.raw.tick();
            self.fix_election_timeout();
            self.reads.tick(self.settings.heartbeat_ticks);
        }
        if now >= self.next_tick {
            self.next_tick = now + self.settings.tick;
        }
    }

    /// raft draws the election timeout from the thread's entropy whenever the term or role changes. This
    /// pure function of both takes its place: same seed, same elections.
    fn fix_election_timeout(&mut self) {
        let (low, high) = (self.settings.election_ticks, self.settings.election_ticks_max);
        let raft = &mut self.raw.raft;
        let mix = [self.settings.id, raft.term, raft.state as u64];
        let hash = mix.iter().fold(self.settings.seed, |hash, part| splitmix(hash ^ part));
        let span = u64::try_from(high - low).expect("validated: below a u64");
        let offset = usize::try_from(hash % span).expect("below a usize");
        raft.set_randomized_election_timeout(low + offset);
    }

    fn handle_input(&mut self, input: Input, out: &mut Vec<Output<M::Reply, M::Event>>) {
        match input {
            Input::Due => {}
            Input::Peer(message) => self.take_message(message, out),
            Input::Propose { waiter, data } => self.propose(waiter, data, out),
            Input::Read { waiter } => self.read(waiter, out),
            Input::Written(Written { number }) => self.written(number, out),
            Input::WriteFailed { reason } => self.die(Fatal::Write { reason }, out),
            Input::SnapshotBuilt { snapshot } => self.snapshot_built(snapshot),
            Input::SnapshotFailed => self.snapshot_building = false,
            Input::SnapshotSent { to, ok } => {
                let status = if ok { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
                self.raw.report_snapshot(to, status);
            }
            Input::SnapshotInstalled { number, rows } => self.snapshot_installed(number, rows, out),
            Input::Unreachable { peer } => self.raw.report_unreachable(peer),
            Input::TransferLeader { to } => {
                if self.raw.raft.state == StateRole::Leader {
                    self.raw.transfer_leader(to);
                }
            }
            Input::ChangeMember { waiter, change, context } => {
                self.change_member(waiter, change, context, out)
            }
            Input::DiskLow(low) => self.disk_low = low,
            Input::Shutdown => {
                self.stopping = true;
                self.answer_all(Busy::Shutdown, out);
            }
        }
    }

    fn refuse_after_end(&mut self, input: Input, out: &mut Vec<Output<M::Reply, M::Event>>) {
        if let Input::Propose { waiter, .. } | Input::Read { waiter } | Input::ChangeMember { waiter, .. } =
            input
        {
            out.push(Output::Reply { waiter, answer: Answer::Busy(Busy::Shutdown) });
        }
    }

    fn hint(&self) -> Option<u64> {
        let leader = self.raw.raft.leader_id;
        (leader != 0 && leader != self.settings.id).then_some(leader)
    }

    /// Why a new entry is not accepted now, if it is not.
    fn refusal(&self) -> Option<Answer<M::Reply>> {
        if self.stopping {
            return Some(Answer::Busy(Busy::Shutdown));
        }
        let raft = &self.raw.raft;
        if raft.state != StateRole::Leader {
            return Some(Answer::NotLeader { hint: self.hint() });
        }
        if self.disk_low {
            return Some(Answer::Busy(Busy::Disk));
        }
        if raft.lead_transferee.is_some() {
            return Some(Answer::Busy(Busy::Transfer));
        }
        if self.proposals.len() >= self.settings.waiters_max {
            return Some(Answer::Busy(Busy::Waiters));
        }
        if self.raw.store().bytes() >= limits::LOG_BYTES_MAX || self.in_flight.len() >= limits::WRITE_JOBS_MAX
        {
            return Some(Answer::Busy(Busy::Log));
        }
        None
    }

    fn propose(&mut self, waiter: Waiter, data: Bytes, out: &mut Vec<Output<M::Reply, M::Event>>) {
        let size = data.len();
        let answer = if size == 0 || size > limits::ENTRY_BYTES_MAX {
            Some(Answer::Busy(Busy::EntrySize { size, max: limits::ENTRY_BYTES_MAX }))
        } else if let Some(refusal) = self.refusal() {
            Some(refusal)
        } else {
            let before = self.raw.raft.raft_log.last_index();
            let accepted = self.raw.step(convert::proposal(self.settings.id, data)).is_ok();
            self.track(waiter, accepted, before, out)
        };
        if let Some(answer) = answer {
            out.push(Output::Reply { waiter, answer });
        }
    }

    /// Connects a waiter with the entry that raft has just appended; raft says neither index nor refusal.
    fn track(
        &mut self,
        waiter: Waiter,
        accepted: bool,
        before: u64,
        out: &mut Vec<Output<M::Reply, M::Event>>,
    ) -> Option<Answer<M::Reply>> {
        let raft = &self.raw.raft;
        let entry = EntryMeta { index: raft.raft_log.last_index(), term: raft.term };
        if !accepted || entry.index == before {
            return Some(Answer::Busy(Busy::Uncommitted));
        }
        if let Some(earlier) = self.proposals.add(entry, waiter) {
            // Its entry was overwritten here, but may live on in another log.
            out.push(Output::Reply { waiter: earlier, answer: Answer::Indeterminate });
        }
        None
    }

    fn change_member(
        &mut self,
        waiter: Waiter,
        change: MemberChange,
        context: Bytes,
        out: &mut Vec<Output<M::Reply, M::Event>>,
    ) {
        let mut answer = self.refusal();
        if answer.is_none() && self.raw.raft.has_pending_conf() {
            answer = Some(Answer::Busy(Busy::Members));
        }
        if answer.is_none() {
            let single = match change {
                MemberChange::AddLearner(id) => (MemberChangeKind::AddLearner, id),
                MemberChange::AddVoter(id) => (MemberChangeKind::AddVoter, id),
                MemberChange::Remove(id) => (MemberChangeKind::Remove, id),
            };
            let changes = MemberChanges { changes: vec![single], context: Blob(context) };
            let before = self.raw.raft.raft_log.last_index();
            let accepted = self
                .raw
                .propose_conf_change(changes.to_bytes(), convert::member_changes_to_raft(&changes))
                .is_ok();
            // raft replaces a change that it refuses by an empty entry and says nothing.
            let refused = self.raw.raft.pending_conf_index != self.raw.raft.raft_log.last_index();
            answer = if accepted && refused {
                Some(Answer::Busy(Busy::Members))
            } else {
                self.track(waiter, accepted, before, out)
            };
        }
        if let Some(answer) = answer {
            out.push(Output::Reply { waiter, answer });
        }
    }

    fn read(&mut self, waiter: Waiter, out: &mut Vec<Output<M::Reply, M::Event>>) {
        let answer = if self.stopping {
            Answer::Busy(Busy::Shutdown)
        } else if self.raw.raft.state != StateRole::Leader {
            Answer::NotLeader { hint: self.hint() }
        } else if self.reads.len() >= self.settings.waiters_max {
            Answer::Busy(Busy::Waiters)
        } else {
            self.reads.add(waiter);
            return;
        };
        out.push(Output::Reply { waiter, answer });
    }

    fn read_context(&self, round: u64) -> Vec<u8> {
        [self.settings.id.to_be_bytes(), round.to_be_bytes()].concat()
    }

    /// Steps a message after checking for what would make raft panic or break a rule of the design.
    fn take_message(&mut self, message: Message, out: &mut Vec<Output<M::Reply, M::Event>>) {
        let raft = &self.raw.raft;
        let last = raft.raft_log.last_index();
        if message.to != self.settings.id || message.from == self.settings.id || message.from == 0 {
            return;
        }
        match message.kind {
            // Reads are asked of the leader itself, and leadership is moved by command.
            MessageKind::ReadIndex | MessageKind::ReadIndexResponse | MessageKind::TransferLeader => return,
            MessageKind::Heartbeat if message.term >= raft.term && message.commit > last => {
                self.die(Fatal::LogLost { commit: message.commit, last }, out);
                return;
            }
            MessageKind::Append => {
                let contiguous = message
                    .entries
                    .iter()
                    .zip(message.index + 1..)
                    .all(|(entry, index)| entry.index == index);
                if !contiguous || self.in_flight.len() >= limits::WRITE_JOBS_MAX {
                    return;
                }
            }
            MessageKind::AppendResponse if !message.reject && message.index > last => return,
            MessageKind::Snapshot if message.snapshot.is_none() || self.installing.is_some() => return,
            MessageKind::AppendResponse
            | MessageKind::Heartbeat
            | MessageKind::HeartbeatResponse
            | MessageKind::Snapshot
            | MessageKind::RequestVote
            | MessageKind::RequestVoteResponse
            | MessageKind::TimeoutNow
            | MessageKind::RequestPreVote
            | MessageKind::RequestPreVoteResponse => {}
        }
        match self.raw.step(convert::message_to_raft(message)) {
            Ok(()) | Err(raft::Error::StepPeerNotFound | raft::Error::StepLocalMsg) => {}
            Err(raft::Error::ProposalDropped | raft::Error::RequestSnapshotDropped) => {}
            Err(error) => self.die(Fatal::Raft { reason: error.to_string() }, out),
        }
        self.fix_election_timeout();
    }

    /// What follows every step: roles, reads that became possible, waiters whose time is over.
    fn after(&mut self, now: Timestamp, out: &mut Vec<Output<M::Reply, M::Event>>) {
        if self.dead {
            return;
        }
        self.fix_election_timeout();
        let leads = self.raw.raft.state == StateRole::Leader;
        self.proposals.leadership(leads, now);
        self.tell_role(out);
        for waiter in self.reads.ready(self.applied.index) {
            out.push(Output::Reply { waiter, answer: Answer::Read { revision: self.applied.index } });
        }
        if !leads {
            let hint = self.hint();
            for waiter in self.reads.take_unconfirmed() {
                out.push(Output::Reply { waiter, answer: Answer::NotLeader { hint } });
            }
        }
        for waiter in self.proposals.expire(now, self.settings.indeterminate_after) {
            out.push(Output::Reply { waiter, answer: Answer::Indeterminate });
        }
    }

    fn tell_role(&mut self, out: &mut Vec<Output<M::Reply, M::Event>>) {
        let raft = &self.raw.raft;
        let role = match raft.state {
            StateRole::Follower => Role::Follower,
            StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
            StateRole::Leader => Role::Leader { ready: self.applied.term == raft.term },
        };
        let leader = (raft.leader_id != 0).then_some(raft.leader_id);
        let change = RoleChange { role, term: raft.term, leader };
        if change != self.role {
            self.role = change;
            out.push(Output::Role(change));
        }
    }

    /// Answers everyone: what is in the log may still be applied, what is not will never be.
    fn answer_all(&mut self, reads: Busy, out: &mut Vec<Output<M::Reply, M::Event>>) {
        for waiter in self.proposals.take_all() {
            out.push(Output::Reply { waiter, answer: Answer::Indeterminate });
        }
        for waiter in self.reads.take_all() {
            out.push(Output::Reply { waiter, answer: Answer::Busy(reads) });
        }
    }

    pub(crate) fn die(&mut self, fatal: Fatal, out: &mut Vec<Output<M::Reply, M::Event>>) {
        self.answer_all(Busy::Shutdown, out);
        self.dead = true;
        out.push(Output::Fatal(fatal));
    }
}
