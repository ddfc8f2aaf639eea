//! The one place that calls bincode: bounded decodes that consume every byte, and the kinds of messages.

use bincode::enc::EncoderImpl;
use bincode::enc::write::SizeWriter;
use bincode::{Decode, Encode};
use trimaran_model::limits::{FRAME_BYTES_MAX, REFUSAL_TEXT_BYTES_MAX, STORED_BYTES_MAX};
use trimaran_model::text::cut;

use crate::frame::{self, Frame, FrameError, HEADER_BYTES};

/// A frozen struct with its place in the register of kinds.
pub trait Message: Encode + Decode<()> {
    /// Unique among all messages and rows; see [`kind`].
    const KIND: u16;
    /// The version that this build writes.
    const VERSION: u16;

    fn to_frame(&self) -> Frame {
        Frame { kind: Self::KIND, version: Self::VERSION, body: encode(self) }
    }

    /// Decodes a frame of this kind and version; anything else is an error.
    fn from_frame(frame: &Frame) -> Result<Self, CodecError> {
        Self::check_kind(frame)?;
        decode(&frame.body)
    }

    /// As [`Message::from_frame`], from a peer that is not trusted with [`DECODE_BYTES_MAX`]: an element of a list can take
    /// a hundred times the memory that it has bytes, so a list is refused before it is allocated when its elements would take
    /// more than what is left of `MEMORY` bytes behind all that was read.
    fn from_frame_within<const MEMORY: usize>(frame: &Frame) -> Result<Self, CodecError> {
        Self::check_kind(frame)?;
        decode_within(&frame.body, config().with_limit::<MEMORY>())
    }

    /// The stored form: one whole frame.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + encoded_len(self));
        bytes.resize(HEADER_BYTES, 0);
        bincode::encode_into_std_write(self, &mut bytes, config().with_limit::<DECODE_BYTES_MAX>())
            .expect("encoding into memory does not fail for our types");
        frame::fill_header(&mut bytes, Self::KIND, Self::VERSION);
        bytes
    }

    /// Reads the stored form.
    fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let (frame, rest) = Frame::decode(bytes, STORED_BYTES_MAX)?;
        if !rest.is_empty() {
            return Err(CodecError::Trailing { bytes: rest.len() });
        }
        Self::check_kind(&frame)?;
        let config = config().with_limit::<STORED_BYTES_MAX>();
        decode_within(&frame.body, config)
    }

    /// Whether a frame is of this kind and version.
    fn check_kind(frame: &Frame) -> Result<(), CodecError> {
        let (found, expected) = ((frame.kind, frame.version), (Self::KIND, Self::VERSION));
        if found == expected { Ok(()) } else { Err(CodecError::Kind { found, expected }) }
    }
}

/// The register of kinds. Ranges: 1 peers, 100 agents, 200 runners, 300 operators, 400 enrolment,
/// 500 log, 600 rows, 700 journals.
pub mod kind {
    pub const RAFT_MESSAGE: u16 = 1;
    pub const PEER_OPEN: u16 = 2;
    pub const PEER_MESSAGE: u16 = 3;
    pub const PEER_QUESTION: u16 = 4;
    pub const MEMBER_REPORT: u16 = 5;
    pub const SESSIONS_REPORT: u16 = 6;
    pub const AGENT_UP: u16 = 100;
    pub const AGENT_DOWN: u16 = 101;
    pub const AGENT_QUERY: u16 = 102;
    pub const AGENT_ANSWER: u16 = 103;
    pub const CONTENT_QUERY: u16 = 104;
    pub const CONTENT_ANSWER: u16 = 105;
    pub const RUNNER_UP: u16 = 200;
    pub const RUNNER_DOWN: u16 = 201;
    pub const RUNNER_QUERY: u16 = 202;
    pub const LOG_LINES: u16 = 203;
    pub const RUNNING_RELEASE: u16 = 204;
    pub const OPERATOR_REQUEST: u16 = 300;
    pub const OPERATOR_REPLY: u16 = 301;
    pub const ENROLL_REQUEST: u16 = 400;
    pub const ENROLL_REPLY: u16 = 401;
    pub const ENTRY: u16 = 500;
    pub const LOG_ENTRY: u16 = 501;
    pub const HARD_STATE: u16 = 502;
    pub const CONF_STATE: u16 = 503;
    pub const SNAPSHOT_META: u16 = 504;
    pub const IDENTITY: u16 = 505;
    pub const SNAPSHOT_CHUNK: u16 = 507;
    pub const MEMBER_CHANGES: u16 = 509;
    pub const LOG_PLACE: u16 = 510;
    pub const STATE_HASH: u16 = 511;
    pub const BACKUP_HEADER: u16 = 512;
    pub const BACKUP_END: u16 = 513;
    pub const SNAPSHOT_MANIFEST: u16 = 514;
    pub const GENERATION: u16 = 515;
    /// Rows of the engine: 600 plus the number of the table.
    pub const ROWS: u16 = 600;
    pub const HOST_JOURNAL: u16 = 700;
    pub const FLEET_JOURNAL: u16 = 701;
    pub const AGENT_JOURNAL: u16 = 702;
    pub const HOST_RELEASE: u16 = 703;
    pub const KUBERNETES_JOURNAL: u16 = 704;
    pub const KUBERNETES_INVENTORY: u16 = 705;
    pub const FLINK_JOURNAL: u16 = 707;
    pub const FLINK_LEDGER: u16 = 708;
    pub const RELEASE: u16 = 710;
    pub const SPEC: u16 = 711;
}

