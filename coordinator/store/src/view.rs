//! Consistent views of the rows for queries on any thread. The owner of the replica never reads here.

use std::sync::Arc;

use rocksdb::{BoundColumnFamily, Direction, IteratorMode, ReadOptions, SnapshotWithThreadMode};
use trimaran_model::limits;
use trimaran_replica::{EntryMeta, Row};
use trimaran_wire::codec::Message;
use trimaran_wire::raft::{ConfState, Place, SnapshotMeta, StateHash};

use crate::meta;
use crate::store::{Db, Store};

/// Why a view could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("reading rows failed: {reason}")]
    Rows { reason: String },
    #[error("`{what}` can't be read: {reason}")]
    Meta { what: &'static str, reason: String },
    #[error("a row of {bytes} bytes is too large: no one could read it in a file")]
    TooLarge { bytes: usize },
}

/// The rows at one revision.
pub struct ReadView<'a> {
    store: &'a Store,
    /// Kept while it is read, also when a snapshot of the leader has replaced it.
    rows: Arc<BoundColumnFamily<'a>>,
    snapshot: SnapshotWithThreadMode<'a, Db>,
}

fn rows_error(error: rocksdb::Error) -> ReadError {
    ReadError::Rows { reason: error.to_string() }
}

impl Store {
    /// A consistent view of all rows and of the revision they are at. Cheap to take; holding one for long
    /// keeps deleted data on the disk.
    pub fn read_view(&self) -> ReadView<'_> {
        let generation = self.inner.generation.read();
        ReadView { store: self, rows: self.rows(*generation), snapshot: self.inner.db.snapshot() }
    }
}

impl<'a> ReadView<'a> {
    /// The last entry that the rows of this view contain. Its index is the revision of the view.
    pub fn applied(&self) -> Result<EntryMeta, ReadError> {
        let place: Place = self.meta("applied", meta::APPLIED)?;
        Ok(EntryMeta { index: place.index, term: place.term })
    }

    /// Members at [`Self::applied`], for a snapshot made from this view.
    pub fn snapshot_meta(&self) -> Result<SnapshotMeta, ReadError> {
        let at = self.applied()?;
        let conf_state: ConfState = self.meta("conf_state", meta::CONF_STATE)?;
        Ok(SnapshotMeta { index: at.index, term: at.term, conf_state })
    }

    /// The hash of the state that was stored with the rows of this view; `None` where no entry was applied to them since
    /// they were made or installed.
    pub fn state_hash(&self) -> Result<Option<u128>, ReadError> {
        let stored: Option<StateHash> = self.find_meta("state_hash", meta::STATE_HASH)?;
        let Some(StateHash { index, hash }) = stored else { return Ok(None) };
        let applied = self.applied()?.index;
        if index != applied {
            let reason = format!("it is of revision {index}, and the rows are of {applied}");
            return Err(ReadError::Meta { what: "state_hash", reason });
        }
        Ok(Some(hash))
    }

    fn meta<T: Message>(&self, what: &'static str, key: &[u8]) -> Result<T, ReadError> {
        let missing = || ReadError::Meta { what, reason: "it is missing".into() };
        self.find_meta(what, key)?.ok_or_else(missing)
    }

    fn find_meta<T: Message>(&self, what: &'static str, key: &[u8]) -> Result<Option<T>, ReadError> {
        let fault = |reason: String| ReadError::Meta { what, reason };
        let found =
            self.snapshot.get_cf(&self.store.cf(meta::META), key).map_err(|e| fault(e.to_string()))?;
        found.map(|bytes| T::from_bytes(&bytes).map_err(|error| fault(error.to_string()))).transpose()
    }

    /// All rows in the order of their keys, as many at a time as a chunk of a file has: what a peer or a backup gets.
    ///
    /// # Errors
    /// Also of a row that is too large for a frame, which would not be readable.
    pub fn chunks(&self) -> impl Iterator<Item = Result<Vec<Row>, ReadError>> + use<'_, 'a> {
        let mut rows = self.range(&[], None).peekable();
        std::iter::from_fn(move || {
            let (mut chunk, mut size) = (Vec::new(), 0);
            let fits = |row: &Result<Row, ReadError>, size: usize, is_empty: bool| match row {
                Ok(row) => is_empty || size + bytes(row) <= limits::SNAPSHOT_CHUNK_BYTES,
                Err(_) => true,
            };
            while let Some(row) = rows.next_if(|row| fits(row, size, chunk.is_empty())) {
                match row {
                    Ok(row) if bytes(&row) > limits::ENTRY_BYTES_MAX * 2 => {
                        return Some(Err(ReadError::TooLarge { bytes: bytes(&row) }));
                    }
                    Ok(row) => {
                        size += bytes(&row);
                        chunk.push(row);
                    }
                    Err(error) => return Some(Err(error)),
                }
            }
            (!chunk.is_empty()).then_some(Ok(chunk))
        })
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        self.snapshot.get_cf(&self.rows, key).map_err(rows_error)
    }

    /// Rows whose keys start with `prefix`, in order.
    pub fn scan(&self, prefix: &[u8]) -> impl Iterator<Item = Result<Row, ReadError>> + use<'_, 'a> {
        self.range(prefix, prefix_end(prefix).as_deref())
    }

    /// Rows with `start <= key`, and `key < end` if there is an end, in order.
    pub fn range(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
    ) -> impl Iterator<Item = Result<Row, ReadError>> + use<'_, 'a> {
        let mut options = ReadOptions::default();
        if let Some(end) = end {
            options.set_iterate_upper_bound(end);
        }
        let mode = IteratorMode::From(start, Direction::Forward);
        let rows = self.snapshot.iterator_cf_opt(&self.rows, options, mode);
        rows.map(|row| row.map(|(key, value)| (key.into_vec(), value.into_vec())).map_err(rows_error))
    }

    /// Rows with `start <= key < end`, in the reverse order of their keys.
    pub fn range_back(
        &self,
        start: &[u8],
        end: &[u8],
    ) -> impl Iterator<Item = Result<Row, ReadError>> + use<'_, 'a> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(start);
        options.set_iterate_upper_bound(end);
        let rows = self.snapshot.iterator_cf_opt(&self.rows, options, IteratorMode::End);
        rows.map(|row| row.map(|(key, value)| (key.into_vec(), value.into_vec())).map_err(rows_error))
    }
}

/// Key and value together.
fn bytes((key, value): &Row) -> usize {
    key.len() + value.len()
}

/// The first key after all keys that start with `prefix`; `None` when there is none.
fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut end = prefix[..=kept].to_vec();
    end[kept] += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::prefix_end;

    #[test]
    fn ends_of_prefixes() {
        assert_eq!(prefix_end(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(prefix_end(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(prefix_end(b"\xff"), None);
        assert_eq!(prefix_end(b""), None);
    }
}
