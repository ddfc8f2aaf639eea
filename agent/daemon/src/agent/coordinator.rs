//! The session with a coordinator: dialed again and again, frames both ways, questions on streams of their own.

use tokio::sync::mpsc;
use trimaran_model::limits::SESSION_QUEUE_MAX;
use trimaran_transport::{CloseCode, FrameReceiver, Session};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::agent::AgentDown;

use super::event::Event;
use super::hosts::LiveRunners;
use super::logs;
use crate::dial::Dialer;

/// Keeps a session open until the loop is gone.
pub(crate) async fn dial(mut dialer: Dialer, events: mpsc::Sender<Event>, runners: LiveRunners) {
    loop {
        let session = match dialer.dial().await {
            Ok(session) => session,
            Err(failure) => return drop(events.send(Event::Ended(failure)).await),
        };
        let address = session.remote_address();
        tracing::info!(%address, "connected to a coordinator");
        serve(&session, &events, &runners).await;
        session.close(CloseCode::Done, "");
        let reason = session.closed().await;
        if events.send(Event::Disconnected { session: session.id() }).await.is_err() {
            return;
        }
        if let Err(failure) = dialer.ended(&reason).await {
            return drop(events.send(Event::Ended(failure)).await);
        }
    }
}

async fn serve(session: &Session, events: &mpsc::Sender<Event>, runners: &LiveRunners) {
    let Ok((sender, receiver)) = session.open_stream().await else { return };
    let (out, queue) = mpsc::channel(SESSION_QUEUE_MAX);
    if events.send(Event::Connected { session: session.clone(), out }).await.is_err() {
        return;
    }
    tokio::select! {
        () = super::send_all(sender, queue) => {}
        () = receive(receiver, session, events) => {}
        () = logs::answer(session, runners) => {}
    }
}

async fn receive(mut receiver: FrameReceiver, session: &Session, events: &mpsc::Sender<Event>) {
    while let Ok(Some(frame)) = receiver.next().await {
        let message = match AgentDown::from_frame(&frame) {
            Ok(message) => message,
            Err(error) => return session.refuse_frame(&error.to_string()),
        };
        if events.send(Event::FromCoordinator { session: session.id(), message }).await.is_err() {
            return;
        }
    }
}
