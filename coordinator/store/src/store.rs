//! The open store: making, opening and loading a data directory.
//!
//! Not here: writing (`store::write`, which the `writer` thread calls) and reading rows (`view`).

mod recover;
mod restore;
mod staging;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use rocksdb::{
    BlockBasedOptions, BoundColumnFamily, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode,
    DBWithThreadMode, MultiThreaded,
};
use rocksdb::{Direction, IteratorMode, ReadOptions, WriteBatch, WriteOptions};
use tokio::sync::watch;
use trimaran_replica::log::LogError;
use trimaran_replica::{EntryMeta, Loaded, Row};
use trimaran_wire::codec::{CodecError, Message};
use trimaran_wire::raft::{ConfState, Entry, Generation, HardState, Identity, Place, StateHash};

use crate::meta;

pub use restore::Restore;
pub use staging::{StageError, StagedRows};
pub use write::WriteError;

/// Column families come and go while it is open: each generation of rows is one.
pub(crate) type Db = DBWithThreadMode<MultiThreaded>;
type Family<'a> = Arc<BoundColumnFamily<'a>>;

const MIB: usize = 1 << 20;
/// How long the lock of the directory is waited for, and the pause between two attempts.
const LOCK_LIMIT: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Sizes of the store's memory. The defaults keep a coordinator below 100 MiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Bytes of one memtable, an eighth of it for the few values beside log and rows; there are at most three per column
    /// family.
    pub write_buffer_bytes: usize,
    /// Bytes of cached blocks, for all column families together.
    pub block_cache_bytes: usize,
    /// WAL bytes above which idle column families are flushed, so that old files can go.
    pub wal_bytes_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { write_buffer_bytes: 8 * MIB, block_cache_bytes: 32 * MIB, wal_bytes_max: 128 << 20 }
    }
}

/// Why a directory was not made into a data directory.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error("{} already belongs to a member; a new member needs an empty directory", dir.display())]
    AlreadyInitialized { dir: PathBuf },
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the first write failed: {reason}")]
    Write { reason: String },
}

/// Why a data directory did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{} is not a data directory; run `trimaran-coordinator init` or `join` first", dir.display())]
    NotInitialized { dir: PathBuf },
    #[error("{} is in use by another process; only one coordinator may use a data directory", dir.display())]
    Locked { dir: PathBuf },
    #[error("{} is damaged: {reason}. {REJOIN}", dir.display())]
    Damaged { dir: PathBuf, reason: String },
    #[error("{} can't be opened: {reason}", dir.display())]
    Failed { dir: PathBuf, reason: String },
    #[error("{} can't be loaded", dir.display())]
    Load {
        dir: PathBuf,
        #[source]
        source: LoadError,
    },
}

/// What a member with a broken disk does; synced data is missing, so carrying on could lose decisions.
pub(crate) const REJOIN: &str = "Nothing was changed. With other members alive: `trimaran cluster remove` this member \
     and `trimaran-coordinator join` with an empty directory; alone: restore a backup";

/// Why what is on the disk is not a log and its rows.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("reading `{what}` failed: {reason}. {REJOIN}")]
    Read { what: String, reason: String },
    #[error("`{what}` is missing. {REJOIN}")]
    Missing { what: String },
    #[error("`{what}` is not what was written. {REJOIN}")]
    Corrupt {
        what: String,
        #[source]
        source: CodecError,
    },
    #[error("entry {expected} of the log is missing, {found} is in its place. {REJOIN}")]
    Gap { expected: u64, found: u64 },
    #[error("the hash of the state is of revision {found}, the rows are of {expected}. {REJOIN}")]
    Hash { expected: u64, found: u64 },
    #[error("the log contradicts itself. {REJOIN}")]
    Log(#[source] LogError),
}

/// Where the log and the state are, as the writer knows it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bounds {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) commit: u64,
    pub(crate) applied: u64,
}

pub(crate) struct Inner {
    pub(crate) db: Db,
    rows_options: rocksdb::Options,
    /// Of the rows in use. Written by the writer for each switch only.
    pub(crate) generation: RwLock<u64>,
    last_generation: AtomicU64,
    /// Generations that are of no use any more, and not removed.
    replaced: Mutex<Vec<u64>>,
    pub(crate) identity: Identity,
    /// Locked by the writer for each group only.
    pub(crate) bounds: Mutex<Bounds>,
    pub(crate) applied: watch::Sender<u64>,
}

