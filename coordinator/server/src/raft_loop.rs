//! The loop that owns the replica and with it the state: commands into entries, time, wall time, answers.
//!
//! Commands wait while two entries are in flight, and then travel together in the next one: the slower the disk,
//! the larger the groups. Nothing here blocks on the network; answers leave through channels.
//!
//! Not here: the threads and the handle that everything else uses (`node`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{broadcast, oneshot, watch};
use trimaran_engine::{Event, Outcome};
use trimaran_model::limits::{ENTRY_BYTES_MAX, ENTRY_COMMANDS_MAX, PROPOSALS_BYTES_MAX, PROPOSALS_MAX};
use trimaran_model::time::{Millis, Timestamp, WallTime};
use trimaran_process::clock;
use trimaran_replica::io::{Answer, Busy, Fatal, Input, Output, Role, RoleChange, Waiter};
use trimaran_replica::{Replica, Status};
use trimaran_store::{WriterEvent, WriterHandle};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::command::{Command, CommandBody, Entry};
use trimaran_wire::v1::common::WireIdentity;

use crate::damaged::Damaged;
use crate::state_machine::EngineStateMachine;
use crate::wall_clock::{WallChange, WallGuard};

/// Entries in flight before requests wait for the next one.
const ENTRIES_IN_FLIGHT_MAX: usize = 2;
/// How often the wall clocks are compared.
const WALL_INTERVAL: Millis = Millis::seconds(1);

/// The answer to a command.
#[derive(Debug, Clone)]
pub(crate) enum Proposed {
    /// Applied at this revision, with this outcome.
    Done {
        revision: u64,
        outcome: Outcome,
    },
    /// Nothing happened; try again, or elsewhere.
    NotLeader,
    Busy(String),
    /// It may have happened or not.
    Indeterminate,
}

/// What everyone may know about this member without asking its thread.
#[derive(Debug, Clone)]
pub(crate) struct MemberStatus {
    pub(crate) role: RoleChange,
    pub(crate) now: Timestamp,
    pub(crate) wall: WallTime,
    /// Boot time at which `wall` was taken.
    pub(crate) at: Timestamp,
}

impl MemberStatus {
    /// The cluster's wall time at this moment.
    pub(crate) fn wall_now(&self) -> WallTime {
        self.wall + (clock::boot_time() - self.at)
    }

    pub(crate) fn leads(&self) -> bool {
        matches!(self.role.role, Role::Leader { ready: true })
    }
}

/// The revision from which on a view is linearizable, or why there is none now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReadAnswer {
    At(u64),
    NotLeader,
    Busy(String),
}

/// Bytes of the commands that wait for an entry, bounded by [`PROPOSALS_BYTES_MAX`].
#[derive(Debug, Clone, Default)]
pub(crate) struct QueuedBytes(Arc<AtomicUsize>);

