//! Where a target's savepoints are, and how the agent looks into directories there: its own file system, or an object store.

use std::path::Path;
use std::time::UNIX_EPOCH;

use trimaran_flink_core::call::SavepointSeen;
use trimaran_flink_core::storage::{METADATA, Storage, is_state_name, storage};
use trimaran_model::time::WallTime;

use crate::s3::{S3, S3Error, S3Settings};

/// The root of a target's savepoints.
pub struct Savepoints {
    root: String,
    s3: S3,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ListError {
    #[error(
        "savepoints in {directory} can't be listed by this agent: only `file:` directories and buckets (`s3:`) can"
    )]
    Scheme { directory: String },
    #[error("can't list the savepoints in `{path}`: {source}")]
    Io { path: String, source: std::io::Error },
    #[error("can't list the savepoints in `{directory}`: {source}")]
    Store { directory: String, source: S3Error },
}

impl Savepoints {
    /// `root`: as the target names it. `s3`: the store where that is a bucket.
    pub fn new(root: String, s3: S3Settings) -> Self {
        Self { root, s3: S3::new(s3) }
    }

    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    /// What the file system of the root has left, in bytes; `None` where the root is none of this agent's directories.
    pub(crate) async fn bytes_free(&self) -> Option<u64> {
        let Some(Storage::Local(path)) = storage(&self.root) else { return None };
        let path = path.to_owned();
        let asked = tokio::task::spawn_blocking(move || rustix::fs::statvfs(path)).await;
        let found = asked.expect("it only asks").ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// What is in a directory; nothing when it is not there.
    pub(crate) async fn list(&self, directory: &str) -> Result<Vec<SavepointSeen>, ListError> {
        match storage(directory) {
            Some(Storage::Local(path)) => list_local(Path::new(path)).await,
            Some(Storage::Bucket(bucket)) => self
                .s3
                .list(bucket)
                .await
                .map_err(|source| ListError::Store { directory: directory.to_owned(), source }),
            None => Err(ListError::Scheme { directory: directory.to_owned() }),
        }
    }
}

async fn list_local(path: &Path) -> Result<Vec<SavepointSeen>, ListError> {
    let failed = |source| ListError::Io { path: path.display().to_string(), source };
    let mut entries = match tokio::fs::read_dir(path).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut found = Vec::new();
    while let Some(entry) = entries.next_entry().await.map_err(failed)? {
        if !is_state_name(&entry.file_name().to_string_lossy()) {
            continue;
        }
        let metadata = tokio::fs::metadata(entry.path().join(METADATA)).await;
        let seen = match &metadata {
            Ok(metadata) => metadata.modified(),
            Err(_) => entry.metadata().await.map_err(failed)?.modified(),
        };
        let modified = seen.map_err(failed)?.duration_since(UNIX_EPOCH).unwrap_or_default();
        found.push(SavepointSeen {
            path: format!("file:{}", entry.path().display()),
            is_complete: metadata.is_ok(),
            modified: WallTime(i64::try_from(modified.as_millis()).unwrap_or(i64::MAX)),
        });
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the test makes a directory to list")]
mod tests {
    use super::*;

    fn list(directory: &str) -> Result<Vec<SavepointSeen>, ListError> {
        let savepoints = Savepoints::new(directory.to_owned(), S3Settings::from_variables(|_| None));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(savepoints.list(directory))
    }

    #[test]
    fn a_savepoint_is_complete_with_its_metadata() {
        let root = tempfile::tempdir().expect("a directory");
        for name in ["savepoint-0a1b2c-1", "savepoint-0a1b2c-2", "other"] {
            std::fs::create_dir(root.path().join(name)).expect("a directory");
        }
        std::fs::write(root.path().join("savepoint-0a1b2c-2/_metadata"), "x").expect("a file");
        let url = format!("file://{}", root.path().display());
        let mut found = list(&url).expect("it can be listed");
        found.sort_by_key(|it| it.is_complete);
        let complete: Vec<bool> = found.iter().map(|it| it.is_complete).collect();
        assert_eq!(complete, [false, true]);
        assert!(found[1].path.starts_with("file:/") && found[1].path.ends_with("savepoint-0a1b2c-2"));
        assert_eq!(list(&format!("{url}/never-made")).expect("nothing is there"), Vec::new());
    }

    #[test]
    fn another_file_system_and_a_bucket_without_keys_are_named() {
        let error = list("hdfs://nn/clicks").expect_err("it can't be read");
        assert!(error.to_string().contains("hdfs://nn/clicks"), "{error}");
        let error = list("s3://bucket/clicks").expect_err("there are no keys");
        let text = error.to_string();
        assert!(text.contains("s3://bucket/clicks") && text.contains("AWS_ACCESS_KEY_ID"), "{text}");
    }
}
