//! Events for watchers: kept in memory, each with its position, so that a watcher resumes behind the last one it
//! saw and gets every other once. What an earlier process had, or what fell off the ring, is not here: whoever
//! resumes from before is sent that events were compacted, and the present state.
//!
//! Live progress has no position: it is not of the log, and no one resumes from it.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::broadcast;
use trimaran_engine::Event;
use trimaran_engine::state::assignment::LiveAssignment;
use trimaran_engine::state::stage::Stage;
use trimaran_member::Applied;
use trimaran_model::event::EventPosition;
use trimaran_model::limits::{EVENTS_BYTES_MAX, EVENTS_KEPT_MAX, EVENTS_LIVE_MAX};
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

/// The last events of this process.
pub(crate) struct EventLog(Mutex<Kept>);

struct Kept {
    /// In the order of their positions, which all of them have.
    events: VecDeque<Arc<RenderedEvent>>,
    bytes: usize,
    /// Every event after this position is here.
    complete_after: EventPosition,
    live: broadcast::Sender<Arc<RenderedEvent>>,
}

/// What a watcher gets first.
pub(crate) struct Follow {
    pub(crate) past: Vec<Arc<RenderedEvent>>,
    /// `past` begins behind this and not behind what was asked for: the present state has to be shown.
    pub(crate) compacted: Option<EventPosition>,
    pub(crate) live: broadcast::Receiver<Arc<RenderedEvent>>,
}

impl EventLog {
    /// `revision` is what was applied before this process began.
    pub(crate) fn new(revision: u64) -> Self {
        let (live, complete_after) = (broadcast::channel(EVENTS_LIVE_MAX).0, EventPosition::end_of(revision));
        Self(Mutex::new(Kept { events: VecDeque::new(), bytes: 0, complete_after, live }))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock()
    }

    /// Adds the events of an entry.
    pub(crate) fn add(&self, applied: &Applied) {
        for (event, ordinal) in applied.events.iter().zip(0..) {
            let position = EventPosition { revision: applied.revision, ordinal };
            if let Some(document) = document(applied, position, event) {
                self.push(render(Some(position), &document));
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

    fn push(&self, event: RenderedEvent) {
        let event = Arc::new(event);
        let mut kept = self.lock();
        kept.bytes += event.json.len();
        kept.events.push_back(event.clone());
        while kept.events.len() > EVENTS_KEPT_MAX || kept.bytes > EVENTS_BYTES_MAX {
            let Some(first) = kept.events.pop_front() else { break };
            kept.bytes -= first.json.len();
            kept.complete_after = first.position.expect("only events with a position are kept");
        }
        // An error says that nothing watches.
        let _ = kept.live.send(event);
    }

    /// Events were lost: watchers end and come again, and are shown the present state.
    pub(crate) fn cut(&self, revision: u64) {
        let mut kept = self.lock();
        kept.events.clear();
        kept.bytes = 0;
        kept.complete_after = EventPosition::end_of(revision);
        kept.live = broadcast::channel(EVENTS_LIVE_MAX).0;
    }

    /// What came after `since`, and everything that comes from now on, without a gap between.
    pub(crate) fn follow(&self, since: Option<EventPosition>) -> Follow {
        let kept = self.lock();
        let live = kept.live.subscribe();
        let Some(since) = since else { return Follow { past: Vec::new(), compacted: None, live } };
        let seen = kept.events.partition_point(|event| event.position.is_some_and(|at| at <= since));
        let past = kept.events.iter().skip(seen).cloned().collect();
        Follow { past, compacted: (since < kept.complete_after).then_some(kept.complete_after), live }
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

/// The document of an event; `None` for those that are not for people.
fn document(applied: &Applied, position: EventPosition, event: &Event) -> Option<EventDocument> {
    let blank = |kind: &str| blank(applied.revision, Some(position), applied.wall, kind);
    Some(match event {
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
        | Event::AgentStanding { .. } => return None,
        Event::Revoked(_) | Event::Superseded { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use trimaran_model::id::{AgentName, EnvironmentName, RunId, StageName};
    use trimaran_model::limits::OPERATOR_REPLY_BYTES_MAX;
    use trimaran_model::run::Status;
    use trimaran_model::why::{Reason, Why};
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

    /// A stage that waits for so many environments.
    fn long(environments: usize) -> Event {
        let name = |it: usize| EnvironmentName::new(format!("environment-{it}")).expect("a name");
        let why = Why::After { environments: (0..environments).map(name).collect() };
        let reasons = vec![Reason { why, since: WallTime(0), next_check: None }];
        let stage: StageName = "prod/tokyo".parse().expect("a stage");
        Event::Stage { run: run_id(), stage, status: Status::Pending, reasons }
    }

    #[test]
    fn a_watcher_that_resumes_anywhere_gets_every_event_once() {
        let log = EventLog::new(10);
        for (revision, statuses) in [
            (11, &[Status::Running][..]),
            (12, &[Status::Waiting, Status::Running, Status::RollingBack]),
            (14, &[Status::RolledBack]),
        ] {
            log.add(&applied(revision, statuses));
        }
        let all = log.follow(Some(EventPosition::end_of(10)));
        assert!(all.compacted.is_none());
        assert_eq!(all.past.len(), 5);
        for (index, last) in all.past.iter().enumerate() {
            let rest = log.follow(last.position);
            assert!(rest.compacted.is_none());
            assert_eq!(rest.past, all.past[index + 1..], "resumed behind {:?}", last.position);
        }
        let within: Vec<_> = log.follow("12.2".parse().ok()).past;
        assert_eq!(within.len(), 2, "the rest of the entry and the next");
        assert_eq!(log.follow("12".parse().ok()).past.len(), 1);
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
            log.add(&applied(revision, statuses));
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
        log.add(&applied(12, &[Status::Running]));
        let since = EventPosition { revision: 3, ordinal: 1 };
        let follow = log.follow(Some(since));
        let complete_after = follow.compacted.expect("an earlier process had them");
        assert_eq!(complete_after, EventPosition::end_of(10));
        let shown = present_state(since, complete_after, &[], WallTime(0));
        assert_eq!(shown[0].position, Some(since));
        assert!(shown[0].json.contains(r#""event":"compacted""#), "{}", shown[0].json);
        assert_eq!(follow.past.len(), 1);
    }

    #[test]
    fn the_ring_is_bounded_in_bytes_and_live_progress_is_not_kept() {
        let log = EventLog::new(0);
        let events = vec![long(EVENTS_BYTES_MAX / 100)];
        for revision in 1..=16 {
            log.add(&Applied { revision, wall: WallTime(0), events: events.clone() });
        }
        let follow = log.follow(Some(EventPosition::end_of(0)));
        let kept: usize = follow.past.iter().map(|event| event.json.len()).sum();
        assert!(follow.past.len() < 16 && kept <= EVENTS_BYTES_MAX, "{} are kept", follow.past.len());
        let gone = follow.compacted.expect("the first ones are gone");
        assert_eq!(log.follow(Some(gone)).past.len(), follow.past.len());
    }
}
