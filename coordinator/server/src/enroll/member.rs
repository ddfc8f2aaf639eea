//! A coordinator joins: its keys are certified, and it becomes a learner.

use std::time::Duration;

use bytes::Bytes;
use trimaran_engine::state::token::Grant;
use trimaran_member::Proposed;
use trimaran_model::error_code;
use trimaran_model::id::{CoordinatorName, Digest, Identity};
use trimaran_query as query;
use trimaran_transport::enroll::{Csr, token_hash};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::command::{Command, CommandBody, Entry};
use trimaran_wire::v1::common::WireIdentity;
use trimaran_wire::v1::enroll::{EnrollReply, JoinRequest, Joined};
use trimaran_wire::v1::peer::MembersRequest;

use super::certify::{Refused, read_rows, use_token};
use crate::low_disk::no_space;
use crate::rows::View;
use crate::server::Server;

/// How often, and after which pause, a change of members is repeated that met another one or an election.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(300);

/// Makes a member of whoever has the token.
pub(super) async fn join(server: &Server, request: JoinRequest) -> Result<EnrollReply, Refused> {
    let bad = |error: &dyn std::fmt::Display| (error_code::TOKEN_UNKNOWN, error.to_string());
    let csr = Csr::parse(&request.csr).map_err(|error| bad(&error))?;
    read_rows(server).await?;
    refuse_others(server, &request)?;
    let identity = use_token(server, &request.token, &csr).await?;
    let Identity::Coordinator(name) = &identity else {
        return Err((error_code::BUG, "a token of a coordinator gave another identity".to_owned()));
    };
    let wall = server.node.wall();
    let issuer_key = Csr::parse(&request.issuer_csr).map_err(|error| bad(&error))?.spki;
    let issuer =
        server.issuer.certify_issuer(name, &request.issuer_csr, wall).map_err(|error| bad(&error))?;
    add_learner(server, name, &request, (csr.spki, issuer_key)).await?;
    let members = server.stored_members();
    Ok(EnrollReply::Joined(Joined {
        ca: server.issuer.root_pem().to_owned(),
        issuer,
        cluster_id: server.node.store.identity().cluster_id,
        voters: members.voters,
        learners: members.learners,
    }))
}

/// Before the token is used: it has to be one of a coordinator, whose name no other member has.
fn refuse_others(server: &Server, request: &JoinRequest) -> Result<(), Refused> {
    let hash = Digest(token_hash(&request.token).0);
    let found = View::new(&server.node).read(|rows| (query::token(rows, hash), query::members(rows)));
    let (token, members) = found.map_err(|damaged| (error_code::STORE_DAMAGED, damaged.to_string()))?;
    // One that is not known gets its answer where it would be used.
    let Some(token) = token else { return Ok(()) };
    let Grant::Coordinator { name } = &token.grant else {
        let message = "the token is not for a coordinator; it was not used".to_owned();
        return Err((error_code::TOKEN_UNKNOWN, message));
    };
    let conf = server.stored_members();
    let is_member = |id: &u64| conf.voters.contains(id) || conf.learners.contains(id);
    let taken = members.iter().any(|member| {
        member.name == *name && member.raft_id != request.raft_id && is_member(&member.raft_id)
    });
    if taken {
        let message = format!("the cluster has a member `{name}`; remove it first, or take another name");
        return Err((error_code::DATA_DIR, message));
    }
    Ok(())
}

async fn add_learner(
    server: &Server,
    name: &CoordinatorName,
    request: &JoinRequest,
    (key, issuer): (Digest, Digest),
) -> Result<(), Refused> {
    let body = CommandBody::Member {
        name: name.to_string(),
        raft_id: request.raft_id,
        disk: request.disk_id,
        address: request.address.clone(),
        certificate_sha256: key.0,
        issuer_sha256: issuer.0,
        levels: request.levels,
    };
    let command = Command { identity: WireIdentity::System, request: None, body };
    // Time stays where it is: the entry only carries the row.
    let context = Bytes::from(Entry { now_ms: 0, commands: vec![command] }.to_bytes());
    let id = request.raft_id;
    let mut last = (error_code::NO_LEADER, "there is no leader now".to_owned());
    for _ in 0..ATTEMPTS {
        match server.node.change_members(MembersRequest::AddLearner { id }, context.clone()).await {
            Proposed::Done { revision, .. } => {
                server.node.wait_rows(revision).await;
                return Ok(());
            }
            // An attempt before this one was executed.
            Proposed::Refused(_) if server.stored_members().learners.contains(&id) => return Ok(()),
            Proposed::Refused(why) => last = (error_code::BUSY, why),
            Proposed::Busy(why) => last = (error_code::BUSY, why),
            Proposed::NoSpace => last = (error_code::DISK_FULL, no_space(server).message),
            Proposed::NotLeader | Proposed::Indeterminate => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(last)
}
