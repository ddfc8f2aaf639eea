//! The engine under test: a laboratory that applies commands and checks after each entry what must always hold,
//! short descriptions of pipelines and targets, seeded numbers, and a world in which the engine runs behind
//! real replicas with crashes and slow disks.
//!
//! Deliberately not here: the store, the network between processes, agents' own machinery. Agents and operators
//! of the worlds are scripts.
#![forbid(unsafe_code)]

pub mod check;
pub mod lab;
pub mod plan;
pub mod random;
pub mod world;
