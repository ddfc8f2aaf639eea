//! Kubernetes without a cluster: verdicts from evidence, and configuration that is versioned by content.
//!
//! Everything here is a function of JSON values and a time. Deliberately not here: files, YAML positions,
//! clients and watches.
#![forbid(unsafe_code)]

pub mod config;
pub mod custom;
pub mod finding;
mod identity;
pub mod judgment;
pub mod lint;
pub mod list;
pub mod object;
mod path;
pub mod quota;
pub mod rights;
pub mod snapshot;
pub mod state_name;
pub mod verdict;
mod walk;
