//! One suite for the model store and RocksDB: random groups of jobs, a crash, and what must be left.

use proptest::prelude::*;
use tempfile::TempDir;
use trimaran_replica::memory::MemoryStore;
use trimaran_replica::staging::StagingJob;
use trimaran_replica::{EntryMeta, InstallJob, Loaded, Row, RowBatch, WriteJob};
use trimaran_store::{ReadError, Store};
use trimaran_wire::raft::{Blob, ConfState, Entry, EntryKind, HardState, SnapshotMeta};

use crate::{copy, init, options, wal};

/// What both stores can do.
trait Subject {
    fn start() -> Self;
    fn write(&mut self, group: Vec<WriteJob>);
    fn install(&mut self, job: &InstallJob, rows: &[Row]);
    /// Loses power; about `torn` of what was written since the last sync is gone.
    fn crash(&mut self, torn: u64);
    fn state(&self) -> State;
}

type State = (Loaded, Vec<Row>);

/// Two chunks and the sync of both.
fn staging_jobs(rows: &[Row]) -> impl Iterator<Item = StagingJob> {
    let (one, other) = rows.split_at(rows.len() / 2);
    let chunks = [one, other].map(|rows| StagingJob::Rows(rows.to_vec()));
    chunks.into_iter().chain([StagingJob::Sync])
}

fn members() -> ConfState {
    ConfState { voters: vec![1], ..ConfState::default() }
}

impl Subject for MemoryStore {
    fn start() -> Self {
        Self::init(members(), &[])
    }
    fn write(&mut self, group: Vec<WriteJob>) {
        Self::write(self, group);
    }
    fn install(&mut self, job: &InstallJob, rows: &[Row]) {
        let generation = self.begin_generation();
        staging_jobs(rows).for_each(|job| self.stage(generation, job));
        Self::install(self, job, generation);
    }
    fn crash(&mut self, torn: u64) {
        let unsynced = self.unsynced();
        Self::crash(self, unsynced.saturating_sub(torn as usize));
    }
    fn state(&self) -> State {
        (self.load(), self.rows())
    }
}

struct Rocks {
    dir: TempDir,
    store: Store,
    synced_bytes: u64,
}

impl Rocks {
    fn open(dir: TempDir) -> Self {
        let (store, _) = Store::open(dir.path(), &options()).unwrap();
        let synced_bytes = std::fs::metadata(wal(dir.path())).unwrap().len();
        Self { dir, store, synced_bytes }
    }
}

impl Subject for Rocks {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        init(dir.path());
        Self::open(dir)
    }
    fn write(&mut self, group: Vec<WriteJob>) {
        self.store.write(&group).unwrap();
        if group.iter().any(|job| job.sync) {
            self.synced_bytes = std::fs::metadata(wal(self.dir.path())).unwrap().len();
        }
    }
    fn install(&mut self, job: &InstallJob, rows: &[Row]) {
        let staged = self.store.stage(None, staging_jobs(rows).map(Ok::<_, ReadError>)).unwrap();
        self.store.install(job, staged).unwrap();
        self.store.remove_replaced_rows();
        self.synced_bytes = std::fs::metadata(wal(self.dir.path())).unwrap().len();
    }
    fn crash(&mut self, torn: u64) {
        let after = tempfile::tempdir().unwrap();
        copy(self.dir.path(), after.path());
        let wal = std::fs::File::options().write(true).open(wal(after.path())).unwrap();
        let length = wal.metadata().unwrap().len();
        wal.set_len(length.saturating_sub(torn * 7).max(self.synced_bytes)).unwrap();
        *self = Self::open(after);
    }
    fn state(&self) -> State {
        // A second opening of a copy: what a start would find.
        let copied = tempfile::tempdir().unwrap();
        copy(self.dir.path(), copied.path());
        let (store, loaded) = Store::open(copied.path(), &options()).unwrap();
        (loaded, crate::rows(&store))
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Appends so many entries, over the last `back` uncommitted ones, in a new term if there are any.
    Append {
        count: u64,
        back: u64,
    },
    /// Commits and applies so many entries with a row each; some delete.
    Apply {
        count: u64,
    },
    /// Sets a snapshot position at what is applied; a later cut goes below it.
    SetPosition,
    Cut {
        kept: u64,
    },
    Install {
        ahead: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u64..6, 0u64..4).prop_map(|(count, back)| Step::Append { count, back }),
        4 => (1u64..8).prop_map(|count| Step::Apply { count }),
        1 => Just(Step::SetPosition),
        1 => (0u64..4).prop_map(|kept| Step::Cut { kept }),
        1 => (0u64..5).prop_map(|ahead| Step::Install { ahead }),
    ]
}

/// Makes jobs as a replica would: the bounds hold after each.
struct Maker {
    number: u64,
    term: u64,
    /// Terms of the entries above `compacted`.
    terms: Vec<u64>,
    compacted: u64,
    applied: EntryMeta,
    position: EntryMeta,
}

impl Maker {
    fn new() -> Self {
        let start = EntryMeta { index: 1, term: 1 };
        Self { number: 0, term: 1, terms: Vec::new(), compacted: 1, applied: start, position: start }
    }

    fn last(&self) -> u64 {
        self.compacted + self.terms.len() as u64
    }

    fn term_at(&self, index: u64) -> u64 {
        self.terms[(index - self.compacted - 1) as usize]
    }

