//! A network of datagrams between coordinators that loses, delays, repeats and damages them, in each direction on its own.
//!
//! In front of each coordinator is a socket whose address the others are given. What arrives there is passed on from a socket
//! of its own for each sender, so that answers come back by the same way. Senders are known by their address: a coordinator
//! dials from the address at which it listens. Whoever is not a coordinator passes untouched.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the threads notice that the network has ended.
const TICK: Duration = Duration::from_millis(50);
const DATAGRAM_MAX: usize = 65_536;

/// What becomes of the datagrams of one direction; shares are of a thousand.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rule {
    pub lost: u64,
    pub repeated: u64,
    pub damaged: u64,
    /// Each is this late at most, so that they overtake each other.
    pub delay_max: Duration,
}

impl Rule {
    pub const CUT: Self = Self { lost: 1000, repeated: 0, damaged: 0, delay_max: Duration::ZERO };
}

/// Ends with its threads when it is dropped.
pub struct Network {
    shared: Arc<Shared>,
    fronts: BTreeMap<String, SocketAddr>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    names: BTreeMap<SocketAddr, String>,
    rules: Mutex<BTreeMap<(String, String), Rule>>,
    random: Mutex<u64>,
    late: Mutex<Sender<Late>>,
    ended: AtomicBool,
}

/// A datagram that is sent later; the earliest comes first.
struct Late {
    at: Instant,
    number: u64,
    datagram: Vec<u8>,
    socket: Arc<UdpSocket>,
    to: SocketAddr,
}

impl Network {
    /// A whole network between these coordinators, by name and the address at which each listens. What chance decides follows
    /// from the seed.
    pub fn between(coordinators: &[(String, SocketAddr)], seed: u64) -> Self {
        let (late, queue) = channel();
        let shared = Arc::new(Shared {
            names: coordinators.iter().map(|(name, address)| (*address, name.clone())).collect(),
            rules: Mutex::default(),
            random: Mutex::new(seed),
            late: Mutex::new(late),
            ended: AtomicBool::new(false),
        });
        let mut threads = vec![std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || send_late(&shared, &queue)
        })];
        let mut fronts = BTreeMap::new();
        for (name, address) in coordinators {
            let front = Arc::new(bind(*address));
            fronts.insert(name.clone(), front.local_addr().expect("it is bound"));
            let (shared, name, address) = (Arc::clone(&shared), name.clone(), *address);
            threads.push(std::thread::spawn(move || serve_front(&shared, &front, &name, address)));
        }
        Self { shared, fronts, threads }
    }

    /// The address by which the others reach it.
    pub fn front(&self, name: &str) -> SocketAddr {
        self.fronts[name]
    }

    /// What becomes from now on of what one sends to another.
    pub fn set(&self, from: &str, to: &str, rule: Rule) {
        lock(&self.shared.rules).insert((from.to_owned(), to.to_owned()), rule);
    }

    /// As [`Network::set`], in both directions.
    pub fn set_both(&self, one: &str, other: &str, rule: Rule) {
        self.set(one, other, rule);
        self.set(other, one, rule);
    }

    /// Everything arrives again.
    pub fn heal(&self) {
        lock(&self.shared.rules).clear();
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            // One that panicked has said so.
            drop(thread.join());
        }
    }
}

impl Shared {
    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    fn name(&self, address: SocketAddr) -> &str {
        self.names.get(&address).map_or("", String::as_str)
    }

