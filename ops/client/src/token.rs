//! One-time tokens, made by whoever asks for them.
//!
//! A token's secret is a keyed hash of the request: no one without the operator's private key can make it, and the same
//! request under the same id makes it again.

use trimaran_transport::Trust;
use trimaran_transport::enroll::Token;
use trimaran_transport::files::IdentityFiles;
use trimaran_wire::codec::encode;
use trimaran_wire::v1::operator::EnrollOrder;

use crate::error::ClientError;

/// Names the use of the key, so that no other keyed hash of it is ever the same.
const DOMAIN: &[u8] = b"trimaran enrolment token 1";

/// The token of a request.
pub(crate) fn make(
    files: &IdentityFiles,
    request_id: [u8; 16],
    order: &EnrollOrder,
) -> Result<Token, ClientError> {
    let trust = Trust::from_pem(&files.ca).map_err(|error| ClientError::Identity {
        why: format!("the root certificate of this context: {error}"),
    })?;
    let secret = Token::derive_secret(&files.key, &[DOMAIN, &request_id, &encode(order)]);
    Ok(Token::new(secret, trust.root_fingerprint()))
}

#[cfg(test)]
mod tests {
    use trimaran_model::time::WallTime;
    use trimaran_transport::authority::Authority;

    use super::*;

    #[test]
    fn the_same_request_makes_the_same_token_and_any_other_another() {
        crate::ground::install_crypto();
        let root = Authority::new_root("c1", WallTime(1_700_000_000_000)).expect("a root");
        let files = |key: &str| IdentityFiles {
            cert: String::new(),
            key: key.to_owned(),
            ca: root.certificate_pem(),
        };
        let agent = |name: &str| EnrollOrder::Agent { name: name.to_owned() };
        let made = |key, id, name| make(&files(key), [id; 16], &agent(name)).expect("a token").text();
        let first = made("key", 1, "lab");
        assert_eq!(first, made("key", 1, "lab"));
        for other in [made("another", 1, "lab"), made("key", 2, "lab"), made("key", 1, "lap")] {
            assert_ne!(first, other);
        }
    }
}
