//! A whole node: the member that the server runs on one thread, the writer on another, channels between. This thread
//! only moves inputs and outputs.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use trimaran_engine::rows::{from_bytes, tables};
use trimaran_engine::state::cluster::{Alarm, AlarmDetail};
use trimaran_engine::{Engine, Outcome};
use trimaran_member::{EngineStateMachine, Input, Member, Output, Proposed, ReadAnswer};
use trimaran_model::time::{Timestamp, WallTime};
use trimaran_replica::{Replica, Settings, Status};
use trimaran_store::{Store, Writer, WriterEvent, WriterHandle, WriterStats};
use trimaran_wire::codec::encode;
use trimaran_wire::v1::command::{Command, CommandBody};
use trimaran_wire::v1::common::WireIdentity;

use crate::options;

type In = Input<Sender<Proposed>, Sender<ReadAnswer>>;
type Out = Output<Sender<Proposed>, Sender<ReadAnswer>>;

pub(crate) enum Ask {
    Member(In),
    Status(Sender<(Status, WriterStats)>),
    Stop,
}

pub(crate) struct Node {
    pub(crate) store: Store,
    asks: Sender<Ask>,
    thread: Option<JoinHandle<()>>,
}

struct Mover {
    member: Member<EngineStateMachine, Sender<Proposed>, Sender<ReadAnswer>>,
    writer: WriterHandle,
    start: Instant,
    /// The wall clock at `start`: it agrees with the state, so that the leader has nothing to note about it.
    wall: WallTime,
}

impl Node {
    pub(crate) fn start(dir: &Path, settings: Settings) -> Self {
        let (store, loaded) = Store::open(dir, &options()).unwrap();
        let engine = Engine::from_rows(crate::rows(&store).into_iter()).unwrap();
        let wall = engine.wall();
        let replica = Replica::new(
            settings,
            EngineStateMachine::new(engine, trimaran_model::feature_level::SUPPORTED),
            loaded,
        )
        .unwrap();
        let (asks, queue) = channel();
        let events = asks.clone();
        let report = move |event| {
            let input = match event {
                WriterEvent::Written(written) => Input::Written(written),
                WriterEvent::Installed { number, hot } => {
                    Input::SnapshotInstalled { number, rows: Box::new(hot.into_iter()) }
                }
                WriterEvent::Failed(error) => Input::WriteFailed { reason: error.to_string() },
            };
            // The mover may be gone already when the writer ends.
            drop(events.send(Ask::Member(input)));
        };
        let writer = Writer::spawn(store.clone(), 1024, report).unwrap();
        let (member, start) = (Member::new(replica, Timestamp(0), 0), Instant::now());
        let mover = Mover { member, writer, start, wall };
        let thread = std::thread::spawn(move || mover.run(&queue));
        let node = Self { store, asks, thread: Some(thread) };
        assert!(matches!(node.read(), ReadAnswer::At(_)));
        node
    }

    /// Sets the alarm of this code, as a change whose row can be found again.
    pub(crate) fn propose(&self, code: &str, message: &str) -> Proposed {
        let body = CommandBody::Alarm {
            member: "c1".to_owned(),
            code: code.to_owned(),
            message: Some(message.to_owned()),
        };
        let command = Command { identity: WireIdentity::System, request: None, body };
        let bytes = encode(&command).len();
        let (requester, answer) = channel();
        self.asks.send(Ask::Member(Input::Propose { requester, command, bytes })).unwrap();
        answer.recv_timeout(Duration::from_secs(30)).expect("an answer")
    }

    pub(crate) fn read(&self) -> ReadAnswer {
        let (requester, answer) = channel();
        self.asks.send(Ask::Member(Input::Read { requester })).unwrap();
        answer.recv_timeout(Duration::from_secs(30)).expect("an answer")
    }

    pub(crate) fn status(&self) -> (Status, WriterStats) {
        let (reply, answer) = channel();
        self.asks.send(Ask::Status(reply)).unwrap();
        answer.recv_timeout(Duration::from_secs(30)).expect("an answer")
    }

    /// The message of every stored alarm, by its code.
    pub(crate) fn alarms(&self) -> std::collections::BTreeMap<String, String> {
        let view = self.store.read_view();
        let alarms = view.scan(&[tables::ALARM]).map(|row| from_bytes::<Alarm>(&row.unwrap().1).unwrap());
        let message = |alarm: Alarm| match alarm.detail {
            AlarmDetail::Reported { message } => (alarm.code, message),
            other => panic!("{other:?} was not set here"),
        };
        alarms.map(message).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.asks.send(Ask::Stop);
        self.thread.take().expect("taken here alone").join().expect("the thread did not panic");
    }
}

impl Mover {
    fn run(mut self, queue: &Receiver<Ask>) {
        self.step(Input::Due);
        loop {
            let wait = self.member.next_deadline().map_or(Duration::MAX, |at| (at - self.now()).to_std());
            match queue.recv_timeout(wait.min(Duration::from_secs(1))) {
                Ok(Ask::Member(input)) => self.step(input),
                Ok(Ask::Status(reply)) => {
                    drop(reply.send((self.member.replica_status(), self.writer.stats())))
                }
                Ok(Ask::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => self.step(Input::Due),
            }
        }
        self.step(Input::Shutdown);
    }

    fn now(&self) -> Timestamp {
        Timestamp(u64::try_from(self.start.elapsed().as_millis()).unwrap())
    }

    fn step(&mut self, input: In) {
        let mut out = Vec::new();
        let now = self.now();
        self.member.step(now, self.wall + (now - Timestamp(0)), input, &mut out);
        out.into_iter().for_each(|output| self.execute(output));
    }

    fn execute(&self, output: Out) {
        match output {
            Output::Write(job) => self.writer.submit(job).unwrap(),
            // The requester may have gone away.
            Output::Proposed { requester, answer } => drop(requester.send(answer)),
            Output::Read { requester, answer } => drop(requester.send(answer)),
            Output::Fatal(fatal) => panic!("{fatal}"),
            Output::Applied(_) => {}
            Output::Send { .. }
            | Output::SendPeer { .. }
            | Output::StateReplaced { .. }
            | Output::BuildSnapshot { .. }
            | Output::SendSnapshot { .. }
            | Output::InstallSnapshot(_) => panic!("a single voter has no peers"),
        }
    }
}

/// Runs `clients` threads that each set `count` alarms; returns how many were acknowledged.
pub(crate) fn load(node: &Node, clients: u64, count: u64) -> usize {
    let (done, all) = sync_channel(clients as usize);
    std::thread::scope(|scope| {
        for client in 0..clients {
            let done = done.clone();
            scope.spawn(move || {
                for n in 0..count {
                    match node.propose(&format!("c{client}-{n}"), &format!("v{client}-{n}")) {
                        Proposed::Done { outcome: Outcome::Nothing, .. } => {}
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
