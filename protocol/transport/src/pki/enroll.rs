//! What passes between a newcomer and a coordinator: tokens, signing requests, proofs for a renewal.
//!
//! A token is `trm1.SECRET.ROOT`: 32 random bytes in base64url and the SHA-256 of the root certificate in
//! hexadecimal, by which the newcomer knows that it talks to the right cluster before it sends the secret.
//! The state keeps only [`Token::hash`]. When a token ends and whether it was used is decided there.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, DnValue, KeyPair,
    PublicKey, PublicKeyData as _,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use trimaran_model::id::Digest;
use trimaran_model::limits;
use trimaran_model::time::{Millis, WallTime};

use crate::alpn::Role;
use crate::pki::identity::{CertificateError, CertificateInfo, sha256};
use crate::pki::trust::Trust;

/// Bytes of a signing request. One with an elliptic key and a name takes about 300.
pub const CSR_BYTES_MAX: usize = 4 * 1024;

const TOKEN_PREFIX: &str = "trm1.";

/// A one-time token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    secret: [u8; 32],
    root: Digest,
}

/// A text that is not a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a token: a token is written `trm1.SECRET.ROOT`")]
pub struct InvalidToken;

impl Token {
    /// `secret` is 32 unpredictable bytes ([`crate::random::bytes`]); `root` is [`Trust::root_fingerprint`].
    pub fn new(secret: [u8; 32], root: Digest) -> Self {
        Self { secret, root }
    }

    /// A secret that only the holder of a private key can make, and makes again for the same parts: HMAC-SHA-256 over
    /// them, each with its length, keyed with the key's PEM.
    pub fn derive_secret(private_key_pem: &str, parts: &[&[u8]]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, private_key_pem.as_bytes());
        let mut context = hmac::Context::with_key(&key);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.sign().as_ref().try_into().expect("the hash has 32 bytes")
    }

    /// The fingerprint of the root that the server must present.
    pub fn root(&self) -> Digest {
        self.root
    }

    /// The form in which the state keeps the token.
    pub fn hash(&self) -> Digest {
        token_hash(&self.text())
    }

    /// The token as people pass it on. It is a secret: never logged.
    pub fn text(&self) -> String {
        format!("{TOKEN_PREFIX}{}.{}", URL_SAFE_NO_PAD.encode(self.secret), self.root)
    }
}

impl FromStr for Token {
    type Err = InvalidToken;

    /// Reads a token; white space around it, as files and pipes leave it, is ignored.
    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let rest = text.trim().strip_prefix(TOKEN_PREFIX).ok_or(InvalidToken)?;
        let (secret, root) = rest.split_once('.').ok_or(InvalidToken)?;
        let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if root.len() != 64 || !root.bytes().all(lower_hex) || secret.len() != 43 {
            return Err(InvalidToken);
        }
        let secret = URL_SAFE_NO_PAD.decode(secret).map_err(|_| InvalidToken)?;
        let secret = secret.try_into().map_err(|_| InvalidToken)?;
        Ok(Self { secret, root: root.parse().map_err(|_| InvalidToken)? })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// SHA-256 of a token's text.
pub fn token_hash(text: &str) -> Digest {
    sha256(text.trim().as_bytes())
}

/// Why a signing request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    #[error("a signing request of {bytes} bytes is over the limit of {limit}")]
    TooLong { bytes: usize, limit: usize },
    #[error("the signing request is not signed by its own key")]
    Signature,
    #[error("the signing request can't be read: {why}")]
    Parse { why: String },
    #[error("a key or request can't be made: {why}")]
    Make { why: String },
    #[error("keys of this kind are not accepted; use ECDSA P-256, P-384 or Ed25519")]
    Key,
}

/// A signing request whose sender proved to hold the key.
#[derive(Debug)]
pub struct Csr {
    public_key: PublicKey,
    /// Who the sender wants to be: the subject's common name. It gives no right; see [`is_wanted`].
    pub name: String,
    /// SHA-256 of the public key, comparable with [`CertificateInfo::spki`].
    pub spki: Digest,
}