    fn make(&mut self, step: &Step) -> Result<WriteJob, Box<InstallJob>> {
        self.number += 1;
        let mut job = WriteJob { number: self.number, ..WriteJob::default() };
        match *step {
            Step::Append { count, back } => {
                let back = back.min(self.last() - self.applied.index);
                self.term += u64::from(back > 0);
                self.terms.truncate(self.terms.len() - back as usize);
                for _ in 0..count {
                    self.terms.push(self.term);
                    let (index, term) = (self.last(), self.term);
                    let data = Blob(format!("{index}/{term}").into_bytes().into());
                    let context = Blob::default();
                    job.entries.push(Entry { kind: EntryKind::Normal, term, index, data, context });
                }
                job.hard_state = Some(HardState { term: self.term, vote: 1, commit: self.applied.index });
                job.sync = true;
            }
            Step::Apply { count } => {
                for index in self.applied.index + 1..=(self.applied.index + count).min(self.last()) {
                    self.applied = EntryMeta { index, term: self.term_at(index) };
                    let key = format!("k{}", index % 5);
                    if index % 3 == 0 { job.rows.delete(key) } else { job.rows.put(key, index.to_string()) }
                }
                job.applied = Some(self.applied);
                job.hard_state = Some(HardState { term: self.term, vote: 1, commit: self.applied.index });
            }
            Step::SetPosition => {
                self.position = self.applied;
                job.snapshot = Some(self.position);
                job.sync = true;
            }
            Step::Cut { kept } => {
                let index = self.position.index.saturating_sub(kept);
                if index > self.compacted {
                    let at = EntryMeta { index, term: self.term_at(index) };
                    self.terms.drain(..(index - self.compacted) as usize);
                    self.compacted = index;
                    job.compact = Some(at);
                }
            }
            Step::Install { ahead } => {
                let at = EntryMeta { index: self.last() + ahead, term: self.term };
                (self.terms, self.compacted, self.applied, self.position) = (Vec::new(), at.index, at, at);
                return Err(Box::new(InstallJob {
                    number: self.number,
                    meta: SnapshotMeta { index: at.index, term: at.term, conf_state: members() },
                    manifest: Default::default(),
                    hard_state: HardState { term: self.term, vote: 0, commit: at.index },
                }));
            }
        }
        Ok(job)
    }
}

fn installed_rows(at: u64) -> Vec<Row> {
    (0..3).map(|n| (format!("s{n}").into_bytes(), at.to_string().into_bytes())).collect()
}

/// Plays the groups on a subject and on a model, crashes, and checks that a possible state is left; then the
/// same again on what is left.
fn play<S: Subject>(groups: &[(Vec<Step>, u64)]) {
    let mut subject = S::start();
    let mut model = MemoryStore::start();
    let mut maker = Maker::new();
    let mut allowed: Vec<State> = vec![model.state()];
    for (steps, torn) in groups {
        let mut group = Vec::new();
        for step in steps {
            match maker.make(step) {
                Ok(job) => group.push(job),
                Err(install) => {
                    let rows = installed_rows(install.meta.index);
                    for write in [std::mem::take(&mut group)].into_iter().filter(|group| !group.is_empty()) {
                        subject.write(write.clone());
                        Subject::write(&mut model, write);
                    }
                    subject.install(&install, &rows);
                    Subject::install(&mut model, &install, &rows);
                    allowed = vec![model.state()];
                }
            }
        }
        if !group.is_empty() {
            let synced = group.iter().any(|job| job.sync);
            subject.write(group.clone());
            Subject::write(&mut model, group);
            if synced {
                allowed.clear();
            }
            allowed.push(model.state());
        }
        assert_eq!(subject.state(), model.state(), "what was written is read");
        if *torn > 0 {
            // The log of a crashed store continues from what is left, so this is the last group.
            subject.crash(*torn);
            let left = subject.state();
            assert!(allowed.contains(&left), "{left:?}\nis none of\n{allowed:#?}");
            return;
        }
    }
}

fn groups() -> impl Strategy<Value = Vec<(Vec<Step>, u64)>> {
    let torn = prop_oneof![6 => Just(0u64), 1 => 1u64..12];
    prop::collection::vec((prop::collection::vec(step(), 1..4), torn), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
    #[test]
    fn the_model_store_keeps_what_is_synced_and_a_prefix_of_the_rest(groups in groups()) {
        play::<MemoryStore>(&groups);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn rocksdb_keeps_what_is_synced_and_a_prefix_of_the_rest(groups in groups()) {
        play::<Rocks>(&groups);
    }
}

#[test]
fn rocksdb_drops_a_torn_group_whole() {
    let mut rows = RowBatch::default();
    rows.put("a", "1");
    rows.put("b", "2");
    let append = Step::Append { count: 2, back: 0 };
    let mut maker = Maker::new();
    let append = maker.make(&append).unwrap();
    let mut apply = maker.make(&Step::Apply { count: 2 }).unwrap();
    apply.rows = rows;
    for torn in 0..4 {
        let mut subject = Rocks::start();
        subject.write(vec![append.clone()]);
        subject.write(vec![apply.clone()]);
        subject.crash(torn);
        let (loaded, rows) = subject.state();
        assert_eq!(loaded.entries.len(), 2, "synced entries stay");
        assert_eq!(rows.len(), if torn == 0 { 2 } else { 0 });
        assert_eq!(loaded.applied.index, if torn == 0 { 3 } else { 1 });
    }
}
