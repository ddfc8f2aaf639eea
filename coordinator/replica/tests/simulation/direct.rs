//! One replica stepped by hand: what may leave a step, and what may not yet.

use bytes::Bytes;
use trimaran_model::limits;
use trimaran_model::time::Timestamp;
use trimaran_replica::memory::MemoryStore;
use trimaran_replica::{
    Answer, Busy, Fatal, Input, LogError, Output, Replica, Role, Settings, StartError, Waiter, WriteJob,
    Written,
};
use trimaran_wire::raft::{Blob, ConfState, Entry, EntryKind, Message, MessageKind};

use crate::toy::Toy;

struct Hand {
    replica: Replica<Toy>,
    now: u64,
}

type Out = Vec<Output<u64, Vec<u8>>>;

fn members(count: u64) -> ConfState {
    ConfState { voters: (1..=count).collect(), ..ConfState::default() }
}

impl Hand {
    fn new(voters: u64, settings: Settings) -> (Self, Out) {
        let store = MemoryStore::init(members(voters), &[]);
        let replica = Replica::new(settings, Toy::default(), store.load()).unwrap();
        let mut hand = Self { replica, now: 0 };
        let out = hand.step(Input::Due);
        (hand, out)
    }

    fn step(&mut self, input: Input) -> Out {
        let mut out = Vec::new();
        self.replica.step(Timestamp(self.now), input, &mut out);
        out
    }

    fn propose(&mut self, waiter: u64) -> Out {
        self.step(Input::Propose { waiter: Waiter(waiter), data: Bytes::from_static(b"k=v") })
    }

    fn written(&mut self, number: u64) -> Out {
        self.step(Input::Written(Written { number }))
    }

    /// A single voter whose first entry is applied and whose writer has nothing to do.
    fn leader(settings: Settings) -> Self {
        let (mut hand, out) = Self::new(1, settings);
        let mut jobs = writes(&out);
        while let Some(job) = jobs.pop() {
            jobs = writes(&hand.written(job.number));
        }
        assert_eq!(hand.replica.role().role, Role::Leader { ready: true });
        hand
    }
}

fn writes(out: &Out) -> Vec<WriteJob> {
    out.iter()
        .filter_map(|output| if let Output::Write(job) = output { Some(job.clone()) } else { None })
        .collect()
}

fn replies(out: &Out) -> Vec<(u64, Answer<u64>)> {
    let reply = |output: &Output<u64, Vec<u8>>| match output {
        Output::Reply { waiter, answer } => Some((waiter.0, answer.clone())),
        _ => None,
    };
    out.iter().filter_map(reply).collect()
}

fn sends(out: &Out) -> Vec<MessageKind> {
    let send = |output: &Output<u64, Vec<u8>>| match output {
        Output::Send { message, .. } => Some(message.kind),
        _ => None,
    };
    out.iter().filter_map(send).collect()
}

fn settings() -> Settings {
    Settings::new(1, 3)
}

fn message(kind: MessageKind, from: u64, term: u64) -> Message {
    Message {
        kind,
        to: 1,
        from,
        term,
        log_term: 1,
        index: 1,
        entries: Vec::new(),
        commit: 0,
        commit_term: 0,
        snapshot: None,
        request_snapshot: 0,
        reject: false,
        reject_hint: 0,
        context: Blob::default(),
        priority: 0,
    }
}

fn entry(index: u64, term: u64) -> Entry {
    let data = Blob(Bytes::from_static(b"k=v"));
    Entry { kind: EntryKind::Normal, term, index, data, context: Blob::default() }
}

