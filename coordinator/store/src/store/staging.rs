//! Another generation of rows beside the one in use: made of the leader's snapshot while everything goes on, and switched to
//! in one write.
//!
//! The rows arrive in the order of their keys, so they are written as table files at once: neither the WAL nor memtables nor
//! compaction has any work with them, and memory holds one chunk and the index of one file. The files join the database,
//! synced, as a column family of their own that nothing reads until [`Store::install`]. What a crash leaves of it is removed at the
//! next start.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use rocksdb::{IngestExternalFileOptions, ReadOptions, SstFileWriter, WriteBatch};
use trimaran_replica::staging::StagingJob;
use trimaran_replica::{EntryMeta, InstallJob, Row};
use trimaran_wire::codec::Message as _;
use trimaran_wire::raft::{Generation, HardState, StateHash};

use super::write::{WriteError, write_error};
use super::{Bounds, LoadError, Store, row, rows_of};
use crate::meta;

/// A file that has so many bytes is followed by another one.
const FILE_BYTES: u64 = 64 << 20;

/// Why the rows of a snapshot are not staged. Nothing is left of them.
#[derive(Debug, thiserror::Error)]
pub enum StageError<E> {
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("the rows ended before they were whole")]
    Cut,
    /// Of who hands the rows out.
    #[error(transparent)]
    Rows(E),
}

/// A whole and synced generation of rows that is not in use. Dropped before its installation it is removed.
pub struct StagedRows {
    store: Store,
    generation: u64,
    state_hash: Option<u128>,
    is_installed: bool,
}

impl StagedRows {
    /// Its rows with `key < end`.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn rows_below(&self, end: &[u8]) -> Result<Vec<Row>, LoadError> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(end);
        options.fill_cache(false);
        let inner = &self.store.inner;
        let family = inner
            .db
            .cf_handle(&meta::rows_family(self.generation))
            .expect("dropped with self at the earliest");
        inner.db.iterator_cf_opt(&family, options, rocksdb::IteratorMode::Start).map(row).collect()
    }
}

impl Drop for StagedRows {
    fn drop(&mut self) {
        if !self.is_installed {
            // One that stays is removed at the next start.
            drop(self.store.inner.db.drop_cf(&meta::rows_family(self.generation)));
        }
    }
}

impl Store {
    /// Stages rows as `jobs` hand them out, in the order of their keys, up to [`StagingJob::Sync`]. They come to the state of
    /// this hash. Blocks as long as `jobs` does; the store can be used meanwhile.
    ///
    /// # Errors
    /// When they can't be written, or `jobs` ends or fails before they are whole.
    pub fn stage<E>(
        &self,
        state_hash: Option<u128>,
        jobs: impl Iterator<Item = Result<StagingJob, E>>,
    ) -> Result<StagedRows, StageError<E>> {
        let generation = self.inner.last_generation.fetch_add(1, Ordering::Relaxed) + 1;
        let mut files = Files::create(self, generation)?;
        for job in jobs {
            match job.map_err(StageError::Rows)? {
                StagingJob::Rows(rows) => files.write(&rows)?,
                StagingJob::Sync => {
                    files.join()?;
                    let store = self.clone();
                    return Ok(StagedRows { store, generation, state_hash, is_installed: false });
                }
            }
        }
        Err(StageError::Cut)
    }

