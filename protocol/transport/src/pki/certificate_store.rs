//! The certificate in use. It can be replaced while connections run: new handshakes take the new one.

use std::sync::Arc;

use parking_lot::RwLock;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DistinguishedName, SignatureScheme};

use crate::alpn::Alpn;
use crate::pki::chain;
use crate::pki::files::IdentityFiles;
use crate::pki::identity::{CertificateError, CertificateInfo};
use crate::pki::pem;
use crate::pki::trust::{Trust, TrustError};

/// Why an identity can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateStoreError {
    #[error("the certificate file holds no readable certificate")]
    Certificate,
    #[error("the certificate is not usable")]
    Leaf(#[source] CertificateError),
    #[error("the key file holds no readable key")]
    Key,
    #[error("the key does not belong to the certificate")]
    OtherKey,
    #[error("the root file is not usable")]
    Trust(#[from] TrustError),
}

/// The certificate in use, shared by all handshakes of a process; empty until enrolment.
#[derive(Debug, Default)]
pub struct CertificateStore {
    current: RwLock<Option<Current>>,
}

#[derive(Debug, Clone)]
struct Current {
    info: CertificateInfo,
    key: Arc<CertifiedKey>,
    /// The chain with the root at its end, for newcomers who know only the root's fingerprint.
    with_root: Arc<CertifiedKey>,
}

impl CertificateStore {
    /// A store without a certificate: enough to enrol.
    pub fn empty() -> Arc<Self> {
        Arc::default()
    }

    /// A store with the identity of a directory.
    pub fn new(files: &IdentityFiles) -> Result<Arc<Self>, CertificateStoreError> {
        let store = Self::empty();
        store.replace(files)?;
        Ok(store)
    }

    /// Takes another certificate into use. On an error the old one stays.
    ///
    /// Validity is not judged here: a coordinator that starts with an expired certificate may renew it.
    pub fn replace(&self, files: &IdentityFiles) -> Result<(), CertificateStoreError> {
        let chain = pem::certificates(&files.cert).ok_or(CertificateStoreError::Certificate)?;
        let issuers = chain::below_roots(&chain[1..]).and_then(chain::keys);
        let issuers = issuers.map_err(CertificateStoreError::Leaf)?;
        let info = CertificateInfo::parse(&chain[0]).map_err(CertificateStoreError::Leaf)?;
        let info = CertificateInfo { issuers, ..info };
        let trust = Trust::from_pem(&files.ca)?;
        let certified = |chain| {
            let key = pem::private_key(&files.key).ok_or(CertificateStoreError::Key)?;
            let found = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
            found.map(Arc::new).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => CertificateStoreError::OtherKey,
                _ => CertificateStoreError::Key,
            })
        };
        let with_root = chain.iter().chain(trust.roots().iter()).cloned().collect();
        let current = Current { info, key: certified(chain)?, with_root: certified(with_root)? };
        *self.current.write() = Some(current);
        Ok(())
    }

    /// What the certificate in use says, for [`crate::pki::enroll::renew_at`].
    pub fn info(&self) -> Option<CertificateInfo> {
        self.current().map(|current| current.info)
    }

    /// The chain in use (DER, leaf first), for a renewal.
    pub fn chain(&self) -> Option<Vec<Vec<u8>>> {
        self.current().map(|current| current.key.cert.iter().map(|der| der.to_vec()).collect())
    }

    fn current(&self) -> Option<Current> {
        self.current.read().clone()
    }
}

impl ResolvesServerCert for CertificateStore {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current()?;
        let enroll = Alpn::Enroll.as_str().as_bytes();
        let enrolls = hello.alpn().is_some_and(|mut offered| offered.any(|alpn| alpn == enroll));
        Some(if enrolls { current.with_root } else { current.key })
    }
}

impl ResolvesClientCert for CertificateStore {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.current().map(|current| current.key)
    }

    fn has_certs(&self) -> bool {
        self.current().is_some()
    }
}

/// Authorities are not named in handshakes: a process has one certificate.
pub(crate) const NO_HINTS: &[DistinguishedName] = &[];
