//! One replica stepped by hand: what may leave a step, and what may not yet.

use bytes::Bytes;
use trimaran_model::limits;
use trimaran_model::time::Timestamp;
use trimaran_replica::memory::MemoryStore;
use trimaran_replica::{
    Answer, Busy, Fatal, Input, LogError, Output, Replica, Role, Settings, StartError, Waiter, WriteJob,
    Written,
};
use trimaran_wire::codec::Message as _;
use trimaran_wire::raft::{
    Blob, ConfState, Entry, EntryKind, MemberChangeKind, MemberChanges, Message, MessageKind, Snapshot,
    SnapshotMeta,
};

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

/// An entry that changes the members.
fn change(index: u64, term: u64, kind: MemberChangeKind, id: u64) -> Entry {
    let changes = MemberChanges { changes: vec![(kind, id)], context: Blob::default() };
    Entry {
        kind: EntryKind::ConfChangeV2,
        data: Blob::default(),
        context: Blob(changes.to_bytes().into()),
        ..entry(index, term)
    }
}

impl Hand {
    /// The writer does all that it was given.
    fn write_all(&mut self, out: &Out) -> Out {
        let mut all = Vec::new();
        let mut jobs = writes(out);
        while let Some(job) = jobs.pop() {
            let out = self.written(job.number);
            jobs = writes(&out);
            all.extend(out);
        }
        all
    }

    fn append(&mut self, from: u64, term: u64, entries: Vec<Entry>, commit: u64) -> Out {
        let first = entries[0].index;
        let log_term = if first == 2 { 1 } else { term };
        let append = Message {
            entries,
            index: first - 1,
            log_term,
            commit,
            ..message(MessageKind::Append, from, term)
        };
        self.step(Input::Peer(append))
    }
}

#[test]
fn a_single_voter_hands_entries_to_a_learner_only_when_its_term_is_durable() {
    let members = ConfState { voters: vec![1], learners: vec![2], ..ConfState::default() };
    let store = MemoryStore::init(members, &[]);
    let replica = Replica::new(settings(), Toy::default(), store.load()).unwrap();
    let mut hand = Hand { replica, now: 0 };
    let out = hand.step(Input::Due);
    let [job] = &writes(&out)[..] else { panic!("one job: {out:?}") };
    assert_eq!(job.hard_state.map(|state| (state.term, state.vote)), Some((2, 1)));
    assert!(sends(&out).is_empty(), "after a crash now it would lead term 2 again, with other entries");
    hand.now += 100;
    assert!(sends(&hand.step(Input::Due)).is_empty());
    assert!(sends(&hand.written(job.number)).contains(&MessageKind::Append));
}

#[test]
fn a_change_of_members_that_raft_refuses_ends_no_process() {
    let (mut hand, _) = Hand::new(2, settings());
    let leave = |index, id| change(index, 2, MemberChangeKind::Remove, id);
    let out = hand.append(2, 2, vec![leave(2, 2), leave(3, 1), entry(4, 2)], 4);
    let out = hand.write_all(&out);
    assert!(!out.iter().any(|output| matches!(output, Output::Fatal(_))), "{out:?}");
    let status = hand.replica.status();
    assert_eq!((status.applied.index, status.members.voters), (4, vec![1]), "the last voter stays");
}

#[test]
fn a_follower_that_becomes_the_only_voter_waits_for_its_disk_before_it_leads() {
    use trimaran_replica::mutant::{self, Mutant};
    let play = || {
        let (mut hand, _) = Hand::new(2, settings());
        let out = hand.append(2, 2, vec![change(2, 2, MemberChangeKind::Remove, 2)], 2);
        hand.write_all(&out);
        let out = hand.append(2, 2, vec![entry(3, 2)], 2);
        let job = writes(&out).pop().expect("the entry is written");
        for _ in 0..100 {
            hand.now += 50;
            hand.step(Input::Due);
        }
        assert_eq!(hand.replica.role().role, Role::Follower);
        let out = hand.written(job.number);
        hand.write_all(&out);
        for _ in 0..100 {
            hand.now += 50;
            let out = hand.step(Input::Due);
            hand.write_all(&out);
        }
        assert_eq!(hand.replica.role().role, Role::Leader { ready: true });
    };
    play();
    mutant::set(Some(Mutant::CampaignInFlight));
    let found = std::panic::catch_unwind(play).is_err();
    mutant::set(None);
    assert!(found);
}

