//! The front door for runners: their sessions, and the enrolments and renewals that are relayed for them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use trimaran_model::id::{HostName, Identity};
use trimaran_model::limits::{
    RUNNER_MESSAGE_MEMORY_MAX, RUNNER_MESSAGES_BURST, RUNNER_MESSAGES_PER_SECOND, SESSION_QUEUE_MAX,
};
use trimaran_process::Tasks;
use trimaran_process::clock::boot_time;
use trimaran_transport::{Alpn, CloseCode, Endpoint, FrameReceiver, FrameSender, Session};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::runner::RunnerUp;

use super::event::{Event, RunnerEvent};
use super::hosts::ToRunner;
use super::relay::Relay;

/// A runner says who it is within this time.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Takes sessions until the process ends.
pub(crate) async fn accept(endpoint: Arc<Endpoint>, events: mpsc::Sender<Event>, relay: Relay, tasks: Tasks) {
    while let Some(session) = endpoint.accept().await {
        let (events, relay) = (events.clone(), relay.clone());
        tasks.spawn(async move {
            match session.alpn() {
                Alpn::Runner => serve(session, events).await,
                Alpn::Enroll => relay.serve(session).await,
                Alpn::Peer | Alpn::Agent | Alpn::Operator => {
                    session.close(CloseCode::Protocol, "an agent does not serve this protocol");
                }
            }
        });
    }
    // An agent without `--listen` serves no one.
    std::future::pending().await
}

async fn serve(session: Session, events: mpsc::Sender<Event>) {
    let Some(Identity::Runner(host)) = session.identity().cloned() else {
        return session.close(CloseCode::Certificate, "only runners are served here");
    };
    let Ok(Ok((sender, mut receiver))) = timeout(HELLO_TIMEOUT, session.accept_stream()).await else {
        return session.close(CloseCode::Protocol, "a session of a runner starts with its hello");
    };
    let Ok(Ok(Some(frame))) = timeout(HELLO_TIMEOUT, receiver.next()).await else { return };
    let hello = match RunnerUp::from_frame_within::<RUNNER_MESSAGE_MEMORY_MAX>(&frame) {
        Ok(RunnerUp::Hello { incarnation, address, reports, facts }) => {
            (incarnation, address, reports, facts)
        }
        Ok(_) => return session.refuse_frame("a session of a runner starts with its hello"),
        Err(error) => return session.refuse_frame(&error.to_string()),
    };
    let (incarnation, address, reports, facts) = hello;
    let (out, queue) = mpsc::channel(SESSION_QUEUE_MAX);
    let hello = RunnerEvent::Hello { session: session.clone(), incarnation, address, reports, facts, out };
    if events.send(Event::Runner { host: host.clone(), event: hello }).await.is_err() {
        return;
    }
    tokio::select! {
        () = send_all(sender, queue, (&session, &host), &events) => {}
        () = receive(receiver, &session, &host, &events) => {}
    }
    // Both loops also end when the session does; otherwise it is of no use any more.
    session.close(CloseCode::Done, "");
    let gone = RunnerEvent::Gone { session: session.id() };
    drop(events.send(Event::Runner { host, event: gone }).await);
}

/// Sends what comes into the queue until either end is gone. A goal that waited longer than its permit allows is not
/// sent: the lease is checked where the bytes leave.
async fn send_all(
    mut sender: FrameSender,
    mut queue: mpsc::Receiver<ToRunner>,
    (session, host): (&Session, &HostName),
    events: &mpsc::Sender<Event>,
) {
    while let Some(message) = queue.recv().await {
        let frame = match message {
            ToRunner::Message(message) => message.to_frame(),
            ToRunner::Goal { sequence, goal, permit } if permit.allows(boot_time()) => {
                goal.to_frame(sequence)
            }
            ToRunner::Goal { sequence, .. } => {
                let event = RunnerEvent::Unsent { session: session.id(), sequence };
                if events.send(Event::Runner { host: host.clone(), event }).await.is_err() {
                    return;
                }
                continue;
            }
        };
        if let Err(error) = sender.send(&frame).await {
            tracing::debug!(%error, "a message was not sent");
            return;
        }
    }
}

async fn receive(
    mut receiver: FrameReceiver,
    session: &Session,
    host: &HostName,
    events: &mpsc::Sender<Event>,
) {
    let mut pace = Pace::new(Instant::now());
    while let Ok(Some(frame)) = receiver.next().await {
        tokio::time::sleep(pace.delay(Instant::now())).await;
        let message = match RunnerUp::from_frame_within::<RUNNER_MESSAGE_MEMORY_MAX>(&frame) {
            Ok(message) => message,
            Err(error) => return session.refuse_frame(&error.to_string()),
        };
        let event = RunnerEvent::Message { session: session.id(), message };
        if events.send(Event::Runner { host: host.clone(), event }).await.is_err() {
            return;
        }
    }
}

/// Lets a burst of messages through, and then so many a second: no runner takes the loop from the others.
struct Pace {
    /// When everything before would have come at the even pace.
    even: Instant,
}

impl Pace {
    const EACH: Duration = Duration::from_nanos(1_000_000_000 / RUNNER_MESSAGES_PER_SECOND);

    fn new(now: Instant) -> Self {
        Self { even: now }
    }

    /// How long a message waits that came now.
    fn delay(&mut self, now: Instant) -> Duration {
        self.even = self.even.max(now) + Self::EACH;
        (self.even - now).saturating_sub(Self::EACH * RUNNER_MESSAGES_BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_at_once_and_then_the_pace_is_even() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        for _ in 0..RUNNER_MESSAGES_BURST {
            assert_eq!(pace.delay(now), Duration::ZERO);
        }
        assert_eq!(pace.delay(now), Pace::EACH);
        let second = Duration::from_secs(1);
        let later = now + second;
        let delays: Vec<Duration> = (0..RUNNER_MESSAGES_PER_SECOND).map(|_| pace.delay(later)).collect();
        assert_eq!(delays[0], Duration::ZERO, "a second later so many pass again");
        assert!(delays.iter().all(|delay| *delay <= 2 * Pace::EACH), "{delays:?}");
        assert!(pace.delay(now + Duration::from_secs(3600)).is_zero());
    }
}
