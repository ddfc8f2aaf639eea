//! The member's state machine with checks around it: what `crate::check` says is asked after every entry.

use trimaran_engine::{Engine, Event, Outcome};
use trimaran_member::{EngineMachine, EngineStateMachine};
use trimaran_model::feature_level::{Levels, SUPPORTED};
use trimaran_model::time::{Timestamp, WallTime};
use trimaran_replica::{Applied, EntryMeta, RestoreError, RowIter, StateMachine, UnreadableEntry};
use trimaran_wire::raft::ConfState;

use crate::check::{self, Rows};

/// The state is looked at whole after each so many entries.
const WHOLE_INTERVAL: u64 = 16;

/// The engine with its rows.
pub(crate) struct CheckedMachine {
    inner: EngineStateMachine,
    pub(crate) rows: Rows,
    /// The revision of the rows.
    pub(crate) revision: u64,
    fence: u64,
}

type Reply = Applied<Vec<Outcome>, (WallTime, Event)>;

impl Default for CheckedMachine {
    fn default() -> Self {
        Self::new(SUPPORTED)
    }
}

impl CheckedMachine {
    /// The machine of a build that supports these feature levels.
    pub(crate) fn new(levels: Levels) -> Self {
        let inner = EngineStateMachine::new(Engine::default(), levels);
        Self { inner, rows: Rows::default(), revision: 0, fence: 0 }
    }

    fn checked(&mut self, entry: EntryMeta, before: Timestamp, applied: Reply) -> Reply {
        self.rows.write(&applied.rows.changes);
        self.revision = entry.index;
        let engine = self.inner.engine();
        assert!(engine.now() >= before, "cluster time went back from {before:?} to {:?}", engine.now());
        let state = check::state(engine, &self.rows, &mut self.fence);
        let whole = match entry.index % WHOLE_INTERVAL {
            0 => check::whole(engine, &self.rows),
            _ => Ok(()),
        };
        if let Err(why) = state.and(whole) {
            panic!("after entry {}: {why}", entry.index);
        }
        applied
    }
}

impl EngineMachine for CheckedMachine {
    fn engine(&self) -> &Engine {
        self.inner.engine()
    }
}

impl StateMachine for CheckedMachine {
    type Reply = Vec<Outcome>;
    type Event = (WallTime, Event);

    fn apply(
        &mut self,
        entry: EntryMeta,
        data: &[u8],
    ) -> Result<Applied<Self::Reply, Self::Event>, UnreadableEntry> {
        let before = self.engine().now();
        let applied = self.inner.apply(entry, data)?;
        Ok(self.checked(entry, before, applied))
    }

    fn apply_members(
        &mut self,
        entry: EntryMeta,
        members: &ConfState,
        context: &[u8],
    ) -> Result<Applied<Self::Reply, Self::Event>, UnreadableEntry> {
        let before = self.engine().now();
        let applied = self.inner.apply_members(entry, members, context)?;
        Ok(self.checked(entry, before, applied))
    }

    fn restore(&mut self, applied: EntryMeta, rows: RowIter) -> Result<(), RestoreError> {
        self.rows = Rows(rows.collect());
        self.revision = applied.index;
        let rows: Vec<_> = self.rows.0.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        self.inner.restore(applied, Box::new(rows.into_iter()))
    }

    fn hash(&self) -> u128 {
        self.inner.hash()
    }
}