/// An open data directory. Clones share it; it closes with the last one.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

impl Store {
    /// Makes `dir` the data directory of the first member of a new cluster, with `rows` as the state at
    /// revision 1. All or nothing, synced.
    pub fn init(dir: &Path, identity: Identity, rows: &[Row], options: &Options) -> Result<(), InitError> {
        let members = ConfState { voters: vec![identity.raft_id], ..ConfState::default() };
        let start = EntryMeta { index: 1, term: 1 };
        Self::create(dir, identity, &members, start, rows, options)
    }

    /// Makes `dir` the data directory of a new member of a cluster that has `members`. It holds nothing; the
    /// leader sends it a snapshot once it is a learner.
    pub fn init_joining(
        dir: &Path,
        identity: Identity,
        members: &ConfState,
        options: &Options,
    ) -> Result<(), InitError> {
        Self::create(dir, identity, members, EntryMeta { index: 0, term: 0 }, &[], options)
    }

    fn create(
        dir: &Path,
        identity: Identity,
        members: &ConfState,
        start: EntryMeta,
        rows: &[Row],
        options: &Options,
    ) -> Result<(), InitError> {
        std::fs::create_dir_all(dir)
            .map_err(|error| OpenError::Failed { dir: dir.to_owned(), reason: error.to_string() })?;
        let db = open_soon(dir, options, true)?;
        let write = |error: rocksdb::Error| InitError::Write { reason: error.to_string() };
        let handle = |name| db.cf_handle(name).expect("opened with all column families");
        if db.get_cf(&handle(meta::META), meta::IDENTITY).map_err(write)?.is_some() {
            return Err(InitError::AlreadyInitialized { dir: dir.to_owned() });
        }
        let mut batch = WriteBatch::default();
        for (key, value) in first_metas(identity, members, start) {
            batch.put_cf(&handle(meta::META), key, value);
        }
        for (key, value) in rows {
            batch.put_cf(&handle(meta::ROWS), key, value);
        }
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        db.write_opt(batch, &synced).map_err(write)
    }

    /// Opens an initialised directory and loads what a replica starts from. The rows are read by
    /// [`Self::load_rows`].
    pub fn open(dir: &Path, options: &Options) -> Result<(Self, Loaded), OpenError> {
        check_files(dir)?;
        let fault =
            |error: std::io::Error| OpenError::Failed { dir: dir.to_owned(), reason: error.to_string() };
        if let Some((file, at)) = crate::wal::damaged(dir).map_err(fault)? {
            let reason =
                format!("a record at byte {at} of {} is broken and others follow it", file.display());
            return Err(OpenError::Damaged { dir: dir.to_owned(), reason });
        }
        let cache = Cache::new_lru_cache(options.block_cache_bytes);
        let db = open_cached(dir, options, &cache, false)?;
        let load = |source| OpenError::Load { dir: dir.to_owned(), source };
        let metas = db.cf_handle(meta::META).expect("opened with all column families");
        if db.get_cf(&metas, meta::IDENTITY).is_ok_and(|found| found.is_none()) {
            return Err(OpenError::NotInitialized { dir: dir.to_owned() });
        }
        drop(metas);
        let identity: Identity = read_meta(&db, meta::IDENTITY).map_err(load)?;
        let loaded = read_loaded(&db).map_err(load)?;
        let generation = read_generation(&db).map_err(load)?;
        remove_unused(dir, &db, generation)?;
        let bounds = Bounds {
            first: loaded.compacted.index + 1,
            last: loaded.entries.last().map_or(loaded.compacted.index, |entry| entry.index),
            commit: loaded.hard_state.commit,
            applied: loaded.applied.index,
        };
        let applied = watch::Sender::new(loaded.applied.index);
        let inner = Inner {
            db,
            rows_options: rows_options(options, &cache),
            generation: RwLock::new(generation),
            last_generation: AtomicU64::new(generation),
            replaced: Mutex::default(),
            identity,
            bounds: Mutex::new(bounds),
            applied,
        };
        Ok((Self { inner: Arc::new(inner) }, loaded))
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.inner.db.path()
    }

    pub fn identity(&self) -> Identity {
        self.inner.identity
    }

