//! Typed tables in memory that remember what an entry changed and can undo what a command did.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_wire::codec::CodecError;

/// The whole key of a row and its new value; `None` deletes.
pub type RowChange = (Vec<u8>, Option<Vec<u8>>);

/// A row that knows its key.
pub trait Row: Sized + Clone + PartialEq {
    type Key: Ord + Clone;
    /// What finds rows by something else than their key.
    type Index: Index<Self>;
    const TABLE: u8;
    fn key(&self) -> Self::Key;
    /// The key's bytes, in the order of the keys.
    fn key_bytes(key: &Self::Key) -> Vec<u8>;
    /// The stored bytes.
    fn to_bytes(&self) -> Vec<u8>;
    fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError>;
}

/// A pure function of a table's rows that is kept with every change.
pub trait Index<R>: std::fmt::Debug + Clone + Default + PartialEq {
    fn add(&mut self, row: &R);
    fn remove(&mut self, row: &R);
}

impl<R> Index<R> for () {
    fn add(&mut self, _row: &R) {}
    fn remove(&mut self, _row: &R) {}
}

/// Rows of one kind by key.
#[derive(Debug, Clone)]
pub(crate) struct Table<R: Row> {
    rows: BTreeMap<R::Key, R>,
    /// Keys that the entry changed.
    changed: BTreeSet<R::Key>,
    /// What the command replaced, in order.
    undo: Vec<(R::Key, Option<R>)>,
    /// Stored bytes of changed rows, as far as they are known already.
    encoded: BTreeMap<R::Key, Vec<u8>>,
    /// Hash of each row as last written, so that the sum can be kept.
    hashes: BTreeMap<R::Key, u64>,
    index: R::Index,
}

impl<R: Row> Default for Table<R> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            changed: BTreeSet::new(),
            undo: Vec::new(),
            encoded: BTreeMap::new(),
            hashes: BTreeMap::new(),
            index: R::Index::default(),
        }
    }
}

impl<R: Row> Table<R> {
    pub(crate) fn get(&self, key: &R::Key) -> Option<&R> {
        self.rows.get(key)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &R> {
        self.rows.values()
    }

    /// Rows with keys between these two, both included.
    pub(crate) fn between(&self, first: R::Key, last: R::Key) -> impl DoubleEndedIterator<Item = &R> {
        self.rows.range(first..=last).map(|(_, row)| row)
    }

    pub(crate) fn index(&self) -> &R::Index {
        &self.index
    }

    /// Whether the index is the one that these rows make.
    pub(crate) fn is_indexed(&self) -> bool {
        let mut anew = R::Index::default();
        self.rows.values().for_each(|row| anew.add(row));
        anew == self.index
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn first_key(&self) -> Option<R::Key> {
        self.rows.keys().next().cloned()
    }

    /// Inserts or replaces; a row that is the same changes nothing.
    pub(crate) fn put(&mut self, row: R) {
        let key = row.key();
        if self.rows.get(&key) == Some(&row) {
            return;
        }
        let old = self.set(&key, Some(row));
        self.note(key, old);
    }

    /// The one place that changes rows after they are loaded: the index follows.
    fn set(&mut self, key: &R::Key, row: Option<R>) -> Option<R> {
        if let Some(old) = self.rows.get(key) {
            self.index.remove(old);
        }
        match row {
            Some(row) => {
                self.index.add(&row);
                self.rows.insert(key.clone(), row)
            }
            None => self.rows.remove(key),
        }
    }

    pub(crate) fn remove(&mut self, key: &R::Key) -> Option<R> {
        let old = self.set(key, None)?;
        self.note(key.clone(), Some(old.clone()));
        Some(old)
    }

    fn note(&mut self, key: R::Key, old: Option<R>) {
        self.encoded.remove(&key);
        self.changed.insert(key.clone());
        self.undo.push((key, old));
    }

    /// Changes a row that is there.
    pub(crate) fn update(&mut self, key: &R::Key, change: impl FnOnce(&mut R)) {
        let mut row = self.rows.get(key).cloned().expect("who changes a row has found it before");
        change(&mut row);
        assert!(row.key() == *key, "a change keeps the key");
        self.put(row);
    }

    /// The size of the largest row that the command wrote, when it is over `max`.
    pub(crate) fn too_large(&mut self, max: usize) -> Option<usize> {
        let mut largest = 0;
        for (key, _) in &self.undo {
            let Some(row) = self.rows.get(key) else { continue };
            let bytes = self.encoded.entry(key.clone()).or_insert_with(|| row.to_bytes());
            largest = largest.max(bytes.len());
        }
        (largest > max).then_some(largest)
    }

    /// Keys that the entry changed.
    pub(crate) fn changed(&self) -> impl Iterator<Item = &R::Key> {
        self.changed.iter()
    }

    /// Whether the entry has changed anything here.
    pub(crate) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    pub(crate) fn begin(&mut self) {
        self.undo.clear();
    }

    /// Undoes everything since `begin`.
    pub(crate) fn undo(&mut self) {
        while let Some((key, old)) = self.undo.pop() {
            self.encoded.remove(&key);
            self.set(&key, old);
        }
    }

    /// Takes a stored row in.
    pub(crate) fn load(&mut self, row: R, hash: &mut u128) {
        let key = row.key();
        let sum = row_hash(&full_key::<R>(&key), &row.to_bytes());
        *hash = hash.wrapping_add(u128::from(sum));
        self.hashes.insert(key.clone(), sum);
        self.index.add(&row);
        self.rows.insert(key, row);
    }

    /// Moves the changed rows out and keeps the sum of hashes.
    pub(crate) fn drain(&mut self, hash: &mut u128, out: &mut Vec<RowChange>) {
        for key in std::mem::take(&mut self.changed) {
            let bytes = full_key::<R>(&key);
            let row = self.rows.get(&key);
            let value = row.map(|row| self.encoded.remove(&key).unwrap_or_else(|| row.to_bytes()));
            let new = value.as_ref().map(|value| row_hash(&bytes, value));
            let old = match new {
                Some(new) => self.hashes.insert(key, new),
                None => self.hashes.remove(&key),
            };
            if new.is_none() && old.is_none() {
                // Made and removed within the entry: the store never had it.
                continue;
            }
            *hash =
                hash.wrapping_sub(u128::from(old.unwrap_or(0))).wrapping_add(u128::from(new.unwrap_or(0)));
            out.push((bytes, value));
        }
        self.undo.clear();
        self.encoded.clear();
    }
}

/// Table number and key.
pub fn full_key<R: Row>(key: &R::Key) -> Vec<u8> {
    let mut bytes = vec![R::TABLE];
    bytes.extend(R::key_bytes(key));
    bytes
}

/// What a stored row adds to the hash of the state.
pub(crate) fn row_hash(key: &[u8], value: &[u8]) -> u64 {
    trimaran_model::hash::spread(key.iter().chain(&[0]).chain(value))
}
