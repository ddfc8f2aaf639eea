//! Applying entries.

use trimaran_model::id::{Epoch, Identity, Revision};
use trimaran_model::time::{Millis, Timestamp, WallTime};
use trimaran_wire::v1::command::{Command, Entry};

use crate::command;
use crate::event::Event;
use crate::idempotency;
use crate::refusal::Refusal;
use crate::revocation;
use crate::rows::{COLD_TABLES_FROM, cold};
use crate::settle;
use crate::state::cluster::{ALARM_BUG, AlarmDetail, AlarmSubject, Member};
use crate::state::request::Outcome;
use crate::state::token::Revoked;
use crate::state::{LoadError, State};
use crate::table::{RowChange, row_hash};
use crate::timer;
use crate::transaction::{Undone, attempt};

/// After a defect in a timer, the timers are tried again so much later.
const TIMERS_RETRY_DELAY: Millis = Millis::minutes(1);

/// The state machine.
#[derive(Debug, Clone, Default)]
pub struct Engine {
    state: State,
    hash: u128,
    next_timer: Option<Timestamp>,
}

/// What applying an entry gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// One a command, in order.
    pub outcomes: Vec<Outcome>,
    pub events: Vec<Event>,
    /// Changed rows in order.
    pub rows: Vec<RowChange>,
}