impl Csr {
    /// Reads a request (PKCS #10, DER) and checks its self-signature. Of its names and wishes the common name alone
    /// is read.
    pub fn parse(der: &[u8]) -> Result<Self, CsrError> {
        if der.len() > CSR_BYTES_MAX {
            return Err(CsrError::TooLong { bytes: der.len(), limit: CSR_BYTES_MAX });
        }
        let parsed = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(der));
        let parsed = parsed.map_err(|error| match error {
            rcgen::Error::InvalidCertificationRequestSignature => CsrError::Signature,
            other => CsrError::Parse { why: other.to_string() },
        })?;
        let public_key = parsed.public_key;
        let name = match parsed.params.distinguished_name.get(&DnType::CommonName) {
            Some(DnValue::Utf8String(name)) => name.clone(),
            Some(DnValue::PrintableString(name)) => name.as_str().to_owned(),
            _ => String::new(),
        };
        let accepted = [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519];
        if !accepted.contains(&public_key.algorithm()) {
            return Err(CsrError::Key);
        }
        let spki = sha256(&public_key.subject_public_key_info());
        Ok(Self { public_key, name, spki })
    }

    pub(crate) fn public_key(&self) -> &PublicKey {
        &self.public_key
    }
}

/// Whether a newcomer that wants to be `wanted` may be given `role/name`: so that a token that was mixed up with another
/// is refused before it is used. `ROLE/NAME` wants just that, `ROLE` any name, anything else whatever the token gives.
pub fn is_wanted(wanted: &str, role: Role, name: &str) -> bool {
    let (wanted_role, wanted_name) =
        wanted.split_once('/').map_or((wanted, None), |(role, name)| (role, Some(name)));
    let known = Role::ALL.iter().any(|role| role.as_str() == wanted_role);
    !known || (wanted_role == role.as_str() && wanted_name.is_none_or(|wanted| wanted == name))
}

/// Makes a key (ECDSA P-256) and a signing request for it: `(key PEM, request DER)`. `name` says who the sender wants to
/// be, as [`is_wanted`] reads it.
///
/// The key is made where it is used and never leaves that host.
pub fn make_key_and_csr(name: &str) -> Result<(String, Vec<u8>), CsrError> {
    let key = KeyPair::generate().map_err(|error| CsrError::Make { why: error.to_string() })?;
    Ok((key.serialize_pem(), request(&key, name)?))
}

/// Makes a signing request for an existing key: for a renewal.
pub fn make_csr(key_pem: &str, name: &str) -> Result<Vec<u8>, CsrError> {
    let key = KeyPair::from_pem(key_pem).map_err(|error| CsrError::Make { why: error.to_string() })?;
    request(&key, name)
}

fn request(key: &KeyPair, name: &str) -> Result<Vec<u8>, CsrError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let made = params.serialize_request(key).map_err(|error| CsrError::Make { why: error.to_string() })?;
    Ok(made.der().to_vec())
}

