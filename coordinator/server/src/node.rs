//! The handle of one member: its two threads are started here, and everything else reaches them through it.
//!
//! Not here: what the threads do (`raft_loop`, and the writer of `trimaran-store`).

use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use bytes::Bytes;
use tokio::sync::{broadcast, oneshot, watch};
use trimaran_member::member::QUEUE_FULL;
use trimaran_member::{DiskLevel, EngineStateMachine, MemberStatus, Proposed, Queued, ReadAnswer};
use trimaran_model::id::CoordinatorName;
use trimaran_model::limits::{
    PEER_MESSAGES_WAITING_MAX, PROPOSALS_MAX, PROPOSALS_RESERVED, READS_WAITING_MAX, READS_WAITING_RESERVED,
    WRITE_JOBS_MAX,
};
use trimaran_model::time::WallTime;
use trimaran_process::clock;
use trimaran_replica::{Replica, Settings, Status};
use trimaran_store::{StagedRows, Store, Writer};
use trimaran_wire::codec::encoded_len;
use trimaran_wire::raft::Message;
use trimaran_wire::v1::command::Command;
use trimaran_wire::v1::peer::{MembersRequest, PeerMessage};

use crate::damaged::Damaged;
use crate::peer::{Peers, SnapshotFiles, SnapshotIntake};
use crate::raft_loop::{LoopParts, NodeError, Published, QueuedCommands, RaftLoop, Request, Slots};

/// The inbox of the loop has space for everything that its own bound lets in: commands, reads, messages of peers, and
/// for what the writer and the rest of the process say.
const INBOX_MAX: usize = PROPOSALS_MAX
    + PROPOSALS_RESERVED
    + READS_WAITING_MAX
    + READS_WAITING_RESERVED
    + PEER_MESSAGES_WAITING_MAX
    + WRITE_JOBS_MAX
    + 64;

/// The handle of the raft loop. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Node {
    requests: SyncSender<Request>,
    queued: QueuedCommands,
    /// Requests for a linearizable view that have no answer yet.
    reads: Slots,
    from_peers: Slots,
    pub(crate) store: Store,
    pub(crate) peers: Peers,
    pub(crate) snapshots: SnapshotFiles,
    pub(crate) intake: SnapshotIntake,
    published: broadcast::Sender<Published>,
    member_status: watch::Receiver<MemberStatus>,
}

impl Node {
    /// Starts both threads; snapshots for other members are files in `snapshots`. `ended` answers when the loop
    /// has ended, and why.
    pub(crate) fn start(
        settings: Settings,
        store: Store,
        state_machine: EngineStateMachine,
        loaded: trimaran_replica::Loaded,
        snapshots: PathBuf,
    ) -> Result<(Self, oneshot::Receiver<Result<(), NodeError>>), StartNodeError> {
        let (requests, inbox) = sync_channel(INBOX_MAX);
        let (published, _) = broadcast::channel(1024);
        let (queued, peers) = (QueuedCommands::default(), Peers::default());
        let to_loop = requests.clone();
        // The loop has ended when this fails, and no one waits for the event any more.
        let report = move |event| drop(to_loop.send(Request::Snapshot(event)));
        let intake = SnapshotIntake::new(store.clone(), store.path().to_owned());
        let snapshots = SnapshotFiles::new(snapshots, store.clone(), Box::new(report));
        let snapshots = snapshots.map_err(StartNodeError::Snapshots)?;
        let replica = Replica::new(settings, state_machine, loaded)?;
        let to_loop = requests.clone();
        let writer = Writer::spawn(store.clone(), 4096, move |event| {
            // The loop has ended when this fails, and no one waits for the event any more.
            let _ = to_loop.send(Request::Writer(event));
        })?;
        let parts = LoopParts {
            writer,
            inbox,
            published: published.clone(),
            queued: queued.clone(),
            peers: peers.clone(),
            snapshots: snapshots.clone(),
        };
        let (raft_loop, member_status) = RaftLoop::new(replica, parts);
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new().name("raft".to_owned()).spawn(move || {
            // No one waits any more when this fails: the process is ending.
            let _ = end.send(raft_loop.run());
        })?;
        let (reads, from_peers) = (Slots::default(), Slots::default());
        let node = Self {
            requests,
            queued,
            reads,
            from_peers,
            store,
            peers,
            snapshots,
            intake,
            published,
            member_status,
        };
        Ok((node, ended))
    }

    /// Proposes a command and waits for its outcome.
    pub(crate) async fn propose(&self, command: Command) -> Proposed {
        self.submit(command).await.unwrap_or(Proposed::Indeterminate)
    }

    /// Proposes a command and answers through the channel, whose end without an answer means `Indeterminate`.
    /// Commands of one caller reach the log in the order of its calls.
    pub(crate) fn submit(&self, command: Command) -> oneshot::Receiver<Proposed> {
        let (reply, answer) = oneshot::channel();
        let bytes = encoded_len(&command);
        if !self.queued.add(bytes, command.body.has_reserve()) {
            // The receiver is in our hand.
            let _ = reply.send(Proposed::Busy(QUEUE_FULL.to_owned()));
            return answer;
        }
        let (reply, ended) = match self.requests.try_send(Request::Propose { command, bytes, reply }) {
            Ok(()) => return answer,
            Err(TrySendError::Full(Request::Propose { reply, .. })) => (reply, false),
            Err(TrySendError::Disconnected(Request::Propose { reply, .. })) => (reply, true),
            Err(_) => unreachable!("what was sent comes back"),
        };
        self.queued.remove(Queued { commands: 1, bytes });
        // Without an answer it is indeterminate, as with all that the loop had when it ended.
        if !ended {
            let _ = reply.send(Proposed::Busy(QUEUE_FULL.to_owned()));
        }
        answer
    }

