//! Names of column families and of the keys of `meta`, and their values as bytes.

use trimaran_replica::EntryMeta;
use trimaran_wire::codec::Message as _;
use trimaran_wire::raft::Place;

pub(crate) const LOG: &str = "log";
pub(crate) const ROWS: &str = "rows";
pub(crate) const META: &str = "meta";

pub(crate) const IDENTITY: &[u8] = b"identity";
pub(crate) const HARD_STATE: &[u8] = b"hard_state";
pub(crate) const CONF_STATE: &[u8] = b"conf_state";
pub(crate) const APPLIED: &[u8] = b"applied";
pub(crate) const SNAPSHOT: &[u8] = b"snapshot";
pub(crate) const COMPACTED: &[u8] = b"compacted";
pub(crate) const STATE_HASH: &[u8] = b"state_hash";

pub(crate) fn place(entry: EntryMeta) -> Vec<u8> {
    Place { index: entry.index, term: entry.term }.to_bytes()
}

pub(crate) fn log_key(index: u64) -> [u8; 8] {
    index.to_be_bytes()
}
