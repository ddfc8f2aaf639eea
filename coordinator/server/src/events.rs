//! Events for watchers: kept in memory, resumed by revision.

use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::sync::broadcast;
use trimaran_engine::Event;
use trimaran_model::limits::EVENTS_KEPT_MAX;
use trimaran_model::time::Wall;
use trimaran_wire::document::{EventDocument, ReasonDocument, rfc3339};
use trimaran_wire::v1::agent::Progress;
use trimaran_wire::v1::common::{WireReason, WireRun};

use crate::node::Applied;

/// One event as watchers get it.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) revision: u64,
    pub(crate) run: Option<String>,
    pub(crate) json: String,
}

/// The last events of this process.
pub(crate) struct EventLog {
    kept: Mutex<VecDeque<Told>>,
    live: broadcast::Sender<Told>,
}

impl EventLog {
    pub(crate) fn new() -> Self {
        Self { kept: Mutex::default(), live: broadcast::channel(4096).0 }
    }

    /// Takes the events of an entry.
    pub(crate) fn take(&self, applied: &Applied) {
        for event in &applied.events {
            let Some(document) = document(applied, event) else { continue };
            let json = serde_json::to_string(&document).expect("documents are plain data");
            self.push(Told { revision: applied.revision, run: document.run, json });
        }
    }

    /// Live progress, which is not of the log; it carries the newest revision.
    pub(crate) fn progress(&self, revision: u64, wall: Wall, progress: &Progress) {
        let document = EventDocument {
            schema: "trimaran.event/v1".to_owned(),
            revision,
            at: rfc3339(wall),
            event: "instances".to_owned(),
            run: None,
            stage: None,
            instance: None,
            status: None,
            message: Some(format!("{} of {} hosts", progress.done, progress.total)),
            reasons: Vec::new(),
        };
        let json = serde_json::to_string(&document).expect("documents are plain data");
        self.push(Told { revision, run: None, json });
    }

    fn push(&self, told: Told) {
        let mut kept = self.kept.lock().expect("no panic while the lock is held");
        if kept.len() >= EVENTS_KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(told.clone());
        // Without watchers nobody has to be told.
        let _ = self.live.send(told);
    }

    /// What came after `since`, and everything that comes from now on, without a gap between.
    pub(crate) fn follow(&self, since: Option<u64>) -> (Vec<Told>, broadcast::Receiver<Told>) {
        let kept = self.kept.lock().expect("no panic while the lock is held");
        let live = self.live.subscribe();
        let past = match since {
            Some(since) => kept.iter().filter(|told| told.revision > since).cloned().collect(),
            None => Vec::new(),
        };
        (past, live)
    }
}

fn run_name(run: &WireRun) -> String {
    format!("{}#{}", run.pipeline, run.number)
}

fn reason(it: &WireReason) -> ReasonDocument {
    let time = |ms: i64| rfc3339(Wall(ms));
    ReasonDocument {
        code: it.code.clone(),
        message: it.message.clone(),
        since: time(it.since),
        clears: it.clears.clone(),
        who: it.who.clone(),
        next_check: it.next_check.map(time),
    }
}

/// The document of an event; `None` for those that are not for people.
fn document(applied: &Applied, event: &Event) -> Option<EventDocument> {
    let blank = |kind: &str| EventDocument {
        schema: "trimaran.event/v1".to_owned(),
        revision: applied.revision,
        at: rfc3339(applied.wall),
        event: kind.to_owned(),
        run: None,
        stage: None,
        instance: None,
        status: None,
        message: None,
        reasons: Vec::new(),
    };
    Some(match event {
        Event::Run { run, status } => {
            EventDocument { run: Some(run_name(run)), status: Some(status.clone()), ..blank("run") }
        }
        Event::Stage { run, stage, status, reasons } => EventDocument {
            run: Some(run_name(run)),
            stage: Some(stage.clone()),
            status: Some(status.clone()),
            reasons: reasons.iter().map(reason).collect(),
            ..blank("stage")
        },
        Event::Progress { run, stage, done, total } => EventDocument {
            run: Some(run_name(run)),
            stage: Some(stage.clone()),
            message: Some(format!("{done} of {total} hosts")),
            ..blank("progress")
        },
        Event::Installation { installation, health } => EventDocument {
            message: Some(format!("{} on {}", installation.pipeline, installation.target)),
            status: Some(health.clone()),
            ..blank("installation")
        },
        Event::Agent { agent, state } => {
            EventDocument { message: Some(agent.clone()), status: Some(state.clone()), ..blank("agent") }
        }
        Event::AgentWork { .. } | Event::Revoked { .. } | Event::Superseded { .. } => return None,
    })
}
