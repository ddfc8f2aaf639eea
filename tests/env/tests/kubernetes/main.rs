//! Real clusters: what goes wrong there is seen and named in seconds, deploys end and go back, and clusters can be cut off
//! one by one.
#![allow(clippy::disallowed_methods, reason = "tests read clocks")]

mod adjust;
mod api;
mod deploys;
mod orders;
mod partitions;
mod verdicts;
