//! The brain of an agent without I/O: journal, fences, sessions as leases and the loop over drivers.
//!
//! [`Executor`] takes inputs with the time at which they came and answers with outputs; the daemon performs
//! them. Time is the machine's boot-time clock: it does not jump, and it advances while a process is paused.
//!
//! Architecture invariants:
//! - nothing acts for an assignment before the assignment and its fence are durable;
//! - a fence that is not larger than the largest one journaled for its installation starts nothing, also after
//!   the assignment was forgotten;
//! - what follows a driver's `Persist` leaves only as an output of `Written`, so no wiring can do it early;
//! - an unguarded call leaves only while an answered ping was sent less than `limits::LEASE` ago;
//! - a result is repeated until it is answered, and what it belongs to is kept as long;
//! - each target has a semaphore, a queue and deadlines of its own: one that hangs delays no other;
//! - a call waits until the settings of its target are known, which are in the journal from then on;
//! - a superseded assignment ends at a safe point within a bound, and the next one finds its phase.
//!
//! Deliberately not here: platforms (each is a [`driver::Driver`]), files and sockets (the daemon).
#![forbid(unsafe_code)]

#[macro_use(mutant)]
extern crate trimaran_model;

pub mod both;
mod calls;
pub mod driver;
mod effects;
mod executor;
mod io;
pub mod journal;
mod lease;
#[cfg(feature = "mutants")]
pub mod mutant;
mod orders;
mod outbox;
pub mod platform;
mod restore;
mod task;
pub mod unsupported;

pub use executor::Executor;
pub use io::{Input, Output, Refused};
pub use lease::{Ownership, Permit};
pub use restore::RestoreError;
