//! Snapshots between members: built from the rows of a disk, sent in chunks, and staged on another disk one write after
//! the other, as the server does it. The end of either process and a cut end one.

use std::collections::VecDeque;

use trimaran_engine::Engine;
use trimaran_member::Input;
use trimaran_replica::EntryMeta;
use trimaran_replica::staging::{Staging, StagingError};
use trimaran_wire::codec::Message as _;
use trimaran_wire::frame::Frame;
use trimaran_wire::raft::{Blob, Message, Snapshot, SnapshotMeta};
use trimaran_wire::snapshot::{SnapshotManifest, SnapshotTotals};

use super::{Cluster, Event};

/// Rows of a chunk.
const CHUNK_ROWS: usize = 32;
/// How soon a process that is paused is looked after again.
const PAUSED_MS: u64 = 50;

/// A snapshot that a member receives.
pub(super) struct Receiving {
    from: usize,
    from_incarnation: u64,
    message: Message,
    staging: Staging,
    chunks: VecDeque<Frame>,
    generation: u64,
}

fn row_check(key: &[u8], value: &[u8]) -> Result<u128, String> {
    Engine::check_row(key, value).map_err(|error| error.to_string())?;
    Ok(Engine::row_hash(key, value))
}

impl Cluster {
    pub(super) fn build(&mut self, node: usize, min_index: u64) {
        let it = &self.nodes[node];
        let (incarnation, loaded) = (it.incarnation, it.store.load());
        let snapshot = (loaded.applied.index >= min_index).then(|| {
            let rows = it.store.rows();
            let hashes = rows.iter().map(|(key, value)| Engine::row_hash(key, value));
            let state_hash = Some(hashes.fold(0, u128::wrapping_add));
            let mut totals = SnapshotTotals::default();
            let chunks = rows.chunks(CHUNK_ROWS).map(|rows| totals.chunk(rows.to_vec())).collect();
            let EntryMeta { index, term } = loaded.applied;
            let meta = SnapshotMeta { index, term, conf_state: loaded.conf_state };
            let manifest = SnapshotManifest { cluster_id: [7; 16], meta: meta.clone(), state_hash, totals };
            let manifest = manifest.to_bytes();
            self.snapshots.insert(manifest.clone(), chunks);
            Snapshot { meta, manifest: Blob(manifest.into()) }
        });
        self.at(3, Event::Built { node, incarnation, snapshot });
    }

    pub(super) fn built(&mut self, node: usize, incarnation: u64, snapshot: Option<Snapshot>) {
        if self.nodes[node].incarnation == incarnation {
            let failed = Input::SnapshotFailed;
            self.input(node, snapshot.map_or(failed, |snapshot| Input::SnapshotBuilt { snapshot }));
        }
    }

    /// The stream of a snapshot reaches its receiver, which takes one at a time.
    pub(super) fn deliver_snapshot(&mut self, (from, from_incarnation): (usize, u64), message: Message) {
        let id = message.to;
        let to = self.node_of(id).filter(|to| self.nodes[*to].member.is_some());
        let to = to.filter(|to| self.passes(from, *to).is_some() && self.nodes[*to].receiving.is_none());
        let Some(to) = to else { return self.snapshot_ended((from, from_incarnation), id, false) };
        let bytes = &message.snapshot.as_ref().expect("it announces one").manifest.0;
        let manifest = SnapshotManifest::from_bytes(bytes).expect("what was encoded");
        let chunks = self.snapshots[bytes.as_ref()].iter().cloned().collect();
        let it = &mut self.nodes[to];
        let (staging, generation) = (Staging::new(&manifest, row_check), it.store.begin_generation());
        it.receiving = Some(Receiving { from, from_incarnation, message, staging, chunks, generation });
        let incarnation = it.incarnation;
        self.at(1, Event::Stage { node: to, incarnation });
    }

    /// One write of a snapshot that is received.
    pub(super) fn stage(&mut self, node: usize, incarnation: u64) {
        let it = &self.nodes[node];
        let Some(receiving) = it.receiving.as_ref().filter(|_| it.incarnation == incarnation) else { return };
        let from = receiving.from;
        if self.cuts.contains(&(from, node)) || self.nodes[from].incarnation != receiving.from_incarnation {
            return self.stop_receiving(node);
        }
        if it.is_paused() {
            return self.at(PAUSED_MS, Event::Stage { node, incarnation });
        }
        match self.stage_next(node) {
            Err(error) => panic!("{node} is sent a broken snapshot by {from}: {error}"),
            Ok(false) => {
                let delay = 1 + self.random.below(self.faults.write_max);
                self.at(delay, Event::Stage { node, incarnation });
            }
            Ok(true) => self.announce(node),
        }
    }

    /// Stages what comes next; true when that was the end.
    fn stage_next(&mut self, node: usize) -> Result<bool, StagingError> {
        let it = &mut self.nodes[node];
        let receiving = it.receiving.as_mut().expect("it receives");
        let (job, is_end) = match receiving.chunks.pop_front() {
            Some(chunk) => (receiving.staging.chunk(&chunk)?, false),
            None => (receiving.staging.end()?, true),
        };
        it.store.stage(receiving.generation, job);
        Ok(is_end)
    }

    /// All rows are there: the member learns of the snapshot, and its sender that it was received.
    fn announce(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        let Receiving { from, from_incarnation, message, generation, .. } =
            it.receiving.take().expect("it receives");
        let (id, meta) = (it.id, &message.snapshot.as_ref().expect("it announces one").meta);
        it.staged.add(EntryMeta { index: meta.index, term: meta.term }, generation);
        self.input(node, Input::Peer(message));
        self.snapshot_ended((from, from_incarnation), id, true);
    }

    /// A snapshot did not arrive: its rows go, and its sender tries again.
    pub(super) fn stop_receiving(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        let Some(Receiving { from, from_incarnation, generation, .. }) = it.receiving.take() else { return };
        it.store.remove_generation(generation);
        let id = it.id;
        self.snapshot_ended((from, from_incarnation), id, false);
    }

    fn snapshot_ended(&mut self, (from, incarnation): (usize, u64), to: u64, ok: bool) {
        self.at(1, Event::SnapshotEnded { from, incarnation, to, ok });
    }

    pub(super) fn sent(&mut self, (from, incarnation): (usize, u64), to: u64, ok: bool) {
        if self.nodes[from].incarnation == incarnation {
            self.input(from, Input::SnapshotSent { to, ok });
        }
    }

    /// Removes rows that raft does not wait for.
    pub(super) fn remove_unwanted(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        let pending = it.member.as_ref().and_then(trimaran_member::Member::pending_snapshot);
        for generation in it.staged.remove_unwanted(pending) {
            it.store.remove_generation(generation);
        }
    }
}
