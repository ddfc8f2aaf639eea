//! The judgment of certificate chains: does this chain, at this time, prove an identity of this cluster?
//!
//! Trust anchors are the roots alone. A root file may hold several roots, so that an authority can be replaced
//! with an overlap, under a process that runs. Revocation is not judged here: it is replicated state, asked by the endpoint.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::aws_lc_rs;
use rustls::server::ParsedCertificate;
use rustls_pki_types::{CertificateDer, UnixTime};
use trimaran_model::id::{Digest, name_error};
use trimaran_model::time::WallTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::pki::chain;
use crate::pki::identity::{CertificateError, CertificateInfo, sha256};
use crate::pki::pem;

/// Certificates of one chain: leaf, issuers, and the root where it is sent along.
pub const CHAIN_CERTIFICATES_MAX: usize = 28;
/// Issuers that one run of the path validation of webpki passes.
const VALIDATED_ISSUERS_MAX: usize = 6;

/// Why a root file is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    #[error("the root file holds no readable certificate")]
    Parse,
    #[error("a root certificate does not name its cluster")]
    NoCluster,
    #[error("the root file mixes the clusters `{one}` and `{other}`")]
    Clusters { one: String, other: String },
    #[error("a root certificate is not usable: {why}")]
    Root { why: String },
    #[error("none of the new roots is trusted now: an authority is replaced with an overlap")]
    NoOverlap,
}

/// The roots of one cluster. A clone is another handle: all of them see roots that are replaced.
#[derive(Debug, Clone)]
pub struct Trust {
    cluster: String,
    roots: Arc<RwLock<Roots>>,
}

#[derive(Debug, Clone)]
struct Roots {
    all: Arc<[CertificateDer<'static>]>,
    store: Arc<RootCertStore>,
}

impl Trust {
    /// Reads `ca.pem`: one root, or several while an authority is replaced, all of one cluster.
    pub fn from_pem(ca_pem: &str) -> Result<Self, TrustError> {
        Self::from_der(pem::certificates(ca_pem).ok_or(TrustError::Parse)?)
    }

    pub(crate) fn from_der(roots: Vec<CertificateDer<'static>>) -> Result<Self, TrustError> {
        let mut store = RootCertStore::empty();
        let mut cluster: Option<String> = None;
        for root in &roots {
            let named = root_cluster(root)?;
            if let Some(one) = cluster.as_ref().filter(|one| **one != named) {
                return Err(TrustError::Clusters { one: one.clone(), other: named });
            }
            cluster = Some(named);
            store.add(root.clone()).map_err(|error| TrustError::Root { why: error.to_string() })?;
        }
        let cluster = cluster.ok_or(TrustError::Parse)?;
        let roots = Roots { all: roots.into(), store: Arc::new(store) };
        Ok(Self { cluster, roots: Arc::new(RwLock::new(roots)) })
    }

    /// Trusts the roots of another `ca.pem` of the same cluster from now on, at least one of which is trusted already; true
    /// when they are other ones. On an error the old ones stay.
    pub fn replace(&self, ca_pem: &str) -> Result<bool, TrustError> {
        let new = Self::from_pem(ca_pem)?;
        if new.cluster != self.cluster {
            return Err(TrustError::Clusters { one: self.cluster.clone(), other: new.cluster });
        }
        let (old, new) = (self.current(), new.current());
        if !new.all.iter().any(|root| old.all.contains(root)) {
            return Err(TrustError::NoOverlap);
        }
        let changed = old.all != new.all;
        *self.roots.write() = new;
        Ok(changed)
    }

    fn current(&self) -> Roots {
        self.roots.read().clone()
    }

