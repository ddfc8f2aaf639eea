//! `cluster promote|remove|transfer`: what an operator asks of a coordinator by its name, until it is in force.
//!
//! A change of the members carries its command, and beside it the request id: both are in force in one entry, or none is.
//! Not here: whether a quorum would be left (`trimaran-member`, on the leader).

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use trimaran_engine::state::cluster::Member;
use trimaran_engine::{Outcome, Refusal as EngineRefusal};
use trimaran_member::Proposed;
use trimaran_model::error_code;
use trimaran_model::id::{Identity, RequestId};
use trimaran_query::{self as query, text};
use trimaran_wire::codec::Message as _;
use trimaran_wire::document::MemberChanged;
use trimaran_wire::raft::ConfState;
use trimaran_wire::v1::command::{Command, CommandBody, Entry, RequestKey, WireMemberChange as Change};
use trimaran_wire::v1::common::WireIdentity;
use trimaran_wire::v1::operator::Refusal;
use trimaran_wire::v1::peer::MembersRequest;

use super::reply::{Answer, document, refusal, wait_linearizable};
use crate::low_disk::{self, NoSpace};
use crate::rows::View;
use crate::server::Server;

/// How long a change is repeated that met an election or another change.
const TIMEOUT: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_millis(150);

/// What one view says of the coordinator and of the request.
struct Found {
    member: Option<Member>,
    was_removed: bool,
    earlier: Option<Outcome>,
}

/// Does what was asked, and answers with the members as they are then.
pub(super) async fn change(
    server: &Server,
    identity: &Identity,
    request: &RequestKey,
    (name, change): (&str, Change),
) -> Answer {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        wait_linearizable(server, true).await?;
        let found = find(server, identity, request, name)?;
        if let Some(outcome) = found.earlier {
            refuse_misuse(outcome)?;
            return changed(server, name, change);
        }
        let Some(member) = found.member else { return Err(unknown(name, found.was_removed)) };
        let conf = server.stored_members();
        let answer = match change {
            Change::Promote if conf.voters.contains(&member.raft_id) => return changed(server, name, change),
            Change::Promote => propose(server, identity, request, change, member.raft_id).await,
            Change::Remove => propose(server, identity, request, change, member.raft_id).await,
            Change::Transfer => transfer(server, identity, request, member.raft_id).await,
        };
        let why = match answer {
            Proposed::Done { outcome: Outcome::Refused(why), .. } => return Err(of_engine(&why)),
            Proposed::Done { revision, .. } => {
                server.node.wait_rows(revision).await;
                return changed(server, name, change);
            }
            Proposed::Refused(why) => return Err(refusal(error_code::MEMBERS, why)),
            Proposed::NoSpace => {
                let NoSpace { message, help } = low_disk::no_space(server);
                return Err(Refusal { help: Some(help), ..refusal(error_code::DISK_FULL, message) });
            }
            Proposed::Busy(why) => why,
            Proposed::NotLeader | Proposed::Indeterminate => "there is no leader now".to_owned(),
        };
        if Instant::now() >= deadline {
            return Err(refusal(error_code::BUSY, why));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Promotes or removes: the rows change with the members.
async fn propose(
    server: &Server,
    identity: &Identity,
    request: &RequestKey,
    change: Change,
    raft_id: u64,
) -> Proposed {
    let identity = WireIdentity::from(identity);
    let body = CommandBody::ChangeMember { change, raft_id };
    // The change is in force whatever becomes of the request id, so its command must not depend on it.
    let change_itself = Command { identity: identity.clone(), request: None, body };
    let remembered = Command { identity, request: Some(request.clone()), body: CommandBody::Advance };
    let context = Entry { now_ms: 0, commands: vec![change_itself, remembered] }.to_bytes();
    let members = match change {
        Change::Remove => MembersRequest::Remove { id: raft_id },
        Change::Promote | Change::Transfer => MembersRequest::AddVoter { id: raft_id },
    };
    server.node.change_members(members, Bytes::from(context)).await
}

/// Leadership moves; then that is written down, under the new leader.
async fn transfer(server: &Server, identity: &Identity, request: &RequestKey, raft_id: u64) -> Proposed {
    let leads = server.node.member_status().borrow().role.leader == Some(raft_id);
    if !leads {
        let moved = server.node.change_members(MembersRequest::Transfer { to: raft_id }, Bytes::new()).await;
        let moved_there = matches!(moved, Proposed::Done { .. });
        if !moved_there {
            return moved;
        }
    }
    let body = CommandBody::ChangeMember { change: Change::Transfer, raft_id };
    let identity = WireIdentity::from(identity);
    server.node.propose(Command { identity, request: Some(request.clone()), body }).await
}

fn find(server: &Server, identity: &Identity, request: &RequestKey, name: &str) -> Result<Found, Refusal> {
    let conf = server.stored_members();
    let (known, earlier) = View::new(&server.node).read(|rows| {
        let earlier = query::request(rows, RequestId(request.id), identity);
        (query::members_ever(rows), earlier)
    })?;
    let earlier = earlier.map(|known| match known.body.0 == request.body_sha256 {
        true => known.outcome,
        false => Outcome::Refused(EngineRefusal::RequestIdReused),
    });
    let of_name = |it: &&Member| it.name.as_str() == name;
    let is_member = |it: &&Member| conf.voters.contains(&it.raft_id) || conf.learners.contains(&it.raft_id);
    let member = known.iter().filter(of_name).find(is_member).cloned();
    let was_removed = known.iter().filter(of_name).any(|it| it.removed);
    Ok(Found { member, was_removed, earlier })
}

fn refuse_misuse(outcome: Outcome) -> Result<(), Refusal> {
    match outcome {
        Outcome::Refused(why) => Err(of_engine(&why)),
        _ => Ok(()),
    }
}

fn of_engine(why: &EngineRefusal) -> Refusal {
    refusal(why.code(), text::refusal(why))
}

fn unknown(name: &str, was_removed: bool) -> Refusal {
    let message = match was_removed {
        true => format!("the coordinator `{name}` was removed already"),
        false => format!("there is no coordinator `{name}`"),
    };
    let help = Some("`trimaran cluster members` lists the coordinators.".to_owned());
    Refusal { help, ..refusal(error_code::NOT_FOUND, message) }
}

/// The members as they are now.
fn changed(server: &Server, name: &str, change: Change) -> Answer {
    let ConfState { voters, learners, .. } = server.stored_members();
    let (revision, members) =
        View::new(&server.node).read(|rows| (rows.revision(), query::members_ever(rows)))?;
    let named = |ids: Vec<u64>| {
        let of = |id: &u64| members.iter().find(|it| it.raft_id == *id).map(|it| it.name.to_string());
        ids.iter().filter_map(of).collect()
    };
    let change = match change {
        Change::Promote => "promoted",
        Change::Remove => "removed",
        Change::Transfer => "leads",
    };
    let (name, change) = (name.to_owned(), change.to_owned());
    Ok(document(revision, &MemberChanged { name, change, voters: named(voters), learners: named(learners) }))
}
