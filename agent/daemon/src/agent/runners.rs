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
        match session.alpn() {
            Alpn::Runner => tasks.spawn(serve(session, events.clone())),
            Alpn::Enroll => {
                let relay = relay.clone();
                tasks.spawn(async move { relay.serve(session).await });
            }
            Alpn::Peer | Alpn::Agent | Alpn::Operator => {
                session.close(CloseCode::Protocol, "an agent does not serve this protocol");
            }
        }
    }
    // An agent without `--listen` serves no one.
    std::future::pending().await
}

/// Thousands of these wait at the same time, nearly all for the next message: what is needed only now and then, as the
/// message itself, has no place in them.
async fn serve(session: Session, events: mpsc::Sender<Event>) {
    let greeting = Box::pin(greet(&session, &events));
    let Some(Greeted { host, sender, receiver, queue }) = greeting.await else { return };
    tokio::select! {
        () = send_all(sender, queue, (&session, &host), &events) => {}
        () = receive(receiver, &session, &host, &events) => {}
    }
    // Both loops also end when the session does; otherwise it is of no use any more.
    session.close(CloseCode::Done, "");
    if let Ok(place) = events.reserve().await {
        place.send(Event::Runner { host, event: RunnerEvent::Gone { session: session.id() } });
    }
}

/// A session of a runner that has greeted.
struct Greeted {
    host: HostName,
    sender: FrameSender,
    receiver: FrameReceiver,
    /// What the loop sends to it.
    queue: mpsc::Receiver<ToRunner>,
}

/// Waits for the hello, and passes it on.
async fn greet(session: &Session, events: &mpsc::Sender<Event>) -> Option<Greeted> {
    let Some(Identity::Runner(host)) = session.identity().cloned() else {
        session.close(CloseCode::Certificate, "only runners are served here");
        return None;
    };
    let Ok(Ok((sender, mut receiver))) = timeout(HELLO_TIMEOUT, session.accept_stream()).await else {
        session.close(CloseCode::Protocol, "a session of a runner starts with its hello");
        return None;
    };
    let Ok(Ok(Some(frame))) = timeout(HELLO_TIMEOUT, receiver.next()).await else { return None };
    let (out, queue) = mpsc::channel(SESSION_QUEUE_MAX);
    let event = match RunnerUp::from_frame_within::<RUNNER_MESSAGE_MEMORY_MAX>(&frame) {
        Ok(RunnerUp::Hello { incarnation, address, reports, facts }) => {
            RunnerEvent::Hello { session: session.clone(), incarnation, address, reports, facts, out }
        }
        Ok(_) => {
            session.refuse_frame("a session of a runner starts with its hello");
            return None;
        }
        Err(error) => {
            session.refuse_frame(&error.to_string());
            return None;
        }
    };
    events.send(Event::Runner { host: host.clone(), event }).await.ok()?;
    Some(Greeted { host, sender, receiver, queue })
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
            ToRunner::Goal(goal) if goal.permit.allows(boot_time()) => goal.goal.to_frame(goal.sequence),
            ToRunner::Goal(goal) => {
                let Ok(place) = events.reserve().await else { return };
                let event = RunnerEvent::Unsent { session: session.id(), sequence: goal.sequence };
                place.send(Event::Runner { host: host.clone(), event });
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
        let delay = pace.delay(Instant::now());
        if !delay.is_zero() {
            Box::pin(tokio::time::sleep(delay)).await;
        }
        // Until there is a place the message stays in its bytes.
        let Ok(place) = events.reserve().await else { return };
        match RunnerUp::from_frame_within::<RUNNER_MESSAGE_MEMORY_MAX>(&frame) {
            Ok(message) => {
                let event = RunnerEvent::Message { session: session.id(), message };
                place.send(Event::Runner { host: host.clone(), event });
            }
            Err(error) => return session.refuse_frame(&error.to_string()),
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
