//! Numbers of QUIC: windows, streams, timeouts, and what an endpoint takes on at once.
//!
//! 10,000 agents with the windows of an agent are bounded by 20 GiB in theory and by what they really send in
//! practice; quinn's own defaults would bound them by 200 GiB and more. Only a coordinator that says that it
//! is a peer gets the windows of one, and only if its certificate agrees.

use std::sync::Arc;
use std::time::Duration;

use quinn::{IdleTimeout, TransportConfig, VarInt};
use trimaran_model::limits::{AGENT_KEEP_ALIVE, AGENT_LOST_AFTER};
use trimaran_model::time::Millis;

use crate::alpn::Alpn;

const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;

/// A handshake that takes longer is given up.
pub const HANDSHAKE_TIMEOUT: Millis = Millis::seconds(5);
/// Duration of an enrolment session: one bounded request, which a relay may pass on.
pub const ENROLL_SESSION_TIMEOUT: Millis = Millis::seconds(30);
/// A graceful end waits so long for the other sides to be notified.
pub const SHUTDOWN_TIMEOUT: Millis = Millis::seconds(2);
/// How often sessions are checked for silence.
pub const SWEEP_INTERVAL: Millis = Millis::seconds(1);
/// Stateless resets: at most so often, each smaller than the packet that caused it.
pub const RESET_INTERVAL: Millis = Millis(1);
/// Refused handshakes that are logged aloud; the others are counted and logged at the level of debugging.
pub const REFUSAL_LOG_INTERVAL: Millis = Millis(100);
/// Keep-alive and idle timeout between coordinators; an election takes a second or more.
pub const PEER_KEEP_ALIVE: Millis = Millis(500);
pub const PEER_LOST_AFTER: Millis = Millis::seconds(3);
/// Keep-alive of an operator's session: who watches has to notice a dead coordinator soon.
pub const OPERATOR_KEEP_ALIVE: Millis = Millis(500);

const _: () = assert!(PEER_KEEP_ALIVE.0 * 4 < PEER_LOST_AFTER.0);
const _: () = assert!(HANDSHAKE_TIMEOUT.0 < AGENT_LOST_AFTER.0);

/// What one endpoint takes on at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointLimits {
    /// From so many unfinished handshakes on, clients prove their address first (a QUIC Retry).
    pub retry_above: usize,
    /// From so many unfinished handshakes on, further ones are refused.
    pub handshakes_max: usize,
    /// From so many sessions on, further ones are refused.
    pub sessions_max: usize,
    /// Enrolment sessions at once.
    pub enrollments_max: usize,
    /// Sessions that are verified but not yet taken by [`crate::Endpoint::accept`].
    pub accept_queue: usize,
    /// Wanted bytes of the socket's two buffers; the kernel's default where `None` or where it allows less.
    pub socket_buffer: Option<usize>,
}

impl EndpointLimits {
    /// A coordinator or a fleet agent with up to 16,384 sessions.
    pub const SERVER: Self = Self {
        retry_above: 256,
        handshakes_max: 2000,
        sessions_max: 16_384,
        enrollments_max: 64,
        accept_queue: 64,
        socket_buffer: Some(4 << 20),
    };
    /// A runner, an operator or an agent without runners.
    pub const CLIENT: Self = Self {
        retry_above: 4,
        handshakes_max: 16,
        sessions_max: 64,
        enrollments_max: 4,
        accept_queue: 4,
        socket_buffer: None,
    };
}

/// Stream counts and windows of one protocol, as one side grants them to the other.
struct Class {
    /// Sessions of one identity at once. A process that is killed again and again leaves one behind for
    /// `lost_after` each time; operators are programs too, and run many at once.
    sessions_per_identity: usize,
    bidi_streams: u32,
    stream_window: u32,
    connection_window: u32,
    keep_alive: Millis,
    lost_after: Millis,
}