    /// All rows in the order of their keys, streamed: the state at `Loaded::applied`, and with it what only queries
    /// read. Call it before writing.
    pub fn load_rows(&self) -> impl Iterator<Item = Result<Row, LoadError>> + use<'_> {
        self.stream_rows(ReadOptions::default())
    }

    /// Rows with `key < end`, streamed, without a trace in the block cache: what a start needs of a store whose other
    /// rows only queries read. Call it before writing.
    pub fn load_rows_below(&self, end: &[u8]) -> impl Iterator<Item = Result<Row, LoadError>> + use<'_> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(end);
        self.stream_rows(options)
    }

    /// The row with the largest key.
    pub fn last_row(&self) -> Result<Option<Row>, LoadError> {
        let mut rows = self.inner.db.iterator_cf(&self.cf(meta::ROWS), IteratorMode::End);
        rows.next().map(row).transpose()
    }

    fn stream_rows(
        &self,
        mut options: ReadOptions,
    ) -> impl Iterator<Item = Result<Row, LoadError>> + use<'_> {
        options.fill_cache(false);
        self.inner.db.iterator_cf_opt(&self.cf(meta::ROWS), options, IteratorMode::Start).map(row)
    }

    /// The hash of the state that [`Self::load_rows`] must come to; `None` before the first entry was applied to
    /// these rows. Call it before writing.
    pub fn state_hash(&self) -> Result<Option<u128>, LoadError> {
        let db = &self.inner.db;
        let what = || "state_hash".to_owned();
        let found = db
            .get_cf(&self.cf(meta::META), meta::STATE_HASH)
            .map_err(|error| LoadError::Read { what: what(), reason: error.to_string() })?;
        let Some(bytes) = found else { return Ok(None) };
        let stored =
            StateHash::from_bytes(&bytes).map_err(|source| LoadError::Corrupt { what: what(), source })?;
        if stored.index != self.applied() {
            let (expected, found) = (self.applied(), stored.index);
            return Err(LoadError::Hash { expected, found });
        }
        Ok(Some(stored.hash))
    }

    /// The revision that views taken from now on have at least.
    pub fn applied(&self) -> u64 {
        *self.inner.applied.borrow()
    }

    /// Follows [`Self::applied`].
    pub fn watch_applied(&self) -> watch::Receiver<u64> {
        self.inner.applied.subscribe()
    }

    /// Returns once views are at `revision` or above. Never returns if that revision is never written.
    pub async fn wait_applied(&self, revision: u64) {
        let mut applied = self.watch_applied();
        applied
            .wait_for(|at| *at >= revision)
            .await
            .expect("the sender is part of the store that self holds");
    }

    pub(crate) fn cf(&self, name: &str) -> Family<'_> {
        if name == meta::ROWS {
            return self.rows(*self.inner.generation.read());
        }
        self.inner.db.cf_handle(name).expect("opened with all column families")
    }

    /// The rows of the generation in use.
    pub(crate) fn rows(&self, generation: u64) -> Family<'_> {
        rows_of(&self.inner.db, generation).expect("a generation in use is not removed")
    }
}

