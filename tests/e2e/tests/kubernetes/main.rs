//! Deploys to a real cluster by the real programs: the agent has the rights that `trimaran target rbac` prints and none
//! besides.
#![allow(clippy::disallowed_methods, reason = "a test of processes starts processes and reads clocks")]

mod access;
mod adoption;
mod deploys;
mod faults;
mod page;
mod pod;
mod refusals;
mod secrets;
mod shop;
mod state;
mod takeover;
mod traffic;
