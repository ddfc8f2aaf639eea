//! Journal, releases and `current` of one installation on disk.
//!
//! ```text
//! DATA/services/PIPELINE@TARGET/
//!   state  state.prev              the journal, replaced whole: written beside, synced, renamed
//!   releases/SEQ-DIGEST12/         an unpacked release, whole once it has this name
//!   releases/SEQ-DIGEST12.release  what it is; written before the directory gets its name
//!   releases/.tmp-SEQ/             being unpacked; removed by the next inspection
//!   current -> releases/…          the one switch
//!   run/  log/                     of the processes, see `shim` and `logs`
//!   commands/                      of commands that run beside it
//!   data/state  data/run           the service's own: kept over releases, and empty at each start
//! ```
//! A directory without its record, or a record without its directory, is a leftover and removed. Other names in
//! `releases/` are a user's and passed over; what is in the place of a file of ours is displaced ([`FileSystem::displace`]).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use trimaran_host_core::host::{Journal, StoredRelease};
use trimaran_model::assignment::HostGoal;
use trimaran_model::id::{Digest, InstallationId};
use trimaran_wire::codec::{CodecError, Message as _};
use trimaran_wire::v1::journal::{WireHostJournal, WireStoredRelease};

use crate::filesystem::{EntryKind, FileSystem};

const STATE: &str = "state";
const PREVIOUS: &str = "state.prev";
const CURRENT: &str = "current";
const RECORD: &str = ".release";

/// The files of one installation.
#[derive(Debug, Clone)]
pub struct Store<F> {
    files: F,
    dir: PathBuf,
    /// Bytes that are freed so that a journal can be written to a full disk.
    reserve: PathBuf,
}

/// What was found of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loaded {
    /// With a goal that waits behind it.
    Journal(Journal, Option<HostGoal>),
    /// There is a file, and neither it nor its predecessor can be read.
    Damaged,
    Nothing,
}

/// Why a journal is not taken.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("can't read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} was written by another version of Trimaran")]
    Version { path: PathBuf, source: CodecError },
}

/// The directory of an installation below `services`: `web@lab-prod`.
pub fn directory_name(installation: &InstallationId) -> String {
    format!("{}@{}", installation.pipeline, installation.target)
}

/// Reads what [`directory_name`] writes.
pub fn installation_of(directory: &str) -> Option<InstallationId> {
    let (pipeline, target) = directory.split_once('@')?;
    Some(InstallationId { pipeline: pipeline.parse().ok()?, target: target.parse().ok()? })
}

/// The name of a release's directory.
pub fn release_name(sequence: u64, digest: &Digest) -> String {
    format!("{sequence}-{}", digest.short())
}

/// Whether a name is one of [`release_name`]: what is not was not made here.
fn is_release_name(name: &str) -> bool {
    let digit = |it: char| it.is_ascii_digit() || matches!(it, 'a'..='f');
    let parts = name.split_once('-');
    parts.is_some_and(|(number, digest)| {
        number.parse::<u64>().is_ok() && digest.len() == 12 && digest.chars().all(digit)
    })
}

/// Whether a name is one of [`Store::unpack_dir`].
fn is_unpack_name(name: &str) -> bool {
    name.strip_prefix(".tmp-").is_some_and(|number| number.parse::<u64>().is_ok())
}

