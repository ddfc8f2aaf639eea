//! The journal on Secrets against a model of the API server: conflicts, lost answers, late writes, two writers, damage.

mod model;

use std::future::Future;
use std::task::Poll;

use proptest::prelude::*;

use trimaran_kubernetes_state::{Opened, StateError, StateName, Store, Values};

use model::{Fault, Model, poll, run};

/// More than any test needs for one call.
const REPEATS: usize = 100;

fn name() -> StateName {
    "secret:shop/tokyo".parse().expect("a name")
}

/// Repeats a call as its contract says.
macro_rules! repeated {
    ($call:expr) => {{
        let mut outcome = $call.await;
        for _ in 0..REPEATS {
            if !matches!(outcome, Err(StateError::Unreachable(_))) {
                break;
            }
            outcome = $call.await;
        }
        outcome
    }};
}

async fn open(model: &Model, owner: &str) -> Result<(Store<Model>, Opened), StateError> {
    repeated!(Store::open(model.clone(), name(), owner.to_owned()))
}

fn opened(model: &Model, owner: &str) -> (Store<Model>, Opened) {
    run(open(model, owner)).unwrap_or_else(|error| panic!("{owner} opens it: {error}"))
}

fn failed(model: &Model) -> StateError {
    run(open(model, "reader")).map(|_| ()).expect_err("it can't be opened")
}

/// A record of the journal that tells itself from all others.
fn record(id: u32, bytes: usize) -> Vec<u8> {
    let mut record = [id.to_le_bytes(), u32::try_from(bytes).expect("small").to_le_bytes()].concat();
    record.resize(record.len() + bytes, id as u8);
    record
}

/// The records of a journal, each whole.
fn ids(journal: &[u8]) -> Vec<u32> {
    let (mut ids, mut rest) = (Vec::new(), journal);
    while !rest.is_empty() {
        let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().expect("four bytes"));
        let (id, bytes) = (word(0), word(4) as usize);
        assert_eq!(&rest[..8 + bytes], record(id, bytes), "record {id} is whole");
        ids.push(id);
        rest = &rest[8 + bytes..];
    }
    ids
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        6 => Just(Fault::None),
        1 => Just(Fault::Lost),
        1 => Just(Fault::Unanswered),
        1 => (0..6_usize).prop_map(Fault::Late),
        1 => Just(Fault::Relabeled),
    ]
}

