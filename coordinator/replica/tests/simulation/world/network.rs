//! Messages on their way: lost, late, twice, in another order, or cut off in one direction.

use trimaran_replica::Input;
use trimaran_wire::codec::Message as _;
use trimaran_wire::raft::Message;

use super::{Event, World};

pub(super) fn node_of(id: u64) -> usize {
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
}
