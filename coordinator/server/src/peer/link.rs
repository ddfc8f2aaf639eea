//! The session to one peer: dialed again and again, and emptied of what the raft loop leaves for it.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use trimaran_model::id::Identity;
use trimaran_transport::{
    Alpn, CloseCode, CloseReason, ConnectError, FrameSender, SendError, Session, random,
};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::peer::{PEER_VERSION, PeerHello, PeerOpen, PeerStream};

use super::outbox::{Contact, Queues, entry_bytes};
use crate::server::Server;

/// The pause before a peer is dialed again: at least, and at most as much again.
const REDIAL_MS: u64 = 100;
/// How often a link notices that its peer is a member no more, or is elsewhere.
const WANTED_INTERVAL: Duration = Duration::from_millis(500);

/// Keeps a session to a peer until it is a member no more.
pub(super) async fn keep(server: Server, id: u64) {
    let mut notified = false;
    while let Some(contact) = server.node.peers.wanted(id) {
        match dial(&server, &contact).await {
            Ok(session) => {
                tracing::info!(peer = %contact.name, address = contact.address, "connected to a coordinator");
                notified = false;
                let queues = server.node.peers.connected(id, session.clone());
                let why = serve(&server, id, &contact, &session, queues).await;
                server.node.peers.disconnected(id);
                session.close(CloseCode::Done, "");
                tracing::info!(peer = %contact.name, why, "disconnected from a coordinator");
                if is_removal(&session.closed().await) {
                    return server.node.end_removed(Some(contact.name));
                }
            }
            Err(NotDialed { is_removal: true, .. }) => {
                return server.node.end_removed(Some(contact.name));
            }
            Err(NotDialed { why, .. }) => {
                if !std::mem::replace(&mut notified, true) {
                    tracing::warn!(peer = %contact.name, why, "a coordinator can't be reached; trying again");
                }
            }
        }
        server.node.unreachable(id);
        let pause = REDIAL_MS + random::next_u64() % REDIAL_MS;
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// Why a peer has no session.
struct NotDialed {
    why: String,
    /// See [`is_removal`].
    is_removal: bool,
}

async fn dial(server: &Server, contact: &Contact) -> Result<Session, NotDialed> {
    let not_dialed = |why| NotDialed { why, is_removal: false };
    let identity = Identity::Coordinator(contact.name.clone());
    let addresses: Vec<SocketAddr> = match tokio::net::lookup_host(&contact.address).await {
        Ok(found) => found.collect(),
        Err(error) => return Err(not_dialed(format!("{}: {error}", contact.address))),
    };
    let mut failed = not_dialed(format!("{} has no address", contact.address));
    for address in addresses {
        match server.endpoint.connect_to(address, Alpn::Peer, &identity).await {
            Ok(session) => return Ok(session),
            Err(error) => {
                let is_removal = matches!(&error, ConnectError::Closed { reason, .. } if is_removal(reason));
                failed = NotDialed { why: trimaran_model::text::with_sources(&error), is_removal };
            }
        }
    }
    Err(failed)
}

/// Whether a member says that this coordinator's keys are revoked, as those of a removed one are. It proved before that it is
/// the member that was dialed.
fn is_removal(reason: &CloseReason) -> bool {
    matches!(reason, CloseReason::Peer { code: CloseCode::Revoked, .. })
}

/// Carries what is for a peer until the session ends; says why it did.
async fn serve(server: &Server, id: u64, contact: &Contact, session: &Session, queues: Queues) -> String {
    let Queues { mut control, mut append, append_bytes, mut request, mut snapshot } = queues;
    let controls = async {
        let mut sender = open(server, session, id, PeerStream::Control).await?;
        while let Some(message) = control.recv().await {
            sender.send(&message.to_frame()).await?;
        }
        Ok::<(), SendError>(())
    };
    let appends = async {
        let mut sender = open(server, session, id, PeerStream::Append).await?;
        while let Some(message) = append.recv().await {
            append_bytes.fetch_sub(entry_bytes(&message), Ordering::Relaxed);
            sender.send(&message.to_frame()).await?;
        }
        Ok::<(), SendError>(())
    };
    let requests = async {
        let mut sender = open(server, session, id, PeerStream::Request).await?;
        while let Some(message) = request.recv().await {
            sender.send(&message.to_frame()).await?;
        }
        Ok::<(), SendError>(())
    };
    let snapshots = async {
        while let Some(message) = snapshot.recv().await {
            let sent = match open_both(server, session, id, PeerStream::Snapshot).await {
                Ok(stream) => server.node.snapshots.send(stream, message).await,
                Err(error) => Err(error.to_string()),
            };
            if let Err(why) = &sent {
                tracing::warn!(peer = %contact.name, why, "a snapshot could not be sent");
            }
            server.node.snapshot_sent(id, sent.is_ok());
        }
    };
    let unwanted = async {
        while server.node.peers.wanted(id).as_ref() == Some(contact) {
            tokio::time::sleep(WANTED_INTERVAL).await;
        }
    };
    let why = |sent: Result<(), SendError>| sent.err().map_or_else(String::new, |error| error.to_string());
    tokio::select! {
        sent = controls => why(sent),
        sent = appends => why(sent),
        sent = requests => why(sent),
        () = snapshots => String::new(),
        reason = session.closed() => reason.to_string(),
        () = unwanted => "it is a member no more, or elsewhere".to_owned(),
    }
}

/// Opens a stream to a peer and says who opens it and for what.
pub(super) async fn open(
    server: &Server,
    session: &Session,
    to: u64,
    stream: PeerStream,
) -> Result<FrameSender, SendError> {
    let (sender, _) = open_both(server, session, to, stream).await?;
    Ok(sender)
}

/// As [`open`], with the way of the answer.
pub(super) async fn open_both(
    server: &Server,
    session: &Session,
    to: u64,
    stream: PeerStream,
) -> Result<(FrameSender, trimaran_transport::FrameReceiver), SendError> {
    let (mut sender, receiver) = session.open_stream().await?;
    sender.set_priority(match stream {
        PeerStream::Control => 4,
        PeerStream::Append => 3,
        PeerStream::Request => 2,
        PeerStream::Question => 1,
        PeerStream::Snapshot => -1,
    });
    let identity = server.node.store.identity();
    let hello = PeerHello {
        cluster_id: identity.cluster_id,
        raft_id: identity.raft_id,
        disk_id: identity.disk_id,
        name: server.name.to_string(),
        address: server.address.clone(),
        versions: (PEER_VERSION, PEER_VERSION),
        levels: (server.levels.min, server.levels.max),
    };
    sender.send(&PeerOpen { hello, to, stream }.to_frame()).await?;
    Ok((sender, receiver))
}
