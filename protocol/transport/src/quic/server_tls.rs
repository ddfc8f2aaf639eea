//! TLS of accepted connections: rustls for the handshake, and after it no more than what QUIC still needs of it, which is
//! the secrets for further key updates.
//!
//! Each session would hold rustls's buffers, record keys and certificates to its end, about as much as all the rest of its
//! cryptography, and a server has thousands of idle sessions. Nothing of it is used again: after a handshake
//! without tickets neither side sends handshake messages (RFC 9001, 4.4 and 6), so one that comes is a violation.
//!
//! Not here: the configuration (`tls`), and what the presented certificates mean (`handshake`). Clients use quinn's own
//! session: a process dials few.

use std::any::Any;
use std::sync::Arc;

use parking_lot::Mutex;
use quinn::crypto::rustls::{HandshakeData, NoInitialCipherSuite, QuicServerConfig};
use quinn_proto::crypto::{
    self, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, UnsupportedVersion,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectionId, Side, TransportError, TransportErrorCode};
use rustls::quic::{KeyChange, Secrets, ServerConnection, Version};
use rustls_pki_types::CertificateDer;

/// The alert `unexpected_message` (RFC 8446, 6.2).
const UNEXPECTED_MESSAGE: u8 = 10;
/// The alert `missing_extension`, by which QUIC reports absent transport parameters (RFC 9001, 8.2).
const MISSING_EXTENSION: u8 = 109;

/// TLS of all connections that an endpoint accepts.
pub(super) struct ServerTls {
    /// Keys of Initial packets and Retry tags.
    initial: QuicServerConfig,
    config: Arc<rustls::ServerConfig>,
}

impl ServerTls {
    pub(super) fn new(config: rustls::ServerConfig) -> Result<Self, NoInitialCipherSuite> {
        let config = Arc::new(config);
        Ok(Self { initial: config.clone().try_into()?, config })
    }
}

impl crypto::ServerConfig for ServerTls {
    fn initial_keys(&self, version: u32, to: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.initial.initial_keys(version, to)
    }

    fn retry_tag(&self, version: u32, to: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.initial.retry_tag(version, to, packet)
    }

    fn start_session(
        self: Arc<Self>,
        version: u32,
        parameters: &TransportParameters,
    ) -> Box<dyn crypto::Session> {
        Box::new(ServerSession::new(self, version, parameters))
    }
}

/// TLS of one accepted connection.
struct ServerSession {
    version: u32,
    tls: Arc<ServerTls>,
    /// Until the handshake is over.
    handshake: Option<Box<ServerConnection>>,
    /// The protocol is agreed on, which quinn was notified of.
    is_agreed: bool,
    protocol: Option<Vec<u8>>,
    /// The client's certificates, from the end of the handshake until they are asked for.
    presented: Mutex<Option<Vec<CertificateDer<'static>>>>,
    /// Those of the next key update.
    secrets: Option<Secrets>,
}

impl ServerSession {
    fn new(tls: Arc<ServerTls>, version: u32, parameters: &TransportParameters) -> Self {
        let mut sent = Vec::new();
        parameters.write(&mut sent);
        let handshake = ServerConnection::new(tls.config.clone(), Version::V1, sent)
            .expect("the configuration has TLS 1.3 and no early data");
        Self {
            version,
            tls,
            handshake: Some(Box::new(handshake)),
            is_agreed: false,
            protocol: None,
            presented: Mutex::default(),
            secrets: None,
        }
    }

    /// Keeps what is asked for later, once the last byte of the handshake is read and written.
    fn end_handshake(&mut self) {
        if self.secrets.is_none() {
            return;
        }
        if let Some(over) = self.handshake.take_if(|handshake| !handshake.is_handshaking()) {
            let presented = over.peer_certificates();
            let presented = presented.map(|chain| chain.iter().map(|it| it.clone().into_owned()).collect());
            *self.presented.get_mut() = presented;
        }
    }
}

