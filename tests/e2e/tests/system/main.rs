//! The whole system with real processes, seen from outside: what users and their scripts see, nothing else.
#![allow(clippy::disallowed_methods, reason = "a test of processes starts processes and reads clocks")]

mod clocks;
mod copies;
mod crash;
mod hostile;
mod on_call;
mod pages;
mod pauses;
mod reads;
mod refusals;
mod requests;
mod rollback;
mod truth;
