//! Jobs on Flink without I/O: how one is deployed, upgraded with its state, judged, and brought back.
//!
//! [`machine::Flink`] is the driver. What it asks for are [`call::Call`]s; `rest` turns them into requests of Flink's REST
//! API and its answers into replies, so that everything that can be wrong about an answer is decided here and can be
//! tested without a socket. `health` judges, `restore` chooses a state and says what it costs, `preflight` compares a new
//! version with what runs.
//!
//! The words are Flink's: a job is a run of a program under an id, a savepoint is a state that a user asked for and owns, a
//! checkpoint is one that Flink makes and deletes, a trigger is one request for a savepoint.
//!
//! Deliberately not here: sockets, jars and directories (`trimaran-flink`), periodic savepoints and their deletion.
#![forbid(unsafe_code)]

pub mod call;
pub mod files;
pub mod health;
pub mod id;
pub mod journal;
pub mod ledger;
pub mod machine;
pub mod preflight;
pub mod rest;
pub mod restore;
pub mod standing;
pub mod storage;