impl crypto::Session for ServerSession {
    fn initial_keys(&self, to: &ConnectionId, side: Side) -> Keys {
        debug_assert!(side.is_server(), "a client alone computes them anew, after a Retry");
        let Ok(keys) = crypto::ServerConfig::initial_keys(&*self.tls, self.version, to) else {
            unreachable!("a session was started for this version")
        };
        keys
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        let data = HandshakeData { protocol: self.protocol.clone(), server_name: None };
        self.is_agreed.then(|| -> Box<dyn Any> { Box::new(data) })
    }

    /// The chain that the client presented (`Vec<CertificateDer>`), once.
    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.presented.lock().take().map(|chain| -> Box<dyn Any> { Box::new(chain) })
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        None
    }

    fn early_data_accepted(&self) -> Option<bool> {
        None
    }

    fn is_handshaking(&self) -> bool {
        self.handshake.as_ref().is_some_and(|handshake| handshake.is_handshaking())
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        let Some(handshake) = &mut self.handshake else {
            return Err(refused(UNEXPECTED_MESSAGE, "a handshake message after the handshake"));
        };
        if let Err(error) = handshake.read_hs(bytes) {
            let violation = TransportErrorCode::PROTOCOL_VIOLATION;
            let code = handshake.alert().map_or(violation, |it| TransportErrorCode::crypto(it.into()));
            return Err(TransportError { code, frame: None, reason: error.to_string() });
        }
        let agrees = !self.is_agreed && handshake.alpn_protocol().is_some();
        if agrees {
            self.is_agreed = true;
            self.protocol = handshake.alpn_protocol().map(<[u8]>::to_vec);
        }
        Ok(agrees)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        let handshake = self.handshake.as_ref();
        let handshake = handshake.ok_or_else(|| refused(MISSING_EXTENSION, "the handshake is over"))?;
        let Some(mut bytes) = handshake.quic_transport_parameters() else { return Ok(None) };
        Ok(Some(TransportParameters::read(Side::Server, &mut bytes)?))
    }

    fn write_handshake(&mut self, bytes: &mut Vec<u8>) -> Option<Keys> {
        let before = bytes.len();
        let keys = match self.handshake.as_mut()?.write_hs(bytes) {
            None => {
                if bytes.len() == before {
                    self.end_handshake();
                }
                return None;
            }
            Some(KeyChange::Handshake { keys }) => keys,
            Some(KeyChange::OneRtt { keys, next }) => {
                self.secrets = Some(next);
                keys
            }
        };
        let (local, remote) = (keys.local, keys.remote);
        Some(Keys {
            header: KeyPair { local: Box::new(local.header), remote: Box::new(remote.header) },
            packet: KeyPair { local: Box::new(local.packet), remote: Box::new(remote.packet) },
        })
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let keys = self.secrets.as_mut()?.next_packet_keys();
        Some(KeyPair { local: Box::new(keys.local), remote: Box::new(keys.remote) })
    }

    /// Only servers send a Retry.
    fn is_valid_retry(&self, _: &ConnectionId, _: &[u8], _: &[u8]) -> bool {
        false
    }

    /// Nothing here binds itself to a session's keys.
    fn export_keying_material(
        &self,
        _: &mut [u8],
        _: &[u8],
        _: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        Err(ExportKeyingMaterialError)
    }
}

