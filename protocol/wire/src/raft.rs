//! The frozen bytes of replication: messages between peers, log entries, hard state and members.
//!
//! The shapes mirror `eraftpb` of the crate `raft` 0.7 field by field, minus what Trimaran never sends
//! (local messages, deprecated fields). Conversions live in `trimaran-replica`, the only user of `raft`, so
//! that protobuf never parses a byte that came from a peer or a disk.
//!
//! Architecture invariant: every encoding starts with a version, every decode has a byte limit and consumes
//! every byte. Deliberately not here: what the messages mean, and whether a message is plausible for the
//! state of its receiver; the replica checks that.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::de::{BorrowDecode, BorrowDecoder, Decoder};
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{Decode, Encode};
use bytes::Bytes;
use trimaran_model::limits;

/// Version of every shape of this file.
pub const VERSION: u16 = 1;

/// Bytes that are shared, not copied, on their way through the replica. Encoded as a byte sequence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blob(pub Bytes);

impl Encode for Blob {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        <[u8] as Encode>::encode(&self.0, encoder)
    }
}

impl<C> Decode<C> for Blob {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Ok(Self(Bytes::from(Vec::<u8>::decode(decoder)?)))
    }
}

impl<'de, C> BorrowDecode<'de, C> for Blob {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Ok(Self(Bytes::from(Vec::<u8>::borrow_decode(decoder)?)))
    }
}

/// What an entry of the log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum EntryKind {
    /// Bytes for the state machine; empty for the entry that opens a term.
    Normal,
    /// A change of members, in the form of raft 0.7 `ConfChange`.
    ConfChange,
    /// A change of members, in the form of raft 0.7 `ConfChangeV2`.
    ConfChangeV2,
}

/// One entry of the replicated log.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    pub kind: EntryKind,
    pub term: u64,
    pub index: u64,
    pub data: Blob,
    /// Travels with a change of members; empty otherwise.
    pub context: Blob,
}

/// What a voter must never forget. `vote` is 0 when it voted for nobody in `term`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct HardState {
    pub term: u64,
    pub vote: u64,
    pub commit: u64,
}

/// The members, joint while `voters_outgoing` is not empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct ConfState {
    pub voters: Vec<u64>,
    pub learners: Vec<u64>,
    pub voters_outgoing: Vec<u64>,
    pub learners_next: Vec<u64>,
    pub auto_leave: bool,
}

/// Where in the log a snapshot stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct SnapshotMeta {
    pub index: u64,
    pub term: u64,
    pub conf_state: ConfState,
}

/// What a message says about a snapshot: its place and the manifest of its file, never its rows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Snapshot {
    pub meta: SnapshotMeta,
    pub manifest: Blob,
}

/// Kinds of messages that peers exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum MessageKind {
    Append,
    AppendResponse,
    RequestVote,
    RequestVoteResponse,
    Snapshot,
    Heartbeat,
    HeartbeatResponse,
    TransferLeader,
    TimeoutNow,
    ReadIndex,
    ReadIndexResponse,
    RequestPreVote,
    RequestPreVoteResponse,
}

/// One message from a peer to another. Fields without a meaning for its kind are zero or empty.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Message {
    pub kind: MessageKind,
    pub to: u64,
    pub from: u64,
    pub term: u64,
    pub log_term: u64,
    pub index: u64,
    pub entries: Vec<Entry>,
    pub commit: u64,
    pub commit_term: u64,
    pub snapshot: Option<Snapshot>,
    pub request_snapshot: u64,
    pub reject: bool,
    pub reject_hint: u64,
    pub context: Blob,
    pub priority: i64,
}

