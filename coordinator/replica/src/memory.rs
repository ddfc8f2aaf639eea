//! The store of simulations: a map with a durable and a volatile half.
//!
//! Groups of jobs are written in order. A synced group makes itself and everything before it durable; a crash
//! keeps a prefix of the groups after that and drops the rest whole, as a torn record at the end of a WAL is
//! dropped whole. Rows of a snapshot are staged beside that: a crash loses those that are not synced, even after a switch
//! to them. `trimaran-store` passes the same conformance tests.

use std::collections::BTreeMap;

use trimaran_wire::raft::{ConfState, Entry, HardState};

use crate::io::{InstallJob, LogPosition, WriteJob};
use crate::log::Loaded;
use crate::staging::StagingJob;
use crate::state_machine::{EntryMeta, Row, RowBatch};
use crate::write_group::needs_sync;

#[derive(Debug, Clone)]
struct Disk {
    hard_state: HardState,
    conf_state: ConfState,
    applied: EntryMeta,
    snapshot: LogPosition,
    compacted: LogPosition,
    entries: BTreeMap<u64, Entry>,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Disk {
    fn write(&mut self, job: &WriteJob) {
        if let Some(first) = job.entries.first() {
            assert!(first.index > self.compacted.index, "an append below what is compacted");
            self.entries.split_off(&first.index);
            assert_eq!(self.last() + 1, first.index, "an append with a gap");
        }
        self.entries.extend(job.entries.iter().map(|entry| (entry.index, entry.clone())));
        self.hard_state = job.hard_state.unwrap_or(self.hard_state);
        for (key, value) in &job.rows.changes {
            match value {
                Some(value) => self.rows.insert(key.clone(), value.clone()),
                None => self.rows.remove(key),
            };
        }
        self.applied = job.applied.unwrap_or(self.applied);
        if let Some(members) = &job.conf_state {
            self.conf_state = members.clone();
        }
        self.snapshot = job.snapshot.unwrap_or(self.snapshot);
        if let Some(position) = job.compact
            && position.index > self.compacted.index
        {
            self.entries = self.entries.split_off(&(position.index + 1));
            self.compacted = position;
        }
    }

    fn last(&self) -> u64 {
        self.entries.last_key_value().map_or(self.compacted.index, |(index, _)| *index)
    }

    fn check(&self) {
        let (last, commit, applied) = (self.last(), self.hard_state.commit, self.applied.index);
        assert!(last >= commit && commit >= applied, "last {last} >= commit {commit} >= applied {applied}");
        assert!(applied >= self.compacted.index, "the log is cut above the rows");
    }
}

/// Rows of a snapshot that the store has not switched to.
#[derive(Debug, Clone, Default)]
struct StagedRows {
    written: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What of them survives a loss of power.
    durable: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// See the documentation of the module.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    durable: Disk,
    current: Disk,
    unsynced: Vec<Vec<WriteJob>>,
    /// By generation.
    staged: BTreeMap<u64, StagedRows>,
    last_generation: u64,
}

impl MemoryStore {
    /// A store as `init` leaves it: revision 1, these members, these rows.
    pub fn init(members: ConfState, rows: &[Row]) -> Self {
        let start = EntryMeta { index: 1, term: 1 };
        let disk = Disk {
            hard_state: HardState { term: 1, vote: 0, commit: 1 },
            conf_state: members,
            applied: start,
            snapshot: start,
            compacted: start,
            entries: BTreeMap::new(),
            rows: rows.iter().cloned().collect(),
        };
        Self {
            durable: disk.clone(),
            current: disk,
            unsynced: Vec::new(),
            staged: BTreeMap::new(),
            last_generation: 0,
        }
    }

    /// A store as a new member has it: nothing, and the members that it may receive messages from.
    pub fn joining(members: ConfState) -> Self {
        let mut store = Self::init(members, &[]);
        let nothing = EntryMeta { index: 0, term: 0 };
        let disk = &mut store.durable;
        (disk.applied, disk.snapshot, disk.compacted) = (nothing, nothing, nothing);
        disk.hard_state = HardState::default();
        store.current = store.durable.clone();
        store
    }

