//! A store of one of three members becomes that of the only one: as it was before, or whole.

use trimaran_replica::memory::MemoryStore;
use trimaran_replica::{EntryMeta, RowBatch, WriteJob};
use trimaran_store::{Store, WriteError};
use trimaran_wire::raft::{Blob, ConfState, Entry, EntryKind, HardState};

use crate::{IDENTITY, copy, init, options, rows, wal};

fn entry(index: u64) -> Entry {
    let data = Blob(vec![7; 100].into());
    Entry { kind: EntryKind::Normal, term: 3, index, data, context: Blob::default() }
}

/// Revision 5 of three members, with entries to 9 of which 7 are known to be committed.
fn job() -> WriteJob {
    let mut batch = RowBatch::default();
    batch.put(b"a".to_vec(), b"1".to_vec());
    batch.put(b"b".to_vec(), b"1".to_vec());
    WriteJob {
        number: 1,
        entries: (2..=9).map(entry).collect(),
        hard_state: Some(HardState { term: 4, vote: 2, commit: 7 }),
        applied: Some(EntryMeta { index: 5, term: 3 }),
        state_hash: Some(5),
        rows: batch,
        conf_state: Some(ConfState { voters: vec![1, 2, 3], learners: vec![4], ..ConfState::default() }),
        sync: true,
        ..WriteJob::default()
    }
}

fn filled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let (store, _) = Store::open(dir.path(), &options()).unwrap();
    store.write(&[job()]).unwrap();
    dir
}

#[test]
fn a_recovered_store_has_one_voter_an_empty_log_and_the_rows_that_were_given() {
    let dir = filled();
    let at = EntryMeta { index: 10, term: 5 };
    let mut changed = RowBatch::default();
    changed.put(b"a".to_vec(), b"2".to_vec());
    changed.delete(b"b".to_vec());
    {
        let (store, _) = Store::open(dir.path(), &options()).unwrap();
        let early = store.recover(EntryMeta { index: 9, term: 5 }, &changed, 10);
        assert!(matches!(early, Err(WriteError::Bounds { last: 9, .. })), "{early:?}");
        store.recover(at, &changed, 10).unwrap();
    }
    let (store, loaded) = Store::open(dir.path(), &options()).unwrap();
    assert_eq!(loaded.conf_state, ConfState { voters: vec![IDENTITY.raft_id], ..ConfState::default() });
    assert_eq!(loaded.hard_state, HardState { term: 5, vote: 0, commit: 10 });
    assert_eq!((loaded.applied, loaded.snapshot, loaded.compacted), (at, at, at));
    assert!(loaded.entries.is_empty());
    assert_eq!(rows(&store), [(b"a".to_vec(), b"2".to_vec())]);
    assert_eq!((store.state_hash().unwrap(), store.identity()), (Some(10), IDENTITY));
    // The store of simulations does the same.
    let mut memory = MemoryStore::init(ConfState { voters: vec![1], ..ConfState::default() }, &[]);
    memory.write(vec![job()]);
    memory.recover(IDENTITY.raft_id, at, &changed);
    memory.crash(0);
    assert_eq!((memory.load(), memory.rows()), (loaded, rows(&store)));
}

#[test]
fn a_crash_in_the_middle_of_a_recovery_leaves_the_store_as_it_was() {
    let dir = filled();
    let before = std::fs::metadata(wal(dir.path())).unwrap().len();
    let (store, loaded) = Store::open(dir.path(), &options()).unwrap();
    let opened = wal(dir.path());
    let start = std::fs::metadata(&opened).unwrap().len();
    store.recover(EntryMeta { index: 10, term: 5 }, &RowBatch::default(), 10).unwrap();
    let end = std::fs::metadata(&opened).unwrap().len();
    assert!(end > start, "it is in the WAL, as the {before} bytes before it were");
    for length in [start, start + 1, (start + end) / 2, end - 1] {
        let crashed = tempfile::tempdir().unwrap();
        copy(dir.path(), crashed.path());
        std::fs::File::options().write(true).open(wal(crashed.path())).unwrap().set_len(length).unwrap();
        let (_, found) = Store::open(crashed.path(), &options()).unwrap();
        assert_eq!(found, loaded, "{length} of {start} to {end} bytes");
    }
}
