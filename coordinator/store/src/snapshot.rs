//! Snapshot files: the rows of a view in the order of their keys, in checked chunks.
//!
//! `header | chunk* | end`, each a frame with its own checksum; the end counts and checks what came before
//! it, so a file that lost its tail or a chunk is refused. Equal states give equal bytes.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use trimaran_replica::Row;
use trimaran_wire::codec::{CodecError, DECODE_BYTES_MAX, Message};
use trimaran_wire::frame::{self, Frame};
use trimaran_wire::raft::{SnapshotChunk, SnapshotEnd, SnapshotHeader};

use crate::view::{ReadError, ReadView};

/// Why a snapshot file was not written or is not one.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("{} can't be written or read", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the rows for it can't be read")]
    Rows(#[from] ReadError),
    #[error("{} is not a snapshot", path.display())]
    Frame {
        path: PathBuf,
        #[source]
        source: CodecError,
    },
    #[error("{} is not a whole snapshot: {why}", path.display())]
    Broken { path: PathBuf, why: &'static str },
}

/// Writes the rows of `view` to `path`: under another name first, synced, then renamed.
pub fn write(
    view: &ReadView<'_>,
    cluster_id: [u8; 16],
    path: &Path,
) -> Result<SnapshotHeader, SnapshotError> {
    let header = SnapshotHeader { cluster_id, meta: view.snapshot_meta()? };
    let file = |source| SnapshotError::File { path: path.to_owned(), source };
    let partial = path.with_extension("partial");
    let mut out = BufWriter::new(File::create(&partial).map_err(file)?);
    out.write_all(&header.to_bytes()).map_err(file)?;
    let mut end = SnapshotEnd { chunks: 0, rows: 0, crc32c: 0 };
    for rows in view.chunks() {
        let chunk = SnapshotChunk { rows: rows? };
        put_chunk(&mut out, &chunk, &mut end).map_err(file)?;
    }
    out.write_all(&end.to_bytes()).map_err(file)?;
    out.into_inner().map_err(|error| file(error.into_error()))?.sync_all().map_err(file)?;
    std::fs::rename(&partial, path).map_err(file)?;
    let parent = path.parent().unwrap_or(Path::new("."));
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(file)?;
    Ok(header)
}

fn put_chunk(out: &mut impl io::Write, chunk: &SnapshotChunk, end: &mut SnapshotEnd) -> io::Result<()> {
    let bytes = chunk.to_bytes();
    end.chunks += 1;
    end.rows += chunk.rows.len() as u64;
    end.crc32c = crc32c::crc32c_append(end.crc32c, &bytes);
    out.write_all(&bytes)
}

/// The frames of a file, one after the other, for a peer. Their content is checked by who receives them.
pub struct Frames {
    input: BufReader<File>,
    path: PathBuf,
}

/// Opens a file to send it.
pub fn frames(path: &Path) -> Result<Frames, SnapshotError> {
    let file = |source| SnapshotError::File { path: path.to_owned(), source };
    Ok(Frames { input: BufReader::new(File::open(path).map_err(file)?), path: path.to_owned() })
}

impl Frames {
    /// The next frame; `None` at the end of the file.
    #[expect(clippy::should_implement_trait, reason = "an error ends it, which an iterator would go on from")]
    pub fn next(&mut self) -> Result<Option<Frame>, SnapshotError> {
        let Some(bytes) = next_frame(&mut self.input, &self.path)? else { return Ok(None) };
        let decoded = Frame::decode(&bytes, DECODE_BYTES_MAX);
        let (frame, _) = decoded.map_err(|error| SnapshotError::Frame {
            path: self.path.clone(),
            source: CodecError::from(error),
        })?;
        Ok(Some(frame))
    }
}

/// Reads a whole file and checks it to its last byte.
pub fn read(path: &Path) -> Result<(SnapshotHeader, Vec<Row>), SnapshotError> {
    let broken = |why| SnapshotError::Broken { path: path.to_owned(), why };
    let frame = |source| SnapshotError::Frame { path: path.to_owned(), source };
    let file = |source| SnapshotError::File { path: path.to_owned(), source };
    let mut input = BufReader::new(File::open(path).map_err(file)?);
    let bytes = next_frame(&mut input, path)?.ok_or_else(|| broken("it is empty"))?;
    let header = SnapshotHeader::from_bytes(&bytes).map_err(frame)?;
    let mut rows: Vec<Row> = Vec::new();
    let mut found = SnapshotEnd { chunks: 0, rows: 0, crc32c: 0 };
    loop {
        let bytes = next_frame(&mut input, path)?.ok_or_else(|| broken("its end is missing"))?;
        if let Ok(end) = SnapshotEnd::from_bytes(&bytes) {
            if end != found {
                return Err(broken("chunks are missing"));
            }
            break;
        }
        let chunk = SnapshotChunk::from_bytes(&bytes).map_err(frame)?;
        found.chunks += 1;
        found.rows += chunk.rows.len() as u64;
        found.crc32c = crc32c::crc32c_append(found.crc32c, &bytes);
        for row in chunk.rows {
            if rows.last().is_some_and(|last| last.0 >= row.0) {
                return Err(broken("its rows are not in order"));
            }
            rows.push(row);
        }
    }
    match next_frame(&mut input, path)? {
        None => Ok((header, rows)),
        Some(_) => Err(broken("something follows its end")),
    }
}

/// The next frame with its head, or `None` at the end of the file.
fn next_frame(input: &mut impl Read, path: &Path) -> Result<Option<Vec<u8>>, SnapshotError> {
    frame::read(input, DECODE_BYTES_MAX).map_err(|error| match error {
        frame::ReadError::Input(source) => SnapshotError::File { path: path.to_owned(), source },
        frame::ReadError::Frame(error) => {
            SnapshotError::Frame { path: path.to_owned(), source: CodecError::from(error) }
        }
    })
}
