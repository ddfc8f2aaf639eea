//! One verified connection.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use quinn::{Connection, ConnectionError, VarInt};
use tokio::time::Instant;
use trimaran_model::id::Identity;
use trimaran_wire::frame::Frame;

use crate::alpn::Alpn;
use crate::close::{CloseCode, CloseReason};
use crate::counters::Counters;
use crate::identity::CertificateInfo;
use crate::quic::limits;
use crate::quic::streams::{FrameReceiver, FrameSender, RecvError, SendError};

/// QUIC bounds nothing, but a reason that fills a packet would be dropped with it.
const REASON_BYTES_MAX: usize = 512;

/// Which end of a session this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

/// One verified connection; a clone is another handle of it. When the last handle, its streams included, is
/// dropped the session is closed with [`CloseCode::Done`].
#[derive(Clone)]
pub struct Session(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    id: u64,
    connection: Connection,
    alpn: Alpn,
    side: Side,
    peer: Option<CertificateInfo>,
    registry: Arc<Registry>,
    closed: OnceLock<(CloseCode, String)>,
    heard: Mutex<Heard>,
}

/// How many authenticated frames had arrived when it was last looked, and since when not more.
struct Heard {
    frames: u64,
    at: Instant,
}

/// Why a request got no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("the request could not be sent")]
    Send(#[from] SendError),
    #[error("the reply could not be received")]
    Recv(#[from] RecvError),
    #[error("the reply is empty")]
    NoReply,
    #[error("more than one frame came back where one was expected")]
    TooMany,
}

impl RequestError {
    /// How the session ended, when that is the cause.
    pub fn closed(&self) -> Option<&CloseReason> {
        match self {
            Self::Send(SendError::Closed(reason)) | Self::Recv(RecvError::Closed(reason)) => Some(reason),
            Self::Send(_) | Self::Recv(_) | Self::NoReply | Self::TooMany => None,
        }
    }
}

impl Session {
    pub(crate) fn new(
        connection: Connection,
        alpn: Alpn,
        side: Side,
        peer: Option<CertificateInfo>,
        registry: &Arc<Registry>,
    ) -> Self {
        let id = registry.next_id.fetch_add(1, Ordering::Relaxed);
        let heard = Mutex::new(Heard { frames: frames_heard(&connection), at: Instant::now() });
        let closed = OnceLock::new();
        let inner =
            Arc::new(Inner { id, connection, alpn, side, peer, registry: registry.clone(), closed, heard });
        registry.lock().insert(&inner);
        Self(inner)
    }

    /// Unique among the sessions of the endpoint, in the order of their beginning.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    pub fn alpn(&self) -> Alpn {
        self.0.alpn
    }

    pub fn side(&self) -> Side {
        self.0.side
    }

    /// Who is at the other end; `None` only for the client of an enrolment session.
    pub fn identity(&self) -> Option<&Identity> {
        self.0.peer.as_ref().map(|peer| &peer.identity)
    }

    /// The verified certificate of the other end; `None` only for the client of an enrolment session.
    pub fn certificate(&self) -> Option<&CertificateInfo> {
        self.0.peer.as_ref()
    }

    pub fn remote_address(&self) -> SocketAddr {
        self.0.connection.remote_address()
    }

    /// The address of this host that the other side dialed; `None` on the side that dialed.
    pub fn local_ip(&self) -> Option<IpAddr> {
        self.0.connection.local_ip()
    }

    /// The current estimate of the round trip.
    pub fn rtt(&self) -> Duration {
        self.0.connection.rtt()
    }

    /// For how long nothing authentic has been heard of the other side, an acknowledgement included; up to a
    /// second less than that, because arrivals are noticed when somebody looks.
    ///
    /// Good for "last seen", not for a lease: it does not say that the other side hears us. A lease counts from
    /// the moment at which a message was sent that the other side has answered.
    pub fn silent_for(&self) -> Duration {
        let frames = frames_heard(&self.0.connection);
        let mut heard = self.0.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.frames != frames {
            *heard = Heard { frames, at: Instant::now() };
        }
        heard.at.elapsed()
    }

    /// Opens a stream in both directions. Waits while the other side's limit of streams is reached; the other
    /// side sees the stream with its first frame.
    pub async fn open_stream(&self) -> Result<(FrameSender, FrameReceiver), SendError> {
        match self.0.connection.open_bi().await {
            Ok((send, recv)) => Ok(self.streams(send, recv)),
            Err(error) => Err(SendError::Closed(self.0.reason(error))),
        }
    }

    /// The next stream that the other side opened, or how the session ended.
    pub async fn accept_stream(&self) -> Result<(FrameSender, FrameReceiver), CloseReason> {
        match self.0.connection.accept_bi().await {
            Ok((send, recv)) => Ok(self.streams(send, recv)),
            Err(error) => Err(self.0.reason(error)),
        }
    }

    fn streams(&self, send: quinn::SendStream, recv: quinn::RecvStream) -> (FrameSender, FrameReceiver) {
        let (ours, theirs) = match self.0.side {
            Side::Client => (self.0.alpn.request_bytes_max(), self.0.alpn.reply_bytes_max()),
            Side::Server => (self.0.alpn.reply_bytes_max(), self.0.alpn.request_bytes_max()),
        };
        (FrameSender::new(send, self.clone(), ours), FrameReceiver::new(recv, self.clone(), theirs))
    }

    /// Sends one frame on a stream of its own; the receiver yields the reply's frames.
    pub async fn request(&self, frame: &Frame) -> Result<FrameReceiver, RequestError> {
        let (mut sender, receiver) = self.open_stream().await?;
        sender.send(frame).await?;
        sender.finish();
        Ok(receiver)
    }

    /// Sends one frame and waits for the one frame of its reply.
    pub async fn request_one(&self, frame: &Frame) -> Result<Frame, RequestError> {
        let mut receiver = self.request(frame).await?;
        let reply = receiver.next().await?.ok_or(RequestError::NoReply)?;
        match receiver.next().await? {
            None => Ok(reply),
            Some(_) => Err(RequestError::TooMany),
        }
    }

    /// Closes the session now; what was not yet acknowledged may be lost. A repetition does nothing.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.0.close(code, reason);
    }

    /// How the session ended; waits until it does.
    pub async fn closed(&self) -> CloseReason {
        let error = self.0.connection.closed().await;
        self.0.reason(error)
    }

    /// How the session ended, if it did.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.0.connection.close_reason().map(|error| self.0.reason(error))
    }

    /// A frame of this session that a decoder refused: counts it and closes the session.
    pub fn refuse_frame(&self, why: &str) {
        self.0.registry.counters.count_frame();
        self.close(CloseCode::Protocol, why);
    }
}

