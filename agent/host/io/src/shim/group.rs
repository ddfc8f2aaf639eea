//! A control group for one service, where a writable hierarchy of version 2 exists (cgroups(7)).
//!
//! It only holds the service's processes together: no controller is switched on. Where there is none,
//! descent from the shim does the same, see [`super::sweep`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A group of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    path: PathBuf,
}

/// `off` in the runner's environment: services get no group.
pub(super) const SWITCH: &str = "TRIMARAN_SHIM_GROUP";
/// Processes that one scan of a group may name; more are seen by the next scan.
const MEMBERS_READ_MAX: usize = 1 << 20;

impl Group {
    /// Makes a group beside the caller; `None` where that is not possible or not wanted.
    pub(super) fn create(name: &str) -> Option<Self> {
        if std::env::var_os(SWITCH).is_some_and(|value| value == "off") {
            return None;
        }
        let path = own_group()?.join(format!("trimaran-{name}"));
        fs::create_dir(&path).ok()?;
        let group = Self { path };
        // A group that can't be joined is of no use.
        if group.joiner().is_err() {
            group.remove();
            return None;
        }
        Some(group)
    }

    /// The group at a path that was noted earlier.
    pub(super) fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A file through which a process joins: it writes `0`.
    pub(super) fn joiner(&self) -> io::Result<File> {
        OpenOptions::new().write(true).open(self.path.join("cgroup.procs"))
    }

    /// Numbers of its processes and of those in groups below it, ended ones too.
    pub(super) fn members(&self) -> Vec<u32> {
        let mut members = Vec::new();
        let mut ahead = vec![self.path.clone()];
        while let Some(directory) = ahead.pop() {
            let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            members.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
            if members.len() > MEMBERS_READ_MAX {
                return members;
            }
            ahead.extend(below(&directory));
        }
        members
    }

    /// Whether anything runs in it or below; the kernel's own word, unlike a list of members.
    pub(super) fn is_populated(&self) -> bool {
        let events = fs::read_to_string(self.path.join("cgroup.events")).unwrap_or_default();
        events.lines().any(|line| line == "populated 1")
    }

    /// Kills all of it at once: nothing that forks can run away. False before Linux 5.14.
    pub(super) fn kill(&self) -> bool {
        let file = OpenOptions::new().write(true).open(self.path.join("cgroup.kill"));
        file.and_then(|mut file| file.write_all(b"1")).is_ok()
    }

    /// Removes it with the groups below it, once they are empty.
    pub(super) fn remove(&self) {
        remove_tree(&self.path, 0);
    }
}

/// Groups that a service may have made inside of its own; deeper ones stay.
const DEPTH_MAX: usize = 32;

fn remove_tree(path: &Path, depth: usize) {
    if depth < DEPTH_MAX {
        below(path).into_iter().for_each(|child| remove_tree(&child, depth + 1));
    }
    // One that is still in use is found again by whoever searches for what is left.
    let _ = fs::remove_dir(path);
}

fn below(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let is_directory = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    entries.filter_map(Result::ok).filter(is_directory).map(|entry| entry.path()).collect()
}

/// The group that this process is in: where version 2 is mounted, and the path of `0::PATH`.
fn own_group() -> Option<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    // A path above the root of the namespace can't be reached from here.
    if path.contains("/..") {
        return None;
    }
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mount = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (place, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup2" && !place.contains('\\')).then_some(place)
    })?;
    Some(Path::new(mount).join(path.trim_start_matches('/')))
}
