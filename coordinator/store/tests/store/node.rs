//! A whole node as a server wires it: one owner thread with the replica, one writer thread, channels between.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use trimaran_model::time::Timestamp;
use trimaran_replica::{Answer, Input, Output, Replica, Settings, StateMachine as _, Status, Waiter};
use trimaran_store::{Store, Writer, WriterEvent, WriterHandle, WriterStats};

use crate::options;
use crate::toy::Toy;

pub(crate) enum Ask {
    Propose(Vec<u8>, Sender<Answer<u64>>),
    Read(Sender<Answer<u64>>),
    Writer(WriterEvent),
    Status(Sender<(Status, WriterStats)>),
    Stop,
}

pub(crate) struct Node {
    pub(crate) store: Store,
    asks: Sender<Ask>,
    owner: Option<JoinHandle<()>>,
}

struct Owner {
    replica: Replica<Toy>,
    writer: WriterHandle,
    waiters: BTreeMap<Waiter, Sender<Answer<u64>>>,
    next_waiter: u64,
    start: Instant,
}

impl Node {
    pub(crate) fn start(dir: &Path, settings: Settings) -> Self {
        let (store, loaded) = Store::open(dir, &options()).unwrap();
        let mut state_machine = Toy::default();
        state_machine.restore(loaded.applied, Box::new(store.load_rows().unwrap().into_iter())).unwrap();
        let replica = Replica::new(settings, state_machine, loaded).unwrap();
        let (asks, queue) = channel();
        let events = asks.clone();
        // The owner may be gone already when the writer ends.
        let writer =
            Writer::spawn(store.clone(), 1024, move |event| drop(events.send(Ask::Writer(event)))).unwrap();
        let owner =
            Owner { replica, writer, waiters: BTreeMap::new(), next_waiter: 0, start: Instant::now() };
        let owner = std::thread::spawn(move || owner.run(&queue));
        let node = Self { store, asks, owner: Some(owner) };
        assert!(matches!(node.read(), Answer::Read { .. }));
        node
    }

    pub(crate) fn propose(&self, data: Vec<u8>) -> Answer<u64> {
        let (reply, answer) = channel();
        self.asks.send(Ask::Propose(data, reply)).unwrap();
        answer.recv_timeout(Duration::from_secs(30)).expect("an answer")
    }

    pub(crate) fn read(&self) -> Answer<u64> {
        let (reply, answer) = channel();
        self.asks.send(Ask::Read(reply)).unwrap();
        answer.recv_timeout(Duration::from_secs(30)).expect("an answer")
    }

    pub(crate) fn status(&self) -> (Status, WriterStats) {
        let (reply, answer) = channel();
        self.asks.send(Ask::Status(reply)).unwrap();
        answer.recv_timeout(Duration::from_secs(30)).expect("an answer")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.asks.send(Ask::Stop);
        self.owner.take().expect("taken here alone").join().expect("the owner did not panic");
    }
}

impl Owner {
    fn run(mut self, queue: &Receiver<Ask>) {
        self.step(Input::Due);
        loop {
            let wait = self.replica.next_deadline().map_or(Duration::MAX, |at| (at - self.now()).to_std());
            match queue.recv_timeout(wait.min(Duration::from_secs(1))) {
                Ok(Ask::Propose(data, reply)) => {
                    let waiter = self.wait(reply);
                    self.step(Input::Propose { waiter, data: data.into() });
                }
                Ok(Ask::Read(reply)) => {
                    let waiter = self.wait(reply);
                    self.step(Input::Read { waiter });
                }
                Ok(Ask::Writer(WriterEvent::Written(written))) => self.step(Input::Written(written)),
                Ok(Ask::Writer(WriterEvent::Installed { number, rows })) => {
                    self.step(Input::SnapshotInstalled { number, rows: Box::new(rows.into_iter()) });
                }
                Ok(Ask::Writer(WriterEvent::Failed(error))) => {
                    self.step(Input::WriteFailed { reason: error.to_string() });
                }
                Ok(Ask::Status(reply)) => drop(reply.send((self.replica.status(), self.writer.stats()))),
                Ok(Ask::Stop) => break,
                Err(RecvTimeoutError::Timeout) => self.step(Input::Due),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.step(Input::Shutdown);
    }

    fn now(&self) -> Timestamp {
        Timestamp(u64::try_from(self.start.elapsed().as_millis()).unwrap())
    }

    fn wait(&mut self, reply: Sender<Answer<u64>>) -> Waiter {
        self.next_waiter += 1;
        self.waiters.insert(Waiter(self.next_waiter), reply);
        Waiter(self.next_waiter)
    }

    fn step(&mut self, input: Input) {
        let mut out = Vec::new();
        self.replica.step(self.now(), input, &mut out);
        for output in out {
            match output {
                Output::Write(job) => self.writer.submit(job).unwrap(),
                Output::Reply { waiter, answer } => {
                    let reply = self.waiters.remove(&waiter).expect("each waiter is answered once");
                    // The requester may have gone away.
                    let _ = reply.send(answer);
                }
                Output::Fatal(fatal) => panic!("{fatal}"),
                Output::Events { .. } | Output::Role(_) => {}
                Output::Send { .. }
                | Output::BuildSnapshot { .. }
                | Output::SendSnapshot { .. }
                | Output::InstallSnapshot(_) => panic!("a single voter has no peers"),
            }
        }
    }
}

/// Runs `clients` threads that each propose `count` entries; returns what was acknowledged.
pub(crate) fn load(node: &Node, clients: u64, count: u64, acknowledged: impl Fn(u64, &str) + Sync) -> usize {
    let (done, all) = sync_channel(clients as usize);
    std::thread::scope(|scope| {
        for client in 0..clients {
            let (done, acknowledged) = (done.clone(), &acknowledged);
            scope.spawn(move || {
                for n in 0..count {
                    let data = format!("c{client}-{n}=v{client}-{n}");
                    match node.propose(data.clone().into_bytes()) {
                        Answer::Applied { reply, .. } => acknowledged(reply, &data),
                        other => panic!("{other:?}"),
                    }
                }
                done.send(count as usize).unwrap();
            });
        }
        drop(done);
        all.iter().sum()
    })
}
