//! A check of all stored rows together: each is one of its table, the chain of audit records is computed again, and whole
//! contents have their digests.
//!
//! Not here: the hash of the state (`trimaran-engine`), and the files (`trimaran-store`).

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use trimaran_engine::Engine;
use trimaran_engine::rows::cold::{Audit, ContentPart};
use trimaran_engine::rows::{from_bytes, tables};
use trimaran_engine::state::cluster::Cluster;
use trimaran_engine::state::pipeline::ContentEntry;
use trimaran_model::id::Digest;
use trimaran_model::text::with_sources;
use trimaran_wire::codec::CodecError;

use crate::rows::describe_key;

/// Bytes of a digest, with which the key of a part of content begins.
const DIGEST: usize = 32;

/// What was seen of the rows so far; they have to come in the order of their keys.
#[derive(Default)]
pub struct RowCheck {
    rows: u64,
    audit: Option<(u64, Digest)>,
    cluster: Cluster,
    /// Whole contents by digest; those that were seen whole are removed.
    contents: BTreeMap<Digest, ContentEntry>,
    /// The content whose parts come now.
    hashing: Option<(Digest, Sha256)>,
    faults: Vec<String>,
}

/// What a check of all rows came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowsChecked {
    pub rows: u64,
    pub audit_records: u64,
    /// What is wrong, a row each.
    pub faults: Vec<String>,
}

impl RowCheck {
    pub fn row(&mut self, key: &[u8], value: &[u8]) {
        self.rows += 1;
        let checked = Engine::check_row(key, value).map_err(|error| with_sources(&error));
        let checked = checked.and_then(|()| self.whole(key, value).map_err(|error| error.to_string()));
        if let Err(why) = checked {
            self.faults.push(format!("{} is damaged: {why}", describe_key(key)));
        }
    }

    /// What a row alone does not say.
    fn whole(&mut self, key: &[u8], value: &[u8]) -> Result<(), CodecError> {
        match key.first() {
            Some(&tables::META) => self.cluster = from_bytes(value)?,
            Some(&tables::CONTENT) => self.content(from_bytes(value)?),
            Some(&tables::AUDIT) => self.record(&from_bytes(value)?),
            Some(&tables::CONTENT_PART) => self.part(&key[1..], &from_bytes(value)?),
            Some(_) | None => {}
        }
        Ok(())
    }

    fn content(&mut self, entry: ContentEntry) {
        if entry.is_whole() {
            self.contents.insert(entry.content.digest, entry);
        }
    }

    fn record(&mut self, record: &Audit) {
        let (last, previous) = self.audit.map_or((0, None), |(seq, hash)| (seq, Some(hash)));
        if record.seq != last + 1 || record.hash != record.chained(previous) {
            self.faults.push(format!("the chain of audit records breaks at {}", record.seq));
        }
        self.audit = Some((record.seq, record.hash));
    }

    fn part(&mut self, key: &[u8], part: &ContentPart) {
        let Some(digest) = key.first_chunk::<DIGEST>().map(|bytes| Digest(*bytes)) else { return };
        let (_, mut hash) = match self.hashing.take().filter(|(of, _)| *of == digest) {
            Some(hashing) => hashing,
            None => (digest, Sha256::new()),
        };
        hash.update(&part.bytes);
        if Digest(hash.clone().finalize().into()) == digest {
            self.contents.remove(&digest);
        }
        self.hashing = Some((digest, hash));
    }

    /// All rows were seen.
    pub fn finish(mut self) -> RowsChecked {
        let (seq, hash) = self.audit.unwrap_or((0, Digest([0; DIGEST])));
        if (seq, hash) != (self.cluster.audit_seq, self.cluster.audit_hash) {
            let expected = self.cluster.audit_seq;
            self.faults.push(format!("the last audit record is {seq}, and {expected} was written last"));
        }
        let broken =
            self.contents.keys().map(|digest| format!("the content {digest} is not what was uploaded"));
        self.faults.extend(broken);
        RowsChecked { rows: self.rows, audit_records: seq, faults: self.faults }
    }
}
