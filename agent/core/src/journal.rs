//! The bytes of the journal file, and what they mean.
//!
//! The file is a sequence of frames of `trimaran_wire::v1::agent_journal`. A frame is written only after the one
//! before it is synced, so after a crash at most the last one is torn, and nothing can follow it. On a full disk the owner replaces the
//! whole file instead, with one sync. A damaged
//! frame with a good one behind it is therefore damage, and refused.
//!
//! Deliberately not here: the file itself. Whoever owns it appends, syncs, and replaces it by a new file and a
//! rename when the executor compacts.

use trimaran_model::limits::FRAME_BYTES_MAX;
use trimaran_wire::codec::{CodecError, Message as _, kind};
use trimaran_wire::frame::{Frame, HEADER_BYTES};
use trimaran_wire::v1::agent_journal::{JournalRecord, JournalRecords};

/// What a journal file held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Journal {
    pub records: Vec<JournalRecord>,
    /// Bytes of the file up to the end of its last good frame: what follows is torn, and has to be cut off
    /// before anything is appended.
    pub good_bytes: usize,
}

/// Why a journal can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    #[error("the journal is damaged at byte {at}, and good records follow: {source}")]
    Damaged { at: usize, source: CodecError },
    #[error("the record at byte {at} is of another build: {source}")]
    Unknown { at: usize, source: CodecError },
}

/// The frame of some records: what is appended and synced at once.
pub fn encode(records: Vec<JournalRecord>) -> Vec<u8> {
    JournalRecords(records).to_bytes()
}

/// Reads a whole file.
pub fn decode(bytes: &[u8]) -> Result<Journal, JournalError> {
    let mut journal = Journal::default();
    while journal.good_bytes < bytes.len() {
        let at = journal.good_bytes;
        let rest = &bytes[at..];
        match Frame::decode(rest, FRAME_BYTES_MAX) {
            Ok((frame, after)) => {
                let records = JournalRecords::from_frame(&frame)
                    .map_err(|source| JournalError::Unknown { at, source })?;
                journal.records.extend(records.0);
                journal.good_bytes = bytes.len() - after.len();
            }
            Err(_) if is_torn(rest) => break,
            Err(error) => return Err(JournalError::Damaged { at, source: error.into() }),
        }
    }
    Ok(journal)
}

/// Whether no good frame begins behind the first byte of `rest`.
fn is_torn(rest: &[u8]) -> bool {
    let kind_bytes = kind::AGENT_JOURNAL.to_le_bytes();
    let behind = rest.get(1..).unwrap_or_default();
    // Kind and version stand at bytes 4 to 8 of a header; only where they fit is a checksum worth its time.
    let candidates = behind.windows(HEADER_BYTES).enumerate().filter(|(_, head)| head[4..6] == kind_bytes);
    let mut found = candidates.filter(|(at, _)| {
        Frame::decode(&behind[*at..], FRAME_BYTES_MAX).is_ok_and(|(frame, _)| !frame.body.is_empty())
    });
    found.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: u64) -> JournalRecord {
        JournalRecord::Phase { assignment: n, bytes: vec![n as u8; 40] }
    }

    fn three() -> Vec<Vec<u8>> {
        (1..=3).map(|n| encode(vec![record(n), record(n + 10)])).collect()
    }

    #[test]
    fn a_cut_at_any_byte_loses_the_torn_frame_only() {
        let frames = three();
        let whole = frames.concat();
        for cut in 0..=whole.len() {
            let journal = decode(&whole[..cut]).expect("a torn tail is no damage");
            let complete = frames
                .iter()
                .scan(0, |end, frame| {
                    *end += frame.len();
                    Some(*end)
                })
                .filter(|end| *end <= cut);
            let (count, good) = complete.fold((0, 0), |(count, _), end| (count + 1, end));
            assert_eq!((journal.records.len(), journal.good_bytes), (count * 2, good), "cut at {cut}");
        }
    }

    #[test]
    fn damage_in_the_middle_is_refused_and_in_the_last_frame_is_torn() {
        let frames = three();
        let whole = frames.concat();
        let last = whole.len() - frames[2].len();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x40;
            match decode(&damaged) {
                Ok(journal) => assert!(at >= last && journal.good_bytes == last, "byte {at}"),
                Err(JournalError::Damaged { .. }) => assert!(at < last, "byte {at}"),
                Err(error) => panic!("byte {at}: {error}"),
            }
        }
    }

    #[test]
    fn zeros_behind_the_end_are_torn() {
        let mut bytes = three().concat();
        let good = bytes.len();
        bytes.extend([0; 5000]);
        assert_eq!(decode(&bytes).expect("torn").good_bytes, good);
    }

    #[test]
    fn a_record_of_another_build_is_refused() {
        let frame = Frame { kind: kind::AGENT_JOURNAL, version: 9, body: vec![1] }.encode();
        assert!(matches!(decode(&frame), Err(JournalError::Unknown { at: 0, .. })));
    }
}