#[derive(Debug, Clone)]
enum Act {
    Append(usize),
    Replace(usize),
    Put(u8),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    let bytes = || prop_oneof![8 => 0..2_000_usize, 2 => 0..90_000_usize, 1 => 600_000..1_500_000_usize];
    prop_oneof![
        8 => bytes().prop_map(Act::Append),
        1 => bytes().prop_map(Act::Replace),
        1 => any::<u8>().prop_map(Act::Put),
        1 => Just(Act::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    /// Whatever becomes of answers: what was confirmed is there once, in order, and nothing else is.
    #[test]
    fn what_is_confirmed_is_there_once(
        acts in prop::collection::vec(act(), 1..40),
        faults in prop::collection::vec(fault(), 0..120),
    ) {
        let model = Model::default();
        let (mut store, _) = opened(&model, "first");
        model.fail(faults);
        let (mut journal, mut values, mut starts) = (Vec::new(), Values::new(), 1);
        for (id, act) in (0..).zip(acts) {
            match act {
                Act::Append(bytes) => {
                    let bytes = record(id, bytes);
                    run(async { repeated!(store.append(&bytes)) }).expect("appended");
                    journal.extend(bytes);
                }
                Act::Replace(bytes) => {
                    let bytes = record(id, bytes);
                    run(async { repeated!(store.replace(&bytes)) }).expect("replaced");
                    journal = bytes;
                }
                Act::Put(byte) => {
                    let new: Values = [("cert.pem".to_owned(), vec![byte; 900])].into();
                    run(async { repeated!(store.put(new.clone())) }).expect("stored");
                    values.extend(new);
                }
                Act::Restart => {
                    let (again, found) = opened(&model, &format!("process {id}"));
                    starts += 1;
                    prop_assert_eq!(&ids(&found.journal), &ids(&journal));
                    prop_assert_eq!((&found.values, found.starts), (&values, starts));
                    store = again;
                }
            }
        }
        model.heal();
        let (_, found) = opened(&model, "reader");
        prop_assert!(found.journal == journal, "{:?} and not {:?}", ids(&found.journal), ids(&journal));
        prop_assert_eq!(found.values, values);
    }

    /// Two processes whose requests take turns in any order: the later owner has all that the earlier one was confirmed,
    /// and nothing that the earlier one did afterwards.
    #[test]
    fn of_two_writers_the_earlier_is_fenced(
        sizes in prop::collection::vec(0..40_000_usize, 1..12),
        faults in prop::collection::vec(fault(), 0..60),
        turns in prop::collection::vec(any::<bool>(), 0..200),
    ) {
        let model = Model::default();
        let (mut first, _) = opened(&model, "first");
        model.fail(faults);
        let writes = async |store: &mut Store<Model>, base: u32| {
            let (mut confirmed, mut outcome) = (Vec::new(), Ok(()));
            for (id, bytes) in (base..).zip(&sizes) {
                outcome = repeated!(store.append(&record(id, *bytes)));
                if outcome.is_err() {
                    break;
                }
                confirmed.push(id);
            }
            (confirmed, outcome)
        };
        let second = async {
            let (mut store, found) = open(&model, "second").await.expect("it takes over");
            let (confirmed, outcome) = writes(&mut store, 1000).await;
            outcome.expect("no one comes behind it");
            (ids(&found.journal), confirmed)
        };
        let early = async {
            let (confirmed, outcome) = writes(&mut first, 0).await;
            // Once more, behind everything.
            let at_last = outcome.and(repeated!(first.append(&record(999, 10))));
            (confirmed, at_last)
        };
        let ((confirmed, at_last), (found, later)) = both(early, second, turns);
        prop_assert!(found.starts_with(&confirmed) || confirmed.starts_with(&found), "{confirmed:?} {found:?}");
        model.heal();
        let (_, last) = opened(&model, "reader");
        let last = ids(&last.journal);
        prop_assert_eq!(&last, &[found.clone(), later].concat());
        match at_last {
            // It was done before the other one took over.
            Ok(()) => prop_assert_eq!(found, [confirmed, vec![999]].concat()),
            Err(StateError::Fenced(why)) => {
                prop_assert!(found.len() <= confirmed.len() + 1, "at most one was done without an answer");
                prop_assert!(found.starts_with(&confirmed), "nothing that was confirmed is lost: {found:?} {confirmed:?}");
                prop_assert!(why.contains("shop/tokyo") && why.contains("start 2"), "{why}");
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}

/// Polls two futures in this order, then in turns.
fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>, turns: Vec<bool>) -> (A, B) {
    let (mut a, mut b) = (Box::pin(a), Box::pin(b));
    let (mut of_a, mut of_b) = (None, None);
    let mut turns = turns.into_iter().chain((0..).map(|n| n % 2 == 0));
    loop {
        let turn = turns.next().expect("it is endless");
        if turn && of_a.is_none() {
            if let Poll::Ready(output) = poll(a.as_mut()) {
                of_a = Some(output);
            }
        } else if of_b.is_none()
            && let Poll::Ready(output) = poll(b.as_mut())
        {
            of_b = Some(output);
        }
        if let (Some(_), Some(_)) = (&of_a, &of_b) {
            return (of_a.expect("just seen"), of_b.expect("just seen"));
        }
    }
}

/// A journal in three segments and an end.
fn filled() -> Model {
    let model = Model::default();
    let (mut store, _) = opened(&model, "writer");
    for id in 0..30 {
        run(store.append(&record(id, 50_000))).expect("appended");
    }
    assert_eq!(model.names().len(), 1 + 3, "the head and three segments: {:?}", model.names());
    model
}

#[test]
fn short_appends_are_one_request_each_and_segments_that_are_not_used_are_removed() {
    let model = Model::default();
    let (mut store, _) = opened(&model, "writer");
    let before = model.writes();
    for id in 0..10 {
        run(store.append(&record(id, 100))).expect("appended");
    }
    assert_eq!(model.writes() - before, 10);
    run(store.append(&record(10, 2_000_000))).expect("appended");
    assert!(model.names().len() > 3, "{:?}", model.names());
    run(store.replace(&record(11, 100))).expect("replaced");
    assert_eq!(model.names(), ["tokyo"]);
    assert_eq!(ids(&opened(&model, "reader").1.journal), [11]);
}

#[test]
fn a_segment_that_is_lost_or_changed_is_named_and_nothing_is_taken_over() {
    for damage in ["gone", "another content"] {
        let model = filled();
        let lost = model.names().into_iter().nth(2).expect("a segment");
        let before = model.data("tokyo");
        match damage {
            "gone" => model.remove(&lost),
            _ => model.edit(&lost, |data| data.get_mut("journal").expect("a key")[700] ^= 1),
        }
        let StateError::Damaged(why) = failed(&model) else { panic!("it is damaged") };
        assert!(why.contains(&format!("shop/{lost}")) && why.contains(damage), "{why}");
        assert!(why.contains("of the journal"), "{why}");
        assert!(model.data("tokyo") == before, "its owner stays");
    }
}

#[test]
fn a_piece_that_is_lost_and_a_manifest_of_another_build_are_named() {
    let model = Model::default();
    let (mut store, _) = opened(&model, "writer");
    run(store.append(&record(0, 100))).expect("appended");
    run(store.append(&record(1, 100))).expect("appended");
    model.edit("tokyo", |data| drop(data.remove("journal.0000000001")));
    let StateError::Damaged(why) = failed(&model) else { panic!("it is damaged") };
    assert!(why.contains("shop/tokyo") && why.contains("`journal.0000000001`"), "{why}");
    model.edit("tokyo", |data| drop(data.insert("state".to_owned(), b"{\"format\": 2}".to_vec())));
    let StateError::Damaged(why) = failed(&model) else { panic!("it is of another build") };
    assert!(why.contains("format 2"), "{why}");
}

#[test]
fn a_secret_of_others_is_refused_and_an_empty_one_is_used() {
    let model = Model::default();
    model.put("tokyo", [("password".to_owned(), b"hunter2".to_vec())].into());
    let error = failed(&model);
    assert!(matches!(&error, StateError::Foreign(why) if why.contains("`password`")), "{error}");
    assert!(!error.to_string().contains("hunter2"));
    model.edit("tokyo", |data| data.clear());
    let (mut store, found) = opened(&model, "writer");
    assert_eq!((found.starts, found.journal.len()), (1, 0));
    run(store.append(&record(0, 1))).expect("appended");
    assert_eq!(opened(&model, "reader").1.starts, 2);
}

#[test]
fn a_state_that_is_deleted_fences_its_owner() {
    let model = Model::default();
    let (mut store, _) = opened(&model, "writer");
    model.remove("tokyo");
    let error = run(store.append(&record(0, 1))).expect_err("it is gone");
    assert!(matches!(&error, StateError::Fenced(why) if why.contains("deleted")), "{error}");
}

#[test]
fn a_journal_that_does_not_fit_is_refused_and_the_one_before_stays() {
    let model = filled();
    let (mut store, found) = opened(&model, "writer");
    let large = record(7, 22 << 20);
    assert_eq!(run(store.replace(&large)), Err(StateError::Full));
    assert_eq!(run(store.append(&large)), Err(StateError::Full));
    run(store.append(&record(99, 10))).expect("there is space for this one");
    let expected = [ids(&found.journal), vec![99]].concat();
    assert_eq!(ids(&opened(&model, "reader").1.journal), expected);
}

#[test]
fn a_write_that_was_given_up_and_arrives_late_fences_no_one() {
    let model = Model::default();
    let (mut store, _) = opened(&model, "writer");
    model.fail([Fault::Late(2), Fault::Lost]);
    let values: Values = [("cert.pem".to_owned(), b"new".to_vec())].into();
    let given_up = run(store.put(values.clone()));
    assert!(matches!(given_up, Err(StateError::Unreachable(_))), "{given_up:?}");
    for id in 0..3 {
        run(async { repeated!(store.append(&record(id, 10))) }).expect("appended");
    }
    assert_eq!(ids(&opened(&model, "reader").1.journal), [0, 1, 2]);
}
