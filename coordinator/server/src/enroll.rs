//! Enrolment and renewal: one bounded request a session, answered once.

mod certify;
mod member;

use std::net::SocketAddr;

use trimaran_model::error_code;
use trimaran_model::id::Identity;
use trimaran_model::limits::{ENROLL_FRAME_BYTES_MAX, LEAF_TTL, OPERATOR_LEAF_TTL};
use trimaran_model::text::with_sources;
use trimaran_query as query;
use trimaran_transport::enroll::{Csr, verify_renewal};
use trimaran_transport::{CloseCode, Role, Session, Trust};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::enroll::{EnrollReply, EnrollRequest};

use self::certify::{Refused, issued_for, read_rows, use_token};
use crate::revocations::is_refused;
use crate::rows::View;
use crate::server::Server;

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
        EnrollRequest::Join(request) => member::join(&server, request).await,
    };
    let reply = reply.unwrap_or_else(|(code, message)| EnrollReply::Refused { code: code.0, message });
    if sender.send(&reply.to_frame()).await.is_ok() {
        // The other side closes when it has read; a lost reply is repeated with a new token.
        let _ = sender.finish_and_wait().await;
    }
    session.close(CloseCode::Done, "");
}

async fn with_token(server: &Server, token: &str, csr: &[u8]) -> Result<EnrollReply, Refused> {
    let csr = Csr::parse(csr).map_err(|error| (error_code::TOKEN_UNKNOWN, error.to_string()))?;
    read_rows(server).await?;
    let identity = use_token(server, token, &csr).await?;
    issue(server, &identity, &csr)
}

fn renew(server: &Server, chain: &[Vec<u8>], csr: &[u8]) -> Result<EnrollReply, Refused> {
    let trust = Trust::from_pem(server.issuer.root_pem())
        .map_err(|error| (error_code::BUG, format!("the own root can't be read: {error}")))?;
    let revoked = |certificate: &trimaran_transport::CertificateInfo| {
        is_refused(&server.revocations.keys, &server.node, certificate)
    };
    let (info, csr) = verify_renewal(&trust, chain, csr, server.node.wall(), &revoked)
        .map_err(|error| (error_code::IDENTITY, with_sources(&error)))?;
    issue(server, &info.identity, &csr)
}

fn issue(server: &Server, identity: &Identity, csr: &Csr) -> Result<EnrollReply, Refused> {
    let (ttl, name) = match identity {
        Identity::Operator(name, _) => (OPERATOR_LEAF_TTL, name.to_string()),
        Identity::Agent(name) => (LEAF_TTL, name.to_string()),
        Identity::Runner(name) => (LEAF_TTL, name.to_string()),
        Identity::Coordinator(name) => (LEAF_TTL, name.to_string()),
        Identity::System => return Err((error_code::BUG, "the system itself enrolls nowhere".to_owned())),
    };
    let issued = issued_for(server, identity, csr, ttl)?;
    let role = Role::of(identity).map_or("", Role::as_str).to_owned();
    Ok(EnrollReply::Issued {
        cert: issued.pem(),
        ca: server.issuer.root_pem().to_owned(),
        cluster: server.issuer.cluster().to_owned(),
        name,
        role,
        endpoints: endpoints(server),
        agent: agent_of(server, identity)?,
    })
}

/// The agent of a runner.
fn agent_of(server: &Server, identity: &Identity) -> Result<Option<String>, Refused> {
    let Identity::Runner(name) = identity else { return Ok(None) };
    let found = View::new(&server.node).read(|rows| query::runner(rows, name));
    let found = found.map_err(|damaged| (error_code::STORE_DAMAGED, damaged.to_string()))?;
    Ok(found.map(|runner| runner.agent.to_string()))
}

/// Where a newcomer may dial from now on: here, and the other members.
fn endpoints(server: &Server) -> Vec<String> {
    let conf = server.stored_members();
    let members = View::new(&server.node).read(|rows| query::members(rows)).unwrap_or_default();
    let own = server.node.store.identity().raft_id;
    let others = members.into_iter().filter(|it| it.raft_id != own && conf.voters.contains(&it.raft_id));
    dialable(&server.address).into_iter().chain(others.flat_map(|it| dialable(&it.address))).collect()
}

/// Where a newcomer may dial a coordinator; nothing new where this coordinator listens on every address of its host:
/// the one that the newcomer came by is right then.
fn dialable(address: &str) -> Vec<String> {
    let everywhere = address.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_unspecified());
    if everywhere { Vec::new() } else { vec![address.to_owned()] }
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
