//! The rows of the leader's snapshot on their way into the store: checked as they come, written beside the rows that are
//! there, synced, and only then announced to raft.
//!
//! Pure: the receiver of the server and the disks of simulations go by it. Replication goes on meanwhile; what is left to
//! do when raft accepts the snapshot is a switch. Not here: streams and files, and the switch itself
//! ([`crate::InstallJob`]).

use trimaran_wire::frame::Frame;
use trimaran_wire::snapshot::{SnapshotCheck, SnapshotError, SnapshotManifest};

use crate::state_machine::{EntryMeta, Row};

/// What a row adds to the hash of the state, or why this build can't read it.
pub type RowCheck = fn(&[u8], &[u8]) -> Result<u128, String>;

/// The next thing that the store does with the rows of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StagingJob {
    /// Write these, which follow those before. They need not be durable yet.
    Rows(Vec<Row>),
    /// Make all of them durable: they are whole.
    Sync,
}

/// Why what arrives is not the snapshot that was announced, or is none for this build. The state stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StagingError {
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("a row of chunk {number} can't be used: {why}")]
    Row { number: u64, why: String },
    #[error("its rows come to the state {found:032x}, the manifest says {expected:032x}")]
    Hash { expected: u128, found: u128 },
}

/// One snapshot that is received.
#[derive(Debug, Clone)]
pub struct Staging {
    check: SnapshotCheck,
    row_check: RowCheck,
    expected: Option<u128>,
    hash: u128,
}

impl Staging {
    pub fn new(manifest: &SnapshotManifest, row_check: RowCheck) -> Self {
        let check = SnapshotCheck::new(manifest.totals);
        Self { check, row_check, expected: manifest.state_hash, hash: 0 }
    }

    /// Chunks that have come.
    pub fn chunks(&self) -> u64 {
        self.check.chunks()
    }

    /// Takes the frame of the next chunk.
    ///
    /// # Errors
    /// Of a chunk that does not belong here, and of a row that this build can't use.
    pub fn chunk(&mut self, frame: &Frame) -> Result<StagingJob, StagingError> {
        let rows = self.check.chunk(frame)?;
        for (key, value) in &rows {
            let number = self.check.chunks();
            let hash = (self.row_check)(key, value).map_err(|why| StagingError::Row { number, why })?;
            self.hash = self.hash.wrapping_add(hash);
        }
        Ok(StagingJob::Rows(rows))
    }

    /// No chunk follows.
    ///
    /// # Errors
    /// When the chunks are not those of the manifest, or their rows another state.
    pub fn end(&self) -> Result<StagingJob, StagingError> {
        self.check.end()?;
        if let Some(expected) = self.expected
            && expected != self.hash
        {
            return Err(StagingError::Hash { expected, found: self.hash });
        }
        if mutant!(SwitchUnsynced) {
            return Ok(StagingJob::Rows(Vec::new()));
        }
        Ok(StagingJob::Sync)
    }
}

/// Snapshots whose rows are in the store, until raft has decided about them: `T` is how the store finds the rows.
#[derive(Debug)]
pub struct Staged<T>(Vec<(EntryMeta, T)>);

impl<T> Default for Staged<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Staged<T> {
    /// Keeps rows from before their message is stepped.
    pub fn add(&mut self, at: EntryMeta, rows: T) {
        self.0.push((at, rows));
    }

    /// The rows for an installation.
    pub fn take(&mut self, at: EntryMeta) -> Option<T> {
        let place = self.0.iter().position(|(staged, _)| *staged == at)?;
        Some(self.0.swap_remove(place).1)
    }

    /// What raft does not wait for after a step ([`crate::Replica::pending_snapshot`]): no one will ask for it.
    pub fn remove_unwanted(&mut self, pending: Option<EntryMeta>) -> Vec<T> {
        let removed = self.0.extract_if(.., |(at, _)| Some(*at) != pending);
        removed.map(|(_, rows)| rows).collect()
    }
}

#[cfg(test)]
mod tests {
    use trimaran_wire::raft::SnapshotMeta;
    use trimaran_wire::snapshot::SnapshotTotals;

    use super::*;

    fn row_check(key: &[u8], value: &[u8]) -> Result<u128, String> {
        match key {
            b"new" => Err("table 90 is not known".to_owned()),
            _ => Ok(u128::from(value[0])),
        }
    }

    fn staging(state_hash: u128, rows: &[(&str, u8)]) -> Result<Vec<StagingJob>, StagingError> {
        let mut totals = SnapshotTotals::default();
        let frames: Vec<Frame> = rows
            .iter()
            .map(|(key, value)| totals.chunk(vec![(key.as_bytes().to_vec(), vec![*value])]))
            .collect();
        let meta = SnapshotMeta::default();
        let manifest = SnapshotManifest { cluster_id: [1; 16], meta, state_hash: Some(state_hash), totals };
        let mut staging = Staging::new(&manifest, row_check);
        let mut jobs = frames.iter().map(|frame| staging.chunk(frame)).collect::<Result<Vec<_>, _>>()?;
        jobs.push(staging.end()?);
        Ok(jobs)
    }

    #[test]
    fn whole_rows_are_synced_last_and_others_are_refused_before() {
        let jobs = staging(3, &[("a", 1), ("b", 2)]).expect("whole");
        assert_eq!(jobs[2], StagingJob::Sync);
        assert_eq!(staging(4, &[("a", 1)]), Err(StagingError::Hash { expected: 4, found: 1 }));
        let refused = staging(1, &[("a", 1), ("new", 2)]).expect_err("of a later build");
        assert_eq!(refused.to_string(), "a row of chunk 2 can't be used: table 90 is not known");
    }

    #[test]
    fn what_raft_does_not_wait_for_is_removed() {
        let at = |index| EntryMeta { index, term: 2 };
        let mut staged = Staged::default();
        (5..8).for_each(|index| staged.add(at(index), index));
        assert_eq!(staged.remove_unwanted(Some(at(6))), [5, 7]);
        assert_eq!((staged.take(at(5)), staged.take(at(6)), staged.take(at(6))), (None, Some(6), None));
        staged.add(at(9), 9);
        assert_eq!(staged.remove_unwanted(None), [9]);
    }
}
