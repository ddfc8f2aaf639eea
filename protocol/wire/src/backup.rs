//! Backups: all rows of a cluster at one revision, as one file that can be checked where there is no cluster.
//!
//! `header | chunk* | end`, each a frame with its own checksum. The end counts what came before it, has the SHA-256 of it,
//! and the hash of the state that the rows must come to. What is in a backup is what is replicated: no private keys, no
//! tokens, and secrets only as references or sealed.
//!
//! Deliberately not here: files and sessions, and what rows mean.

use std::io::Read;

use bincode::{Decode, Encode};
use sha2::{Digest as _, Sha256};

use crate::codec::{CodecError, DECODE_BYTES_MAX, Message, kind};
use crate::frame::{self, Frame};
use crate::raft::{SnapshotChunk, SnapshotMeta};

/// The extension of a file that is being written; it is no backup yet.
pub const BACKUP_PARTIAL: &str = "partial";

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// First frame of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BackupHeader {
    pub cluster_id: [u8; 16],
    /// Of the cluster when the backup was made.
    pub incarnation: u64,
    pub epoch: u16,
    /// The revision of the rows, and the members at it.
    pub meta: SnapshotMeta,
    /// Wall time of the cluster, in milliseconds of the Unix epoch.
    pub wall_ms: i64,
    /// The coordinator that made it, and its build.
    pub coordinator: String,
    pub build: String,
    /// The certificate of the cluster's root, by which all of its certificates are judged. Its key is nowhere in here.
    pub root_pem: String,
}

impl Message for BackupHeader {
    const KIND: u16 = kind::BACKUP_HEADER;
    const VERSION: u16 = 1;
}

/// Last frame of a backup: what must have come before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct BackupEnd {
    pub chunks: u64,
    pub rows: u64,
    /// Hash of the state that the rows come to, as every member has it at this revision.
    pub state_hash: u128,
    /// SHA-256 of all frames before this one, in order.
    pub sha256: [u8; 32],
}

impl Message for BackupEnd {
    const KIND: u16 = kind::BACKUP_END;
    const VERSION: u16 = 1;
}

/// Makes the frames of a backup, in order.
#[derive(Debug)]
pub struct BackupWriter {
    sha256: Sha256,
    chunks: u64,
    rows: u64,
}

impl BackupWriter {
    /// The first frame.
    pub fn begin(header: &BackupHeader) -> (Self, Vec<u8>) {
        let bytes = header.to_bytes();
        (Self { sha256: Sha256::new_with_prefix(&bytes), chunks: 0, rows: 0 }, bytes)
    }

    /// The next rows, whose keys are larger than those before.
    pub fn chunk(&mut self, rows: Vec<Row>) -> Vec<u8> {
        self.chunks += 1;
        self.rows += rows.len() as u64;
        let bytes = SnapshotChunk { rows }.to_bytes();
        self.sha256.update(&bytes);
        bytes
    }

    /// The last frame.
    pub fn end(self, state_hash: u128) -> Vec<u8> {
        let Self { sha256, chunks, rows } = self;
        BackupEnd { chunks, rows, state_hash, sha256: sha256.finalize().into() }.to_bytes()
    }
}

/// Why bytes are no whole backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("it can't be read")]
    Input(#[source] std::io::Error),
    #[error("it does not begin as a backup does")]
    NoBackup,
    #[error("a part of it is not what was written")]
    Damaged(#[from] CodecError),
    #[error("its end is missing")]
    Cut,
    #[error("its rows are not in order")]
    Order,
    #[error("its parts are not those that were written")]
    Parts,
    #[error("something follows its end")]
    Trailing,
}

/// A frame of a backup that follows what came before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupPart {
    Header(Box<BackupHeader>),
    Rows(Vec<Row>),
    End(BackupEnd),
}

/// Checks the frames of a backup as they come, and keeps none of them.
#[derive(Debug, Default)]
pub struct BackupCheck {
    has_header: bool,
    has_end: bool,
    sha256: Sha256,
    chunks: u64,
    rows: u64,
    last_key: Option<Vec<u8>>,
}

