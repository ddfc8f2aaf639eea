//! Directories that a start must refuse, and what it says.

use std::path::Path;

use trimaran_replica::{EntryMeta, WriteJob};
use trimaran_store::{InitError, LoadError, OpenError, Store, SubmitError, WriteError, Writer, WriterEvent};
use trimaran_wire::codec::Message as _;
use trimaran_wire::raft::{Blob, ConfState, Entry, EntryKind, HardState, Identity, Place};

use crate::{IDENTITY, copy, init, options, wal};

fn entry(index: u64) -> Entry {
    let data = Blob(vec![index as u8; 400].into());
    Entry { kind: EntryKind::Normal, term: 2, index, data, context: Blob::default() }
}

fn append(indices: std::ops::RangeInclusive<u64>) -> WriteJob {
    WriteJob {
        number: *indices.start(),
        entries: indices.map(entry).collect(),
        hard_state: Some(HardState { term: 2, vote: 1, commit: 1 }),
        sync: true,
        ..WriteJob::default()
    }
}

/// A directory with entries 2 to 41, each in a group of its own, still in the WAL.
fn filled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let (store, _) = Store::open(dir.path(), &options()).unwrap();
    for index in 2..=41 {
        store.write(&[append(index..=index)]).unwrap();
    }
    let crashed = tempfile::tempdir().unwrap();
    copy(dir.path(), crashed.path());
    crashed
}

fn open(dir: &Path) -> Result<usize, OpenError> {
    Store::open(dir, &options()).map(|(_, loaded)| loaded.entries.len())
}

#[test]
fn a_bit_flip_in_the_middle_of_the_wal_stops_the_start() {
    for place in [3, 5, 8] {
        let dir = filled();
        let mut bytes = std::fs::read(wal(dir.path())).unwrap();
        let at = bytes.len() * place / 10;
        bytes[at] ^= 4;
        std::fs::write(wal(dir.path()), bytes).unwrap();
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("join"), "{error}");
    }
}

/// RocksDB alone takes such a record for a torn end and forgets all that follows.
#[test]
fn a_flipped_length_does_not_pass_for_a_torn_end() {
    let dir = filled();
    let mut bytes = std::fs::read(wal(dir.path())).unwrap();
    let mut at = 0;
    for _ in 0..5 {
        at += 7 + usize::from(u16::from_le_bytes([bytes[at + 4], bytes[at + 5]]));
    }
    bytes[at + 5] ^= 0x40;
    std::fs::write(wal(dir.path()), bytes).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

#[test]
fn a_torn_last_record_is_a_crash_and_no_damage() {
    let dir = filled();
    assert_eq!(open(dir.path()).unwrap(), 40);
    let dir = filled();
    let file = std::fs::File::options().write(true).open(wal(dir.path())).unwrap();
    file.set_len(file.metadata().unwrap().len() - 5).unwrap();
    assert_eq!(open(dir.path()).unwrap(), 39);
}

/// Changes one key behind the store's back.
fn tamper(dir: &Path, family: &str, key: &[u8], value: Option<Vec<u8>>) {
    let families = ["default", "log", "rows", "meta"];
    let db = rocksdb::DB::open_cf(&rocksdb::Options::default(), dir, families).unwrap();
    let handle = db.cf_handle(family).unwrap();
    match value {
        Some(value) => db.put_cf(handle, key, value).unwrap(),
        None => db.delete_cf(handle, key).unwrap(),
    }
}

fn load_error(family: &str, key: &[u8], value: Option<Vec<u8>>) -> LoadError {
    let dir = filled();
    tamper(dir.path(), family, key, value);
    match open(dir.path()) {
        Err(OpenError::Load { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_log_that_is_not_whole_is_refused_and_never_shortened() {
    let key = |index: u64| index.to_be_bytes();
    assert!(matches!(load_error("log", &key(20), None), LoadError::Gap { expected: 20, found: 21 }));
    assert!(matches!(load_error("log", &key(2), None), LoadError::Gap { expected: 2, found: 3 }));
    let mut flipped = entry(20).to_bytes();
    flipped[30] ^= 1;
    assert!(matches!(load_error("log", &key(20), Some(flipped)), LoadError::Corrupt { .. }));
    let moved = entry(21).to_bytes();
    assert!(matches!(load_error("log", &key(20), Some(moved)), LoadError::Gap { expected: 20, found: 21 }));
    let commit = HardState { term: 2, vote: 1, commit: 42 }.to_bytes();
    assert!(matches!(load_error("meta", b"hard_state", Some(commit)), LoadError::Log(_)));
    let applied = Place { index: 2, term: 2 }.to_bytes();
    assert!(matches!(load_error("meta", b"applied", Some(applied)), LoadError::Log(_)));
    let error = load_error("meta", b"conf_state", None);
    assert!(matches!(error, LoadError::Missing { .. }));
    assert!(error.to_string().contains("trimaran-coordinator join"), "{error}");
}

#[test]
fn missing_files_are_reports_apart_from_an_empty_directory() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::NotInitialized { .. })));
    for file in ["CURRENT", "MANIFEST"] {
        let dir = filled();
        let found = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path());
        for path in found.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(file)) {
            std::fs::remove_file(path).unwrap();
        }
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{file}: {error}");
    }
    let dir = filled();
    std::fs::write(dir.path().join("CURRENT"), "").unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::Damaged { .. })));
}