fn class(alpn: Alpn) -> Class {
    let agent = Class {
        sessions_per_identity: 16,
        bidi_streams: 8,
        stream_window: 256 * KIB,
        connection_window: MIB,
        keep_alive: AGENT_KEEP_ALIVE,
        lost_after: AGENT_LOST_AFTER,
    };
    match alpn {
        Alpn::Peer => Class {
            sessions_per_identity: 64,
            bidi_streams: 64,
            stream_window: 4 * MIB,
            connection_window: 32 * MIB,
            keep_alive: PEER_KEEP_ALIVE,
            lost_after: PEER_LOST_AFTER,
        },
        Alpn::Agent | Alpn::Runner => agent,
        Alpn::Operator => {
            let keep_alive = OPERATOR_KEEP_ALIVE;
            Class {
                sessions_per_identity: 1024,
                bidi_streams: 32,
                connection_window: 2 * MIB,
                keep_alive,
                ..agent
            }
        }
        Alpn::Enroll => {
            Class { bidi_streams: 1, stream_window: 32 * KIB, connection_window: 64 * KIB, ..agent }
        }
    }
}

/// Sessions of one identity at once.
pub(crate) fn sessions_per_identity(alpn: Alpn) -> usize {
    class(alpn).sessions_per_identity
}

/// Streams that a client whose session is verified may have open at once. Each has a place in tables for the whole session.
pub(crate) fn bidi_streams(alpn: Alpn) -> VarInt {
    VarInt::from_u32(match alpn {
        // Its control stream, and one that takes the place of it; questions come from its agent.
        Alpn::Runner => 2,
        Alpn::Peer | Alpn::Agent | Alpn::Operator | Alpn::Enroll => class(alpn).bidi_streams,
    })
}

/// Bytes in flight towards this side in one verified session.
pub(crate) fn connection_window(alpn: Alpn) -> VarInt {
    VarInt::from_u32(class(alpn).connection_window)
}

/// A session that receives nothing for so long is closed.
pub(crate) fn lost_after(alpn: Alpn) -> Duration {
    class(alpn).lost_after.to_std()
}

/// Parameters of a connection that this side dials. The dialing side keeps it alive: one packet and its
/// acknowledgement are received by both.
pub(crate) fn dialing(alpn: Alpn) -> Arc<TransportConfig> {
    let class = class(alpn);
    let mut config = common(&class);
    config.keep_alive_interval(Some(class.keep_alive.to_std()));
    config.max_concurrent_bidi_streams(VarInt::from_u32(class.bidi_streams));
    if alpn == Alpn::Peer {
        config.initial_rtt(Duration::from_millis(20));
    }
    Arc::new(config)
}

/// Parameters of an accepted connection whose protocol and certificate are not known yet: stream windows are
/// an agent's, and no stream can be opened before the session is verified.
pub(crate) fn accepting() -> Arc<TransportConfig> {
    let mut config = common(&class(Alpn::Agent));
    config.receive_window(connection_window(Alpn::Enroll));
    config.max_concurrent_bidi_streams(VarInt::from_u32(0));
    // Each connection keeps a buffer of what it sends at once, which thousands of idle ones never fill again: ten datagrams
    // where the kernel cuts them, and two of the first size once a larger one was found.
    config.enable_segmentation_offload(false);
    config.mtu_discovery_config(None);
    Arc::new(config)
}

/// Parameters of an accepted connection that claims to be a peer's (see [`crate::quic::tls::PEER_CID_MARK`]).
pub(crate) fn accepting_peer() -> Arc<TransportConfig> {
    let mut config = common(&class(Alpn::Peer));
    config.receive_window(connection_window(Alpn::Enroll));
    config.max_concurrent_bidi_streams(VarInt::from_u32(0));
    config.initial_rtt(Duration::from_millis(20));
    Arc::new(config)
}

fn common(class: &Class) -> TransportConfig {
    let mut config = TransportConfig::default();
    let idle = IdleTimeout::try_from(class.lost_after.to_std()).expect("12 s fit into a variable integer");
    config
        .max_idle_timeout(Some(idle))
        .stream_receive_window(VarInt::from_u32(class.stream_window))
        .receive_window(VarInt::from_u32(class.connection_window))
        .send_window(u64::from(class.connection_window))
        // One stream says that the session was accepted; see `handshake`.
        .max_concurrent_uni_streams(VarInt::from_u32(1))
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(0);
    config
}