/// Ends the connection with a TLS alert (RFC 9001, 4.8).
fn refused(alert: u8, why: &str) -> TransportError {
    TransportError { code: TransportErrorCode::crypto(alert), frame: None, reason: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use quinn::crypto::rustls::QuicClientConfig;
    use quinn_proto::crypto::{ClientConfig as _, Session};
    use trimaran_model::id::Identity;
    use trimaran_model::time::{Millis, WallTime};

    use super::*;
    use crate::alpn::Alpn;
    use crate::pki::authority::Authority;
    use crate::pki::certificate_store::CertificateStore;
    use crate::pki::enroll::{Csr, make_key_and_csr};
    use crate::pki::files::IdentityFiles;
    use crate::pki::trust::Trust;
    use crate::quic::stray_packets::VERSION;
    use crate::quic::tls::{self, Clock, Expected, Revoked};

    const NOW: WallTime = WallTime(1_800_000_000_000);

    /// An agent that serves and a runner that dials it.
    fn sessions() -> (ServerSession, Box<dyn Session>) {
        let authority = Authority::new_root("one", NOW).expect("a root");
        let issuer = authority.new_issuer(&"c1".parse().expect("a name"), 0, NOW).expect("an issuer");
        let store = |identity: &Identity| {
            let (key, csr) = make_key_and_csr("any").expect("a key");
            let csr = Csr::parse(&csr).expect("a request");
            let leaf = issuer.issue(identity, &csr, NOW, Millis::hours(24)).expect("a leaf");
            let files = IdentityFiles { cert: leaf.pem(), key, ca: authority.certificate_pem() };
            CertificateStore::new(&files).expect("an identity")
        };
        let trust = Trust::from_pem(&authority.certificate_pem()).expect("the root");
        let (clock, revoked): (Clock, Revoked) = (Arc::new(|| NOW), Arc::new(|_| false));
        let agent = store(&Identity::Agent("lab".parse().expect("a name")));
        let runner = store(&Identity::Runner("host-1".parse().expect("a name")));
        let server = tls::server(&[Alpn::Runner], trust.clone(), agent, clock.clone(), revoked.clone());
        let expected = Expected::Member { trust, identity: None };
        let client = tls::client(Alpn::Runner, expected, runner, clock, revoked);
        let client = QuicClientConfig::try_from(client).expect("it has the initial cipher suite");
        let parameters = TransportParameters::read(Side::Client, &mut &b""[..]).expect("each has a default");
        let client = Arc::new(client).start_session(VERSION, "trimaran", &parameters).expect("a session");
        let server = Arc::new(ServerTls::new(server).expect("it has the initial cipher suite"));
        (ServerSession::new(server, VERSION, &parameters), client)
    }

    /// Carries all that one side has to say to the other one.
    fn carry(from: &mut dyn Session, to: &mut dyn Session) {
        loop {
            let mut bytes = Vec::new();
            let keys = from.write_handshake(&mut bytes);
            if !bytes.is_empty() {
                to.read_handshake(&bytes).expect("it is right");
            } else if keys.is_none() {
                return;
            }
        }
    }

    #[test]
    fn after_its_handshake_a_session_holds_nothing_of_rustls_and_still_updates_its_keys() {
        let (mut server, mut client) = sessions();
        for _ in 0..2 {
            carry(&mut *client, &mut server);
            carry(&mut server, &mut *client);
        }
        assert!(!server.is_handshaking() && !client.is_handshaking());
        assert!(server.handshake.is_none(), "it is over");

        let data = server.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
        assert_eq!(data.expect("known").protocol.as_deref(), Some(Alpn::Runner.as_str().as_bytes()));
        let chain = server.peer_identity().and_then(|it| it.downcast::<Vec<CertificateDer<'_>>>().ok());
        assert_eq!(chain.expect("the runner's").len(), 2, "its leaf and who signed it");
        assert!(server.peer_identity().is_none(), "it is given once");

        for number in 0..3 {
            let near = server.next_1rtt_keys().expect("there are always further ones").local;
            let far = client.next_1rtt_keys().expect("there are always further ones").remote;
            let mut packet = b"head text".to_vec();
            packet.resize(packet.len() + near.tag_len(), 0);
            near.encrypt(number, &mut packet, 5);
            let mut sealed = BytesMut::from(&packet[5..]);
            far.decrypt(number, b"head ", &mut sealed).expect("both have the same keys");
            assert_eq!(&sealed[..], b"text");
        }

        let refused = server.read_handshake(b"more").expect_err("nothing may follow");
        assert_eq!(refused.code, TransportErrorCode::crypto(UNEXPECTED_MESSAGE));
    }
}
