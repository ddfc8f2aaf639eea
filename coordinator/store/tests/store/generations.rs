//! Another generation of rows: a crash at any of its writes, views across the switch, and what is left behind.

use std::cell::RefCell;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use trimaran_replica::staging::StagingJob;
use trimaran_replica::{EntryMeta, InstallJob, Row, WriteJob};
use trimaran_store::{StageError, StagedRows, Store};
use trimaran_wire::raft::{Blob, ConfState, Entry, EntryKind, HardState, SnapshotMeta};

use crate::{copy, init, options, wal};

const CHUNKS: u8 = 5;

/// What fails in a test.
#[derive(Debug, thiserror::Error)]
#[error("the peer is gone")]
struct PeerGone;

fn write(index: u64, key: &str, value: &str) -> WriteJob {
    let (data, context) = (Blob::default(), Blob::default());
    let mut job = WriteJob {
        number: index,
        entries: vec![Entry { kind: EntryKind::Normal, term: 1, index, data, context }],
        hard_state: Some(HardState { term: 1, vote: 1, commit: index }),
        applied: Some(EntryMeta { index, term: 1 }),
        state_hash: Some(u128::from(index)),
        sync: true,
        ..WriteJob::default()
    };
    job.rows.put(key, value);
    job
}

/// A store with a few entries and rows, some of them in files.
fn old_store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let (store, _) = Store::open(dir.path(), &options()).unwrap();
    for index in 2..8 {
        store.write(&[write(index, &format!("old/{index}"), "before")]).unwrap();
    }
    (dir, store)
}

fn chunk(number: u8) -> Vec<Row> {
    (0..40u8).map(|row| (vec![b'n', number, row], vec![number; 700])).collect()
}

fn jobs() -> impl Iterator<Item = StagingJob> {
    (0..CHUNKS).map(|number| StagingJob::Rows(chunk(number))).chain([StagingJob::Sync])
}

fn stage(store: &Store) -> StagedRows {
    store.stage(Some(77), jobs().map(Ok::<_, PeerGone>)).unwrap()
}

fn new_rows() -> Vec<Row> {
    (0..CHUNKS).flat_map(chunk).collect()
}

fn install_job(index: u64) -> InstallJob {
    let conf_state = ConfState { voters: vec![1, 2], ..ConfState::default() };
    let hard_state = HardState { term: 1, vote: 0, commit: index };
    let meta = SnapshotMeta { index, term: 1, conf_state };
    InstallJob { number: 1, meta, manifest: Default::default(), hard_state }
}

/// What a start finds in a copy of the directory, which then takes writes as any other.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    applied: u64,
    entries: usize,
    rows: Vec<Row>,
    hash: Option<u128>,
}

fn found(dir: &Path) -> Found {
    let (store, loaded) = Store::open(dir, &options()).unwrap();
    let (applied, entries) = (loaded.applied.index, loaded.entries.len());
    let found = Found { applied, entries, rows: crate::rows(&store), hash: store.state_hash().unwrap() };
    assert!(!dir.join("staging").exists(), "files of an earlier process are removed");
    let next = applied + 1;
    store.write(&[write(next, "next", "x")]).unwrap();
    drop(store);
    assert_eq!(rows_families(dir), 1, "one generation is left");
    let (store, loaded) = Store::open(dir, &options()).unwrap();
    assert_eq!(loaded.applied.index, next);
    assert_eq!(crate::rows(&store).len(), found.rows.len() + 1);
    found
}

fn rows_families(dir: &Path) -> usize {
    let names = rocksdb::DB::list_cf(&rocksdb::Options::default(), dir).unwrap();
    names.iter().filter(|name| name.starts_with("rows")).count()
}

fn crashed(dir: &Path) -> TempDir {
    let after = tempfile::tempdir().unwrap();
    copy(dir, after.path());
    after
}

#[test]
fn a_crash_at_any_write_of_an_installation_leaves_the_old_state_or_the_new_one() {
    let (dir, store) = old_store();
    let old = found(crashed(dir.path()).path());
    assert_eq!((old.applied, old.entries, old.rows.len(), old.hash), (7, 6, 6, Some(7)));

    // Before each chunk and before the sync.
    let crashes = RefCell::new(Vec::new());
    let watched = jobs().map(|job| {
        crashes.borrow_mut().push(crashed(dir.path()));
        Ok::<_, PeerGone>(job)
    });
    let staged = store.stage(Some(77), watched).unwrap();
    crashes.borrow_mut().push(crashed(dir.path()));
    assert_eq!(crashes.borrow().len(), usize::from(CHUNKS) + 2);
    for (number, crash) in crashes.take().iter().enumerate() {
        assert_eq!(found(crash.path()), old, "crash {number}");
    }

    let synced = std::fs::metadata(wal(dir.path())).unwrap().len();
    store.install(&install_job(50), staged).unwrap();
    let whole = std::fs::metadata(wal(dir.path())).unwrap().len();
    assert!(whole > synced, "the switch is one record of the WAL");
    for length in [synced, synced + 1, (synced + whole) / 2, whole - 1] {
        let torn = crashed(dir.path());
        std::fs::File::options().write(true).open(wal(torn.path())).unwrap().set_len(length).unwrap();
        assert_eq!(found(torn.path()), old, "the record is cut at {length} of {whole}");
    }
    let new = Found { applied: 50, entries: 0, rows: new_rows(), hash: Some(77) };
    assert_eq!(found(crashed(dir.path()).path()), new, "switched, and the old rows not removed");
    store.remove_replaced_rows();
    assert_eq!(found(crashed(dir.path()).path()), new);
    drop(store);
    assert_eq!(found(dir.path()), new);
}

