//! The engine as the state machine of a replica.

use trimaran_engine::{Engine, Event, Outcome};
use trimaran_model::time::WallTime;
use trimaran_replica::{Applied, EntryMeta, RestoreError, RowBatch, RowIter, StateMachine, UnreadableEntry};
use trimaran_wire::codec::Message as _;
use trimaran_wire::raft::ConfState;
use trimaran_wire::v1::command::Entry;

/// A state machine that is an engine, or one with checks around it.
pub trait EngineMachine: StateMachine<Reply = Vec<Outcome>, Event = (WallTime, Event)> {
    fn engine(&self) -> &Engine;
}

/// The engine behind the replica's seam.
#[derive(Debug, Clone, Default)]
pub struct EngineStateMachine(Engine);

impl EngineStateMachine {
    pub fn new(engine: Engine) -> Self {
        Self(engine)
    }
}

impl EngineMachine for EngineStateMachine {
    fn engine(&self) -> &Engine {
        &self.0
    }
}

impl StateMachine for EngineStateMachine {
    type Reply = Vec<Outcome>;
    /// With the state's wall time at its entry.
    type Event = (WallTime, Event);

    fn apply(
        &mut self,
        entry: EntryMeta,
        data: &[u8],
    ) -> Result<Applied<Self::Reply, Self::Event>, UnreadableEntry> {
        let decoded = Entry::from_bytes(data).map_err(|error| UnreadableEntry { why: error.to_string() })?;
        let applied = self.0.apply(entry.index, &decoded);
        let rows = RowBatch { changes: applied.rows };
        let wall = self.0.wall();
        let events = applied.events.into_iter().map(|event| (wall, event)).collect();
        Ok(Applied { rows, reply: applied.outcomes, events })
    }

    /// What travels with a change of members is an entry of commands: the rows of the members change with the members.
    fn apply_members(
        &mut self,
        entry: EntryMeta,
        _members: &ConfState,
        context: &[u8],
    ) -> Result<Applied<Self::Reply, Self::Event>, UnreadableEntry> {
        if context.is_empty() {
            return Ok(Applied { rows: RowBatch::default(), reply: Vec::new(), events: Vec::new() });
        }
        self.apply(entry, context)
    }

    fn restore(&mut self, _applied: EntryMeta, rows: RowIter) -> Result<(), RestoreError> {
        self.0 = Engine::from_rows(rows).map_err(|error| RestoreError { why: error.to_string() })?;
        Ok(())
    }

    fn hash(&self) -> u128 {
        self.0.hash()
    }
}
