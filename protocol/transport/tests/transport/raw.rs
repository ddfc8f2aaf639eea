//! A client that believes every server and says what it likes.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn_proto::ConnectionId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::{DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use trimaran_transport::files::IdentityFiles;

#[derive(Debug)]
struct BelievesAll;

impl ServerCertVerifier for BelievesAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

pub(crate) struct Raw {
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) config: quinn::ClientConfig,
}

impl Raw {
    pub(crate) fn new(files: Option<&IdentityFiles>, alpn: &[u8]) -> Self {
        let builder = rustls::ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(BelievesAll));
        let mut tls = match files {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let chain = CertificateDer::pem_slice_iter(files.cert.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(files.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain.map(Result::unwrap).collect(), key).unwrap()
            }
        };
        tls.alpn_protocols = vec![alpn.to_vec()];
        let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let endpoint = quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        Self { endpoint, config }
    }

    /// Chooses connection ids that claim to be a peer's.
    pub(crate) fn claiming_peer(mut self) -> Self {
        let id = || {
            let mut bytes: [u8; 20] = trimaran_transport::random::bytes();
            bytes[..4].copy_from_slice(b"trmp");
            ConnectionId::new(&bytes)
        };
        self.config.initial_dst_cid_provider(Arc::new(id));
        self
    }

    pub(crate) fn dial(&self, address: SocketAddr) -> quinn::Connecting {
        self.endpoint.connect_with(self.config.clone(), address, "any").unwrap()
    }
}
