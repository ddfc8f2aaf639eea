//! What tests of several crates share and what needs no cluster: the form of help texts, pages whose blocks are
//! tested, waiting with a bound, small file systems, and what the day draws.
//!
//! Deliberately not here: processes of the product and artifacts for them, which are in `tests/e2e`.
#![allow(clippy::disallowed_methods, reason = "tests read files, clocks and their environment")]

pub mod docs;
pub mod help;
pub mod seed;
pub mod tmpfs;
pub mod wait;