impl BackupCheck {
    /// Takes the bytes of the next frame.
    ///
    /// # Errors
    /// Of bytes that are no frame, and of a frame that is not the one that belongs here.
    pub fn frame(&mut self, bytes: &[u8]) -> Result<BackupPart, BackupError> {
        if self.has_end {
            return Err(BackupError::Trailing);
        }
        let decoded = Frame::decode(bytes, DECODE_BYTES_MAX).map_err(CodecError::from);
        let (frame, _) =
            if self.has_header { decoded? } else { decoded.map_err(|_| BackupError::NoBackup)? };
        if !self.has_header {
            if frame.kind != BackupHeader::KIND {
                return Err(BackupError::NoBackup);
            }
            let header = BackupHeader::from_bytes(bytes)?;
            self.has_header = true;
            self.sha256.update(bytes);
            return Ok(BackupPart::Header(Box::new(header)));
        }
        if frame.kind != BackupEnd::KIND {
            return self.chunk(bytes);
        }
        let end = BackupEnd::from_bytes(bytes)?;
        let sha256: [u8; 32] = self.sha256.clone().finalize().into();
        if (end.chunks, end.rows, end.sha256) != (self.chunks, self.rows, sha256) {
            return Err(BackupError::Parts);
        }
        self.has_end = true;
        Ok(BackupPart::End(end))
    }

    fn chunk(&mut self, bytes: &[u8]) -> Result<BackupPart, BackupError> {
        let rows = SnapshotChunk::from_bytes(bytes)?.rows;
        for (key, _) in &rows {
            if self.last_key.as_ref().is_some_and(|last| last >= key) {
                return Err(BackupError::Order);
            }
            self.last_key = Some(key.clone());
        }
        self.sha256.update(bytes);
        self.chunks += 1;
        self.rows += rows.len() as u64;
        Ok(BackupPart::Rows(rows))
    }

    /// No frame follows.
    ///
    /// # Errors
    /// When the end has not come.
    pub fn finish(&self) -> Result<(), BackupError> {
        match (self.has_header, self.has_end) {
            (true, true) => Ok(()),
            (true, false) => Err(BackupError::Cut),
            (false, _) => Err(BackupError::NoBackup),
        }
    }
}

/// Reads a backup from a file and checks it to its last byte.
#[derive(Debug)]
pub struct BackupReader<R> {
    input: R,
    check: BackupCheck,
    whole: Sha256,
    bytes: u64,
}

impl<R: Read> BackupReader<R> {
    pub fn new(input: R) -> Self {
        Self { input, check: BackupCheck::default(), whole: Sha256::new(), bytes: 0 }
    }

    /// The next part; `None` behind the end of a whole backup.
    ///
    /// # Errors
    /// When the input can't be read, or is no whole backup.
    pub fn next_part(&mut self) -> Result<Option<BackupPart>, BackupError> {
        let read = frame::read(&mut self.input, DECODE_BYTES_MAX).map_err(|error| match error {
            frame::ReadError::Input(error) => BackupError::Input(error),
            frame::ReadError::Frame(_) if !self.check.has_header => BackupError::NoBackup,
            frame::ReadError::Frame(frame::FrameError::Truncated { .. }) => BackupError::Cut,
            frame::ReadError::Frame(error) => BackupError::Damaged(error.into()),
        })?;
        let Some(bytes) = read else {
            self.check.finish()?;
            return Ok(None);
        };
        self.whole.update(&bytes);
        self.bytes += bytes.len() as u64;
        self.check.frame(&bytes).map(Some)
    }

    /// The header alone. What follows it is not read.
    ///
    /// # Errors
    /// As [`Self::next_part`].
    pub fn header(&mut self) -> Result<BackupHeader, BackupError> {
        match self.next_part()? {
            Some(BackupPart::Header(header)) => Ok(*header),
            Some(BackupPart::Rows(_) | BackupPart::End(_)) | None => Err(BackupError::NoBackup),
        }
    }

