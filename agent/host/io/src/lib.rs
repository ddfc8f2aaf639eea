//! What a runner does on its host: archives, downloads, the shim of a service and its log files.
#![allow(clippy::disallowed_methods, reason = "this crate is the I/O of a host: files, clocks and processes")]

pub mod archive;
pub mod disk;
pub mod fetch;
