//! Events for watchers as documents, and how they reach those who watch now.
//!
//! Live progress has no position: it is not of the log, and no one resumes from it.
//!
//! Not here: which events are kept, and who gets which of them (`trimaran_member::event_log`).

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::broadcast;
use trimaran_engine::Event;
use trimaran_engine::state::assignment::LiveAssignment;
use trimaran_engine::state::stage::Stage;
use trimaran_member::event_log::{self, Bounds, Cursor, Kept, Output};
use trimaran_member::{Applied, StateChange};
use trimaran_model::event::EventPosition;
use trimaran_model::limits::EVENTS_LIVE_MAX;
use trimaran_model::target::PlatformKind;
use trimaran_model::time::WallTime;
use trimaran_query::StoredRun;
use trimaran_query::text::{self, Owner};
use trimaran_wire::document::{EventDocument, rfc3339};
use trimaran_wire::v1::agent::Progress;

/// One event as watchers get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RenderedEvent {
    /// None for live progress and for the present state in place of compacted events.
    pub(crate) position: Option<EventPosition>,
    // Many are kept: without the space that a string keeps to grow.
    pub(crate) run: Option<Box<str>>,
    pub(crate) json: Box<str>,
}

impl Kept for RenderedEvent {
    fn of(applied: &Applied, position: EventPosition, event: &Event) -> Self {
        render(Some(position), &document(applied, position, event))
    }

    fn bytes(&self) -> usize {
        self.json.len()
    }
}

/// The last events of this process.
pub(crate) struct EventLog(Mutex<Watched>);

struct Watched {
    log: event_log::EventLog<RenderedEvent>,
    live: broadcast::Sender<Arc<RenderedEvent>>,
}

/// What a watcher gets.
pub(crate) struct Follow {
    pub(crate) past: Vec<Arc<RenderedEvent>>,
    /// The present state has to be shown first; see [`event_log::Follow`].
    pub(crate) compacted: Option<EventPosition>,
    pub(crate) live: broadcast::Receiver<Arc<RenderedEvent>>,
    /// Which of `live` the watcher takes.
    pub(crate) cursor: Cursor,
}

impl EventLog {
    /// `revision` is what was applied before this process began.
    pub(crate) fn new(revision: u64) -> Self {
        let log = event_log::EventLog::new(revision, Bounds::default());
        Self(Mutex::new(Watched { log, live: broadcast::channel(EVENTS_LIVE_MAX).0 }))
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.0.lock()
    }

    /// Passes on what a change of the state made.
    pub(crate) fn on_change(&self, change: StateChange<'_>) {
        let (mut watched, mut out) = (self.lock(), Vec::new());
        watched.log.step(change, &mut out);
        for output in out {
            match output {
                // An error says that nothing watches.
                Output::Publish { event, .. } => drop(watched.live.send(event)),
                Output::EndWatches => watched.live = broadcast::channel(EVENTS_LIVE_MAX).0,
            }
        }
    }

    /// Whether someone watches now.
    pub(crate) fn is_watched(&self) -> bool {
        self.lock().live.receiver_count() > 0
    }

    /// Sends live progress to those who watch now.
    pub(crate) fn progress(&self, revision: u64, wall: WallTime, live: &LiveAssignment, progress: &Progress) {
        let what = if live.order.platform == PlatformKind::Hosts { "hosts" } else { "instances" };
        let document = EventDocument {
            run: Some(live.order.run.to_string()),
            stage: Some(live.order.stage.to_string()),
            message: Some(format!("{} of {} {what}", progress.done, progress.total)),
            ..blank(revision, None, wall, "instances")
        };
        // An error says that nothing watches.
        let _ = self.lock().live.send(Arc::new(render(None, &document)));
    }

    /// What came after `since`, and everything that comes from now on, without a gap between.
    pub(crate) fn follow(&self, since: Option<EventPosition>) -> Follow {
        let watched = self.lock();
        let event_log::Follow { past, compacted, cursor } = watched.log.follow(since);
        Follow { past, compacted, cursor, live: watched.live.subscribe() }
    }
}

fn render(position: Option<EventPosition>, document: &EventDocument) -> RenderedEvent {
    let json = serde_json::to_string(document).expect("documents are plain data");
    RenderedEvent { position, run: document.run.as_deref().map(Into::into), json: json.into() }
}

fn blank(revision: u64, position: Option<EventPosition>, wall: WallTime, event: &str) -> EventDocument {
    EventDocument {
        schema: "trimaran.event/v1".to_owned(),
        revision,
        position: position.map(|at| at.to_string()),
        at: rfc3339(wall),
        event: event.to_owned(),
        run: None,
        stage: None,
        instance: None,
        status: None,
        message: None,
        reasons: Vec::new(),
    }
}

/// What a watcher is shown in place of the events between `since` and `complete_after`: that they were compacted,
/// and the runs that changed since as they are. Resuming from `since` shows it again: a watcher that is cut off in
/// the middle of it misses nothing.
pub(crate) fn present_state(
    since: EventPosition,
    complete_after: EventPosition,
    runs: &[StoredRun],
    wall: WallTime,
) -> Vec<RenderedEvent> {
    let compacted = blank(since.revision, Some(since), wall, "compacted");
    let first = render(Some(since), &compacted);
    let states = runs.iter().flat_map(|run| run_state(run, complete_after.revision, wall));
    std::iter::once(first).chain(states).collect()
}

