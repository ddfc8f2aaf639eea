//! Releases and what they name by digest, as bytes.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use trimaran_engine::rows::cold::{self, ContentPart};
use trimaran_model::id::{AgentName, Digest};
use trimaran_model::release::{Content, Release};

use crate::cluster::target;
use crate::rows::{RowSource, read, release};

/// A part of content; `None`: it is not stored, or not any more.
pub fn content_part(rows: &dyn RowSource, content: Digest, part: u32) -> Option<Vec<u8>> {
    read::<ContentPart>(rows, &cold::content_part_key(content, part)).map(|it| it.bytes)
}

/// Whether the stored parts of content have its digest when `last`, its last part, is behind them; `None`: one of the
/// others is not stored.
pub fn is_content(rows: &dyn RowSource, content: Content, last: &[u8]) -> Option<bool> {
    let mut hash = Sha256::new();
    for part in 0..content.parts() - 1 {
        hash.update(content_part(rows, content.digest, part)?);
    }
    hash.update(last);
    Some(Digest(hash.finalize().into()) == content.digest)
}

/// A release on a target of this agent, in memory or old.
pub fn release_of_agent(rows: &dyn RowSource, agent: &AgentName, digest: Digest) -> Option<Arc<Release>> {
    let found = release(rows, &digest)?.release;
    target(rows, &found.target).is_some_and(|target| target.agent == *agent).then_some(found)
}