#[test]
fn only_the_leader_gives_leadership_away() {
    let (mut hand, _) = Hand::new(3, settings());
    let out = hand.step(Input::Peer(Message { commit: 1, ..message(MessageKind::Heartbeat, 2, 2) }));
    hand.write_all(&out);
    hand.step(Input::Peer(message(MessageKind::TimeoutNow, 3, 2)));
    assert_eq!(hand.replica.role().role, Role::Follower, "3 leads no one");
    let forced = |term| {
        let context = Blob(Bytes::from_static(b"CampaignTransfer"));
        Message { context, ..message(MessageKind::RequestVote, 3, term) }
    };
    let out = hand.step(Input::Peer(forced(9)));
    assert!(
        writes(&out).is_empty() && hand.replica.role().term == 2,
        "no transfer raises the term by seven: {out:?}"
    );
    let out = hand.step(Input::Peer(forced(3)));
    assert_eq!(writes(&out)[0].hard_state.map(|state| (state.term, state.vote)), Some((3, 3)));
    let (mut hand, _) = Hand::new(3, settings());
    let out = hand.step(Input::Peer(Message { commit: 1, ..message(MessageKind::Heartbeat, 2, 2) }));
    hand.write_all(&out);
    hand.step(Input::Peer(message(MessageKind::TimeoutNow, 2, 2)));
    assert_eq!(hand.replica.role().role, Role::Candidate);
}

#[test]
fn the_first_to_ask_after_the_leader_is_lost_is_not_refused_by_a_voter_that_is_as_late() {
    let (mut hand, _) = Hand::new(3, settings());
    let out = hand.step(Input::Peer(Message { commit: 1, ..message(MessageKind::Heartbeat, 2, 2) }));
    hand.write_all(&out);
    // One tick short of the shortest election timeout.
    for _ in 0..19 {
        hand.now += 50;
        hand.step(Input::Due);
    }
    let ask = Message { log_term: 2, index: 5, ..message(MessageKind::RequestPreVote, 3, 3) };
    let mut out = hand.step(Input::Peer(ask));
    let later = hand.write_all(&out);
    out.extend(later);
    assert!(sends(&out).contains(&MessageKind::RequestPreVoteResponse), "{out:?}");
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

/// What the snapshot took the place of is not in the log any more, and not applied yet.
#[test]
fn who_installs_a_snapshot_stands_for_no_election_before_its_end() {
    let (mut hand, _) = Hand::new(3, settings());
    let meta = SnapshotMeta { index: 40, term: 2, conf_state: members(3) };
    let snapshot = Some(Snapshot { meta: meta.clone(), manifest: Blob::default() });
    let mut first = hand.step(Input::Peer(Message { snapshot, ..message(MessageKind::Snapshot, 2, 2) }));
    let job = first.iter().find_map(|output| match output {
        Output::InstallSnapshot(job) => Some(job.clone()),
        _ => None,
    });
    let job = job.expect("it is installed");
    assert_eq!((job.meta, hand.replica.pending_snapshot()), (meta, None));
    for _ in 0..200 {
        hand.now += 50;
        let out = hand.step(Input::Due);
        assert!(!sends(&out).contains(&MessageKind::RequestPreVote), "{out:?}");
    }
    let rows = Box::new(std::iter::once((b"k".to_vec(), b"v".to_vec())));
    first.extend(hand.step(Input::SnapshotInstalled { number: job.number, rows }));
    assert_eq!(hand.replica.status().applied.index, 40);
    let mut out = first;
    let stands = (0..200).any(|_| {
        hand.now += 50;
        let later = hand.write_all(&out);
        out = hand.step(Input::Due);
        sends(&later).contains(&MessageKind::RequestPreVote)
            || sends(&out).contains(&MessageKind::RequestPreVote)
    });
    assert!(stands, "it is a voter as any other then");
}

/// Between the acceptance of a snapshot and its rows nothing says that the members are others than those of the rows.
#[test]
fn the_members_are_those_of_the_rows_until_a_snapshot_is_installed() {
    let (mut hand, _) = Hand::new(3, settings());
    let later = ConfState { voters: vec![1, 2], learners: vec![4], ..ConfState::default() };
    let meta = SnapshotMeta { index: 40, term: 2, conf_state: later.clone() };
    let snapshot = Some(Snapshot { meta, manifest: Blob::default() });
    let out = hand.step(Input::Peer(Message { snapshot, ..message(MessageKind::Snapshot, 2, 2) }));
    let job = out.iter().find_map(|output| match output {
        Output::InstallSnapshot(job) => Some(job.number),
        _ => None,
    });
    let status = hand.replica.status();
    assert_eq!((status.applied.index, status.members), (1, members(3)));
    hand.step(Input::SnapshotInstalled {
        number: job.expect("it is installed"),
        rows: Box::new(std::iter::empty()),
    });
    let status = hand.replica.status();
    assert_eq!((status.applied.index, status.members), (40, later));
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
