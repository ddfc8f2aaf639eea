//! A control group for one service, where a writable hierarchy of version 2 exists (cgroups(7)).
//!
//! It holds the service's processes together and, where controllers are delegated to the runner, bounds what they use
//! together. Where there is none, descent from the shim finds the same processes, see [`super::sweep`].
//!
//! A group with processes can't hand controllers to groups below it. So the runner, once, moves itself and its shims into
//! a leaf `runner` and hands the controllers of the group that it was started in to the groups of services, which are
//! made beside that leaf.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A group of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    path: PathBuf,
}

/// What all processes of a service may use together; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupLimits {
    /// Bytes. Over it the whole service is ended.
    pub memory: Option<u64>,
    /// Of one processor.
    pub cpu_percent: Option<u32>,
    /// Processes and threads.
    pub tasks: Option<u32>,
}

/// What groups of services can bound on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Controllers {
    pub memory: bool,
    pub cpu: bool,
    pub tasks: bool,
}

impl Controllers {
    /// The limits that nothing here enforces, in words.
    pub fn missing_for(self, limits: &GroupLimits) -> Vec<&'static str> {
        let all = [
            ("memory", limits.memory.is_some() && !self.memory),
            ("cpu", limits.cpu_percent.is_some() && !self.cpu),
            ("tasks", limits.tasks.is_some() && !self.tasks),
        ];
        all.into_iter().filter(|(_, missing)| *missing).map(|(name, _)| name).collect()
    }

    /// Reads a file `cgroup.subtree_control` or `cgroup.controllers`.
    fn read(file: &Path) -> Self {
        let text = fs::read_to_string(file).unwrap_or_default();
        let has = |name: &str| text.split_whitespace().any(|it| it == name);
        Self { memory: has("memory"), cpu: has("cpu"), tasks: has("pids") }
    }
}

/// The leaf that the runner and its shims are in.
const LEAF: &str = "runner";
/// One period of `cpu.max`, in microseconds.
const CPU_PERIOD: u64 = 100_000;

/// Makes the group that this process was started in hand its controllers to groups of services, where it may. Returns
/// what such groups can bound. Done again it changes nothing.
pub fn prepare_groups(is_shim: impl Fn(u32) -> bool) -> Controllers {
    match services_group() {
        Some(group) if is_ours(&group) => prepare_at(&group, std::process::id(), is_shim),
        _ => Controllers::default(),
    }
}

fn prepare_at(group: &Path, own: u32, is_shim: impl Fn(u32) -> bool) -> Controllers {
    let control = group.join("cgroup.subtree_control");
    let here = Controllers::read(&group.join("cgroup.controllers"));
    if here == Controllers::default() || Controllers::read(&control) == here {
        return Controllers::read(&control);
    }
    let leaf = group.join(LEAF);
    let moved = match fs::create_dir(&leaf) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Controllers::default(),
        _ => fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default(),
    };
    for pid in moved.lines().filter_map(|line| line.parse::<u32>().ok()) {
        if pid == own || is_shim(pid) {
            // One that has ended meanwhile is gone from there too.
            let _ = fs::write(leaf.join("cgroup.procs"), pid.to_string());
        }
    }
    for (name, there) in [("memory", here.memory), ("cpu", here.cpu), ("pids", here.tasks)] {
        // Refused while others than ours are in the group; then nothing is bounded, and the runner says so.
        if there {
            let _ = write(&control, &format!("+{name}"));
        }
    }
    Controllers::read(&control)
}

/// A unit of systemd is its own affair unless it says `Delegate=` (systemd.resource-control(5)).
fn is_ours(group: &Path) -> bool {
    let unit = group.extension().is_some_and(|kind| kind == "service" || kind == "scope" || kind == "slice");
    let delegated = ["user.delegate", "trusted.delegate"].iter().any(|name| {
        let mut value = [0; 8];
        rustix::fs::getxattr(group, *name, &mut value[..])
            .is_ok_and(|length| value[..length].starts_with(b"1"))
    });
    !unit || delegated
}

/// Below which the groups of services are made.
fn services_group() -> Option<PathBuf> {
    let own = own_group()?;
    match own.file_name() {
        Some(name) if name == LEAF => own.parent().map(Path::to_owned),
        _ => Some(own),
    }
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(file)?.write_all(text.as_bytes())
}

