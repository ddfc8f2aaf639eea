//! A store that is made from the rows of a backup, some at a time, so that their number has no bound in memory.

use std::path::Path;

use rocksdb::{WriteBatch, WriteOptions};
use trimaran_replica::{EntryMeta, Row};
use trimaran_wire::codec::Message as _;
use trimaran_wire::raft::{ConfState, Identity, StateHash};

use super::{Db, InitError, OpenError, Options, Store, first_metas, open_soon};
use crate::meta;

/// A directory on its way to be a store. Before [`Self::finish`] it is none: nothing opens it, and it can be deleted.
pub struct Restore {
    db: Db,
}

impl Store {
    /// Begins to make `dir`, which is empty or not there, into a store.
    ///
    /// # Errors
    /// When there is something in the directory, or it can't be made.
    pub fn restore(dir: &Path, options: &Options) -> Result<Restore, InitError> {
        let failed =
            |error: std::io::Error| OpenError::Failed { dir: dir.to_owned(), reason: error.to_string() };
        std::fs::create_dir_all(dir).map_err(failed)?;
        if std::fs::read_dir(dir).map_err(failed)?.next().is_some() {
            return Err(InitError::AlreadyInitialized { dir: dir.to_owned() });
        }
        Ok(Restore { db: open_soon(dir, options, true)? })
    }
}

impl Restore {
    /// Adds rows.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn rows(&mut self, rows: &[Row]) -> Result<(), InitError> {
        let mut batch = WriteBatch::default();
        let family = self.db.cf_handle(meta::ROWS).expect("opened with all column families");
        for (key, value) in rows {
            batch.put_cf(&family, key, value);
        }
        self.db.write(batch).map_err(failed)
    }

    /// Makes it the store of a member whose state at revision `at.index` these rows are; synced. A start compares the
    /// rows with `state_hash`.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn finish(
        self,
        identity: Identity,
        members: &ConfState,
        at: EntryMeta,
        state_hash: u128,
    ) -> Result<(), InitError> {
        let mut batch = WriteBatch::default();
        let family = self.db.cf_handle(meta::META).expect("opened with all column families");
        for (key, value) in first_metas(identity, members, at) {
            batch.put_cf(&family, key, value);
        }
        let hash = StateHash { index: at.index, hash: state_hash };
        batch.put_cf(&family, meta::STATE_HASH, hash.to_bytes());
        let mut synced = WriteOptions::default();
        // One WAL has the rows in front of this, so that they are synced with it.
        synced.set_sync(true);
        self.db.write_opt(batch, &synced).map_err(failed)
    }
}

fn failed(error: rocksdb::Error) -> InitError {
    InitError::Write { reason: error.to_string() }
}
