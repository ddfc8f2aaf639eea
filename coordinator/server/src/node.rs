//! The handle of one member: its two threads are started here, and everything else reaches them through it.
//!
//! Not here: what the threads do (`raft_loop`, and the writer of `trimaran-store`).

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use tokio::sync::{broadcast, oneshot, watch};
use trimaran_model::limits::PROPOSALS_MAX;
use trimaran_model::time::WallTime;
use trimaran_replica::{Replica, Settings};
use trimaran_store::{Store, Writer};
use trimaran_wire::codec::encode;
use trimaran_wire::v1::command::Command;

use crate::damaged::Damaged;
use crate::raft_loop::{
    Applied, MemberStatus, NodeError, NodeStatus, Proposed, QueuedBytes, RaftLoop, ReadAnswer, Request,
};
use crate::state_machine::EngineStateMachine;

/// Why a request is not accepted now.
const QUEUE_FULL: &str = "the queue in front of the log is full";

/// The handle of the raft loop. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Node {
    requests: SyncSender<Request>,
    queued_bytes: QueuedBytes,
    pub(crate) store: Store,
    applied: broadcast::Sender<Arc<Applied>>,
    member_status: watch::Receiver<MemberStatus>,
}

impl Node {
    /// Starts both threads. `ended` answers when the loop has ended, and why.
    pub(crate) fn start(
        settings: Settings,
        store: Store,
        state_machine: EngineStateMachine,
        loaded: trimaran_replica::Loaded,
    ) -> Result<(Self, oneshot::Receiver<Result<(), NodeError>>), StartNodeError> {
        let (requests, inbox) = sync_channel(PROPOSALS_MAX * 2);
        let (applied, _) = broadcast::channel(1024);
        let queued_bytes = QueuedBytes::default();
        let replica = Replica::new(settings, state_machine, loaded)?;
        let to_loop = requests.clone();
        let writer = Writer::spawn(store.clone(), 4096, move |event| {
            // The loop has ended when this fails, and no one waits for the event any more.
            let _ = to_loop.send(Request::Writer(event));
        })?;
        let (raft_loop, member_status) =
            RaftLoop::new(replica, writer, inbox, applied.clone(), queued_bytes.clone());
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new().name("raft".to_owned()).spawn(move || {
            // No one waits any more when this fails: the process is ending.
            let _ = end.send(raft_loop.run());
        })?;
        Ok((Self { requests, queued_bytes, store, applied, member_status }, ended))
    }

    /// Proposes a command and waits for its outcome.
    pub(crate) async fn propose(&self, command: Command) -> Proposed {
        self.submit(command).await.unwrap_or(Proposed::Indeterminate)
    }

    /// Proposes a command and answers through the channel, whose end without an answer means `Indeterminate`.
    /// Commands of one caller reach the log in the order of its calls.
    pub(crate) fn submit(&self, command: Command) -> oneshot::Receiver<Proposed> {
        let (reply, answer) = oneshot::channel();
        let bytes = encode(&command).len();
        if !self.queued_bytes.add(bytes) {
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
        self.queued_bytes.remove(bytes);
        // Without an answer it is indeterminate, as with all that the loop had when it ended.
        if !ended {
            let _ = reply.send(Proposed::Busy(QUEUE_FULL.to_owned()));
        }
        answer
    }

    /// The revision from which on a view is linearizable, with the rows at that revision in the store;
    /// otherwise why there is none now.
    pub(crate) async fn read_revision(&self) -> ReadAnswer {
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

    pub(crate) async fn status(&self) -> Option<NodeStatus> {
        let (reply, answer) = oneshot::channel();
        self.requests.try_send(Request::Status { reply }).ok()?;
        answer.await.ok()
    }

    /// Every applied entry from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<Applied>> {
        self.applied.subscribe()
    }

    pub(crate) fn member_status(&self) -> watch::Receiver<MemberStatus> {
        self.member_status.clone()
    }

    pub(crate) fn wall(&self) -> WallTime {
        self.member_status.borrow().wall_now()
    }

    /// Ends the process for a row that can't be used.
    pub(crate) fn end(&self, damaged: Damaged) {
        // A full queue has room a moment later; the loop may also have ended already.
        let requests = self.requests.clone();
        std::thread::spawn(move || drop(requests.send(Request::Damaged(damaged))));
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
}
