//! The seam to the state machine: what a replica asks of whoever gives entries a meaning.
//!
//! Deliberately not here: any state machine. The engine of Trimaran is one; tests have a map.

use trimaran_wire::raft::ConfState;

/// Key and value of one row of the state.
pub type Row = (Vec<u8>, Vec<u8>);
/// All rows of a state, in the order of their keys.
pub type RowIter = Box<dyn Iterator<Item = Row> + Send>;

/// Place of an entry in the log. `index` is the revision of the state after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryMeta {
    pub index: u64,
    pub term: u64,
}

/// Changed rows in the order of the changes; a later change of a key wins. `None` deletes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowBatch {
    pub changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl RowBatch {
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.changes.push((key.into(), Some(value.into())));
    }

    pub fn delete(&mut self, key: impl Into<Vec<u8>>) {
        self.changes.push((key.into(), None));
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Keys and values, without overhead.
    pub fn bytes(&self) -> usize {
        self.changes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum()
    }
}

/// What applying one entry gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied<R, E> {
    pub rows: RowBatch,
    /// For the waiter of the entry, on the replica that proposed it; dropped on the others.
    pub reply: R,
    /// For watchers, on every replica.
    pub events: Vec<E>,
}

/// An entry that this build can't read: a newer one wrote it, or it is damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the binary is too old for this log: {why}")]
pub struct UnreadableEntry {
    pub why: String,
}

/// Rows that are not a state of this state machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the rows are not a state: {why}")]
pub struct RestoreError {
    pub why: String,
}

/// A deterministic state machine: equal entries in equal order give equal states, rows and replies.
pub trait StateMachine {
    /// Outcomes of the commands of one entry, opaque to the replica.
    type Reply;
    /// One event for watchers, opaque to the replica.
    type Event;

    /// Applies the entry at `entry.index`. Called once per committed entry with data, in order; the entry without
    /// data that opens a term is not shown, and changes of members go to [`Self::apply_members`], so indices have gaps.
    /// Refusing a command is a reply. A panic is the state machine's own business: the replica catches nothing.
    /// An error says that this build can't read the entry: the process ends, since going on would let replicas
    /// differ.
    fn apply(
        &mut self,
        entry: EntryMeta,
        data: &[u8],
    ) -> Result<Applied<Self::Reply, Self::Event>, UnreadableEntry>;

    /// From the entry on these are the members. `context` is what was proposed with the change, empty for the entry
    /// that ends a joint configuration. Called for each change that is in force, so that a table of members can be
    /// kept equal to what raft goes by; not for a change that raft refused.
    fn apply_members(
        &mut self,
        entry: EntryMeta,
        members: &ConfState,
        context: &[u8],
    ) -> Result<Applied<Self::Reply, Self::Event>, UnreadableEntry>;

    /// Replaces the whole state by `rows`, which come in the order of their keys. `applied` is the last
    /// entry they contain. The server calls it once before [`crate::Replica::new`], the replica after it
    /// installed a snapshot.
    fn restore(&mut self, applied: EntryMeta, rows: RowIter) -> Result<(), RestoreError>;

    /// Hash of the state, comparable between replicas at the same index.
    fn hash(&self) -> u128;
}