#[test]
fn a_reply_follows_the_sync_of_its_entry() {
    let mut hand = Hand::leader(settings());
    let out = hand.propose(1);
    assert!(replies(&out).is_empty());
    let [job] = &writes(&out)[..] else { panic!("one job: {out:?}") };
    assert!(job.sync && job.entries.len() == 1);
    for _ in 0..10 {
        hand.now += 50;
        assert!(replies(&hand.step(Input::Due)).is_empty(), "time alone answers no one");
    }
    let out = hand.written(job.number);
    let [(1, Answer::Applied { entry, reply })] = &replies(&out)[..] else { panic!("{out:?}") };
    assert_eq!((entry.index, *reply), (job.entries[0].index, job.entries[0].index));
    let [rows] = &writes(&out)[..] else { panic!("one job: {out:?}") };
    assert!(!rows.sync, "rows can be made again from the log");
    assert_eq!(rows.applied, Some(*entry));
    assert!(rows.hard_state.unwrap().commit >= entry.index);
}

#[test]
fn proposals_that_meet_a_write_share_the_next_one() {
    let mut hand = Hand::leader(settings());
    let first = writes(&hand.propose(0)).remove(0);
    for waiter in 1..=100 {
        assert!(hand.propose(waiter).is_empty());
    }
    let out = hand.written(first.number);
    assert_eq!(replies(&out).len(), 1);
    let [job] = &writes(&out)[..] else { panic!("one job: {out:?}") };
    assert_eq!(job.entries.len(), 100);
    assert_eq!(replies(&hand.written(job.number)).len(), 100);
}

#[test]
fn what_is_refused_says_why() {
    let mut hand = Hand::leader(Settings { waiters_max: 2, ..settings() });
    let propose = |hand: &mut Hand, size: usize| {
        let data = Bytes::from(vec![b'='; size]);
        replies(&hand.step(Input::Propose { waiter: Waiter(9), data }))
    };
    let max = limits::ENTRY_BYTES_MAX;
    for size in [0, max + 1] {
        assert_eq!(propose(&mut hand, size), [(9, Answer::Busy(Busy::EntrySize { size, max }))]);
    }
    hand.step(Input::DiskLow(true));
    assert_eq!(propose(&mut hand, 3), [(9, Answer::Busy(Busy::Disk))]);
    hand.step(Input::DiskLow(false));
    hand.propose(1);
    hand.propose(2);
    assert_eq!(propose(&mut hand, 3), [(9, Answer::Busy(Busy::Waiters))]);
    let mut answers = replies(&hand.step(Input::Shutdown));
    answers.sort_by_key(|(waiter, _)| *waiter);
    assert_eq!(answers, [(1, Answer::Indeterminate), (2, Answer::Indeterminate)]);
    assert_eq!(propose(&mut hand, 3), [(9, Answer::Busy(Busy::Shutdown))]);

    let (mut follower, _) = Hand::new(3, settings());
    assert_eq!(propose(&mut follower, 3), [(9, Answer::NotLeader { hint: None })]);
    let read = replies(&follower.step(Input::Read { waiter: Waiter(4) }));
    assert_eq!(read, [(4, Answer::NotLeader { hint: None })]);
}

#[test]
fn a_read_on_a_single_voter_needs_no_write() {
    let mut hand = Hand::leader(settings());
    let applied = hand.replica.applied().index;
    let out = hand.step(Input::Read { waiter: Waiter(1) });
    assert_eq!(replies(&out), [(1, Answer::Read { revision: applied })]);
    assert!(writes(&out).is_empty());
}

#[test]
fn a_vote_leaves_only_after_it_is_synced() {
    let (mut hand, _) = Hand::new(3, settings());
    let out = hand.step(Input::Peer(message(MessageKind::RequestVote, 2, 5)));
    assert!(sends(&out).is_empty());
    let [job] = &writes(&out)[..] else { panic!("one job: {out:?}") };
    assert!(job.sync);
    assert_eq!(job.hard_state.map(|state| (state.term, state.vote)), Some((5, 2)));
    assert_eq!(sends(&hand.written(job.number)), [MessageKind::RequestVoteResponse]);
}

