//! `cluster status`: the cluster and every member, each asked how it is. Works without a quorum too, from what is here.

use std::net::{IpAddr, SocketAddr};

use trimaran_engine::state::cluster::Member;
use trimaran_model::feature_level;
use trimaran_model::id::{Identity, Incarnation};
use trimaran_query as query;
use trimaran_wire::document::{
    ClusterStatus, HashDocument, LevelsDocument, MemberDocument, NextLevelDocument, RefusedDocument, rfc3339,
};
use trimaran_wire::raft::ConfState;

use super::reply::{Answer, document};
use super::{refused, unknown_assignments};
use crate::peer::{Reported, refresh_sessions, reports};
use crate::rows::View;
use crate::server::Server;

/// Answers `cluster status`. `reached` is the address of this host that the asker dialed.
pub(super) async fn cluster(server: &Server, identity: &Identity, reached: Option<IpAddr>) -> Answer {
    // As new as can be had; without a leader what is here is shown, which is when it is needed most.
    let _ = server.node.read_revision(false).await;
    refresh_sessions(server).await;
    let reader = server.clone();
    let stored = move || {
        View::new(&reader.node).read(|rows| {
            let mut alarms = query::alarms(rows);
            alarms.extend(unknown_assignments::alarms(&reader, rows));
            alarms.extend(refused::alarms(&reader, rows));
            let cluster = (query::cluster(rows), query::observes(rows));
            (rows.revision(), cluster, query::members(rows), alarms)
        })
    };
    let (revision, (meta, observing), rows, mut alarms) = server.reads.run(identity, stored).await?;
    let conf = server.stored_members();
    let members: Vec<Member> = rows.into_iter().filter(|row| is_in(&conf, row.raft_id)).collect();
    let ids: Vec<u64> = members.iter().map(|member| member.raft_id).collect();
    let reports = reports(server, &ids).await;
    alarms.extend(reports.values().flat_map(Reported::alarms));
    let status = server.node.member_status().borrow().clone();
    let leader = members.iter().find(|member| Some(member.raft_id) == status.role.leader);
    let own = server.node.store.identity().raft_id;
    let one = |member: &Member| {
        let role = role(&conf, status.role.leader, member.raft_id);
        let reached = reached.filter(|_| member.raft_id == own);
        shown(member, role, reports.get(&member.raft_id), reached)
    };
    let cluster = ClusterStatus {
        cluster_id: meta.name,
        epoch: meta.epoch.0,
        incarnation: Incarnation(meta.incarnation).to_string(),
        observing,
        leader: leader.map(|member| member.name.to_string()),
        term: status.role.term,
        revision,
        now: status.now.0,
        wall: rfc3339(server.node.wall()),
        feature_level: meta.level,
        next_feature_level: next_level(meta.level, &members),
        members: members.iter().map(one).collect(),
        alarms,
    };
    Ok(document(revision, &cluster))
}

/// What `cluster finalize` would do.
fn next_level(level: u16, members: &[Member]) -> Option<NextLevelDocument> {
    let levels = members.iter().map(|member| (member.name.to_string(), member.levels));
    let (level, lacking) = feature_level::next(level, levels)?;
    Some(NextLevelDocument { level, lacking })
}

fn is_in(conf: &ConfState, id: u64) -> bool {
    let voters = conf.voters.iter().chain(&conf.voters_outgoing);
    voters.chain(&conf.learners).chain(&conf.learners_next).any(|member| *member == id)
}

fn role(conf: &ConfState, leader: Option<u64>, id: u64) -> &'static str {
    if leader == Some(id) {
        "leader"
    } else if conf.voters.contains(&id) {
        "follower"
    } else {
        "learner"
    }
}

fn shown(member: &Member, role: &str, report: Option<&Reported>, reached: Option<IpAddr>) -> MemberDocument {
    let blank = MemberDocument {
        name: member.name.to_string(),
        role: role.to_owned(),
        address: dialable(member.address.clone(), reached),
        applied: 0,
        hash: HashDocument { revision: 0, value: String::new() },
        first_index: 0,
        snapshot_index: 0,
        disk_free: 0,
        state: "unreachable".to_owned(),
        refused: RefusedDocument { handshakes: 0, frames: 0 },
        feature_levels: LevelsDocument { min: member.levels.min, max: member.levels.max },
    };
    let Some(Reported::Alive(report)) = report else { return blank };
    MemberDocument {
        applied: report.applied,
        hash: HashDocument { revision: report.applied, value: format!("{:032x}", report.hash) },
        first_index: report.first_index,
        snapshot_index: report.snapshot_index,
        disk_free: report.disk_free,
        state: "alive".to_owned(),
        refused: RefusedDocument { handshakes: report.refused_handshakes, frames: report.refused_frames },
        ..blank
    }
}

/// Where a member can be dialed. One that listens on every address of its host has at least the one by which it was
/// reached.
fn dialable(address: String, reached: Option<IpAddr>) -> String {
    match (address.parse::<SocketAddr>(), reached) {
        (Ok(listen), Some(ip)) if listen.ip().is_unspecified() => {
            SocketAddr::new(ip, listen.port()).to_string()
        }
        _ => address,
    }
}