impl Inner {
    fn close(&self, code: CloseCode, reason: &str) {
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

impl Drop for Inner {
    fn drop(&mut self) {
        self.close(CloseCode::Done, "");
        self.registry.lock().remove(self);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.0.id)
            .field("alpn", &self.0.alpn)
            .field("peer", &self.identity())
            .field("address", &self.remote_address())
            .finish_non_exhaustive()
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
fn frames_heard(connection: &Connection) -> u64 {
    let heard = connection.stats().frame_rx;
    heard.acks + heard.ping + heard.stream + heard.crypto
}

/// Sessions by their id, and ids by the other side's identity.
#[derive(Default)]
struct Live {
    sessions: BTreeMap<u64, Weak<Inner>>,
    identities: BTreeMap<Identity, BTreeSet<u64>>,
}

impl Live {
    fn insert(&mut self, inner: &Arc<Inner>) {
        self.sessions.insert(inner.id, Arc::downgrade(inner));
        if let Some(peer) = &inner.peer {
            self.identities.entry(peer.identity.clone()).or_default().insert(inner.id);
        }
    }

    fn remove(&mut self, inner: &Inner) {
        self.sessions.remove(&inner.id);
        let Some(peer) = &inner.peer else { return };
        if let Some(ids) = self.identities.get_mut(&peer.identity) {
            ids.remove(&inner.id);
            if ids.is_empty() {
                self.identities.remove(&peer.identity);
            }
        }
    }
}

/// Handles of those that did not end. The lock must be released before: dropping a last handle takes it.
fn alive(found: Vec<Arc<Inner>>) -> Vec<Session> {
    found.into_iter().map(Session).filter(|session| session.close_reason().is_none()).collect()
}

/// The live sessions of one endpoint.
#[derive(Default)]
pub(crate) struct Registry {
    pub(crate) counters: Arc<Counters>,
    live: Mutex<Live>,
    next_id: AtomicU64,
    logged: Mutex<Option<Instant>>,
}

impl Registry {
    fn lock(&self) -> std::sync::MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more refusal may be logged aloud: a flood of them must not fill the log.
    pub(crate) fn may_log(&self) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let rested = logged.is_none_or(|at| at.elapsed() >= limits::REFUSAL_LOG_INTERVAL.to_std());
        if rested {
            *logged = Some(Instant::now());
        }
        rested
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().sessions.len()
    }

    pub(crate) fn sessions(&self) -> Vec<Session> {
        let found = self.lock().sessions.values().filter_map(Weak::upgrade).collect();
        alive(found)
    }

    /// The live sessions with one identity, in the order of their beginning.
    pub(crate) fn sessions_of(&self, identity: &Identity) -> Vec<Session> {
        let live = self.lock();
        let ids = live.identities.get(identity).into_iter().flatten();
        let found = ids.filter_map(|id| live.sessions.get(id)?.upgrade()).collect();
        drop(live);
        alive(found)
    }

    /// Closes what is silent or revoked.
    pub(crate) fn sweep(&self, revoked: &dyn Fn(&CertificateInfo) -> bool) -> usize {
        let mut closed = 0;
        for session in self.sessions() {
            if session.certificate().is_some_and(revoked) {
                session.close(CloseCode::Revoked, "the certificate was revoked");
                closed += 1;
            } else if session.silent_for() > limits::lost_after(session.alpn()) {
                session.close(CloseCode::Silent, "");
            }
        }
        closed
    }
}
