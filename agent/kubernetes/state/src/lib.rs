//! The state of an agent that has no disk of its own: identity and journal in Secrets, and a Lease that one process
//! holds at a time.
//!
//! | object, all in one namespace | what is in it |
//! |---|---|
//! | Secret `NAME` | the head: a manifest, the identity, and the end of the journal |
//! | Secrets `NAME-00` to `NAME-31` | segments: earlier parts of the journal, which the manifest names with their digests |
//! | Lease `NAME` | who works with the state, renewed every two seconds |
//!
//! Architecture invariants:
//! - every change of the state is one write of the head, and names the version of the head that it follows: of two
//!   processes that write, one finds another version and stops ("fenced"). The Lease only keeps two from trying;
//! - a segment that the head names is never written again: a write of the head decides at once over everything that belongs
//!   to it;
//! - a write whose answer did not come is read before it is tried again: it is neither lost nor done twice;
//! - a process acts only while it holds the Lease by its own clock, and ends that earlier than another one takes it over;
//! - values of Secrets are in no error and in no log.
//!
//! The server compares `metadata.resourceVersion` of a merge patch with the object's and answers 409 where they differ
//! (Kubernetes API conventions, "Concurrency Control and Consistency"). The Lease is used as client-go's leader election does.
//!
//! Deliberately not here: what identity and journal mean (the daemon), and targets of Kubernetes (`trimaran-kubernetes`).
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "this crate talks to an API server and waits for it")]

mod api;
mod client;
mod election;
mod hold;
mod manifest;
mod store;

// Whose version the requests are made for is chosen by a feature, once for the program.
use k8s_openapi as _;

pub use api::{ApiError, Changes, Data, LeaseRecord, Leases, Secrets, Stored, Version};
pub use client::{Access, Client};
pub use hold::{Hold, HoldError};
pub use manifest::Values;
pub use store::{Opened, StateError, Store};
pub use trimaran_kubernetes_core::state_name::StateName;