impl<F: FileSystem> Store<F> {
    pub fn new(files: F, dir: PathBuf, reserve: PathBuf) -> Self {
        Self { files, dir, reserve }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn run_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    pub fn log_dir(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// What belongs to the service itself.
    pub fn service_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Files that the service keeps over its releases.
    pub fn service_state_dir(&self) -> PathBuf {
        self.service_dir().join("state")
    }

    /// Files of one process of the service: empty at each start.
    pub fn service_run_dir(&self) -> PathBuf {
        self.service_dir().join("run")
    }

    /// Directories of commands that run beside the service.
    pub fn commands_dir(&self) -> PathBuf {
        self.dir.join("commands")
    }

    pub fn releases_dir(&self) -> PathBuf {
        self.dir.join("releases")
    }

    /// Makes the directories, durably.
    pub fn create(&self) -> io::Result<()> {
        for dir in [self.releases_dir(), self.run_dir(), self.log_dir()] {
            // A link to a directory elsewhere is as good as one.
            if !matches!(self.files.kind(&dir)?, None | Some(EntryKind::Directory))
                && self.files.list(&dir).is_err()
            {
                self.files.displace(&dir)?;
            }
            self.files.create_dir_all(&dir)?;
        }
        self.files.sync_dir(&self.dir)?;
        match self.dir.parent() {
            Some(parent) => self.files.sync_dir(parent),
            None => Ok(()),
        }
    }

    /// The journal, or the one before when it can't be read.
    pub fn load(&self) -> Result<Loaded, LoadError> {
        let mut found = false;
        for name in [STATE, PREVIOUS] {
            let path = self.dir.join(name);
            let bytes = match self.files.read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    found = true;
                    continue;
                }
                Err(source) => return Err(LoadError::Read { path, source }),
            };
            found = true;
            match WireHostJournal::from_bytes(&bytes) {
                Ok(wire) => {
                    if let Ok((journal, next)) = Journal::from_wire(wire) {
                        return Ok(Loaded::Journal(journal, next));
                    }
                }
                // Its checksum is right: a later version wrote it, and it is not ours to replace.
                Err(source @ CodecError::Kind { .. }) => return Err(LoadError::Version { path, source }),
                Err(_) => {}
            }
        }
        Ok(if found { Loaded::Damaged } else { Loaded::Nothing })
    }

