//! One member at work: the thread that owns the replica and with it the state, the writer behind it, and the
//! handle that everything else uses.
//!
//! Requests wait while two entries are under way, and then travel together in the next one: the slower the
//! disk, the larger the groups. Nothing here blocks on the network; answers leave through channels.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{broadcast, oneshot, watch};
use trimaran_engine::{Event, Outcome};
use trimaran_model::limits::{ENTRY_BYTES_MAX, ENTRY_COMMANDS_MAX, PROPOSALS_MAX};
use trimaran_model::time::{Millis, Timestamp, WallTime};
use trimaran_process::clock;
use trimaran_replica::io::{Answer, Busy, Fatal, Input, Output, Role, RoleChange, Waiter};
use trimaran_replica::{Replica, Settings, Status};
use trimaran_store::{Store, Writer, WriterEvent, WriterHandle};
use trimaran_wire::codec::{Message as _, encode};
use trimaran_wire::v1::command::{Command, CommandBody, Entry};
use trimaran_wire::v1::common::WireIdentity;

use crate::state_machine::EngineStateMachine;
use crate::wall::{WallChange, WallGuard};

/// Entries under way before requests wait for the next one.
const ENTRIES_UNDER_WAY_MAX: usize = 2;
/// How often the wall clocks are compared.
const WALL_EVERY: Millis = Millis::seconds(1);

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

/// What everybody may know about this member without asking its thread.
#[derive(Debug, Clone)]
pub(crate) struct Pulse {
    pub(crate) role: RoleChange,
    pub(crate) now: Timestamp,
    pub(crate) wall: WallTime,
    /// Boot time at which `wall` was taken.
    pub(crate) at: Timestamp,
}

impl Pulse {
    /// The cluster's wall time at this moment.
    pub(crate) fn wall_now(&self) -> WallTime {
        self.wall + (clock::boot_time() - self.at)
    }

    pub(crate) fn leads(&self) -> bool {
        matches!(self.role.role, Role::Leader { ready: true })
    }
}

/// One applied entry, for watchers on this member.
#[derive(Debug, Clone)]
pub(crate) struct Applied {
    pub(crate) revision: u64,
    pub(crate) wall: WallTime,
    pub(crate) events: Vec<Event>,
}

enum Request {
    Propose { command: Command, reply: oneshot::Sender<Proposed> },
    Read { reply: oneshot::Sender<Option<u64>> },
    Status { reply: oneshot::Sender<NodeStatus> },
    Writer(WriterEvent),
    Shutdown,
}

/// For `cluster status`.
#[derive(Debug, Clone)]
pub(crate) struct NodeStatus {
    pub(crate) replica: Status,
}

/// The way to the owner thread. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Node {
    requests: SyncSender<Request>,
    pub(crate) store: Store,
    applied: broadcast::Sender<Arc<Applied>>,
    pulse: watch::Receiver<Pulse>,
}

/// Why the owner thread ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    #[error("{0}")]
    Fatal(Fatal),
    #[error("the writer does not take jobs any more")]
    Writer,
}

impl Node {
    /// Starts both threads. `ended` tells when the owner thread is done, and why.
    pub(crate) fn start(
        settings: Settings,
        store: Store,
        machine: EngineStateMachine,
        loaded: trimaran_replica::Loaded,
    ) -> Result<(Self, oneshot::Receiver<Result<(), NodeError>>), StartNodeError> {
        let (requests, inbox) = sync_channel(PROPOSALS_MAX * 2);
        let (applied, _) = broadcast::channel(1024);
        let replica = Replica::new(settings, machine, loaded)?;
        let to_owner = requests.clone();
        let writer = Writer::spawn(store.clone(), 4096, move |event| {
            // The owner has ended when this fails, and with it the reason to tell anybody.
            let _ = to_owner.send(Request::Writer(event));
        })?;
        let boot = clock::boot_time();
        let engine = replica.state_machine().engine();
        let first = Pulse { role: replica.role(), now: engine.now(), wall: engine.wall(), at: boot };
        let (pulse_sender, pulse) = watch::channel(first);
        let owner = Owner {
            base: (engine.now(), boot),
            replica,
            writer,
            inbox,
            waiting: BTreeMap::new(),
            queue: Vec::new(),
            next_waiter: 1,
            under_way: 0,
            applied: applied.clone(),
            pulse: pulse_sender,
            guard: WallGuard::new(),
            wall_looked: None,
            stopping: false,
        };
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new().name("raft".to_owned()).spawn(move || {
            // Nobody waits any more when this fails: the process is ending.
            let _ = end.send(owner.run());
        })?;
        Ok((Self { requests, store, applied, pulse }, ended))
    }

    /// Proposes a command and waits for its outcome.
    pub(crate) async fn propose(&self, command: Command) -> Proposed {
        self.submit(command).await.unwrap_or(Proposed::Indeterminate)
    }

