//! Applying entries.

use trimaran_model::error_code;
use trimaran_model::id::Identity;
use trimaran_model::time::{Millis, Timestamp, WallTime};
use trimaran_wire::v1::command::{Command, Entry};

use crate::alarm;
use crate::command;
use crate::event::Event;
use crate::idempotency::{self, Outcome, Rejection};
use crate::settle;
use crate::state::{LoadError, State, run_name};
use crate::table::RowChange;
use crate::timer;
use crate::transaction::{Undone, attempt};

/// After a defect in a timer, the timers are tried again so much later.
const TIMERS_AGAIN: Millis = Millis::minutes(1);

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
        engine.next_timer = timer::next(&engine.state);
        Ok(engine)
    }

    /// Applies the entry at `index`.
    pub fn apply(&mut self, index: u64, entry: &Entry) -> Applied {
        self.state.revision = index;
        if entry.now_ms > self.state.now().0 {
            self.state.set_meta(|meta| meta.now_at = entry.now_ms);
        }
        let timers = self.guarded(|state| {
            timer::run(state);
            Ok(Outcome::Nothing)
        });
        idempotency::expire(&mut self.state, entry.commands.len());
        let outcomes = entry.commands.iter().map(|command| self.command(command)).collect();
        settle::drain(&mut self.state);
        let rows = self.state.drain(&mut self.hash);
        self.next_timer = match timers {
            Outcome::Rejected(_) => Some(self.state.now() + TIMERS_AGAIN),
            _ => timer::next(&self.state),
        };
        Applied { outcomes, events: std::mem::take(&mut self.state.events), rows }
    }

    fn command(&mut self, command: &Command) -> Outcome {
        if let Some(request) = &command.request
            && let Some(outcome) = idempotency::earlier(&self.state, &command.identity, request)
        {
            return outcome;
        }
        let identity = match Identity::try_from(command.identity.clone()) {
            Ok(identity) => identity,
            Err(error) => {
                return Outcome::Rejected(Rejection { code: error_code::BUG, message: error.to_string() });
            }
        };
        let outcome = self.guarded(|state| command::run(state, &identity, &command.body));
        command::audit(&mut self.state, &identity, &command.body, &outcome);
        if let Some(request) = &command.request {
            idempotency::remember(&mut self.state, &command.identity, request, &outcome);
        }
        outcome
    }

    /// Runs a change; a refusal or a defect takes back what it did.
    fn guarded(&mut self, change: impl FnOnce(&mut State) -> Result<Outcome, Rejection>) -> Outcome {
        match attempt(&mut self.state, change) {
            Ok(outcome) => outcome,
            Err(Undone::Refused(rejection)) => Outcome::Rejected(rejection),
            Err(Undone::Panicked) => {
                let revision = self.state.revision;
                let message =
                    format!("a defect stopped a command at revision {revision}; nothing was changed");
                self.state.raise_alarm(alarm::CLUSTER, alarm::BUG, &message);
                Outcome::Rejected(Rejection { code: error_code::BUG, message })
            }
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
        self.state.meta().cluster
    }

    /// SHA-256 of every revoked public key.
    pub fn revoked(&self) -> Vec<[u8; 32]> {
        self.state.revoked.iter().map(|revoked| revoked.key).collect()
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
                return Err(format!("{} would move", run_name(&run)));
            }
        }
        Ok(())
    }
}
