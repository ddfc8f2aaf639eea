//! What a certificate says about its holder.
//!
//! The identity is the one URI of the subject's alternative names: `trimaran://CLUSTER/ROLE/NAME`, for
//! operators `trimaran://CLUSTER/operator/NAME/ACCESS` with `viewer`, `operator` or `admin` as access. A
//! certificate with any other alternative name beside it is refused, so that nothing else can read another
//! identity out of it.

use sha2::{Digest as _, Sha256};
use trimaran_model::id::{Digest, Identity, OperatorRole, name_error};
use trimaran_model::time::WallTime;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::alpn::Role;

const SCHEME: &str = "trimaran://";

/// Why a certificate was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("no certificate was presented")]
    Missing,
    #[error("the certificate can't be read: {what}")]
    Parse { what: &'static str },
    #[error("a chain of {count} certificates is over the limit of {limit}")]
    TooMany { count: usize, limit: usize },
    #[error("the certificate expired")]
    Expired,
    #[error("the certificate is not valid yet")]
    NotYetValid,
    #[error("the certificate was not issued by this cluster's authority")]
    UnknownIssuer,
    #[error("the chain does not verify: {why}")]
    Chain { why: String },
    #[error("the certificate does not name exactly one identity of Trimaran")]
    NoIdentity,
    #[error("the certificate may not be used for both ends of a session")]
    Usage,
    #[error("the certificate belongs to cluster `{found}`, not to `{expected}`")]
    Cluster { found: String, expected: String },
    #[error("the certificate belongs to {found}, where {expected} is needed")]
    Role { found: String, expected: String },
    #[error("the certificate was revoked")]
    Revoked,
}

/// What is known of a certificate after it was read. Only [`crate::Trust::verify`] makes it trustworthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateInfo {
    pub cluster: String,
    pub identity: Identity,
    /// Big-endian, unique among all certificates of the cluster.
    pub serial: Vec<u8>,
    /// SHA-256 of the public key (SubjectPublicKeyInfo, DER): stays when a certificate is renewed.
    pub spki: Digest,
    /// SHA-256 of the whole certificate (DER).
    pub fingerprint: Digest,
    pub not_before: WallTime,
    pub not_after: WallTime,
    /// SHA-256 of the keys that certified it, its own issuer's first, the root's left out; empty where the certificate alone was
    /// read.
    pub issuers: Vec<Digest>,
}

impl CertificateInfo {
    pub fn role(&self) -> Role {
        Role::of(&self.identity).expect("parse() reads no identity without a role")
    }

    /// Reads a leaf certificate (DER) without judging it.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        let broken = |what| CertificateError::Parse { what };
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| broken("not X.509"))?;
        if !rest.is_empty() {
            return Err(broken("trailing bytes"));
        }
        let names = certificate
            .subject_alternative_name()
            .map_err(|_| broken("alternative names"))?
            .ok_or(CertificateError::NoIdentity)?;
        let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else {
            return Err(CertificateError::NoIdentity);
        };
        let (cluster, identity) = parse_uri(uri).ok_or(CertificateError::NoIdentity)?;
        let usage = certificate.extended_key_usage().map_err(|_| broken("extended key usage"))?;
        if !usage.is_some_and(|usage| usage.value.client_auth && usage.value.server_auth) {
            return Err(CertificateError::Usage);
        }
        let validity = certificate.validity();
        let seconds = |time: i64| WallTime(time.saturating_mul(1000));
        Ok(Self {
            cluster,
            identity,
            serial: certificate.raw_serial().to_vec(),
            spki: sha256(certificate.public_key().raw),
            fingerprint: sha256(der),
            not_before: seconds(validity.not_before.timestamp()),
            not_after: seconds(validity.not_after.timestamp()),
            issuers: Vec::new(),
        })
    }
}

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// The URI of an identity, or `None` for [`Identity::System`], which never has a certificate.
pub fn uri(cluster: &str, identity: &Identity) -> Option<String> {
    let rest = match identity {
        Identity::System => return None,
        Identity::Coordinator(name) => format!("coordinator/{name}"),
        Identity::Agent(name) => format!("agent/{name}"),
        Identity::Runner(name) => format!("runner/{name}"),
        Identity::Operator(name, access) => format!("operator/{name}/{}", access.as_str()),
    };
    Some(format!("{SCHEME}{cluster}/{rest}"))
}

/// Reads what [`uri`] wrote: the cluster id and the identity.
pub fn parse_uri(uri: &str) -> Option<(String, Identity)> {
    let mut parts = uri.strip_prefix(SCHEME)?.split('/');
    let (cluster, role, name) = (parts.next()?, parts.next()?, parts.next()?);
    if name_error(cluster).is_some() {
        return None;
    }
    let identity = match role {
        "coordinator" => Identity::Coordinator(name.parse().ok()?),
        "agent" => Identity::Agent(name.parse().ok()?),
        "runner" => Identity::Runner(name.parse().ok()?),
        "operator" => {
            let access = parts.next()?;
            let access = OperatorRole::ALL.into_iter().find(|role| role.as_str() == access)?;
            Identity::Operator(name.parse().ok()?, access)
        }
        _ => return None,
    };
    parts.next().is_none().then(|| (cluster.to_owned(), identity))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_reads_back_what_it_writes() {
        let name = "n-1.x";
        let identities = [
            Identity::Coordinator(name.parse().unwrap()),
            Identity::Agent(name.parse().unwrap()),
            Identity::Runner(name.parse().unwrap()),
            Identity::Operator(name.parse().unwrap(), OperatorRole::Viewer),
            Identity::Operator(name.parse().unwrap(), OperatorRole::Operator),
            Identity::Operator(name.parse().unwrap(), OperatorRole::Admin),
        ];
        for identity in identities {
            let text = uri("c-0", &identity).expect("has a certificate");
            assert_eq!(parse_uri(&text), Some(("c-0".to_owned(), identity)), "{text}");
        }
        assert_eq!(uri("c", &Identity::System), None);
    }

    #[test]
    fn other_texts_are_no_identity() {
        for text in [
            "",
            "trimaran://",
            "trimaran://c/agent",
            "trimaran://c/agent/",
            "trimaran://c/agent/a/b",
            "trimaran://c/agent/a/",
            "trimaran:///agent/a",
            "trimaran://c//a",
            "trimaran://C/agent/a",
            "trimaran://c/Agent/a",
            "trimaran://c/agent/A",
            "trimaran://c/agent/a?role=admin",
            "trimaran://c/operator/a",
            "trimaran://c/operator/a/root",
            "trimaran://c/operator/a/admin/x",
            "trimaran://c/system/a",
            "spiffe://c/agent/a",
            " trimaran://c/agent/a",
            "trimaran://c/agent/\u{430}",
        ] {
            assert_eq!(parse_uri(text), None, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_and_any_bytes_are_read_without_a_panic(text: String, bytes: Vec<u8>) {
            parse_uri(&text);
            proptest::prop_assert!(CertificateInfo::parse(&bytes).is_err());
        }
    }
}