/// No decode takes more memory than this, whatever its bytes claim.
pub const DECODE_BYTES_MAX: usize = FRAME_BYTES_MAX;

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("kind and version {found:?} where {expected:?} belongs")]
    Kind { found: (u16, u16), expected: (u16, u16) },
    #[error("{bytes} bytes are left over")]
    Trailing { bytes: usize },
    #[error("the body can't be decoded: {why}")]
    Body { why: String },
    #[error("a value is out of its range: {what}")]
    Value { what: String },
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl CodecError {
    /// A decoded value that the model refuses. What is repeated of it is bounded, whatever was sent.
    pub fn value(what: impl std::fmt::Display) -> Self {
        Self::Value { what: cut(what.to_string(), REFUSAL_TEXT_BYTES_MAX) }
    }
}

impl From<trimaran_model::id::InvalidName> for CodecError {
    fn from(error: trimaran_model::id::InvalidName) -> Self {
        Self::value(error)
    }
}

/// Little-endian, variable-length integers, without a limit.
type Standard = bincode::config::Configuration;

fn config() -> Standard {
    bincode::config::standard().with_little_endian()
}

/// The body of a value.
pub fn encode<T: Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, config().with_limit::<DECODE_BYTES_MAX>())
        .expect("encoding into memory does not fail for our types")
}

/// How many bytes [`encode`] makes of a value, without making them.
pub fn encoded_len<T: Encode>(value: &T) -> usize {
    let mut encoder = EncoderImpl::new(SizeWriter::default(), config());
    value.encode(&mut encoder).expect("counting bytes does not fail for our types");
    encoder.into_writer().bytes_written
}

/// Reads a body; every byte must be used.
pub fn decode<T: Decode<()>>(body: &[u8]) -> Result<T, CodecError> {
    decode_within(body, config().with_limit::<DECODE_BYTES_MAX>())
}

fn decode_within<T: Decode<()>>(body: &[u8], config: impl bincode::config::Config) -> Result<T, CodecError> {
    let (value, used) = bincode::decode_from_slice(body, config)
        .map_err(|error| CodecError::Body { why: error.to_string() })?;
    if used != body.len() {
        return Err(CodecError::Trailing { bytes: body.len() - used });
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::command::{Command, CommandBody, Entry};
    use crate::v1::common::{WireIdentity, WireRun};

    #[test]
    fn the_stored_form_is_the_frame_and_its_length_is_known_before() {
        let run = WireRun { pipeline: "web".repeat(90), number: 1 << 40 };
        for commands in [0, 1, 300] {
            let body = CommandBody::Cancel { run: run.clone() };
            let command = Command { identity: WireIdentity::System, request: None, body };
            let entry = Entry { now_ms: 7, commands: vec![command; commands] };
            assert_eq!(entry.to_bytes(), entry.to_frame().encode());
            assert_eq!(encoded_len(&entry), encode(&entry).len());
        }
    }
}
