//! Rows by key, hot or cold, as the types of the state. A row that is there and can't be decoded is reported as damage.

use std::fmt::Display;

use trimaran_engine::rows::{Frozen, cold_key, from_bytes, run_key, stages_prefix, tables};
use trimaran_engine::state::pipeline::ReleaseEntry;
use trimaran_engine::state::run::Run;
use trimaran_engine::state::stage::Stage;
use trimaran_engine::{Row, full_key};
use trimaran_model::id::{Digest, PipelineName, RunId};
use trimaran_wire::codec::Message;

/// Rows by key; a read view of a store, or a map in tests.
pub trait RowSource {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>>;
    /// Every row whose key starts with `prefix`, in order, until `each` says false.
    fn scan(&self, prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool);
    /// Rows with `first <= key < end`, in the reverse order of their keys, until `each` says false.
    fn scan_back(&self, first: &[u8], end: &[u8], each: &mut dyn FnMut(&[u8], &[u8]) -> bool);
    /// Called with the key of a row that is there and can't be decoded. Queries go on as if it were not there:
    /// whoever owns the view must not use what they answer.
    fn damaged(&self, key: &[u8], why: &dyn Display);
}

/// A row as messages name it: its table and its key, escaped.
pub fn describe_key(key: &[u8]) -> String {
    match key.split_first() {
        Some((table, key)) => format!("row `{}` of table {table}", key.escape_ascii()),
        None => "a row without a key".to_owned(),
    }
}

/// A row from its bytes; damage is reported to the view.
pub(crate) fn decode<R: Frozen<Wire: Message>>(rows: &dyn RowSource, key: &[u8], value: &[u8]) -> Option<R> {
    from_bytes(value).map_err(|error| rows.damaged(key, &error)).ok()
}

/// The row of a key of any table.
pub(crate) fn read<R: Frozen<Wire: Message>>(rows: &dyn RowSource, key: &[u8]) -> Option<R> {
    decode(rows, key, &rows.get(key)?)
}

/// All rows of a table.
pub(crate) fn all<R: Row>(rows: &dyn RowSource) -> Vec<R> {
    let mut found = Vec::new();
    rows.scan(&[R::TABLE], &mut |key, value| {
        let decoded = R::from_bytes(value).map_err(|error| rows.damaged(key, &error));
        found.extend(decoded.ok());
        true
    });
    found
}

/// Whether a row of a table is such a one; none is read behind it.
pub(crate) fn any<R: Row>(rows: &dyn RowSource, is_wanted: &dyn Fn(&R) -> bool) -> bool {
    let mut found = false;
    rows.scan(&[R::TABLE], &mut |key, value| {
        let decoded = R::from_bytes(value).map_err(|error| rows.damaged(key, &error));
        found = decoded.is_ok_and(|row| is_wanted(&row));
        !found
    });
    found
}

pub(crate) fn get<R: Row>(rows: &dyn RowSource, key: &R::Key) -> Option<R> {
    let key = full_key::<R>(key);
    R::from_bytes(&rows.get(&key)?).map_err(|error| rows.damaged(&key, &error)).ok()
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
            let old = read::<Run>(rows, &cold_key(tables::OLD_RUN, &run_key(id)))?;
            (old, tables::OLD_STAGE)
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
    rows.scan(&stages_prefix(table, &run.id), &mut |key, value| {
        stages.extend(decode::<Stage>(rows, key, value));
        true
    });
    StoredRun { run, stages }
}

/// A release, hot or old.
pub fn release(rows: &dyn RowSource, digest: &Digest) -> Option<ReleaseEntry> {
    get::<ReleaseEntry>(rows, digest).or_else(|| read(rows, &cold_key(tables::OLD_RELEASE, &digest.0)))
}

/// The version of a release, as far as it is known.
pub(crate) fn version(rows: &dyn RowSource, digest: &Digest) -> Option<String> {
    release(rows, digest).map(|entry| entry.release.version.clone())
}

/// Releases of a pipeline, hot and old, whose digests begin with these hexadecimal digits.
pub fn releases_starting(rows: &dyn RowSource, pipeline: &PipelineName, digits: &str) -> Vec<ReleaseEntry> {
    let mut found = Vec::new();
    let bytes: Option<Vec<u8>> = digits.as_bytes().chunks_exact(2).map(byte).collect();
    // What is no number begins no digest.
    let Some(bytes) = bytes else { return found };
    for table in [tables::RELEASE, tables::OLD_RELEASE] {
        rows.scan(&cold_key(table, &bytes), &mut |key, value| {
            found.extend(decode::<ReleaseEntry>(rows, key, value));
            true
        });
    }
    found.retain(|it| it.release.pipeline == *pipeline && it.digest.to_string().starts_with(digits));
    found.sort_by_key(|entry| entry.digest);
    found.dedup_by_key(|entry| entry.digest);
    found
}

fn byte(pair: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()
}
