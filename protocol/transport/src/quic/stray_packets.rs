//! Datagrams that belong to no connection and start none: distinguished and counted, each once, without keeping
//! anything of them.
//!
//! QUIC drops most of them before there is a handshake to refuse. Three places see all of it: the socket (headers
//! that can't be read, or name ids that no endpoint issued), the check of ids that quinn makes of a packet without a
//! connection, and the keys of a first Initial. Not counted here: late packets of a connection that is gone, whose
//! ids carry the keyed signature of this endpoint, and attempts that become a handshake, which counts them itself.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use quinn_proto::crypto::{self, HeaderKey, KeyPair, Keys, UnsupportedVersion};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectionId, ConnectionIdGenerator, HashedConnectionIdGenerator, InvalidCid};

use crate::counters::Counters;

/// The only version that is spoken: QUIC 1 (RFC 9000, 15).
pub(super) const VERSION: u32 = 1;
/// A client fills the datagrams of its Initials up to this size (RFC 9000, 14.1).
const INITIAL_BYTES_MIN: usize = 1200;
/// Ids in a long header (RFC 9000, 17.2), and what a client chooses at least (7.2).
const CID_BYTES_MAX: usize = 20;
const CHOSEN_CID_BYTES_MIN: usize = 8;
/// A protected packet has a packet number of up to 4 bytes and a sample of 16 behind it (RFC 9001, 5.4.2).
const PROTECTED_BYTES_MIN: u64 = 20;
/// Bits of an Initial's first byte that are zero under the protection (RFC 9000, 17.2).
const RESERVED_BITS: u8 = 0x0c;

/// The connection ids of one endpoint; with the same key also those of its former incarnations are known.
#[derive(Clone)]
pub(super) struct Ids {
    key: u64,
    counters: Arc<Counters>,
}

impl Ids {
    pub(super) fn new(key: u64, counters: Arc<Counters>) -> Self {
        Self { key, counters }
    }

    fn hashed(&self) -> HashedConnectionIdGenerator {
        HashedConnectionIdGenerator::from_key(self.key)
    }

    /// Makes ids, and counts the packets without a connection whose ids it did not make.
    pub(super) fn generator(&self) -> CountingIds {
        CountingIds { ids: self.hashed(), counters: self.counters.clone() }
    }

    /// A socket that counts what it reads and quinn will drop unseen. `serves`: Initials may start connections.
    pub(super) fn watch(&self, inner: Arc<dyn AsyncUdpSocket>, serves: bool) -> Arc<dyn AsyncUdpSocket> {
        let judge = Judge { ids: self.hashed(), serves };
        Arc::new(WatchedSocket { inner, judge, counters: self.counters.clone() })
    }

    /// TLS whose first read of an Initial is counted when it is none.
    pub(super) fn watch_initials(
        &self,
        inner: Arc<dyn crypto::ServerConfig>,
    ) -> Arc<dyn crypto::ServerConfig> {
        Arc::new(WatchedTls { inner, ids: self.hashed(), counters: self.counters.clone() })
    }
}

/// Ids with a signature; see [`HashedConnectionIdGenerator`].
pub(super) struct CountingIds {
    ids: HashedConnectionIdGenerator,
    counters: Arc<Counters>,
}

impl ConnectionIdGenerator for CountingIds {
    fn generate_cid(&mut self) -> ConnectionId {
        self.ids.generate_cid()
    }

    /// Asked for a packet with a short header that is neither of a connection nor a stateless reset.
    fn validate(&self, cid: &ConnectionId) -> Result<(), InvalidCid> {
        self.ids.validate(cid).inspect_err(|_| self.counters.count_handshake())
    }

    fn cid_len(&self) -> usize {
        self.ids.cid_len()
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        self.ids.cid_lifetime()
    }
}

/// Reads the part of a datagram's first header that says where it belongs (RFC 8999; RFC 9000, 17.2).
struct Judge {
    ids: HashedConnectionIdGenerator,
    serves: bool,
}

impl Judge {
    /// Whether quinn drops this datagram without asking anybody.
    fn is_garbage(&self, datagram: &[u8]) -> bool {
        match datagram.first() {
            None => true,
            // Where it is long enough for an id, the generator is asked.
            Some(first) if first & 0x80 == 0 => datagram.len() <= self.ids.cid_len(),
            Some(first) => self.is_long_garbage(datagram, *first),
        }
    }

