//! Rows of the store as queries read them, and what a damaged one does.
//!
//! A row that can't be read or decoded is damage, never absence: nothing that was made from such a view leaves it,
//! and the process ends. Views at start are the store's own; see `run::load_engine`.

use std::cell::RefCell;
use std::fmt;

use trimaran_query::RowSource;
use trimaran_store::ReadView;

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
