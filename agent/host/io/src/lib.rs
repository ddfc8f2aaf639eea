//! One host: what runs the machine of `trimaran-host-core` on a real disk and real processes.
//!
//! Entry points: [`Host`] for a runner and for commands by hand, [`shim::main`] for the process that holds one
//! service. The rest is the ground they stand on: archives, downloads, releases on disk, probes, log files.
//!
//! Deliberately not here: decisions (the core), the fleet, and sessions with an agent.
#![allow(clippy::disallowed_methods, reason = "this crate is the I/O of a host: files, clocks and processes")]

mod account;
mod answers;
pub mod archive;
mod calls;
mod environment;
mod errand;
mod executable;
pub mod filesystem;
mod helper;
mod host;
mod host_identity;
mod inspect;
pub mod lock;
pub mod logs;
mod platform;
pub mod ports;
pub mod probe;
mod provision;
mod reports;
mod seen_cluster;
mod shared;
pub mod shim;
pub mod store;
mod worker;

use trimaran_artifacts::blocking;
pub use trimaran_artifacts::{disk, fetch};

pub use host::{Host, OpenError, installations, output_files};
pub use host_identity::{HostIdentity, HostSettings};
pub use inspect::{Inspection, StopAllError, inspect, stop_all};
pub use worker::{GoalRefused, InstallationView};
