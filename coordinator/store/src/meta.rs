//! Names of column families and of the keys of `meta`, and their values as bytes.

use trimaran_replica::EntryMeta;
use trimaran_wire::codec::Message as _;
use trimaran_wire::raft::Place;

pub(crate) const LOG: &str = "log";
/// The rows in use, whichever generation they are.
pub(crate) const ROWS: &str = "rows";
pub(crate) const META: &str = "meta";

pub(crate) const IDENTITY: &[u8] = b"identity";
pub(crate) const HARD_STATE: &[u8] = b"hard_state";
pub(crate) const CONF_STATE: &[u8] = b"conf_state";
pub(crate) const APPLIED: &[u8] = b"applied";
pub(crate) const SNAPSHOT: &[u8] = b"snapshot";
pub(crate) const COMPACTED: &[u8] = b"compacted";
/// The generation of the rows in use; missing where they were never replaced.
pub(crate) const GENERATION: &[u8] = b"generation";
pub(crate) const STATE_HASH: &[u8] = b"state_hash";

pub(crate) fn place(entry: EntryMeta) -> Vec<u8> {
    Place { index: entry.index, term: entry.term }.to_bytes()
}

pub(crate) fn log_key(index: u64) -> [u8; 8] {
    index.to_be_bytes()
}

/// Folder of table files that are being written, in the directory of the store.
pub(crate) const STAGING_FOLDER: &str = "staging";

/// The column family of a generation of rows.
pub(crate) fn rows_family(generation: u64) -> String {
    match generation {
        0 => ROWS.to_owned(),
        number => format!("{ROWS}.{number}"),
    }
}

/// The generation whose rows are in a column family.
pub(crate) fn generation_of(family: &str) -> Option<u64> {
    match family.strip_prefix(ROWS)? {
        "" => Some(0),
        number => number.strip_prefix('.')?.parse().ok(),
    }
}
