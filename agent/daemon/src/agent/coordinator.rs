//! The session with a coordinator: dialed again and again, frames both ways, questions on streams of their own.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use trimaran_model::limits::SESSION_QUEUE_MAX;
use trimaran_targets::Platforms;
use trimaran_transport::{CloseCode, FrameReceiver, Session};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::agent::AgentDown;

use super::drivers::{AgentPlatform, Drivers};
use super::event::Event;
use super::queries;
use crate::dial::Dialer;

/// A coordinator that is silent for longer than an agent's ping takes to come round is left, when there is another one.
const SILENT_AFTER: Duration = Duration::from_millis(3500);
const SILENCE_CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// Keeps a session open until the loop is gone.
pub(crate) async fn dial(
    mut dialer: Dialer,
    events: mpsc::Sender<Event>,
    platforms: Platforms<AgentPlatform>,
    current: watch::Sender<Option<Session>>,
) {
    loop {
        let session = match dialer.dial().await {
            Ok(session) => session,
            Err(failure) => return drop(events.send(Event::Ended(failure)).await),
        };
        let address = session.remote_address();
        tracing::info!(%address, "connected to a coordinator");
        current.send_replace(Some(session.clone()));
        serve(&session, &events, &platforms, dialer.has_choice()).await;
        current.send_replace(None);
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

async fn serve(
    session: &Session,
    events: &mpsc::Sender<Event>,
    platforms: &Platforms<AgentPlatform>,
    has_choice: bool,
) {
    let Ok((sender, receiver)) = session.open_stream().await else { return };
    let (out, queue) = mpsc::channel(SESSION_QUEUE_MAX);
    if events.send(Event::Connected { session: session.clone(), out }).await.is_err() {
        return;
    }
    tokio::select! {
        () = super::send_all(sender, queue) => {}
        () = receive(receiver, session, events) => {}
        () = queries::answer::<Drivers, _>(session, platforms) => {}
        () = silence(session), if has_choice => tracing::warn!("the coordinator is silent; another one is dialed"),
    }
}

/// Ends once the coordinator has been silent for long. Each of the agent's pings is acknowledged.
async fn silence(session: &Session) {
    while session.silent_for() < SILENT_AFTER {
        tokio::time::sleep(SILENCE_CHECK_INTERVAL).await;
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
