//! One host with real processes: the `trimaran-agent` of this build, a real disk, a real service.
//!
//! Needs `cargo build -p trimaran-agent`, which `make test` does first.
#![allow(clippy::disallowed_methods, reason = "tests with real processes")]

mod boot;
mod commands;
mod epochs;
mod host;
mod kill;
mod lab;
mod lifecycle;
mod obstacles;
mod runner;
mod users;
