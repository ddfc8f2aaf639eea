//! What tests of several crates share and what needs no cluster: the form of help texts, pages whose blocks are
//! tested, and waiting with a bound.
//!
//! Deliberately not here: processes of the product and artifacts for them, which are in `tests/e2e`.
#![allow(clippy::disallowed_methods, reason = "tests read files and clocks")]

pub mod docs;
pub mod help;
pub mod wait;
