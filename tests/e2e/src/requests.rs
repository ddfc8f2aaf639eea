//! A client that sends requests to one address all the time and counts those that fail.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::balancer::Traffic;
use crate::http;

const PAUSE: Duration = Duration::from_millis(20);
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    failed: AtomicU64,
    ended: AtomicBool,
}

/// Sends until it is dropped, each request over a connection of its own.
pub struct Requests {
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

impl Requests {
    pub fn start(address: SocketAddr) -> Self {
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        let thread = std::thread::spawn(move || {
            while !shared.ended.load(Ordering::SeqCst) {
                let answer = http::get(address, "/", TIMEOUT);
                shared.sent.fetch_add(1, Ordering::SeqCst);
                if !matches!(answer, Ok((200, _))) {
                    shared.failed.fetch_add(1, Ordering::SeqCst);
                    eprintln!("a request to {address} fails: {answer:?}");
                }
                std::thread::sleep(PAUSE);
            }
        });
        Self { counts, thread: Some(thread) }
    }

    pub fn traffic(&self) -> Traffic {
        let of = |count: &AtomicU64| count.load(Ordering::SeqCst);
        Traffic { sent: of(&self.counts.sent), failed: of(&self.counts.failed) }
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.counts.ended.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the client does not panic");
        }
    }
}
