//! The thread of the member: it moves inputs from an inbox into [`Member::step`] and outputs to the writer and to
//! whoever waits. What it decides is in `trimaran-member`; nothing here blocks on the network.
//!
//! Not here: the handle that everything else uses (`node`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{broadcast, oneshot, watch};
use trimaran_engine::rows::COLD_TABLES_FROM;
use trimaran_member::{
    Applied, DiskLevel, EngineStateMachine, Input, Member, MemberStatus, Output, Proposed, Queued, ReadAnswer,
};
use trimaran_model::id::CoordinatorName;
use trimaran_model::limits::ENTRY_COMMANDS_MAX;
use trimaran_process::clock;
use trimaran_replica::staging::Staged;
use trimaran_replica::{EntryMeta, Fatal, InstallJob, Replica, Status};
use trimaran_store::{StagedRows, WriterEvent, WriterHandle};
use trimaran_transport::random;
use trimaran_wire::raft::Message;
use trimaran_wire::v1::command::Command;
use trimaran_wire::v1::peer::{MembersRequest, PeerMessage};

use crate::damaged::Damaged;
use crate::peer::{Peers, SnapshotEvent, SnapshotFiles};

/// The commands that wait for an entry, in the inbox and in the member: bounded together, so that the inbox always has
/// space for one that has a reserve.
#[derive(Debug, Clone, Default)]
pub(crate) struct QueuedCommands(Arc<Mutex<Queued>>);

impl QueuedCommands {
    /// Counts a command; false when it does not fit.
    pub(crate) fn add(&self, bytes: usize, has_reserve: bool) -> bool {
        self.0.lock().add(bytes, has_reserve)
    }

    pub(crate) fn remove(&self, left: Queued) {
        self.0.lock().remove(left);
    }
}

/// How many requests of one kind wait. A clone counts the same ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slots(Arc<AtomicUsize>);

impl Slots {
    /// Counts one until the slot is dropped; `None` when `max` wait already.
    pub(crate) fn take(&self, max: usize) -> Option<Slot> {
        let one_more = |waiting| (waiting < max).then_some(waiting + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Slot(self.clone()))
    }
}

/// One that waits.
#[derive(Debug)]
pub(crate) struct Slot(Slots);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the loop's inbox holds.
pub(crate) enum Request {
    /// `bytes` of the encoded command, counted in [`QueuedCommands`].
    Propose {
        command: Command,
        bytes: usize,
        reply: oneshot::Sender<Proposed>,
    },
    Read {
        reply: oneshot::Sender<ReadAnswer>,
    },
    Status {
        reply: oneshot::Sender<Status>,
    },
    Members {
        request: MembersRequest,
        context: Bytes,
        reply: oneshot::Sender<Proposed>,
    },
    Writer(WriterEvent),
    /// Of a verified peer; the slot is free again once it is handled.
    Peer(Message, Slot),
    /// As [`Self::Peer`], of a snapshot whose rows are staged.
    PeerSnapshot {
        message: Message,
        rows: StagedRows,
        slot: Slot,
    },
    PeerMessage {
        from: u64,
        message: PeerMessage,
        slot: Slot,
    },
    Unreachable(u64),
    Snapshot(SnapshotEvent),
    SnapshotSent {
        to: u64,
        ok: bool,
    },
    /// The disk has another level of free space.
    DiskSpace(DiskLevel),
    /// A stored row is damaged.
    Damaged(Damaged),
    /// This coordinator is a member no more; another one says so when it is named.
    Removed {
        by: Option<CoordinatorName>,
    },
    Shutdown,
}

/// Why the member's thread ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    #[error("{0}")]
    Fatal(Fatal),
    #[error("the writer does not accept jobs any more")]
    Writer,
    #[error(transparent)]
    Damaged(Damaged),
    #[error("this coordinator was removed from the cluster; its directory can be deleted")]
    Removed,
    #[error(
        "coordinator `{by}` refuses the keys of this one: it was removed from the cluster, or the cluster was recovered without it; its directory can be deleted"
    )]
    RemovedBy { by: CoordinatorName },
    #[error("a snapshot of the leader up to revision {index} can't be installed: its rows are not here")]
    Install { index: u64 },
    #[error("the thread of the log ended with a panic")]
    Panicked,
}

type ServerInput = Input<oneshot::Sender<Proposed>, oneshot::Sender<ReadAnswer>>;
type ServerOutput = Output<oneshot::Sender<Proposed>, oneshot::Sender<ReadAnswer>>;

