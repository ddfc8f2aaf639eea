//! The way of a question to an agent: over its session here, or through the coordinator that has it.

use trimaran_transport::{FrameReceiver, FrameSender, Session};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::agent::AgentQuery;
use trimaran_wire::v1::peer::{PeerQuestion, PeerStream};

use super::link;
use super::sessions::refresh;
use crate::server::Server;

/// How an agent is asked.
pub(crate) enum AgentPath {
    Session(Session),
    /// Through the coordinator of this raft id.
    Coordinator(u64),
}

/// How an agent is asked now; `None` when no coordinator that answers has a session with it.
pub(crate) async fn agent_path(server: &Server, agent: &str) -> Option<AgentPath> {
    let here = |server: &Server| {
        let soft = server.soft_state.lock();
        soft.agents.get(agent).map(|agent| AgentPath::Session(agent.session.clone()))
    };
    if let Some(session) = here(server) {
        return Some(session);
    }
    refresh(server).await;
    let elsewhere = server.soft_state.lock().served_by(agent).map(AgentPath::Coordinator);
    elsewhere.or_else(|| here(server))
}

/// Asks an agent; the answer's frames are its own. What belongs to the question follows on the sender, which the asker
/// finishes.
pub(crate) async fn ask_agent(
    server: &Server,
    path: &AgentPath,
    agent: &str,
    query: AgentQuery,
) -> Option<(FrameSender, FrameReceiver)> {
    let (mut sender, receiver, frame) = match path {
        AgentPath::Session(session) => {
            let (sender, receiver) = session.open_stream().await.ok()?;
            (sender, receiver, query.to_frame())
        }
        AgentPath::Coordinator(id) => {
            let session = server.node.peers.session(*id)?;
            let opened = link::open_both(server, &session, *id, PeerStream::Question).await;
            let (sender, receiver) = opened.ok()?;
            (sender, receiver, PeerQuestion::Agent { agent: agent.to_owned(), query }.to_frame())
        }
    };
    sender.send(&frame).await.ok()?;
    Some((sender, receiver))
}
