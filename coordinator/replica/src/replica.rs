//! The replica: construction, inputs, time and roles. What raft hands out is handled in `ready`.

use std::collections::VecDeque;

use bytes::Bytes;
use raft::{RawNode, SnapshotStatus, StateRole};
use trimaran_model::hash::splitmix;
use trimaran_model::limits;
use trimaran_model::time::Timestamp;
use trimaran_wire::raft::{Blob, ConfState, Message, MessageKind};

use crate::convert;
use crate::inflight::{InFlightWrite, PendingJob};
use crate::io::{Answer, Busy, Fatal, Input, LogPosition, Output, Role, RoleChange, Waiter, Written};
use crate::log::{Loaded, Log, LogError};
use crate::proposals::Proposals;
use crate::reads::Reads;
use crate::settings::Settings;
use crate::snapshot_state::SnapshotState;
use crate::state_machine::{EntryMeta, StateMachine};
use crate::unconfirmed::Unconfirmed;

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

/// A transfer of leadership that this replica began as the leader of `term`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transfer {
    pub(crate) waiter: Waiter,
    pub(crate) term: u64,
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
    /// The last synced snapshot position.
    pub(crate) snapshot: LogPosition,
    pub(crate) snapshots: SnapshotState,
    /// The last change of members that is in force here, while it may be that no one else knows so.
    pub(crate) unconfirmed: Option<Unconfirmed<M::Reply>>,
    pub(crate) transfer: Option<Transfer>,
    /// Committed entries are left for the next step.
    pub(crate) more: bool,
    /// Term and vote as last handed to the writer.
    pub(crate) vote: (u64, u64),
    pub(crate) role: RoleChange,
    next_tick: Timestamp,
    started: bool,
    pub(crate) stopping: bool,
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
            election_tick: settings.lease_ticks,
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
            snapshot,
            snapshots: SnapshotState::START,
            unconfirmed: None,
            transfer: None,
            more: false,
            vote,
            role: RoleChange { role: Role::Follower, term, leader: None },
            next_tick: Timestamp(0),
            started: false,
            stopping: false,
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

    /// The raft id of this replica.
    pub fn id(&self) -> u64 {
        self.settings.id
    }

    pub fn role(&self) -> RoleChange {
        self.role
    }

    /// Whether no other member has a vote: this replica decides without asking.
    pub fn is_only_voter(&self) -> bool {
        self.is_alone()
    }

    pub fn applied(&self) -> EntryMeta {
        self.applied
    }

    /// The members that this replica goes by: those of the last change that it applied.
    pub fn members(&self) -> ConfState {
        convert::conf_state_to_wire(self.raw.store().conf_state())
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
            members: self.members(),
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
            if mutant!(ReadAlone) && self.applied.term == self.raw.raft.term {
                self.reads.confirm(round, self.raw.raft.raft_log.committed);
            }
        }
        self.leave_joint();
        self.confirm_change();
        self.leave_without_vote();
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
            if !self.must_not_campaign() {
                self.raw.tick();
            }
            self.fix_election_timeout();
            self.reads.tick(self.settings.heartbeat_ticks);
        }
        if now >= self.next_tick {
            self.next_tick = now + self.settings.tick;
        }
    }

    /// Whether an election would be won by the own vote at once, while own entries are on their way to the disk: raft
    /// asserts that a leader begins with a durable log. A follower gets here that becomes the only voter. Nor may one stand
    /// whose state is being replaced: raft looks for changes of the members among the entries that are not applied, and
    /// those that the snapshot took the place of are gone.
    fn must_not_campaign(&self) -> bool {
        if self.snapshots.is_installing() {
            return true;
        }
        self.is_alone()
            && self.raw.raft.state != StateRole::Leader
            && !self.in_flight.is_empty()
            && !mutant!(CampaignInFlight)
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
            Input::Peer(message) => self.step_message(message, out),
            Input::Propose { waiter, data } => self.propose(waiter, data, out),
            Input::Read { waiter } => self.read(waiter, out),
            Input::Written(Written { number }) => self.written(number, out),
            Input::WriteFailed { reason } => self.die(Fatal::Write { reason }, out),
            Input::SnapshotBuilt { snapshot } => self.snapshot_built(snapshot),
            Input::SnapshotFailed => self.snapshot_failed(),
            Input::SnapshotSent { to, ok } => {
                let status = if ok { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
                self.raw.report_snapshot(to, status);
            }
            Input::SnapshotInstalled { number, rows } => self.snapshot_installed(number, rows, out),
            Input::Unreachable { peer } => self.raw.report_unreachable(peer),
            Input::TransferLeader { waiter, to } => self.transfer_leader(waiter, to, out),
            Input::ChangeMember { waiter, change, context } => {
                self.change_member(waiter, change, context, out)
            }
            Input::Shutdown => {
                self.stopping = true;
                self.answer_all(Busy::Shutdown, out);
            }
        }
    }

    fn refuse_after_end(&mut self, input: Input, out: &mut Vec<Output<M::Reply, M::Event>>) {
        if let Input::Propose { waiter, .. }
        | Input::Read { waiter }
        | Input::ChangeMember { waiter, .. }
        | Input::TransferLeader { waiter, .. } = input
        {
            out.push(Output::Reply { waiter, answer: Answer::Busy(Busy::Shutdown) });
        }
    }

    /// Why a new entry is not accepted now, if it is not.
    pub(crate) fn refusal(&self) -> Option<Answer<M::Reply>> {
        if self.stopping {
            return Some(Answer::Busy(Busy::Shutdown));
        }
        let raft = &self.raw.raft;
        if raft.state != StateRole::Leader {
            return Some(Answer::NotLeader { hint: self.leader_hint() });
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
    pub(crate) fn track(
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

    fn read(&mut self, waiter: Waiter, out: &mut Vec<Output<M::Reply, M::Event>>) {
        let answer = if self.stopping {
            Answer::Busy(Busy::Shutdown)
        } else if self.raw.raft.state != StateRole::Leader {
            Answer::NotLeader { hint: self.leader_hint() }
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
    fn step_message(&mut self, mut message: Message, out: &mut Vec<Output<M::Reply, M::Event>>) {
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
            MessageKind::Snapshot if message.snapshot.is_none() || self.snapshots.is_installing() => return,
            // Only the leader gives its leadership away.
            MessageKind::TimeoutNow if message.from != raft.leader_id || self.must_not_campaign() => return,
            // A vote that ignores leases belongs to a transfer, which raises the term by one. Any other asks like
            // everybody.
            MessageKind::RequestVote
                if message.term != raft.term + 1 && message.context.0 == raft::CAMPAIGN_TRANSFER =>
            {
                message.context = Blob::default();
            }
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
        self.report_role(out);
        self.end_transfer(out);
        for waiter in self.reads.ready(self.applied.index) {
            out.push(Output::Reply { waiter, answer: Answer::Read { revision: self.applied.index } });
        }
        if !leads {
            let hint = self.leader_hint();
            for waiter in self.reads.take_unconfirmed() {
                out.push(Output::Reply { waiter, answer: Answer::NotLeader { hint } });
            }
        }
        if self.proposals.is_overdue(now, self.settings.indeterminate_after) {
            self.answer_proposals(out);
        }
    }

    fn report_role(&mut self, out: &mut Vec<Output<M::Reply, M::Event>>) {
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

    /// Answers everyone whose outcome is not known: what is in the log may still be applied.
    fn answer_proposals(&mut self, out: &mut Vec<Output<M::Reply, M::Event>>) {
        let change = self.drop_change();
        let transfer = self.drop_transfer();
        for waiter in self.proposals.take_all().into_iter().chain(change).chain(transfer) {
            out.push(Output::Reply { waiter, answer: Answer::Indeterminate });
        }
    }

    /// Answers everyone: what is not in the log will never be applied.
    fn answer_all(&mut self, reads: Busy, out: &mut Vec<Output<M::Reply, M::Event>>) {
        self.answer_proposals(out);
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
