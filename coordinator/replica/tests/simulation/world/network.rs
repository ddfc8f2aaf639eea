//! Messages on their way: lost, late, twice, in another order, or cut off in one direction.

use trimaran_replica::Input;
use trimaran_wire::codec::Message as _;
use trimaran_wire::raft::{Blob, Message, Snapshot, SnapshotMeta};

use super::{Event, World};

fn node_of(id: u64) -> usize {
    usize::try_from(id - 1).expect("ids are small")
}

impl World {
    pub(super) fn send(&mut self, from: usize, to: u64, message: &Message) {
        let node = node_of(to);
        if node >= self.nodes.len() || self.cut.contains(&(from, node)) {
            return;
        }
        let copies = 1 + u64::from(self.below(1000) < self.faults.duplicates);
        for _ in 0..copies {
            if self.below(1000) >= self.faults.loss {
                let delay = 1 + self.below(self.faults.delay_max);
                self.at(delay, Event::Deliver { node, bytes: message.to_bytes() });
            }
        }
    }

    pub(super) fn deliver(&mut self, node: usize, bytes: &[u8]) {
        let message = Message::from_bytes(bytes).expect("what was encoded");
        if !self.cut.contains(&(node_of(message.from), node)) {
            self.step(node, Input::Peer(message));
        }
    }

    pub(super) fn build_snapshot(&mut self, node: usize, min_index: u64) {
        let incarnation = self.nodes[node].incarnation;
        let loaded = self.nodes[node].store.load();
        let snapshot = (loaded.applied.index >= min_index).then(|| {
            let manifest = format!("{node}/{}/{incarnation}", loaded.applied.index).into_bytes();
            self.snapshots.insert(manifest.clone(), self.nodes[node].store.rows());
            let meta = SnapshotMeta {
                index: loaded.applied.index,
                term: loaded.applied.term,
                conf_state: loaded.conf_state,
            };
            Snapshot { meta, manifest: Blob(manifest.into()) }
        });
        self.at(3, Event::Built { node, incarnation, snapshot });
    }

    pub(super) fn send_snapshot(&mut self, from: usize, to: u64, message: Message) {
        let (delay, incarnation) = (5 + self.below(50), self.nodes[from].incarnation);
        self.at(delay, Event::Snapshot { from, incarnation, node: node_of(to), message });
    }

    pub(super) fn deliver_snapshot(&mut self, from: usize, incarnation: u64, node: usize, message: Message) {
        let arrives = self.nodes[node].replica.is_some() && !self.cut.contains(&(from, node));
        let ok = arrives && self.below(1000) >= self.faults.loss;
        if ok {
            self.step(node, Input::Peer(message));
        }
        if self.nodes[from].incarnation == incarnation {
            self.step(from, Input::SnapshotSent { to: node as u64 + 1, ok });
        }
    }
}
