//! `DATA/cluster`: the highest epoch of the cluster that this host has seen, and the incarnation that had it.

use std::io;
use std::path::Path;

use trimaran_host_core::host::SeenCluster;
use trimaran_model::id::Epoch;

use crate::filesystem::{FileSystem as _, OsFileSystem};

const FILE: &str = "cluster";

/// What was seen; nothing where no file is yet. One that can't be read is an error: without it any cluster would be obeyed.
pub(crate) fn load(data_dir: &Path) -> io::Result<SeenCluster> {
    let bytes = match OsFileSystem.read(&data_dir.join(FILE)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(SeenCluster::default()),
        Err(error) => return Err(error),
    };
    let parsed = std::str::from_utf8(&bytes).ok().and_then(|text| {
        let (epoch, incarnation) = text.trim().split_once(' ')?;
        Some(SeenCluster { epoch: Epoch(epoch.parse().ok()?), incarnation: incarnation.parse().ok()? })
    });
    parsed.ok_or_else(|| {
        let why = "the file holds no epoch and incarnation of a cluster";
        io::Error::new(io::ErrorKind::InvalidData, why)
    })
}

pub(crate) fn save(data_dir: &Path, seen: SeenCluster) -> io::Result<()> {
    let (file, temporary) = (data_dir.join(FILE), data_dir.join("cluster.tmp"));
    let text = format!("{} {}\n", seen.epoch.0, seen.incarnation);
    OsFileSystem.write_synced(&temporary, text.as_bytes())?;
    OsFileSystem.rename(&temporary, &file)?;
    OsFileSystem.sync_dir(data_dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_read_back_and_damage_is_an_error() {
        let folder = tempfile::tempdir().expect("a directory");
        assert_eq!(load(folder.path()).expect("nothing yet"), SeenCluster::default());
        let seen = SeenCluster { epoch: Epoch(3), incarnation: u64::MAX };
        save(folder.path(), seen).expect("written");
        assert_eq!(load(folder.path()).expect("readable"), seen);
        OsFileSystem.write_synced(&folder.path().join(FILE), b"3").expect("written");
        assert_eq!(load(folder.path()).expect_err("half of it").kind(), io::ErrorKind::InvalidData);
    }
}
