//! Frames: `u32 length | u16 kind | u16 version | u32 crc32c | body`, integers little-endian.
//!
//! The length counts the body alone and is checked before anything is allocated. The checksum is CRC-32C
//! (RFC 3720, appendix B.4) over kind, version and body, so that a frame can't pass for another kind.

use std::io::{self, Read};

/// Bytes before the body.
pub const HEADER_BYTES: usize = 12;

/// One framed message, not yet decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u16,
    pub version: u16,
    pub body: Vec<u8>,
}

/// The first [`HEADER_BYTES`] of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub length: usize,
    pub kind: u16,
    pub version: u16,
    pub checksum: u32,
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {length} bytes is over the limit of {limit}")]
    TooLong { length: usize, limit: usize },
    #[error("the checksum of a frame of kind {kind} does not match")]
    Checksum { kind: u16 },
    #[error("a frame ends after {have} of {need} bytes")]
    Truncated { have: usize, need: usize },
}

/// Why the next frame of a file can't be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("it can't be read")]
    Input(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// Reads the bytes of the next frame, head and body, whose checksum is not checked yet. `None` where the input ends
/// in front of a frame.
///
/// # Errors
/// When the input can't be read or ends within the frame, and of a body longer than `body_max`, in front of which
/// nothing is allocated.
pub fn read(input: &mut impl Read, body_max: usize) -> Result<Option<Vec<u8>>, ReadError> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    input.by_ref().take(HEADER_BYTES as u64).read_to_end(&mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let truncated = |have, need| FrameError::Truncated { have, need };
    let head = bytes.first_chunk().ok_or_else(|| truncated(bytes.len(), HEADER_BYTES))?;
    let need = HEADER_BYTES + Header::decode(head, body_max)?.length;
    input.by_ref().take((need - HEADER_BYTES) as u64).read_to_end(&mut bytes)?;
    if bytes.len() < need {
        return Err(truncated(bytes.len(), need).into());
    }
    Ok(Some(bytes))
}

impl Frame {
    /// The frame's bytes. The body must be shorter than 4 GiB, which every limit ensures.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.body.len());
        bytes.resize(HEADER_BYTES, 0);
        bytes.extend(&self.body);
        fill_header(&mut bytes, self.kind, self.version);
        bytes
    }

    /// Reads one frame from the start of `bytes`; returns it with the rest.
    pub fn decode(bytes: &[u8], body_max: usize) -> Result<(Self, &[u8]), FrameError> {
        let truncated = |need| FrameError::Truncated { have: bytes.len(), need };
        let (head, rest) = bytes.split_first_chunk().ok_or_else(|| truncated(HEADER_BYTES))?;
        let header = Header::decode(head, body_max)?;
        let (body, rest) =
            rest.split_at_checked(header.length).ok_or_else(|| truncated(HEADER_BYTES + header.length))?;
        Ok((header.check(body.to_vec())?, rest))
    }
}

/// Writes the header of a frame whose body stands behind [`HEADER_BYTES`] already.
pub(crate) fn fill_header(bytes: &mut [u8], kind: u16, version: u16) {
    let (header, body) = bytes.split_at_mut(HEADER_BYTES);
    let length = u32::try_from(body.len()).expect("limits keep bodies far below 4 GiB");
    header[..4].copy_from_slice(&length.to_le_bytes());
    header[4..6].copy_from_slice(&kind.to_le_bytes());
    header[6..8].copy_from_slice(&version.to_le_bytes());
    header[8..].copy_from_slice(&checksum(kind, version, body).to_le_bytes());
}

impl Header {
    /// Reads a header and refuses a body longer than `body_max` before it is allocated.
    pub fn decode(bytes: &[u8; HEADER_BYTES], body_max: usize) -> Result<Self, FrameError> {
        let [a, b, c, d, k0, k1, v0, v1, e, f, g, h] = *bytes;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > body_max {
            return Err(FrameError::TooLong { length, limit: body_max });
        }
        Ok(Self {
            length,
            kind: u16::from_le_bytes([k0, k1]),
            version: u16::from_le_bytes([v0, v1]),
            checksum: u32::from_le_bytes([e, f, g, h]),
        })
    }

    /// Joins the header with its body when the checksum matches.
    pub fn check(self, body: Vec<u8>) -> Result<Frame, FrameError> {
        if body.len() != self.length {
            return Err(FrameError::Truncated { have: body.len(), need: self.length });
        }
        if checksum(self.kind, self.version, &body) != self.checksum {
            return Err(FrameError::Checksum { kind: self.kind });
        }
        Ok(Frame { kind: self.kind, version: self.version, body })
    }
}

fn checksum(kind: u16, version: u16, body: &[u8]) -> u32 {
    let [a, b] = kind.to_le_bytes();
    let [c, d] = version.to_le_bytes();
    crc32c::crc32c_append(crc32c::crc32c(&[a, b, c, d]), body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_these_bytes() {
        let bytes = Frame { kind: 0x0102, version: 3, body: b"abc".to_vec() }.encode();
        assert_eq!(bytes[..8], [3, 0, 0, 0, 2, 1, 3, 0]);
        assert_eq!(&bytes[12..], b"abc");
        let (frame, rest) = Frame::decode(&bytes, 3).expect("whole");
        assert_eq!((frame.body.as_slice(), rest.len()), (b"abc".as_slice(), 0));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = Frame { kind: 7, version: 1, body: b"body".to_vec() }.encode();
        for cut in 0..bytes.len() {
            assert!(Frame::decode(&bytes[..cut], 100).is_err(), "cut at {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(Frame::decode(&other, 100).is_err(), "bit {bit}");
        }
        assert_eq!(Frame::decode(&bytes, 3), Err(FrameError::TooLong { length: 4, limit: 3 }));
    }

    #[test]
    fn frames_are_read_one_after_the_other_and_a_cut_one_is_noticed() {
        let (one, two) = (Frame { kind: 7, version: 1, body: b"one".to_vec() }.encode(), {
            Frame { kind: 8, version: 1, body: Vec::new() }.encode()
        });
        let both = [one.as_slice(), &two].concat();
        let mut input = both.as_slice();
        assert_eq!(read(&mut input, 3).expect("whole"), Some(one.clone()));
        assert_eq!(read(&mut input, 3).expect("whole"), Some(two));
        assert_eq!(read(&mut input, 3).expect("the end"), None);
        for cut in 1..one.len() {
            let cut = read(&mut &one[..cut], 3).expect_err("it is not whole");
            assert!(matches!(cut, ReadError::Frame(FrameError::Truncated { .. })), "{cut:?}");
        }
        let long = read(&mut one.as_slice(), 2).expect_err("it is too long");
        assert!(matches!(long, ReadError::Frame(FrameError::TooLong { length: 3, limit: 2 })), "{long:?}");
    }
}
