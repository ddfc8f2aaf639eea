//! Rows: the frozen forms of the state, and the way between them and its types. The files below are the only ones that
//! know `wire::v1::row`.
//!
//! Deliberately not here: what rows mean (`state`), and which of them an entry changed (`table`).

pub mod cold;
mod convert;
mod deploy;
mod keys;
mod reason;
mod simple;

use trimaran_wire::codec::{CodecError, Message};
use trimaran_wire::v1::row::table;

pub use keys::{cold as cold_key, instances_key, run_key, stage_key, stages_prefix};
pub use trimaran_wire::v1::row::table as tables;

/// A type of the state with its frozen form.
pub trait Frozen: Sized {
    type Wire;
    fn freeze(&self) -> Self::Wire;
    /// Checks what the frozen form leaves open: names, spellings, ranges.
    fn thaw(wire: Self::Wire) -> Result<Self, CodecError>;
}

/// The stored bytes of a row.
pub fn to_bytes<R: Frozen<Wire: Message>>(row: &R) -> Vec<u8> {
    row.freeze().to_bytes()
}

/// Reads the stored bytes of a row.
pub fn from_bytes<R: Frozen<Wire: Message>>(bytes: &[u8]) -> Result<R, CodecError> {
    R::thaw(R::Wire::from_bytes(bytes)?)
}

/// Every hot table has a smaller number, every cold one this or a larger: rows come in the order of their tables, so
/// that a start reads the hot ones alone.
pub const COLD_TABLES_FROM: u8 = table::AUDIT;

/// Tables whose rows leave memory with the entry that writes them.
pub(crate) fn is_cold(number: u8) -> bool {
    matches!(
        number,
        table::AUDIT
            | table::OLD_RUN
            | table::OLD_STAGE
            | table::OLD_RELEASE
            | table::SOURCE
            | table::INSTANCES
            | table::CONTENT_PART
    )
}
