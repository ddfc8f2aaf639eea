//! One UDP socket that accepts and dials sessions.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::hmac;
use quinn::Runtime as _;
use quinn::crypto::rustls::QuicClientConfig;
use quinn_proto::ConnectionId;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use trimaran_model::id::{Digest, Identity};

use crate::alpn::Alpn;
use crate::close::{CloseCode, CloseReason};
use crate::counters::Counters;
use crate::pki::certificate_store::CertificateStore;
use crate::pki::files::RESET_KEY_BYTES;
use crate::pki::identity::CertificateError;
use crate::pki::trust::Trust;
use crate::quic::connection::Registry;
use crate::quic::handshake::{self, Accepting, HandshakeError, Place};
use crate::quic::limits::{
    self, ENROLL_SESSION_TIMEOUT, EndpointLimits, HANDSHAKE_TIMEOUT, SHUTDOWN_TIMEOUT, SWEEP_INTERVAL,
};
use crate::quic::server_tls::ServerTls;
use crate::quic::session::Session;
use crate::quic::stray_packets::{self, Ids};
use crate::quic::tls::{self, Clock, Expected, PEER_CID_MARK, Revoked};

/// Bytes that one unanswered connection attempt may send, and all of them.
const INCOMING_BYTES_MAX: u64 = 64 * 1024;
const INCOMING_BYTES_TOTAL_MAX: u64 = 16 * 1024 * 1024;

/// How an endpoint serves and dials.
#[derive(Clone)]
pub struct EndpointConfig {
    /// The protocols that it serves; empty: it only dials.
    pub alpns: Vec<Alpn>,
    /// The cluster's roots; `None` before enrolment, when only [`Endpoint::enroll`] works.
    pub trust: Option<Trust>,
    pub store: Arc<CertificateStore>,
    pub clock: Clock,
    pub revoked: Revoked,
    /// See [`crate::pki::files::load_or_create_reset_key`]; `None`: a random one, for processes without a data directory
    /// after a restart.
    pub reset_key: Option<[u8; RESET_KEY_BYTES]>,
    pub limits: EndpointLimits,
}

/// Why an endpoint can't be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("can't bind UDP {address}")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("an endpoint that serves needs the cluster's roots")]
    NoTrust,
}

/// Why a session could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    #[error("the cluster's roots are not known before enrolment")]
    NoTrust,
    #[error("{address} can't be dialed: {why}")]
    Dial { address: SocketAddr, why: String },
    #[error("{address} did not answer within {HANDSHAKE_TIMEOUT}")]
    Timeout { address: SocketAddr },
    /// The server's certificate was refused here, or ours there, or the server closed.
    #[error("{address}: {reason}")]
    Closed { address: SocketAddr, reason: CloseReason },
    #[error("{address} presented an unusable certificate")]
    Certificate { address: SocketAddr, source: CertificateError },
    #[error("{address} does not speak this protocol")]
    Protocol { address: SocketAddr },
}

impl ConnectError {
    /// Whether the other side is of another cluster, or none: its certificate was refused here.
    pub fn is_foreign(&self) -> bool {
        matches!(self, Self::Closed { reason: CloseReason::Refused { .. }, .. } | Self::Certificate { .. })
    }

    /// Whether this process must not dial again with its certificate; see [`CloseReason::is_final`].
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Closed { reason, .. } if reason.is_final())
    }
}

