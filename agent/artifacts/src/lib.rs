//! What releases are made of, as verified files of this machine: artifacts from their servers, and releases with what they
//! name by digest from the coordinators, in a durable store by digest.
//!
//! Architecture invariants:
//! - a file has its name, its digest, only when its bytes are whole, durable and have that digest;
//! - what is there is hashed again before it is used, so a spoiled file is fetched again;
//! - what a goal or a rollback needs is there before it is needed ([`Artifacts::keep`]), so that it needs neither a
//!   coordinator nor an artifact's server; after the loss of the directory it comes again.
//!
//! Deliberately not here: unpacking (`trimaran-host`), and which releases are needed (the agent's loop).
#![allow(clippy::disallowed_methods, reason = "this crate is I/O: files, clocks and downloads")]

pub mod blocking;
mod coordinators;
pub mod disk;
pub mod fetch;
mod store;

pub use coordinators::{AskError, Coordinators};
pub use fetch::FetchError;
pub use store::{Artifacts, Needed, Stored};
