//! The sans-I/O core of one coordinator: what the server's threads and the simulator both run.
//!
//! [`Member::step`] takes one [`Input`] and appends [`Output`]s; [`Member::next_deadline`] says when to call
//! again without one. It owns the replica and with it the state: cluster time and wall time, the commands that
//! wait for an entry, who waits for which answer, and the commands that a leader adds on its own. With other members it
//! passes commands and reads on to the leader, once, and knows since when it was sure of a quorum.
//!
//! Beside it are the cores of what a coordinator does with what its member applied: [`agent_session`] is the session of one
//! agent, which proposes to the member; [`attachments`] which session of an agent is the one that counts; [`Wakeups`] whom an
//! entry concerns; [`event_log`] what watchers get; [`expected_agents`] which agents no coordinator serves any more.
//!
//! Architecture invariants
//! - No clock, entropy, thread, file or socket: boot time and wall time are arguments.
//! - An answer leaves as an output of the step in which the replica gives it, never before.
//! - Cluster time never goes back, and grows by boot time alone ([`cluster_time`]).
//! - Every command and read that was accepted is answered once: at the latest by [`Input::Shutdown`].
//! - The same inputs at the same times give the same outputs.
//!
//! Deliberately not here: what commands mean (`trimaran-engine`), how entries are replicated (`trimaran-replica`),
//! threads, channels and sockets (`trimaran-coordinator`), and long reads, which never run on this thread.
#![forbid(unsafe_code)]

#[macro_use(mutant)]
extern crate trimaran_model;

pub mod agent_session;
mod answers;
pub mod attachments;
pub mod border;
pub mod cluster_time;
mod command_queue;
pub mod disk_level;
pub mod event_log;
pub mod expected_agents;
mod forwarded;
mod forwarding;
mod hand_over;
pub mod io;
pub mod member;
mod membership;
#[cfg(feature = "mutants")]
pub mod mutant;
pub mod state_machine;
mod voters_clock;
mod voters_disk;
mod wakeups;
pub mod wall_clock;

pub use command_queue::Queued;
pub use disk_level::DiskLevel;
pub use io::{Applied, Input, MemberStatus, Output, Proposed, ReadAnswer, StateChange};
pub use member::Member;
pub use membership::SIGN_MAX_AGE;
pub use state_machine::{EngineMachine, EngineStateMachine};
pub use wakeups::Wakeups;
