//! Views, waiting for a revision, snapshot files, and stores that are made of rows.

use std::path::Path;

use trimaran_replica::staging::Staging;
use trimaran_replica::{EntryMeta, InstallJob, Row, WriteJob};
use trimaran_store::{InitError, OpenError, StageError, StagedRows, Store, Writer, snapshot};
use trimaran_wire::raft::{Blob, ConfState, Entry, EntryKind, HardState};
use trimaran_wire::snapshot::SnapshotManifest;

use crate::{IDENTITY, init, options};

fn job(index: u64, rows: &[(&str, &str)]) -> WriteJob {
    let mut job = WriteJob {
        number: index,
        entries: vec![Entry {
            kind: EntryKind::Normal,
            term: 1,
            index,
            data: Blob::default(),
            context: Blob::default(),
        }],
        hard_state: Some(HardState { term: 1, vote: 1, commit: index }),
        applied: Some(EntryMeta { index, term: 1 }),
        sync: true,
        ..WriteJob::default()
    };
    rows.iter().for_each(|(key, value)| job.rows.put(*key, *value));
    job
}

fn keys(rows: impl Iterator<Item = Result<Row, trimaran_store::ReadError>>) -> Vec<String> {
    rows.map(|row| String::from_utf8(row.unwrap().0).unwrap()).collect()
}

#[test]
fn a_view_stays_at_its_revision() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let (store, _) = Store::open(dir.path(), &options()).unwrap();
    store.write(&[job(2, &[("run/1", "a"), ("run/2", "b"), ("target/1", "c"), ("rum", "d")])]).unwrap();
    let view = store.read_view();
    store.write(&[job(3, &[("run/1", "z"), ("run/3", "y")])]).unwrap();
    assert_eq!(view.applied().unwrap(), EntryMeta { index: 2, term: 1 });
    assert_eq!(view.get(b"run/1").unwrap().unwrap(), b"a");
    assert_eq!(view.get(b"run/3").unwrap(), None);
    assert_eq!(keys(view.scan(b"run/")), ["run/1", "run/2"]);
    assert_eq!(keys(view.range(b"run/2", None)), ["run/2", "target/1"]);
    assert_eq!(keys(view.range(b"rum", Some(b"run/2"))), ["rum", "run/1"]);
    assert_eq!(keys(store.read_view().scan(b"run/")), ["run/1", "run/2", "run/3"]);
    assert_eq!(store.read_view().applied().unwrap().index, 3);
}

#[test]
fn readers_wait_for_the_revision_they_need() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let (store, _) = Store::open(dir.path(), &options()).unwrap();
    let writer = Writer::spawn(store.clone(), 16, |_| {}).unwrap();
    let reader = std::thread::spawn({
        let store = store.clone();
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(store.wait_applied(4));
            store.read_view().get(b"k4").unwrap()
        }
    });
    for index in 2..=4 {
        writer.submit(job(index, &[(&format!("k{index}"), "v")])).unwrap();
    }
    assert_eq!(reader.join().unwrap().unwrap(), b"v");
    assert!(store.applied() >= 4);
    drop(writer);
}

fn many(store: &Store) {
    for index in 2..40 {
        let rows: Vec<_> = (0..40).map(|n| (format!("row/{n:02}/{index:02}"), "x".repeat(500))).collect();
        let rows: Vec<_> = rows.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        store.write(&[job(index, &rows)]).unwrap();
    }
}

/// What a member does with the chunks of a file that another one sends.
fn stage(target: &Store, manifest: &SnapshotManifest, file: &Path) -> Result<StagedRows, String> {
    let words = |error: &dyn std::error::Error| trimaran_model::text::with_sources(error);
    let mut frames = snapshot::frames(file).map_err(|error| words(&error))?;
    let mut staging = Staging::new(manifest, |_, _| Ok(0));
    let mut is_done = false;
    let jobs = std::iter::from_fn(|| {
        if is_done {
            return None;
        }
        Some(match frames.next() {
            Ok(Some(frame)) => staging.chunk(&frame).map_err(|error| words(&error)),
            Ok(None) => {
                is_done = true;
                staging.end().map_err(|error| words(&error))
            }
            Err(error) => Err(words(&error)),
        })
    });
    target.stage(manifest.state_hash, jobs).map_err(|error| match error {
        StageError::Rows(why) => why,
        error => panic!("{error:?}"),
    })
}

