//! Creates the entries of an archive below one directory, and takes everything away again unless all of it
//! became durable.
//!
//! No path is ever resolved through a link, and each name is created exclusively: an entry can't write
//! into what an earlier one put in its place.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, fchmod, fchown, fstat, fsync,
    futimens, linkat, mkdirat, openat2, statat, symlinkat, syncfs,
};
use rustix::io::Errno;
use trimaran_archive::{Entry, Kind, Name, TarReader, show};

use super::{UnpackError, Unpacked};
use crate::disk::sync_directory;

const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// What an archive may say about permissions: nothing for others to write.
const MODE_MASK: u32 = 0o755;
const COPY_BYTES: usize = 128 * 1024;

/// A directory that is being filled; removed with all it holds when it is dropped unfinished.
pub(super) struct Tree {
    path: PathBuf,
    root: OwnedFd,
    /// The directory of the last entry: archives name the files of one directory in a row.
    last_parent: Option<(Vec<u8>, OwnedFd)>,
    buffer: Vec<u8>,
    access: Access,
    finished: bool,
}

/// Who may read the tree beside its owner.
#[derive(Debug, Clone, Copy)]
struct Access {
    group: Option<Gid>,
}

impl Access {
    /// What is made of a mode of the archive.
    fn mode(self, mode: u32) -> Mode {
        let mode = mode & MODE_MASK;
        // The group reads and runs what the owner does, whatever the archive's own group could.
        let shared = self.group.map_or(0, |_| (mode & 0o500) >> 3);
        Mode::from_raw_mode(mode | shared)
    }

    fn set(self, file: impl AsFd, mode: u32) -> Result<(), Errno> {
        if self.group.is_some() {
            fchown(&file, None, self.group)?;
        }
        fchmod(&file, self.mode(mode))
    }
}

