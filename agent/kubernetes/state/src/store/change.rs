//! What the head becomes by a change of the state.

use std::collections::BTreeSet;

use crate::api::{Changes, Secrets};
use crate::manifest::{MANIFEST, Manifest, Segment, Values};
use trimaran_kubernetes_core::state_name::SEGMENTS;

use super::{END_BYTES_MAX, PIECES_MAX, SEGMENT_BYTES_MAX, StateError, Store};

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Change {
    Append(Vec<u8>),
    Replace(Vec<u8>),
    Put(Values),
}

/// A write of the head, and what this process knows when it is done.
pub(super) struct Draft {
    pub(super) change: Change,
    pub(super) changes: Changes,
    pub(super) manifest: Manifest,
    pub(super) end: Vec<u8>,
    pub(super) last: Vec<u8>,
    pub(super) values: Values,
}

impl<S: Secrets> Store<S> {
    /// The write that a change takes; segments that it names are written now.
    pub(super) async fn draft(&mut self, change: &Change) -> Result<Draft, StateError> {
        let mut draft = Draft {
            change: change.clone(),
            changes: Changes::new(),
            manifest: Manifest { writes: self.manifest.writes + 1, ..self.manifest.clone() },
            end: self.end.clone(),
            last: self.last.clone(),
            values: self.values.clone(),
        };
        match change {
            Change::Put(values) => {
                draft.values.extend(values.clone());
                draft.changes.extend(values.iter().map(|(key, value)| (key.clone(), Some(value.clone()))));
            }
            Change::Append(bytes) => {
                let fits = self.end.len() + bytes.len() <= END_BYTES_MAX && self.manifest.pieces < PIECES_MAX;
                if fits {
                    draft.add_piece(bytes);
                } else {
                    draft.clear_end();
                    // The last segment grows: it is written anew with what follows it.
                    draft.manifest.segments.pop();
                    let content = [&*self.last, &self.end, bytes].concat();
                    self.add_segments(&mut draft, &content).await?;
                }
            }
            Change::Replace(bytes) => {
                draft.clear_end();
                draft.manifest.segments.clear();
                draft.last.clear();
                if bytes.len() <= END_BYTES_MAX {
                    draft.add_piece(bytes);
                } else {
                    self.add_segments(&mut draft, bytes).await?;
                }
            }
        }
        draft.changes.insert(MANIFEST.to_owned(), Some(draft.manifest.to_bytes()));
        Ok(draft)
    }

    /// Writes content into slots that the head does not name, and lets the draft name them.
    async fn add_segments(&mut self, draft: &mut Draft, content: &[u8]) -> Result<(), StateError> {
        let used: BTreeSet<u8> = self.manifest.segments.iter().map(|segment| segment.slot).collect();
        let free: Vec<u8> = (0..SEGMENTS).filter(|slot| !used.contains(slot)).collect();
        let parts: Vec<&[u8]> = content.chunks(SEGMENT_BYTES_MAX).collect();
        if parts.len() > free.len() {
            return Err(StateError::Full);
        }
        for (slot, part) in free.into_iter().zip(&parts) {
            self.write_segment(slot, part).await?;
            draft.manifest.segments.push(Segment::of(slot, part));
        }
        draft.last = parts.last().map(|part| part.to_vec()).unwrap_or_default();
        Ok(())
    }
}

impl Draft {
    fn add_piece(&mut self, bytes: &[u8]) {
        self.changes.insert(self.manifest.next_piece(), Some(bytes.to_vec()));
        self.manifest.pieces += 1;
        self.manifest.piece_bytes += bytes.len() as u64;
        self.end.extend_from_slice(bytes);
    }

    fn clear_end(&mut self) {
        self.changes.extend(self.manifest.piece_keys().map(|key| (key, None)));
        self.manifest.first_piece += self.manifest.pieces;
        (self.manifest.pieces, self.manifest.piece_bytes) = (0, 0);
        self.end.clear();
    }
}
