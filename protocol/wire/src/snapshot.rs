//! Snapshots on their way to a peer: a manifest, then all rows in chunks, and what both must come to.
//!
//! `manifest | chunk*`, each a frame with its own checksum. The manifest comes first, so that who receives it knows what
//! follows before it keeps any of it; it is also what a raft message says about the snapshot. A chunk that is broken, left
//! out, repeated or of another snapshot is refused with its number.
//!
//! Deliberately not here: streams, files, and what rows mean.

use bincode::{Decode, Encode};

use crate::codec::{CodecError, Message, kind};
use crate::frame::Frame;
use crate::raft::{SnapshotChunk, SnapshotMeta};

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// First frame of a snapshot: its place in the log, and what its rows come to.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SnapshotManifest {
    pub cluster_id: [u8; 16],
    pub meta: SnapshotMeta,
    /// Hash of the state that the rows are; `None` where no entry was applied to them since they were made.
    pub state_hash: Option<u128>,
    pub totals: SnapshotTotals,
}

impl Message for SnapshotManifest {
    const KIND: u16 = kind::SNAPSHOT_MANIFEST;
    const VERSION: u16 = 1;
}

/// Counts over all chunks in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct SnapshotTotals {
    pub chunks: u64,
    pub rows: u64,
    /// Bytes of the chunks' frames without their heads.
    pub bytes: u64,
    /// crc32c over these bytes.
    pub crc32c: u32,
}

impl SnapshotTotals {
    /// Makes the frame of the next chunk, and counts it.
    pub fn chunk(&mut self, rows: Vec<Row>) -> Frame {
        let count = rows.len();
        let frame = SnapshotChunk { rows }.to_frame();
        self.add(&frame, count);
        frame
    }

    fn add(&mut self, frame: &Frame, rows: usize) {
        self.chunks += 1;
        self.rows += rows as u64;
        self.bytes += frame.body.len() as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, &frame.body);
    }
}

/// Why frames are not the snapshot that was announced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    #[error("chunk {number} can't be read")]
    Chunk {
        number: u64,
        #[source]
        source: CodecError,
    },
    #[error("the rows of chunk {number} are not in order")]
    Order { number: u64 },
    #[error("chunk {number} is one more than the manifest says")]
    More { number: u64 },
    #[error("the chunks are not those of the manifest: {found:?} instead of {expected:?}")]
    Totals { found: SnapshotTotals, expected: SnapshotTotals },
}

/// Checks chunks as they come, and keeps none of them.
#[derive(Debug, Clone)]
pub struct SnapshotCheck {
    expected: SnapshotTotals,
    found: SnapshotTotals,
    last_key: Option<Vec<u8>>,
}

impl SnapshotCheck {
    pub fn new(expected: SnapshotTotals) -> Self {
        Self { expected, found: SnapshotTotals::default(), last_key: None }
    }

    /// Chunks that have come.
    pub fn chunks(&self) -> u64 {
        self.found.chunks
    }

    /// The rows of the next chunk.
    ///
    /// # Errors
    /// Of a frame that is no chunk, and of one that does not belong here.
    pub fn chunk(&mut self, frame: &Frame) -> Result<Vec<Row>, SnapshotError> {
        let number = self.found.chunks + 1;
        if number > self.expected.chunks {
            return Err(SnapshotError::More { number });
        }
        let chunk = SnapshotChunk::from_frame(frame);
        let rows = chunk.map_err(|source| SnapshotError::Chunk { number, source })?.rows;
        let in_order = rows.is_sorted_by(|one, other| one.0 < other.0)
            && rows.first().is_none_or(|(key, _)| self.last_key.as_ref().is_none_or(|last| last < key));
        if !in_order {
            return Err(SnapshotError::Order { number });
        }
        self.found.add(frame, rows.len());
        if let Some((key, _)) = rows.last() {
            self.last_key = Some(key.clone());
        }
        Ok(rows)
    }

    /// No chunk follows.
    ///
    /// # Errors
    /// When some are missing, or were others than those that were counted.
    pub fn end(&self) -> Result<(), SnapshotError> {
        let (found, expected) = (self.found, self.expected);
        if found == expected { Ok(()) } else { Err(SnapshotError::Totals { found, expected }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encode;
    use crate::raft::ConfState;

    fn row(key: &str) -> Row {
        (key.as_bytes().to_vec(), b"value".to_vec())
    }

    fn chunks() -> (SnapshotTotals, Vec<Frame>) {
        let mut totals = SnapshotTotals::default();
        let frames = vec![
            totals.chunk(vec![row("a"), row("b")]),
            totals.chunk(vec![row("c")]),
            totals.chunk(vec![row("d")]),
        ];
        (totals, frames)
    }

    fn check(totals: SnapshotTotals, frames: &[&Frame]) -> Result<Vec<Row>, String> {
        let mut check = SnapshotCheck::new(totals);
        let mut rows = Vec::new();
        for frame in frames {
            rows.extend(check.chunk(frame).map_err(|error| error.to_string())?);
        }
        check.end().map(|()| rows).map_err(|error| error.to_string())
    }

    #[test]
    fn golden_bytes_of_version_1() {
        let conf_state = ConfState { voters: vec![1], ..ConfState::default() };
        let manifest = SnapshotManifest {
            cluster_id: [7; 16],
            meta: SnapshotMeta { index: 9, term: 2, conf_state },
            state_hash: Some(11),
            totals: SnapshotTotals { chunks: 3, rows: 4, bytes: 5, crc32c: 6 },
        };
        let expected = [[7; 16].as_slice(), &[9, 2, 1, 1, 0, 0, 0, 0, 1, 11, 3, 4, 5, 6]].concat();
        assert_eq!(encode(&manifest), expected);
        assert_eq!(SnapshotManifest::from_bytes(&manifest.to_bytes()), Ok(manifest));
    }

    #[test]
    fn what_was_counted_is_read() {
        let (totals, frames) = chunks();
        assert_eq!((totals.chunks, totals.rows), (3, 4));
        let rows = check(totals, &frames.iter().collect::<Vec<_>>());
        assert_eq!(rows, Ok(vec![row("a"), row("b"), row("c"), row("d")]));
        assert_eq!(check(SnapshotTotals::default(), &[]), Ok(Vec::new()));
    }

    #[test]
    fn chunks_that_are_broken_left_out_repeated_moved_or_too_many_are_refused_by_their_number() {
        let (totals, frames) = chunks();
        let [one, two, three] = frames.try_into().expect("three");
        let refused = |frames: &[&Frame]| check(totals, frames).expect_err("another snapshot");
        assert!(refused(&[&one, &two]).starts_with("the chunks are not those of the manifest"));
        assert!(refused(&[&one, &three]).starts_with("the chunks are not those of the manifest"));
        assert_eq!(refused(&[&one, &one]), "the rows of chunk 2 are not in order");
        assert_eq!(refused(&[&one, &three, &two]), "the rows of chunk 3 are not in order");
        assert_eq!(refused(&[&one, &two, &three, &three]), "chunk 4 is one more than the manifest says");
        let mut cut = two.clone();
        cut.body.truncate(cut.body.len() - 1);
        assert_eq!(refused(&[&one, &cut]), "chunk 2 can't be read");
        let mut other = two;
        let last = other.body.len() - 1;
        other.body[last] ^= 1;
        assert!(refused(&[&one, &other, &three]).starts_with("the chunks are not those of the manifest"));
    }
}
