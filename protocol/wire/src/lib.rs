//! Bytes: frames, versioned envelopes and the frozen structs that are stored and sent.
//!
//! Architecture invariant: the only user of bincode. Positions are the schema, so a shipped struct is never
//! edited: a change is a new version and a conversion. Shipped types use bool, integers, `[u8; N]`, String,
//! Vec, Option, BTreeMap, tuples, structs and enums only; no floats.
//!
//! Deliberately not here: sockets (`trimaran-transport`), files and RocksDB (`trimaran-store`), and what the
//! values mean (`trimaran-model`). JSON documents for people's programs are in [`document`]: they describe
//! themselves, and fields may be added.
#![forbid(unsafe_code)]

pub mod backup;
pub mod codec;
pub mod document;
pub mod frame;
pub mod raft;
pub mod snapshot;
pub mod v1;
