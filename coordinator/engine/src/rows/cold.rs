//! Rows that leave memory with the entry that writes them: only queries read them.

use sha2::{Digest as _, Sha256};
use trimaran_model::action::InstanceReport;
use trimaran_model::id::{Digest, RunId};
use trimaran_model::time::WallTime;
use trimaran_wire::codec::{CodecError, Message as _, encode};
use trimaran_wire::document::rfc3339;
use trimaran_wire::v1::command::PipelineSource;
use trimaran_wire::v1::row::{self, table};

use super::convert::frozen_struct;
use super::keys::{cold, instances_key, run_key, stage_key};
use super::{Frozen, from_bytes, to_bytes};
use crate::state::pipeline::ReleaseEntry;
use crate::state::run::Run;
use crate::state::stage::Stage;
use crate::table::RowChange;

/// What was last reported of the instances of a stage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Instances {
    pub instances: Vec<InstanceReport>,
}

/// A part of content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentPart {
    pub bytes: Vec<u8>,
}

impl Frozen for ContentPart {
    type Wire = row::ContentPart;
    fn freeze(&self) -> row::ContentPart {
        row::ContentPart { bytes: self.bytes.clone() }
    }
    fn thaw(wire: row::ContentPart) -> Result<Self, CodecError> {
        Ok(Self { bytes: wire.bytes })
    }
}

/// The file of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub source: PipelineSource,
}

/// A record of the audit log. `hash` covers the record and the hash before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    pub seq: u64,
    pub at: WallTime,
    pub identity: String,
    pub verb: String,
    pub object: String,
    pub outcome: String,
    pub hash: Digest,
}

impl Audit {
    /// The hash of this record behind the one with the hash `previous`; `None` for the first record.
    pub fn chained(&self, previous: Option<Digest>) -> Digest {
        let Self { seq, at, identity, verb, object, outcome, hash: _ } = self;
        let previous = previous.map_or_else(String::new, |hash| hash.to_string());
        let at = rfc3339(*at);
        let text = format!("{previous}\n{seq}\n{at}\n{identity}\n{verb}\n{object}\n{outcome}");
        Digest(Sha256::digest(text.as_bytes()).into())
    }
}

frozen_struct!(Instances => row::Instances { instances });
frozen_struct!(Audit => row::Audit { seq, identity, verb, object, outcome, hash } { at: at_ms });

impl Frozen for Source {
    type Wire = row::Source;
    fn freeze(&self) -> row::Source {
        row::Source { source: self.source.clone() }
    }
    fn thaw(wire: row::Source) -> Result<Self, CodecError> {
        Ok(Self { source: wire.source })
    }
}

/// Whether a row of a cold table can be read; a table that is not cold has no such row.
pub(crate) fn check(number: u8, bytes: &[u8]) -> Option<Result<(), CodecError>> {
    Some(match number {
        table::AUDIT => from_bytes::<Audit>(bytes).map(drop),
        table::OLD_RUN => from_bytes::<Run>(bytes).map(drop),
        table::OLD_STAGE => from_bytes::<Stage>(bytes).map(drop),
        table::OLD_RELEASE => from_bytes::<ReleaseEntry>(bytes).map(drop),
        table::SOURCE => from_bytes::<Source>(bytes).map(drop),
        table::INSTANCES => from_bytes::<Instances>(bytes).map(drop),
        table::CONTENT_PART => from_bytes::<ContentPart>(bytes).map(drop),
        _ => return None,
    })
}

pub(crate) fn audit(record: &Audit) -> RowChange {
    (cold(table::AUDIT, &record.seq.to_be_bytes()), Some(to_bytes(record)))
}

pub(crate) fn instances(run: &RunId, index: u16, instances: Vec<InstanceReport>) -> RowChange {
    (instances_key(run, index), Some(to_bytes(&Instances { instances })))
}

/// The row of a pipeline's file, and the digest by which a change is noticed.
pub(crate) fn source(source: &PipelineSource) -> (Digest, RowChange) {
    let row = row::Source { source: source.clone() };
    let digest = Digest(Sha256::digest(encode(&row)).into());
    (digest, (cold(table::SOURCE, source.pipeline.as_bytes()), Some(row.to_bytes())))
}

/// The whole key of a part of content.
pub fn content_part_key(content: Digest, part: u32) -> Vec<u8> {
    cold(table::CONTENT_PART, &[content.0.as_slice(), &part.to_be_bytes()].concat())
}

pub(crate) fn content_part(content: Digest, part: u32, bytes: Vec<u8>) -> RowChange {
    (content_part_key(content, part), Some(row::ContentPart { bytes }.to_bytes()))
}

pub(crate) fn old_run(run: &Run) -> RowChange {
    (cold(table::OLD_RUN, &run_key(&run.id)), Some(to_bytes(run)))
}

pub(crate) fn old_stage(stage: &Stage) -> RowChange {
    (cold(table::OLD_STAGE, &stage_key(&stage.run, stage.index)), Some(to_bytes(stage)))
}

pub(crate) fn old_release(release: &ReleaseEntry) -> RowChange {
    (cold(table::OLD_RELEASE, &release.digest.0), Some(to_bytes(release)))
}
