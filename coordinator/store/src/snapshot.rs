//! Files of snapshots for peers: the rows of a view in the order of their keys, in chunks that are checked where they arrive.
//!
//! The manifest that belongs to a file is not in it: it is sent in front of it. Equal states give equal files. Such a file is
//! of use to the process that wrote it alone.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use trimaran_wire::codec::{CodecError, DECODE_BYTES_MAX};
use trimaran_wire::frame::{self, Frame};
use trimaran_wire::snapshot::{SnapshotManifest, SnapshotTotals};

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
}

/// Writes the rows of `view` to `path`, a chunk at a time; the manifest says what they come to.
///
/// # Errors
/// When rows can't be read or the file not be written, which is then of no use.
pub fn write(
    view: &ReadView<'_>,
    cluster_id: [u8; 16],
    path: &Path,
) -> Result<SnapshotManifest, SnapshotError> {
    let (meta, state_hash) = (view.snapshot_meta()?, view.state_hash()?);
    let file = |source| SnapshotError::File { path: path.to_owned(), source };
    let mut out = BufWriter::new(File::create(path).map_err(file)?);
    let mut totals = SnapshotTotals::default();
    for rows in view.chunks() {
        out.write_all(&totals.chunk(rows?).encode()).map_err(file)?;
    }
    out.flush().map_err(file)?;
    Ok(SnapshotManifest { cluster_id, meta, state_hash, totals })
}

/// The chunks of a file, one after the other, for a peer. Their content is checked by who receives them.
pub struct Frames {
    input: BufReader<File>,
    path: PathBuf,
}

/// Opens a file to send it.
///
/// # Errors
/// When it can't be opened.
pub fn frames(path: &Path) -> Result<Frames, SnapshotError> {
    let file = |source| SnapshotError::File { path: path.to_owned(), source };
    Ok(Frames { input: BufReader::new(File::open(path).map_err(file)?), path: path.to_owned() })
}

impl Frames {
    /// The next frame; `None` at the end of the file.
    ///
    /// # Errors
    /// When the file can't be read, or has something else in this place.
    #[expect(clippy::should_implement_trait, reason = "an error ends it, which an iterator would go on from")]
    pub fn next(&mut self) -> Result<Option<Frame>, SnapshotError> {
        let no_frame = |source| SnapshotError::Frame { path: self.path.clone(), source };
        let read = frame::read(&mut self.input, DECODE_BYTES_MAX).map_err(|error| match error {
            frame::ReadError::Input(source) => SnapshotError::File { path: self.path.clone(), source },
            frame::ReadError::Frame(error) => no_frame(error.into()),
        })?;
        let Some(bytes) = read else { return Ok(None) };
        let (frame, _) = Frame::decode(&bytes, DECODE_BYTES_MAX).map_err(|error| no_frame(error.into()))?;
        Ok(Some(frame))
    }
}
