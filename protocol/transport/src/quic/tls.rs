//! TLS 1.3 of both sides: aws-lc-rs, certificates judged by [`Trust`] at the caller's wall clock, no session
//! resumption and so no 0-RTT: each handshake asks anew whether a certificate is valid and not revoked.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use trimaran_model::id::{Digest, Identity};
use trimaran_model::time::WallTime;

use crate::alpn::Alpn;
use crate::pki::certificate_store::{CertificateStore, NO_HINTS};
use crate::pki::identity::{CertificateError, CertificateInfo};
use crate::pki::trust::{Trust, unix_time};

/// The wall clock by which certificates are judged: the cluster's on coordinators, the best known elsewhere.
pub type Clock = Arc<dyn Fn() -> WallTime + Send + Sync>;

/// Whether a certificate is revoked; asked at each handshake and by [`crate::Endpoint::close_revoked`].
pub type Revoked = Arc<dyn Fn(&CertificateInfo) -> bool + Send + Sync>;

/// The first bytes of the connection id that a dialing peer chooses. A hint which windows to grant: TLS tells
/// the protocol only after they were granted. A session that claims to be a peer's and is not is refused.
pub(crate) const PEER_CID_MARK: [u8; 4] = *b"trmp";

#[derive(Clone)]
struct ClockProvider(Clock);

impl fmt::Debug for ClockProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClockProvider")
    }
}

impl TimeProvider for ClockProvider {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time((self.0)()))
    }
}

/// Whom a client wants to reach.
#[derive(Clone)]
pub(crate) enum Expected {
    /// A server of this cluster whose role fits the protocol, and this very one where it is named.
    Member { trust: Trust, identity: Option<Identity> },
    /// The cluster whose root has this fingerprint.
    Root(Digest),
}

/// TLS configuration of the accepting side; one for all protocols it serves.
pub(crate) fn server(
    alpns: &[Alpn],
    trust: Trust,
    store: Arc<CertificateStore>,
    clock: Clock,
    revoked: Revoked,
) -> rustls::ServerConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Verifier { provider: provider.clone(), clock: clock.clone(), revoked };
    let mut config = rustls::ServerConfig::builder_with_details(provider, Arc::new(ClockProvider(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("aws-lc-rs has the cipher suites of TLS 1.3")
        .with_client_cert_verifier(Arc::new(OfClients { trust, verifier }))
        .with_cert_resolver(store);
    config.alpn_protocols = alpns.iter().map(|alpn| alpn.as_str().as_bytes().to_vec()).collect();
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config
}

/// TLS configuration of one dialing.
pub(crate) fn client(
    alpn: Alpn,
    expected: Expected,
    store: Arc<CertificateStore>,
    clock: Clock,
    revoked: Revoked,
) -> rustls::ClientConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Verifier { provider: provider.clone(), clock: clock.clone(), revoked };
    let builder = rustls::ClientConfig::builder_with_details(provider, Arc::new(ClockProvider(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("aws-lc-rs has the cipher suites of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OfServers { alpn, expected, verifier }));
    let mut config = match alpn.client_role() {
        Some(_) => builder.with_client_cert_resolver(store),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.as_str().as_bytes().to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    config
}

/// What both directions share.
struct Verifier {
    provider: Arc<CryptoProvider>,
    clock: Clock,
    revoked: Revoked,
}

impl Verifier {
    fn verify(
        &self,
        trust: &Trust,
        leaf: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
    ) -> Result<CertificateInfo, CertificateError> {
        let chain: Vec<CertificateDer<'_>> = std::iter::once(leaf).chain(issuers).cloned().collect();
        // rustls passes whole seconds; the clock itself tells milliseconds.
        let info = trust.verify(&chain, (self.clock)())?;
        if (self.revoked)(&info) {
            return Err(CertificateError::Revoked);
        }
        Ok(info)
    }

    fn verify_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signature, &self.provider.signature_verification_algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Verifies servers.
struct OfServers {
    alpn: Alpn,
    expected: Expected,
    verifier: Verifier,
}

impl OfServers {
    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
    ) -> Result<(), CertificateError> {
        let (info, wanted) = match &self.expected {
            Expected::Member { trust, identity } => {
                (self.verifier.verify(trust, leaf, issuers)?, identity.as_ref())
            }
            Expected::Root(fingerprint) => {
                (self.verifier.verify(&Trust::pinned(issuers, fingerprint)?, leaf, issuers)?, None)
            }
        };
        let refused = |expected| CertificateError::Role { found: info.identity.to_string(), expected };
        if !self.alpn.server_roles().contains(&info.role()) {
            let roles: Vec<_> = self.alpn.server_roles().iter().map(|role| role.as_str()).collect();
            return Err(refused(roles.join(" or ")));
        }
        match wanted {
            Some(wanted) if *wanted != info.identity => Err(refused(wanted.to_string())),
            Some(_) | None => Ok(()),
        }
    }
}

impl ServerCertVerifier for OfServers {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.judge(leaf, issuers).map_err(tls_error)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_signature(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.schemes()
    }
}

/// Verifies clients. Whether a certificate may be absent, and which role it must have, depends on the protocol
/// and is judged right after the handshake.
struct OfClients {
    trust: Trust,
    verifier: Verifier,
}

impl ClientCertVerifier for OfClients {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        NO_HINTS
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.verifier.verify(&self.trust, leaf, issuers).map_err(tls_error)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_signature(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.schemes()
    }
}

impl fmt::Debug for OfServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfServers").field("alpn", &self.alpn).finish_non_exhaustive()
    }
}

impl fmt::Debug for OfClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfClients").field("cluster", &self.trust.cluster()).finish_non_exhaustive()
    }
}

/// The alert that fits; the text reaches the log of this side only.
fn tls_error(error: CertificateError) -> rustls::Error {
    use rustls::CertificateError as Tls;
    let kind = match error {
        CertificateError::Expired => Tls::Expired,
        CertificateError::NotYetValid => Tls::NotValidYet,
        CertificateError::UnknownIssuer => Tls::UnknownIssuer,
        CertificateError::Revoked => Tls::Revoked,
        CertificateError::Missing
        | CertificateError::Parse { .. }
        | CertificateError::TooMany { .. }
        | CertificateError::Chain { .. }
        | CertificateError::NoIdentity
        | CertificateError::Usage
        | CertificateError::Cluster { .. }
        | CertificateError::Role { .. } => Tls::Other(OtherError(Arc::new(error))),
    };
    rustls::Error::InvalidCertificate(kind)
}

fn no_tls12() -> rustls::Error {
    rustls::Error::General("QUIC has no TLS 1.2".into())
}
