//! The hash-chained record of who did what, refusals and automatic decisions included.

use sha2::{Digest as _, Sha256};
use trimaran_model::id::{Digest, Identity};
use trimaran_wire::document::rfc3339;

use crate::rows::cold::{self, Audit};
use crate::state::State;

/// One record, before it has a number and a hash.
pub(crate) struct Record {
    pub(crate) verb: &'static str,
    pub(crate) object: String,
}

/// Appends a record. Each hash covers the one before, so a record can't be changed, left out or moved.
pub(crate) fn append(state: &mut State, identity: &Identity, record: Record, outcome: &str) {
    let wall = state.wall();
    let cluster = state.cluster();
    let seq = cluster.audit_seq + 1;
    let previous = if cluster.audit_seq == 0 { String::new() } else { cluster.audit_hash.to_string() };
    let Record { verb, object } = record;
    let text = format!("{previous}\n{seq}\n{}\n{identity}\n{verb}\n{object}\n{outcome}", rfc3339(wall));
    let hash = Digest(Sha256::digest(text.as_bytes()).into());
    let (verb, outcome) = (verb.to_owned(), outcome.to_owned());
    let record = Audit { seq, at: wall, identity: identity.to_string(), verb, object, outcome, hash };
    state.cold.push(cold::audit(&record));
    state.set_cluster(|cluster| (cluster.audit_seq, cluster.audit_hash) = (seq, hash));
}
