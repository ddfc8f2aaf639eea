//! The hash-chained record of who did what, refusals and automatic decisions included.

use trimaran_model::id::{Digest, Identity};

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
    let previous = (cluster.audit_seq > 0).then_some(cluster.audit_hash);
    let Record { verb, object } = record;
    let (verb, outcome) = (verb.to_owned(), outcome.to_owned());
    let identity = identity.to_string();
    let mut record = Audit { seq, at: wall, identity, verb, object, outcome, hash: Digest([0; 32]) };
    record.hash = record.chained(previous);
    let hash = record.hash;
    state.cold.push(cold::audit(&record));
    state.set_cluster(|cluster| (cluster.audit_seq, cluster.audit_hash) = (seq, hash));
}