    /// Takes the root whose fingerprint is `fingerprint` out of a presented chain.
    pub(crate) fn pinned(
        chain: &[CertificateDer<'_>],
        fingerprint: &Digest,
    ) -> Result<Self, CertificateError> {
        let root = chain.iter().find(|certificate| sha256(certificate) == *fingerprint);
        let root = root.ok_or(CertificateError::UnknownIssuer)?.clone().into_owned();
        Self::from_der(vec![root]).map_err(|error| CertificateError::Chain { why: error.to_string() })
    }

    /// The id of the cluster.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// SHA-256 of the first root: what one-time tokens carry. While an authority is replaced the root under
    /// which coordinators hold their certificates comes first.
    pub fn root_fingerprint(&self) -> Digest {
        sha256(&self.current().all[0])
    }

    pub(crate) fn roots(&self) -> Arc<[CertificateDer<'static>]> {
        self.current().all
    }

    /// Verifies a chain (DER): the leaf first, each certificate followed by its issuer's, with or without roots at the
    /// end, at the time `at`.
    ///
    /// Checks signatures up to a root, validity of every certificate below it, usage, cluster and the form of
    /// the identity; not revocation and not the role.
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        at: WallTime,
    ) -> Result<CertificateInfo, CertificateError> {
        if chain.len() > CHAIN_CERTIFICATES_MAX {
            return Err(CertificateError::TooMany { count: chain.len(), limit: CHAIN_CERTIFICATES_MAX });
        }
        let (leaf, issuers) = chain.split_first().ok_or(CertificateError::Missing)?;
        let issuers = chain::below_roots(issuers)?;
        let roots = self.current();
        let (below, above) = issuers.split_at(issuers.len().min(VALIDATED_ISSUERS_MAX));
        let nearest = match above.first() {
            None => Arc::clone(&roots.store),
            Some(nearest) => {
                let mut store = RootCertStore::empty();
                store.add(nearest.clone().into_owned()).map_err(refusal)?;
                Arc::new(store)
            }
        };
        let parsed = ParsedCertificate::try_from(leaf).map_err(refusal)?;
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        verify_server_cert_signed_by_trust_anchor(&parsed, &nearest, below, unix_time(at), algorithms.all)
            .map_err(refusal)?;
        chain::verify_issuers(above, below.len(), at)?;
        chain::verify_links(leaf, issuers, &roots.all)?;
        let info = CertificateInfo { issuers: chain::keys(issuers)?, ..CertificateInfo::parse(leaf)? };
        if info.cluster != self.cluster {
            return Err(CertificateError::Cluster { found: info.cluster, expected: self.cluster.clone() });
        }
        Ok(info)
    }
}

/// The cluster id that a root names as its organization.
fn root_cluster(der: &[u8]) -> Result<String, TrustError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| TrustError::Parse)?;
    let mut organizations = certificate.subject().iter_organization();
    let name = organizations.next().and_then(|value| value.as_str().ok()).ok_or(TrustError::NoCluster)?;
    if organizations.next().is_some() || name_error(name).is_some() {
        return Err(TrustError::NoCluster);
    }
    Ok(name.to_owned())
}

/// Wall time as rustls writes it; times before 1970 count as its first second.
pub(crate) fn unix_time(at: WallTime) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(at.0).unwrap_or(0)))
}

fn refusal(error: rustls::Error) -> CertificateError {
    use rustls::CertificateError as Tls;
    match error {
        rustls::Error::InvalidCertificate(Tls::Expired | Tls::ExpiredContext { .. }) => {
            CertificateError::Expired
        }
        rustls::Error::InvalidCertificate(Tls::NotValidYet | Tls::NotValidYetContext { .. }) => {
            CertificateError::NotYetValid
        }
        rustls::Error::InvalidCertificate(Tls::UnknownIssuer | Tls::BadSignature) => {
            CertificateError::UnknownIssuer
        }
        rustls::Error::InvalidCertificate(Tls::BadEncoding) => CertificateError::Parse { what: "not X.509" },
        other => CertificateError::Chain { why: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::authority::Authority;

    const NOW: WallTime = WallTime(1_800_000_000_000);

    #[test]
    fn a_root_file_holds_roots_of_one_cluster() {
        let root = |cluster| Authority::new_root(cluster, NOW).expect("a root").certificate_pem();
        let (one, again, other) = (root("a"), root("a"), root("b"));
        assert_eq!(Trust::from_pem(&one).expect("one root").cluster(), "a");
        assert_eq!(Trust::from_pem(&format!("{one}{again}")).expect("an overlap").roots().len(), 2);
        let mixed = Trust::from_pem(&format!("{one}{other}")).expect_err("two clusters");
        assert_eq!(mixed, TrustError::Clusters { one: "a".into(), other: "b".into() });
        for text in ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert_eq!(Trust::from_pem(text).expect_err(text), TrustError::Parse);
        }
    }
}