    /// SplitMix64: a number below `end`.
    fn below(&self, end: u64) -> u64 {
        let mut state = lock(&self.random);
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut it = *state;
        it = (it ^ (it >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (it ^ (it >> 31)) % end
    }

    /// Passes a datagram on as the rule of its direction says.
    fn pass(&self, (from, to): (&str, &str), datagram: &[u8], socket: &Arc<UdpSocket>, address: SocketAddr) {
        let rule = lock(&self.rules).get(&(from.to_owned(), to.to_owned())).copied().unwrap_or_default();
        if self.below(1000) < rule.lost {
            return;
        }
        let mut datagram = datagram.to_vec();
        if self.below(1000) < rule.damaged && !datagram.is_empty() {
            let place = usize::try_from(self.below(datagram.len() as u64)).expect("less than a length");
            datagram[place] ^= 0x55;
        }
        let copies = if self.below(1000) < rule.repeated { 2 } else { 1 };
        for _ in 0..copies {
            if rule.delay_max.is_zero() {
                // What can't be sent is lost.
                drop(socket.send_to(&datagram, address));
                continue;
            }
            let delay = self.below(rule.delay_max.as_micros().try_into().expect("it is short"));
            let at = Instant::now() + Duration::from_micros(delay);
            let (socket, datagram) = (Arc::clone(socket), datagram.clone());
            let late = Late { at, number: self.below(u64::MAX), datagram, socket, to: address };
            // The thread has ended with the network.
            drop(lock(&self.late).send(late));
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().expect("no thread panics with the lock")
}

/// A socket beside an address, with a timeout.
fn bind(beside: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((beside.ip(), 0)).expect("a free port");
    socket.set_read_timeout(Some(TICK)).expect("a timeout");
    socket
}

/// The next datagram and its sender; none for a moment without one.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
    match socket.recv_from(buffer) {
        Ok(received) => Some(received),
        // Another socket that is closed answers with a refusal, which shows here.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionRefused
            ) =>
        {
            None
        }
        Err(error) => panic!("a socket of the network failed: {error}"),
    }
}

/// Passes on what the others send to a coordinator.
fn serve_front(shared: &Arc<Shared>, front: &Arc<UdpSocket>, name: &str, address: SocketAddr) {
    let mut backs: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
    let mut threads = Vec::new();
    let mut buffer = vec![0; DATAGRAM_MAX];
    while !shared.has_ended() {
        let Some((length, sender)) = receive(front, &mut buffer) else { continue };
        let back = backs.entry(sender).or_insert_with(|| {
            let back = Arc::new(bind(address));
            let (shared, name) = (Arc::clone(shared), name.to_owned());
            let (front, own) = (Arc::clone(front), Arc::clone(&back));
            threads.push(std::thread::spawn(move || serve_back(&shared, &front, &own, &name, sender)));
            back
        });
        shared.pass((shared.name(sender), name), &buffer[..length], back, address);
    }
    for thread in threads {
        // One that panicked has said so.
        drop(thread.join());
    }
}

/// Passes on what a coordinator answers to one sender.
fn serve_back(shared: &Shared, front: &Arc<UdpSocket>, back: &UdpSocket, name: &str, sender: SocketAddr) {
    let mut buffer = vec![0; DATAGRAM_MAX];
    while !shared.has_ended() {
        let Some((length, _)) = receive(back, &mut buffer) else { continue };
        shared.pass((name, shared.name(sender)), &buffer[..length], front, sender);
    }
}

/// Sends what is late, each at its time.
fn send_late(shared: &Shared, queue: &Receiver<Late>) {
    let mut waiting: BinaryHeap<Reverse<Late>> = BinaryHeap::new();
    while !shared.has_ended() {
        let wait =
            waiting.peek().map_or(TICK, |Reverse(next)| next.at.saturating_duration_since(Instant::now()));
        match queue.recv_timeout(wait.min(TICK)) {
            Ok(late) => waiting.push(Reverse(late)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while waiting.peek().is_some_and(|Reverse(next)| next.at <= Instant::now()) {
            let Some(Reverse(late)) = waiting.pop() else { break };
            // What can't be sent is lost.
            drop(late.socket.send_to(&late.datagram, late.to));
        }
    }
}

impl PartialEq for Late {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Late {}

impl PartialOrd for Late {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Late {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pair {
        sockets: [UdpSocket; 2],
        network: Network,
    }

    impl Pair {
        fn new() -> Self {
            let sockets = [(); 2].map(|()| bind(SocketAddr::from(([127, 0, 0, 1], 0))));
            let address = |socket: &UdpSocket| socket.local_addr().expect("it is bound");
            let both = [("a".to_owned(), address(&sockets[0])), ("b".to_owned(), address(&sockets[1]))];
            Self { network: Network::between(&both, 7), sockets }
        }

        /// What b receives of a datagram that a sends to it, and where the answer goes.
        fn received(&self, bytes: &[u8]) -> Vec<(Vec<u8>, SocketAddr)> {
            self.sockets[0].send_to(bytes, self.network.front("b")).expect("it is sent");
            all(&self.sockets[1])
        }
    }

    /// What arrives until nothing more does.
    fn all(socket: &UdpSocket) -> Vec<(Vec<u8>, SocketAddr)> {
        let mut buffer = vec![0; DATAGRAM_MAX];
        let mut found = Vec::new();
        let mut silent = 0;
        while silent < 6 {
            match receive(socket, &mut buffer) {
                Some((length, from)) => found.push((buffer[..length].to_vec(), from)),
                None => silent += 1,
            }
        }
        found
    }

    #[test]
    fn answers_come_back_and_each_direction_is_cut_alone() {
        let pair = Pair::new();
        let received = pair.received(b"one");
        let [(bytes, from)] = received.as_slice() else { panic!("one datagram: {received:?}") };
        assert_eq!(bytes, b"one");
        let answers = || {
            pair.sockets[1].send_to(b"two", from).expect("it is sent");
            all(&pair.sockets[0])
        };
        assert_eq!(answers(), [(b"two".to_vec(), pair.network.front("b"))]);
        pair.network.set("b", "a", Rule::CUT);
        assert!(answers().is_empty() && pair.received(b"three").len() == 1);
        pair.network.set_both("a", "b", Rule::CUT);
        assert!(pair.received(b"four").is_empty());
        pair.network.heal();
        assert!(answers().len() == 1 && pair.received(b"five").len() == 1);
    }

    #[test]
    fn datagrams_are_repeated_damaged_and_late_as_the_rule_says() {
        let pair = Pair::new();
        let delay_max = Duration::from_millis(20);
        pair.network.set("a", "b", Rule { lost: 0, repeated: 1000, damaged: 1000, delay_max });
        let received = pair.received(&[1; 9]);
        assert_eq!(received.len(), 2);
        assert!(received.iter().all(|(bytes, _)| bytes.len() == 9 && bytes != &[1; 9]), "{received:?}");
    }
}
