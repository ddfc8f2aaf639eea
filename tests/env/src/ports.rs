//! Ranges of ports on 127.0.0.1, each for one cluster at a time: of this test process, of others that run beside it, and of
//! what one that was killed has left behind.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};

/// Below the ports that systems give to connections.
const FIRST: u16 = 20_000;
/// Of one range.
const EACH: u16 = 8;
const RANGES: u16 = 1500;

/// A range that no one else uses until it is dropped.
pub(crate) struct Ports {
    first: u16,
    /// Locked. The lock ends with this process, however that ends.
    _lock: File,
}

impl Ports {
    /// Reserves a range whose ports are free.
    pub(crate) fn reserve() -> Self {
        let begin = u16::try_from(std::process::id() % u32::from(RANGES)).expect("less than the ranges");
        let mut ranges = (0..RANGES).map(|n| (begin + n) % RANGES);
        ranges.find_map(Self::try_range).expect("a range of ports is free")
    }

    pub(crate) fn first(&self) -> u16 {
        self.first
    }

    fn try_range(range: u16) -> Option<Self> {
        let directory = std::env::temp_dir().join("trimaran-test-ports");
        std::fs::create_dir_all(&directory).expect("a directory for locks");
        let file = directory.join(range.to_string());
        let lock = File::options().create(true).append(true).open(file).expect("a file for a lock");
        lock.try_lock().ok()?;
        let first = FIRST + range * EACH;
        let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        (first..first + EACH).all(is_free).then_some(Self { first, _lock: lock })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_for_one_at_a_time_and_has_free_ports_only() {
        let (one, other) = (Ports::reserve(), Ports::reserve());
        assert!(one.first().abs_diff(other.first()) >= EACH);
        let range = (one.first() - FIRST) / EACH;
        assert!(Ports::try_range(range).is_none(), "it is reserved");
        drop(one);
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, FIRST + range * EACH + 3)).expect("it is free");
        assert!(Ports::try_range(range).is_none(), "a port is in use");
        drop(listener);
    }
}
