//! Sessions that other coordinators dial: what arrives on their streams, once it is clear who opened them.

use trimaran_model::id::Identity;
use trimaran_query as query;
use trimaran_transport::{CloseCode, FrameReceiver, FrameSender, Session};
use trimaran_wire::codec::Message as _;
use trimaran_wire::raft::{Message, MessageKind};
use trimaran_wire::v1::peer::{PEER_VERSION, PeerHello, PeerMessage, PeerOpen, PeerQuestion, PeerStream};

use super::answer;
use super::outbox::Contact;
use super::snapshot_intake::IntakeError;
use crate::rows::View;
use crate::server::Server;

/// Serves the streams of one peer's session.
pub(crate) async fn serve(server: Server, session: Session) {
    while let Ok((sender, receiver)) = session.accept_stream().await {
        server.tasks.spawn(stream(server.clone(), session.clone(), sender, receiver));
    }
}

async fn stream(server: Server, session: Session, sender: FrameSender, mut receiver: FrameReceiver) {
    let Ok(Some(frame)) = receiver.next().await else { return };
    let open = match PeerOpen::from_frame(&frame) {
        Ok(open) => open,
        Err(error) => return session.refuse_frame(&error.to_string()),
    };
    if let Err(why) = check(&server, &session, &open) {
        tracing::warn!(peer = open.hello.name, why, "a coordinator was refused");
        return session.close(CloseCode::Protocol, &why);
    }
    let from = open.hello.raft_id;
    let received = match open.stream {
        PeerStream::Control | PeerStream::Append => messages(&server, from, &mut receiver).await,
        PeerStream::Request => requests(&server, from, &mut receiver).await,
        PeerStream::Snapshot => snapshot(&server, from, sender, &mut receiver).await,
        PeerStream::Question => return question(server, sender, receiver).await,
    };
    if let Err(why) = received {
        session.refuse_frame(&why);
    }
}

/// Why this is not a member that may talk to this one, when it is not.
fn check(server: &Server, session: &Session, open: &PeerOpen) -> Result<(), String> {
    let PeerOpen { hello, to, .. } = open;
    let PeerHello { cluster_id, raft_id, disk_id, name, address, versions, levels } = hello;
    let own = server.node.store.identity();
    let Some(Identity::Coordinator(certified)) = session.identity() else {
        return Err("only coordinators are served here".to_owned());
    };
    if certified.as_str() != name {
        return Err(format!("the certificate is of `{certified}`, not of `{name}`"));
    }
    if *cluster_id != own.cluster_id {
        return Err("it is of another cluster".to_owned());
    }
    if *to != own.raft_id {
        return Err(format!("it means member {to}, this is {}", own.raft_id));
    }
    if *raft_id == own.raft_id {
        return Err("it has this member's own raft id: its directory is a copy".to_owned());
    }
    if versions.0 > PEER_VERSION || versions.1 < PEER_VERSION {
        return Err(format!(
            "it speaks versions {} to {}, this build {PEER_VERSION}",
            versions.0, versions.1
        ));
    }
    let view = View::new(&server.node);
    let stored = view.read(|rows| (query::members_ever(rows), query::cluster(rows).level));
    let (members, level) = stored.map_err(|damaged| damaged.to_string())?;
    if levels.1 < level {
        return Err(format!(
            "its build is too old: it supports feature levels up to {}, and the cluster is at {level}",
            levels.1
        ));
    }
    if let Some(known) = members.iter().find(|member| member.raft_id == *raft_id) {
        if known.disk != *disk_id || known.name != *certified {
            return Err(format!("raft id {raft_id} belongs to another disk of `{}`", known.name));
        }
        if known.removed {
            return Err(format!("`{}` was removed from the cluster", known.name));
        }
    }
    let contact = Contact { name: certified.clone(), address: address.clone() };
    server.node.peers.introduce(*raft_id, contact);
    Ok(())
}

async fn messages(server: &Server, from: u64, receiver: &mut FrameReceiver) -> Result<(), String> {
    while let Ok(Some(frame)) = receiver.next().await {
        let message = Message::from_frame(&frame).map_err(|error| error.to_string())?;
        if message.from != from || message.kind == MessageKind::Snapshot {
            return Err(format!("a message {:?} of member {}", message.kind, message.from));
        }
        server.node.receive(message);
    }
    Ok(())
}

async fn requests(server: &Server, from: u64, receiver: &mut FrameReceiver) -> Result<(), String> {
    while let Ok(Some(frame)) = receiver.next().await {
        let message = PeerMessage::from_frame(&frame).map_err(|error| error.to_string())?;
        server.node.receive_message(from, message);
    }
    Ok(())
}

/// The rows of a snapshot and the message that announces them, which is stepped once they are whole and durable. The end of
/// the answer says so; what is not taken now is given up with its stream alone.
async fn snapshot(
    server: &Server,
    from: u64,
    sender: FrameSender,
    receiver: &mut FrameReceiver,
) -> Result<(), String> {
    match server.node.intake.receive(from, receiver).await {
        Ok((message, rows)) => {
            server.node.receive_snapshot(message, rows);
            sender.finish();
            Ok(())
        }
        Err(why @ IntakeError::NotNow(_)) => {
            tracing::warn!(%why, "a snapshot is not taken now");
            sender.reset(CloseCode::Busy);
            Ok(())
        }
        Err(why) => {
            tracing::warn!(%why, "a snapshot is not taken");
            Err(why.to_string())
        }
    }
}

async fn question(server: Server, sender: FrameSender, mut receiver: FrameReceiver) {
    let Ok(Some(frame)) = receiver.next().await else { return };
    // A question of a later build gets no answer, which its asker takes for "not now".
    if let Ok(question) = PeerQuestion::from_frame(&frame) {
        answer::answer(&server, (sender, receiver), question).await;
    }
}