/// What describes a store whose rows are the state at `start`, and whose log is empty.
fn first_metas(identity: Identity, members: &ConfState, start: EntryMeta) -> [(&'static [u8], Vec<u8>); 6] {
    let state = HardState { term: start.term, vote: 0, commit: start.index };
    [
        (meta::IDENTITY, identity.to_bytes()),
        (meta::HARD_STATE, state.to_bytes()),
        (meta::CONF_STATE, members.to_bytes()),
        (meta::APPLIED, meta::place(start)),
        (meta::SNAPSHOT, meta::place(start)),
        (meta::COMPACTED, meta::place(start)),
    ]
}

/// Key and value as an iterator of RocksDB hands them out.
type FoundRow = (Box<[u8]>, Box<[u8]>);

fn row(found: Result<FoundRow, rocksdb::Error>) -> Result<Row, LoadError> {
    let (key, value) =
        found.map_err(|error| LoadError::Read { what: "rows".into(), reason: error.to_string() })?;
    Ok((key.into_vec(), value.into_vec()))
}

/// A directory with data but without the file that names the manifest lost files; RocksDB would start anew.
fn check_files(dir: &Path) -> Result<(), OpenError> {
    let current = dir.join("CURRENT");
    match std::fs::metadata(&current) {
        Ok(found) if found.len() > 0 => Ok(()),
        Ok(_) => Err(OpenError::Damaged { dir: dir.to_owned(), reason: "the file CURRENT is empty".into() }),
        Err(_) => {
            let data = |name: &str| {
                name.ends_with(".sst")
                    || name.ends_with(".log")
                    || name.starts_with("MANIFEST-")
                    || name == "IDENTITY"
            };
            let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
            if files.into_iter().any(|file| file.file_name().to_str().is_some_and(data)) {
                let reason = "the file CURRENT is missing beside other files of the store".into();
                return Err(OpenError::Damaged { dir: dir.to_owned(), reason });
            }
            Err(OpenError::NotInitialized { dir: dir.to_owned() })
        }
    }
}

/// Opens the database. A process that was killed holds its lock until its last thread is gone, a moment after it
/// seems to have ended, and is waited for.
fn open_soon(dir: &Path, options: &Options, create: bool) -> Result<Db, OpenError> {
    open_cached(dir, options, &Cache::new_lru_cache(options.block_cache_bytes), create)
}

fn open_cached(dir: &Path, options: &Options, cache: &Cache, create: bool) -> Result<Db, OpenError> {
    let deadline = Instant::now() + LOCK_LIMIT;
    loop {
        match open_db(dir, options, cache, create) {
            Err(OpenError::Locked { .. }) if Instant::now() < deadline => std::thread::sleep(LOCK_PAUSE),
            other => return other,
        }
    }
}

fn open_db(dir: &Path, options: &Options, cache: &Cache, create: bool) -> Result<Db, OpenError> {
    let mut db = rocksdb::Options::default();
    db.create_if_missing(create);
    db.create_missing_column_families(create);
    // A torn last record is a crash; anything else wrong in the WAL stops the start.
    db.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    db.set_track_and_verify_wals_in_manifest(true);
    db.set_paranoid_checks(true);
    db.set_use_fsync(false);
    db.set_max_total_wal_size(options.wal_bytes_max);
    db.set_db_write_buffer_size(options.write_buffer_bytes * 4);
    db.set_max_background_jobs(2);
    db.set_max_open_files(256);
    db.set_keep_log_file_num(2);
    db.set_max_log_file_size(4 * MIB);
    db.set_stats_dump_period_sec(0);
    db.set_stats_persist_period_sec(0);
    let generations = match dir.join("CURRENT").exists() {
        true => {
            let found = Db::list_cf(&db, dir).map_err(|error| open_error(dir, &error))?;
            found.into_iter().filter(|name| meta::generation_of(name).is_some()).collect()
        }
        false => Vec::new(),
    };
    let first = generations.is_empty().then(|| meta::rows_family(0));
    let rows = generations.into_iter().chain(first);
    let rows = rows.map(|name| ColumnFamilyDescriptor::new(name, rows_options(options, cache)));
    // A handful of small values, each written again with every group: most of a large buffer would be old ones.
    let few = options.write_buffer_bytes / 8;
    let plain = |name: &str, buffer| {
        ColumnFamilyDescriptor::new(name, family_options(buffer, cache, DBCompressionType::None, false))
    };
    let others = [
        plain("default", options.write_buffer_bytes),
        plain(meta::LOG, options.write_buffer_bytes),
        plain(meta::META, few),
    ];
    Db::open_cf_descriptors(&db, dir, others.into_iter().chain(rows)).map_err(|error| open_error(dir, &error))
}

/// What a memtable is written to is merged soon and read by nothing before: compressed is what stays.
fn rows_options(options: &Options, cache: &Cache) -> rocksdb::Options {
    let mut family = family_options(options.write_buffer_bytes, cache, DBCompressionType::Zstd, true);
    family.set_compression_per_level(&[DBCompressionType::None, DBCompressionType::Zstd]);
    family
}

fn family_options(
    buffer_bytes: usize,
    cache: &Cache,
    compression: DBCompressionType,
    bloom: bool,
) -> rocksdb::Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    if bloom {
        table.set_bloom_filter(10.0, false);
    }
    let mut family = rocksdb::Options::default();
    family.set_write_buffer_size(buffer_bytes);
    family.set_max_write_buffer_number(3);
    family.set_compression_type(compression);
    family.set_block_based_table_factory(&table);
    family
}

fn rows_of(db: &Db, generation: u64) -> Option<Family<'_>> {
    db.cf_handle(&meta::rows_family(generation))
}

