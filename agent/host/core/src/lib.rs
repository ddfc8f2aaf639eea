//! Hosts without I/O: how a fleet of them is worked through, and how one of them gets a release.
//!
//! `fleet` is the machine of an agent for one assignment; `host` is the machine of one host, which drives its own
//! steps and takes goals by their fence.
//! Deliberately not here: processes, files, probes and sockets (`trimaran-host`), sessions (the daemon).
#![forbid(unsafe_code)]

pub mod fleet;
pub mod host;