    /// Bytes that were read so far, and their SHA-256.
    pub fn read_so_far(&self) -> (u64, [u8; 32]) {
        (self.bytes, self.whole.clone().finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encode;
    use crate::raft::ConfState;

    fn header() -> BackupHeader {
        let conf_state = ConfState { voters: vec![1], ..ConfState::default() };
        BackupHeader {
            cluster_id: [7; 16],
            incarnation: 5,
            epoch: 1,
            meta: SnapshotMeta { index: 9, term: 2, conf_state },
            wall_ms: 3,
            coordinator: "c1".to_owned(),
            build: "b".to_owned(),
            root_pem: "r".to_owned(),
        }
    }

    fn row(key: &str) -> Row {
        (key.as_bytes().to_vec(), b"value".to_vec())
    }

    fn frames() -> Vec<Vec<u8>> {
        let (mut writer, first) = BackupWriter::begin(&header());
        let chunks = [writer.chunk(vec![row("a"), row("b")]), writer.chunk(vec![row("c")])];
        [vec![first], chunks.to_vec(), vec![writer.end(11)]].concat()
    }

    fn read(bytes: &[u8]) -> Result<Vec<BackupPart>, BackupError> {
        let mut reader = BackupReader::new(bytes);
        let mut parts = Vec::new();
        while let Some(part) = reader.next_part()? {
            parts.push(part);
        }
        assert_eq!(reader.read_so_far(), (bytes.len() as u64, Sha256::digest(bytes).into()));
        Ok(parts)
    }

    #[test]
    fn golden_bytes_of_version_1() {
        let first = [[7; 16].as_slice(), &[5, 1, 9, 2, 1, 1, 0, 0, 0, 0, 6, 2, b'c', b'1', 1, b'b', 1, b'r']];
        assert_eq!(encode(&header()), first.concat());
        let end = BackupEnd { chunks: 1, rows: 2, state_hash: 3, sha256: [4; 32] };
        assert_eq!(encode(&end), [[1, 2, 3].as_slice(), &[4; 32]].concat());
    }

    #[test]
    fn what_was_written_is_read() {
        let parts = read(&frames().concat()).expect("whole");
        let [BackupPart::Header(first), BackupPart::Rows(one), BackupPart::Rows(two), BackupPart::End(end)] =
            parts.as_slice()
        else {
            panic!("{parts:?}")
        };
        assert_eq!((first.as_ref(), one.len(), two.as_slice()), (&header(), 2, [row("c")].as_slice()));
        assert_eq!((end.chunks, end.rows, end.state_hash), (2, 3, 11));
        let whole = frames().concat();
        assert_eq!(BackupReader::new(whole.as_slice()).header().expect("a header"), header());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let whole = frames().concat();
        for cut in 0..whole.len() {
            assert!(read(&whole[..cut]).is_err(), "cut at {cut}");
        }
        for bit in 0..whole.len() * 8 {
            let mut other = whole.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&other).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn frames_that_are_left_out_repeated_moved_or_of_another_backup_are_noticed() {
        let [first, one, two, end] = frames().try_into().expect("four frames");
        let wrong = |frames: &[&Vec<u8>]| {
            let bytes: Vec<u8> = frames.iter().flat_map(|it| it.iter().copied()).collect();
            read(&bytes).expect_err("it is no backup").to_string()
        };
        assert_eq!(wrong(&[&first, &one, &end]), "its parts are not those that were written");
        assert_eq!(wrong(&[&first, &two, &one, &end]), "its rows are not in order");
        assert_eq!(wrong(&[&first, &one, &one, &two, &end]), "its rows are not in order");
        assert_eq!(wrong(&[&first, &one, &two]), "its end is missing");
        assert_eq!(wrong(&[&first, &one, &two, &end, &end]), "something follows its end");
        assert_eq!(wrong(&[&one, &two, &end]), "it does not begin as a backup does");
        assert_eq!(wrong(&[&first, &first, &one, &two, &end]), "a part of it is not what was written");
        let other = BackupWriter::begin(&BackupHeader { epoch: 2, ..header() }).1;
        assert_eq!(wrong(&[&other, &one, &two, &end]), "its parts are not those that were written");
        assert_eq!(read(b"").expect_err("empty").to_string(), "it does not begin as a backup does");
        assert_eq!(
            read(b"trimaran: v1\n").expect_err("a file").to_string(),
            "it does not begin as a backup does"
        );
    }
}
