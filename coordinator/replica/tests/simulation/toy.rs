//! A state machine that is a map. An entry is `key=value`; the reply is the index.

use std::collections::BTreeMap;

use trimaran_replica::{Applied, EntryMeta, RestoreError, RowBatch, RowIter, StateMachine, UnreadableEntry};

#[derive(Debug, Default)]
pub(crate) struct Toy {
    map: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Entries applied since the last check.
    pub(crate) applied: Vec<(EntryMeta, Vec<u8>)>,
}

impl StateMachine for Toy {
    type Reply = u64;
    type Event = Vec<u8>;

    fn apply(&mut self, entry: EntryMeta, data: &[u8]) -> Result<Applied<u64, Vec<u8>>, UnreadableEntry> {
        let at = data.iter().position(|byte| *byte == b'=').expect("test entries have a key");
        let (key, value) = (data[..at].to_vec(), data[at + 1..].to_vec());
        self.applied.push((entry, data.to_vec()));
        self.map.insert(key.clone(), value.clone());
        let mut rows = RowBatch::default();
        rows.put(key.clone(), value);
        Ok(Applied { rows, reply: entry.index, events: vec![key] })
    }

    fn restore(&mut self, _: EntryMeta, rows: RowIter) -> Result<(), RestoreError> {
        self.map = rows.collect();
        Ok(())
    }

    fn hash(&self) -> u128 {
        let bytes = self.map.iter().flat_map(|(key, value)| key.iter().chain(b"=").chain(value).chain(b"\n"));
        bytes.fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash, byte| {
            (hash ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
        })
    }
}
