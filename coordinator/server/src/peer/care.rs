//! Care for the members: who is dialed, which learner is promoted, and who leads when this coordinator ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use trimaran_member::Proposed;
use trimaran_model::limits::LEARNER_LAG_MAX;
use trimaran_query as query;
use trimaran_wire::raft::ConfState;
use trimaran_wire::v1::peer::MembersRequest;

use super::link;
use super::outbox::Contact;
use crate::rows::View;
use crate::server::Server;

/// How often the members are looked at.
const MEMBERS_INTERVAL: Duration = Duration::from_millis(250);
/// A learner is promoted when it was close behind so many times in a row.
const CLOSE_BEHIND_TIMES: u32 = 2;
/// How long the end of a leader waits for the next one.
const HAND_OVER_TIMEOUT: Duration = Duration::from_millis(1500);

impl Server {
    /// The members that replication goes by, as far as they are stored here.
    pub(crate) fn stored_members(&self) -> ConfState {
        let meta = self.node.store.read_view().snapshot_meta();
        meta.map(|meta| meta.conf_state).unwrap_or_default()
    }
}

/// Everyone in a configuration.
pub(crate) fn ids(members: &ConfState) -> BTreeSet<u64> {
    let voters = members.voters.iter().chain(&members.voters_outgoing);
    voters.chain(&members.learners).chain(&members.learners_next).copied().collect()
}

/// Keeps a link to every other member.
pub(crate) async fn keep_links(server: Server) {
    let mut linked = BTreeSet::new();
    loop {
        if is_removed(&server) {
            return server.node.end_removed(None);
        }
        let wanted = wanted(&server);
        for id in server.node.peers.set_wanted(wanted.clone()) {
            if linked.insert(id) {
                let server = server.clone();
                server.tasks.spawn(link::keep(server.clone(), id));
            }
        }
        linked.retain(|id| wanted.contains_key(id));
        tokio::time::sleep(MEMBERS_INTERVAL).await;
    }
}

/// Whether this coordinator knows that it is a member no more.
fn is_removed(server: &Server) -> bool {
    let members = ids(&server.stored_members());
    let own = server.node.store.identity().raft_id;
    server.node.store.applied() > 0 && !members.is_empty() && !members.contains(&own)
}

/// The other members with where they are. One that has no state yet knows those that have dialed it.
fn wanted(server: &Server) -> BTreeMap<u64, Contact> {
    let own = server.node.store.identity().raft_id;
    if server.node.store.applied() == 0 {
        return server.node.peers.introduced();
    }
    let members = ids(&server.stored_members());
    if members.iter().all(|id| *id == own) {
        return BTreeMap::new();
    }
    let Ok(rows) = View::new(&server.node).read(|rows| query::members(rows)) else {
        return BTreeMap::new();
    };
    let others = rows.into_iter().filter(|row| row.raft_id != own && members.contains(&row.raft_id));
    others.map(|row| (row.raft_id, Contact { name: row.name, address: row.address })).collect()
}

/// As the leader, makes voters of learners that have caught up.
pub(crate) async fn promote_learners(server: Server) {
    let mut close: BTreeMap<u64, u32> = BTreeMap::new();
    loop {
        tokio::time::sleep(MEMBERS_INTERVAL).await;
        let leads = server.node.member_status().borrow().leads();
        if !leads || server.stored_members().learners.is_empty() {
            close.clear();
            continue;
        }
        let Some(status) = server.node.status().await else { return };
        for id in &status.members.learners {
            let matched = status.matched.iter().find(|(member, _)| member == id).map_or(0, |it| it.1);
            let times = close.entry(*id).or_default();
            *times = if matched + LEARNER_LAG_MAX >= status.commit && matched > 0 { *times + 1 } else { 0 };
        }
        let ready = close.iter().find(|(_, times)| **times >= CLOSE_BEHIND_TIMES).map(|(id, _)| *id);
        if let Some(id) = ready {
            close.clear();
            let promoted = server.node.change_members(MembersRequest::AddVoter { id }, Bytes::new()).await;
            match promoted {
                Proposed::Done { .. } => tracing::info!(member = id, "a learner has caught up and votes now"),
                other => tracing::info!(member = id, answer = ?other, "a learner could not be promoted yet"),
            }
        }
    }
}

/// Gives leadership away before this coordinator ends, when another voter can take it.
pub(crate) async fn hand_over(server: &Server) {
    let leads = {
        let status = server.node.member_status();
        let status = status.borrow();
        status.leads() && status.voters.len() > 1
    };
    if !leads {
        return;
    }
    let transfer = server.node.change_members(MembersRequest::Transfer { to: 0 }, Bytes::new());
    match tokio::time::timeout(HAND_OVER_TIMEOUT, transfer).await {
        Ok(Proposed::Done { .. }) => tracing::info!("leadership was handed over"),
        Ok(other) => tracing::warn!(answer = ?other, "leadership could not be handed over"),
        Err(_) => tracing::warn!("no one took over in time"),
    }
}
