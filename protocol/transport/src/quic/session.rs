//! One verified connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use quinn::Connection;
use trimaran_model::id::Identity;
use trimaran_model::time::WallTime;
use trimaran_wire::frame::Frame;

use crate::alpn::Alpn;
use crate::close::{CloseCode, CloseReason};
use crate::pki::identity::CertificateInfo;
use crate::quic::connection::{Registry, Side, VerifiedConnection};
use crate::quic::limits;
use crate::quic::streams::{FrameReceiver, FrameSender, RecvError, SendError};

/// One verified connection; a clone is another handle of it. When the last handle, its streams included, is
/// dropped the session is closed with [`CloseCode::Done`].
#[derive(Clone)]
pub struct Session(Arc<VerifiedConnection>);

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
        Self(VerifiedConnection::new(connection, alpn, side, peer, registry))
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

    /// For how long nothing authentic has arrived from the other side, an acknowledgement included; up to a
    /// second less than that, because arrivals are noticed at the next call.
    ///
    /// Good for "last seen", not for a lease: it does not say that the other side receives us. A lease counts from
    /// the moment at which a message was sent that the other side has answered.
    pub fn silent_for(&self) -> Duration {
        self.0.silent_for()
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
        (FrameSender::new(send, self.0.clone(), ours), FrameReceiver::new(recv, self.0.clone(), theirs))
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
        self.0.refuse_frame(why);
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

/// Handles of those that did not end. The lock must be released before: dropping a last handle takes it.
fn alive(found: Vec<Arc<VerifiedConnection>>) -> Vec<Session> {
    found.into_iter().map(Session).filter(|session| session.close_reason().is_none()).collect()
}

impl Registry {
    pub(crate) fn sessions(&self) -> Vec<Session> {
        let found = self.lock().connections.values().filter_map(Weak::upgrade).collect();
        alive(found)
    }

    /// The live sessions with one identity, in the order of their beginning.
    pub(crate) fn sessions_of(&self, identity: &Identity) -> Vec<Session> {
        let live = self.lock();
        let ids = live.identities.get(identity).into_iter().flatten();
        let found = ids.filter_map(|id| live.connections.get(id)?.upgrade()).collect();
        drop(live);
        alive(found)
    }

    /// Closes what is silent or revoked, and what has outlived the certificate that it began with: whoever has a newer one
    /// by then dials again with it. Returns how many were closed for their certificates.
    pub(crate) fn sweep(&self, revoked: &dyn Fn(&CertificateInfo) -> bool, now: WallTime) -> usize {
        let mut closed = 0;
        for session in self.sessions() {
            if session.certificate().is_some_and(revoked) {
                session.close(CloseCode::Revoked, "the certificate was revoked");
                closed += 1;
            } else if session.certificate().is_some_and(|it| it.not_after < now) {
                session.close(CloseCode::Certificate, "the certificate of the session has expired");
                closed += 1;
            } else if session.silent_for() > limits::lost_after(session.alpn()) {
                session.close(CloseCode::Silent, "");
            }
        }
        closed
    }
}
