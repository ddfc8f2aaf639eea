//! The cluster's certificate authority: a root made once, issuers certified by it, leaves signed by issuers.
//!
//! The root's key is written to a file that the operator keeps; nothing here keeps it. Each coordinator holds
//! an issuing key of its own. An issuer of depth 0 signs leaves only; one of depth `n` may also certify issuers
//! of lower depth, so that a coordinator can join while the root's key is locked away.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PublicKeyData as _, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use trimaran_model::id::{CoordinatorName, Digest, Identity, name_error};
use trimaran_model::limits::ISSUER_TTL;
use trimaran_model::time::{Millis, WallTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::pki::chain;
use crate::pki::enroll::{Csr, CsrError};
use crate::pki::identity::{CertificateError, CertificateInfo, sha256, uri};
use crate::pki::pem;
use crate::pki::trust::{CHAIN_CERTIFICATES_MAX, Trust, TrustError};

/// Certificates begin so long before they are issued, for nodes whose time is behind.
pub const NOT_BEFORE_SLACK: Millis = Millis::minutes(10);
/// Validity of a root.
pub const ROOT_TTL: Millis = Millis::hours(24 * 365 * 20);
/// Largest depth of an issuer: each coordinator is certified by one that was there before it, so a depth is spent with
/// each generation of coordinators. Leaf, issuers and the root stay below [`CHAIN_CERTIFICATES_MAX`].
pub const ISSUER_DEPTH_MAX: u8 = 24;

const _: () = assert!((ISSUER_DEPTH_MAX as usize) + 3 <= CHAIN_CERTIFICATES_MAX);

/// Why the authority could not make something.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("`{cluster}` is not a cluster id: {why}")]
    Cluster { cluster: String, why: &'static str },
    #[error("a key can't be made or read")]
    Key(#[source] rcgen::Error),
    #[error("a certificate can't be made")]
    Certificate(#[source] rcgen::Error),
    #[error("the authority's certificate can't be read")]
    Parse,
    #[error("the key does not belong to the certificate")]
    OtherKey,
    #[error("the request for a certificate is refused")]
    Csr(#[from] CsrError),
    #[error("the root is not usable")]
    Trust(#[from] TrustError),
    #[error("the issuer is not usable: {0}")]
    Issuer(CertificateError),
    #[error(
        "an issuer of depth {depth} may not certify one of depth {wanted}: join by another coordinator, which was certified by an earlier one"
    )]
    Depth { depth: u8, wanted: u8 },
    #[error("Trimaran itself never gets a certificate")]
    NoIdentity,
}

/// The root: key and certificate.
pub struct Authority {
    cluster: String,
    key: KeyPair,
    certificate: CertificateDer<'static>,
}

impl Authority {
    /// Makes the root of a new cluster. The caller writes [`Self::key_pem`] to a file once.
    pub fn new_root(cluster: &str, now: WallTime) -> Result<Self, AuthorityError> {
        if let Some(why) = name_error(cluster) {
            return Err(AuthorityError::Cluster { cluster: cluster.to_owned(), why });
        }
        let key = KeyPair::generate().map_err(AuthorityError::Key)?;
        let mut params = parameters(cluster, "Trimaran root", now, now + ROOT_TTL);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key).map_err(AuthorityError::Certificate)?;
        Ok(Self { cluster: cluster.to_owned(), key, certificate: certificate.der().clone() })
    }

    /// Reads a root back from its key and certificate.
    pub fn from_pem(key_pem: &str, certificate_pem: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(key_pem).map_err(AuthorityError::Key)?;
        let certificate = pem::certificates(certificate_pem).ok_or(AuthorityError::Parse)?.swap_remove(0);
        belongs(&key, &certificate)?;
        let cluster = Trust::from_der(vec![certificate.clone()])?.cluster().to_owned();
        Ok(Self { cluster, key, certificate })
    }

    /// The private key: write it to one file that the operator keeps, and nowhere else.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// The root certificate, the content of `ca.pem`.
    pub fn certificate_pem(&self) -> String {
        pem::certificate(&self.certificate)
    }

    /// Certifies the issuing key whose request is `csr` (DER). Returns the issuer's chain as PEM.
    pub fn certify_issuer(
        &self,
        name: &CoordinatorName,
        csr: &[u8],
        depth: u8,
        now: WallTime,
    ) -> Result<String, AuthorityError> {
        if depth > ISSUER_DEPTH_MAX {
            return Err(AuthorityError::Depth { depth: ISSUER_DEPTH_MAX, wanted: depth });
        }
        let csr = Csr::parse(csr)?;
        let issuer = rcgen::Issuer::from_ca_cert_der(&self.certificate, &self.key)
            .map_err(AuthorityError::Certificate)?;
        let params = issuer_parameters(&self.cluster, name, depth, now, now + ISSUER_TTL);
        let made = params.signed_by(csr.public_key(), &issuer).map_err(AuthorityError::Certificate)?;
        Ok(pem::certificate(made.der()))
    }

    /// Makes an issuing key and certifies it: for the first coordinator, which makes the root itself.
    pub fn new_issuer(
        &self,
        name: &CoordinatorName,
        depth: u8,
        now: WallTime,
    ) -> Result<Issuer, AuthorityError> {
        let (key_pem, csr) = crate::pki::enroll::make_key_and_csr(name.as_str())?;
        let chain = self.certify_issuer(name, &csr, depth, now)?;
        Issuer::from_pem(&key_pem, &chain, &self.certificate_pem())
    }
}

/// One coordinator's issuing key with its certificates.
pub struct Issuer {
    cluster: String,
    key: KeyPair,
    /// This issuer's certificate first, then those above it, without the root.
    chain: Vec<CertificateDer<'static>>,
    root_pem: String,
    depth: u8,
    not_after: WallTime,
}

/// A new leaf with its chain.
#[derive(Debug, Clone)]
pub struct Issued {
    /// DER, leaf first, without the root.
    pub chain: Vec<Vec<u8>>,
    pub info: CertificateInfo,
}

impl Issued {
    /// The content of `cert.pem`.
    pub fn pem(&self) -> String {
        self.chain.iter().map(|der| pem::certificate(der)).collect()
    }
}

impl Issuer {
    /// Reads an issuer back. `chain_pem` starts with the issuer's own certificate.
    pub fn from_pem(key_pem: &str, chain_pem: &str, root_pem: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(key_pem).map_err(AuthorityError::Key)?;
        let chain = pem::certificates(chain_pem).ok_or(AuthorityError::Parse)?;
        belongs(&key, &chain[0])?;
        let (_, certificate) = X509Certificate::from_der(&chain[0]).map_err(|_| AuthorityError::Parse)?;
        let constraints = certificate.basic_constraints().map_err(|_| AuthorityError::Parse)?;
        let depth = constraints
            .filter(|found| found.value.ca)
            .and_then(|found| found.value.path_len_constraint)
            .and_then(|depth| u8::try_from(depth).ok())
            .filter(|depth| *depth <= ISSUER_DEPTH_MAX)
            .ok_or(AuthorityError::Parse)?;
        let not_after = WallTime(certificate.validity().not_after.timestamp().saturating_mul(1000));
        let cluster = Trust::from_pem(root_pem)?.cluster().to_owned();
        Ok(Self { cluster, key, chain, root_pem: root_pem.to_owned(), depth, not_after })
    }

    /// The private issuing key, for a file with mode 0600.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// This issuer's certificate and those above it, without the root.
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(|der| pem::certificate(der)).collect()
    }

    /// The roots, the content of `ca.pem`.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// SHA-256 of the issuing key's public half, by which it is known and revoked.
    pub fn key_digest(&self) -> Digest {
        sha256(&self.key.subject_public_key_info())
    }

    pub fn depth(&self) -> u8 {
        self.depth
    }

    /// Issues a leaf for the key of `csr`. What the request says beside its key is ignored: the identity comes
    /// from the cluster's state. It starts [`NOT_BEFORE_SLACK`] before `now` and never outlives its issuer.
    pub fn issue(
        &self,
        identity: &Identity,
        csr: &Csr,
        now: WallTime,
        ttl: Millis,
    ) -> Result<Issued, AuthorityError> {
        let uri = uri(&self.cluster, identity).ok_or(AuthorityError::NoIdentity)?;
        let name = match identity {
            Identity::System => return Err(AuthorityError::NoIdentity),
            Identity::Coordinator(name) => name.as_str(),
            Identity::Agent(name) => name.as_str(),
            Identity::Runner(name) => name.as_str(),
            Identity::Operator(name, _) => name.as_str(),
        };
        let mut params = parameters(&self.cluster, name, now, (now + ttl).min(self.not_after));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = vec![SanType::URI(uri.try_into().map_err(AuthorityError::Certificate)?)];
        let made = self.sign(&params, csr)?;
        let issuers = chain::keys(&self.chain).map_err(AuthorityError::Issuer)?;
        let info =
            CertificateInfo { issuers, ..CertificateInfo::parse(&made).map_err(AuthorityError::Issuer)? };
        let chain = std::iter::once(made.to_vec()).chain(self.chain.iter().map(|der| der.to_vec())).collect();
        Ok(Issued { chain, info })
    }

    /// Certifies the issuing key of another coordinator, one level below. Returns its chain as PEM.
    pub fn certify_issuer(
        &self,
        name: &CoordinatorName,
        csr: &[u8],
        now: WallTime,
    ) -> Result<String, AuthorityError> {
        let csr = Csr::parse(csr)?;
        let depth = self.depth.checked_sub(1).ok_or(AuthorityError::Depth { depth: 0, wanted: 0 })?;
        let not_after = (now + ISSUER_TTL).min(self.not_after);
        let made = self.sign(&issuer_parameters(&self.cluster, name, depth, now, not_after), &csr)?;
        Ok(pem::certificate(&made) + &self.chain_pem())
    }

    fn sign(&self, params: &CertificateParams, csr: &Csr) -> Result<CertificateDer<'static>, AuthorityError> {
        let issuer = rcgen::Issuer::from_ca_cert_der(&self.chain[0], &self.key)
            .map_err(AuthorityError::Certificate)?;
        let made = params.signed_by(csr.public_key(), &issuer).map_err(AuthorityError::Certificate)?;
        Ok(made.der().clone())
    }
}