/// Why a renewal is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenewalError {
    #[error("the old certificate is refused")]
    Certificate(#[from] CertificateError),
    #[error("the request is refused")]
    Csr(#[from] CsrError),
    #[error("the certificate expired {} ago, over the limit of {}", .ago, limits::LEAF_RENEWABLE_AFTER_END)]
    TooLate { ago: Millis },
    #[error("the request is signed with another key than the certificate's")]
    OtherKey,
}

/// Verifies a renewal: the old chain (DER, leaf first) proves who asks, the request proves that it holds the
/// same key. The chain must verify at a time inside its validity; it may have expired up to
/// [`limits::LEAF_RENEWABLE_AFTER_END`] before `now`.
///
/// Returns what the old certificate says and the request to pass to [`crate::pki::authority::Issuer::issue`].
pub fn verify_renewal(
    trust: &Trust,
    old_chain: &[Vec<u8>],
    csr: &[u8],
    now: WallTime,
    revoked: &dyn Fn(&CertificateInfo) -> bool,
) -> Result<(CertificateInfo, Csr), RenewalError> {
    let chain: Vec<CertificateDer<'_>> =
        old_chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let leaf = chain.first().ok_or(CertificateError::Missing)?;
    let not_after = CertificateInfo::parse(leaf)?.not_after;
    // A certificate that is still valid is judged now: also its issuer must be.
    let info = trust.verify(&chain, now.min(not_after))?;
    let ago = now - not_after;
    if ago > limits::LEAF_RENEWABLE_AFTER_END {
        return Err(RenewalError::TooLate { ago });
    }
    if revoked(&info) {
        return Err(CertificateError::Revoked.into());
    }
    let csr = Csr::parse(csr)?;
    if csr.spki != info.spki {
        return Err(RenewalError::OtherKey);
    }
    Ok((info, csr))
}

/// When to renew a certificate: a random point of the second half of its validity, spread by `entropy` so that
/// a fleet enrolled at once does not renew at once; its last tenth is left for failing attempts.
pub fn renew_at(not_before: WallTime, not_after: WallTime, entropy: u64) -> WallTime {
    let validity = (not_after - not_before).0;
    let spread = (validity / 10).saturating_mul(4);
    not_before + Millis(validity / 2 + entropy % (spread + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_what_it_prints() {
        let token = Token::new([0xff; 32], Digest([0xab; 32]));
        let text = token.text();
        assert_eq!(text, format!("trm1.{}8.{}", "_".repeat(42), "ab".repeat(32)));
        assert_eq!(text.parse(), Ok(token.clone()));
        assert_eq!(format!(" {text}\n").parse(), Ok(token.clone()));
        assert_eq!(token.hash(), token_hash(&format!("{text}\n")));
        assert_ne!(token.hash(), Token::new([0xfe; 32], Digest([0xab; 32])).hash());
        assert!(!format!("{token:?}").contains("_"), "a token is never printed by accident");
    }

    #[test]
    fn other_texts_are_no_token() {
        let good = Token::new([7; 32], Digest([1; 32])).text();
        let (secret, root) = (&good[5..48], &good[49..]);
        for text in [
            String::new(),
            "trm1.".into(),
            format!("trm2.{secret}.{root}"),
            format!("trm1.{secret}"),
            format!("trm1.{secret}.{}", &root[1..]),
            format!("trm1.{secret}.{root}0"),
            format!("trm1.{}.{root}", &secret[1..]),
            format!("trm1.{secret}A.{root}"),
            format!("trm1.{}+.{root}", &secret[1..]),
            format!("trm1.{secret}.{}", root.replace('0', "A")),
            format!("trm1.{secret}.{root}.x"),
        ] {
            assert_eq!(text.parse::<Token>(), Err(InvalidToken), "{text}");
        }
    }

    #[test]
    fn a_request_proves_its_key() {
        let (key, csr) = make_key_and_csr("web-1").expect("a request");
        let parsed = Csr::parse(&csr).expect("its own signature");
        let again = Csr::parse(&make_csr(&key, "other").expect("a request")).expect("valid");
        assert_eq!(parsed.spki, again.spki, "the same key");
        let mut forged = csr.clone();
        *forged.last_mut().expect("not empty") ^= 1;
        assert!(Csr::parse(&forged).is_err());
        let at = csr.windows(5).position(|part| part == b"web-1").expect("the name");
        let mut renamed = csr;
        renamed[at] = b'x';
        assert_eq!(Csr::parse(&renamed).expect_err("signature"), CsrError::Signature);
        assert!(matches!(Csr::parse(&[0; CSR_BYTES_MAX + 1]), Err(CsrError::TooLong { .. })));
    }

    #[test]
    fn renewals_spread_over_the_second_half() {
        let (start, end) = (WallTime(1000), WallTime(1000 + 86_400_000));
        let mut seen = std::collections::BTreeSet::new();
        for entropy in (0..1000).map(|n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
            let at = renew_at(start, end, entropy);
            assert!(at >= start + Millis::hours(12) && at < end, "{at:?}");
            seen.insert(at.0 / 3_600_000);
        }
        assert!(seen.len() >= 9, "spread over most hours: {seen:?}");
        assert_eq!(renew_at(end, start, u64::MAX), end, "a certificate without validity is renewed at once");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, text: String) {
            proptest::prop_assert!(Csr::parse(&bytes).is_err());
            proptest::prop_assert!(text.parse::<Token>().is_err());
        }
    }
}
