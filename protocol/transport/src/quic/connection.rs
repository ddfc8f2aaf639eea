//! What a session and its streams share: one verified connection, how it ended, and the table of all that live.
//!
//! Not here: what callers do with it (`session`) and frames (`streams`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use quinn::{Connection, ConnectionError, VarInt};
use tokio::time::Instant;
use trimaran_model::id::Identity;

use crate::alpn::Alpn;
use crate::close::{CloseCode, CloseReason};
use crate::counters::Counters;
use crate::pki::identity::CertificateInfo;
use crate::quic::limits;

/// QUIC bounds nothing, but a reason that fills a packet would be dropped with it.
const REASON_BYTES_MAX: usize = 512;

/// Which end of a session this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

/// What a session and its streams hold together: it ends with its last holder.
pub(crate) struct VerifiedConnection {
    pub(crate) id: u64,
    pub(crate) connection: Connection,
    pub(crate) alpn: Alpn,
    pub(crate) side: Side,
    pub(crate) peer: Option<CertificateInfo>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) closed: OnceLock<(CloseCode, String)>,
    received: Mutex<Received>,
}

/// How many authenticated frames had arrived at the last check, and since when no more did.
struct Received {
    frames: u64,
    at: Instant,
}

impl VerifiedConnection {
    pub(crate) fn new(
        connection: Connection,
        alpn: Alpn,
        side: Side,
        peer: Option<CertificateInfo>,
        registry: &Arc<Registry>,
    ) -> Arc<Self> {
        let id = registry.next_id.fetch_add(1, Ordering::Relaxed);
        let received = Mutex::new(Received { frames: frames_received(&connection), at: Instant::now() });
        let (registry, closed) = (registry.clone(), OnceLock::new());
        let made = Arc::new(Self { id, connection, alpn, side, peer, registry, closed, received });
        made.registry.lock().insert(&made);
        made
    }

    /// See [`crate::Session::silent_for`].
    pub(crate) fn silent_for(&self) -> Duration {
        let frames = frames_received(&self.connection);
        let mut received = self.received.lock();
        if received.frames != frames {
            *received = Received { frames, at: Instant::now() };
        }
        received.at.elapsed()
    }

    /// A frame that a decoder refused: counts it and closes the connection.
    pub(crate) fn refuse_frame(&self, why: &str) {
        self.registry.counters.count_frame();
        self.close(CloseCode::Protocol, why);
    }

    pub(crate) fn close(&self, code: CloseCode, reason: &str) {
        let mut end = reason.len().min(REASON_BYTES_MAX);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let reason = &reason[..end];
        // The first close counts, and none after the other side's.
        if self.connection.close_reason().is_none() && self.closed.set((code, reason.to_owned())).is_ok() {
            self.connection.close(VarInt::from_u32(code.number()), reason.as_bytes());
        }
    }

    pub(crate) fn reason(&self, error: ConnectionError) -> CloseReason {
        match (error, self.closed.get()) {
            (ConnectionError::LocallyClosed, Some((code, reason))) => {
                CloseReason::Local { code: *code, reason: reason.clone() }
            }
            (error, _) => close_reason(error),
        }
    }
}

impl Drop for VerifiedConnection {
    fn drop(&mut self) {
        self.close(CloseCode::Done, "");
        self.registry.lock().remove(self);
    }
}

pub(crate) fn close_reason(error: ConnectionError) -> CloseReason {
    match error {
        ConnectionError::ApplicationClosed(close) => CloseReason::Peer {
            code: CloseCode::from_number(close.error_code.into_inner()),
            reason: String::from_utf8_lossy(&close.reason).into_owned(),
        },
        ConnectionError::ConnectionClosed(close) => match refusal(close.error_code) {
            Some(code) => {
                CloseReason::Peer { code, reason: String::from_utf8_lossy(&close.reason).into_owned() }
            }
            None => CloseReason::Failed { why: close.to_string() },
        },
        ConnectionError::TransportError(error) if refusal(error.code).is_some() => {
            CloseReason::Refused { why: error.to_string() }
        }
        ConnectionError::TimedOut => CloseReason::TimedOut,
        ConnectionError::Reset => CloseReason::Reset,
        ConnectionError::LocallyClosed => {
            CloseReason::Local { code: CloseCode::Shutdown, reason: "the endpoint ended".into() }
        }
        other @ (ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::CidsExhausted) => CloseReason::Failed { why: other.to_string() },
    }
}

/// What a handshake's refusal means. Codes 0x100 to 0x1ff are TLS alerts (RFC 9001, 4.8; RFC 8446, 6.2).
fn refusal(code: quinn_proto::TransportErrorCode) -> Option<CloseCode> {
    const CERTIFICATE_REVOKED: u64 = 0x100 + 44;
    const NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;
    match u64::from(code) {
        CERTIFICATE_REVOKED => Some(CloseCode::Revoked),
        NO_APPLICATION_PROTOCOL => Some(CloseCode::Protocol),
        0x100..0x200 => Some(CloseCode::Certificate),
        other if other == u64::from(quinn_proto::TransportErrorCode::CONNECTION_REFUSED) => {
            Some(CloseCode::Busy)
        }
        _ => None,
    }
}

/// Frames that only the holder of the session's keys can have sent and that a live side sends regularly.
fn frames_received(connection: &Connection) -> u64 {
    let frames = connection.stats().frame_rx;
    frames.acks + frames.ping + frames.stream + frames.crypto
}

/// Connections by their id, and ids by the other side's identity.
#[derive(Default)]
pub(crate) struct Live {
    pub(crate) connections: BTreeMap<u64, Weak<VerifiedConnection>>,
    pub(crate) identities: BTreeMap<Identity, BTreeSet<u64>>,
}

impl Live {
    fn insert(&mut self, inner: &Arc<VerifiedConnection>) {
        self.connections.insert(inner.id, Arc::downgrade(inner));
        if let Some(peer) = &inner.peer {
            self.identities.entry(peer.identity.clone()).or_default().insert(inner.id);
        }
    }

    fn remove(&mut self, inner: &VerifiedConnection) {
        self.connections.remove(&inner.id);
        let Some(peer) = &inner.peer else { return };
        if let Some(ids) = self.identities.get_mut(&peer.identity) {
            ids.remove(&inner.id);
            if ids.is_empty() {
                self.identities.remove(&peer.identity);
            }
        }
    }
}

/// The live sessions of one endpoint.
#[derive(Default)]
pub(crate) struct Registry {
    pub(crate) counters: Arc<Counters>,
    pub(crate) live: Mutex<Live>,
    next_id: AtomicU64,
    logged: Mutex<Option<Instant>>,
}

impl Registry {
    pub(crate) fn lock(&self) -> parking_lot::MutexGuard<'_, Live> {
        self.live.lock()
    }

    /// Whether one more refusal may be logged aloud: a flood of them must not fill the log.
    pub(crate) fn may_log(&self) -> bool {
        let mut logged = self.logged.lock();
        let rested = logged.is_none_or(|at| at.elapsed() >= limits::REFUSAL_LOG_INTERVAL.to_std());
        if rested {
            *logged = Some(Instant::now());
        }
        rested
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().connections.len()
    }
}
