//! What decides on hosts, without I/O: the fleet loop of an agent and the state machine of one host.
#![forbid(unsafe_code)]

pub mod host;