#[test]
fn a_snapshot_file_carries_a_state_to_another_store() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    init(from.path());
    init(to.path());
    let (store, _) = Store::open(from.path(), &options()).unwrap();
    many(&store);
    let file = from.path().join("snapshot");
    let manifest = snapshot::write(&store.read_view(), IDENTITY.cluster_id, &file).unwrap();
    assert_eq!((manifest.meta.index, manifest.meta.term), (39, 1));
    assert_eq!(manifest.totals.rows, 38 * 40);
    let second = from.path().join("second");
    assert_eq!(snapshot::write(&store.read_view(), IDENTITY.cluster_id, &second).unwrap(), manifest);
    let bytes = std::fs::read(&file).unwrap();
    assert!(bytes.len() > 2 * trimaran_model::limits::SNAPSHOT_CHUNK_BYTES, "several chunks");
    assert!(bytes == std::fs::read(&second).unwrap(), "equal states give equal bytes");

    let (target, _) = Store::open(to.path(), &options()).unwrap();
    target.write(&[job(2, &[("old", "gone")])]).unwrap();
    let hard_state = HardState { term: 3, vote: 0, commit: 39 };
    let staged = stage(&target, &manifest, &file).unwrap();
    assert_eq!(target.read_view().get(b"old").unwrap().as_deref(), Some(b"gone".as_slice()), "nothing yet");
    let install = InstallJob { number: 9, meta: manifest.meta, manifest: Default::default(), hard_state };
    target.install(&install, staged).unwrap();
    assert_eq!(target.applied(), 39);
    assert_eq!(crate::rows(&target), crate::rows(&store));
    target.write(&[job(40, &[("new", "here")])]).unwrap();
    drop(target);
    let (target, loaded) = Store::open(to.path(), &options()).unwrap();
    assert_eq!((loaded.compacted.index, loaded.applied.index, loaded.entries.len()), (39, 40, 1));
    assert_eq!(target.read_view().get(b"old").unwrap(), None);
}

#[test]
fn a_broken_snapshot_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let (store, _) = Store::open(dir.path(), &options()).unwrap();
    many(&store);
    let file = dir.path().join("snapshot");
    let manifest = snapshot::write(&store.read_view(), IDENTITY.cluster_id, &file).unwrap();
    let good = std::fs::read(&file).unwrap();
    let read = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        stage(&store, &manifest, &file).map(drop)
    };
    read(&good).unwrap();
    for cut in [0, 3, 20, good.len() / 2, good.len() - 1] {
        assert!(read(&good[..cut]).is_err(), "cut at {cut}");
    }
    for flip in [1, 13, 40, good.len() / 3, good.len() / 2, good.len() - 2] {
        let mut bytes = good.clone();
        bytes[flip] ^= 16;
        assert!(read(&bytes).is_err(), "flip at {flip}");
    }
    // A chunk taken out, whole.
    let length = |at: usize| 12 + u32::from_le_bytes(good[at..at + 4].try_into().unwrap()) as usize;
    let first = length(0);
    let mut bytes = good.clone();
    bytes.drain(first..first + length(first));
    let why = read(&bytes).unwrap_err();
    assert!(why.starts_with("the chunks are not those of the manifest"), "{why}");
    let mut longer = good.clone();
    longer.extend_from_slice(&good[..first]);
    let why = read(&longer).unwrap_err();
    assert!(why.contains("one more than the manifest says"), "{why}");
}

#[test]
fn a_store_is_made_of_rows_in_parts_and_is_none_before_the_last() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    init(from.path());
    let (store, _) = Store::open(from.path(), &options()).unwrap();
    many(&store);
    let chunks: Vec<Vec<Row>> = store.read_view().chunks().map(Result::unwrap).collect();
    assert!(chunks.len() > 2 && chunks.concat() == crate::rows(&store), "every row once, in order");
    let (at, members) =
        (EntryMeta { index: 39, term: 1 }, ConfState { voters: vec![7], ..ConfState::default() });

    let mut restore = Store::restore(to.path(), &options()).unwrap();
    restore.rows(&chunks[0]).unwrap();
    drop(restore);
    let unfinished = Store::open(to.path(), &options()).map(|_| ()).unwrap_err();
    assert!(matches!(unfinished, OpenError::NotInitialized { .. }), "{unfinished:?}");
    let used = Store::restore(to.path(), &options()).map(|_| ()).unwrap_err();
    assert!(matches!(used, InitError::AlreadyInitialized { .. }), "{used:?}");

    let whole = to.path().join("whole");
    let mut restore = Store::restore(&whole, &options()).unwrap();
    chunks.iter().for_each(|chunk| restore.rows(chunk).unwrap());
    restore.finish(IDENTITY, &members, at, 11).unwrap();
    let (made, loaded) = Store::open(&whole, &options()).unwrap();
    assert_eq!((loaded.applied, loaded.compacted, loaded.snapshot), (at, at, at));
    assert_eq!((loaded.conf_state, loaded.entries.len()), (members, 0));
    assert_eq!((made.identity(), made.state_hash().unwrap()), (IDENTITY, Some(11)));
    assert_eq!(made.read_view().state_hash().unwrap(), Some(11));
    assert_eq!(crate::rows(&made), crate::rows(&store));
}