/// One UDP socket that accepts and dials sessions. When it is dropped its sessions are closed.
pub struct Endpoint {
    quinn: quinn::Endpoint,
    config: EndpointConfig,
    registry: Arc<Registry>,
    accepted: Mutex<mpsc::Receiver<Session>>,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Endpoint {
    /// Binds a socket and starts to accept. Must be called inside a tokio runtime, of either kind.
    pub fn bind(address: SocketAddr, config: EndpointConfig) -> Result<Self, BindError> {
        let failed = |source| BindError::Bind { address, source };
        let registry = Arc::new(Registry::default());
        let key = config.reset_key.unwrap_or_else(crate::random::bytes);
        let ids = connection_ids(&key, &registry);
        let accepting = accepting(&config, &registry, &ids)?;
        let runtime = Arc::new(quinn::TokioRuntime);
        let socket = socket(address, config.limits.socket_buffer)
            .and_then(|socket| runtime.wrap_udp_socket(socket))
            .map_err(failed)?;
        let socket = ids.watch(socket, accepting.is_some());
        let serves = accepting.as_ref().map(|accepting| (*accepting.ordinary).clone());
        let quinn =
            quinn::Endpoint::new_with_abstract_socket(endpoint_config(&key, ids), serves, socket, runtime)
                .map_err(failed)?;
        let (accepted_to, accepted) = mpsc::channel(config.limits.accept_queue.max(1));
        let (cancel, tasks) = (CancellationToken::new(), TaskTracker::new());
        if let Some(accepting) = accepting {
            let acceptor = Acceptor {
                quinn: quinn.clone(),
                accepting: Arc::new(accepting),
                limits: config.limits,
                pending: Arc::default(),
                accepted_to,
                cancel: cancel.clone(),
                tasks: tasks.clone(),
            };
            tasks.spawn(acceptor.run());
        }
        let judges = (config.revoked.clone(), config.clock.clone());
        tasks.spawn(sweep(registry.clone(), judges, cancel.clone()));
        Ok(Self { quinn, config, registry, accepted: Mutex::new(accepted), cancel, tasks })
    }

    /// The address that the socket is bound to.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.quinn.local_addr()
    }

    /// The next verified session; `None` after [`Self::shutdown`] or when nothing is served.
    pub async fn accept(&self) -> Option<Session> {
        self.accepted.lock().await.recv().await
    }

    /// Dials any server of this cluster whose role fits the protocol.
    pub async fn connect(&self, address: SocketAddr, alpn: Alpn) -> Result<Session, ConnectError> {
        let trust = self.config.trust.clone().ok_or(ConnectError::NoTrust)?;
        self.dial(address, alpn, Expected::Member { trust, identity: None }).await
    }

    /// Dials one certain server.
    pub async fn connect_to(
        &self,
        address: SocketAddr,
        alpn: Alpn,
        identity: &Identity,
    ) -> Result<Session, ConnectError> {
        let trust = self.config.trust.clone().ok_or(ConnectError::NoTrust)?;
        self.dial(address, alpn, Expected::Member { trust, identity: Some(identity.clone()) }).await
    }

    /// Opens an enrolment session with the cluster whose root has the fingerprint `root`
    /// ([`crate::pki::enroll::Token::root`], or [`Trust::root_fingerprint`] for a renewal).
    pub async fn enroll(&self, address: SocketAddr, root: Digest) -> Result<Session, ConnectError> {
        self.dial(address, Alpn::Enroll, Expected::Root(root)).await
    }

    async fn dial(
        &self,
        address: SocketAddr,
        alpn: Alpn,
        expected: Expected,
    ) -> Result<Session, ConnectError> {
        let EndpointConfig { store, clock, revoked, .. } = self.config.clone();
        let tls = QuicClientConfig::try_from(tls::client(alpn, expected, store, clock, revoked))
            .expect("aws-lc-rs has the initial cipher suite of QUIC");
        let mut config = quinn::ClientConfig::new(Arc::new(tls));
        config.transport_config(limits::dialing(alpn));
        if alpn == Alpn::Peer {
            config.initial_dst_cid_provider(Arc::new(peer_cid));
        }
        // The name is never sent: members are known by their certificates.
        let connecting = self.quinn.connect_with(config, address, "trimaran");
        let connecting =
            connecting.map_err(|error| ConnectError::Dial { address, why: error.to_string() })?;
        handshake::connect(connecting, alpn, &self.registry).await.map_err(|error| match error {
            HandshakeError::Timeout | HandshakeError::Connection(CloseReason::TimedOut) => {
                ConnectError::Timeout { address }
            }
            HandshakeError::Connection(reason) => ConnectError::Closed { address, reason },
            HandshakeError::Certificate(source) => ConnectError::Certificate { address, source },
            HandshakeError::Protocol | HandshakeError::NotAPeer(_) | HandshakeError::Busy(_) => {
                ConnectError::Protocol { address }
            }
        })
    }

