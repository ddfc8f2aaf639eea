//! The documents of INTERFACE 4, built from rows alone, so that a read view can answer without the owner of
//! the state. Soft state, such as live progress and who is connected, is added by the server.

mod cluster;
mod plans;
mod runs;

use trimaran_wire::codec::Message;
use trimaran_wire::v1::row;

use crate::state::run_key_bytes;
use crate::table::{Row, full_key};

pub use cluster::{agents, alarms, audit, members, meta, pipeline, runners, target_rows, targets, token};
pub use plans::{plan, rollback_plan};
pub use runs::{history, instances, live_assignments, run, runs, status, why};

/// Live assignments of an agent.
pub fn assignments(rows: &dyn RowSource, agent: &str) -> Vec<row::AssignmentRow> {
    all::<row::AssignmentRow>(rows).into_iter().filter(|row| row.agent == agent).collect()
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
}

/// All rows of a table.
pub(crate) fn all<R: Row>(rows: &dyn RowSource) -> Vec<R> {
    let mut found = Vec::new();
    rows.scan(&[R::TABLE], &mut |_, value| {
        found.extend(R::from_bytes(value).ok());
        true
    });
    found
}

pub(crate) fn get<R: Row>(rows: &dyn RowSource, key: &R::Key) -> Option<R> {
    R::from_bytes(&rows.get(&full_key::<R>(key))?).ok()
}

/// A run, hot or old.
pub fn run_row(rows: &dyn RowSource, pipeline: &str, number: u64) -> Option<row::Run> {
    let key = (pipeline.to_owned(), number);
    get::<row::Run>(rows, &key).or_else(|| {
        let mut cold = vec![row::table::OLD_RUN];
        cold.extend(run_key_bytes(&key));
        row::Run::from_bytes(&rows.get(&cold)?).ok()
    })
}

/// Releases of a pipeline.
pub fn releases(rows: &dyn RowSource, pipeline: &str) -> Vec<row::ReleaseRow> {
    all::<row::ReleaseRow>(rows).into_iter().filter(|row| row.release.pipeline == pipeline).collect()
}