impl QueuedBytes {
    /// Counts a command; false when it does not fit.
    pub(crate) fn add(&self, bytes: usize) -> bool {
        let fits = |queued: usize| queued.checked_add(bytes).filter(|sum| *sum <= PROPOSALS_BYTES_MAX);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    pub(crate) fn remove(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// One applied entry, for watchers on this member.
#[derive(Debug, Clone)]
pub(crate) struct Applied {
    pub(crate) revision: u64,
    /// The state's, which every replica shows alike, also after a restart.
    pub(crate) wall: WallTime,
    pub(crate) events: Vec<Event>,
}

/// What the loop's inbox holds.
pub(crate) enum Request {
    /// `bytes` of the encoded command, counted in [`QueuedBytes`].
    Propose {
        command: Command,
        bytes: usize,
        reply: oneshot::Sender<Proposed>,
    },
    Read {
        reply: oneshot::Sender<ReadAnswer>,
    },
    Status {
        reply: oneshot::Sender<NodeStatus>,
    },
    Writer(WriterEvent),
    /// A stored row is damaged.
    Damaged(Damaged),
    Shutdown,
}

/// For `cluster status`.
#[derive(Debug, Clone)]
pub(crate) struct NodeStatus {
    pub(crate) replica: Status,
}

/// Why the owner thread ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    #[error("{0}")]
    Fatal(Fatal),
    #[error("the writer does not accept jobs any more")]
    Writer,
    #[error(transparent)]
    Damaged(Damaged),
    #[error("the thread of the log ended with a panic")]
    Panicked,
}

type Reply = oneshot::Sender<Proposed>;

/// Owns the replica and with it the state. One thread runs it.
pub(crate) struct RaftLoop {
    replica: Replica<EngineStateMachine>,
    writer: WriterHandle,
    inbox: Receiver<Request>,
    /// Who waits for which proposal or read.
    waiting: BTreeMap<u64, Waits>,
    /// Commands that wait for the next entry.
    queue: Vec<Queued>,
    queued_bytes: QueuedBytes,
    next_waiter: u64,
    /// Our entries that are not answered yet.
    in_flight: usize,
    applied: broadcast::Sender<Arc<Applied>>,
    member_status: watch::Sender<MemberStatus>,
    /// Cluster time and boot time at the same moment.
    base: (Timestamp, Timestamp),
    guard: WallGuard,
    wall_observed: Option<Timestamp>,
    stopping: bool,
}

/// A command that waits for the next entry.
struct Queued {
    command: Command,
    bytes: usize,
    /// None for what the leader adds itself.
    reply: Option<Reply>,
}

enum Waits {
    Commands(Vec<Option<Reply>>),
    Read(oneshot::Sender<ReadAnswer>),
}

impl RaftLoop {
    /// A loop over a replica, and what it publishes of itself.
    pub(crate) fn new(
        replica: Replica<EngineStateMachine>,
        writer: WriterHandle,
        inbox: Receiver<Request>,
        applied: broadcast::Sender<Arc<Applied>>,
        queued_bytes: QueuedBytes,
    ) -> (Self, watch::Receiver<MemberStatus>) {
        let boot = clock::boot_time();
        let engine = replica.state_machine().engine();
        let first = MemberStatus { role: replica.role(), now: engine.now(), wall: engine.wall(), at: boot };
        let (publisher, member_status) = watch::channel(first);
        let made = Self {
            base: (engine.now(), boot),
            replica,
            writer,
            inbox,
            waiting: BTreeMap::new(),
            queue: Vec::new(),
            queued_bytes,
            next_waiter: 1,
            in_flight: 0,
            applied,
            member_status: publisher,
            guard: WallGuard::new(),
            wall_observed: None,
            stopping: false,
        };
        (made, member_status)
    }

    pub(crate) fn run(mut self) -> Result<(), NodeError> {
        self.step(Input::Due)?;
        loop {
            let first = match self.inbox.recv_timeout(self.poll_timeout()) {
                Ok(request) => Some(request),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            if let Some(request) = first {
                self.handle_request(request)?;
            }
            for _ in 0..ENTRY_COMMANDS_MAX {
                let Ok(request) = self.inbox.try_recv() else { break };
                self.handle_request(request)?;
            }
            if self.stopping {
                self.step(Input::Shutdown)?;
                return Ok(());
            }
            let now = clock::boot_time();
            if self.replica.next_deadline().is_some_and(|deadline| deadline <= now) {
                self.step(Input::Due)?;
            }
            self.own_commands(now);
            self.propose_queued()?;
        }
    }

    /// How long nothing has to be done without a request.
    fn poll_timeout(&self) -> Duration {
        let now = clock::boot_time();
        let replica = self.replica.next_deadline().map_or(Millis::seconds(1), |deadline| deadline - now);
        let timer = self.replica.state_machine().engine().next_timer();
        let timer = timer.map_or(Millis::seconds(1), |timer| timer - self.cluster_now());
        replica.min(timer).min(WALL_INTERVAL).to_std().max(Duration::from_millis(1))
    }

    /// Cluster time now: what the state had when this process began to measure, and what it measured since.
    fn cluster_now(&self) -> Timestamp {
        let measured = self.base.0 + (clock::boot_time() - self.base.1);
        measured.max(self.replica.state_machine().engine().now())
    }

    fn handle_request(&mut self, request: Request) -> Result<(), NodeError> {
        match request {
            Request::Propose { command, bytes, reply } if self.queue.len() < PROPOSALS_MAX => {
                self.queue.push(Queued { command, bytes, reply: Some(reply) });
            }
            Request::Propose { bytes, reply, .. } => {
                self.queued_bytes.remove(bytes);
                // A requester that went away needs no answer.
                let _ = reply.send(Proposed::Busy("the queue in front of the log is full".to_owned()));
            }
            Request::Read { reply } => {
                let waiter = self.waiter(Waits::Read(reply));
                self.step(Input::Read { waiter })?;
            }
            Request::Status { reply } => {
                // A requester that went away needs no answer.
                let _ = reply.send(NodeStatus { replica: self.replica.status() });
            }
            Request::Writer(WriterEvent::Written(written)) => self.step(Input::Written(written))?,
            Request::Writer(WriterEvent::Installed { number, rows }) => {
                self.step(Input::SnapshotInstalled { number, rows: Box::new(rows.into_iter()) })?;
            }
            Request::Writer(WriterEvent::Failed(error)) => {
                self.step(Input::WriteFailed { reason: error.to_string() })?;
            }
            Request::Damaged(damaged) => return Err(NodeError::Damaged(damaged)),
            Request::Shutdown => self.stopping = true,
        }
        Ok(())
    }

    /// What the leader adds automatically: time that is due, the settle queue, wall time.
    fn own_commands(&mut self, now: Timestamp) {
        if !matches!(self.replica.role().role, Role::Leader { ready: true }) {
            return;
        }
        let cluster_now = self.cluster_now();
        let mut bodies = Vec::new();
        if self.wall_observed.is_none_or(|observed| now - observed >= WALL_INTERVAL) {
            self.wall_observed = Some(now);
            bodies.extend(self.observe_wall(now, cluster_now));
        }
        // An entry in flight runs due timers and part of the settle queue itself.
        let idle = self.in_flight == 0;
        let engine = self.replica.state_machine().engine();
        if idle && engine.next_timer().is_some_and(|timer| timer <= cluster_now) {
            bodies.push(CommandBody::Advance);
        }
        if idle && engine.settle_queue_len() > 0 {
            bodies.push(CommandBody::Settle);
        }
        let system = |body| Queued {
            command: Command { identity: WireIdentity::System, request: None, body },
            bytes: 0,
            reply: None,
        };
        self.queue.extend(bodies.into_iter().map(system));
    }

    fn observe_wall(&mut self, boot: Timestamp, cluster_now: Timestamp) -> Option<CommandBody> {
        let engine = self.replica.state_machine().engine();
        let offset = engine.wall().0 - i64::try_from(engine.now().0).unwrap_or(i64::MAX);
        let state = WallTime(offset) + Millis(cluster_now.0);
        match self.guard.compare(boot, clock::system_wall(), state)? {
            WallChange::Move { by_ms, jump } => {
                Some(CommandBody::WallOffset { offset_ms: offset + by_ms, jump })
            }
            WallChange::Clear => Some(CommandBody::WallOffset { offset_ms: offset, jump: false }),
        }
    }

    /// Puts what waits into one entry when few enough are in flight.
    fn propose_queued(&mut self) -> Result<(), NodeError> {
        while !self.queue.is_empty() && self.in_flight < ENTRIES_IN_FLIGHT_MAX {
            let count = self.fitting();
            let queued = self.queue.drain(..count);
            let (commands, replies): (Vec<_>, Vec<_>) = queued
                .map(|Queued { command, bytes, reply }| {
                    self.queued_bytes.remove(bytes);
                    (command, reply)
                })
                .unzip();
            let entry = Entry { now_ms: self.cluster_now().0, commands };
            let data = Bytes::from(entry.to_bytes());
            let waiter = self.waiter(Waits::Commands(replies));
            self.in_flight += 1;
            self.step(Input::Propose { waiter, data })?;
        }
        Ok(())
    }

    /// How many queued commands fit one entry; at least one, whose size the request's limit bounds.
    fn fitting(&self) -> usize {
        let mut bytes = 0;
        let fits = |queued: &&Queued| {
            bytes += queued.bytes;
            bytes < ENTRY_BYTES_MAX - 1024
        };
        self.queue.iter().take(ENTRY_COMMANDS_MAX).take_while(fits).count().max(1)
    }

    fn waiter(&mut self, waits: Waits) -> Waiter {
        let waiter = self.next_waiter;
        self.next_waiter += 1;
        self.waiting.insert(waiter, waits);
        Waiter(waiter)
    }

    fn step(&mut self, input: Input) -> Result<(), NodeError> {
        let mut outputs = Vec::new();
        self.replica.step(clock::boot_time(), input, &mut outputs);
        for output in outputs {
            self.execute(output)?;
        }
        Ok(())
    }

    fn execute(&mut self, output: Output<Vec<Outcome>, (WallTime, Event)>) -> Result<(), NodeError> {
        match output {
            Output::Write(job) => self.writer.submit(job).map_err(|_| NodeError::Writer)?,
            Output::Reply { waiter, answer } => self.answer(waiter, answer),
            Output::Events { revision, events } => {
                self.publish_status();
                let wall = events.first().map_or(WallTime(0), |(wall, _)| *wall);
                let events = events.into_iter().map(|(_, event)| event).collect();
                // An error says that nothing watches.
                let _ = self.applied.send(Arc::new(Applied { revision, wall, events }));
            }
            Output::Role(_) => self.publish_status(),
            Output::Fatal(fatal) => return Err(NodeError::Fatal(fatal)),
            // One member has no peers; several come with their own wiring.
            Output::Send { .. } | Output::BuildSnapshot { .. } | Output::SendSnapshot { .. } => {}
            Output::InstallSnapshot(_) => return Err(NodeError::Writer),
        }
        Ok(())
    }

    fn answer(&mut self, waiter: Waiter, answer: Answer<Vec<Outcome>>) {
        self.publish_status();
        match self.waiting.remove(&waiter.0) {
            Some(Waits::Commands(replies)) => {
                self.in_flight -= 1;
                answer_commands(replies, answer);
            }
            Some(Waits::Read(reply)) => {
                let answer = match answer {
                    Answer::Read { revision } => ReadAnswer::At(revision),
                    Answer::Busy(busy) => ReadAnswer::Busy(busy.to_string()),
                    Answer::NotLeader { .. }
                    | Answer::Indeterminate
                    | Answer::Applied { .. }
                    | Answer::MembersChanged { .. } => ReadAnswer::NotLeader,
                };
                // A reader that went away needs no answer.
                let _ = reply.send(answer);
            }
            None => {}
        }
    }

    fn publish_status(&self) {
        let engine = self.replica.state_machine().engine();
        let (now, wall) = (engine.now(), engine.wall());
        let cluster_now = self.cluster_now();
        let status = MemberStatus {
            role: self.replica.role(),
            now: cluster_now,
            wall: wall + (cluster_now - now),
            at: clock::boot_time(),
        };
        self.member_status.send_replace(status);
    }
}

fn answer_commands(replies: Vec<Option<Reply>>, answer: Answer<Vec<Outcome>>) {
    let all = |replies: Vec<Option<Reply>>, proposed: &dyn Fn() -> Proposed| {
        for reply in replies.into_iter().flatten() {
            // A requester that went away asks again with the same request id.
            let _ = reply.send(proposed());
        }
    };
    match answer {
        Answer::Applied { entry, reply: outcomes } => {
            for (reply, outcome) in replies.into_iter().zip(outcomes) {
                if let Some(reply) = reply {
                    let _ = reply.send(Proposed::Done { revision: entry.index, outcome });
                }
            }
        }
        Answer::NotLeader { .. } => all(replies, &|| Proposed::NotLeader),
        Answer::Busy(Busy::Shutdown) | Answer::Indeterminate => all(replies, &|| Proposed::Indeterminate),
        Answer::Busy(busy) => all(replies, &|| Proposed::Busy(busy.to_string())),
        Answer::MembersChanged { .. } | Answer::Read { .. } => all(replies, &|| Proposed::Indeterminate),
    }
}
