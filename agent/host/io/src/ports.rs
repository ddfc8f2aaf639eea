//! Who listens where the service will: checked before anything that runs is stopped.

mod sock_diag;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use self::sock_diag::{Listener, listeners};

/// A process that listens on the port and is not a descendant of one of `ours`: in words, or `None`.
pub fn foreign_listener(address: IpAddr, port: u16, ours: &BTreeSet<u32>) -> io::Result<Option<String>> {
    let all = listeners()?;
    let in_the_way = all.iter().filter(|listener| is_in_the_way(listener, address, port));
    let mut inodes: BTreeSet<u64> = in_the_way.map(|listener| listener.inode).collect();
    if inodes.is_empty() {
        return Ok(None);
    }
    // Usually the service itself, which is to be stopped; reading every process of a host takes a while.
    let held_by_ours: BTreeSet<u64> = ours.iter().flat_map(|pid| sockets_of(*pid, &inodes)).collect();
    inodes.retain(|inode| !held_by_ours.contains(inode));
    if inodes.is_empty() {
        return Ok(None);
    }
    let holders = holders(&inodes)?;
    let mut seen = BTreeSet::new();
    for (pid, inode) in &holders {
        seen.insert(*inode);
        if !descends_from(*pid, ours) {
            return Ok(Some(format!("process {pid} ({})", executable(*pid))));
        }
    }
    Ok(inodes.difference(&seen).next().map(|_| "a process that can't be seen from here".to_owned()))
}

/// Whether the listener would be in the way of one at `address:port`.
fn is_in_the_way(listener: &Listener, address: IpAddr, port: u16) -> bool {
    let listens = listener.address.to_canonical();
    listener.port == port && (listens.is_unspecified() || listens == address.to_canonical())
}

/// Processes with one of these sockets among their descriptors.
fn holders(inodes: &BTreeSet<u64>) -> io::Result<Vec<(u32, u64)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        found.extend(sockets_of(pid, inodes).into_iter().map(|inode| (pid, inode)));
    }
    found.sort_unstable();
    Ok(found)
}

/// Those of the sockets that are among a process's descriptors.
fn sockets_of(pid: u32, inodes: &BTreeSet<u64>) -> Vec<u64> {
    // Processes of other users, and those that end meanwhile, can't be read.
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let targets = descriptors.flatten().filter_map(|descriptor| std::fs::read_link(descriptor.path()).ok());
    targets.filter_map(|target| socket_inode(&target)).filter(|inode| inodes.contains(inode)).collect()
}

fn socket_inode(target: &Path) -> Option<u64> {
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Whether a process or one of its ancestors is in `ours`.
fn descends_from(pid: u32, ours: &BTreeSet<u32>) -> bool {
    let mut next = Some(pid);
    // A chain of parents has no cycle, but it may change while it is read.
    for _ in 0..1024 {
        match next {
            Some(pid) if ours.contains(&pid) => return true,
            Some(pid) if pid > 1 => next = parent(pid),
            _ => return false,
        }
    }
    false
}

/// The parent of a process (proc_pid_stat(5), field 4).
pub fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn executable(pid: u32) -> String {
    let path = std::fs::read_link(format!("/proc/{pid}/exe"));
    path.map_or_else(|_| "unknown program".to_owned(), |path| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_listener_is_foreign_unless_it_is_ours() {
        let listener = TcpListener::bind("127.0.21.9:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let find = |ip: &str, ours: &[u32]| {
            let ip = ip.parse().expect("an address");
            foreign_listener(ip, address.port(), &ours.iter().copied().collect()).expect("/proc is readable")
        };
        let words = find("127.0.21.9", &[]).expect("this process listens");
        assert!(words.contains(&std::process::id().to_string()), "{words}");
        assert_eq!(find("127.0.21.9", &[std::process::id()]), None);
        assert_eq!(find("127.0.21.10", &[]), None, "another address is free");
    }

    #[test]
    fn a_wildcard_listener_is_in_the_way_of_every_address() {
        for any in ["0.0.0.0:0", "[::]:0"] {
            let listener = TcpListener::bind(any).expect("a free port");
            let port = listener.local_addr().expect("an address").port();
            let ip = "127.0.21.11".parse().expect("an address");
            let found = foreign_listener(ip, port, &BTreeSet::new()).expect("/proc is readable");
            assert!(found.is_some(), "{any}");
        }
    }
}
