//! The hash-chained record of who did what, refusals and automatic decisions included.

use sha2::{Digest as _, Sha256};
use trimaran_model::id::Digest;
use trimaran_model::time::WallTime;
use trimaran_wire::document::rfc3339;
use trimaran_wire::v1::row::{self, table};

use crate::state::State;

/// Appends a record. Each hash covers the one before, so a record can't be changed, left out or moved.
pub(crate) fn record(state: &mut State, identity: &str, verb: &str, object: &str, outcome: &str) {
    let at_ms = state.wall().0;
    let meta = state.meta();
    let seq = meta.audit_seq + 1;
    let previous = if meta.audit_seq == 0 { String::new() } else { Digest(meta.audit_hash).to_string() };
    let at = rfc3339(WallTime(at_ms));
    let text = format!("{previous}\n{seq}\n{at}\n{identity}\n{verb}\n{object}\n{outcome}");
    let hash: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    let row = row::Audit {
        seq,
        at_ms,
        identity: identity.to_owned(),
        verb: verb.to_owned(),
        object: object.to_owned(),
        outcome: outcome.to_owned(),
        hash,
    };
    state.set_meta(|meta| (meta.audit_seq, meta.audit_hash) = (seq, hash));
    state.put_cold(table::AUDIT, &seq.to_be_bytes(), &row);
}
