//! The vocabulary of Trimaran: typed ids, times, the pipeline graph, releases, run states, verdicts,
//! reasons, limits and error codes. Everything else is written in these words.
//!
//! Architecture invariant: plain data and total functions on it. No clock, randomness, files, sockets,
//! tokio or serde. Model types are neither stored nor sent as they are: `trimaran-wire` has a frozen
//! struct and a conversion for each that travels.
//!
//! Deliberately not here: how a pipeline file is read (`trimaran-language`), how a run moves
//! (`trimaran-engine`), how bytes look (`trimaran-wire`).
#![forbid(unsafe_code)]

pub mod action;
pub mod amount;
pub mod assignment;
pub mod error_code;
pub mod event;
pub mod feature_level;
pub mod field_words;
pub mod hash;
pub mod id;
pub mod limits;
pub mod mutant;
pub mod pipeline;
pub mod plan;
pub mod reason;
pub mod release;
pub mod report;
pub mod run;
pub mod target;
pub mod text;
pub mod time;
pub mod verdict;
pub mod why;
