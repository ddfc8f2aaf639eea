//! Bytes on their way to the cluster by their digest: what a release names and is too large to stand in it.
//!
//! Deliberately not here: what the bytes are (`manifest_set`, `job_files`).

use sha2::{Digest as _, Sha256};
use trimaran_model::id::Digest;
use trimaran_model::limits::CONTENT_PART_BYTES;
use trimaran_model::release::Content;
use trimaran_wire::document::Stored;
use trimaran_wire::v1::operator::OperatorBody;

use crate::arguments::RequestIdArg;
use crate::error::CliError;
use crate::remote::Remote;

/// A content with its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upload {
    pub(crate) content: Content,
    bytes: Vec<u8>,
}

impl Upload {
    /// At most `limits::CONTENT_BYTES_MAX` bytes, which is checked by who reads them.
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        let content = Content { digest: Digest(Sha256::digest(&bytes).into()), bytes: bytes.len() as u64 };
        Self { content, bytes }
    }

    /// Sends what the cluster does not have.
    ///
    /// # Errors
    /// What the cluster refuses, or that it can't be reached.
    pub(crate) fn send(&self, remote: &Remote) -> Result<(), CliError> {
        let mut part = 0;
        loop {
            let begin = part as usize * CONTENT_PART_BYTES;
            let rest = &self.bytes[begin..];
            let body = OperatorBody::PutContent {
                content: self.content.into(),
                part,
                bytes: rest[..rest.len().min(CONTENT_PART_BYTES)].to_vec(),
            };
            let stored = remote.change::<Stored>(&RequestIdArg::default(), body)?.document.parts;
            if stored >= self.content.parts() {
                return Ok(());
            }
            // Where another upload of the same bytes is in progress it may be ahead, or have begun anew.
            part = stored;
        }
    }
}
