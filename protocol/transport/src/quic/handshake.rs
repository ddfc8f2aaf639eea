//! The moments between a connection and a session: whose certificate it is, and whether that fits.
//!
//! In TLS 1.3 a client believes that it is connected before its certificate was judged, and which role a
//! protocol needs is judged after TLS. So the server opens one stream in its direction with one byte once it
//! has accepted the session, and the client waits for it: [`crate::Endpoint::connect`] answers for good.
//! Until then the client can open no stream, so nothing that it sends is read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quinn::crypto::rustls::HandshakeData;
use quinn::{Connection, VarInt};
use rustls_pki_types::CertificateDer;
use tokio::time::timeout;

use crate::alpn::Alpn;
use crate::close::{CloseCode, CloseReason};
use crate::pki::chain;
use crate::pki::identity::{CertificateError, CertificateInfo};
use crate::quic::connection::{Registry, Side, close_reason};
use crate::quic::limits::{self, HANDSHAKE_TIMEOUT};
use crate::quic::session::Session;
use crate::quic::tls::PEER_CID_MARK;

/// What says "accepted".
const WELCOME: [u8; 1] = [1];

/// Why a connection did not become a session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("{0}")]
    Connection(CloseReason),
    #[error("no protocol was agreed on")]
    Protocol,
    #[error("{0}")]
    Certificate(CertificateError),
    #[error("a connection for {} claims to be a peer's", .0.as_str())]
    NotAPeer(Alpn),
    #[error("too many {0} at once")]
    Busy(&'static str),
    #[error("the handshake took longer than {HANDSHAKE_TIMEOUT}")]
    Timeout,
}

/// The accepting side's configurations.
pub(crate) struct Accepting {
    pub(crate) ordinary: Arc<quinn::ServerConfig>,
    pub(crate) peer: Arc<quinn::ServerConfig>,
    pub(crate) registry: Arc<Registry>,
    /// Enrolment sessions now and at most.
    pub(crate) enrolling: Arc<AtomicUsize>,
    pub(crate) enrollments_max: usize,
}

/// A place among those that are counted, given back when it is dropped.
pub(crate) struct Place(Arc<AtomicUsize>);