impl Tree {
    /// Makes the directory, or takes it when it is there and empty.
    pub(super) fn create(path: &Path, group: Option<u32>) -> Result<Self, UnpackError> {
        match rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(UnpackError::io("create the directory", path, error)),
        }
        let mut entries =
            std::fs::read_dir(path).map_err(|error| UnpackError::io("read the directory", path, error))?;
        if entries.next().is_some() {
            let error = std::io::Error::from(std::io::ErrorKind::DirectoryNotEmpty);
            return Err(UnpackError::io("unpack into", path, error));
        }
        let root = rustix::fs::open(path, DIRECTORY, Mode::empty())
            .map_err(|error| UnpackError::io("open the directory", path, error))?;
        let tree = Self {
            path: path.to_owned(),
            root,
            last_parent: None,
            buffer: vec![0; COPY_BYTES],
            access: Access { group: group.map(Gid::from_raw) },
            finished: false,
        };
        // The mode of `mkdir` went through the process's umask.
        let access = tree.access;
        access
            .set(&tree.root, if access.group.is_some() { 0o750 } else { 0o755 })
            .map_err(|error| UnpackError::io("set the mode of", path, error))?;
        Ok(tree)
    }

    /// Creates every entry and makes all of it durable.
    pub(super) fn fill(mut self, reader: &mut TarReader) -> Result<Unpacked, UnpackError> {
        let mut unpacked = Unpacked::default();
        while let Some(entry) = reader.next_entry()? {
            self.create_entry(reader, &entry)?;
            unpacked.add(&entry.kind);
        }
        let sync = |error| UnpackError::io("make durable", &self.path, error);
        syncfs(&self.root).map_err(sync)?;
        fsync(&self.root).map_err(sync)?;
        if let Some(above) = self.path.parent() {
            let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
            sync_directory(above).map_err(|error| UnpackError::io("make durable", above, error))?;
        }
        self.finished = true;
        Ok(unpacked)
    }

    fn create_entry(&mut self, reader: &mut TarReader, entry: &Entry) -> Result<(), UnpackError> {
        if entry.name.is_root() {
            return Ok(());
        }
        let parent = self.parent(reader, &entry.name)?;
        let leaf = entry.name.split().1;
        let result = match &entry.kind {
            Kind::Directory => make_directory(&parent, leaf, Some(entry.mode), self.access).map(drop),
            Kind::Symlink(target) => symlinkat(target.as_slice(), &parent, leaf),
            Kind::HardLink(target) => return self.hard_link(reader, entry, target, parent),
            Kind::File { .. } => {
                let file = create_file(&parent, leaf).map_err(|error| refusal(reader, &entry.name, error))?;
                self.copy(reader, entry, File::from(file))?;
                Ok(())
            }
        };
        result.map_err(|error| refusal(reader, &entry.name, error))?;
        self.last_parent = Some((entry.name.split().0.to_vec(), parent));
        Ok(())
    }

    fn copy(&mut self, reader: &mut TarReader, entry: &Entry, mut file: File) -> Result<(), UnpackError> {
        let path = || self.path.join(show(entry.name.as_bytes()));
        loop {
            let count = reader.read(&mut self.buffer)?;
            if count == 0 {
                break;
            }
            file.write_all(&self.buffer[..count])
                .map_err(|error| UnpackError::io("write", &path(), error))?;
        }
        let modified = Timespec { tv_sec: entry.modified, tv_nsec: 0 };
        self.access
            .set(&file, entry.mode)
            .and_then(|()| {
                futimens(&file, &Timestamps { last_access: modified, last_modification: modified })
            })
            .map_err(|error| UnpackError::io("set the mode of", &path(), error))
    }

    fn hard_link(
        &mut self,
        reader: &TarReader,
        entry: &Entry,
        target: &Name,
        parent: OwnedFd,
    ) -> Result<(), UnpackError> {
        let (directory, file) = target.split();
        let refuse = |error| refusal(reader, &entry.name, error);
        let from = self.open_directory(directory).map_err(refuse)?;
        let kind = statat(&from, file, AtFlags::SYMLINK_NOFOLLOW).map_err(refuse)?;
        if FileType::from_raw_mode(kind.st_mode) != FileType::RegularFile {
            let name = show(entry.name.as_bytes());
            let detail = format!("the hard link `{name}` leads to something that is not a file");
            return Err(reader.escape(&detail).into());
        }
        linkat(&from, file, &parent, entry.name.split().1, AtFlags::empty()).map_err(refuse)
    }

    /// The directory of an entry; made with all above it when the archive did not name it before.
    fn parent(&mut self, reader: &TarReader, name: &Name) -> Result<OwnedFd, UnpackError> {
        let (directory, _) = name.split();
        if let Some((path, parent)) = self.last_parent.take()
            && path == directory
        {
            return Ok(parent);
        }
        let refuse = |error| refusal(reader, name, error);
        match self.open_directory(directory) {
            Err(Errno::NOENT) => {}
            other => return other.map_err(refuse),
        }
        let mut at = self.open_directory(b"").map_err(refuse)?;
        for component in directory.split(|byte| *byte == b'/') {
            at = make_directory(&at, component, None, self.access).map_err(refuse)?;
        }
        Ok(at)
    }

    fn open_directory(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b"." } else { path };
        openat2(&self.root, path, DIRECTORY, Mode::empty(), BENEATH)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a half-unpacked directory could not be removed");
        }
    }
}

/// Makes a directory, or opens the one that is there. Its owner can always write: it must be removable.
fn make_directory(
    parent: &OwnedFd,
    name: &[u8],
    mode: Option<u32>,
    access: Access,
) -> Result<OwnedFd, Errno> {
    let made = match mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(error) => return Err(error),
    };
    let directory = openat2(parent, name, DIRECTORY, Mode::empty(), BENEATH)?;
    if made || mode.is_some() {
        access.set(&directory, mode.unwrap_or(MODE_MASK) | 0o700)?;
    }
    Ok(directory)
}

fn create_file(parent: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat2(parent.as_fd(), name, flags, Mode::from_raw_mode(0o600), BENEATH)?;
    debug_assert!(fstat(&file).is_ok_and(|stat| stat.st_nlink == 1));
    Ok(file)
}

/// What the system's refusal to create an entry says about the archive.
fn refusal(reader: &TarReader, name: &Name, error: Errno) -> UnpackError {
    let shown = show(name.as_bytes());
    let refused = match error {
        Errno::EXIST => reader.corrupt(&format!("two entries are called `{shown}`")),
        Errno::NOTDIR => reader.corrupt(&format!("`{shown}` is a directory in one entry and not in another")),
        Errno::LOOP | Errno::XDEV => reader.escape(&format!("`{shown}` goes through a link")),
        Errno::NOENT => reader.escape(&format!("the hard link `{shown}` leads to no earlier file")),
        error => return UnpackError::io("create", Path::new(&shown), error),
    };
    refused.into()
}