#[test]
fn an_append_is_answered_after_its_sync_and_a_heartbeat_at_once() {
    let (mut hand, _) = Hand::new(3, settings());
    let heartbeat = || Message { commit: 1, ..message(MessageKind::Heartbeat, 2, 2) };
    let out = hand.step(Input::Peer(heartbeat()));
    assert!(sends(&out).is_empty(), "the new term is not on the disk yet");
    let job = writes(&out).remove(0);
    assert_eq!(sends(&hand.written(job.number)), [MessageKind::HeartbeatResponse]);

    let append = Message { entries: vec![entry(2, 2)], commit: 1, ..message(MessageKind::Append, 2, 2) };
    let out = hand.step(Input::Peer(append));
    assert!(sends(&out).is_empty());
    let job = writes(&out).remove(0);
    let out = hand.step(Input::Peer(heartbeat()));
    assert_eq!(sends(&out), [MessageKind::HeartbeatResponse], "a slow disk is not a dead member");
    assert_eq!(sends(&hand.written(job.number)), [MessageKind::AppendResponse]);
}

#[test]
fn a_failed_write_and_a_confused_writer_end_the_process() {
    let mut hand = Hand::leader(settings());
    hand.propose(1);
    let out = hand.step(Input::WriteFailed { reason: "I/O error".into() });
    assert_eq!(replies(&out), [(1, Answer::Indeterminate)]);
    assert!(matches!(out.last(), Some(Output::Fatal(Fatal::Write { .. }))));
    assert_eq!(replies(&hand.propose(2)), [(2, Answer::Busy(Busy::Shutdown))]);
    assert!(hand.step(Input::Due).is_empty());
    assert_eq!(hand.replica.next_deadline(), None);

    for wrong in [0, 99] {
        let out = Hand::leader(settings()).written(wrong);
        assert!(matches!(out.last(), Some(Output::Fatal(Fatal::WriterOrder { .. }))), "{out:?}");
    }
}

#[test]
fn a_leader_that_knows_more_of_this_log_than_the_disk_ends_the_process() {
    let (mut hand, _) = Hand::new(3, settings());
    let out = hand.step(Input::Peer(Message { commit: 40, ..message(MessageKind::Heartbeat, 2, 2) }));
    let Some(Output::Fatal(fatal)) = out.last() else { panic!("{out:?}") };
    assert_eq!(*fatal, Fatal::LogLost { commit: 40, last: 1 });
}

#[test]
fn messages_that_would_confuse_raft_are_dropped() {
    let (mut hand, _) = Hand::new(3, settings());
    let gap = Message { entries: vec![entry(2, 1), entry(4, 1)], ..message(MessageKind::Append, 2, 2) };
    let elsewhere = Message { to: 3, ..message(MessageKind::RequestVote, 2, 9) };
    let own = message(MessageKind::RequestVote, 1, 9);
    let empty = message(MessageKind::Snapshot, 2, 9);
    let read = message(MessageKind::ReadIndex, 2, 9);
    for message in [gap, elsewhere, own, empty, read] {
        let kind = message.kind;
        assert!(hand.step(Input::Peer(message)).is_empty(), "{kind:?}");
    }
    assert_eq!(hand.replica.role().term, 1);
}

#[test]
fn a_replica_does_not_start_on_a_broken_log_or_impossible_settings() {
    let good = MemoryStore::init(members(1), &[]).load();
    let mut broken = good.clone();
    broken.hard_state.commit = 7;
    let error = Replica::new(settings(), Toy::default(), broken).err().expect("refused");
    assert!(matches!(error, StartError::Log(LogError::Bounds { .. })), "{error}");
    let backwards = Settings { election_ticks_max: 20, election_ticks: 20, ..settings() };
    let error = Replica::new(backwards, Toy::default(), good).err().expect("refused");
    assert!(matches!(error, StartError::Settings { .. }), "{error}");
}

#[test]
fn a_long_pause_is_not_made_up_for_tick_by_tick() {
    let (mut hand, _) = Hand::new(3, settings());
    hand.now = 3_600_000;
    assert!(hand.step(Input::Due).is_empty(), "no election right after a pause");
    assert!(hand.replica.next_deadline().unwrap() > Timestamp(hand.now));
}
