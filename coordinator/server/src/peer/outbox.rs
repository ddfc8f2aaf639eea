//! What is on its way to peers: bounded queues that the raft loop fills and the links empty.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::mpsc;
use trimaran_model::id::CoordinatorName;
use trimaran_model::limits::{PEER_QUEUE_MAX, UNCOMMITTED_BYTES_MAX};
use trimaran_replica::Class;
use trimaran_transport::Session;
use trimaran_wire::raft::Message;
use trimaran_wire::v1::peer::PeerMessage;

/// Bytes of entries that wait for one peer.
const APPEND_BYTES_MAX: usize = 2 * UNCOMMITTED_BYTES_MAX;

/// Who a peer is and where it is dialed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contact {
    pub(crate) name: CoordinatorName,
    pub(crate) address: String,
}

/// The peers of this member, by raft id. A clone is the same.
#[derive(Clone, Default)]
pub(crate) struct Peers(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// To whom there is a session now.
    links: BTreeMap<u64, Link>,
    /// Who should be dialed.
    wanted: BTreeMap<u64, Contact>,
    /// Where members said they are; a row may be older.
    introduced: BTreeMap<u64, Contact>,
}

struct Link {
    outbox: Outbox,
    session: Session,
}

/// The sending ends of a link's queues.
struct Outbox {
    control: mpsc::Sender<Message>,
    append: mpsc::Sender<Message>,
    append_bytes: Arc<AtomicUsize>,
    request: mpsc::Sender<PeerMessage>,
    snapshot: mpsc::Sender<Message>,
}

/// The receiving ends.
pub(super) struct Queues {
    pub(super) control: mpsc::Receiver<Message>,
    pub(super) append: mpsc::Receiver<Message>,
    /// Of what waits in `append`; its receiver counts down.
    pub(super) append_bytes: Arc<AtomicUsize>,
    pub(super) request: mpsc::Receiver<PeerMessage>,
    pub(super) snapshot: mpsc::Receiver<Message>,
}

/// Bytes of the entries of a message.
pub(super) fn entry_bytes(message: &Message) -> usize {
    message.entries.iter().map(|entry| entry.data.0.len() + entry.context.0.len() + 32).sum()
}

fn queues() -> (Outbox, Queues) {
    let (control, control_queue) = mpsc::channel(PEER_QUEUE_MAX);
    let (append, append_queue) = mpsc::channel(PEER_QUEUE_MAX);
    let (request, request_queue) = mpsc::channel(PEER_QUEUE_MAX);
    let (snapshot, snapshot_queue) = mpsc::channel(1);
    let append_bytes = Arc::<AtomicUsize>::default();
    let outbox = Outbox { control, append, append_bytes: append_bytes.clone(), request, snapshot };
    let queues = Queues {
        control: control_queue,
        append: append_queue,
        append_bytes,
        request: request_queue,
        snapshot: snapshot_queue,
    };
    (outbox, queues)
}

impl Outbox {
    fn append(&self, message: Message) {
        let bytes = entry_bytes(&message);
        if self.append_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > APPEND_BYTES_MAX
            || self.append.try_send(message).is_err()
        {
            self.append_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl Peers {
    /// Leaves a message of replication for a peer; lost when there is no link or no room.
    pub(crate) fn send(&self, to: u64, class: Class, message: Message) {
        let state = self.lock();
        let Some(Link { outbox, .. }) = state.links.get(&to) else { return };
        match class {
            Class::Control => drop(outbox.control.try_send(message)),
            Class::Append => outbox.append(message),
        }
    }

    /// As [`Self::send`], for what is beside replication.
    pub(crate) fn send_message(&self, to: u64, message: PeerMessage) {
        let state = self.lock();
        let Some(Link { outbox, .. }) = state.links.get(&to) else { return };
        drop(outbox.request.try_send(message));
    }

    /// Has a snapshot sent; false when it can't be begun now.
    pub(crate) fn send_snapshot(&self, to: u64, message: Message) -> bool {
        let state = self.lock();
        state.links.get(&to).is_some_and(|link| link.outbox.snapshot.try_send(message).is_ok())
    }

    /// To whom there is a session now.
    pub(super) fn linked(&self) -> Vec<u64> {
        self.lock().links.keys().copied().collect()
    }

    /// The session to a peer, for questions.
    pub(super) fn session(&self, id: u64) -> Option<Session> {
        self.lock().links.get(&id).map(|link| link.session.clone())
    }

    /// A session with a peer has begun: what is for it leaves by these queues.
    pub(super) fn connected(&self, id: u64, session: Session) -> Queues {
        let (outbox, queues) = queues();
        self.lock().links.insert(id, Link { outbox, session });
        queues
    }

    pub(super) fn disconnected(&self, id: u64) {
        let gone = self.lock().links.remove(&id);
        // Not while the lock is held: the last handle of a session closes it.
        drop(gone);
    }

    /// Where a peer should be dialed; `None` when it is a member no more.
    pub(super) fn wanted(&self, id: u64) -> Option<Contact> {
        self.lock().wanted.get(&id).cloned()
    }

    /// Sets who should be dialed; returns who was not before.
    pub(super) fn set_wanted(&self, mut wanted: BTreeMap<u64, Contact>) -> Vec<u64> {
        let mut state = self.lock();
        for (id, contact) in &mut wanted {
            if let Some(introduced) = state.introduced.get(id) {
                contact.clone_from(introduced);
            }
        }
        let new = wanted.keys().filter(|id| !state.wanted.contains_key(id)).copied().collect();
        state.wanted = wanted;
        new
    }

    /// A verified peer says where it is.
    pub(super) fn introduce(&self, id: u64, contact: Contact) {
        self.lock().introduced.insert(id, contact);
    }

    /// Everyone who has said where it is.
    pub(super) fn introduced(&self) -> BTreeMap<u64, Contact> {
        self.lock().introduced.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}
