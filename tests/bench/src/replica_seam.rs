//! Durable commits at the replica's seam: three replicas with their stores and writers in one process, without engine,
//! sessions and requests. Messages are handed over in memory, in the form in which they cross the network. What the commits
//! of whole coordinators have more than this is the price of all that.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use trimaran_model::time::Timestamp;
use trimaran_process::clock::boot_time;
use trimaran_replica::{
    Answer, Applied, EntryMeta, Input, Output, Replica, RestoreError, Role, RowBatch, RowIter, Settings,
    StateMachine, UnreadableEntry, Waiter,
};
use trimaran_store::{Options, Store, Writer, WriterEvent};
use trimaran_wire::codec::Message as _;
use trimaran_wire::raft::{ConfState, Identity, Message};

use crate::commits::{Commits, DOCUMENT_BYTES};

const VOTERS: [u64; 3] = [1, 2, 3];
const QUEUE: usize = 4096;

/// Each entry is one row: the key of its client and what it wrote.
#[derive(Default)]
struct Rows;

impl StateMachine for Rows {
    type Reply = ();
    type Event = ();

    fn apply(&mut self, _: EntryMeta, data: &[u8]) -> Result<Applied<(), ()>, UnreadableEntry> {
        let mut rows = RowBatch::default();
        let (client, value) = data.split_at(size_of::<u64>());
        rows.put([b"row".as_slice(), client].concat(), value);
        Ok(Applied { rows, reply: (), events: Vec::new() })
    }

    fn apply_members(
        &mut self,
        _: EntryMeta,
        _: &ConfState,
        _: &[u8],
    ) -> Result<Applied<(), ()>, UnreadableEntry> {
        Ok(Applied { rows: RowBatch::default(), reply: (), events: Vec::new() })
    }

    fn restore(&mut self, _: EntryMeta, _: RowIter) -> Result<(), RestoreError> {
        Ok(())
    }

    fn hash(&self) -> u128 {
        0
    }
}

/// What a node's inbox holds.
enum Event {
    Message(Vec<u8>),
    Writer(WriterEvent),
    /// Whoever leads writes for so many clients and so long, and answers with what they saw.
    Write {
        clients: usize,
        length: Duration,
        answer: SyncSender<Commits>,
    },
    Stop,
}

/// The clients of a leader: each has one entry in progress.
struct Clients {
    begin: Instant,
    length: Duration,
    sent: BTreeMap<Waiter, (u64, Instant)>,
    times: Vec<Duration>,
    answer: SyncSender<Commits>,
}

struct Node {
    replica: Replica<Rows>,
    writer: trimaran_store::WriterHandle,
    inbox: Receiver<Event>,
    peers: BTreeMap<u64, SyncSender<Event>>,
    clients: Option<Clients>,
    waiters: u64,
}

impl Node {
    fn new(folder: &Path, id: u64, inbox: Receiver<Event>, peers: BTreeMap<u64, SyncSender<Event>>) -> Self {
        let folder = folder.join(format!("seam-{id}"));
        let mut disk_id = [0; 16];
        disk_id[0] = u8::try_from(id).expect("a small number");
        let identity = Identity { cluster_id: [1; 16], disk_id, raft_id: id };
        Store::init(&folder, identity, &[], &Options::default()).expect("a new store");
        let (store, mut loaded) = Store::open(&folder, &Options::default()).expect("it opens");
        // All three begin with the same empty state at the same revision, so they may begin as a cluster.
        loaded.conf_state.voters = VOTERS.to_vec();
        let replica = Replica::new(Settings::new(id, 1), Rows, loaded).expect("a replica");
        let own = peers[&id].clone();
        let writer = Writer::spawn(store, QUEUE, move |event| drop(own.send(Event::Writer(event))));
        let writer = writer.expect("a thread");
        Self { replica, writer, inbox, peers, clients: None, waiters: 0 }
    }

