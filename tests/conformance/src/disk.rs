//! A disk in memory with a durable and a volatile half, and a crash at any of its operations.
//!
//! A name is durable once its directory was synced, the bytes of a file once the file was. At a power failure
//! each directory either loses everything that was not synced or has been lucky; at the death of a process
//! nothing is lost.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};

use trimaran_host::filesystem::{EntryKind, FileSystem};

/// A shared disk. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct ModelDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    nodes: Vec<Node>,
    /// Operations until the crash; `None`: none comes.
    fuse: Option<u64>,
    operations: u64,
    /// While set, everything fails: whoever works on the disk is dead.
    dead: bool,
    full: bool,
    /// A test inspects: nothing it does counts.
    watching: bool,
}

#[derive(Debug, Clone)]
enum Node {
    File { bytes: Vec<u8>, durable: Vec<u8> },
    Link(PathBuf),
    Dir { names: BTreeMap<String, usize>, durable: BTreeMap<String, usize> },
}

const ROOT: usize = 0;

impl Default for State {
    fn default() -> Self {
        let root = Node::Dir { names: BTreeMap::new(), durable: BTreeMap::new() };
        Self { nodes: vec![root], fuse: None, operations: 0, dead: false, full: false, watching: false }
    }
}

/// What a crash does to bytes and names that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The process died; the kernel runs on.
    Nothing,
    /// Power failed; of directory number N everything unsynced is lost when bit N mod 8 is set.
    Unsynced(u8),
}

