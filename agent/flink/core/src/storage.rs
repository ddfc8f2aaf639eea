//! Where savepoints and checkpoints are, as Flink's URLs name it, for those places that an agent can look into.

/// A directory that an agent can list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage<'a> {
    /// An absolute path on the agent's host.
    Local(&'a str),
    Bucket(Bucket<'a>),
}

/// A place in a bucket of S3, or of a store that speaks its protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket<'a> {
    /// One of Flink's names for its file systems: `s3`, `s3a`, `s3p`.
    pub scheme: &'a str,
    pub name: &'a str,
    /// Without a slash at either end; empty for the whole bucket.
    pub key: &'a str,
}

/// A file of every savepoint and checkpoint. Flink writes it last: what has it is complete.
pub const METADATA: &str = "_metadata";

const BUCKET_SCHEMES: [&str; 3] = ["s3", "s3a", "s3p"];

/// Reads a directory; `None`: no agent can look into it.
pub fn storage(directory: &str) -> Option<Storage<'_>> {
    if let Some((scheme, rest)) = directory.split_once("://")
        && BUCKET_SCHEMES.contains(&scheme)
    {
        let (name, key) = rest.split_once('/').unwrap_or((rest, ""));
        let bucket = Bucket { scheme, name, key: key.trim_matches('/') };
        return (!name.is_empty()).then_some(Storage::Bucket(bucket));
    }
    let path = directory.strip_prefix("file:").unwrap_or(directory);
    let path = path.strip_prefix("//").unwrap_or(path);
    path.starts_with('/').then_some(Storage::Local(path))
}

/// Whether Flink names a savepoint or checkpoint so, in its directory.
pub fn is_state_name(name: &str) -> bool {
    name.starts_with("savepoint-") || name.starts_with("chk-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_and_buckets_are_read() {
        for directory in ["file:///srv/savepoints", "file:/srv/savepoints", "/srv/savepoints"] {
            assert_eq!(storage(directory), Some(Storage::Local("/srv/savepoints")), "{directory}");
        }
        let bucket = |scheme, key| Some(Storage::Bucket(Bucket { scheme, name: "flink", key }));
        assert_eq!(storage("s3://flink/clicks/savepoints/"), bucket("s3", "clicks/savepoints"));
        assert_eq!(storage("s3p://flink"), bucket("s3p", ""));
        for directory in ["hdfs://nn/savepoints", "s3:///savepoints", "gs://flink/x", "savepoints", ""] {
            assert_eq!(storage(directory), None, "{directory}");
        }
    }
}
