//! A check of the WAL before RocksDB reads it: is a torn end really the end?
//!
//! RocksDB takes a record that claims to reach beyond the file for one that a crash cut off, and forgets
//! everything from there on. A flipped bit in a length has the same effect, and synced entries would vanish
//! silently. A cut record is the last thing in a file; a damaged one has whole records behind it.
//!
//! Format (RocksDB wiki, "Write Ahead Log File Format"): blocks of 32 KiB; `u32 masked crc32c | u16 length |
//! u8 type | payload`, types 1 to 4; a block's last bytes, too few for a header, are padding.

use std::io;
use std::path::{Path, PathBuf};

const BLOCK: usize = 32 << 10;
const HEADER: usize = 7;

/// The WAL with a record that is damaged and not cut off, if there is one, and its place.
pub(crate) fn damaged(dir: &Path) -> io::Result<Option<(PathBuf, usize)>> {
    for file in std::fs::read_dir(dir)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "log")
            && let Some(at) =
                torn(&std::fs::read(&path)?).filter(|(at, bytes)| whole_record_after(bytes, *at))
        {
            return Ok(Some((path, at.0)));
        }
    }
    Ok(None)
}

/// Where the first record is that reaches beyond its block or the file.
fn torn(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut at = 0;
    while at + HEADER <= bytes.len() {
        let block_end = (at / BLOCK + 1) * BLOCK;
        let length = usize::from(u16::from_le_bytes([bytes[at + 4], bytes[at + 5]]));
        if block_end - at < HEADER || (length == 0 && bytes[at + 6] == 0) {
            at = block_end;
        } else if at + HEADER + length > block_end.min(bytes.len()) {
            return Some((at, bytes));
        } else {
            at += HEADER + length;
        }
    }
    None
}

fn whole_record_after(bytes: &[u8], torn: usize) -> bool {
    (torn + 1..bytes.len().saturating_sub(HEADER)).any(|at| {
        let length = usize::from(u16::from_le_bytes([bytes[at + 4], bytes[at + 5]]));
        let end = at + HEADER + length;
        let fits = end <= ((at / BLOCK + 1) * BLOCK).min(bytes.len());
        fits && length > 0 && (1..=4).contains(&bytes[at + 6]) && {
            let stored = u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
            crc32c::crc32c(&bytes[at + 6..end]).rotate_right(15).wrapping_add(0xa282_ead8) == stored
        }
    })
}