impl ModelDisk {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().expect("the model does not panic with the lock"))
    }

    /// The process that works on the disk dies at the `operation`-th operation from now (from 1).
    pub fn crash_at(&self, operation: Option<u64>) {
        self.with(|state| state.fuse = operation);
    }

    pub fn is_dead(&self) -> bool {
        self.with(|state| state.dead)
    }

    /// Inspects the disk as a test does: without an operation, and also when the process is dead.
    pub fn watch<T>(&self, look: impl FnOnce() -> T) -> T {
        self.with(|state| state.watching = true);
        let seen = look();
        self.with(|state| state.watching = false);
        seen
    }

    /// Counts as an operation, for crash points beside the disk.
    pub fn tick(&self) -> io::Result<()> {
        self.with(State::tick)
    }

    pub fn operations(&self) -> u64 {
        self.with(|state| state.operations)
    }

    /// From now on nothing more fits.
    pub fn set_full(&self, full: bool) {
        self.with(|state| state.full = full);
    }

    /// After the crash: another process finds what is left.
    pub fn recover(&self, loss: Loss) {
        self.with(|state| state.recover(loss));
    }

    /// Every path below `dir`, with the targets of links.
    pub fn tree(&self, dir: &Path) -> Vec<String> {
        self.with(|state| {
            let mut paths = Vec::new();
            if let Ok(id) = state.find(dir) {
                state.walk(id, "", &mut paths);
            }
            paths
        })
    }

    /// Damages a file: its bytes are replaced, durably, and no one is notified.
    pub fn damage(&self, path: &Path, bytes: &[u8]) {
        self.with(|state| {
            let id = state.find(path).expect("the file to damage is there");
            state.nodes[id] = Node::File { bytes: bytes.to_vec(), durable: bytes.to_vec() };
        });
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl State {
    fn tick(&mut self) -> io::Result<()> {
        if self.watching {
            return Ok(());
        }
        if self.dead {
            return Err(io::Error::other("the process is dead"));
        }
        self.operations += 1;
        if let Some(fuse) = &mut self.fuse {
            *fuse -= 1;
            if *fuse == 0 {
                self.fuse = None;
                self.dead = true;
                return Err(io::Error::other("the process dies here"));
            }
        }
        Ok(())
    }

    fn recover(&mut self, loss: Loss) {
        self.dead = false;
        let Loss::Unsynced(bits) = loss else { return };
        for (number, node) in self.nodes.iter_mut().enumerate() {
            let lost = bits >> (number % 8) & 1 == 1;
            match node {
                Node::File { bytes, durable } => bytes.clone_from(durable),
                Node::Dir { names, durable } if lost => names.clone_from(durable),
                Node::Dir { names, durable } => durable.clone_from(names),
                Node::Link(_) => {}
            }
        }
    }

    fn names(path: &Path) -> Vec<String> {
        let normal = path.components().filter_map(|part| match part {
            Component::Normal(name) => name.to_str().map(str::to_owned),
            _ => None,
        });
        normal.collect()
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        let mut at = ROOT;
        for name in Self::names(path) {
            let Node::Dir { names, .. } = &self.nodes[at] else { return Err(missing()) };
            at = *names.get(&name).ok_or_else(missing)?;
        }
        Ok(at)
    }

    /// The directory of a path and the last name.
    fn place(&self, path: &Path) -> io::Result<(usize, String)> {
        let parent = self.find(path.parent().ok_or_else(missing)?)?;
        Ok((parent, Self::names(path).pop().ok_or_else(missing)?))
    }

    fn entries(&mut self, dir: usize) -> io::Result<&mut BTreeMap<String, usize>> {
        match &mut self.nodes[dir] {
            Node::Dir { names, .. } => Ok(names),
            Node::File { .. } | Node::Link(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn put(&mut self, path: &Path, node: Node) -> io::Result<usize> {
        let (dir, name) = self.place(path)?;
        self.nodes.push(node);
        let id = self.nodes.len() - 1;
        self.entries(dir)?.insert(name, id);
        Ok(id)
    }

    fn unlink(&mut self, path: &Path) -> io::Result<()> {
        match self.place(path) {
            Ok((dir, name)) => {
                self.entries(dir)?.remove(&name);
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }

    fn walk(&self, id: usize, path: &str, out: &mut Vec<String>) {
        match &self.nodes[id] {
            Node::Dir { names, .. } => {
                for (name, child) in names {
                    self.walk(*child, &format!("{path}/{name}"), out);
                }
                out.push(format!("{path}/"));
            }
            Node::File { .. } => out.push(path.to_owned()),
            Node::Link(target) => out.push(format!("{path} -> {}", target.display())),
        }
    }
}

impl FileSystem for ModelDisk {
    /// Changes nothing, so it is no operation at which a crash could matter.
    fn kind(&self, path: &Path) -> io::Result<Option<EntryKind>> {
        self.with(|state| {
            if state.dead && !state.watching {
                return Err(io::Error::other("the process is dead"));
            }
            Ok(state.find(path).ok().map(|id| match &state.nodes[id] {
                Node::File { .. } => EntryKind::File,
                Node::Link(_) => EntryKind::Link,
                Node::Dir { .. } => EntryKind::Directory,
            }))
        })
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.with(|state| {
            state.tick()?;
            match &state.nodes[state.find(path)?] {
                Node::File { bytes, .. } => Ok(bytes.clone()),
                Node::Link(_) | Node::Dir { .. } => Err(io::ErrorKind::IsADirectory.into()),
            }
        })
    }

    fn write_synced(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.with(|state| {
            state.tick()?;
            if state.full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let id = state.put(path, Node::File { bytes: Vec::new(), durable: Vec::new() })?;
            state.tick()?;
            let half = bytes[..bytes.len() / 2].to_vec();
            state.nodes[id] = Node::File { bytes: half.clone(), durable: half };
            state.tick()?;
            state.nodes[id] = Node::File { bytes: bytes.to_vec(), durable: bytes.to_vec() };
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.with(|state| {
            state.tick()?;
            let id = state.find(from)?;
            let (dir, name) = state.place(to)?;
            state.unlink(from)?;
            state.entries(dir)?.insert(name, id);
            Ok(())
        })
    }

    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()> {
        self.with(|state| {
            state.tick()?;
            if state.find(link).is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.put(link, Node::Link(target.to_owned())).map(drop)
        })
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.with(|state| {
            state.tick()?;
            match &state.nodes[state.find(path)?] {
                Node::Link(target) => Ok(target.clone()),
                Node::File { .. } | Node::Dir { .. } => Err(io::ErrorKind::InvalidInput.into()),
            }
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.with(|state| {
            state.tick()?;
            let id = state.find(path)?;
            if let Node::Dir { names, durable } = &mut state.nodes[id] {
                durable.clone_from(names);
            }
            Ok(())
        })
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.with(|state| {
            state.tick()?;
            let mut so_far = PathBuf::from("/");
            for name in State::names(path) {
                so_far.push(name);
                if state.find(&so_far).is_err() {
                    let empty = Node::Dir { names: BTreeMap::new(), durable: BTreeMap::new() };
                    state.put(&so_far, empty)?;
                }
            }
            Ok(())
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.with(|state| {
            state.tick()?;
            state.unlink(path)
        })
    }

    /// In two operations: first what is in it.
    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        self.with(|state| {
            state.tick()?;
            if let Ok(id) = state.find(path)
                && let Node::Dir { names, .. } = &mut state.nodes[id]
            {
                names.clear();
            }
            state.tick()?;
            state.unlink(path)
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.with(|state| {
            state.tick()?;
            let id = state.find(path)?;
            Ok(state.entries(id)?.keys().cloned().collect())
        })
    }
}
