//! One installation on one host: a state machine that brings a release to run, watches it, and rolls back
//! automatically.
//!
//! The machine has two regions. The *goal* ([`Step`]) walks from an accepted order to its end: fetch, unpack,
//! stop, switch, start, verify, commit, or a rollback to the last release that was verified here. Around stop and start it
//! does what the release asks for (`lifecycle`). The
//! *service* is what should run now: it is probed, restarted by its policy, and reported degraded or healthy.
//! Only while the goal changes the service is it left alone.
//!
//! Invariants:
//! - What it is about to do is persisted before it is done; a start has a number of its own, so that a
//!   repetition is the same start.
//! - After a crash or a lost answer it inspects first. Process identity counts more than the `current` link,
//!   and the link more than the journal.
//! - Health that was not watched is never counted. Time is the host's boot-time clock, so no change of the
//!   wall clock has an influence.
//! - A rollback needs no download and is verified as a deploy is.
//!
//! Deliberately not here: files, processes, probes (`trimaran-host`), and which host is next (`fleet`).

mod abort;
mod admission;
mod call;
mod cutover;
mod driver;
mod epoch;
mod goal;
mod health;
mod journal;
mod lifecycle;
mod phase;
mod reconcile;
mod report;
mod service;

pub use admission::{Admission, admit};
pub use call::{
    CacheRetention, Call, Errand, Exit, HostFailure, Launch, Observation, ProcessObservation, ProcessStatus,
    Query, Reply, Snapshot, StoredRelease,
};
pub use driver::HostMachine;
pub use epoch::{EpochRefusal, SeenCluster};
pub use journal::{Journal, Part, Step, host_release};
pub use phase::Phase;

/// An effect of the machine.
pub type HostEffect = trimaran_agent_core::driver::EffectOf<HostMachine>;