/// `off` in the runner's environment: services get no group.
pub(super) const SWITCH: &str = "TRIMARAN_SHIM_GROUP";
/// Processes that one scan of a group may name; more are seen by the next scan.
const MEMBERS_READ_MAX: usize = 1 << 20;

impl Group {
    /// Makes a group beside the caller; `None` where that is not possible or not wanted. Limits without a controller
    /// are left out, which the runner says where it asks for them.
    pub(super) fn create(name: &str, limits: &GroupLimits) -> Option<Self> {
        if std::env::var_os(SWITCH).is_some_and(|value| value == "off") {
            return None;
        }
        let path = services_group()?.join(format!("trimaran-{name}"));
        fs::create_dir(&path).ok()?;
        let group = Self { path };
        group.limit(limits);
        // A group that can't be joined is of no use.
        if group.joiner().is_err() {
            group.remove();
            return None;
        }
        Some(group)
    }

    fn limit(&self, limits: &GroupLimits) {
        let set = |file: &str, value: Option<String>| {
            // Without its controller the file is not there.
            if let Some(value) = value {
                let _ = write(&self.path.join(file), &value);
            }
        };
        set("memory.max", limits.memory.map(|bytes| bytes.to_string()));
        // What one process of it lacks the others lack too.
        set("memory.oom.group", limits.memory.map(|_| "1".to_owned()));
        let quota = limits.cpu_percent.map(|percent| u64::from(percent) * CPU_PERIOD / 100);
        set("cpu.max", quota.map(|quota| format!("{quota} {CPU_PERIOD}")));
        set("pids.max", limits.tasks.map(|tasks| tasks.to_string()));
    }

    /// Whether the kernel has ended a process of it for want of memory.
    pub(super) fn was_out_of_memory(&self) -> bool {
        let events = fs::read_to_string(self.path.join("memory.events")).unwrap_or_default();
        let count = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.is_some_and(|count| count.trim() != "0")
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with the files of a group; what is written to them stays as it was written.
    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("writable");
        }
        folder
    }

    #[test]
    fn limits_are_written_where_their_controllers_are() {
        let group = folder(&[("memory.max", ""), ("memory.oom.group", ""), ("cpu.max", "")]);
        let limits = GroupLimits { memory: Some(1 << 20), cpu_percent: Some(150), tasks: Some(7) };
        Group::at(group.path()).limit(&limits);
        let read = |name: &str| fs::read_to_string(group.path().join(name)).unwrap_or_default();
        assert_eq!((read("memory.max"), read("memory.oom.group")), ("1048576".to_owned(), "1".to_owned()));
        assert_eq!(read("cpu.max"), "150000 100000");
        assert!(!group.path().join("pids.max").exists(), "without its controller there is no file");
        let here = Controllers { memory: true, cpu: true, tasks: false };
        assert_eq!(here.missing_for(&limits), ["tasks"]);
    }

    #[test]
    fn an_end_for_want_of_memory_is_counted_by_the_group() {
        let none = folder(&[]);
        assert!(!Group::at(none.path()).was_out_of_memory());
        let quiet = folder(&[("memory.events", "low 0\nhigh 0\nmax 4\noom 0\noom_kill 0\n")]);
        assert!(!Group::at(quiet.path()).was_out_of_memory());
        let killed = folder(&[("memory.events", "max 9\noom 1\noom_kill 1\noom_group_kill 1\n")]);
        assert!(Group::at(killed.path()).was_out_of_memory());
    }

    #[test]
    fn the_runner_and_its_shims_make_way_for_controllers() {
        let group = folder(&[
            ("cgroup.controllers", "cpuset cpu memory pids"),
            ("cgroup.subtree_control", ""),
            ("cgroup.procs", "1\n20\n30\n"),
        ]);
        prepare_at(group.path(), 20, |pid| pid == 30);
        let last = fs::read_to_string(group.path().join("runner/cgroup.procs")).expect("a leaf");
        assert_eq!(last, "30", "the runner, then its shim; a stranger stays");
        let control = fs::read_to_string(group.path().join("cgroup.subtree_control")).expect("a file");
        assert!(control.contains("+pids"), "{control}");
        let bare = folder(&[("cgroup.controllers", ""), ("cgroup.procs", "20\n")]);
        assert_eq!(prepare_at(bare.path(), 20, |_| false), Controllers::default());
        assert!(!bare.path().join("runner").exists(), "nothing is moved for nothing");
    }
}
