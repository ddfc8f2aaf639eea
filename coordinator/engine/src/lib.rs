//! The replicated state machine and scheduler in one. Pure.
//!
//! [`Engine::apply`] takes an entry of the log: it advances time, runs timers that are due, then the entry's
//! commands in order. Each command changes the state or is refused with a code, and queues the runs that it
//! may have unblocked; `settle` then moves every queued run as far as it can go. The same entries give the same
//! state, rows and outcomes on every replica.
//!
//! Invariants:
//! - an installation has at most one live assignment, and every assignment a larger fence than all before;
//! - a stage that is neither done nor running has a reason, a code with parameters: sentences are made by
//!   `trimaran-query`;
//! - when the settle queue is empty, settling any run changes nothing ([`Engine::check_quiescent`]);
//! - reloading the rows gives the same state and hash.
//!
//! Deliberately not here: the log (`trimaran-replica`), rows on disk (`trimaran-store`), sessions, clocks, the
//! pipeline language, documents and sentences (`trimaran-query`), plans (`trimaran-planner`). What `apply` may read is in memory; audit records and old runs are cold rows that only
//! queries read.
#![forbid(unsafe_code)]
// A state or command that joins is decided on in each place that knows all of them.
#![warn(clippy::wildcard_enum_match_arm)]

#[macro_use(mutant)]
extern crate trimaran_model;

mod audit;
mod command;
mod contents;
mod engine;
mod event;
mod idempotency;
#[cfg(feature = "mutants")]
pub mod mutant;
mod new_run;
mod refusal;
mod revocation;
pub mod rows;
mod settle;
pub mod state;
mod table;
mod timer;
mod transaction;

pub use engine::{Applied, Engine};
pub use event::{AgentState, Event};
pub use refusal::Refusal;
pub use settle::wave_sizes;
pub use state::LoadError;
pub use state::request::Outcome;
pub use table::{Row, RowChange, full_key};
