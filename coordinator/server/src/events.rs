//! Events for watchers: kept in memory, resumed by revision. What an earlier process had is not
//! here; whoever resumes from before is shown the runs that changed since, as they are.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::broadcast;
use trimaran_engine::Event;
use trimaran_engine::state::assignment::LiveAssignment;
use trimaran_engine::state::stage::Stage;
use trimaran_model::limits::EVENTS_KEPT_MAX;
use trimaran_model::time::WallTime;
use trimaran_query::StoredRun;
use trimaran_query::text::{self, Owner};
use trimaran_wire::document::{EventDocument, rfc3339};
use trimaran_wire::v1::agent::Progress;

use crate::raft_loop::Applied;

/// One event as watchers get it.
#[derive(Debug, Clone)]
pub(crate) struct RenderedEvent {
    pub(crate) revision: u64,
    pub(crate) run: Option<String>,
    pub(crate) json: String,
}

/// The last events of this process.
pub(crate) struct EventLog(Mutex<Kept>);

struct Kept {
    rendered: VecDeque<RenderedEvent>,
    /// Every event after this revision is here.
    complete_after: u64,
    live: broadcast::Sender<RenderedEvent>,
}

/// What a watcher gets first.
pub(crate) struct Follow {
    pub(crate) past: Vec<RenderedEvent>,
    /// `past` is not all that came after the revision asked for: the runs that changed since have to be shown.
    pub(crate) gap: bool,
    pub(crate) live: broadcast::Receiver<RenderedEvent>,
}

impl EventLog {
    /// `revision` is what was applied before this process began.
    pub(crate) fn new(revision: u64) -> Self {
        let live = broadcast::channel(4096).0;
        Self(Mutex::new(Kept { rendered: VecDeque::new(), complete_after: revision, live }))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("no panic while the lock is held")
    }

    /// Takes the events of an entry.
    pub(crate) fn take(&self, applied: &Applied) {
        for event in &applied.events {
            let Some(document) = document(applied, event) else { continue };
            self.push(rendered(document));
        }
    }

    /// Live progress, which is not of the log; it carries the newest revision.
    pub(crate) fn progress(&self, revision: u64, wall: WallTime, live: &LiveAssignment, progress: &Progress) {
        self.push(rendered(EventDocument {
            run: Some(live.order.run.to_string()),
            stage: Some(live.order.stage.to_string()),
            message: Some(format!("{} of {} hosts", progress.done, progress.total)),
            ..blank(revision, wall, "instances")
        }));
    }

    fn push(&self, rendered: RenderedEvent) {
        let mut kept = self.lock();
        if kept.rendered.len() >= EVENTS_KEPT_MAX
            && let Some(first) = kept.rendered.pop_front()
        {
            kept.complete_after = first.revision;
        }
        kept.rendered.push_back(rendered.clone());
        // An error says that nothing watches.
        let _ = kept.live.send(rendered);
    }

    /// Events were lost: watchers end and come again, and are shown what changed.
    pub(crate) fn cut(&self, revision: u64) {
        let mut kept = self.lock();
        kept.rendered.clear();
        kept.complete_after = revision;
        kept.live = broadcast::channel(4096).0;
    }

    /// What came after `since`, and everything that comes from now on, without a gap between.
    pub(crate) fn follow(&self, since: Option<u64>) -> Follow {
        let kept = self.lock();
        let live = kept.live.subscribe();
        let Some(since) = since else { return Follow { past: Vec::new(), gap: false, live } };
        let past = kept.rendered.iter().filter(|rendered| rendered.revision > since).cloned().collect();
        Follow { past, gap: since < kept.complete_after, live }
    }
}

fn rendered(document: EventDocument) -> RenderedEvent {
    let json = serde_json::to_string(&document).expect("documents are plain data");
    RenderedEvent { revision: document.revision, run: document.run, json }
}

fn blank(revision: u64, wall: WallTime, event: &str) -> EventDocument {
    EventDocument {
        schema: "trimaran.event/v1".to_owned(),
        revision,
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

/// A run as it is, in place of the events that led to it.
pub(crate) fn catch_up(stored: &StoredRun, wall: WallTime) -> Vec<RenderedEvent> {
    let StoredRun { run, stages } = stored;
    let name = run.id.to_string();
    let one = |stage: &Stage| {
        rendered(EventDocument {
            run: Some(name.clone()),
            stage: Some(stage.name.to_string()),
            status: Some(stage.status().as_str().to_owned()),
            reasons: text::reasons(&stage.reasons, Owner { run: &run.id, stage: Some(&stage.name) }),
            ..blank(run.revision.0, wall, "stage")
        })
    };
    let mut all: Vec<RenderedEvent> = stages.iter().map(one).collect();
    all.push(rendered(EventDocument {
        run: Some(name.clone()),
        status: Some(run.status.as_str().to_owned()),
        ..blank(run.revision.0, wall, "run")
    }));
    all
}

/// What a watcher is shown first, by revision: a run as it is comes before the events of its last change.
pub(crate) fn merged(mut as_they_are: Vec<RenderedEvent>, past: Vec<RenderedEvent>) -> Vec<RenderedEvent> {
    as_they_are.extend(past);
    as_they_are.sort_by_key(|rendered| rendered.revision);
    as_they_are
}

/// The document of an event; `None` for those that are not for people.
fn document(applied: &Applied, event: &Event) -> Option<EventDocument> {
    let blank = |kind: &str| blank(applied.revision, applied.wall, kind);
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
        Event::AgentWork { .. } | Event::Revoked { .. } | Event::Superseded { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(revision: u64, json: &str) -> RenderedEvent {
        RenderedEvent { revision, run: None, json: json.to_owned() }
    }

    #[test]
    fn a_watcher_from_before_this_process_sees_revisions_in_order() {
        let log = EventLog::new(10);
        for (revision, json) in [(11, "first"), (12, "second"), (12, "third")] {
            log.push(at(revision, json));
        }
        let follow = log.follow(Some(3));
        assert!(follow.gap);
        let first = merged(vec![at(7, "old run"), at(12, "new run")], follow.past);
        let order: Vec<_> =
            first.iter().map(|rendered| (rendered.revision, rendered.json.as_str())).collect();
        let expected = [(7, "old run"), (11, "first"), (12, "new run"), (12, "second"), (12, "third")];
        assert_eq!(order, expected);
        assert!(!log.follow(Some(10)).gap);
    }
}
