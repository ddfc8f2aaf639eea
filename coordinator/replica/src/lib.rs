//! A replica: the sans-I/O driver around `raft::RawNode`.
//!
//! [`Replica::step`] takes one [`Input`] and appends [`Output`]s; [`Replica::next_deadline`] says when to call
//! again without one. One owner thread runs it; a writer performs the [`WriteJob`]s in order and answers each
//! with [`Input::Written`]; a transport carries the messages.
//!
//! Architecture invariants
//! - The only user of the crate `raft`. No clock, entropy, thread, file or socket: `now` is an argument.
//! - A message that must follow a persist leaves `step` only as an output of `Written`, and so does every
//!   reply to a proposal on a single voter: no wiring can send them early.
//! - The whole uncompacted log is in memory ([`log`]): raft never waits for a disk and never sees one fail.
//! - `last >= commit >= applied`; a log is cut only below a snapshot position that is synced.
//! - The same inputs at the same times give the same outputs.
//!
//! Deliberately not here: what entries mean ([`StateMachine`] does), how bytes reach a disk (`trimaran-store`) or a
//! peer (`trimaran-transport`), and when a member may be added (`trimaran-coordinator`).
#![forbid(unsafe_code)]

#[macro_use(mutant)]
extern crate trimaran_model;

#[expect(
    clippy::field_reassign_with_default,
    reason = "generated structs have bookkeeping fields to leave alone"
)]
mod convert;
mod inflight;
pub mod io;
pub mod log;
mod members;
pub mod memory;
#[cfg(feature = "mutants")]
pub mod mutant;
mod proposals;
mod reads;
mod ready;
pub mod replica;
pub mod settings;
mod snapshot_state;
mod snapshots;
pub mod staging;
pub mod state_machine;
pub mod survivor;
mod transfer;
mod unconfirmed;
pub mod write_group;

pub use io::{
    Answer, Busy, Class, Fatal, Input, InstallJob, LogPosition, MemberChange, MembersRefusal, Output, Role,
    RoleChange, Waiter, WriteJob, Written,
};
pub use log::{Loaded, LogError};
pub use replica::{Replica, StartError, Status};
pub use settings::Settings;
pub use state_machine::{
    Applied, EntryMeta, RestoreError, Row, RowBatch, RowIter, StateMachine, UnreadableEntry,
};
pub use write_group::WriteGroup;
