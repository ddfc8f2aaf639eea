//! A state machine that is a map. An entry is `key=value`; the reply is the index. The members stand in it under
//! [`MEMBERS`], as raft goes by them.

use std::collections::BTreeMap;

use trimaran_replica::{Applied, EntryMeta, RestoreError, RowBatch, RowIter, StateMachine, UnreadableEntry};
use trimaran_wire::raft::ConfState;

/// Key of the row that holds the members.
pub(crate) const MEMBERS: &[u8] = b"members";

#[derive(Debug, Default)]
pub(crate) struct Toy {
    map: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Sum of the hashes of all rows.
    hash: u128,
    /// Entries applied since the last check.
    pub(crate) applied: Vec<(EntryMeta, Vec<u8>)>,
}

/// The members as their row says them.
pub(crate) fn members_row(members: &ConfState) -> Vec<u8> {
    let mut sorted = members.clone();
    for ids in
        [&mut sorted.voters, &mut sorted.learners, &mut sorted.voters_outgoing, &mut sorted.learners_next]
    {
        ids.sort_unstable();
    }
    format!("{sorted:?}").into_bytes()
}

impl Toy {
    fn put(&mut self, entry: EntryMeta, key: &[u8], value: &[u8]) -> Applied<u64, Vec<u8>> {
        if let Some(before) = self.map.insert(key.to_vec(), value.to_vec()) {
            self.hash = self.hash.wrapping_sub(row_hash(key, &before));
        }
        self.hash = self.hash.wrapping_add(row_hash(key, value));
        let mut rows = RowBatch::default();
        rows.put(key, value);
        Applied { rows, reply: entry.index, events: vec![key.to_vec()] }
    }
}

impl StateMachine for Toy {
    type Reply = u64;
    type Event = Vec<u8>;

    fn apply(&mut self, entry: EntryMeta, data: &[u8]) -> Result<Applied<u64, Vec<u8>>, UnreadableEntry> {
        let at = data.iter().position(|byte| *byte == b'=').expect("test entries have a key");
        self.applied.push((entry, data.to_vec()));
        Ok(self.put(entry, &data[..at], &data[at + 1..]))
    }

    fn apply_members(
        &mut self,
        entry: EntryMeta,
        members: &ConfState,
        context: &[u8],
    ) -> Result<Applied<u64, Vec<u8>>, UnreadableEntry> {
        self.applied.push((entry, context.to_vec()));
        Ok(self.put(entry, MEMBERS, &members_row(members)))
    }

    fn restore(&mut self, _: EntryMeta, rows: RowIter) -> Result<(), RestoreError> {
        self.map = rows.collect();
        self.hash = self.map.iter().fold(0, |hash, (key, value)| hash.wrapping_add(row_hash(key, value)));
        Ok(())
    }

    fn hash(&self) -> u128 {
        self.hash
    }
}

/// As the members' check of a row: this state machine reads any.
pub(crate) fn row_check(key: &[u8], value: &[u8]) -> Result<u128, String> {
    Ok(row_hash(key, value))
}

pub(crate) fn row_hash(key: &[u8], value: &[u8]) -> u128 {
    key.iter().chain(b"=").chain(value).fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash, byte| {
        (hash ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    })
}
