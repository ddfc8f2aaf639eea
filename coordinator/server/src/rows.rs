//! Rows of the store as the engine's queries read them.

use trimaran_query::RowSource;
use trimaran_store::ReadView;

use crate::node::Node;

/// Reads at the newest rows of the store.
pub(crate) struct View<'a>(&'a Node);

/// One consistent view.
pub(crate) struct Rows<'a>(ReadView<'a>);

impl<'a> View<'a> {
    pub(crate) fn new(node: &'a Node) -> Self {
        Self(node)
    }

    /// Runs a query on one view. Views are on disk and short: tens of rows, or a bounded scan.
    pub(crate) fn read<T>(&self, query: impl FnOnce(&Rows<'_>) -> T) -> T {
        query(&Rows(self.0.store.read_view()))
    }
}

impl Rows<'_> {
    /// The revision of this view.
    pub(crate) fn revision(&self) -> u64 {
        self.0.applied().map_or(0, |place| place.index)
    }
}

impl RowSource for Rows<'_> {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        match self.0.get(key) {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(%error, "a row can't be read");
                None
            }
        }
    }

    fn scan(&self, prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        for row in self.0.scan(prefix) {
            match row {
                Ok((key, value)) => {
                    if !each(&key, &value) {
                        return;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "rows can't be read");
                    return;
                }
            }
        }
    }
}
