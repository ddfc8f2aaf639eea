//! The uncompacted log in memory: raft's `Storage`, which never touches a disk and never fails.
//!
//! Entries are readable here as soon as raft hands them out, before they are durable; raft itself keeps
//! count of what is persisted. A snapshot for a peer is never built here: raft has to ask again, and
//! [`Log::take_wanted`] asks the replica to have one built.

use std::cell::Cell;
use std::collections::VecDeque;

use raft::eraftpb;
use raft::{GetEntriesContext, RaftState, StorageError};
use trimaran_wire::raft::{ConfState, Entry, HardState};

use crate::convert;
use crate::io::LogPosition;
use crate::state_machine::EntryMeta;

/// What a store found on its disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    pub hard_state: HardState,
    /// Members as of `applied`.
    pub conf_state: ConfState,
    /// The last entry whose rows are in the store.
    pub applied: EntryMeta,
    /// The last synced snapshot position.
    pub snapshot: LogPosition,
    /// The entry below the first one of `entries`.
    pub compacted: LogPosition,
    /// The whole log above `compacted`, contiguous.
    pub entries: Vec<Entry>,
}

/// Why a loaded log is not one that a replica may start from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    #[error("entry {found} is where {expected} belongs")]
    Gap { expected: u64, found: u64 },
    #[error("the term falls from {before} to {after} at entry {index}")]
    TermFalls { index: u64, before: u64, after: u64 },
    #[error(
        "last {last} >= commit {commit} >= applied {applied} >= start of the log {compacted} does not hold"
    )]
    Bounds { last: u64, commit: u64, applied: u64, compacted: u64 },
    #[error("entry {index} has term {log}, the rows say {rows}")]
    AppliedTerm { index: u64, log: u64, rows: u64 },
    #[error(
        "the snapshot position {snapshot} is not between the start of the log {compacted} and the rows {applied}"
    )]
    Snapshot { snapshot: u64, compacted: u64, applied: u64 },
    #[error("the log has no members")]
    NoMembers,
}

