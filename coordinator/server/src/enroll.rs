//! Enrolment and renewal: one bounded request a session, answered once.

use std::net::SocketAddr;

use trimaran_engine::Outcome;
use trimaran_engine::state::token::Grant;
use trimaran_model::error_code;
use trimaran_model::id::{Digest, Identity};
use trimaran_model::limits::{ENROLL_FRAME_BYTES_MAX, LEAF_TTL};
use trimaran_model::text::with_sources;
use trimaran_model::time::Millis;
use trimaran_query::{self as query, text};
use trimaran_transport::enroll::{Csr, is_wanted, token_hash, verify_renewal};
use trimaran_transport::{CloseCode, Role, Session, Trust};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::command::{Command, CommandBody};
use trimaran_wire::v1::common::WireIdentity;
use trimaran_wire::v1::enroll::{EnrollReply, EnrollRequest};

use crate::raft_loop::Proposed;
use crate::rows::View;
use crate::server::Server;

/// Operators renew when they work, so their leaf is valid longer than a machine's.
const OPERATOR_TTL: Millis = Millis::hours(24 * 30);

/// Serves one enrolment session.
pub(crate) async fn serve(server: Server, session: Session) {
    let Ok((mut sender, mut receiver)) = session.accept_stream().await else { return };
    let Ok(Some(frame)) = receiver.next_within(ENROLL_FRAME_BYTES_MAX).await else { return };
    let request = match EnrollRequest::from_frame(&frame) {
        Ok(request) => request,
        Err(error) => return session.refuse_frame(&error.to_string()),
    };
    let reply = match request {
        EnrollRequest::Token { token, csr } => with_token(&server, &token, &csr).await,
        EnrollRequest::Renew { chain, csr } => renew(&server, &chain, &csr),
    };
    let reply = reply.unwrap_or_else(|(code, message)| EnrollReply::Refused { code: code.0, message });
    if sender.send(&reply.to_frame()).await.is_ok() {
        // The other side closes when it has read; a lost reply is repeated with a new token.
        let _ = sender.finish_and_wait().await;
    }
    session.close(CloseCode::Done, "");
}

type Refused = (error_code::ErrorCode, String);

async fn with_token(server: &Server, token: &str, csr: &[u8]) -> Result<EnrollReply, Refused> {
    let csr = Csr::parse(csr).map_err(|error| (error_code::TOKEN_UNKNOWN, error.to_string()))?;
    if let Some(low) = server.disk_space.low(server.node.wall()) {
        return Err((error_code::DISK_FULL, low.message));
    }
    let hash = token_hash(token).0;
    not_mixed_up(server, hash, &csr.name)?;
    let command = Command {
        identity: WireIdentity::System,
        request: None,
        body: CommandBody::UseToken { token_sha256: hash, spki_sha256: csr.spki.0 },
    };
    let identity = match server.node.propose(command).await {
        Proposed::Done { outcome: Outcome::Enrolled { identity }, .. } => identity,
        Proposed::Done { outcome: Outcome::Refused(why), .. } => {
            return Err((why.code(), text::refusal(&why)));
        }
        Proposed::Done { .. } => return Err((error_code::BUG, "the token gave no identity".to_owned())),
        Proposed::Busy(why) => return Err((error_code::BUSY, why)),
        Proposed::NotLeader => return Err((error_code::NO_QUORUM, "there is no leader".to_owned())),
        Proposed::Indeterminate => {
            return Err((error_code::INDETERMINATE, "it is not known whether the token was used".to_owned()));
        }
    };
    issue(server, &identity, &csr)
}

/// Refuses a token that is for another than the newcomer wants to be, before it is used: its use would revoke
/// whoever has the name now. A token that is good no more gets its answer where it would be used.
fn not_mixed_up(server: &Server, hash: [u8; 32], wanted: &str) -> Result<(), Refused> {
    let token = View::new(&server.node).read(|rows| query::token(rows, Digest(hash)));
    let token = token.map_err(|damaged| (error_code::STORE_DAMAGED, damaged.to_string()))?;
    let Some(token) = token.filter(|token| !token.used && token.expires >= server.node.wall()) else {
        return Ok(());
    };
    let (role, name) = match &token.grant {
        Grant::Coordinator { .. } => (Role::Coordinator, token.grant.name()),
        Grant::Agent { .. } => (Role::Agent, token.grant.name()),
        Grant::Runner { .. } => (Role::Runner, token.grant.name()),
        Grant::Operator { .. } => (Role::Operator, token.grant.name()),
    };
    if is_wanted(wanted, role, name) {
        return Ok(());
    }
    let message = format!("the token is for {}/{name}, not for {wanted}; it was not used", role.as_str());
    Err((error_code::TOKEN_UNKNOWN, message))
}

fn renew(server: &Server, chain: &[Vec<u8>], csr: &[u8]) -> Result<EnrollReply, Refused> {
    let trust = Trust::from_pem(server.issuer.root_pem())
        .map_err(|error| (error_code::BUG, format!("the own root can't be read: {error}")))?;
    let revoked = |certificate: &trimaran_transport::CertificateInfo| server.revoked.contains(certificate);
    let (info, csr) = verify_renewal(&trust, chain, csr, server.node.wall(), &revoked)
        .map_err(|error| (error_code::IDENTITY, with_sources(&error)))?;
    issue(server, &info.identity, &csr)
}

fn issue(server: &Server, identity: &Identity, csr: &Csr) -> Result<EnrollReply, Refused> {
    let (ttl, name) = match identity {
        Identity::Operator(name, _) => (OPERATOR_TTL, name.to_string()),
        Identity::Agent(name) => (LEAF_TTL, name.to_string()),
        Identity::Runner(name) => (LEAF_TTL, name.to_string()),
        Identity::Coordinator(name) => (LEAF_TTL, name.to_string()),
        Identity::System => return Err((error_code::BUG, "the system itself enrolls nowhere".to_owned())),
    };
    let issued = server
        .issuer
        .issue(identity, csr, server.node.wall(), ttl)
        .map_err(|error| (error_code::BUG, format!("the certificate could not be made: {error}")))?;
    let role = Role::of(identity).map_or("", Role::as_str).to_owned();
    Ok(EnrollReply::Issued {
        cert: issued.pem(),
        ca: server.issuer.root_pem().to_owned(),
        cluster: server.issuer.cluster().to_owned(),
        name,
        role,
        endpoints: dialable(&server.address),
    })
}

/// Where a newcomer may dial from now on; nothing new where this coordinator listens on every address of its host:
/// the one that the newcomer came by is right then.
fn dialable(address: &str) -> Vec<String> {
    let everywhere = address.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_unspecified());
    if everywhere { Vec::new() } else { vec![address.to_owned()] }
}

/// The fingerprint that tokens of this cluster carry.
pub(crate) fn root_fingerprint(server: &Server) -> Option<Digest> {
    Trust::from_pem(server.issuer.root_pem()).ok().map(|trust| trust.root_fingerprint())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_no_one_can_dial_is_not_passed_on() {
        assert_eq!(dialable("10.0.0.1:7700"), ["10.0.0.1:7700"]);
        for everywhere in ["0.0.0.0:7700", "[::]:7700"] {
            assert!(dialable(everywhere).is_empty(), "{everywhere}");
        }
    }
}
