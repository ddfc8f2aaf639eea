//! What an endpoint refused, for `members[].refused` of `cluster status`.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one endpoint; they only grow.
#[derive(Debug, Default)]
pub struct Counters {
    handshakes: AtomicU64,
    frames: AtomicU64,
    retried: AtomicU64,
}

/// A reading of [`Counters`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Refused {
    /// Connections refused before they became sessions: no or a wrong certificate, a foreign protocol, a
    /// handshake that was not finished in time, or too many at once. And datagrams that belong to no connection
    /// and start none.
    pub handshakes: u64,
    /// Frames that were too long, cut short or damaged; each one ended its session.
    pub frames: u64,
    /// Connection attempts that were asked to prove their address first.
    pub retried: u64,
}

impl Counters {
    pub fn refused(&self) -> Refused {
        Refused {
            handshakes: self.handshakes.load(Ordering::Relaxed),
            frames: self.frames.load(Ordering::Relaxed),
            retried: self.retried.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn count_handshake(&self) {
        self.handshakes.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_retry(&self) {
        self.retried.fetch_add(1, Ordering::Relaxed);
    }

    /// A frame that the transport, or a decoder above it, refused.
    pub fn count_frame(&self) {
        self.frames.fetch_add(1, Ordering::Relaxed);
    }
}
