//! `trimaran-coordinator verify-backup`: whether a backup can be restored, shown by a restore into a directory that is
//! removed afterwards.
//!
//! Not here: the bytes of a backup (`trimaran_wire::backup`), and a restore that stays (`restore`).

use std::fs::{DirBuilder, File};
use std::io::{self, BufReader};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use trimaran_model::error_code;
use trimaran_model::id::cluster_name;
use trimaran_model::report::Report;
use trimaran_model::time::WallTime;
use trimaran_replica::EntryMeta;
use trimaran_store::{InitError, Options, Store};
use trimaran_transport::random;
use trimaran_wire::backup::{BACKUP_PARTIAL, BackupEnd, BackupError, BackupHeader, BackupPart, BackupReader};
use trimaran_wire::document::rfc3339;
use trimaran_wire::raft::Identity;

use crate::check::{check_rows, refuse};
use crate::{exit_codes, run};

/// Proves the backup, or the newest one of a directory; the answer is what is printed.
pub(crate) fn verify(path: &Path, temporary: &Path) -> Result<String, Report> {
    let file = if path.is_dir() { newest(path)? } else { path.to_owned() };
    let folder = Temporary::new(temporary)?;
    let (header, end, _) = make_store(&file, folder.path())?;
    let shown = file.display();
    let (store, _) = Store::open(folder.path(), &Options::default()).map_err(|it| exit_codes::open(&it))?;
    // As a start does: the rows have to come to the hash that the cluster had.
    let engine = run::load_engine(&store)?;
    if engine.cluster() != cluster_name(&header.cluster_id) || store.applied() != header.meta.index {
        let message = format!("{shown} says that it is of another cluster or revision than its rows");
        return Err(Report::new(error_code::BACKUP, message));
    }
    let checked = check_rows(&store)?;
    refuse(checked.faults)?;
    let (revision, at) = (header.meta.index, rfc3339(WallTime(header.wall_ms)));
    Ok(format!(
        "{shown} can be restored: cluster {}, epoch {}, revision {revision}, made by {} at {at}\n\
         state hash {:032x}, {} rows, {} audit records, the same in a store that was made from it",
        engine.cluster(),
        header.epoch,
        header.coordinator,
        end.state_hash,
        checked.rows,
        checked.audit_records,
    ))
}

/// Makes a store of a backup: of a member that no cluster has.
pub(crate) fn make_store(file: &Path, folder: &Path) -> Result<(BackupHeader, BackupEnd, Identity), Report> {
    let bad = |error: BackupError| not_whole(file, &error);
    let written = |error: InitError| Report::because(error_code::DATA_DIR, "the store can't be made", &error);
    let mut reader = BackupReader::new(open(file)?);
    let header = reader.header().map_err(bad)?;
    let mut store = Store::restore(folder, &Options::default()).map_err(written)?;
    let mut end = None;
    while let Some(part) = reader.next_part().map_err(bad)? {
        match part {
            BackupPart::Header(_) => {}
            BackupPart::Rows(rows) => store.rows(&rows).map_err(written)?,
            BackupPart::End(found) => end = Some(found),
        }
    }
    let end = end.expect("a backup is whole with its end alone");
    let raft_id = random::next_u64() >> 1 | 1;
    let identity = Identity { cluster_id: header.cluster_id, disk_id: random::bytes(), raft_id };
    let at = EntryMeta { index: header.meta.index, term: header.meta.term };
    store.finish(identity, &header.meta.conf_state, at, end.state_hash).map_err(written)?;
    Ok((header, end, identity))
}

/// The backup of a directory that was made last; other files are passed over.
fn newest(folder: &Path) -> Result<PathBuf, Report> {
    let failed = |error: io::Error| {
        Report::because(error_code::BACKUP, format!("{} can't be read", folder.display()), &error)
    };
    let mut found: Option<(i64, PathBuf)> = None;
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        // One that ends with this was never whole.
        if !path.is_file() || path.extension().is_some_and(|it| it == BACKUP_PARTIAL) {
            continue;
        }
        match BackupReader::new(open(&path)?).header() {
            Ok(header) => found = found.max(Some((header.wall_ms, path))),
            Err(BackupError::NoBackup) => {}
            // It begins as one, so that another one would not be the newest.
            Err(error) => return Err(not_whole(&path, &error)),
        }
    }
    let none = || Report::new(error_code::BACKUP, format!("there is no backup in {}", folder.display()));
    found.map(|(_, path)| path).ok_or_else(none)
}

fn open(file: &Path) -> Result<BufReader<File>, Report> {
    let opened = File::open(file).map_err(|error| {
        Report::because(error_code::BACKUP, format!("{} can't be read", file.display()), &error)
    })?;
    Ok(BufReader::new(opened))
}

fn not_whole(file: &Path, error: &BackupError) -> Report {
    Report::because(error_code::BACKUP, format!("{} is no whole backup", file.display()), error)
}

/// A directory that goes with its value.
struct Temporary(PathBuf);

impl Temporary {
    fn new(within: &Path) -> Result<Self, Report> {
        let path = within.join(format!("trimaran-verify-{:016x}", random::next_u64()));
        // Its rows are for admins alone.
        DirBuilder::new().mode(0o700).create(&path).map_err(|error| {
            Report::because(error_code::DATA_DIR, format!("{} can't be made", path.display()), &error)
        })?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, directory = %self.0.display(), "the temporary directory can't be removed");
        }
    }
}
