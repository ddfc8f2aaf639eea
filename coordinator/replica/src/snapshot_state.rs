//! Where a replica stands between its own snapshot positions, a file for peers, and a snapshot from the leader.

use raft::eraftpb;

/// What a replica does about snapshots: it keeps its own position and a file for peers, or it installs the leader's.
#[derive(Debug)]
pub(crate) enum SnapshotState {
    Keeping {
        own: OwnPosition,
        peer: PeerFile,
    },
    /// The leader's snapshot is on its way to the disk as job `number`; nothing else proceeds.
    Installing {
        number: u64,
        meta: eraftpb::SnapshotMetadata,
    },
}

/// The position of the own store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnPosition {
    /// The last one is synced; this many bytes of entries were applied since.
    Synced { bytes_since: usize },
    /// The next one was handed to the writer; this many bytes of entries were applied since.
    Writing { bytes_since: usize },
}

/// The file for members that lag; the log holds what raft needs to know of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeerFile {
    /// None was asked for since the last position, or the one that is there goes at the next position when no one
    /// receives it.
    Idle,
    Building,
    /// Built since the last position: who asked for it has not begun to receive it, perhaps.
    Fresh,
}

impl SnapshotState {
    pub(crate) const START: Self =
        Self::Keeping { own: OwnPosition::Synced { bytes_since: 0 }, peer: PeerFile::Idle };

    pub(crate) fn is_installing(&self) -> bool {
        matches!(self, Self::Installing { .. })
    }

    /// Counts the bytes of an applied entry.
    pub(crate) fn count(&mut self, bytes: usize) {
        if let Self::Keeping {
            own: OwnPosition::Synced { bytes_since } | OwnPosition::Writing { bytes_since },
            ..
        } = self
        {
            *bytes_since += bytes;
        }
    }

    pub(crate) fn peer(&mut self) -> Option<&mut PeerFile> {
        match self {
            Self::Keeping { peer, .. } => Some(peer),
            Self::Installing { .. } => None,
        }
    }
}
