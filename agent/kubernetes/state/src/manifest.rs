//! The head as it is stored: which keys it has, and what its manifest says of everything else.
//!
//! | key | value |
//! |---|---|
//! | `state` | the manifest, JSON |
//! | `journal.NNNNNNNNNN` | pieces of the journal's end, in the order of their numbers |
//! | others | values of the identity |

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::api::Data;

/// What this build writes and reads.
pub(crate) const FORMAT: u32 = 1;
pub(crate) const MANIFEST: &str = "state";
const PIECE: &str = "journal.";
/// The key of a segment's Secret.
pub(crate) const SEGMENT: &str = "journal";

/// Named values beside the journal; names are those of files, such as `cert.pem`.
pub type Values = BTreeMap<String, Vec<u8>>;

/// What the state consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    /// The process that works with it, by a random name.
    pub(crate) owner: String,
    /// How often a process began to work with it.
    pub(crate) starts: u64,
    /// Writes of this owner: no two manifests are equal.
    pub(crate) writes: u64,
    /// The journal but for its end, in order.
    pub(crate) segments: Vec<Segment>,
    /// Number of the first piece of the end.
    pub(crate) first_piece: u64,
    pub(crate) pieces: u64,
    /// Bytes of all pieces.
    pub(crate) piece_bytes: u64,
}

/// A part of the journal in a Secret of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Segment {
    /// 0 to 31: the number in the name of its Secret.
    pub(crate) slot: u8,
    pub(crate) bytes: u64,
    /// Of its bytes, in hexadecimal digits.
    pub(crate) sha256: String,
}

impl Segment {
    pub(crate) fn of(slot: u8, content: &[u8]) -> Self {
        Self { slot, bytes: content.len() as u64, sha256: digest(content) }
    }

    pub(crate) fn is_of(&self, content: &[u8]) -> bool {
        self.bytes == content.len() as u64 && self.sha256 == digest(content)
    }
}

fn digest(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Manifest {
    /// Of a state that was never used.
    pub(crate) fn new(owner: &str) -> Self {
        Self {
            format: FORMAT,
            owner: owner.to_owned(),
            starts: 1,
            writes: 0,
            segments: Vec::new(),
            first_piece: 0,
            pieces: 0,
            piece_bytes: 0,
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and texts are JSON")
    }

    /// Reads what another process wrote.
    ///
    /// # Errors
    /// What is wrong with it, without any value.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Any {
            format: u32,
        }
        let unreadable = |error: serde_json::Error| format!("its key `{MANIFEST}` can't be read: {error}");
        let any: Any = serde_json::from_slice(bytes).map_err(unreadable)?;
        if any.format != FORMAT {
            return Err(format!("it has format {}, and this build knows {FORMAT}", any.format));
        }
        serde_json::from_slice(bytes).map_err(unreadable)
    }

    /// The key of the piece that would come next.
    pub(crate) fn next_piece(&self) -> String {
        piece(self.first_piece + self.pieces)
    }

    /// The keys of all pieces.
    pub(crate) fn piece_keys(&self) -> impl Iterator<Item = String> + use<> {
        (self.first_piece..self.first_piece + self.pieces).map(piece)
    }
}

fn piece(number: u64) -> String {
    format!("{PIECE}{number:010}")
}

/// The values of the identity among everything that a head holds.
pub(crate) fn values_of(data: &Data) -> Values {
    let is_value = |key: &str| key != MANIFEST && !key.starts_with(PIECE);
    data.iter().filter(|(key, _)| is_value(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The end of the journal.
///
/// # Errors
/// What is missing.
pub(crate) fn end_of(manifest: &Manifest, data: &Data) -> Result<Vec<u8>, String> {
    let mut end = Vec::new();
    for key in manifest.piece_keys() {
        end.extend(data.get(&key).ok_or_else(|| format!("its key `{key}` is missing"))?);
    }
    if end.len() as u64 != manifest.piece_bytes {
        let (found, bytes) = (end.len(), manifest.piece_bytes);
        return Err(format!("its keys `{PIECE}…` have {found} bytes where {bytes} belong"));
    }
    Ok(end)
}