impl Loaded {
    /// Checks everything that raft would otherwise panic about.
    pub fn check(&self) -> Result<(), LogError> {
        let mut before = self.compacted;
        for entry in &self.entries {
            if entry.index != before.index + 1 {
                return Err(LogError::Gap { expected: before.index + 1, found: entry.index });
            }
            if entry.term < before.term {
                return Err(LogError::TermFalls {
                    index: entry.index,
                    before: before.term,
                    after: entry.term,
                });
            }
            before = EntryMeta { index: entry.index, term: entry.term };
        }
        let (last, commit) = (before.index, self.hard_state.commit);
        let (applied, compacted) = (self.applied.index, self.compacted.index);
        if !(last >= commit && commit >= applied && applied >= compacted) {
            return Err(LogError::Bounds { last, commit, applied, compacted });
        }
        let log = match applied.checked_sub(compacted + 1) {
            Some(offset) => usize::try_from(offset).ok().and_then(|at| self.entries.get(at)).map(|e| e.term),
            None => Some(self.compacted.term),
        };
        if let Some(log) = log
            && log != self.applied.term
        {
            return Err(LogError::AppliedTerm { index: applied, log, rows: self.applied.term });
        }
        let snapshot = self.snapshot.index;
        if !(applied >= snapshot && snapshot >= compacted) {
            return Err(LogError::Snapshot { snapshot, compacted, applied });
        }
        if self.conf_state.voters.is_empty() {
            return Err(LogError::NoMembers);
        }
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct Log {
    hard_state: eraftpb::HardState,
    conf_state: eraftpb::ConfState,
    /// Where the members last changed: who came then is in no older snapshot and would refuse it.
    members_since: u64,
    compacted: LogPosition,
    entries: VecDeque<eraftpb::Entry>,
    bytes: usize,
    /// The last snapshot built for peers.
    built: Option<eraftpb::Snapshot>,
    wanted: Cell<Option<u64>>,
}

/// What an entry costs in memory.
fn cost(entry: &eraftpb::Entry) -> usize {
    entry.data.len() + entry.context.len() + size_of::<eraftpb::Entry>()
}

impl Log {
    /// `loaded` has passed [`Loaded::check`].
    pub(crate) fn new(loaded: Loaded) -> Self {
        let entries: VecDeque<_> = loaded.entries.into_iter().map(convert::entry_to_raft).collect();
        Self {
            hard_state: convert::hard_state_to_raft(loaded.hard_state),
            conf_state: convert::conf_state_to_raft(loaded.conf_state),
            members_since: 0,
            compacted: loaded.compacted,
            bytes: entries.iter().map(cost).sum(),
            entries,
            built: None,
            wanted: Cell::new(None),
        }
    }

    pub(crate) fn last(&self) -> u64 {
        self.compacted.index + self.entries.len() as u64
    }

    pub(crate) fn first(&self) -> u64 {
        self.compacted.index + 1
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn conf_state(&self) -> &eraftpb::ConfState {
        &self.conf_state
    }

    pub(crate) fn set_conf_state(&mut self, members: eraftpb::ConfState, index: u64) {
        self.conf_state = members;
        self.members_since = index;
    }

    fn at(&self, index: u64) -> Option<&eraftpb::Entry> {
        let offset = index.checked_sub(self.first())?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    pub(crate) fn term_of(&self, index: u64) -> Option<u64> {
        if index == self.compacted.index {
            return Some(self.compacted.term);
        }
        self.at(index).map(|entry| entry.term)
    }

    /// Appends; an entry at or below the end replaces everything from there on.
    pub(crate) fn append(&mut self, entries: &[eraftpb::Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(first.index >= self.first(), "raft appends above what is compacted");
        assert!(first.index <= self.last() + 1, "raft appends without a gap");
        while self.last() >= first.index {
            let gone = self.entries.pop_back().expect("last() is above first()");
            self.bytes -= cost(&gone);
        }
        for entry in entries {
            assert_eq!(entry.index, self.last() + 1, "raft appends contiguous entries");
            self.bytes += cost(entry);
            self.entries.push_back(entry.clone());
        }
    }

    /// Forgets everything up to `index`, which is in the log. Returns the new start of the log.
    pub(crate) fn compact(&mut self, index: u64) -> LogPosition {
        assert!(index <= self.last(), "the log is cut inside");
        while self.compacted.index < index {
            let gone = self.entries.pop_front().expect("index is at most last()");
            self.bytes -= cost(&gone);
            self.compacted = LogPosition { index: gone.index, term: gone.term };
        }
        self.compacted
    }

    /// Starts over above a received snapshot. Its members follow with its rows ([`Self::set_conf_state`]).
    pub(crate) fn install(&mut self, meta: &eraftpb::SnapshotMetadata) {
        self.entries.clear();
        self.bytes = 0;
        self.compacted = LogPosition { index: meta.index, term: meta.term };
        self.built = None;
    }

    pub(crate) fn set_built(&mut self, snapshot: eraftpb::Snapshot) {
        self.built = Some(snapshot);
    }

    pub(crate) fn built_index(&self) -> Option<u64> {
        self.built.as_ref().map(|snapshot| snapshot.get_metadata().index)
    }

    pub(crate) fn drop_built(&mut self) {
        self.built = None;
    }

    /// The lowest index that a peer asked a snapshot for since the last call.
    pub(crate) fn take_wanted(&self) -> Option<u64> {
        self.wanted.take()
    }
}

impl raft::Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.conf_state.clone()))
    }

    /// `[low, high)`, cut at `max_size` bytes but never to nothing.
    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<eraftpb::Entry>> {
        if low < self.first() {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if high > self.last() + 1 {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        let max = max_size.into().unwrap_or(u64::MAX);
        let offset = usize::try_from(low - self.first()).expect("the log fits into memory");
        let count = usize::try_from(high.saturating_sub(low)).expect("the log fits into memory");
        let mut size = 0u64;
        let taken = self.entries.iter().skip(offset).take(count).enumerate().take_while(|(n, entry)| {
            size += cost(entry) as u64;
            *n == 0 || size <= max
        });
        Ok(taken.map(|(_, entry)| entry.clone()).collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index < self.compacted.index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        self.term_of(index).ok_or(raft::Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.first())
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<eraftpb::Snapshot> {
        let needed = request_index.max(self.compacted.index).max(self.members_since);
        match &self.built {
            Some(snapshot) if snapshot.get_metadata().index >= needed => Ok(snapshot.clone()),
            Some(_) | None => {
                self.wanted.set(Some(self.wanted.get().map_or(needed, |wanted| wanted.max(needed))));
                Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use raft::Storage as _;

    use super::*;

    fn entry(index: u64, term: u64, size: usize) -> Entry {
        Entry {
            kind: trimaran_wire::raft::EntryKind::Normal,
            term,
            index,
            data: trimaran_wire::raft::Blob(vec![7; size].into()),
            context: Default::default(),
        }
    }

    fn loaded(terms: &[u64]) -> Loaded {
        Loaded {
            hard_state: HardState { term: 9, vote: 1, commit: 10 },
            conf_state: ConfState { voters: vec![1], ..ConfState::default() },
            applied: LogPosition { index: 10, term: 1 },
            snapshot: LogPosition { index: 10, term: 1 },
            compacted: LogPosition { index: 10, term: 1 },
            entries: terms.iter().enumerate().map(|(n, term)| entry(11 + n as u64, *term, 100)).collect(),
        }
    }

    fn log(terms: &[u64]) -> Log {
        let loaded = loaded(terms);
        loaded.check().unwrap();
        Log::new(loaded)
    }

    fn indices(log: &Log, low: u64, high: u64, max: Option<u64>) -> Vec<u64> {
        let found = log.entries(low, high, max, GetEntriesContext::empty(false)).unwrap();
        found.iter().map(|entry| entry.index).collect()
    }

    #[test]
    fn entries_are_cut_by_size_but_never_to_nothing() {
        let log = log(&[1, 1, 2]);
        let one = cost(&convert::entry_to_raft(entry(1, 1, 100))) as u64;
        assert_eq!(indices(&log, 11, 14, None), [11, 12, 13]);
        assert_eq!(indices(&log, 11, 14, Some(0)), [11]);
        assert_eq!(indices(&log, 12, 14, Some(one)), [12]);
        assert_eq!(indices(&log, 11, 14, Some(2 * one)), [11, 12]);
        assert_eq!(indices(&log, 11, 14, Some(3 * one - 1)), [11, 12]);
        assert_eq!(indices(&log, 12, 12, None), [] as [u64; 0]);
        assert!(log.entries(10, 12, None, GetEntriesContext::empty(false)).is_err());
        assert!(log.entries(11, 15, None, GetEntriesContext::empty(false)).is_err());
    }

    #[test]
    fn terms_reach_one_below_the_first_entry() {
        let log = log(&[1, 2]);
        assert_eq!(log.term(10).unwrap(), 1);
        assert_eq!(log.term(12).unwrap(), 2);
        assert!(matches!(log.term(9), Err(raft::Error::Store(StorageError::Compacted))));
        assert!(matches!(log.term(13), Err(raft::Error::Store(StorageError::Unavailable))));
    }

    #[test]
    fn an_append_below_the_end_replaces_the_rest() {
        let mut log = log(&[1, 1, 2]);
        log.append(&[convert::entry_to_raft(entry(12, 3, 1))]);
        assert_eq!(log.last(), 12);
        assert_eq!(log.term(12).unwrap(), 3);
        let sum: usize = log.entries.iter().map(cost).sum();
        assert_eq!(log.bytes(), sum);
        log.compact(12);
        assert_eq!((log.first(), log.last(), log.bytes()), (13, 12, 0));
        assert_eq!(log.term(12).unwrap(), 3);
    }

    #[test]
    fn a_snapshot_must_reach_the_start_of_the_log() {
        let mut log = log(&[1, 1, 2]);
        assert!(log.snapshot(0, 2).is_err());
        assert_eq!(log.take_wanted(), Some(10));
        assert_eq!(log.take_wanted(), None);
        let mut built = eraftpb::Snapshot::default();
        built.mut_metadata().index = 11;
        log.set_built(built);
        assert!(log.snapshot(11, 2).is_ok());
        log.set_conf_state(eraftpb::ConfState::default(), 13);
        assert!(log.snapshot(11, 2).is_err(), "a newer member is not in it");
        assert_eq!(log.take_wanted(), Some(13));
        log.set_conf_state(eraftpb::ConfState::default(), 11);
        log.compact(12);
        assert!(log.snapshot(11, 2).is_err(), "entry 12 would be missing");
        assert_eq!(log.take_wanted(), Some(12));
    }

    #[test]
    fn a_log_that_raft_would_panic_about_is_refused() {
        let good = loaded(&[1, 2]);
        let broken = |change: fn(&mut Loaded)| {
            let mut loaded = good.clone();
            change(&mut loaded);
            loaded.check().unwrap_err()
        };
        assert_eq!(broken(|l| l.entries[1].index = 13), LogError::Gap { expected: 12, found: 13 });
        assert!(matches!(broken(|l| l.entries[0].term = 0), LogError::TermFalls { .. }));
        assert!(matches!(broken(|l| l.hard_state.commit = 13), LogError::Bounds { .. }));
        assert!(matches!(broken(|l| l.hard_state.commit = 9), LogError::Bounds { .. }));
        assert!(matches!(broken(|l| l.applied.index = 11), LogError::Bounds { .. }));
        assert!(matches!(broken(|l| l.applied.term = 3), LogError::AppliedTerm { .. }));
        assert!(matches!(broken(|l| l.snapshot.index = 9), LogError::Snapshot { .. }));
        assert!(matches!(broken(|l| l.snapshot.index = 11), LogError::Snapshot { .. }));
        assert_eq!(broken(|l| l.conf_state.voters.clear()), LogError::NoMembers);
    }
}
