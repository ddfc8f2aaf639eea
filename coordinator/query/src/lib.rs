//! The documents of INTERFACE 4, built from rows alone, so that a read view can answer without the owner of
//! the state; and the sentences of everything that the state says in codes ([`text`]). Pure.
//!
//! Deliberately not here: soft state, such as live progress and who is connected (the server adds it), and every
//! decision (`trimaran-engine`).
#![forbid(unsafe_code)]

mod cluster;
mod installations;
mod plans;
mod rows;
mod runs;
pub mod text;
mod work;

pub use cluster::{
    agents, agents_to_expect, alarms, audit, cluster, members, pipeline_source, revoked_keys, runners,
    runners_of, target, targets, targets_known, token,
};
pub use installations::{installation, is_known, status};
pub use plans::{plan, rollback_plan};
pub use rows::{RowSource, StoredRun, describe_key, release, releases, stored_run};
pub use runs::{environments_seen, history, instances, run, runs, runs_changed, why};
pub use work::{assignment, assignments, assignments_among, live_assignments};
