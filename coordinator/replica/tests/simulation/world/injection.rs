//! Faults as they happen.

use trimaran_replica::Input;
use trimaran_replica::memory::MemoryStore;

use super::{Event, World};
use crate::faults::Fault;

/// Nodes that a world may come to have.
const NODES_MAX: usize = 12;

impl World {
    pub(super) fn inject(&mut self, fault: Fault) {
        let node = self.any_node();
        match fault {
            Fault::Crash => self.crash(node),
            Fault::Cut => self.cut_links(node),
            Fault::Pause => {
                let length = 100 + self.below(6_000);
                self.nodes[node].paused_until = self.now + length;
            }
            Fault::SlowDisk => {
                let (write, length) = (500 + self.below(3_000), 1_000 + self.below(6_000));
                self.slow.insert(node, write);
                self.at(length, Event::FastDisk { node });
            }
            Fault::FailingDisk => self.nodes[node].disk_fails = self.nodes[node].replica.is_some(),
            Fault::Wipe => self.wipe(),
            Fault::Members => self.change_members(),
            Fault::Transfer => {
                let (Some(leader), to) = (self.current_leader(), node as u64 + 1) else { return };
                self.ask(leader, |waiter| Input::TransferLeader { waiter, to });
            }
        }
    }

    /// All links of a node or those of a pair, both ways or one way.
    fn cut_links(&mut self, node: usize) {
        let other = self.any_node();
        let (whole, direction) = (self.below(2) == 0, self.below(3));
        let others: Vec<usize> = match whole {
            true => (0..self.nodes.len()).collect(),
            false => vec![other],
        };
        let mut links = Vec::new();
        for other in others.into_iter().filter(|other| *other != node) {
            if direction != 0 {
                links.push((node, other));
            }
            if direction != 1 {
                links.push((other, node));
            }
        }
        self.cut.extend(&links);
        let heal = self.below(5_000);
        self.at(heal, Event::Uncut { links });
    }

    /// A machine is lost for good, and what it sent does not arrive.
    pub(crate) fn lose(&mut self, node: usize) {
        self.crash(node);
        self.nodes[node].gone = true;
        self.cut.extend((0..self.nodes.len()).map(|other| (node, other)));
        self.counts.wipes += 1;
    }

    /// A voter loses its disk for good, when the others can decide without it and no other loss is open.
    fn wipe(&mut self) {
        self.on_change();
        let members = self.members();
        let open = self.member_ids(&members).into_iter().any(|node| self.nodes[node].gone);
        if open
            || self.membership.uncertain
            || members.voters.len() < 3
            || !members.voters_outgoing.is_empty()
        {
            return;
        }
        let voter = self.random.pick(&members.voters).expect("at least three");
        self.lose(usize::try_from(voter - 1).expect("ids are small"));
        if self.nodes.len() < NODES_MAX {
            self.add_node(MemoryStore::joining(members));
        }
    }
}