    fn is_long_garbage(&self, datagram: &[u8], first: u8) -> bool {
        let mut rest = Reader(&datagram[1..]);
        let (Some(version), Some(to), Some(_from)) = (rest.version(), rest.id(), rest.id()) else {
            return true;
        };
        let is_ours = to.len() == self.ids.cid_len() && self.ids.validate(&ConnectionId::new(to)).is_ok();
        if is_ours {
            return false;
        }
        if version != VERSION || first & 0x30 != 0 {
            return true;
        }
        let token = rest.number().and_then(|length| rest.split(length));
        let payload = rest.number();
        let (Some(_token), Some(payload)) = (token, payload) else { return true };
        let whole = (PROTECTED_BYTES_MIN..=rest.0.len() as u64).contains(&payload);
        let starts = datagram.len() >= INITIAL_BYTES_MIN && to.len() >= CHOSEN_CID_BYTES_MIN && whole;
        !(self.serves && starts)
    }
}

/// What is left of a header.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn split(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn version(&mut self) -> Option<u32> {
        self.split(4)?.first_chunk().copied().map(u32::from_be_bytes)
    }

    fn id(&mut self) -> Option<&'a [u8]> {
        let length = self.split(1)?[0];
        if usize::from(length) > CID_BYTES_MAX { None } else { self.split(length.into()) }
    }

    /// A variable-length integer (RFC 9000, 16).
    fn number(&mut self) -> Option<u64> {
        let first = *self.0.first()?;
        let bytes = self.split(1 << (first >> 6))?;
        let value = bytes.iter().fold(0, |value: u64, byte| value << 8 | u64::from(*byte));
        Some(value & (u64::MAX >> (66 - 8 * bytes.len())))
    }
}

struct WatchedSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    judge: Judge,
    counters: Arc<Counters>,
}

impl std::fmt::Debug for WatchedSocket {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(formatter)
    }
}

impl AsyncUdpSocket for WatchedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let read = ready!(self.inner.poll_recv(context, buffers, meta))?;
        for (meta, buffer) in meta.iter().zip(buffers.iter()).take(read) {
            // The kernel joins datagrams of one sender; each has `stride` bytes, the last one may have fewer.
            let bytes = &buffer[..meta.len.min(buffer.len())];
            let garbage = match bytes.is_empty() {
                true => 1,
                false => bytes.chunks(meta.stride.max(1)).filter(|it| self.judge.is_garbage(it)).count(),
            };
            (0..garbage).for_each(|_| self.counters.count_handshake());
        }
        Poll::Ready(Ok(read))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

struct WatchedTls {
    inner: Arc<dyn crypto::ServerConfig>,
    ids: HashedConnectionIdGenerator,
    counters: Arc<Counters>,
}

impl crypto::ServerConfig for WatchedTls {
    /// Asked once for each Initial that no connection knows.
    fn initial_keys(&self, version: u32, to: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        let keys = self.inner.initial_keys(version, to)?;
        if to.len() == self.ids.cid_len() && self.ids.validate(to).is_ok() {
            // Late for a connection that was refused or is gone.
            return Ok(keys);
        }
        let Keys { header: KeyPair { local, remote }, packet } = keys;
        let counters = self.counters.clone();
        let remote = Box::new(WatchedKey { inner: remote, looked: AtomicBool::new(false), counters });
        Ok(Keys { header: KeyPair { local, remote }, packet })
    }

    fn retry_tag(&self, version: u32, to: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.inner.retry_tag(version, to, packet)
    }

    fn start_session(
        self: Arc<Self>,
        version: u32,
        parameters: &TransportParameters,
    ) -> Box<dyn crypto::Session> {
        self.inner.clone().start_session(version, parameters)
    }
}

/// The key of a header; the first one that it opens says whether the datagram is an Initial at all.
struct WatchedKey {
    inner: Box<dyn HeaderKey>,
    looked: AtomicBool,
    counters: Arc<Counters>,
}

impl HeaderKey for WatchedKey {
    fn decrypt(&self, at: usize, packet: &mut [u8]) {
        self.inner.decrypt(at, packet);
        let is_first = !self.looked.swap(true, Ordering::Relaxed);
        if is_first && packet.first().is_some_and(|first| first & RESERVED_BITS != 0) {
            self.counters.count_handshake();
        }
    }

    fn encrypt(&self, at: usize, packet: &mut [u8]) {
        self.inner.encrypt(at, packet);
    }

    fn sample_size(&self) -> usize {
        self.inner.sample_size()
    }
}
