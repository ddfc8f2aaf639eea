//! The frozen bytes of replication: messages between peers, log entries, hard state and members.
//!
//! The shapes mirror `eraftpb` of the crate `raft` 0.7 field by field, minus what Trimaran never sends
//! (local messages, deprecated fields). Conversions live in `trimaran-replica`, the only user of `raft`, so
//! that protobuf never parses a byte that came from a peer or a disk.
//!
//! Architecture invariant: sent and stored as frames, so a kind, a version and a checksum stand before every
//! body, a decode has a byte limit and consumes every byte. Deliberately not here: what the messages mean, and whether a message is plausible for the
//! state of its receiver; the replica checks that.

use bincode::de::{BorrowDecode, BorrowDecoder, Decoder};
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{Decode, Encode};
use bytes::Bytes;

use crate::codec;

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

/// What a voter must never forget. `vote` is 0 when it voted for no one in `term`.
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

/// What happens to one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum MemberChangeKind {
    AddVoter,
    Remove,
    AddLearner,
}

/// A change of members: the `context` of its log entry. Replicas read this and never the protobuf beside it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct MemberChanges {
    pub changes: Vec<(MemberChangeKind, u64)>,
    /// What the state machine wants to know about the change.
    pub context: Blob,
}

/// Hash of the state whose rows are stored, with the last entry that they contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct StateHash {
    pub index: u64,
    pub hash: u128,
}

impl crate::codec::Message for StateHash {
    const KIND: u16 = crate::codec::kind::STATE_HASH;
    const VERSION: u16 = 1;
}

/// Where in the log a snapshot is.
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

/// Index and term of an entry, as stored marks say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Place {
    pub index: u64,
    pub term: u64,
}

/// Whose data a directory holds. Written once; a raft id never moves to another disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Identity {
    pub cluster_id: [u8; 16],
    pub disk_id: [u8; 16],
    pub raft_id: u64,
}

/// Which generation of the rows a store has: it grows with each snapshot that is installed. A store whose rows were never
/// replaced says none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Generation {
    pub number: u64,
}

/// Some rows of a snapshot or a backup, in the order of their keys, after those of the chunk before.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SnapshotChunk {
    pub rows: Vec<(Vec<u8>, Vec<u8>)>,
}

macro_rules! document {
    ($type:ty, $kind:ident) => {
        impl codec::Message for $type {
            const KIND: u16 = codec::kind::$kind;
            const VERSION: u16 = 1;
        }
    };
}

document!(Message, RAFT_MESSAGE);
document!(Entry, LOG_ENTRY);
document!(HardState, HARD_STATE);
document!(ConfState, CONF_STATE);
document!(SnapshotMeta, SNAPSHOT_META);
document!(MemberChanges, MEMBER_CHANGES);
document!(Place, LOG_PLACE);
document!(Identity, IDENTITY);
document!(Generation, GENERATION);
document!(SnapshotChunk, SNAPSHOT_CHUNK);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Message as _, encode};

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
                meta: SnapshotMeta {
                    index: 5,
                    term: 1,
                    conf_state: ConfState { voters: vec![1, 2], ..ConfState::default() },
                },
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
    fn golden_bytes_of_version_1() {
        // kind, term, index (251: a u16 follows), data, context
        assert_eq!(encode(&entry()), [0, 3, 251, 44, 1, 3, b'p', b'u', b't', 0]);
        assert_eq!(encode(&HardState { term: 1, vote: 2, commit: 3 }), [1, 2, 3]);
        let members = ConfState { voters: vec![1], ..ConfState::default() };
        assert_eq!(encode(&members), [1, 1, 0, 0, 0, 0]);
        let place = SnapshotMeta { index: 9, term: 2, conf_state: members };
        assert_eq!(encode(&place), [9, 2, 1, 1, 0, 0, 0, 0]);
        let change =
            MemberChanges { changes: vec![(MemberChangeKind::AddLearner, 4)], context: Blob::default() };
        assert_eq!(encode(&change), [1, 2, 4, 0]);
        assert_eq!(encode(&Place { index: 300, term: 2 }), [251, 44, 1, 2]);
        let identity = Identity { cluster_id: [7; 16], disk_id: [8; 16], raft_id: 1 };
        assert_eq!(encode(&identity), [[7; 16].as_slice(), &[8; 16], &[1]].concat());
        assert_eq!(encode(&Generation { number: 3 }), [3]);
        let chunk = SnapshotChunk { rows: vec![(b"k".to_vec(), b"v".to_vec())] };
        assert_eq!(encode(&chunk), [1, 1, b'k', 1, b'v']);
        let mut expected = vec![0, 2, 1, 3, 2, 251, 43, 1, 1];
        expected.extend_from_slice(&encode(&entry()));
        expected.extend_from_slice(&[251, 43, 1, 0, 1, 5, 1, 2, 1, 2, 0, 0, 0, 0, 1, b'm', 0, 1, 7, 0, 1]);
        assert_eq!(encode(&message()), expected);
    }

    #[test]
    fn decode_is_the_inverse_and_consumes_every_byte() {
        let bytes = message().to_bytes();
        assert_eq!(Message::from_bytes(&bytes).unwrap(), message());
        for cut in 0..bytes.len() {
            assert!(Message::from_bytes(&bytes[..cut]).is_err(), "{cut} bytes");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(Message::from_bytes(&longer).is_err());
        assert!(Entry::from_bytes(&bytes).is_err(), "another kind");
    }

    #[test]
    fn a_length_that_lies_allocates_nothing() {
        // An entry whose data claims 2^60 bytes.
        let mut body = vec![0, 3, 4, 253];
        body.extend_from_slice(&(1u64 << 60).to_le_bytes());
        assert!(codec::decode::<Entry>(&body).is_err());
    }
}