    /// Replaces the journal; durable when it returns. On a full disk the reserve is freed first.
    pub fn save(&self, journal: &WireHostJournal) -> io::Result<()> {
        let bytes = journal.to_bytes();
        let temporary = self.dir.join("state.tmp");
        match self.files.write_synced(&temporary, &bytes) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                self.files.remove_file(&self.reserve)?;
                self.files.write_synced(&temporary, &bytes)?;
            }
            other => other?,
        }
        let (state, previous) = (self.dir.join(STATE), self.dir.join(PREVIOUS));
        if self.files.kind(&previous)? == Some(EntryKind::Directory) {
            self.files.displace(&previous)?;
        }
        match self.files.kind(&state)? {
            None => {}
            Some(EntryKind::File) => self.files.rename(&state, &previous)?,
            Some(_) => self.files.displace(&state)?,
        }
        self.files.rename(&temporary, &state)?;
        self.files.sync_dir(&self.dir)
    }

    /// Removes what an interrupted unpack, switch or removal left behind. What can't be removed now is logged and
    /// left for the next time.
    pub fn clean(&self) -> io::Result<()> {
        self.remove_leftover(&self.dir.join("current.tmp"))?;
        let dir = self.releases_dir();
        let names = self.list(&dir)?;
        let has = |wanted: &str, kind: EntryKind| -> io::Result<bool> {
            Ok(names.iter().any(|name| name == wanted) && self.files.kind(&dir.join(wanted))? == Some(kind))
        };
        for name in &names {
            let leftover = match name.strip_suffix(RECORD) {
                _ if is_unpack_name(name) => true,
                Some(release) if is_release_name(release) => !has(release, EntryKind::Directory)?,
                None if is_release_name(name) => !has(&format!("{name}{RECORD}"), EntryKind::File)?,
                _ => false,
            };
            if leftover {
                self.remove_leftover(&dir.join(name))?;
            }
        }
        Ok(())
    }

    /// Removes what was made here; what is of another kind than ours are is moved aside.
    fn remove_leftover(&self, path: &Path) -> io::Result<()> {
        let is_tree = path.extension().is_none_or(|it| it != &RECORD[1..] && it != "tmp");
        let removed = match (self.files.kind(path)?, is_tree) {
            (None, _) => Ok(()),
            (Some(EntryKind::Directory), true) => self.files.remove_tree(path),
            (Some(EntryKind::File | EntryKind::Link), false) => self.files.remove_file(path),
            (Some(_), _) => self.files.displace(path),
        };
        match removed {
            // The user's fault and not fatal: what is left there takes space and no more.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                tracing::warn!("a leftover can't be removed: {error}");
                Ok(())
            }
            other => other,
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        match self.files.list(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            other => other,
        }
    }

    /// Every whole release. One whose record can't be read is not one.
    pub fn releases(&self) -> io::Result<BTreeMap<Digest, StoredRelease>> {
        let dir = self.releases_dir();
        let names = self.list(&dir)?;
        let mut releases = BTreeMap::new();
        for name in &names {
            let Some(release) = name.strip_suffix(RECORD) else { continue };
            if !is_release_name(release) || self.files.kind(&dir.join(release))? != Some(EntryKind::Directory)
            {
                continue;
            }
            let bytes = match self.files.read(&dir.join(name)) {
                Ok(bytes) => bytes,
                // It names no release here; the others are as good as before.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::InvalidData | io::ErrorKind::PermissionDenied
                    ) =>
                {
                    tracing::warn!("a release can't be used: {error}");
                    continue;
                }
                Err(error) => return Err(error),
            };
            let record = WireStoredRelease::from_bytes(&bytes);
            let Some(stored) = record.ok().and_then(|wire| StoredRelease::try_from(wire).ok()) else {
                continue;
            };
            if release_name(stored.sequence, &stored.digest) == release {
                releases.insert(stored.digest, stored);
            }
        }
        Ok(releases)
    }

    pub fn release_dir(&self, stored: &StoredRelease) -> PathBuf {
        self.releases_dir().join(release_name(stored.sequence, &stored.digest))
    }

    /// Where a release is unpacked before it gets its name.
    pub fn unpack_dir(&self, stored: &StoredRelease) -> PathBuf {
        self.releases_dir().join(format!(".tmp-{}", stored.sequence))
    }

    /// Renames the unpacked and synced tree of [`Store::unpack_dir`] its name.
    pub fn adopt(&self, stored: &StoredRelease) -> io::Result<()> {
        let dir = self.releases_dir();
        let record = dir.join(format!("{}{RECORD}", release_name(stored.sequence, &stored.digest)));
        self.files.write_synced(&record, &WireStoredRelease::from(stored).to_bytes())?;
        self.files.rename(&self.unpack_dir(stored), &self.release_dir(stored))?;
        self.files.sync_dir(&dir)
    }

    /// The release that `current` names; what is no link names none.
    pub fn current(&self, releases: &BTreeMap<Digest, StoredRelease>) -> io::Result<Option<Digest>> {
        let link = self.dir.join(CURRENT);
        if self.files.kind(&link)? != Some(EntryKind::Link) {
            return Ok(None);
        }
        let target = self.files.read_link(&link)?;
        let named =
            releases.values().find(|stored| target.ends_with(release_name(stored.sequence, &stored.digest)));
        Ok(named.map(|stored| stored.digest))
    }

    /// Lets `current` name the release, in one step that a crash can't divide.
    pub fn switch(&self, stored: &StoredRelease) -> io::Result<()> {
        let (temporary, current) = (self.dir.join("current.tmp"), self.dir.join(CURRENT));
        self.remove_leftover(&temporary)?;
        if !matches!(self.files.kind(&current)?, None | Some(EntryKind::Link)) {
            self.files.displace(&current)?;
        }
        let target = Path::new("releases").join(release_name(stored.sequence, &stored.digest));
        self.files.symlink(&target, &temporary)?;
        self.files.rename(&temporary, &current)?;
        self.files.sync_dir(&self.dir)
    }

    /// Removes a release: first its record, so that half a tree is never taken for a whole one.
    pub fn remove(&self, stored: &StoredRelease) -> io::Result<()> {
        let dir = self.release_dir(stored);
        self.files.remove_file(
            &self.releases_dir().join(format!("{}{RECORD}", release_name(stored.sequence, &stored.digest))),
        )?;
        self.files.sync_dir(&self.releases_dir())?;
        self.files.remove_tree(&dir)
    }
}