/// What happened to the state of this member.
#[derive(Debug, Clone)]
pub(crate) enum Published {
    Applied(Arc<Applied>),
    /// A snapshot of the leader took the place of everything up to this revision.
    Replaced(u64),
}

/// What the loop works with.
pub(crate) struct LoopParts {
    pub(crate) writer: WriterHandle,
    pub(crate) inbox: Receiver<Request>,
    pub(crate) published: broadcast::Sender<Published>,
    pub(crate) queued: QueuedCommands,
    pub(crate) peers: Peers,
    pub(crate) snapshots: SnapshotFiles,
}

/// Owns the member. One thread runs it.
pub(crate) struct RaftLoop {
    member: Member<EngineStateMachine, oneshot::Sender<Proposed>, oneshot::Sender<ReadAnswer>>,
    writer: WriterHandle,
    inbox: Receiver<Request>,
    queued: QueuedCommands,
    /// What the member has and is still counted in `queued`.
    in_member: Queued,
    published: broadcast::Sender<Published>,
    member_status: watch::Sender<MemberStatus>,
    peers: Peers,
    snapshots: SnapshotFiles,
    /// Rows of snapshots that were received, until the replica has decided about them.
    staged: Staged<StagedRows>,
    outputs: Vec<ServerOutput>,
    stopping: bool,
}

impl RaftLoop {
    /// A loop over a replica, and what it publishes of itself.
    pub(crate) fn new(
        replica: Replica<EngineStateMachine>,
        parts: LoopParts,
    ) -> (Self, watch::Receiver<MemberStatus>) {
        let boot = clock::boot_time();
        // Far apart for each process, so that no answer meets a request of another one.
        let member = Member::new(replica, boot, random::next_u64() >> 2);
        let (publisher, member_status) = watch::channel(member.status(boot));
        let LoopParts { writer, inbox, published, queued, peers, snapshots } = parts;
        let made = Self {
            member,
            writer,
            inbox,
            queued,
            in_member: Queued::default(),
            published,
            member_status: publisher,
            peers,
            snapshots,
            staged: Staged::default(),
            outputs: Vec::new(),
            stopping: false,
        };
        (made, member_status)
    }