    /// Writes a group as one record; durable on return if a job of it asks for a sync.
    pub fn write(&mut self, group: Vec<WriteJob>) {
        let sync = needs_sync(&group);
        self.write_unsynced(group);
        if sync {
            self.sync();
        }
    }

    /// A group on its way to the disk: what a crash meets.
    pub fn write_unsynced(&mut self, group: Vec<WriteJob>) {
        group.iter().for_each(|job| self.current.write(job));
        self.current.check();
        self.unsynced.push(group);
    }

    pub fn sync(&mut self) {
        for group in std::mem::take(&mut self.unsynced) {
            group.iter().for_each(|job| self.durable.write(job));
        }
        self.durable.check();
    }

    /// Begins a generation of rows beside those that are there.
    pub fn begin_generation(&mut self) -> u64 {
        self.last_generation += 1;
        self.staged.insert(self.last_generation, StagedRows::default());
        self.last_generation
    }

    pub fn stage(&mut self, generation: u64, job: StagingJob) {
        let staged = self.staged.get_mut(&generation).expect("a generation that was begun");
        match job {
            StagingJob::Rows(rows) => staged.written.extend(rows),
            StagingJob::Sync => staged.durable = staged.written.clone(),
        }
    }

    pub fn remove_generation(&mut self, generation: u64) {
        self.staged.remove(&generation);
    }

    /// Switches to the rows of a generation.
    pub fn install(&mut self, job: &InstallJob, generation: u64) {
        let StagedRows { written, durable } =
            self.staged.remove(&generation).expect("a generation that was begun");
        let at = EntryMeta { index: job.meta.index, term: job.meta.term };
        let commit = job.hard_state.commit.max(at.index);
        self.current = Disk {
            hard_state: HardState { commit, ..job.hard_state },
            conf_state: job.meta.conf_state.clone(),
            applied: at,
            snapshot: at,
            compacted: at,
            entries: BTreeMap::new(),
            rows: written,
        };
        self.durable = Disk { rows: durable, ..self.current.clone() };
        self.unsynced.clear();
    }

    /// As `Store::recover` of `trimaran-store`: the store of the only member `id` from now on, with these rows changed.
    pub fn recover(&mut self, id: u64, at: EntryMeta, rows: &RowBatch) {
        assert!(at.index > self.current.last(), "the place is behind the log");
        let mut changed = self.current.rows.clone();
        for (key, value) in &rows.changes {
            match value {
                Some(value) => changed.insert(key.clone(), value.clone()),
                None => changed.remove(key),
            };
        }
        self.current = Disk {
            hard_state: HardState { term: at.term, vote: 0, commit: at.index },
            conf_state: ConfState { voters: vec![id], ..ConfState::default() },
            applied: at,
            snapshot: at,
            compacted: at,
            entries: BTreeMap::new(),
            rows: changed,
        };
        self.durable = self.current.clone();
        self.unsynced.clear();
    }

    /// Groups that a crash may drop.
    pub fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// Loses power: the first `kept` of the groups that are not synced survive.
    pub fn crash(&mut self, kept: usize) {
        for group in std::mem::take(&mut self.unsynced).iter().take(kept) {
            group.iter().for_each(|job| self.durable.write(job));
        }
        self.durable.check();
        self.current = self.durable.clone();
        self.staged.clear();
    }

    /// What a start finds.
    pub fn load(&self) -> Loaded {
        let disk = &self.current;
        Loaded {
            hard_state: disk.hard_state,
            conf_state: disk.conf_state.clone(),
            applied: disk.applied,
            snapshot: disk.snapshot,
            compacted: disk.compacted,
            entries: disk.entries.values().cloned().collect(),
        }
    }

    /// Generations that are begun and not switched to.
    pub fn generations(&self) -> usize {
        self.staged.len()
    }

    /// All rows in the order of their keys.
    pub fn rows(&self) -> Vec<Row> {
        self.current.rows.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Whether the entry survives a loss of power at this moment, as an entry or in the rows.
    pub fn holds(&self, entry: EntryMeta) -> bool {
        match self.durable.entries.get(&entry.index) {
            Some(found) => found.term == entry.term,
            None => self.durable.compacted.index >= entry.index,
        }
    }
}
