//! Who listens on the service's port: checked before anything that runs is stopped, and after each probe that
//! succeeded, since an answer proves only that someone answers.

mod sock_diag;

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use self::sock_diag::{Listener, listeners};

/// A process that listens on the port and is not a descendant of one of `ours`: in words, or `None`.
pub fn foreign_listener(address: IpAddr, port: u16, ours: &BTreeSet<u32>) -> io::Result<Option<String>> {
    let all = listeners()?;
    let in_the_way = all.iter().filter(|listener| blocks(listener, address, port));
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

/// Whose process answers at an address of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answerer {
    /// A process of the service holds the listening socket; its inodes, for the next time.
    Service(BTreeSet<u64>),
    /// Another process holds it, in words.
    Stranger(String),
    /// Why it can't be known.
    Unknown(String),
}

/// Whose process answers at `address:port`. `known`: sockets that were seen to be the service's, which saves the
/// search through its processes. Blocks.
pub(crate) fn answerer(
    address: IpAddr,
    port: u16,
    known: &BTreeSet<u64>,
    service: impl FnOnce() -> BTreeSet<u32>,
) -> io::Result<Answerer> {
    let all = listeners()?;
    let inodes = answering(&all, address, port);
    if inodes.is_empty() {
        let why = format!("no process of this host listens on {}", SocketAddr::new(address, port));
        return Ok(Answerer::Unknown(why));
    }
    if inodes.is_subset(known) {
        return Ok(Answerer::Service(inodes));
    }
    let of_service: BTreeSet<u64> = service().iter().flat_map(|pid| sockets_of(*pid, &inodes)).collect();
    let others: BTreeSet<u64> = inodes.difference(&of_service).copied().collect();
    if others.is_empty() {
        return Ok(Answerer::Service(inodes));
    }
    let place = SocketAddr::new(address, port);
    Ok(match holders(&others)?.first() {
        Some((pid, _)) => {
            Answerer::Stranger(format!("process {pid} ({}) listens on {place}", executable(*pid)))
        }
        None => Answerer::Unknown(format!("the process that listens on {place} can't be seen from here")),
    })
}

/// The sockets among which the kernel chooses for a connection to `address:port`: those of this address, else those
/// of every address, an IPv4 socket before one of both families.
fn answering(all: &[Listener], address: IpAddr, port: u16) -> BTreeSet<u64> {
    let address = address.to_canonical();
    let rank = |listener: &Listener| match (listener.address.to_canonical(), address) {
        (listens, _) if listens == address => Some(0),
        (IpAddr::V4(listens), IpAddr::V4(_)) if listens.is_unspecified() => Some(1),
        (IpAddr::V6(listens), _) if listens.is_unspecified() => Some(2),
        _ => None,
    };
    let ranked: Vec<(u8, u64)> = all
        .iter()
        .filter(|listener| listener.port == port)
        .filter_map(|listener| Some((rank(listener)?, listener.inode)))
        .collect();
    let best = ranked.iter().map(|(rank, _)| *rank).min();
    ranked.into_iter().filter(|(rank, _)| Some(*rank) == best).map(|(_, inode)| inode).collect()
}

/// Whether the listener would be in the way of one at `address:port`.
fn blocks(listener: &Listener, address: IpAddr, port: u16) -> bool {
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
    fn who_answers_is_the_service_a_stranger_or_unknown() {
        let listener = TcpListener::bind("127.0.21.13:0").expect("a free port");
        let at = listener.local_addr().expect("an address");
        let own: BTreeSet<u32> = [std::process::id()].into();
        let ask = |known: &BTreeSet<u64>, service: BTreeSet<u32>| {
            answerer(at.ip(), at.port(), known, || service).expect("the kernel answers")
        };
        let Answerer::Service(inodes) = ask(&BTreeSet::new(), own) else { panic!("this process listens") };
        assert_eq!(ask(&inodes, BTreeSet::new()), Answerer::Service(inodes.clone()), "it is known already");
        let Answerer::Stranger(words) = ask(&BTreeSet::new(), BTreeSet::new()) else { panic!("a stranger") };
        assert!(words.contains(&format!("process {}", std::process::id())), "{words}");
        drop(listener);
        assert!(matches!(ask(&inodes, BTreeSet::new()), Answerer::Unknown(_)), "no one listens");
    }

    #[test]
    fn the_nearest_listener_answers() {
        let listener =
            |address: &str, inode| Listener { address: address.parse().expect("one"), port: 80, inode };
        let all = [listener("0.0.0.0", 1), listener("::", 2), listener("10.0.0.1", 3), listener("::1", 4)];
        let answers = |to: &str, all: &[Listener]| {
            answering(all, to.parse().expect("an address"), 80).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(answers("10.0.0.1", &all), [3]);
        assert_eq!(answers("10.0.0.2", &all), [1]);
        assert_eq!(answers("10.0.0.2", &all[1..]), [2]);
        assert_eq!(answers("::1", &all), [4]);
        assert_eq!(answers("::2", &all), [2]);
        assert!(answers("::2", &all[..1]).is_empty());
        let shared = [listener("10.0.0.1", 5), listener("::ffff:10.0.0.1", 6)];
        assert_eq!(answers("10.0.0.1", &shared), [5, 6], "the kernel chooses among both");
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
