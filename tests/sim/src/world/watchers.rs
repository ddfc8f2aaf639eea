//! Watchers of events, who lose their connection at any moment and go on at any coordinator, which may be behind the one
//! before; and the event log that the server runs, of each process of a coordinator.
//!
//! Checked: all coordinators make the same events of an entry; a watcher gets every event, none twice and in their order; what a
//! watcher begins with is exactly what came since, and compacted is only what was applied before the process began, what a
//! snapshot took the place of, and what fell off the ring.
//!
//! Not here: documents and frames, which are of the server.

use std::collections::BTreeMap;
use std::ops::Bound;

use trimaran_engine::Event;
use trimaran_member::event_log::{Bounds, Cursor, EventLog, Follow, Kept, Output, resume};
use trimaran_member::{Applied, StateChange};
use trimaran_model::event::EventPosition;

use crate::random::Random;

const WATCHERS: usize = 3;
/// Few, so that some fall off.
const KEPT: Bounds = Bounds { events: 40, bytes: 1 << 20 };

/// What a watcher is shown of an event.
#[derive(Debug, Clone, PartialEq)]
struct Shown {
    position: EventPosition,
    event: Event,
}

impl Kept for Shown {
    fn of(_: &Applied, position: EventPosition, event: &Event) -> Self {
        Self { position, event: event.clone() }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
    }
}

/// A process of a coordinator.
struct Process {
    log: EventLog<Shown>,
    applied: u64,
    /// What it never had.
    missed: EventPosition,
}

/// A watcher goes on behind what it saw last.
#[derive(Debug, Clone, Copy)]
struct Watcher {
    since: EventPosition,
    /// What its connection began behind: what it saw, or a state that has everything up to here.
    shown: EventPosition,
    /// The coordinator that it watches.
    at: Option<(usize, Cursor)>,
}

/// Counts, so that a test can say that something happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchSeen {
    pub events: usize,
    pub resumed: usize,
    pub compacted: usize,
    /// Watchers that had seen more than the coordinator where they went on.
    pub ahead: usize,
}

impl WatchSeen {
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.resumed += other.resumed;
        self.compacted += other.compacted;
        self.ahead += other.ahead;
    }
}

pub(crate) struct Watchers {
    /// Of its own, so that what else happens in a world of one seed does not depend on it.
    random: Random,
    /// The events of each entry, as they were made first.
    entries: BTreeMap<u64, Vec<Event>>,
    /// Those of them that are for people.
    events: BTreeMap<EventPosition, Shown>,
    processes: Vec<Option<Process>>,
    watchers: [Watcher; WATCHERS],
    pub(crate) seen: WatchSeen,
}

impl Watchers {
    pub(crate) fn new(seed: u64, coordinators: usize) -> Self {
        let nothing = EventPosition::end_of(0);
        Self {
            random: Random::new(seed ^ 0x0E7E_0000_3A7C_4E55),
            entries: BTreeMap::new(),
            events: BTreeMap::new(),
            processes: (0..coordinators).map(|_| None).collect(),
            watchers: [Watcher { since: nothing, shown: nothing, at: None }; WATCHERS],
            seen: WatchSeen::default(),
        }
    }

    /// A process begins, on rows of a revision.
    pub(crate) fn start(&mut self, node: usize, revision: u64) {
        let log = EventLog::new(revision, KEPT);
        let missed = EventPosition::end_of(revision);
        self.processes[node] = Some(Process { log, applied: revision, missed });
    }

    pub(crate) fn crash(&mut self, node: usize) {
        self.processes[node] = None;
        for watcher in &mut self.watchers {
            watcher.at.take_if(|(at, _)| *at == node);
        }
    }

    /// The state of a coordinator has changed.
    pub(crate) fn on_change(&mut self, node: usize, change: StateChange<'_>) {
        self.note(change);
        let process = self.processes[node].as_mut().expect("it runs");
        match change {
            StateChange::Applied(applied) => process.applied = applied.revision,
            StateChange::Missed { revision } => {
                (process.applied, process.missed) = (revision, EventPosition::end_of(revision));
            }
        }
        let mut out = Vec::new();
        process.log.step(change, &mut out);
        for output in out {
            for number in 0..WATCHERS {
                let Some((at, cursor)) = &mut self.watchers[number].at else { continue };
                if *at != node {
                    continue;
                }
                match &output {
                    Output::Publish { position, event } => {
                        if cursor.takes(*position) {
                            self.show(number, event);
                        }
                    }
                    Output::EndWatches => self.watchers[number].at = None,
                }
            }
        }
    }

