//! The engine and the core of a coordinator under test: a laboratory that applies commands and checks after each entry
//! what must always hold, short descriptions of pipelines and targets, seeded numbers, and a world in which the member
//! that the server runs works behind a disk and a clock with faults.
//!
//! Every run of the world is reproduced from its seed; defects that can be switched on ([`mutants`]) must be found.
//!
//! Deliberately not here: the store, the network between processes, agents' own machinery. Agents and operators
//! of the worlds are scripts.
#![forbid(unsafe_code)]

pub mod check;
pub mod cluster;
pub mod lab;
pub mod mutants;
pub mod plan;
pub mod play;
pub mod random;
pub mod trace;
pub mod world;