fn run_state(stored: &StoredRun, revision: u64, wall: WallTime) -> Vec<RenderedEvent> {
    let StoredRun { run, stages } = stored;
    let name = run.id.to_string();
    let one = |stage: &Stage| EventDocument {
        run: Some(name.clone()),
        stage: Some(stage.name.to_string()),
        status: Some(stage.status().as_str().to_owned()),
        reasons: text::reasons(&stage.reasons, Owner { run: &run.id, stage: Some(&stage.name) }),
        ..blank(revision, None, wall, "stage")
    };
    let whole = EventDocument {
        run: Some(name.clone()),
        status: Some(run.status.as_str().to_owned()),
        ..blank(revision, None, wall, "run")
    };
    stages.iter().map(one).chain([whole]).map(|document| render(None, &document)).collect()
}

/// The document of an event for people.
fn document(applied: &Applied, position: EventPosition, event: &Event) -> EventDocument {
    let blank = |kind: &str| blank(applied.revision, Some(position), applied.wall, kind);
    match event {
        Event::Run { run, status } => EventDocument {
            run: Some(run.to_string()),
            status: Some(status.as_str().to_owned()),
            ..blank("run")
        },
        Event::Stage { run, stage, status, reasons } => EventDocument {
            run: Some(run.to_string()),
            stage: Some(stage.to_string()),
            status: Some(status.as_str().to_owned()),
            reasons: text::reasons(reasons, Owner { run, stage: Some(stage) }),
            ..blank("stage")
        },
        Event::Progress { run, stage, done, total } => EventDocument {
            run: Some(run.to_string()),
            stage: Some(stage.to_string()),
            message: Some(format!("{done} of {total} hosts")),
            ..blank("progress")
        },
        Event::Installation { installation, health } => EventDocument {
            message: Some(installation.to_string()),
            status: Some(health.as_str().to_owned()),
            ..blank("installation")
        },
        Event::Agent { agent, state } => EventDocument {
            message: Some(agent.to_string()),
            status: Some(state.as_str().to_owned()),
            ..blank("agent")
        },
        Event::AgentWork { .. }
        | Event::AgentTargets { .. }
        | Event::AgentRunners { .. }
        | Event::AgentStanding { .. }
        | Event::Revoked(_)
        | Event::Superseded { .. } => unreachable!("it is not for people, and gets no position"),
    }
}

#[cfg(test)]
mod tests {
    use trimaran_model::id::{AgentName, RunId};
    use trimaran_model::limits::OPERATOR_REPLY_BYTES_MAX;
    use trimaran_model::run::Status;
    use trimaran_wire::codec::Message as _;
    use trimaran_wire::frame::Frame;
    use trimaran_wire::v1::operator::OperatorReply;

    use super::*;

    fn applied(revision: u64, statuses: &[Status]) -> Applied {
        let work = Event::AgentWork { agent: AgentName::new("lab").expect("a name"), assignment: None };
        let run = |status: &Status| Event::Run { run: run_id(), status: *status };
        let events = std::iter::once(work).chain(statuses.iter().map(run)).collect();
        Applied { revision, wall: WallTime(0), events }
    }

    fn run_id() -> RunId {
        "web#1".parse().expect("a run")
    }

    /// The stream of a watcher as its session carries it, cut off behind each of its bytes: it has the whole frames before
    /// the cut, and resumes behind the last of them.
    #[test]
    fn a_watcher_that_is_cut_off_at_any_byte_gets_every_event_once() {
        let log = EventLog::new(10);
        for (revision, statuses) in [
            (11, &[Status::Running][..]),
            (12, &[Status::Waiting, Status::Running]),
            (14, &[Status::RolledBack]),
        ] {
            log.on_change(StateChange::Applied(&applied(revision, statuses)));
        }
        let start = EventPosition::end_of(10);
        let all = log.follow(Some(start)).past;
        let frame = |event: &Arc<RenderedEvent>| {
            let (position, json) = (event.position.map(Into::into), event.json.to_string());
            OperatorReply::Event { position, json }.to_frame().encode()
        };
        let stream: Vec<u8> = all.iter().flat_map(frame).collect();
        for cut in 0..=stream.len() {
            let (mut rest, mut seen, mut last) = (&stream[..cut], Vec::new(), start);
            while let Ok((frame, behind)) = Frame::decode(rest, OPERATOR_REPLY_BYTES_MAX) {
                let reply = OperatorReply::from_frame(&frame).expect("a whole frame is a reply");
                let OperatorReply::Event { position: Some(position), json } = reply else {
                    panic!("{reply:?}")
                };
                (last, rest) = (position.into(), behind);
                seen.push(json);
            }
            let resumed = log.follow(Some(last));
            assert!(resumed.compacted.is_none());
            seen.extend(resumed.past.iter().map(|event| event.json.to_string()));
            let expected: Vec<String> = all.iter().map(|event| event.json.to_string()).collect();
            assert_eq!(seen, expected, "cut behind byte {cut} of {}", stream.len());
        }
    }

    #[test]
    fn what_is_gone_is_compacted_and_resuming_from_there_shows_the_state_again() {
        let log = EventLog::new(10);
        log.on_change(StateChange::Applied(&applied(12, &[Status::Running])));
        let since = EventPosition { revision: 3, ordinal: 1 };
        let follow = log.follow(Some(since));
        let complete_after = follow.compacted.expect("an earlier process had them");
        assert_eq!(complete_after, EventPosition::end_of(10));
        let shown = present_state(since, complete_after, &[], WallTime(0));
        assert_eq!(shown[0].position, Some(since));
        assert!(shown[0].json.contains(r#""event":"compacted""#), "{}", shown[0].json);
        assert_eq!(follow.past.len(), 1);
    }
}