#[test]
fn a_view_keeps_its_rows_and_its_revision_across_a_switch() {
    let (_dir, store) = old_store();
    let before = store.read_view();
    let staged = stage(&store);
    assert_eq!(staged.rows_below(&[b'n', 1]).unwrap(), chunk(0));
    store.install(&install_job(50), staged).unwrap();
    store.remove_replaced_rows();
    let after = store.read_view();
    assert_eq!((before.applied().unwrap().index, after.applied().unwrap().index), (7, 50));
    assert_eq!((before.state_hash().unwrap(), after.state_hash().unwrap()), (Some(7), Some(77)));
    assert_eq!(before.get(b"old/3").unwrap().as_deref(), Some(b"before".as_slice()));
    assert_eq!(after.get(b"old/3").unwrap(), None);
    let keys = |rows: Vec<Result<Row, _>>| rows.len();
    assert_eq!((keys(before.scan(b"old/").collect()), keys(after.scan(b"n").collect())), (6, 200));
    assert_eq!(before.scan(b"n").count(), 0);
    let chunks: Vec<Row> = after.chunks().flat_map(Result::unwrap).collect();
    assert_eq!(chunks, new_rows());
}

#[test]
fn one_installation_follows_another_and_an_empty_one_too() {
    let (dir, store) = old_store();
    for index in [50, 60, 70] {
        let staged = stage(&store);
        store.install(&install_job(index), staged).unwrap();
        store.remove_replaced_rows();
        store.write(&[write(index + 1, "next", "x")]).unwrap();
    }
    assert_eq!((store.applied(), crate::rows(&store).len()), (71, 201));
    let none = store.stage(None, [Ok::<_, PeerGone>(StagingJob::Sync)].into_iter()).unwrap();
    store.install(&install_job(80), none).unwrap();
    store.remove_replaced_rows();
    drop(store);
    assert_eq!(found(dir.path()), Found { applied: 80, entries: 0, rows: Vec::new(), hash: None });
}

#[test]
fn rows_that_are_not_whole_or_not_wanted_leave_nothing_behind() {
    let (dir, store) = old_store();
    let gone = jobs().take(3).map(Ok).chain([Err(PeerGone)]);
    assert!(matches!(store.stage(None, gone), Err(StageError::Rows(PeerGone))));
    let cut = jobs().take(3).map(Ok::<_, PeerGone>);
    assert!(matches!(store.stage(None, cut), Err(StageError::Cut)));
    let backwards = [StagingJob::Rows(chunk(2)), StagingJob::Rows(chunk(1))].map(Ok::<_, PeerGone>);
    assert!(matches!(store.stage(None, backwards.into_iter()), Err(StageError::Write(_))));
    let (unwanted, wanted) = (stage(&store), stage(&store));
    drop(unwanted);
    store.install(&install_job(50), wanted).unwrap();
    store.remove_replaced_rows();
    assert_eq!(std::fs::read_dir(dir.path().join("staging")).unwrap().count(), 0);
    assert_eq!(crate::rows(&store), new_rows());
    assert_eq!(rows_families(dir.path()), 1);
}

const CHILD: &str = "TRIMARAN_STORE_CHILD";

/// A limit on the size of files makes writes fail, as a full disk does. The same test is parent and child.
#[test]
fn a_disk_that_takes_no_more_ends_the_staging_and_not_the_store() {
    if let Ok(dir) = std::env::var(CHILD) {
        let (store, _) = Store::open(Path::new(&dir), &options()).unwrap();
        let large = (0..=255u8).map(|number| Ok::<_, PeerGone>(StagingJob::Rows(noise(number))));
        let Err(StageError::Write(error)) = store.stage(None, large) else { panic!("it had space") };
        println!("failed: {error}.");
        let next = store.applied() + 1;
        store.write(&[write(next, "after", "x")]).unwrap();
        return;
    }
    let (dir, store) = old_store();
    drop(store);
    // 512 blocks of 512 bytes, or of 1 KiB, as the shell counts them.
    let child = Command::new("sh")
        .args(["-c", "ulimit -f 512; trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args([
            "generations::a_disk_that_takes_no_more_ends_the_staging_and_not_the_store",
            "--exact",
            "--nocapture",
        ])
        .env(CHILD, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && said.contains("failed: writing failed"), "{said}");
    let found = found(dir.path());
    assert_eq!((found.applied, found.rows.len()), (8, 7));
}

/// Rows that don't get smaller on the disk.
fn noise(number: u8) -> Vec<Row> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ u64::from(number);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..40u8).map(|row| (vec![number, row], (0..128).flat_map(|_| next()).collect())).collect()
}
