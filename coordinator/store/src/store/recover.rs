//! The store of a member that is left of a lost quorum becomes that of the only member.
//!
//! Not here: what its log comes to, and whether it may (`trimaran-replica` and the server).

use rocksdb::WriteBatch;
use trimaran_replica::{EntryMeta, RowBatch};
use trimaran_wire::codec::Message as _;
use trimaran_wire::raft::{ConfState, StateHash};

use super::{Bounds, Store, WriteError, first_metas};
use crate::meta;

impl Store {
    /// Makes the member of this store the only one, at revision `at.index`, with these rows changed and an empty log. One
    /// synced record: after a crash it is the store as it was, or the recovered one. Nothing else may write meanwhile.
    ///
    /// # Errors
    /// When it can't be written; the store is as it was.
    pub fn recover(&self, at: EntryMeta, rows: &RowBatch, state_hash: u128) -> Result<(), WriteError> {
        let mut bounds = self.inner.bounds.lock();
        if at.index <= bounds.last {
            return Err(WriteError::Bounds { last: bounds.last, commit: bounds.commit, applied: at.index });
        }
        let mut batch = WriteBatch::default();
        self.clear(meta::LOG, &mut batch)?;
        for (key, value) in &rows.changes {
            match value {
                Some(value) => batch.put_cf(&self.cf(meta::ROWS), key, value),
                None => batch.delete_cf(&self.cf(meta::ROWS), key),
            }
        }
        let members = ConfState { voters: vec![self.inner.identity.raft_id], ..ConfState::default() };
        for (key, value) in first_metas(self.inner.identity, &members, at) {
            batch.put_cf(&self.cf(meta::META), key, value);
        }
        let hash = StateHash { index: at.index, hash: state_hash };
        batch.put_cf(&self.cf(meta::META), meta::STATE_HASH, hash.to_bytes());
        self.commit(batch, true)?;
        *bounds = Bounds { first: at.index + 1, last: at.index, commit: at.index, applied: at.index };
        self.inner.applied.send_replace(at.index);
        Ok(())
    }
}