    fn run(mut self) {
        self.step(Input::Due);
        loop {
            let wait = self.replica.next_deadline().expect("it runs").0.saturating_sub(boot_time().0);
            match self.inbox.recv_timeout(Duration::from_millis(wait)) {
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(event) => self.on_event(event),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.replica.next_deadline().is_some_and(|at| at <= boot_time()) {
                self.step(Input::Due);
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Message(bytes) => {
                self.step(Input::Peer(Message::from_bytes(&bytes).expect("a message of a node")));
            }
            Event::Writer(WriterEvent::Written(written)) => self.step(Input::Written(written)),
            Event::Writer(other) => panic!("the disk does not fail: {other:?}"),
            Event::Write { clients, length, answer } => {
                if matches!(self.replica.role().role, Role::Leader { ready: true }) {
                    let (begin, sent) = (Instant::now(), BTreeMap::new());
                    self.clients = Some(Clients { begin, length, sent, times: Vec::new(), answer });
                    (0..clients as u64).for_each(|client| self.propose(client));
                }
            }
            Event::Stop => {}
        }
    }

    fn propose(&mut self, client: u64) {
        self.waiters += 1;
        let waiter = Waiter(self.waiters);
        let clients = self.clients.as_mut().expect("there are clients");
        clients.sent.insert(waiter, (client, Instant::now()));
        let mut data = client.to_be_bytes().to_vec();
        data.resize(size_of::<u64>() + DOCUMENT_BYTES, b'x');
        self.step(Input::Propose { waiter, data: data.into() });
    }

    fn step(&mut self, input: Input) {
        let mut out = Vec::new();
        self.replica.step(Timestamp(boot_time().0), input, &mut out);
        let mut answered = Vec::new();
        for output in out {
            match output {
                Output::Send { to, message, .. } => {
                    // A full queue loses it, as a network does.
                    drop(self.peers[&to].try_send(Event::Message(message.to_bytes())));
                }
                Output::Write(job) => self.writer.submit(job).expect("the writer works"),
                Output::Reply { waiter, answer } => {
                    assert!(matches!(answer, Answer::Applied { .. }), "{answer:?}");
                    answered.push(waiter);
                }
                Output::Fatal(fatal) => panic!("{fatal}"),
                Output::Events { .. } | Output::Role(_) | Output::StateReplaced { .. } => {}
                Output::BuildSnapshot { .. } | Output::SendSnapshot { .. } | Output::InstallSnapshot(_) => {
                    panic!("no node lags so far")
                }
            }
        }
        answered.into_iter().for_each(|waiter| self.answered(waiter));
    }

    /// The client goes on, or everyone has ended.
    fn answered(&mut self, waiter: Waiter) {
        let clients = self.clients.as_mut().expect("there are clients");
        let (client, sent) = clients.sent.remove(&waiter).expect("each is answered once");
        clients.times.push(sent.elapsed());
        if clients.begin.elapsed() < clients.length {
            return self.propose(client);
        }
        if clients.sent.is_empty() {
            let Clients { begin, mut times, answer, .. } = self.clients.take().expect("there are clients");
            times.sort_unstable();
            let per_second = times.len() as f64 / begin.elapsed().as_secs_f64();
            answer.send(Commits { per_second, times }).expect("it is awaited");
        }
    }
}

/// Three replicas that run.
pub(crate) struct Seam {
    inboxes: BTreeMap<u64, SyncSender<Event>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Seam {
    pub(crate) fn start(folder: &Path) -> Self {
        let (mut inboxes, mut receivers) = (BTreeMap::new(), Vec::new());
        for id in VOTERS {
            let (sender, receiver) = sync_channel(QUEUE);
            inboxes.insert(id, sender);
            receivers.push((id, receiver));
        }
        let start = |(id, receiver): (u64, Receiver<Event>)| {
            let node = Node::new(folder, id, receiver, inboxes.clone());
            std::thread::spawn(move || node.run())
        };
        let threads = receivers.into_iter().map(start).collect();
        Self { inboxes, threads }
    }

    /// Commits of so many clients, one after the other each.
    pub(crate) fn commits(&self, clients: usize, length: Duration) -> Commits {
        let (answer, found) = sync_channel(1);
        loop {
            for inbox in self.inboxes.values() {
                let answer = answer.clone();
                inbox.send(Event::Write { clients, length, answer }).expect("the node runs");
            }
            // Before the election no one answers.
            if let Ok(found) = found.recv_timeout(length + Duration::from_secs(2)) {
                return found;
            }
        }
    }
}

impl Drop for Seam {
    fn drop(&mut self) {
        for inbox in self.inboxes.values() {
            // One that has ended gets nothing any more.
            drop(inbox.send(Event::Stop));
        }
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}