impl Engine {
    /// The state of a cluster that does not exist yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The state that these rows hold. Cold rows are passed over.
    pub fn from_rows(rows: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> Result<Self, LoadError> {
        let mut engine = Self::default();
        for (key, value) in rows {
            let number = *key.first().ok_or(LoadError::Empty)?;
            engine.state.load(number, &value, &mut engine.hash)?;
        }
        idempotency::index(&mut engine.state);
        engine.next_timer = timer::next(&engine.state);
        Ok(engine)
    }

    /// Whether a stored row can be read. A start reads the hot ones alone; whoever checks a store reads all.
    ///
    /// # Errors
    /// Of a row without a table, of a table that this build does not know, and of bytes that are no row of theirs.
    pub fn check_row(key: &[u8], value: &[u8]) -> Result<(), LoadError> {
        let table = *key.first().ok_or(LoadError::Empty)?;
        match cold::check(table, value) {
            Some(checked) => checked.map_err(|source| LoadError::Row { table, source }),
            None => State::default().load(table, value, &mut 0),
        }
    }

    /// Whether this build knows the table of a stored row.
    ///
    /// # Errors
    /// When it does not, and of a row without a table.
    pub fn check_table(key: &[u8]) -> Result<(), LoadError> {
        let table = *key.first().ok_or(LoadError::Empty)?;
        match State::default().load(table, &[], &mut 0) {
            Err(error @ LoadError::Table { .. }) => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Applies the entry at `index`.
    pub fn apply(&mut self, index: u64, entry: &Entry) -> Applied {
        self.state.revision = Revision(index);
        let now = Timestamp(entry.now_ms);
        if now > self.state.now() {
            self.state.set_cluster(|cluster| cluster.now = now);
        }
        let timers = self.guarded(|state| {
            timer::run(state);
            Ok(Outcome::Nothing)
        });
        let timers_failed = matches!(timers, Outcome::Refused(_));
        idempotency::expire(&mut self.state, entry.commands.len());
        revocation::expire(&mut self.state, entry.commands.len());
        let outcomes = entry.commands.iter().map(|command| self.command(command)).collect();
        settle::drain(&mut self.state);
        self.state.announce_standing();
        let rows = self.state.drain(&mut self.hash);
        self.next_timer = match timers_failed {
            true => Some(self.state.now() + TIMERS_RETRY_DELAY),
            false => timer::next(&self.state),
        };
        Applied { outcomes, events: std::mem::take(&mut self.state.events), rows }
    }

    fn command(&mut self, command: &Command) -> Outcome {
        let Ok(identity) = Identity::try_from(command.identity.clone()) else {
            return Outcome::Refused(Refusal::Malformed);
        };
        if let Some(request) = &command.request
            && let Some(outcome) =
                idempotency::earlier(&self.state, &identity, request, command.body.has_reserve())
        {
            return outcome;
        }
        let outcome = self.guarded(|state| command::run(state, &identity, &command.body));
        command::audit(&mut self.state, &identity, &command.body, &outcome);
        if let Some(request) = &command.request {
            idempotency::remember(&mut self.state, &identity, request, &outcome);
        }
        outcome
    }

    /// Runs a change; a refusal, a defect or a row that is too large undoes what it did.
    fn guarded(&mut self, change: impl FnOnce(&mut State) -> Result<Outcome, Refusal>) -> Outcome {
        match attempt(&mut self.state, change) {
            Ok(outcome) => outcome,
            Err(Undone::Refused(refusal)) => Outcome::Refused(refusal),
            Err(Undone::TooLarge { table, bytes }) => {
                Outcome::Refused(Refusal::RowTooLarge { table, bytes: bytes as u64 })
            }
            Err(Undone::Panicked) => {
                let revision = self.state.revision.0;
                let detail = AlarmDetail::CommandBug { revision };
                self.state.raise_alarm(AlarmSubject::Cluster, ALARM_BUG, detail);
                Outcome::Refused(Refusal::Bug { revision })
            }
        }
    }

    /// What a stored row adds to [`Self::hash`], which is the sum over all of them; nothing where only queries read it.
    pub fn row_hash(key: &[u8], value: &[u8]) -> u128 {
        match key.first() {
            Some(table) if *table < COLD_TABLES_FROM => u128::from(row_hash(key, value)),
            Some(_) | None => 0,
        }
    }

    /// Hash of the rows in memory: equal on every replica at the same index, and after a reload.
    pub fn hash(&self) -> u128 {
        self.hash
    }

    /// When an entry that only advances time is due.
    pub fn next_timer(&self) -> Option<Timestamp> {
        self.next_timer
    }

    /// Runs that wait for an entry to be settled in.
    pub fn settle_queue_len(&self) -> usize {
        self.state.settle.len()
    }

    pub fn now(&self) -> Timestamp {
        self.state.now()
    }

    pub fn wall(&self) -> WallTime {
        self.state.wall()
    }

    pub fn cluster(&self) -> String {
        self.state.cluster().name
    }

    /// The cluster's feature level.
    pub fn level(&self) -> u16 {
        self.state.level()
    }

    /// The cluster's epoch, and the incarnation that has it.
    pub fn epoch(&self) -> (Epoch, u64) {
        let cluster = self.state.cluster();
        (cluster.epoch, cluster.incarnation)
    }

    /// Every public key that is refused.
    pub fn revoked(&self) -> impl Iterator<Item = &Revoked> {
        self.state.revoked.iter()
    }

    /// Every coordinator that is or was a member.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.state.members.iter()
    }

    pub fn member(&self, raft_id: u64) -> Option<&Member> {
        self.state.members.get(&raft_id)
    }

    /// Compares the indexes with ones that are made anew: `Err` names a table whose index is wrong.
    pub fn check_indexes(&self) -> Result<(), String> {
        match self.state.wrong_index() {
            Some(table) => Err(format!("the index of `{table}` is not the one that its rows make")),
            None => Ok(()),
        }
    }

    /// Settles every run on a copy: `Err` names one that would still move although the queue is empty.
    pub fn check_quiescent(&self) -> Result<(), String> {
        if !self.state.settle.is_empty() {
            return Ok(());
        }
        let runs: Vec<_> = self.state.live_runs().map(|run| run.id.clone()).collect();
        let mut copy = self.state.clone();
        for run in runs {
            settle::settle(&mut copy, &run);
            if copy.has_changed() {
                return Err(format!("{run} would move"));
            }
        }
        Ok(())
    }
}
