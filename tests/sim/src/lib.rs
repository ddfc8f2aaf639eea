//! The engine and the core of a coordinator under test: a laboratory that applies commands and checks after each entry
//! what must always hold, short descriptions of pipelines and targets, seeded numbers, and a world in which the member
//! that the server runs works behind a disk and a clock with faults.
//!
//! Every run of the world is reproduced from its seed; defects that can be switched on ([`mutants`]) must be found.
//! A world is one of four: one coordinator with an agent that is a script, which is short and full of crashes; one
//! coordinator with the agent and the hosts as they run ([`world::World::whole`]); three coordinators and the script; three
//! coordinators with the agent and the hosts as they run ([`cluster::Cluster::whole`]).
//!
//! Deliberately not here: the store and the transport, whose places a model takes, and platforms other than hosts. Operators
//! are scripts.
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
