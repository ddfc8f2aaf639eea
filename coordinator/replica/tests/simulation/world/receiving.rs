//! Snapshots on their way: built from the rows of a disk, sent in chunks, staged on another disk one write after the other.
//! A cut, the end of either process, a disk that fails and a broken chunk each end one; what a sender has sent before its end
//! may have arrived whole.

use std::collections::VecDeque;

use trimaran_replica::staging::{Staging, StagingError, StagingJob};
use trimaran_replica::{EntryMeta, Input};
use trimaran_wire::codec::Message as _;
use trimaran_wire::frame::Frame;
use trimaran_wire::raft::{Blob, Message, Snapshot, SnapshotMeta};
use trimaran_wire::snapshot::{SnapshotManifest, SnapshotTotals};

use super::network::node_of;
use super::{Event, World};
use crate::toy::{row_check, row_hash};

/// Rows of a chunk.
const CHUNK_ROWS: usize = 16;

/// A snapshot that a node receives.
pub(super) struct Receiving {
    from: usize,
    from_incarnation: u64,
    message: Message,
    staging: Staging,
    chunks: VecDeque<Frame>,
    generation: u64,
    /// All of it is here already and waits to be staged.
    has_arrived: bool,
}

impl World {
    pub(super) fn build_snapshot(&mut self, node: usize, min_index: u64) {
        let incarnation = self.nodes[node].incarnation;
        let loaded = self.nodes[node].store.load();
        let snapshot = (loaded.applied.index >= min_index).then(|| {
            let rows = self.nodes[node].store.rows();
            let hash = rows.iter().fold(0u128, |hash, (key, value)| hash.wrapping_add(row_hash(key, value)));
            let mut totals = SnapshotTotals::default();
            let chunks = rows.chunks(CHUNK_ROWS).map(|rows| totals.chunk(rows.to_vec())).collect();
            let EntryMeta { index, term } = loaded.applied;
            let meta = SnapshotMeta { index, term, conf_state: loaded.conf_state };
            let state_hash = Some(hash);
            let manifest = SnapshotManifest { cluster_id: [7; 16], meta: meta.clone(), state_hash, totals };
            let manifest = manifest.to_bytes();
            self.snapshots.insert(manifest.clone(), chunks);
            Snapshot { meta, manifest: Blob(manifest.into()) }
        });
        self.at(3, Event::Built { node, incarnation, snapshot });
    }

    pub(super) fn send_snapshot(&mut self, from: usize, to: u64, message: Message) {
        let (delay, incarnation) = (5 + self.below(50), self.nodes[from].incarnation);
        self.at(delay, Event::Snapshot { from, incarnation, node: node_of(to), message });
    }

    /// The stream of a snapshot reaches its receiver, which takes one at a time.
    pub(super) fn deliver_snapshot(&mut self, from: usize, incarnation: u64, node: usize, message: Message) {
        let arrives = self.nodes[node].replica.is_some() && !self.cut.contains(&(from, node));
        let lost = self.below(1000) < self.faults.loss;
        if !arrives || lost || self.nodes[node].receiving.is_some() {
            return self.at(0, Event::SnapshotEnded { from, incarnation, to: node as u64 + 1, ok: false });
        }
        let bytes = message.snapshot.as_ref().expect("it announces one").manifest.0.to_vec();
        let manifest = SnapshotManifest::from_bytes(&bytes).expect("what was encoded");
        let mut chunks: VecDeque<Frame> = self.snapshots[&bytes].iter().cloned().collect();
        if self.below(1000) < self.faults.loss {
            self.spoil(&mut chunks);
        }
        let has_arrived = self.below(2) == 0;
        let this = &mut self.nodes[node];
        this.receiving = Some(Receiving {
            from,
            from_incarnation: incarnation,
            message,
            staging: Staging::new(&manifest, row_check),
            chunks,
            generation: this.store.begin_generation(),
            has_arrived,
        });
        let incarnation = this.incarnation;
        self.at(1, Event::Stage { node, incarnation });
    }

    /// A chunk is missing, comes twice, or is another one.
    fn spoil(&mut self, chunks: &mut VecDeque<Frame>) {
        let at = usize::try_from(self.below(chunks.len() as u64)).expect("few chunks");
        match self.below(3) {
            0 => drop(chunks.remove(at)),
            1 => chunks.insert(at, chunks[at].clone()),
            _ => {
                let body = &mut chunks[at].body;
                let last = body.len() - 1;
                body[last] ^= 1;
            }
        }
    }

    /// One write of a snapshot that is received.
    pub(super) fn stage(&mut self, node: usize, incarnation: u64) {
        if self.nodes[node].incarnation != incarnation {
            return;
        }
        let Some(receiving) = &self.nodes[node].receiving else { return };
        let from = receiving.from;
        let is_gone = self.nodes[from].incarnation != receiving.from_incarnation;
        let is_whole = is_gone && receiving.has_arrived;
        let broken = (is_gone || self.cut.contains(&(from, node))) && !is_whole;
        if broken || self.nodes[node].disk_fails {
            return self.stop_receiving(node);
        }
        match self.stage_next(node) {
            Err(_) => {
                self.counts.refused_snapshots += 1;
                self.stop_receiving(node);
            }
            Ok(false) => {
                // No sync yet.
                let delay = 1 + self.below(1 + self.faults.write_max / 8);
                self.at(delay, Event::Stage { node, incarnation });
            }
            Ok(true) => self.announce(node),
        }
    }

    /// Stages what comes next; true when that was the end.
    fn stage_next(&mut self, node: usize) -> Result<bool, StagingError> {
        let this = &mut self.nodes[node];
        let receiving = this.receiving.as_mut().expect("it receives");
        let (job, is_end): (StagingJob, bool) = match receiving.chunks.pop_front() {
            Some(chunk) => (receiving.staging.chunk(&chunk)?, false),
            None => (receiving.staging.end()?, true),
        };
        this.store.stage(receiving.generation, job);
        Ok(is_end)
    }

    /// All rows are there: raft learns of the snapshot, and its sender that it was received.
    fn announce(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        let Receiving { from, from_incarnation, message, generation, .. } =
            this.receiving.take().expect("it receives");
        let meta = &message.snapshot.as_ref().expect("it announces one").meta;
        this.staged.add(EntryMeta { index: meta.index, term: meta.term }, generation);
        self.step(node, Input::Peer(message));
        let ended =
            Event::SnapshotEnded { from, incarnation: from_incarnation, to: node as u64 + 1, ok: true };
        self.at(0, ended);
    }

    /// A snapshot did not arrive: its rows go, and its sender tries again.
    pub(super) fn stop_receiving(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        let Some(Receiving { from, from_incarnation, generation, .. }) = this.receiving.take() else {
            return;
        };
        this.store.remove_generation(generation);
        let ended =
            Event::SnapshotEnded { from, incarnation: from_incarnation, to: node as u64 + 1, ok: false };
        self.at(1, ended);
    }

    /// Removes rows that raft does not wait for.
    pub(super) fn remove_unwanted(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        let pending = this.replica.as_ref().and_then(trimaran_replica::Replica::pending_snapshot);
        for generation in this.staged.remove_unwanted(pending) {
            this.store.remove_generation(generation);
        }
    }
}