/// The generation of the rows in use, whose rows are there.
fn read_generation(db: &Db) -> Result<u64, LoadError> {
    let number = match read_meta::<Generation>(db, meta::GENERATION) {
        Ok(Generation { number }) => number,
        Err(LoadError::Missing { .. }) => 0,
        Err(error) => return Err(error),
    };
    let missing = || LoadError::Missing { what: meta::rows_family(number) };
    rows_of(db, number).map(|_| number).ok_or_else(missing)
}

/// Removes what an installation left that a crash ended: rows that were not switched to, or those that were replaced.
fn remove_unused(dir: &Path, db: &Db, used: u64) -> Result<(), OpenError> {
    let failed = |reason| OpenError::Failed { dir: dir.to_owned(), reason };
    match std::fs::remove_dir_all(dir.join(meta::STAGING_FOLDER)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error.to_string())),
        Ok(()) | Err(_) => {}
    }
    let listed = Db::list_cf(&rocksdb::Options::default(), dir).map_err(|error| failed(error.to_string()))?;
    for name in listed.iter().filter(|name| meta::generation_of(name).is_some_and(|it| it != used)) {
        db.drop_cf(name).map_err(|error| failed(error.to_string()))?;
    }
    Ok(())
}

fn open_error(dir: &Path, error: &rocksdb::Error) -> OpenError {
    let (dir, reason) = (dir.to_owned(), error.to_string());
    let lock = reason.contains("LOCK")
        && (reason.contains("lock hold") || reason.contains("temporarily unavailable"));
    let missing = reason.contains("No such file") || reason.contains("does not exist");
    match error.kind() {
        rocksdb::ErrorKind::IOError if lock => OpenError::Locked { dir },
        rocksdb::ErrorKind::Corruption => OpenError::Damaged { dir, reason },
        _ if missing => OpenError::Damaged { dir, reason },
        _ => OpenError::Failed { dir, reason },
    }
}

fn read_meta<T: Message>(db: &Db, key: &[u8]) -> Result<T, LoadError> {
    let what = || String::from_utf8_lossy(key).into_owned();
    let handle = db.cf_handle(meta::META).expect("opened with all column families");
    let found = db
        .get_cf(&handle, key)
        .map_err(|error| LoadError::Read { what: what(), reason: error.to_string() })?;
    let bytes = found.ok_or_else(|| LoadError::Missing { what: what() })?;
    T::from_bytes(&bytes).map_err(|source| LoadError::Corrupt { what: what(), source })
}

fn read_place(db: &Db, key: &[u8]) -> Result<EntryMeta, LoadError> {
    let place: Place = read_meta(db, key)?;
    Ok(EntryMeta { index: place.index, term: place.term })
}

fn read_loaded(db: &Db) -> Result<Loaded, LoadError> {
    let compacted = read_place(db, meta::COMPACTED)?;
    let loaded = Loaded {
        hard_state: read_meta(db, meta::HARD_STATE)?,
        conf_state: read_meta(db, meta::CONF_STATE)?,
        applied: read_place(db, meta::APPLIED)?,
        snapshot: read_place(db, meta::SNAPSHOT)?,
        compacted,
        entries: read_entries(db, compacted.index + 1)?,
    };
    loaded.check().map_err(LoadError::Log)?;
    Ok(loaded)
}

fn read_entries(db: &Db, first: u64) -> Result<Vec<Entry>, LoadError> {
    let handle = db.cf_handle(meta::LOG).expect("opened with all column families");
    let mut entries = Vec::new();
    // Not from the start: below are the tombstones of what was cut.
    let start = meta::log_key(first);
    for item in db.iterator_cf(&handle, IteratorMode::From(&start, Direction::Forward)) {
        let expected = first + entries.len() as u64;
        let what = || format!("log entry {expected}");
        let (key, value) =
            item.map_err(|error| LoadError::Read { what: what(), reason: error.to_string() })?;
        let found = key.as_ref().try_into().map_or(0, u64::from_be_bytes);
        if found != expected {
            return Err(LoadError::Gap { expected, found });
        }
        let entry =
            Entry::from_bytes(&value).map_err(|source| LoadError::Corrupt { what: what(), source })?;
        if entry.index != expected {
            return Err(LoadError::Gap { expected, found: entry.index });
        }
        entries.push(entry);
    }
    Ok(entries)
}