    /// What all coordinators make of an entry is the same.
    fn note(&mut self, change: StateChange<'_>) {
        let StateChange::Applied(Applied { revision, events, .. }) = change else { return };
        let known = self.entries.entry(*revision).or_insert_with(|| events.clone());
        assert_eq!(known, events, "what entry {revision} makes");
        for (event, ordinal) in events.iter().zip(0..) {
            let position = EventPosition { revision: *revision, ordinal };
            if is_for_people(event) {
                self.events.insert(position, Shown { position, event: event.clone() });
            }
        }
    }

    /// A watcher gets an event.
    fn show(&mut self, number: usize, shown: &Shown) {
        let watcher = &mut self.watchers[number];
        let seen = watcher.since.max(watcher.shown);
        let next = self.events.range((Bound::Excluded(seen), Bound::Unbounded)).next();
        let next = next.map(|(_, it)| it);
        assert_eq!(next, Some(shown), "the event behind {seen}");
        watcher.since = shown.position;
        self.seen.events += 1;
    }

    /// Some lose their connection, and those without one go on somewhere.
    pub(crate) fn moves(&mut self) {
        for number in 0..WATCHERS {
            if self.random.below(3) == 0 {
                self.watchers[number].at = None;
            }
            let node = usize::try_from(self.random.below(self.processes.len() as u64)).expect("few");
            if self.watchers[number].at.is_none() && self.processes[node].is_some() {
                self.resume(number, node);
            }
        }
    }

    fn resume(&mut self, number: usize, node: usize) {
        let since = self.watchers[number].since;
        let process = self.processes[node].as_ref().expect("it runs");
        let follow = process.log.follow(Some(since));
        let complete_after = self.complete_after(process);
        let expected = (since < complete_after).then_some(complete_after);
        assert_eq!(follow.compacted, expected, "what is compacted behind {since} at {node}");
        let behind = since.max(complete_after);
        let end = EventPosition::end_of(process.applied).max(behind);
        let came = self.events.range((Bound::Excluded(behind), Bound::Included(end)));
        let came: Vec<&Shown> = came.map(|(_, it)| it).collect();
        assert_eq!(
            follow.past.iter().map(|it| &**it).collect::<Vec<_>>(),
            came,
            "what came behind {since} at {node}"
        );
        self.seen.resumed += 1;
        self.seen.compacted += usize::from(expected.is_some());
        self.seen.ahead += usize::from(since.revision > process.applied);
        let Follow { past, compacted, cursor } = follow;
        self.watchers[number].shown = compacted.unwrap_or(since);
        for event in &past {
            // It may be cut off in the middle.
            if self.random.below(30) == 0 {
                return;
            }
            self.show(number, event);
        }
        self.watchers[number].at = Some((node, cursor));
    }

    /// Every event behind this is at a process that runs.
    fn complete_after(&self, process: &Process) -> EventPosition {
        let end = EventPosition::end_of(process.applied);
        let fell_off = self.events.range(..=end).rev().nth(KEPT.events).map(|(position, _)| *position);
        process.missed.max(fell_off.unwrap_or(process.missed))
    }

    /// A backup of a revision is restored: what came after it is of another history.
    pub(crate) fn restore(&mut self, revision: u64) {
        self.entries.split_off(&(revision + 1));
        self.events.split_off(&EventPosition { revision: revision + 1, ordinal: 0 });
        for watcher in &mut self.watchers {
            *watcher = Watcher { since: resume(watcher.since, Some(revision)), at: None, ..*watcher };
        }
    }

    /// Whoever goes on somewhere has everything in the end.
    pub(crate) fn check_end(&mut self) {
        let running = (0..self.processes.len()).filter(|node| self.processes[*node].is_some());
        for node in running.collect::<Vec<_>>() {
            for number in 0..WATCHERS {
                while self.watchers[number].at.is_none_or(|(at, _)| at != node) {
                    self.resume(number, node);
                }
                let applied = self.processes[node].as_ref().map_or(0, |process| process.applied);
                let last = self.events.range(..=EventPosition::end_of(applied)).next_back();
                let Watcher { since, shown, .. } = self.watchers[number];
                assert!(last.is_none_or(|(last, _)| *last <= since.max(shown)), "{last:?} is not seen");
            }
        }
    }
}

fn is_for_people(event: &Event) -> bool {
    matches!(
        event,
        Event::Run { .. }
            | Event::Stage { .. }
            | Event::Progress { .. }
            | Event::Installation { .. }
            | Event::Agent { .. }
    )
}
