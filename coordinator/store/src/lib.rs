//! Rows, log and snapshots of a coordinator in one RocksDB.
//!
//! | column family | key | value |
//! |---|---|---|
//! | `log` | index, u64 big-endian | framed `raft::Entry` (a checksum of its own) |
//! | `rows`, later `rows.N` | the state machine's | the state machine's |
//! | `meta` | a name | framed: identity, hard state, members, applied, snapshot position, cut of the log, generation `N` |
//!
//! Architecture invariants
//! - The only user of RocksDB. Every write after the start goes through one [`writer`] thread, in order.
//! - One WAL for all column families: what survives a crash is a prefix of the written groups, so rows never
//!   outlive the entries they came from, nor a cut of the log the snapshot position it relies on.
//! - Rows of a leader's snapshot are another generation, whole and synced before one write switches to it.
//! - A group is synced (fdatasync) when it holds entries, a vote, or a snapshot position; nothing is retried after
//!   a failed write or sync.
//! - A log that is not whole stops the start with an error that says what to do. It is never shortened.
//!
//! Deliberately not here: what rows mean, when to write (`trimaran-replica`), and moving files to peers.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "files and a writer thread are what this crate is for")]

pub mod disk;
mod meta;
pub mod snapshot;
mod store;
mod verify;
mod view;
mod wal;
pub mod writer;

pub use disk::{Ballast, DiskSpace};
pub use store::{
    InitError, LoadError, OpenError, Options, Restore, StageError, StagedRows, Store, WriteError,
};
pub use verify::Verified;
pub use view::{ReadError, ReadView};
pub use writer::{SubmitError, Writer, WriterEvent, WriterHandle, WriterStats};