    /// The live sessions, in the order of their beginning.
    pub fn sessions(&self) -> Vec<Session> {
        self.registry.sessions()
    }

    /// The live sessions with one identity, in the order of their beginning.
    pub fn sessions_of(&self, identity: &Identity) -> Vec<Session> {
        self.registry.sessions_of(identity)
    }

    /// Closes the live sessions that `which` chooses; returns how many. A gateway ends superseded ones so.
    pub fn close_sessions(&self, which: impl Fn(&Session) -> bool, code: CloseCode, reason: &str) -> usize {
        let chosen: Vec<_> = self.sessions().into_iter().filter(which).collect();
        chosen.iter().for_each(|session| session.close(code, reason));
        chosen.len()
    }

    /// Closes the live sessions whose certificate is revoked or over by now; returns how many. This happens automatically
    /// every second; call it to be sooner.
    pub fn close_revoked(&self) -> usize {
        self.registry.sweep(&*self.config.revoked, (self.config.clock)())
    }

    /// What was refused so far.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.registry.counters
    }

    /// Accepts no more, closes all sessions with [`CloseCode::Shutdown`] and waits, at most two seconds, until
    /// the other sides were notified.
    pub async fn shutdown(&self, reason: &str) {
        self.cancel.cancel();
        self.tasks.close();
        self.close_sessions(|_| true, CloseCode::Shutdown, reason);
        self.quinn.close(CloseCode::Shutdown.number().into(), reason.as_bytes());
        let notified = async {
            self.tasks.wait().await;
            self.quinn.wait_idle().await;
        };
        if timeout(SHUTDOWN_TIMEOUT.to_std(), notified).await.is_err() {
            tracing::debug!("not every session was notified of the end in time");
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.cancel.cancel();
        self.close_sessions(|_| true, CloseCode::Shutdown, "");
        self.quinn.close(CloseCode::Shutdown.number().into(), b"");
    }
}

fn accepting(
    config: &EndpointConfig,
    registry: &Arc<Registry>,
    ids: &Ids,
) -> Result<Option<Accepting>, BindError> {
    if config.alpns.is_empty() {
        return Ok(None);
    }
    let EndpointConfig { alpns, trust, store, clock, revoked, .. } = config.clone();
    let tls = tls::server(&alpns, trust.ok_or(BindError::NoTrust)?, store, clock, revoked);
    let tls = ServerTls::new(tls).expect("aws-lc-rs has the initial cipher suite of QUIC");
    let mut ordinary = quinn::ServerConfig::with_crypto(ids.watch_initials(Arc::new(tls)));
    ordinary
        .transport_config(limits::accepting())
        .max_incoming(config.limits.handshakes_max)
        .incoming_buffer_size(INCOMING_BYTES_MAX)
        .incoming_buffer_size_total(INCOMING_BYTES_TOTAL_MAX);
    let mut peer = ordinary.clone();
    peer.transport_config(limits::accepting_peer());
    Ok(Some(Accepting {
        ordinary: Arc::new(ordinary),
        peer: Arc::new(peer),
        registry: registry.clone(),
        enrolling: Arc::default(),
        enrollments_max: config.limits.enrollments_max,
    }))
}

/// The connection id that marks a peer: [`PEER_CID_MARK`] and 16 random bytes (RFC 9000, 7.2 wants 8).
fn peer_cid() -> ConnectionId {
    let mut bytes: [u8; 20] = crate::random::bytes();
    bytes[..PEER_CID_MARK.len()].copy_from_slice(&PEER_CID_MARK);
    ConnectionId::new(&bytes)
}

/// The keyed connection ids of an endpoint.
fn connection_ids(reset_key: &[u8; RESET_KEY_BYTES], registry: &Registry) -> Ids {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, reset_key), b"connection ids");
    let key = tag.as_ref().first_chunk().copied().map(u64::from_le_bytes).expect("a tag has 32 bytes");
    Ids::new(key, registry.counters.clone())
}

