//! Rows of the store as queries read them, and what a damaged one does.
//!
//! A row that can't be read or decoded is damage, never absence: nothing that was made from such a view leaves it,
//! and the process ends. Views at start are the store's own; see `run::load_engine`.

use std::cell::RefCell;
use std::fmt;

use trimaran_engine::Engine;
use trimaran_query::RowSource;
use trimaran_replica::Row;
use trimaran_store::{ReadError, ReadView};
use trimaran_wire::raft::SnapshotMeta;

use crate::damaged::Damaged;
use crate::node::Node;

/// Reads at the newest rows of the store.
pub(crate) struct View<'a>(&'a Node);

/// One consistent view.
pub(crate) struct Rows<'a> {
    view: ReadView<'a>,
    damaged: RefCell<Option<Damaged>>,
}

impl<'a> View<'a> {
    pub(crate) fn new(node: &'a Node) -> Self {
        Self(node)
    }

    /// Runs a query on one view. What a query says of a damaged view is dropped, and the process ends: with other
    /// members the rows can be had from them, alone from a backup.
    pub(crate) fn read<T>(&self, query: impl FnOnce(&Rows<'_>) -> T) -> Result<T, Damaged> {
        let rows = Rows { view: self.0.store.read_view(), damaged: RefCell::new(None) };
        let found = query(&rows);
        match rows.damaged.into_inner() {
            None => Ok(found),
            Some(damaged) => {
                tracing::error!("{damaged}");
                self.0.end(damaged.clone());
                Err(damaged)
            }
        }
    }
}

impl Rows<'_> {
    /// The revision of this view.
    pub(crate) fn revision(&self) -> u64 {
        match self.view.applied() {
            Ok(place) => place.index,
            Err(error) => {
                self.note("the revision of the rows".to_owned(), &error);
                0
            }
        }
    }

    /// The revision of this view and the members at it; `None` of a damaged one.
    pub(crate) fn snapshot_meta(&self) -> Option<SnapshotMeta> {
        self.noted("the revision of the rows", self.view.snapshot_meta())
    }

    /// Hands out every row in the order of their keys, some at a time, until `each` wants no more. The answer is the hash
    /// of the state that they come to, which is the one that was stored with them; `None` when they were not all handed
    /// out or are damaged.
    pub(crate) fn each_chunk(&self, each: &mut dyn FnMut(Vec<Row>) -> bool) -> Option<u128> {
        let mut hash: u128 = 0;
        for chunk in self.view.chunks() {
            let chunk = self.noted("a row", chunk)?;
            hash =
                chunk.iter().fold(hash, |hash, (key, value)| hash.wrapping_add(Engine::row_hash(key, value)));
            if !each(chunk) {
                return None;
            }
        }
        match self.noted("the hash of the state", self.view.state_hash())? {
            Some(stored) if stored != hash => {
                let why = format!("the rows come to {hash:032x}, and {stored:032x} was stored with them");
                self.note("the state".to_owned(), &why);
                None
            }
            Some(_) | None => Some(hash),
        }
    }

    fn noted<T>(&self, what: &str, read: Result<T, ReadError>) -> Option<T> {
        read.map_err(|error| self.note(what.to_owned(), &error)).ok()
    }

    fn note(&self, row: String, why: &dyn fmt::Display) {
        self.damaged.borrow_mut().get_or_insert_with(|| Damaged { row, why: why.to_string() });
    }
}

impl RowSource for Rows<'_> {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.view.get(key).unwrap_or_else(|error| {
            self.damaged(key, &error);
            None
        })
    }

    fn scan(&self, prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        for row in self.view.scan(prefix) {
            match row {
                Ok((key, value)) => {
                    if !each(&key, &value) {
                        return;
                    }
                }
                Err(error) => return self.damaged(prefix, &error),
            }
        }
    }

    fn scan_back(&self, first: &[u8], end: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        for row in self.view.range_back(first, end) {
            match row {
                Ok((key, value)) => {
                    if !each(&key, &value) {
                        return;
                    }
                }
                Err(error) => return self.damaged(first, &error),
            }
        }
    }

    fn damaged(&self, key: &[u8], why: &dyn fmt::Display) {
        self.note(trimaran_query::describe_key(key), why);
    }
}
