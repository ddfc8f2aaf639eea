//! Rows by key, hot or cold, as the types of the state.

use trimaran_engine::rows::{cold_key, from_bytes, run_key, stages_prefix, tables};
use trimaran_engine::state::pipeline::ReleaseEntry;
use trimaran_engine::state::run::Run;
use trimaran_engine::state::stage::Stage;
use trimaran_engine::{Row, full_key};
use trimaran_model::id::{Digest, PipelineName, RunId};

/// Rows by key; a read view of a store, or a map in tests.
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

/// A run with its stages in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRun {
    pub run: Run,
    pub stages: Vec<Stage>,
}

/// A run, hot or old.
pub fn stored_run(rows: &dyn RowSource, id: &RunId) -> Option<StoredRun> {
    let (run, table) = match get::<Run>(rows, id) {
        Some(run) => (run, tables::STAGE),
        None => {
            let old = rows.get(&cold_key(tables::OLD_RUN, &run_key(id)))?;
            (from_bytes::<Run>(&old).ok()?, tables::OLD_STAGE)
        }
    };
    Some(with_stages(rows, run, table))
}

/// A run of the hot table with its stages.
pub(crate) fn hot_run(rows: &dyn RowSource, run: Run) -> StoredRun {
    with_stages(rows, run, tables::STAGE)
}

fn with_stages(rows: &dyn RowSource, run: Run, table: u8) -> StoredRun {
    let mut stages = Vec::new();
    rows.scan(&stages_prefix(table, &run.id), &mut |_, value| {
        stages.extend(from_bytes::<Stage>(value).ok());
        true
    });
    StoredRun { run, stages }
}

/// Hot and old runs without their stages, the newest first.
pub(crate) fn every_run(rows: &dyn RowSource) -> Vec<Run> {
    let mut found = all::<Run>(rows);
    rows.scan(&[tables::OLD_RUN], &mut |_, value| {
        found.extend(from_bytes::<Run>(value).ok());
        true
    });
    found.sort_by_key(|run| std::cmp::Reverse(run.sequence));
    found
}

/// A release, hot or old.
pub fn release(rows: &dyn RowSource, digest: &Digest) -> Option<ReleaseEntry> {
    get::<ReleaseEntry>(rows, digest)
        .or_else(|| from_bytes(&rows.get(&cold_key(tables::OLD_RELEASE, &digest.0))?).ok())
}

/// The version of a release, as far as it is known.
pub(crate) fn version(rows: &dyn RowSource, digest: &Digest) -> Option<String> {
    release(rows, digest).map(|entry| entry.release.version.clone())
}

/// Releases of a pipeline, hot and old.
pub fn releases(rows: &dyn RowSource, pipeline: &PipelineName) -> Vec<ReleaseEntry> {
    let mut found = all::<ReleaseEntry>(rows);
    rows.scan(&[tables::OLD_RELEASE], &mut |_, value| {
        found.extend(from_bytes::<ReleaseEntry>(value).ok());
        true
    });
    found.retain(|entry| entry.release.pipeline == *pipeline);
    found.sort_by_key(|entry| entry.digest);
    found.dedup_by_key(|entry| entry.digest);
    found
}