    /// Changes the members or the leader, here or through the leader.
    pub(crate) async fn change_members(&self, request: MembersRequest, context: Bytes) -> Proposed {
        let (reply, answer) = oneshot::channel();
        match self.requests.try_send(Request::Members { request, context, reply }) {
            Ok(()) => answer.await.unwrap_or(Proposed::Indeterminate),
            Err(TrySendError::Full(_)) => Proposed::Busy(QUEUE_FULL.to_owned()),
            Err(TrySendError::Disconnected(_)) => Proposed::NotLeader,
        }
    }

    /// A message of a verified peer. Where the loop is too busy for it, it is lost as on the way.
    pub(crate) fn receive(&self, message: Message) {
        let Some(slot) = self.from_peers.take(PEER_MESSAGES_WAITING_MAX) else { return };
        drop(self.requests.try_send(Request::Peer(message, slot)));
    }

    /// A snapshot of a verified peer whose rows are staged. They are removed where the loop is too busy for it.
    pub(crate) fn receive_snapshot(&self, message: Message, rows: StagedRows) {
        let Some(slot) = self.from_peers.take(PEER_MESSAGES_WAITING_MAX) else { return };
        drop(self.requests.try_send(Request::PeerSnapshot { message, rows, slot }));
    }

    /// As [`Self::receive`].
    pub(crate) fn receive_message(&self, from: u64, message: PeerMessage) {
        let Some(slot) = self.from_peers.take(PEER_MESSAGES_WAITING_MAX) else { return };
        drop(self.requests.try_send(Request::PeerMessage { from, message, slot }));
    }

    /// A peer can't be reached.
    pub(crate) fn unreachable(&self, peer: u64) {
        drop(self.requests.try_send(Request::Unreachable(peer)));
    }

    /// The transfer of a snapshot has ended. Never lost: the peer would wait for ever.
    pub(crate) fn snapshot_sent(&self, to: u64, ok: bool) {
        let requests = self.requests.clone();
        // A full queue has room a moment later; the loop may also have ended already.
        tokio::task::spawn_blocking(move || drop(requests.send(Request::SnapshotSent { to, ok })));
    }

    /// The revision from which on a view is linearizable, with the rows at that revision in the store;
    /// otherwise why there is none now. With `has_reserve` it is asked for in front of what undoes.
    pub(crate) async fn read_revision(&self, has_reserve: bool) -> ReadAnswer {
        let max = READS_WAITING_MAX + if has_reserve { READS_WAITING_RESERVED } else { 0 };
        let Some(_waiting) = self.reads.take(max) else {
            return ReadAnswer::Busy(QUEUE_FULL.to_owned());
        };
        let (reply, answer) = oneshot::channel();
        match self.requests.try_send(Request::Read { reply }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return ReadAnswer::Busy(QUEUE_FULL.to_owned()),
            Err(TrySendError::Disconnected(_)) => return ReadAnswer::NotLeader,
        }
        let answer = answer.await.unwrap_or(ReadAnswer::NotLeader);
        if let ReadAnswer::At(revision) = &answer {
            self.wait_rows(*revision).await;
        }
        answer
    }

    /// Waits until the rows of `revision` can be seen by read views.
    pub(crate) async fn wait_rows(&self, revision: u64) {
        let mut applied = self.store.watch_applied();
        // The sender exists as long as the store.
        let _ = applied.wait_for(|applied| *applied >= revision).await;
    }

    pub(crate) async fn status(&self) -> Option<Status> {
        let (reply, answer) = oneshot::channel();
        self.requests.try_send(Request::Status { reply }).ok()?;
        answer.await.ok()
    }

    /// Says how much space the disk has; false when that has to be said again.
    pub(crate) fn set_disk_level(&self, level: DiskLevel) -> bool {
        self.requests.try_send(Request::DiskSpace(level)).is_ok()
    }

    /// Every applied entry from now on, and snapshots in place of some.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Published> {
        self.published.subscribe()
    }

    pub(crate) fn member_status(&self) -> watch::Receiver<MemberStatus> {
        self.member_status.clone()
    }

    /// The cluster's wall time; the system's in a member that has no state yet.
    pub(crate) fn wall(&self) -> WallTime {
        if self.store.applied() == 0 {
            return clock::system_wall();
        }
        self.member_status.borrow().wall_at(clock::boot_time())
    }

    /// Ends the process for a row that can't be used.
    pub(crate) fn end(&self, damaged: Damaged) {
        self.send_at_last(Request::Damaged(damaged));
    }

    /// Ends the process of a coordinator that is a member no more; `by` is the member that says so, unless it knows itself.
    pub(crate) fn end_removed(&self, by: Option<CoordinatorName>) {
        self.send_at_last(Request::Removed { by });
    }

    fn send_at_last(&self, request: Request) {
        // A full queue has room a moment later; the loop may also have ended already.
        let requests = self.requests.clone();
        std::thread::spawn(move || drop(requests.send(request)));
    }

    pub(crate) fn shutdown(&self) {
        // A full queue means that the loop is busy and the process ends without a farewell.
        let _ = self.requests.try_send(Request::Shutdown);
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum StartNodeError {
    #[error(transparent)]
    Replica(#[from] trimaran_replica::StartError),
    #[error("a thread could not be started: {0}")]
    Thread(#[from] std::io::Error),
    #[error("the folder of snapshots can't be emptied: {0}")]
    Snapshots(#[source] std::io::Error),
}
