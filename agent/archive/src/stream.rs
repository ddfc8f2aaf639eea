//! The unpacked bytes of an archive, whatever it is packed with, and never more than the limits allow.

use std::io::{self, BufReader, Read, Seek};

use crate::{ArchiveError, ArchiveLimits, Place};

/// Where an archive's bytes come from.
pub trait Source: Read + Seek {}

impl<S: Read + Seek> Source for S {}

type Packed = BufReader<Box<dyn Source>>;

/// Bytes of tar.
pub(crate) struct Stream {
    decoder: Decoder,
    name: String,
    read: u64,
    /// One more byte is refused, and this is why.
    max: u64,
    max_is: &'static str,
}

enum Decoder {
    Plain(Packed),
    Gzip(Box<flate2::bufread::MultiGzDecoder<Packed>>),
    Zstd(zstd::Decoder<'static, Packed>),
}

const BUFFER_BYTES: usize = 64 * 1024;

impl Stream {
    pub(crate) fn new(
        name: String,
        mut source: Box<dyn Source>,
        packed_bytes: u64,
        limits: &ArchiveLimits,
    ) -> Result<Self, ArchiveError> {
        let failed = |source| ArchiveError::Read { name: name.clone(), source };
        let mut magic = Vec::new();
        source.by_ref().take(MAGIC_BYTES).read_to_end(&mut magic).map_err(failed)?;
        source.rewind().map_err(failed)?;
        let packed = Packed::with_capacity(BUFFER_BYTES, source);
        let decoder = match format(&magic)? {
            Format::Plain => Decoder::Plain(packed),
            Format::Gzip => Decoder::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(packed))),
            Format::Zstd => Decoder::Zstd(zstd::Decoder::with_buffer(packed).map_err(failed)?),
        };
        let by_ratio = packed_bytes.saturating_mul(limits.ratio).max(limits.ratio_free_bytes);
        let (max, max_is) = if by_ratio < limits.unpacked_bytes {
            (by_ratio, "unpacked bytes for its packed size: a bomb")
        } else {
            (limits.unpacked_bytes, "unpacked bytes")
        };
        Ok(Self { decoder, name, read: 0, max, max_is })
    }

    /// Bytes given out so far.
    pub(crate) fn position(&self) -> u64 {
        self.read
    }

    /// Reads at most `buffer`; zero is the end, where the packing itself ended well.
    pub(crate) fn read(&mut self, buffer: &mut [u8], place: Place) -> Result<usize, ArchiveError> {
        let result = match &mut self.decoder {
            Decoder::Plain(reader) => reader.read(buffer),
            Decoder::Gzip(reader) => reader.read(buffer),
            Decoder::Zstd(reader) => reader.read(buffer),
        };
        let count = match result {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return self.read(buffer, place),
            // The system speaks in numbers, decoders do not.
            Err(source) if source.raw_os_error().is_some() => {
                return Err(ArchiveError::Read { name: self.name.clone(), source });
            }
            Err(error) => return Err(ArchiveError::Corrupt { detail: error.to_string(), place }),
        };
        self.read += count as u64;
        if self.read > self.max {
            let detail = format!("more than {} {}", self.max, self.max_is);
            return Err(ArchiveError::Limit { detail, place });
        }
        Ok(count)
    }

    /// Fills the buffer as far as the stream goes.
    pub(crate) fn read_full(&mut self, buffer: &mut [u8], place: Place) -> Result<usize, ArchiveError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..], place)? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(filled)
    }
}

enum Format {
    Plain,
    Gzip,
    Zstd,
}

/// One header of a plain tar.
const MAGIC_BYTES: u64 = 512;

fn format(magic: &[u8]) -> Result<Format, ArchiveError> {
    let other = match magic {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => return Ok(Format::Zstd),
        // A skippable frame may come first (RFC 8878, 3.1.2).
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => return Ok(Format::Zstd),
        [0x1f, 0x8b, ..] => return Ok(Format::Gzip),
        [] => "it is empty",
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "it is packed with xz",
        [b'B', b'Z', b'h', ..] => "it is packed with bzip2",
        [b'P', b'K', 3 | 5, ..] => "it is a zip file",
        _ if is_tar(magic) => return Ok(Format::Plain),
        _ => "its first bytes are of no archive",
    };
    let detail = format!("{other}; tar.zst, tar.gz and tar are understood");
    Err(ArchiveError::Corrupt { detail, place: Place::default() })
}

fn is_tar(block: &[u8]) -> bool {
    block.len() == 512 && (checksum_is_right(block) || block.iter().all(|byte| *byte == 0))
}

/// The sum of all bytes of a header, its own field counted as spaces (POSIX.1-2008).
pub(crate) fn checksum_is_right(block: &[u8]) -> bool {
    let header = tar::Header::from_byte_slice(block);
    let field = 148..156;
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| if field.contains(&at) { 32 } else { u32::from(*byte) })
        .sum();
    header.cksum().is_ok_and(|cksum| cksum == sum)
}