/// Bytes that are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what} has version {version}, this binary reads up to {VERSION}")]
    Version { what: &'static str, version: u16 },
    #[error("{what} does not decode")]
    Decode { what: &'static str, source: DecodeError },
    #[error("{what} is followed by {extra} bytes that do not belong to it")]
    Trailing { what: &'static str, extra: usize },
    #[error("{what} has {size} bytes, more than {max}")]
    TooLarge { what: &'static str, size: usize, max: usize },
}

const LIMIT: usize = limits::FRAME_BYTES_MAX;

fn config() -> Configuration<LittleEndian, Varint, Limit<LIMIT>> {
    bincode::config::standard().with_limit::<LIMIT>()
}

/// Implements `encode` and `decode` for a shape that stands alone on the wire or on disk.
macro_rules! document {
    ($type:ty, $what:literal) => {
        impl $type {
            /// Appends `u16 version | body` to `out`.
            pub fn encode_into(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&VERSION.to_le_bytes());
                bincode::encode_into_std_write(self, out, bincode::config::standard())
                    .expect("a Vec takes every byte and the shape has no failing encoder");
            }

            pub fn encode(&self) -> Vec<u8> {
                let mut out = Vec::new();
                self.encode_into(&mut out);
                out
            }

            /// Reads what [`Self::encode_into`] wrote, to the last byte, within the limit of a frame.
            pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
                decode(bytes, $what)
            }
        }
    };
}

document!(Entry, "a log entry");
document!(HardState, "the hard state");
document!(ConfState, "the list of members");
document!(SnapshotMeta, "the place of a snapshot");
document!(Message, "a message of a peer");

fn decode<T: Decode<()>>(bytes: &[u8], what: &'static str) -> Result<T, Error> {
    if bytes.len() > LIMIT {
        return Err(Error::TooLarge { what, size: bytes.len(), max: LIMIT });
    }
    let Some((version, body)) = bytes.split_first_chunk::<2>() else {
        return Err(Error::Decode { what, source: DecodeError::UnexpectedEnd { additional: 2 } });
    };
    let version = u16::from_le_bytes(*version);
    if version != VERSION {
        return Err(Error::Version { what, version });
    }
    let (value, used) =
        bincode::decode_from_slice(body, config()).map_err(|source| Error::Decode { what, source })?;
    if used < body.len() {
        return Err(Error::Trailing { what, extra: body.len() - used });
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            kind: EntryKind::Normal,
            term: 3,
            index: 300,
            data: Blob(Bytes::from_static(b"put")),
            context: Blob::default(),
        }
    }

    fn message() -> Message {
        Message {
            kind: MessageKind::Append,
            to: 2,
            from: 1,
            term: 3,
            log_term: 2,
            index: 299,
            entries: vec![entry()],
            commit: 299,
            commit_term: 0,
            snapshot: Some(Snapshot {
                meta: SnapshotMeta { index: 5, term: 1, conf_state: ConfState { voters: vec![1, 2], ..ConfState::default() } },
                manifest: Blob(Bytes::from_static(b"m")),
            }),
            request_snapshot: 0,
            reject: true,
            reject_hint: 7,
            context: Blob::default(),
            priority: -1,
        }
    }

    #[test]
    fn golden_bytes() {
        // Version, kind, term, index (251: u16 follows), data, context.
        assert_eq!(entry().encode(), [1, 0, 0, 3, 251, 44, 1, 3, b'p', b'u', b't', 0]);
        assert_eq!(HardState { term: 1, vote: 2, commit: 3 }.encode(), [1, 0, 1, 2, 3]);
        let members = ConfState { voters: vec![1], ..ConfState::default() };
        assert_eq!(members.encode(), [1, 0, 1, 1, 0, 0, 0, 0]);
        let mut expected = vec![1, 0, 0, 2, 1, 3, 2, 251, 43, 1, 1];
        expected.extend_from_slice(&entry().encode()[2..]);
        expected.extend_from_slice(&[251, 43, 1, 0, 1, 5, 1, 2, 1, 2, 0, 0, 0, 0, 1, b'm', 0, 1, 7, 0, 1]);
        assert_eq!(message().encode(), expected);
    }

    #[test]
    fn decode_is_the_inverse_and_consumes_every_byte() {
        let bytes = message().encode();
        assert_eq!(Message::decode(&bytes).unwrap(), message());
        for cut in 0..bytes.len() {
            assert!(Message::decode(&bytes[..cut]).is_err(), "{cut} bytes");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(matches!(Message::decode(&longer), Err(Error::Trailing { extra: 1, .. })));
        let mut newer = bytes;
        newer[0] = 2;
        assert!(matches!(Message::decode(&newer), Err(Error::Version { version: 2, .. })));
    }

    #[test]
    fn a_length_that_lies_allocates_nothing() {
        // An entry whose data claims 2^60 bytes.
        let mut bytes = vec![1, 0, 0, 3, 4, 253];
        bytes.extend_from_slice(&(1u64 << 60).to_le_bytes());
        assert!(matches!(Entry::decode(&bytes), Err(Error::Decode { .. })));
    }
}