impl Place {
    /// Takes a place if fewer than `max` are taken.
    pub(crate) fn acquire(count: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let grown = |taken: usize| (taken < max).then_some(taken + 1);
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).ok()?;
        Some(Self(count.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes a session of an incoming connection, or closes it. An enrolment session comes with its place.
pub(crate) async fn accept(
    incoming: quinn::Incoming,
    accepting: &Accepting,
) -> Result<(Session, Option<Place>), HandshakeError> {
    let handshake = async {
        let claims_peer = incoming.orig_dst_cid().starts_with(&PEER_CID_MARK);
        let config = if claims_peer { &accepting.peer } else { &accepting.ordinary };
        let lost = |error| HandshakeError::Connection(close_reason(error));
        let connection = incoming.accept_with(config.clone()).map_err(lost)?.await.map_err(lost)?;
        let judged = judge_client(&connection, claims_peer)
            .and_then(|(alpn, peer)| Ok((alpn, admit(accepting, alpn, peer.as_ref())?, peer)));
        let (alpn, place, peer) = judged.inspect_err(|error| {
            connection.close(code(error), error.to_string().as_bytes());
        })?;
        welcome(&connection).await.map_err(HandshakeError::Connection)?;
        connection.set_receive_window(limits::connection_window(alpn));
        connection.set_max_concurrent_bi_streams(limits::bidi_streams(alpn));
        Ok((Session::new(connection, alpn, Side::Server, peer, &accepting.registry), place))
    };
    timeout(HANDSHAKE_TIMEOUT.to_std(), handshake).await.unwrap_or(Err(HandshakeError::Timeout))
}

/// Whether the limits allow one more session of this kind, and its place.
fn admit(
    accepting: &Accepting,
    alpn: Alpn,
    peer: Option<&CertificateInfo>,
) -> Result<Option<Place>, HandshakeError> {
    let Some(peer) = peer else {
        let place = Place::acquire(&accepting.enrolling, accepting.enrollments_max);
        return place.map(Some).ok_or(HandshakeError::Busy("enrolments"));
    };
    if accepting.registry.sessions_of(&peer.identity).len() >= limits::sessions_per_identity(alpn) {
        return Err(HandshakeError::Busy("sessions of this identity"));
    }
    Ok(None)
}

fn code(error: &HandshakeError) -> VarInt {
    let code = match error {
        HandshakeError::Certificate(CertificateError::Revoked) => CloseCode::Revoked,
        HandshakeError::Certificate(_) => CloseCode::Certificate,
        HandshakeError::Connection(_) | HandshakeError::Timeout => CloseCode::Done,
        HandshakeError::Busy(_) => CloseCode::Busy,
        HandshakeError::Protocol | HandshakeError::NotAPeer(_) => CloseCode::Protocol,
    };
    VarInt::from_u32(code.number())
}

/// Which protocol was agreed on, and whether the certificate, which TLS verified, fits it.
fn judge_client(
    connection: &Connection,
    claims_peer: bool,
) -> Result<(Alpn, Option<CertificateInfo>), HandshakeError> {
    let alpn = agreed(connection).ok_or(HandshakeError::Protocol)?;
    if claims_peer && alpn != Alpn::Peer {
        return Err(HandshakeError::NotAPeer(alpn));
    }
    let Some(role) = alpn.client_role() else { return Ok((alpn, None)) };
    let info = certificate(connection).map_err(HandshakeError::Certificate)?;
    if info.role() != role {
        return Err(HandshakeError::Certificate(CertificateError::Role {
            found: info.identity.to_string(),
            expected: role.as_str().to_owned(),
        }));
    }
    Ok((alpn, Some(info)))
}

fn agreed(connection: &Connection) -> Option<Alpn> {
    let data = connection.handshake_data()?.downcast::<HandshakeData>().ok()?;
    Alpn::from_bytes(&data.protocol?)
}

/// The leaf that the other side presented and TLS verified.
fn certificate(connection: &Connection) -> Result<CertificateInfo, CertificateError> {
    let chain = connection.peer_identity().ok_or(CertificateError::Missing)?;
    let chain = chain.downcast::<Vec<CertificateDer<'static>>>().map_err(|_| CertificateError::Missing)?;
    let (leaf, issuers) = chain.split_first().ok_or(CertificateError::Missing)?;
    // A session ends when its issuer is revoked, as a handshake would.
    let issuers = chain::keys(chain::below_roots(issuers)?)?;
    Ok(CertificateInfo { issuers, ..CertificateInfo::parse(leaf)? })
}

async fn welcome(connection: &Connection) -> Result<(), CloseReason> {
    let mut stream = connection.open_uni().await.map_err(close_reason)?;
    let failed = |why: String| CloseReason::Failed { why };
    stream.write_all(&WELCOME).await.map_err(|error| failed(error.to_string()))?;
    stream.finish().map_err(|error| failed(error.to_string()))
}

/// Finishes a dialing: waits for the server's welcome.
pub(crate) async fn connect(
    connecting: quinn::Connecting,
    alpn: Alpn,
    registry: &Arc<Registry>,
) -> Result<Session, HandshakeError> {
    let handshake = async {
        let lost = |error| HandshakeError::Connection(close_reason(error));
        let connection = connecting.await.map_err(lost)?;
        if agreed(&connection) != Some(alpn) {
            connection.close(code(&HandshakeError::Protocol), b"");
            return Err(HandshakeError::Protocol);
        }
        let info = certificate(&connection).map_err(HandshakeError::Certificate)?;
        let mut stream = connection.accept_uni().await.map_err(lost)?;
        let mut byte = [0];
        if stream.read_exact(&mut byte).await.is_err() || byte != WELCOME {
            let reason = connection.close_reason().map(close_reason);
            return Err(reason.map_or(HandshakeError::Protocol, HandshakeError::Connection));
        }
        Ok(Session::new(connection, alpn, Side::Client, Some(info), registry))
    };
    timeout(HANDSHAKE_TIMEOUT.to_std(), handshake).await.unwrap_or(Err(HandshakeError::Timeout))
}

/// Counts a refusal and logs who tried.
pub(crate) fn count_refusal(registry: &Registry, address: SocketAddr, error: &HandshakeError) {
    registry.counters.count_handshake();
    if registry.may_log() {
        tracing::info!(%address, %error, "handshake refused");
    } else {
        tracing::debug!(%address, %error, "handshake refused");
    }
}