/// With the same key a restarted process recognizes the connection ids of its former incarnation and can let its
/// peers at once that their sessions are gone (RFC 9000, 10.3).
fn endpoint_config(reset_key: &[u8; RESET_KEY_BYTES], ids: Ids) -> quinn::EndpointConfig {
    let mut config = quinn::EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, reset_key)));
    config.supported_versions(vec![stray_packets::VERSION]);
    // By default 50 a second: thousands of agents would wait for their idle timeout instead.
    config.min_reset_interval(limits::RESET_INTERVAL.to_std());
    config.cid_generator(move || Box::new(ids.generator()));
    config
}

fn socket(address: SocketAddr, buffer: Option<usize>) -> io::Result<std::net::UdpSocket> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    if let Some(bytes) = buffer {
        // The kernel may allow less (`net.core.rmem_max`): then bursts are dropped sooner, and resent.
        let set = socket.set_recv_buffer_size(bytes).and_then(|()| socket.set_send_buffer_size(bytes));
        let have = socket.recv_buffer_size().unwrap_or(0);
        if set.is_err() || have < bytes {
            tracing::debug!(wanted = bytes, have, "the kernel limits the buffers of the UDP socket");
        }
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Closes sessions that are silent, revoked or past their certificate, until the end.
async fn sweep(registry: Arc<Registry>, (revoked, clock): (Revoked, Clock), cancel: CancellationToken) {
    let mut every = interval(SWEEP_INTERVAL.to_std());
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while cancel.run_until_cancelled(every.tick()).await.is_some() {
        registry.sweep(&*revoked, clock());
    }
}

/// Takes connection attempts and lets each shake hands in a task of its own.
struct Acceptor {
    quinn: quinn::Endpoint,
    accepting: Arc<Accepting>,
    limits: EndpointLimits,
    pending: Arc<AtomicUsize>,
    accepted_to: mpsc::Sender<Session>,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Acceptor {
    async fn run(self) {
        let counters = self.accepting.registry.counters.clone();
        while let Some(Some(incoming)) = self.cancel.run_until_cancelled(self.quinn.accept()).await {
            let full = self.accepting.registry.len() >= self.limits.sessions_max;
            let place = Place::acquire(&self.pending, if full { 0 } else { self.limits.handshakes_max });
            let Some(place) = place else {
                counters.count_handshake();
                incoming.refuse();
                continue;
            };
            let many = self.pending.load(Ordering::Relaxed) > self.limits.retry_above;
            if many && !incoming.remote_address_validated() {
                counters.count_retry();
                // An error says that the address is validated already, which was just asked.
                drop(incoming.retry());
                continue;
            }
            let shake = shake_hands(incoming, place, self.accepting.clone(), self.accepted_to.clone());
            let cancel = self.cancel.clone();
            self.tasks.spawn(async move { cancel.run_until_cancelled(shake).await });
        }
    }
}

/// One handshake, and for an enrolment the whole session.
async fn shake_hands(
    incoming: quinn::Incoming,
    place: Place,
    accepting: Arc<Accepting>,
    accepted_to: mpsc::Sender<Session>,
) {
    let address = incoming.remote_address();
    let (session, enrolls) = match handshake::accept(incoming, &accepting).await {
        Ok(accepted) => accepted,
        Err(error) => return handshake::count_refusal(&accepting.registry, address, &error),
    };
    let watched = enrolls.map(|enrolls| (session.clone(), enrolls));
    // An error says that the endpoint ends.
    drop(accepted_to.send(session).await);
    drop(place);
    if let Some((session, enrolls)) = watched {
        end_enrollment(session, enrolls).await;
    }
}

/// No one is known by name in an enrolment session: it ends after a fixed time, used or not.
async fn end_enrollment(session: Session, enrolls: Place) {
    if timeout(ENROLL_SESSION_TIMEOUT.to_std(), session.closed()).await.is_err() {
        session.close(CloseCode::Busy, "an enrolment takes at most 30 s");
    }
    drop(enrolls);
}
