//! The engine as the state machine of a replica. Of a cluster whose feature level this build does not support it applies nothing:
//! it can't know what the others do.

use trimaran_engine::{Engine, Event, Outcome};
use trimaran_model::feature_level::{self, Levels};
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
#[derive(Debug, Clone)]
pub struct EngineStateMachine {
    engine: Engine,
    supported: Levels,
}

impl Default for EngineStateMachine {
    fn default() -> Self {
        Self::new(Engine::default(), feature_level::SUPPORTED)
    }
}

impl EngineStateMachine {
    /// `supported` is what this build supports, or less where an operator holds an upgrade back.
    pub fn new(engine: Engine, supported: Levels) -> Self {
        Self { engine, supported }
    }

    /// Why this build does not serve a cluster of this feature level, if it does not.
    pub fn refuse_level(level: u16, supported: Levels) -> Option<String> {
        (!supported.contains(level)).then(|| {
            let which = if level > supported.max { "too old" } else { "too new" };
            format!(
                "the binary is {which}: the cluster is at feature level {level}, and this binary supports {supported}; \
                 start the coordinator with the binary that the others run, on the same data directory"
            )
        })
    }

    fn check_level(&self, level: u16) -> Result<(), UnreadableEntry> {
        Self::refuse_level(level, self.supported).map_or(Ok(()), |why| Err(UnreadableEntry { why }))
    }
}

impl EngineMachine for EngineStateMachine {
    fn engine(&self) -> &Engine {
        &self.engine
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
        // Within its level a build knows every command: one that it can't read is of a later build.
        let decoded = Entry::from_bytes(data).map_err(|error| UnreadableEntry {
            why: format!(
                "the binary is too old, or the entry is damaged: {error}; start the coordinator with the binary that \
                 the others run"
            ),
        })?;
        let needed = decoded.commands.iter().map(|command| command.body.feature_level()).max();
        if let Some(needed) = needed.filter(|needed| *needed > self.supported.max) {
            self.check_level(needed)?;
        }
        let applied = self.engine.apply(entry.index, &decoded);
        self.check_level(self.engine.level())?;
        let rows = RowBatch { changes: applied.rows };
        let wall = self.engine.wall();
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
        let engine = Engine::from_rows(rows).map_err(|error| RestoreError { why: error.to_string() })?;
        if let Some(why) = Self::refuse_level(engine.level(), self.supported) {
            return Err(RestoreError { why });
        }
        self.engine = engine;
        Ok(())
    }

    fn hash(&self) -> u128 {
        self.engine.hash()
    }
}