fn issuer_parameters(
    cluster: &str,
    name: &CoordinatorName,
    depth: u8,
    now: WallTime,
    not_after: WallTime,
) -> CertificateParams {
    let mut params = parameters(cluster, &format!("issuer {name}"), now, not_after);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(depth));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn parameters(cluster: &str, common_name: &str, now: WallTime, not_after: WallTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, cluster);
    // X.520 bounds common names at 64 characters; `issuer ` and a long name pass it.
    let common_name: String = common_name.chars().take(64).collect();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let start = now.0.saturating_sub(i64::try_from(NOT_BEFORE_SLACK.0).unwrap_or(i64::MAX));
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch(WallTime(start));
    params.not_after = epoch + since_epoch(not_after);
    params.use_authority_key_identifier_extension = true;
    // 127 random bits with the highest bit of the first byte clear and the next one set: positive, never
    // shortened, 16 bytes (RFC 5280, 4.1.2.2 allows 20).
    let mut serial: [u8; 16] = crate::random::bytes();
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params
}

/// Whole seconds since 1970, within what certificates can say.
fn since_epoch(at: WallTime) -> Duration {
    const YEAR_9000_S: i64 = 221_845_392_000;
    let seconds = (at.0 / 1000).clamp(0, YEAR_9000_S);
    Duration::from_secs(u64::try_from(seconds).expect("clamped to be positive"))
}

/// Checks that a certificate speaks of the public half of `key`.
fn belongs(key: &KeyPair, certificate: &[u8]) -> Result<(), AuthorityError> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| AuthorityError::Parse)?;
    if parsed.public_key().raw != key.subject_public_key_info() {
        return Err(AuthorityError::OtherKey);
    }
    Ok(())
}
