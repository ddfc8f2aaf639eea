//! The documents of INTERFACE 4, built from rows alone, so that a read view can answer without the owner of
//! the state; and the sentences of everything that the state says in codes ([`text`]). Pure.
//!
//! Deliberately not here: soft state, such as live progress and who is connected (the server adds it), and every
//! decision (`trimaran-engine`).
#![forbid(unsafe_code)]

mod cluster;
#[cfg(feature = "codes")]
pub mod codes;
mod contents;
mod host_standing;
mod installations;
mod integrity;
mod newest;
mod plans;
mod rows;
mod runs;
pub mod text;
mod work;

pub use cluster::{
    ExpectedAgent, agents, agents_to_expect, alarms, audit, cluster, is_enrolled, lacking_drivers, members,
    members_ever, pipeline_source, request, revoked_keys, runner, runners, runners_among, runners_of, target,
    targets, targets_known, token,
};
pub use contents::{content_part, is_content, release_of_agent};
pub use installations::{installation, is_known, is_undecided, observes, status};
pub use integrity::{RowCheck, RowsChecked};
pub use plans::{plan, rollback_plan};
pub use rows::{RowSource, StoredRun, describe_key, release, releases_starting, stored_run};
pub use runs::{environments_seen, history, instances, run, runs, runs_changed, why};
pub use work::{
    assignment, assignments, assignments_among, live_assignments, standing_among, standing_of, targets_served,
};
