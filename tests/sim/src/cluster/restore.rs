//! Every disk is lost, and a backup is restored, as `trimaran-coordinator restore` has it: once, and again from the same file. The agent
//! and its hosts go on and know what came after the backup.
//!
//! The coordinators of earlier incarnations are kept: now and then the agent meets one of them. What was answered after the
//! backup is lost, so operators forget it; whatever else this world checks holds for each incarnation.

use trimaran_engine::Outcome;
use trimaran_member::EngineMachine as _;
use trimaran_model::id::Epoch;
use trimaran_replica::memory::MemoryStore;
use trimaran_replica::{EntryMeta, Row, StateMachine as _};
use trimaran_wire::codec::Message as _;
use trimaran_wire::raft::ConfState;
use trimaran_wire::v1::command::{CommandBody, Entry};

use super::{Cluster, Event, NODES, membership};
use crate::lab::system;
use crate::world::machine::CheckedMachine;

/// Everything that was stored at one revision.
#[derive(Debug, Clone)]
pub struct Backup {
    rows: Vec<Row>,
    at: EntryMeta,
}

/// A coordinator of an earlier incarnation, which goes on alone.
pub(super) struct Earlier {
    machine: CheckedMachine,
    at: EntryMeta,
}

impl Cluster {
    /// What a member that runs has; `None` when none has anything. One that has just joined has no state, and no operator whom
    /// it could know.
    pub fn back_up(&mut self) -> Option<Backup> {
        let applied = |node: usize| Some(self.nodes[node].member.as_ref()?.replica_status().applied);
        let applied = |node: usize| applied(node).filter(|it| it.index > 0);
        let (at, node) =
            (0..NODES).filter_map(|node| Some((applied(node)?, node))).max_by_key(|it| it.0.index)?;
        let rows = &self.nodes[node].member.as_ref()?.state_machine().rows;
        let rows = rows.0.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        self.note(format_args!("a backup of revision {}", at.index));
        Some(Backup { rows, at })
    }

    /// All coordinators are lost, and the first of three new ones is made of the backup.
    pub fn restore(&mut self, backup: &Backup) {
        (0..NODES).for_each(|node| self.crash(node));
        let (newest, _) =
            self.nodes.iter().enumerate().max_by_key(|(_, it)| it.store.load().applied.index).expect("three");
        let store = &self.nodes[newest].store;
        let (at, rows) = (store.load().applied, store.rows());
        self.earlier.push(Earlier { machine: machine(at, rows), at });
        let id = self.care.next_id();
        let mut machine = machine(backup.at, backup.rows.clone());
        let at = EntryMeta { index: backup.at.index + 1, term: backup.at.term + 1 };
        let commands = vec![
            system(membership::row(id, self.nodes[0].levels)),
            system(CommandBody::Restore { raft_id: id }),
        ];
        let entry = Entry { now_ms: machine.engine().now().0, commands };
        let applied = machine.apply(at, &entry.to_bytes()).expect("an entry");
        assert_eq!(applied.reply, [Outcome::Nothing, Outcome::Nothing]);
        let alone = ConfState { voters: vec![id], ..ConfState::default() };
        let mut store = MemoryStore::init(alone, &backup.rows);
        store.recover(id, at, &applied.rows);
        self.note(format_args!("the backup of revision {} is restored as {id}", backup.at.index));
        (self.nodes[0].id, self.nodes[0].store) = (id, store);
        self.level_restored(machine.engine().level());
        // Alone its clock is the cluster's: who restores it makes sure that it is right.
        self.nodes[0].wall_error = 0;
        self.care.is_there(0);
        // Revisions and terms are those of another incarnation.
        self.leaders.clear();
        self.hashes.clear();
        self.answered = 0;
        self.watchers.restore(backup.at.index);
        self.members_lost(0, at.index);
        self.agent.session_lost();
        self.agent.begin_incarnation();
        self.operators.restored();
        self.at(100, Event::Start { node: 0 });
        self.seen.restores += 1;
    }

    /// The agent dials a coordinator of an earlier incarnation, which serves no one who knows a later one.
    pub(super) fn meet_earlier_incarnation(&mut self) {
        if self.earlier.is_empty() || self.agent.is_attached() || self.random.below(10) > 0 {
            return;
        }
        let number = usize::try_from(self.random.below(self.earlier.len() as u64)).expect("few");
        let command = self.agent.greeting();
        let Earlier { machine, at } = &mut self.earlier[number];
        at.index += 1;
        let entry = Entry { now_ms: machine.engine().now().0, commands: vec![command] };
        let applied = machine.apply(*at, &entry.to_bytes()).expect("an entry");
        let (Epoch(epoch), incarnation) = machine.engine().epoch();
        let served = matches!(applied.reply[..], [Outcome::Attached { .. }]);
        let later = self.agent.knows_later(epoch, incarnation);
        assert!(
            !(served && later),
            "a coordinator of epoch {epoch} serves an agent that knows a later incarnation"
        );
        self.seen.earlier_incarnations += usize::from(later);
    }
}

fn machine(at: EntryMeta, rows: Vec<Row>) -> CheckedMachine {
    let mut machine = CheckedMachine::default();
    machine.restore(at, Box::new(rows.into_iter())).expect("rows of an engine");
    machine
}
