//! The owner of the state, as the server has it: time, the leader's own commands, and what waits for an entry.

use std::collections::BTreeMap;

use bytes::Bytes;
use trimaran_engine::{Engine, Event, Outcome};
use trimaran_model::run::Status;
use trimaran_model::time::Timestamp;
use trimaran_query as query;
use trimaran_replica::{
    Applied, EntryMeta, Input, Replica, RestoreError, Role, RowBatch, RowIter, StateMachine, UnreadableEntry,
    Waiter,
};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::command::{Command, CommandBody, Entry};

use super::Asker;
use crate::check::{self, Rows};
use crate::lab::system;

/// Entries in flight before commands wait for the next one.
const ENTRIES_IN_FLIGHT_MAX: usize = 2;
/// The state is looked at whole after each so many entries.
const WHOLE_EVERY: u64 = 16;

/// The engine with its rows, checked after every entry.
#[derive(Default)]
pub(super) struct EngineMachine {
    engine: Engine,
    rows: Rows,
    fence: u64,
}

impl StateMachine for EngineMachine {
    type Reply = Vec<Outcome>;
    type Event = Event;

    fn apply(
        &mut self,
        entry: EntryMeta,
        data: &[u8],
    ) -> Result<Applied<Self::Reply, Self::Event>, UnreadableEntry> {
        let decoded = Entry::from_bytes(data).expect("an entry that was proposed here");
        let applied = self.engine.apply(entry.index, &decoded);
        self.rows.write(&applied.rows);
        let state = check::state(&self.engine, &self.rows, &mut self.fence);
        let whole = match entry.index % WHOLE_EVERY {
            0 => check::whole(&self.engine, &self.rows),
            _ => Ok(()),
        };
        if let Err(why) = state.and(whole) {
            panic!("after entry {} ({:?}): {why}", entry.index, decoded.commands);
        }
        let rows = RowBatch { changes: applied.rows };
        Ok(Applied { rows, reply: applied.outcomes, events: applied.events })
    }

    fn restore(&mut self, _applied: EntryMeta, rows: RowIter) -> Result<(), RestoreError> {
        self.rows = Rows(rows.collect());
        self.engine = self.rows.engine();
        Ok(())
    }

    fn hash(&self) -> u128 {
        self.engine.hash()
    }
}

pub(super) struct Owner {
    pub(super) replica: Replica<EngineMachine>,
    /// Cluster time and boot time at the same moment.
    base: (u64, u64),
    queue: Vec<(Command, Asker)>,
    waiting: BTreeMap<Waiter, Vec<Asker>>,
    next: u64,
}

impl Owner {
    pub(super) fn new(replica: Replica<EngineMachine>, now: u64) -> Self {
        let cluster_now = replica.state_machine().engine.now().0;
        Self { replica, base: (cluster_now, now), queue: Vec::new(), waiting: BTreeMap::new(), next: 1 }
    }

    pub(super) fn rows(&self) -> &Rows {
        &self.replica.state_machine().rows
    }

    fn cluster_now(&self, now: u64) -> u64 {
        (self.base.0 + now - self.base.1).max(self.replica.state_machine().engine.now().0)
    }

    pub(super) fn wall(&self, now: u64) -> i64 {
        let engine = &self.replica.state_machine().engine;
        let ahead = self.cluster_now(now) - engine.now().0;
        engine.wall().0 + i64::try_from(ahead).expect("a short time")
    }

    pub(super) fn take(&mut self, command: Command, asker: Asker) {
        self.queue.push((command, asker));
    }

    fn leads(&self) -> bool {
        matches!(self.replica.role().role, Role::Leader { ready: true })
    }

    /// Time that is due, and the settle queue.
    pub(super) fn own_commands(&mut self, now: u64) {
        if !self.leads() || !self.waiting.is_empty() {
            return;
        }
        let cluster_now = Timestamp(self.cluster_now(now));
        let engine = &self.replica.state_machine().engine;
        if engine.next_timer().is_some_and(|timer| timer <= cluster_now) {
            self.queue.push((system(CommandBody::Advance), Asker::Internal));
        }
        if self.replica.state_machine().engine.settle_queue_len() > 0 {
            self.queue.push((system(CommandBody::Settle), Asker::Internal));
        }
    }

    /// The next entry, when few enough are in flight.
    pub(super) fn next_proposal(&mut self, now: u64) -> Option<Input> {
        if self.queue.is_empty() || self.waiting.len() >= ENTRIES_IN_FLIGHT_MAX {
            return None;
        }
        let (commands, askers) = std::mem::take(&mut self.queue).into_iter().unzip();
        let entry = Entry { now_ms: self.cluster_now(now), commands };
        let waiter = Waiter(self.next);
        self.next += 1;
        self.waiting.insert(waiter, askers);
        Some(Input::Propose { waiter, data: Bytes::from(entry.to_bytes()) })
    }

    pub(super) fn answered(&mut self, waiter: Waiter) -> Vec<Asker> {
        self.waiting.remove(&waiter).unwrap_or_default()
    }

    /// When a timer of the state is due, on the world's clock.
    pub(super) fn next_timer(&self, now: u64) -> Option<u64> {
        let timer = self.replica.state_machine().engine.next_timer()?;
        Some(now + timer.0.saturating_sub(self.cluster_now(now)))
    }

    pub(super) fn live_runs(&self) -> Vec<(String, String)> {
        let all = query::runs(self.rows(), None, usize::MAX).runs;
        let live = |status: &str| Status::from_name(status).is_some_and(|status| !status.is_done());
        all.into_iter().filter(|run| live(&run.status)).map(|run| (run.run, run.status)).collect()
    }
}
