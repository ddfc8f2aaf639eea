//! A quorum is lost for good: the disks of all members but one are gone, and the one that has the most in its log goes on alone,
//! as `trimaran-coordinator recover` has it. Others join anew.
//!
//! What was answered is in the log of a majority, and so in the one that ends with the largest term and, of these, the largest
//! revision: after it every check of this world holds as before.

use trimaran_engine::Outcome;
use trimaran_member::EngineMachine as _;
use trimaran_replica::survivor::{Replayed, SurvivorError, replay};
use trimaran_replica::{EntryMeta, StateMachine as _};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::command::{CommandBody, Entry};

use super::{Cluster, NODES};
use crate::lab::system;
use crate::world::machine::CheckedMachine;

impl Cluster {
    /// Loses every disk but one; false when the members are just changing, so that it can't be said who has the most.
    pub fn lose_quorum(&mut self) -> bool {
        self.observe_members();
        if self.members_change() {
            return false;
        }
        (0..NODES).for_each(|node| self.crash(node));
        let last = |node: &usize| {
            let loaded = self.nodes[*node].store.load();
            let last = loaded.entries.last().map(|it| EntryMeta { index: it.index, term: it.term });
            let last = last.unwrap_or(loaded.compacted);
            (last.term, last.index)
        };
        let survivor = (0..NODES).max_by_key(last).expect("there are some");
        let is_recovered = self.recover(survivor);
        self.seen.recoveries += usize::from(is_recovered);
        is_recovered
    }

    fn recover(&mut self, survivor: usize) -> bool {
        let it = &self.nodes[survivor];
        let (id, loaded, rows) = (it.id, it.store.load(), it.store.rows());
        let mut machine = CheckedMachine::default();
        machine.restore(loaded.applied, Box::new(rows.into_iter())).expect("rows of an engine");
        let Replayed { last, mut rows } = match replay(id, &loaded, &mut machine) {
            Ok(replayed) => replayed,
            // Its removal was on its way; the others come back instead.
            Err(SurvivorError::Leaves { .. }) => return false,
            Err(error) => panic!("{survivor} can't go on alone: {error}"),
        };
        let at = EntryMeta { index: last.index + 1, term: last.term.max(loaded.hard_state.term) + 1 };
        let body = CommandBody::Recover { raft_id: id, incarnation: self.random.number() | 1 };
        let entry = Entry { now_ms: machine.engine().now().0, commands: vec![system(body)] };
        let applied = machine.apply(at, &entry.to_bytes()).expect("an entry");
        assert_eq!(applied.reply, [Outcome::Nothing]);
        rows.changes.extend(applied.rows.changes);
        self.note(format_args!("{survivor} goes on alone at revision {}, after {}", at.index, last.index));
        self.nodes[survivor].store.recover(id, at, &rows);
        // Alone its clock is the cluster's: who recovers it makes sure that it is right.
        self.nodes[survivor].wall_error = 0;
        // Terms are of one incarnation: a leader of the earlier one may have had a term that no one else knew.
        self.leaders.clear();
        self.members_lost(survivor, at.index);
        true
    }
}
