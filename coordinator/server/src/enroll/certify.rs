//! What every enrolment needs: a token that is used once, and a certificate.

use trimaran_engine::Outcome;
use trimaran_engine::state::token::Grant;
use trimaran_member::{Proposed, ReadAnswer};
use trimaran_model::error_code;
use trimaran_model::id::{Digest, Identity};
use trimaran_model::time::Millis;
use trimaran_query::{self as query, text};
use trimaran_transport::Role;
use trimaran_transport::authority::Issued;
use trimaran_transport::enroll::{Csr, is_wanted, token_hash};
use trimaran_wire::v1::command::{Command, CommandBody};
use trimaran_wire::v1::common::WireIdentity;

use crate::admin::reply::no_leader;
use crate::low_disk::no_space;
use crate::rows::View;
use crate::server::Server;

/// Why a newcomer gets nothing.
pub(super) type Refused = (error_code::ErrorCode, String);

/// Waits until the rows have a token that was made a moment ago: one that is not seen would be used unchecked.
pub(super) async fn read_rows(server: &Server) -> Result<(), Refused> {
    match server.node.read_revision(false).await {
        ReadAnswer::At(_) => Ok(()),
        ReadAnswer::NotLeader => Err(no_leader_now(server)),
        ReadAnswer::Busy(why) => Err((error_code::BUSY, why)),
    }
}

fn no_leader_now(server: &Server) -> Refused {
    let refusal = no_leader(server);
    (error_code::ErrorCode(refusal.code), refusal.message)
}

/// Uses a token for whoever has made the request.
pub(super) async fn use_token(server: &Server, token: &str, csr: &Csr) -> Result<Identity, Refused> {
    let hash = token_hash(token).0;
    not_mixed_up(server, hash, &csr.name)?;
    let command = Command {
        identity: WireIdentity::System,
        request: None,
        body: CommandBody::UseToken {
            token_sha256: hash,
            spki_sha256: csr.spki.0,
            name: csr.name.strip_prefix("runner/").map(str::to_owned),
        },
    };
    server.disk_space.observe(&server.node);
    match server.node.propose(command).await {
        Proposed::Done { outcome: Outcome::Enrolled { identity }, revision } => {
            // What it made is read from the rows.
            server.node.wait_rows(revision).await;
            Ok(identity)
        }
        Proposed::Done { outcome: Outcome::Refused(why), .. } => Err((why.code(), text::refusal(&why))),
        Proposed::Done { .. } => Err((error_code::BUG, "the token gave no identity".to_owned())),
        Proposed::Busy(why) | Proposed::Refused(why) => Err((error_code::BUSY, why)),
        Proposed::NoSpace => Err((error_code::DISK_FULL, no_space(server).message)),
        Proposed::NotLeader => Err(no_leader_now(server)),
        Proposed::Indeterminate => {
            Err((error_code::INDETERMINATE, "it is not known whether the token was used".to_owned()))
        }
    }
}

/// Refuses a token that is for another than the newcomer wants to be, before it is used: its use would revoke
/// whoever has the name now. A token that is good no more gets its answer where it would be used.
fn not_mixed_up(server: &Server, hash: [u8; 32], wanted: &str) -> Result<(), Refused> {
    let token = View::new(&server.node).read(|rows| query::token(rows, Digest(hash)));
    let token = token.map_err(|damaged| (error_code::STORE_DAMAGED, damaged.to_string()))?;
    let Some(token) = token.filter(|token| token.expires >= server.node.wall()) else {
        return Ok(());
    };
    let (role, name) = match &token.grant {
        Grant::Coordinator { .. } => (Role::Coordinator, token.grant.name()),
        Grant::Agent { .. } => (Role::Agent, token.grant.name()),
        Grant::Runner { .. } => (Role::Runner, token.grant.name()),
        Grant::Operator { .. } => (Role::Operator, token.grant.name()),
        // It names itself.
        Grant::Runners { .. } => (Role::Runner, wanted.strip_prefix("runner/").unwrap_or_default()),
    };
    if is_wanted(wanted, role, name) {
        return Ok(());
    }
    let message = format!("the token is for {}/{name}, not for {wanted}; it was not used", role.as_str());
    Err((error_code::TOKEN_UNKNOWN, message))
}

/// A certificate of this coordinator for the key of a request.
pub(super) fn issued_for(
    server: &Server,
    identity: &Identity,
    csr: &Csr,
    ttl: Millis,
) -> Result<Issued, Refused> {
    let issued = server.issuer.issue(identity, csr, server.node.wall(), ttl);
    issued.map_err(|error| (error_code::BUG, format!("the certificate could not be made: {error}")))
}