    /// Switches to staged rows and empties the log, in one synced record of the WAL: after a crash it is the old state or the
    /// new one. Views that were taken before keep the rows that they have.
    ///
    /// # Errors
    /// When it can't be written; the process has to end.
    pub fn install(&self, job: &InstallJob, mut rows: StagedRows) -> Result<(), WriteError> {
        let mut bounds = self.inner.bounds.lock();
        let mut batch = WriteBatch::default();
        self.clear(meta::LOG, &mut batch)?;
        let at = EntryMeta { index: job.meta.index, term: job.meta.term };
        let commit = job.hard_state.commit.max(at.index);
        let state = HardState { commit, ..job.hard_state };
        let metas = self.cf(meta::META);
        for (key, value) in [
            (meta::HARD_STATE, state.to_bytes()),
            (meta::CONF_STATE, job.meta.conf_state.to_bytes()),
            (meta::APPLIED, meta::place(at)),
            (meta::SNAPSHOT, meta::place(at)),
            (meta::COMPACTED, meta::place(at)),
            (meta::GENERATION, Generation { number: rows.generation }.to_bytes()),
        ] {
            batch.put_cf(&metas, key, value);
        }
        match rows.state_hash {
            Some(hash) => {
                batch.put_cf(&metas, meta::STATE_HASH, StateHash { index: at.index, hash }.to_bytes());
            }
            None => batch.delete_cf(&metas, meta::STATE_HASH),
        }
        // A view has the rows that what describes them is about.
        let mut generation = self.inner.generation.write();
        self.commit(batch, true)?;
        let replaced = std::mem::replace(&mut *generation, rows.generation);
        drop(generation);
        rows.is_installed = true;
        self.inner.replaced.lock().push(replaced);
        *bounds = Bounds { first: at.index + 1, last: at.index, commit, applied: at.index };
        self.inner.applied.send_replace(at.index);
        Ok(())
    }

    /// Removes rows that an installation replaced. Their space is free when the last view of them ends.
    pub fn remove_replaced_rows(&self) {
        for generation in std::mem::take(&mut *self.inner.replaced.lock()) {
            // One that stays is removed at the next start.
            drop(self.inner.db.drop_cf(&meta::rows_family(generation)));
        }
    }
}

/// Table files on their way into the database. Those that are left when it is dropped are removed.
struct Files<'a> {
    store: &'a Store,
    generation: u64,
    folder: PathBuf,
    paths: Vec<PathBuf>,
    writer: Option<SstFileWriter<'a>>,
}

impl<'a> Files<'a> {
    fn create(store: &'a Store, generation: u64) -> Result<Self, WriteError> {
        let folder = store.inner.db.path().join(meta::STAGING_FOLDER).join(generation.to_string());
        std::fs::create_dir_all(&folder).map_err(|error| WriteError::of(error.to_string()))?;
        Ok(Self { store, generation, folder, paths: Vec::new(), writer: None })
    }

    fn write(&mut self, rows: &[Row]) -> Result<(), WriteError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => self.begin()?,
        };
        for (key, value) in rows {
            writer.put(key, value).map_err(write_error)?;
        }
        if writer.file_size() >= FILE_BYTES {
            writer.finish().map_err(write_error)?;
        } else {
            self.writer = Some(writer);
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<SstFileWriter<'a>, WriteError> {
        let writer = SstFileWriter::create(&self.store.inner.rows_options);
        let path = self.folder.join(format!("{:06}.sst", self.paths.len()));
        writer.open(&path).map_err(write_error)?;
        self.paths.push(path);
        Ok(writer)
    }

    /// Ends the last file and makes all of them a column family, synced.
    fn join(mut self) -> Result<(), WriteError> {
        if let Some(mut writer) = self.writer.take() {
            writer.finish().map_err(write_error)?;
        }
        let (inner, name) = (&self.store.inner, meta::rows_family(self.generation));
        inner.db.create_cf(&name, &inner.rows_options).map_err(write_error)?;
        if self.paths.is_empty() {
            return Ok(());
        }
        let family = rows_of(&inner.db, self.generation).expect("it was created");
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        let joined = inner.db.ingest_external_file_cf_opts(&family, &options, self.paths.clone());
        if joined.is_err() {
            // One that stays is removed at the next start.
            drop(inner.db.drop_cf(&name));
        }
        joined.map_err(write_error)
    }
}

impl Drop for Files<'_> {
    fn drop(&mut self) {
        self.writer = None;
        // What stays is removed at the next start.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}
