//! What other coordinators know of the agents that they serve: who is connected, live progress. Asked for when it is
//! shown, so that every coordinator shows the same.

use std::collections::BTreeMap;
use std::time::Duration;

use trimaran_model::time::WallTime;
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::agent::RefusedCounts;
use trimaran_wire::v1::peer::{PeerQuestion, SessionReport, SessionsReport};

use super::question;
use crate::server::Server;
use crate::soft_state::{ElsewhereAgent, Sessions};

/// How long the others may take to answer.
const TIMEOUT: Duration = Duration::from_millis(800);
/// Agents, runners with their facts, and reports of progress of one page: each is below a frame.
const NAMES_PER_PAGE: usize = 2000;
const RUNNERS_PER_PAGE: usize = 200;
const PROGRESS_PER_PAGE: usize = 4;

/// Asks every other voter and learner, and keeps what they say until it is asked for again. One that does not answer
/// keeps what it said last.
pub(crate) async fn refresh(server: &Server) {
    let others: Vec<u64> = server.node.peers.introduced().into_keys().collect();
    let mut asked = tokio::task::JoinSet::new();
    for id in others {
        let server = server.clone();
        asked
            .spawn(async move { (id, tokio::time::timeout(TIMEOUT, ask(&server, id)).await.ok().flatten()) });
    }
    while let Some(Ok((id, found))) = asked.join_next().await {
        server.soft_state.lock().note_elsewhere(id, found, server.node.wall());
    }
}

async fn ask(server: &Server, id: u64) -> Option<Sessions> {
    let mut answer = question::ask(server, id, &PeerQuestion::Sessions).await?;
    let mut sessions = Sessions::default();
    loop {
        let page = SessionsReport::from_frame(&answer.next().await.ok()??).ok()?;
        let last = page.last;
        add(&mut sessions, page);
        if last {
            return Some(sessions);
        }
    }
}

fn add(sessions: &mut Sessions, page: SessionsReport) {
    let SessionsReport { agents, runners, progress, held, refused, last: _ } = page;
    for it in agents {
        let refused = RefusedCounts { handshakes: it.refused_handshakes, frames: it.refused_frames };
        let (incarnation, last_seen) = (it.incarnation, WallTime(it.last_seen_ms));
        let agent = ElsewhereAgent { incarnation, address: it.address, last_seen, refused };
        sessions.agents.insert(it.name, agent);
    }
    sessions.runners.extend(runners.into_iter().map(|it| (it.name.clone(), it)));
    sessions.progress.extend(progress.into_iter().map(|it| (it.assignment, it)));
    for (agent, it, since_ms) in held {
        sessions.held.entry(agent).or_default().push((it, WallTime(since_ms)));
    }
    for (agent, it, since_ms) in refused {
        let orders: &mut BTreeMap<_, _> = sessions.refused.entry(agent).or_default();
        orders.insert(it.assignment, (it, WallTime(since_ms)));
    }
}

/// What this coordinator knows of its agents, in pages.
pub(super) fn pages(server: &Server) -> Vec<SessionsReport> {
    let soft = server.soft_state.lock();
    let agents: Vec<SessionReport> = soft
        .agents
        .iter()
        .map(|(name, it)| SessionReport {
            name: name.clone(),
            incarnation: it.incarnation,
            address: it.address.clone(),
            last_seen_ms: it.last_seen.0,
            refused_handshakes: it.refused.handshakes,
            refused_frames: it.refused.frames,
        })
        .collect();
    let runners: Vec<_> = soft.runners.values().flat_map(BTreeMap::values).cloned().collect();
    let progress: Vec<_> = soft.progress.values().cloned().collect();
    let held = soft
        .held
        .iter()
        .flat_map(|(agent, list)| list.iter().map(|(it, since)| (agent.clone(), it.clone(), since.0)));
    let held: Vec<_> = held.collect();
    let refused = soft
        .refused
        .iter()
        .flat_map(|(agent, orders)| orders.values().map(|(it, since)| (agent.clone(), it.clone(), since.0)));
    let refused: Vec<_> = refused.collect();
    drop(soft);
    let blank = SessionsReport::default;
    let mut pages: Vec<SessionsReport> = Vec::new();
    let one = |list: &[SessionReport]| SessionsReport { agents: list.to_vec(), ..blank() };
    pages.extend(agents.chunks(NAMES_PER_PAGE).map(one));
    pages.extend(
        runners.chunks(RUNNERS_PER_PAGE).map(|it| SessionsReport { runners: it.to_vec(), ..blank() }),
    );
    pages.extend(
        progress.chunks(PROGRESS_PER_PAGE).map(|it| SessionsReport { progress: it.to_vec(), ..blank() }),
    );
    pages.extend(held.chunks(NAMES_PER_PAGE).map(|it| SessionsReport { held: it.to_vec(), ..blank() }));
    pages.extend(
        refused.chunks(NAMES_PER_PAGE / 4).map(|it| SessionsReport { refused: it.to_vec(), ..blank() }),
    );
    pages.push(SessionsReport { last: true, ..blank() });
    pages
}