    pub(crate) fn run(mut self) -> Result<(), NodeError> {
        self.step(Input::Due)?;
        loop {
            let wait =
                self.member.next_deadline().map_or(Duration::MAX, |at| (at - clock::boot_time()).to_std());
            match self.inbox.recv_timeout(wait) {
                Ok(request) => self.handle_request(request)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            // What came together travels together.
            for _ in 0..ENTRY_COMMANDS_MAX {
                let Ok(request) = self.inbox.try_recv() else { break };
                self.handle_request(request)?;
            }
            if self.stopping {
                return self.step(Input::Shutdown);
            }
            if self.member.next_deadline().is_some_and(|deadline| deadline <= clock::boot_time()) {
                self.step(Input::Due)?;
            }
            self.remove_unwanted_rows();
        }
    }

    /// Removes rows of snapshots that the replica did not take, beside this thread: it is work for the disk.
    fn remove_unwanted_rows(&mut self) {
        let unwanted = self.staged.remove_unwanted(self.member.pending_snapshot());
        if !unwanted.is_empty() {
            // Where no thread can be had they go here.
            drop(std::thread::Builder::new().spawn(move || drop(unwanted)));
        }
    }

    fn handle_request(&mut self, request: Request) -> Result<(), NodeError> {
        match request {
            Request::Propose { command, bytes, reply } => {
                self.in_member.commands += 1;
                self.in_member.bytes += bytes;
                self.step(Input::Propose { requester: reply, command, bytes })
            }
            Request::Read { reply } => self.step(Input::Read { requester: reply }),
            Request::Status { reply } => {
                // A requester that went away needs no answer.
                let _ = reply.send(self.member.replica_status());
                Ok(())
            }
            Request::Members { request, context, reply } => {
                self.step(Input::Members { requester: reply, request, context })
            }
            Request::Peer(message, _slot) => self.step(Input::Peer(message)),
            Request::PeerSnapshot { message, rows, slot: _slot } => {
                if let Some(snapshot) = &message.snapshot {
                    let at = EntryMeta { index: snapshot.meta.index, term: snapshot.meta.term };
                    self.staged.add(at, rows);
                }
                self.step(Input::Peer(message))
            }
            Request::PeerMessage { from, message, slot: _slot } => {
                self.step(Input::PeerMessage { from, message })
            }
            Request::Unreachable(peer) => self.step(Input::Unreachable { peer }),
            Request::SnapshotSent { to, ok } => self.step(Input::SnapshotSent { to, ok }),
            Request::Snapshot(event) => self.handle_snapshot(event),
            Request::Writer(WriterEvent::Written(written)) => self.step(Input::Written(written)),
            Request::Writer(WriterEvent::Installed { number, hot }) => {
                self.step(Input::SnapshotInstalled { number, rows: Box::new(hot.into_iter()) })
            }
            Request::Writer(WriterEvent::Failed(error)) => {
                self.step(Input::WriteFailed { reason: error.to_string() })
            }
            Request::DiskSpace(level) => self.step(Input::DiskSpace(level)),
            Request::Damaged(damaged) => Err(NodeError::Damaged(damaged)),
            Request::Removed { by: None } => Err(NodeError::Removed),
            Request::Removed { by: Some(by) } => Err(NodeError::RemovedBy { by }),
            Request::Shutdown => {
                self.stopping = true;
                Ok(())
            }
        }
    }

    fn handle_snapshot(&mut self, event: SnapshotEvent) -> Result<(), NodeError> {
        match event {
            SnapshotEvent::Built(snapshot) => self.step(Input::SnapshotBuilt { snapshot }),
            SnapshotEvent::BuildFailed => self.step(Input::SnapshotFailed),
        }
    }

    fn step(&mut self, input: ServerInput) -> Result<(), NodeError> {
        let now = clock::boot_time();
        let only_queues = matches!(input, Input::Propose { .. });
        let mut outputs = std::mem::take(&mut self.outputs);
        self.member.step(now, clock::system_wall(), input, &mut outputs);
        let left = self.in_member.since(self.member.queued());
        self.queued.remove(left);
        self.in_member.remove(left);
        if !only_queues {
            self.member_status.send_replace(self.member.status(now));
        }
        for output in outputs.drain(..) {
            self.execute(output)?;
        }
        self.outputs = outputs;
        Ok(())
    }

    fn execute(&mut self, output: ServerOutput) -> Result<(), NodeError> {
        match output {
            Output::Write(job) => self.writer.submit(job).map_err(|_| self.writer_ended())?,
            // A requester that went away asks again with the same request id.
            Output::Proposed { requester, answer } => drop(requester.send(answer)),
            // A reader that went away needs no answer.
            Output::Read { requester, answer } => drop(requester.send(answer)),
            // An error says that nothing watches.
            Output::Applied(applied) => drop(self.published.send(Published::Applied(Arc::new(applied)))),
            Output::StateReplaced { revision } => drop(self.published.send(Published::Replaced(revision))),
            Output::Fatal(fatal) => return Err(NodeError::Fatal(fatal)),
            Output::Send { to, class, message } => self.peers.send(to, class, message),
            Output::SendPeer { to, message } => self.peers.send_message(to, message),
            Output::BuildSnapshot { min_index } => self.snapshots.build(min_index),
            Output::SendSnapshot { to, message } => {
                if !self.peers.send_snapshot(to, message) {
                    self.step(Input::SnapshotSent { to, ok: false })?;
                }
            }
            Output::InstallSnapshot(job) => self.install(job)?,
        }
        Ok(())
    }

    fn install(&mut self, job: InstallJob) -> Result<(), NodeError> {
        let at = EntryMeta { index: job.meta.index, term: job.meta.term };
        // What the replica waits for is kept since it was stepped.
        let rows = self.staged.take(at).ok_or(NodeError::Install { index: at.index })?;
        self.writer.install(job, rows, &[COLD_TABLES_FROM]).map_err(|_| self.writer_ended())
    }

    /// Why the writer does not accept jobs: it reported that before it ended, and the report waits behind what came earlier.
    fn writer_ended(&self) -> NodeError {
        let failed = self.inbox.try_iter().find_map(|request| match request {
            Request::Writer(WriterEvent::Failed(error)) => Some(Fatal::Write { reason: error.to_string() }),
            _ => None,
        });
        failed.map_or(NodeError::Writer, NodeError::Fatal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_free_again_when_it_is_dropped() {
        let slots = Slots::default();
        let mut taken: Vec<_> = (0..3).filter_map(|_| slots.clone().take(2)).collect();
        assert_eq!(taken.len(), 2);
        let reserved = slots.take(3).expect("a larger bound has space");
        assert!(slots.take(3).is_none(), "which is bounded too");
        drop(reserved);
        assert!(slots.take(2).is_none());
        taken.pop();
        assert!(slots.take(2).is_some());
    }
}
