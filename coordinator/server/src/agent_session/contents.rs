//! Streams that an agent opens beside its control stream: it fetches releases and what they name by digest, in parts.
//!
//! Not here: what is kept (the engine), and whether the bytes have their digest (the agent checks all of them).

use tokio::task::JoinSet;
use trimaran_model::id::{AgentName, Digest, Identity};
use trimaran_model::limits::CONTENT_PART_BYTES;
use trimaran_query as query;
use trimaran_transport::{FrameReceiver, FrameSender, Session};
use trimaran_wire::codec::{Message as _, encode};
use trimaran_wire::v1::agent::{ContentAnswer, ContentPiece, ContentQuery};
use trimaran_wire::v1::release::WireRelease;

use crate::rows::View;
use crate::server::Server;

/// Serves the streams that an agent opens, until its session ends. They are bounded by the session.
pub(super) async fn serve(server: Server, session: Session, agent: AgentName) {
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            stream = session.accept_stream() => {
                let Ok((sender, receiver)) = stream else { return };
                streams.spawn(one(server.clone(), session.clone(), agent.clone(), sender, receiver));
            }
            Some(_) = streams.join_next() => {}
        }
    }
}

async fn one(
    server: Server,
    session: Session,
    agent: AgentName,
    mut sender: FrameSender,
    mut receiver: FrameReceiver,
) {
    let Ok(Some(frame)) = receiver.next().await else { return };
    let query = match ContentQuery::from_frame(&frame) {
        Ok(query) => query,
        Err(error) => return session.refuse_frame(&error.to_string()),
    };
    let refused = match answer(&server, &agent, query, &mut sender).await {
        Ok(()) => None,
        Err(Failed::Gone) => return,
        Err(Failed::Refused(message)) => Some(ContentAnswer::Refused { message }),
    };
    if let Some(refused) = refused
        && sender.send(&refused.to_frame()).await.is_err()
    {
        return;
    }
    // The asker may be gone.
    let _ = sender.finish_and_wait().await;
}

enum Failed {
    /// No one reads, or this process ends.
    Gone,
    Refused(String),
}

async fn answer(
    server: &Server,
    agent: &AgentName,
    query: ContentQuery,
    sender: &mut FrameSender,
) -> Result<(), Failed> {
    let digest = Digest(query.release);
    let name = agent.clone();
    let found = read(server, agent, move |rows| query::release_of_agent(rows, &name, digest)).await?;
    let unknown = || Failed::Refused(format!("agent `{agent}` has no target with a release {digest}"));
    let release = found.ok_or_else(unknown)?;
    match query.what {
        ContentPiece::Release => {
            for part in encode(&WireRelease::from(&*release)).chunks(CONTENT_PART_BYTES) {
                send(sender, part.to_vec()).await?;
            }
        }
        ContentPiece::Content { from } => {
            let none = || Failed::Refused(format!("release {digest} names nothing else"));
            let content = release.workload.content().ok_or_else(none)?;
            for part in from..content.parts() {
                let bytes =
                    read(server, agent, move |rows| query::content_part(rows, content.digest, part)).await?;
                let gone = || Failed::Refused(format!("part {part} of {} is not stored", content.digest));
                send(sender, bytes.ok_or_else(gone)?).await?;
            }
        }
    }
    Ok(())
}

async fn read<T: Send + 'static>(
    server: &Server,
    agent: &AgentName,
    query: impl FnOnce(&crate::rows::Rows<'_>) -> T + Send + 'static,
) -> Result<T, Failed> {
    let (reader, identity) = (server.clone(), Identity::Agent(agent.clone()));
    let read = move || View::new(&reader.node).read(query);
    server.agent_reads.run(&identity, read).await.map_err(|_| Failed::Gone)
}

async fn send(sender: &mut FrameSender, bytes: Vec<u8>) -> Result<(), Failed> {
    sender.send(&ContentAnswer::Part(bytes).to_frame()).await.map_err(|_| Failed::Gone)
}
