//! Chains of issuers: each signed by the next one, up to a root, however many generations of coordinators there were.
//!
//! webpki validates a path of a few issuers. Of a longer chain it validates the lower end, and what is above is judged
//! here, by the rules of RFC 5280, 6.1, as far as issuers of this cluster have such extensions. That each certificate is
//! signed by the very next one is judged for all of them: who certified whom decides what a revoked issuer ends.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls_pki_types::CertificateDer;
use trimaran_model::id::Digest;
use trimaran_model::time::WallTime;
use x509_parser::oid_registry::{OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_KEY_USAGE};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::pki::identity::{CertificateError, sha256};

fn parsed<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, CertificateError> {
    let (rest, certificate) =
        X509Certificate::from_der(der).map_err(|_| CertificateError::Parse { what: "not X.509" })?;
    match rest.is_empty() {
        true => Ok(certificate),
        false => Err(CertificateError::Parse { what: "trailing bytes" }),
    }
}

fn broken(why: impl Into<String>) -> CertificateError {
    CertificateError::Chain { why: why.into() }
}

/// SHA-256 of the public keys, in order.
pub(crate) fn keys(issuers: &[CertificateDer<'_>]) -> Result<Vec<Digest>, CertificateError> {
    issuers.iter().map(|der| Ok(sha256(parsed(der)?.public_key().raw))).collect()
}

/// The issuers below the first root: roots may be sent along, several while one takes the place of another.
pub(crate) fn below_roots<'a, 'b>(
    issuers: &'a [CertificateDer<'b>],
) -> Result<&'a [CertificateDer<'b>], CertificateError> {
    for (number, der) in issuers.iter().enumerate() {
        let issuer = parsed(der)?;
        if is_signed_by(&issuer, &issuer) {
            return Ok(&issuers[..number]);
        }
    }
    Ok(issuers)
}

/// Checks that the leaf is signed by the first issuer, each issuer by the next one, and the last by a root.
pub(crate) fn verify_links(
    leaf: &CertificateDer<'_>,
    issuers: &[CertificateDer<'_>],
    roots: &[CertificateDer<'_>],
) -> Result<(), CertificateError> {
    let mut signed = parsed(leaf)?;
    for issuer in issuers {
        let issuer = parsed(issuer)?;
        if !is_signed_by(&signed, &issuer) {
            return Err(broken("a certificate is not followed by the one of its issuer"));
        }
        signed = issuer;
    }
    for root in roots {
        if is_signed_by(&signed, &parsed(root)?) {
            return Ok(());
        }
    }
    Err(CertificateError::UnknownIssuer)
}

/// Judges issuers above those that webpki validated: `below` of them.
pub(crate) fn verify_issuers(
    issuers: &[CertificateDer<'_>],
    below: usize,
    at: WallTime,
) -> Result<(), CertificateError> {
    for (number, issuer) in issuers.iter().enumerate() {
        let issuer = parsed(issuer)?;
        let seconds = at.0.div_euclid(1000);
        if seconds < issuer.validity().not_before.timestamp() {
            return Err(CertificateError::NotYetValid);
        }
        if seconds > issuer.validity().not_after.timestamp() {
            return Err(CertificateError::Expired);
        }
        let constraints = issuer.basic_constraints().map_err(|_| broken("basic constraints"))?;
        let depth = constraints.filter(|it| it.value.ca).and_then(|it| it.value.path_len_constraint);
        if depth.is_none_or(|depth| (depth as usize) < below + number) {
            return Err(broken("an issuer certifies deeper than it may"));
        }
        let usage = issuer.key_usage().map_err(|_| broken("key usage"))?;
        if !usage.is_some_and(|usage| usage.value.key_cert_sign()) {
            return Err(broken("an issuer may not sign certificates"));
        }
        let known = [OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_KEY_USAGE];
        if issuer.extensions().iter().any(|it| it.critical && !known.contains(&it.oid)) {
            return Err(broken("an issuer has a critical extension that is not known"));
        }
    }
    Ok(())
}

fn is_signed_by(signed: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &issuer.public_key().subject_public_key.data);
    signed.issuer().as_raw() == issuer.subject().as_raw()
        && signed.signature_algorithm == signed.tbs_certificate.signature
        && key.verify(signed.tbs_certificate.as_ref(), &signed.signature_value.data).is_ok()
}
