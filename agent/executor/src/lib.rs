//! The brain of an agent without I/O: journal, fences, sessions as leases and the loop over drivers.
#![forbid(unsafe_code)]

pub mod driver;
