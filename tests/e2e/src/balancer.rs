//! A small balancer: it asks every backend for its readiness, takes out what is not ready, and a client sends
//! requests through it all the time. It also keeps what each backend's own downtime was.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::http;

const CHECK_INTERVAL: Duration = Duration::from_millis(100);
const CHECK_TIMEOUT: Duration = Duration::from_millis(500);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// What is known of one backend.
#[derive(Debug, Clone, Copy, Default)]
struct Backend {
    ready: bool,
    down_since: Option<Instant>,
    down: Duration,
}

/// Requests so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    pub sent: u64,
    pub failed: u64,
}

/// Checks, routes and sends until it is dropped.
pub struct Balancer {
    backends: Arc<Mutex<BTreeMap<SocketAddr, Backend>>>,
    sent: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    sending: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Balancer {
    /// Starts the checks; traffic starts with [`Balancer::send`].
    pub fn start(addresses: &[SocketAddr]) -> Self {
        let backends: BTreeMap<_, _> =
            addresses.iter().map(|address| (*address, Backend::default())).collect();
        let mut balancer = Self {
            backends: Arc::new(Mutex::new(backends)),
            sent: Arc::default(),
            failed: Arc::default(),
            sending: Arc::default(),
            ended: Arc::default(),
            threads: Vec::new(),
        };
        for address in addresses {
            balancer.spawn_check(*address);
        }
        balancer.spawn_client();
        balancer
    }

    fn spawn_check(&mut self, address: SocketAddr) {
        let (backends, ended) = (Arc::clone(&self.backends), Arc::clone(&self.ended));
        self.threads.push(std::thread::spawn(move || {
            while !ended.load(Ordering::SeqCst) {
                let answer = http::get(address, "/readyz", CHECK_TIMEOUT);
                let ready = matches!(answer, Ok((200, _)));
                note(&mut backends.lock().expect("no thread panics with the lock"), address, ready);
                std::thread::sleep(CHECK_INTERVAL);
            }
        }));
    }

    fn spawn_client(&mut self) {
        let (backends, ended, sending) =
            (Arc::clone(&self.backends), Arc::clone(&self.ended), Arc::clone(&self.sending));
        let (sent, failed) = (Arc::clone(&self.sent), Arc::clone(&self.failed));
        self.threads.push(std::thread::spawn(move || {
            let mut turn = 0;
            while !ended.load(Ordering::SeqCst) {
                if sending.load(Ordering::SeqCst) {
                    turn += 1;
                    let ok = request(&backends, turn);
                    sent.fetch_add(1, Ordering::SeqCst);
                    failed.fetch_add(u64::from(!ok), Ordering::SeqCst);
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }));
    }

    /// Lets the client send from now on.
    pub fn send(&self) {
        self.sending.store(true, Ordering::SeqCst);
    }

    pub fn traffic(&self) -> Traffic {
        Traffic { sent: self.sent.load(Ordering::SeqCst), failed: self.failed.load(Ordering::SeqCst) }
    }

    /// Backends that are ready now.
    pub fn ready(&self) -> usize {
        let backends = self.backends.lock().expect("no thread panics with the lock");
        backends.values().filter(|backend| backend.ready).count()
    }

    /// How long each backend was down since it was first ready.
    pub fn downtime(&self) -> BTreeMap<SocketAddr, Duration> {
        let backends = self.backends.lock().expect("no thread panics with the lock");
        let running = |backend: &Backend| backend.down_since.map_or(Duration::ZERO, |since| since.elapsed());
        backends.iter().map(|(address, backend)| (*address, backend.down + running(backend))).collect()
    }
}

fn note(backends: &mut BTreeMap<SocketAddr, Backend>, address: SocketAddr, ready: bool) {
    let backend = backends.entry(address).or_default();
    match (backend.ready, ready) {
        (true, false) => backend.down_since = Some(Instant::now()),
        (false, true) => {
            if let Some(since) = backend.down_since.take() {
                backend.down += since.elapsed();
            }
        }
        _ => {}
    }
    backend.ready = ready;
}

/// One request to the next ready backend; as balancers do, a refused connection goes to the next one once.
fn request(backends: &Mutex<BTreeMap<SocketAddr, Backend>>, turn: usize) -> bool {
    let ready: Vec<SocketAddr> = {
        let backends = backends.lock().expect("no thread panics with the lock");
        backends.iter().filter(|(_, backend)| backend.ready).map(|(address, _)| *address).collect()
    };
    if ready.is_empty() {
        return false;
    }
    matches!(http::get(ready[turn % ready.len()], "/", REQUEST_TIMEOUT), Ok((200, _)))
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().expect("no thread of the balancer panics");
        }
    }
}
