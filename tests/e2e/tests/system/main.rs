//! The whole system with real processes, seen from outside: what users and their scripts see, nothing else.
#![allow(clippy::disallowed_methods, reason = "a test of processes starts processes and reads clocks")]

mod clocks;
mod coordinators;
mod copies;
mod crash;
mod fleet;
mod hostile;
mod hostile_runner;
mod manifests;
mod many_machines;
mod mistakes;
mod on_call;
mod pages;
mod pauses;
mod reads;
mod refusals;
mod requests;
mod rollback;
mod terminal;
mod truth;