#[test]
fn one_directory_has_one_identity_and_one_process() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let again = Store::init(dir.path(), IDENTITY, &[], &options());
    assert!(matches!(again, Err(InitError::AlreadyInitialized { .. })));
    let (store, loaded) = Store::open(dir.path(), &options()).unwrap();
    assert_eq!(store.identity(), IDENTITY);
    assert_eq!(loaded.applied, EntryMeta { index: 1, term: 1 });
    assert!(matches!(open(dir.path()), Err(OpenError::Locked { .. })));
    let again = Store::init(dir.path(), IDENTITY, &[], &options());
    assert!(matches!(again, Err(InitError::Open(OpenError::Locked { .. }))));
    let path = dir.path().to_owned();
    let next = std::thread::spawn(move || open(&path));
    drop(store);
    assert_eq!(next.join().unwrap().unwrap(), 0, "a holder at its end is waited for");
}

#[test]
fn a_job_that_would_break_the_log_is_refused_before_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let (store, _) = Store::open(dir.path(), &options()).unwrap();
    assert_eq!(store.write(&[append(3..=4)]), Err(WriteError::Gap { first: 3, last: 1 }));
    let mut job = append(2..=3);
    job.applied = Some(EntryMeta { index: 2, term: 2 });
    assert_eq!(store.write(&[job]), Err(WriteError::Bounds { last: 3, commit: 1, applied: 2 }));
    store.write(&[append(2..=3)]).unwrap();
    drop(store);
    assert_eq!(open(dir.path()).unwrap(), 2);
}

#[test]
fn a_joining_member_starts_with_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let members = ConfState { voters: vec![1], ..ConfState::default() };
    let identity = Identity { raft_id: 2, ..IDENTITY };
    Store::init_joining(dir.path(), identity, &members, &options()).unwrap();
    let (store, loaded) = Store::open(dir.path(), &options()).unwrap();
    assert_eq!(loaded, trimaran_replica::memory::MemoryStore::joining(members).load());
    assert_eq!(crate::rows(&store), []);
}

#[test]
fn the_writer_tells_of_a_failure_once_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let (store, _) = Store::open(dir.path(), &options()).unwrap();
    let (events, reports) = std::sync::mpsc::channel();
    let writer = Writer::spawn(store, 8, move |event| drop(events.send(event))).unwrap();
    writer.submit(append(2..=2)).unwrap();
    assert!(matches!(reports.recv().unwrap(), WriterEvent::Written(written) if written.number == 2));
    writer.submit(append(9..=9)).unwrap();
    assert!(matches!(reports.recv().unwrap(), WriterEvent::Failed(WriteError::Gap { .. })));
    assert!(reports.recv().is_err(), "nothing follows");
    assert_eq!(writer.submit(append(3..=3)), Err(SubmitError::Ended));
}
