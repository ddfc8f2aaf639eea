//! The engine as the state machine of a replica.

use trimaran_engine::{Engine, Event, Outcome};
use trimaran_replica::{Applied, EntryMeta, RestoreError, RowBatch, RowIter, StateMachine};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::command::Entry;

/// The engine behind the replica's seam.
pub(crate) struct EngineStateMachine(Engine);

impl EngineStateMachine {
    pub(crate) fn new(engine: Engine) -> Self {
        Self(engine)
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0
    }
}

impl StateMachine for EngineStateMachine {
    type Reply = Vec<Outcome>;
    type Event = Event;

    fn apply(&mut self, entry: EntryMeta, data: &[u8]) -> Applied<Self::Reply, Self::Event> {
        // An entry that this build can't read was written by a newer one: going on would let replicas differ.
        let decoded = Entry::from_bytes(data).expect("the binary is too old for this log");
        let applied = self.0.apply(entry.index, &decoded);
        Applied { rows: RowBatch { changes: applied.rows }, reply: applied.outcomes, events: applied.events }
    }

    fn restore(&mut self, _applied: EntryMeta, rows: RowIter) -> Result<(), RestoreError> {
        self.0 = Engine::from_rows(rows).map_err(|error| RestoreError { why: error.to_string() })?;
        Ok(())
    }

    fn hash(&self) -> u128 {
        self.0.hash()
    }
}