    /// Proposes a command and answers through the channel, whose end without an answer means `Indeterminate`.
    /// Commands of one caller reach the log in the order of its calls.
    pub(crate) fn submit(&self, command: Command) -> oneshot::Receiver<Proposed> {
        let (reply, answer) = oneshot::channel();
        if let Err(refused) = self.requests.try_send(Request::Propose { command, reply })
            && let TrySendError::Full(Request::Propose { reply, .. }) = refused
        {
            // The receiver is in our hand.
            let _ = reply.send(Proposed::Busy("the queue in front of the log is full".to_owned()));
        }
        answer
    }

    /// The revision from which on a view is linearizable, with the rows at that revision in the store;
    /// `None` without a leader.
    pub(crate) async fn read_revision(&self) -> Option<u64> {
        let (reply, answer) = oneshot::channel();
        self.requests.try_send(Request::Read { reply }).ok()?;
        let revision = answer.await.ok()??;
        self.wait_rows(revision).await;
        Some(revision)
    }

    /// Waits until the rows of `revision` can be seen by read views.
    pub(crate) async fn wait_rows(&self, revision: u64) {
        let mut applied = self.store.watch_applied();
        // The sender lives as long as the store.
        let _ = applied.wait_for(|applied| *applied >= revision).await;
    }

    pub(crate) async fn status(&self) -> Option<NodeStatus> {
        let (reply, answer) = oneshot::channel();
        self.requests.try_send(Request::Status { reply }).ok()?;
        answer.await.ok()
    }

