//! What is left of a lost quorum: its whole log counts, and of the changes of the members in it those of its own vote.

use trimaran_replica::survivor::{SurvivorError, replay};
use trimaran_replica::{EntryMeta, Loaded};
use trimaran_wire::codec::Message as _;
use trimaran_wire::raft::{Blob, ConfState, Entry, EntryKind, HardState, MemberChangeKind, MemberChanges};

use crate::toy::{MEMBERS, Toy, members_row};

fn put(index: u64, data: &'static str) -> Entry {
    let data = Blob(bytes::Bytes::from_static(data.as_bytes()));
    Entry { kind: EntryKind::Normal, term: 2, index, data, context: Blob::default() }
}

fn change(index: u64, changes: &[(MemberChangeKind, u64)]) -> Entry {
    let changes = MemberChanges { changes: changes.to_vec(), context: Blob(b"c=1".as_slice().into()) };
    let context = Blob(changes.to_bytes().into());
    Entry { kind: EntryKind::ConfChangeV2, term: 2, index, data: Blob(b"x".as_slice().into()), context }
}

/// A voter of three at revision 1 that knows entry 2 as committed.
fn loaded(entries: Vec<Entry>) -> Loaded {
    let start = EntryMeta { index: 1, term: 1 };
    Loaded {
        hard_state: HardState { term: 4, vote: 3, commit: 1 + entries.len().min(1) as u64 },
        conf_state: ConfState { voters: vec![1, 2, 3], learners: vec![4], ..ConfState::default() },
        applied: start,
        snapshot: start,
        compacted: start,
        entries,
    }
}

#[test]
fn what_it_does_not_know_as_committed_counts_and_the_members_are_itself() {
    let entries = vec![
        put(2, "a=1"),
        put(3, ""),
        change(4, &[(MemberChangeKind::AddVoter, 4), (MemberChangeKind::Remove, 3)]),
        put(5, "a=2"),
        put(6, "b=1"),
    ];
    let mut machine = Toy::default();
    let replayed = replay(1, &loaded(entries), &mut machine).expect("it has a vote");
    assert_eq!(replayed.last, EntryMeta { index: 6, term: 2 });
    let alone = members_row(&ConfState { voters: vec![1], ..ConfState::default() });
    let row = |key: &[u8], value: &[u8]| (key.to_vec(), Some(value.to_vec()));
    assert_eq!(
        replayed.rows.changes,
        [row(b"a", b"1"), row(MEMBERS, &alone), row(b"a", b"2"), row(b"b", b"1")]
    );
    let applied: Vec<u64> = machine.applied.iter().map(|(entry, _)| entry.index).collect();
    assert_eq!(applied, [2, 4, 5, 6], "an entry that opens a term has nothing to apply");
}

#[test]
fn entries_whose_rows_are_stored_are_not_applied_again() {
    let mut known = loaded(vec![put(2, "a=1"), put(3, "a=2")]);
    known.applied = EntryMeta { index: 2, term: 2 };
    let mut machine = Toy::default();
    replay(2, &known, &mut machine).expect("it has a vote");
    assert_eq!(machine.applied.len(), 1);
    let nothing = replay(2, &loaded(Vec::new()), &mut Toy::default()).expect("it has a vote");
    assert_eq!((nothing.last, nothing.rows.is_empty()), (EntryMeta { index: 1, term: 1 }, true));
}

#[test]
fn who_has_no_vote_or_loses_it_in_its_log_does_not_go_on_alone() {
    let refused = |id, entries| replay(id, &loaded(entries), &mut Toy::default()).unwrap_err();
    assert!(matches!(refused(4, Vec::new()), SurvivorError::Learner));
    assert!(matches!(refused(9, Vec::new()), SurvivorError::NoMember));
    for kind in [MemberChangeKind::Remove, MemberChangeKind::AddLearner] {
        let entries = vec![put(2, "a=1"), change(3, &[(kind, 1)])];
        assert!(matches!(refused(1, entries), SurvivorError::Leaves { index: 3 }));
    }
    let removed = vec![put(2, "a=1"), change(3, &[(MemberChangeKind::Remove, 4)])];
    assert!(matches!(refused(4, removed), SurvivorError::NoMember));
    let mut joint = loaded(Vec::new());
    (joint.conf_state.voters, joint.conf_state.voters_outgoing) = (vec![2, 3], vec![1, 2]);
    replay(1, &joint, &mut Toy::default()).expect("it votes until the joint configuration ends");
    let mut broken = loaded(vec![put(2, "a=1"), put(4, "a=2")]);
    broken.hard_state.commit = 2;
    assert!(matches!(replay(1, &broken, &mut Toy::default()), Err(SurvivorError::Log(_))));
}

#[test]
fn a_vote_that_its_log_gives_it_counts_though_it_was_not_applied() {
    let votes = |id, entries| replay(id, &loaded(entries), &mut Toy::default());
    let promoted = |at, id| change(at, &[(MemberChangeKind::AddVoter, id)]);
    let replayed = votes(4, vec![put(2, "a=1"), promoted(3, 4), put(4, "a=2")]).expect("it has a vote");
    assert_eq!(replayed.last.index, 4);
    votes(
        4,
        vec![put(2, "a=1"), change(3, &[(MemberChangeKind::AddVoter, 4), (MemberChangeKind::Remove, 3)])],
    )
    .expect("it takes the place of another one");
    let joined = vec![put(2, "a=1"), change(3, &[(MemberChangeKind::AddLearner, 5)])];
    assert!(matches!(votes(5, joined.clone()), Err(SurvivorError::Learner)), "it has only joined");
    votes(5, [joined, vec![promoted(4, 5)]].concat()).expect("it has joined and was promoted");
    let another = vec![put(2, "a=1"), promoted(3, 6)];
    assert!(matches!(votes(4, another), Err(SurvivorError::Learner)), "it is not its vote");
}
