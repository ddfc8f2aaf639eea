//! A typed client of the operator protocol: contexts, sessions that move to the next endpoint, documents.
//!
//! Every request is safe to repeat: reads by nature, changes by their request id, so a lost connection is
//! retried on the next endpoint until the deadline. Deliberately not here: terminals, flags and tables.
#![allow(clippy::disallowed_methods, reason = "a client reads its configuration and the clock")]

pub mod client;
pub mod config;
pub mod enroll;
mod error;
mod ground;
mod token;

pub use error::ClientError;
pub use ground::install_crypto;