    /// Every applied entry from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<Applied>> {
        self.applied.subscribe()
    }

    pub(crate) fn pulse(&self) -> watch::Receiver<Pulse> {
        self.pulse.clone()
    }

    pub(crate) fn wall(&self) -> WallTime {
        self.pulse.borrow().wall_now()
    }

    pub(crate) fn shutdown(&self) {
        // A full queue means that the owner is busy and the process ends without its farewell.
        let _ = self.requests.try_send(Request::Shutdown);
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum StartNodeError {
    #[error(transparent)]
    Replica(#[from] trimaran_replica::StartError),
    #[error("a thread could not be started: {0}")]
    Thread(#[from] std::io::Error),
}

type Reply = oneshot::Sender<Proposed>;

struct Owner {
    replica: Replica<EngineStateMachine>,
    writer: WriterHandle,
    inbox: Receiver<Request>,
    /// Who waits for which proposal or read.
    waiting: BTreeMap<u64, Waits>,
    /// Commands that wait for the next entry.
    queue: Vec<(Command, Option<Reply>)>,
    next_waiter: u64,
    /// Our entries that are not answered yet.
    under_way: usize,
    applied: broadcast::Sender<Arc<Applied>>,
    pulse: watch::Sender<Pulse>,
    /// Cluster life and boot time at the same moment.
    base: (Timestamp, Timestamp),
    guard: WallGuard,
    wall_looked: Option<Timestamp>,
    stopping: bool,
}

enum Waits {
    Commands(Vec<Option<Reply>>),
    Read(oneshot::Sender<Option<u64>>),
}

impl Owner {
    fn run(mut self) -> Result<(), NodeError> {
        self.step(Input::Due)?;
        loop {
            let first = match self.inbox.recv_timeout(self.patience()) {
                Ok(request) => Some(request),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            if let Some(request) = first {
                self.take(request)?;
            }
            for _ in 0..ENTRY_COMMANDS_MAX {
                let Ok(request) = self.inbox.try_recv() else { break };
                self.take(request)?;
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
    fn patience(&self) -> Duration {
        let now = clock::boot_time();
        let replica = self.replica.next_deadline().map_or(Millis::seconds(1), |deadline| deadline - now);
        let timer = self.replica.state_machine().engine().next_timer();
        let timer = timer.map_or(Millis::seconds(1), |timer| timer - self.cluster_now());
        replica.min(timer).min(WALL_EVERY).to_std().max(Duration::from_millis(1))
    }

    /// Cluster life now: what the state had when this process began to measure, and what it measured since.
    fn cluster_now(&self) -> Timestamp {
        let measured = self.base.0 + (clock::boot_time() - self.base.1);
        measured.max(self.replica.state_machine().engine().now())
    }

    fn take(&mut self, request: Request) -> Result<(), NodeError> {
        match request {
            Request::Propose { command, reply } if self.queue.len() < PROPOSALS_MAX => {
                self.queue.push((command, Some(reply)));
            }
            Request::Propose { reply, .. } => {
                // An asker that went away needs no answer.
                let _ = reply.send(Proposed::Busy("the queue in front of the log is full".to_owned()));
            }
            Request::Read { reply } => {
                let waiter = self.waiter(Waits::Read(reply));
                self.step(Input::Read { waiter })?;
            }
            Request::Status { reply } => {
                // An asker that went away needs no answer.
                let _ = reply.send(NodeStatus { replica: self.replica.status() });
            }
            Request::Writer(WriterEvent::Written(written)) => self.step(Input::Written(written))?,
            Request::Writer(WriterEvent::Installed { number, rows }) => {
                self.step(Input::SnapshotInstalled { number, rows: Box::new(rows.into_iter()) })?;
            }
            Request::Writer(WriterEvent::Failed(error)) => {
                self.step(Input::WriteFailed { reason: error.to_string() })?;
            }
            Request::Shutdown => self.stopping = true,
        }
        Ok(())
    }

    /// What the leader adds by itself: time that is due, the settle queue, wall time.
    fn own_commands(&mut self, now: Timestamp) {
        if !matches!(self.replica.role().role, Role::Leader { ready: true }) || self.under_way > 0 {
            return;
        }
        let cluster_now = self.cluster_now();
        let engine = self.replica.state_machine().engine();
        let mut bodies = Vec::new();
        if engine.next_timer().is_some_and(|timer| timer <= cluster_now) {
            bodies.push(CommandBody::Advance);
        }
        if engine.settle_queue_len() > 0 {
            bodies.push(CommandBody::Settle);
        }
        if self.wall_looked.is_none_or(|looked| now - looked >= WALL_EVERY) {
            self.wall_looked = Some(now);
            bodies.extend(self.look_at_wall(now, cluster_now));
        }
        let system = |body| (Command { identity: WireIdentity::System, request: None, body }, None);
        self.queue.extend(bodies.into_iter().map(system));
    }

    fn look_at_wall(&mut self, boot: Timestamp, cluster_now: Timestamp) -> Option<CommandBody> {
        let engine = self.replica.state_machine().engine();
        let offset = engine.wall().0 - i64::try_from(engine.now().0).unwrap_or(i64::MAX);
        let state = WallTime(offset) + Millis(cluster_now.0);
        match self.guard.look(boot, clock::system_wall(), state)? {
            WallChange::Move { by_ms, jump } => {
                Some(CommandBody::WallOffset { offset_ms: offset + by_ms, jump })
            }
            WallChange::Clear => Some(CommandBody::WallOffset { offset_ms: offset, jump: false }),
        }
    }

    /// Puts what waits into one entry when few enough are under way.
    fn propose_queued(&mut self) -> Result<(), NodeError> {
        while !self.queue.is_empty() && self.under_way < ENTRIES_UNDER_WAY_MAX {
            let count = self.fitting();
            let (commands, replies): (Vec<_>, Vec<_>) = self.queue.drain(..count).unzip();
            let entry = Entry { now_ms: self.cluster_now().0, commands };
            let data = Bytes::from(entry.to_bytes());
            let waiter = self.waiter(Waits::Commands(replies));
            self.under_way += 1;
            self.step(Input::Propose { waiter, data })?;
        }
        Ok(())
    }

    /// How many queued commands fit one entry; at least one, whose size the request's limit bounds.
    fn fitting(&self) -> usize {
        let mut bytes = 0;
        let fits = |(command, _): &&(Command, Option<Reply>)| {
            bytes += encode(command).len();
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
            self.carry_out(output)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, output: Output<Vec<Outcome>, Event>) -> Result<(), NodeError> {
        match output {
            Output::Write(job) => self.writer.submit(job).map_err(|_| NodeError::Writer)?,
            Output::Reply { waiter, answer } => self.answer(waiter, answer),
            Output::Events { revision, events } => {
                self.beat();
                // Without watchers nobody has to be told.
                let wall = self.pulse.borrow().wall;
                let _ = self.applied.send(Arc::new(Applied { revision, wall, events }));
            }
            Output::Role(_) => self.beat(),
            Output::Fatal(fatal) => return Err(NodeError::Fatal(fatal)),
            // One member has no peers; several come with their own wiring.
            Output::Send { .. } | Output::BuildSnapshot { .. } | Output::SendSnapshot { .. } => {}
            Output::InstallSnapshot(_) => return Err(NodeError::Writer),
        }
        Ok(())
    }

    fn answer(&mut self, waiter: Waiter, answer: Answer<Vec<Outcome>>) {
        self.beat();
        match self.waiting.remove(&waiter.0) {
            Some(Waits::Commands(replies)) => {
                self.under_way -= 1;
                answer_commands(replies, answer);
            }
            Some(Waits::Read(reply)) => {
                let revision = match answer {
                    Answer::Read { revision } => Some(revision),
                    _ => None,
                };
                // A reader that went away needs no answer.
                let _ = reply.send(revision);
            }
            None => {}
        }
    }

    fn beat(&self) {
        let engine = self.replica.state_machine().engine();
        let (now, wall) = (engine.now(), engine.wall());
        let cluster_now = self.cluster_now();
        let pulse = Pulse {
            role: self.replica.role(),
            now: cluster_now,
            wall: wall + (cluster_now - now),
            at: clock::boot_time(),
        };
        self.pulse.send_replace(pulse);
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
