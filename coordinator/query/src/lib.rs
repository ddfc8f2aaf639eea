//! The documents of INTERFACE 4, built from rows alone, so that a read view can answer without the owner of
//! the state. Pure.
//!
//! Deliberately not here: soft state, such as live progress and who is connected (the server adds it), and every
//! decision (`trimaran-engine`).
#![forbid(unsafe_code)]

mod cluster;
mod plans;
mod runs;

use std::collections::BTreeSet;

use trimaran_wire::codec::Message;
use trimaran_wire::v1::common::WireInstallation;
use trimaran_wire::v1::row::{self, table};

use trimaran_engine::state::{cold_key, run_key_bytes};
use trimaran_engine::table::{Row, full_key};

pub use cluster::{
    agents, alarms, audit, members, meta, pipeline, runners, target_row, target_rows, targets, token,
};
pub use plans::{plan, rollback_plan};
pub use runs::{
    environments_seen, history, instances, live_assignments, reasons, run, runs, says, status, why,
};

pub use trimaran_engine::settle::stage_name;
pub use trimaran_engine::state::run_name;

/// Live assignments of an agent that may be given to this life of it. While calls of an earlier life may be in
/// flight, these are only the ones that it `holds` in its journal already.
pub fn assignments(
    rows: &dyn RowSource,
    agent: &str,
    holds: &dyn Fn(u64) -> bool,
) -> Vec<row::AssignmentRow> {
    let may = may_be_given(rows, agent, holds);
    all::<row::AssignmentRow>(rows).into_iter().filter(may).collect()
}

/// Those of the given assignments that are live and may be given to this life of the agent.
pub fn assignments_among(
    rows: &dyn RowSource,
    agent: &str,
    holds: &dyn Fn(u64) -> bool,
    numbers: &BTreeSet<u64>,
) -> Vec<row::AssignmentRow> {
    let may = may_be_given(rows, agent, holds);
    numbers.iter().filter_map(|number| assignment(rows, *number)).filter(may).collect()
}

fn may_be_given(
    rows: &dyn RowSource,
    agent: &str,
    holds: &dyn Fn(u64) -> bool,
) -> impl Fn(&row::AssignmentRow) -> bool {
    let waits = get::<row::Agent>(rows, &agent.to_owned()).is_some_and(|it| it.handover_until.is_some());
    move |row| row.agent == agent && (!waits || holds(row.assignment.id))
}

/// A live assignment by its number.
pub fn assignment(rows: &dyn RowSource, number: u64) -> Option<row::AssignmentRow> {
    get(rows, &number)
}

/// One installation.
pub fn installation(rows: &dyn RowSource, id: &WireInstallation) -> Option<row::Installation> {
    get(rows, &(id.pipeline.clone(), id.target.clone()))
}

/// SHA-256 of every revoked public key.
pub fn revoked_keys(rows: &dyn RowSource) -> Vec<[u8; 32]> {
    all::<row::Revoked>(rows).into_iter().map(|it| it.key).collect()
}

/// Hot runs that changed after a revision, in the order of their last change.
pub fn runs_changed(rows: &dyn RowSource, since: u64) -> Vec<row::Run> {
    let mut found = all::<row::Run>(rows);
    found.retain(|run| run.revision > since);
    found.sort_by_key(|run| run.revision);
    found
}

/// Agents that were seen and neither said goodbye for good nor are known to be lost, with their last life.
pub fn agents_to_expect(rows: &dyn RowSource) -> Vec<(String, u64)> {
    let seen = all::<row::Agent>(rows).into_iter().filter(|it| !it.lost);
    seen.filter_map(|it| Some((it.name, it.incarnation?))).collect()
}

/// Runners enrolled with an agent.
pub fn runners_of(rows: &dyn RowSource, agent: &str) -> Vec<row::Runner> {
    all::<row::Runner>(rows).into_iter().filter(|runner| runner.agent == agent).collect()
}

/// Rows by key; a RocksDB read view, or a map in tests.
pub trait RowSource {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>>;
    /// Every row whose key starts with `prefix`, in order, until `each` says false.
    fn scan(&self, prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool);
    /// Called with the key of a row that is there and can't be decoded. Queries go on as if it were not there:
    /// whoever owns the view must not use what they answer.
    fn damaged(&self, key: &[u8], why: &dyn std::fmt::Display);
}

/// A row as messages name it: its table and its key, escaped.
pub fn describe_key(key: &[u8]) -> String {
    match key.split_first() {
        Some((table, key)) => format!("row `{}` of table {table}", key.escape_ascii()),
        None => "a row without a key".to_owned(),
    }
}

/// A row from its bytes; damage is reported to the view.
pub(crate) fn decode<R: Message>(rows: &dyn RowSource, key: &[u8], value: &[u8]) -> Option<R> {
    R::from_bytes(value).map_err(|error| rows.damaged(key, &error)).ok()
}

/// The row of a key.
pub(crate) fn read<R: Message>(rows: &dyn RowSource, key: &[u8]) -> Option<R> {
    decode(rows, key, &rows.get(key)?)
}

/// All rows of a table.
pub(crate) fn all<R: Row>(rows: &dyn RowSource) -> Vec<R> {
    let mut found = Vec::new();
    rows.scan(&[R::TABLE], &mut |key, value| {
        found.extend(decode::<R>(rows, key, value));
        true
    });
    found
}

pub(crate) fn get<R: Row>(rows: &dyn RowSource, key: &R::Key) -> Option<R> {
    read(rows, &full_key::<R>(key))
}

/// A run, hot or old.
pub fn run_row(rows: &dyn RowSource, pipeline: &str, number: u64) -> Option<row::Run> {
    let key = (pipeline.to_owned(), number);
    get::<row::Run>(rows, &key).or_else(|| read(rows, &cold_key(table::OLD_RUN, &run_key_bytes(&key))))
}

/// A release, hot or old.
pub fn release_row(rows: &dyn RowSource, digest: &[u8; 32]) -> Option<row::ReleaseRow> {
    get::<row::ReleaseRow>(rows, digest).or_else(|| read(rows, &cold_key(table::OLD_RELEASE, digest)))
}

/// Releases of a pipeline, hot and old.
pub fn releases(rows: &dyn RowSource, pipeline: &str) -> Vec<row::ReleaseRow> {
    let mut found = all::<row::ReleaseRow>(rows);
    rows.scan(&[table::OLD_RELEASE], &mut |key, value| {
        found.extend(decode::<row::ReleaseRow>(rows, key, value));
        true
    });
    found.retain(|row| row.release.pipeline == pipeline);
    found.sort_by_key(|row| row.digest);
    found.dedup_by_key(|row| row.digest);
    found
}
