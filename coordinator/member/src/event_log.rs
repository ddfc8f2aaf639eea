//! The last events of a process, each with its position, so that a watcher resumes behind the last one it saw and gets every
//! other once.
//!
//! [`EventLog::step`] takes what was applied and appends what goes to those who watch; [`EventLog::follow`] is what a watcher
//! begins with, and [`Cursor`] what it takes from then on. What an earlier process had, what a snapshot took the place of and
//! what fell off the ring is not here: whoever resumes from before is shown the present state in its place.
//!
//! Invariants: positions grow; an event that is kept is complete with all behind it; only events for people have one.
//!
//! Not here: what an event is to people ([`Kept`]), the present state, and how either reaches a watcher (the server).

use std::collections::VecDeque;
use std::sync::Arc;

use trimaran_engine::Event;
use trimaran_model::event::EventPosition;
use trimaran_model::limits::{EVENTS_BYTES_MAX, EVENTS_KEPT_MAX};

use crate::io::{Applied, StateChange};

/// An event as it is kept and shown.
pub trait Kept {
    /// The event of an applied entry, at its position.
    fn of(applied: &Applied, position: EventPosition, event: &Event) -> Self;

    /// The memory that it takes, about.
    fn bytes(&self) -> usize;
}

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub events: usize,
    pub bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { events: EVENTS_KEPT_MAX, bytes: EVENTS_BYTES_MAX }
    }
}

/// What has to happen, in the order of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output<E> {
    /// Everyone who watches gets it, by their [`Cursor`].
    Publish { position: EventPosition, event: Arc<E> },
    /// Everyone who watches ends, and comes again.
    EndWatches,
}

/// What a watcher begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follow<E> {
    pub past: Vec<Arc<E>>,
    /// `past` begins behind this and not behind what was asked for: the present state has to be shown first.
    pub compacted: Option<EventPosition>,
    /// For what is published from now on.
    pub cursor: Cursor,
}

/// How far a watcher is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(Option<EventPosition>);

impl Cursor {
    /// Whether the watcher has not seen what is at this position. It may have seen more than this coordinator has applied:
    /// another one was ahead.
    pub fn takes(&mut self, position: EventPosition) -> bool {
        let new = self.0.is_none_or(|seen| position > seen) || mutant!(RepeatEvents);
        if new {
            self.0 = Some(position);
        }
        new
    }
}

/// The log. See the documentation of the module.
#[derive(Debug)]
pub struct EventLog<E> {
    /// In the order of their positions.
    events: VecDeque<(EventPosition, Arc<E>)>,
    bytes: usize,
    bounds: Bounds,
    /// Every event after this position is here, up to what was applied.
    complete_after: EventPosition,
}

impl<E: Kept> EventLog<E> {
    /// `revision` is what was applied before this process began.
    pub fn new(revision: u64, bounds: Bounds) -> Self {
        let complete_after = EventPosition::end_of(revision);
        Self { events: VecDeque::new(), bytes: 0, bounds, complete_after }
    }

    /// Handles one change of the state.
    pub fn step(&mut self, change: StateChange<'_>, out: &mut Vec<Output<E>>) {
        match change {
            StateChange::Applied(applied) => self.on_applied(applied, out),
            StateChange::Missed { revision } => {
                self.events.clear();
                self.bytes = 0;
                if !mutant!(KeepPositions) {
                    self.complete_after = self.complete_after.max(EventPosition::end_of(revision));
                }
                out.push(Output::EndWatches);
            }
        }
    }

    fn on_applied(&mut self, applied: &Applied, out: &mut Vec<Output<E>>) {
        for (event, ordinal) in applied.events.iter().zip(0..) {
            let position = EventPosition { revision: applied.revision, ordinal };
            // The state that is shown in place of what was missed has it.
            if !is_for_people(event) || position <= self.complete_after {
                continue;
            }
            let event = Arc::new(E::of(applied, position, event));
            self.bytes += event.bytes();
            self.events.push_back((position, event.clone()));
            out.push(Output::Publish { position, event });
        }
        while self.events.len() > self.bounds.events || self.bytes > self.bounds.bytes {
            let Some((position, first)) = self.events.pop_front() else { break };
            self.bytes -= first.bytes();
            self.complete_after = position;
        }
    }

    /// What came after `since`; everything that is published from now on follows without a gap between.
    pub fn follow(&self, since: Option<EventPosition>) -> Follow<E> {
        let Some(since) = since else {
            return Follow { past: Vec::new(), compacted: None, cursor: Cursor(None) };
        };
        let seen = self.events.partition_point(|(position, _)| match mutant!(ResumeAtSeen) {
            true => *position < since,
            false => *position <= since,
        });
        let past = self.events.iter().skip(seen).map(|(_, event)| Arc::clone(event)).collect();
        let last = self.events.back().map(|(position, _)| *position);
        let compacted = (since < self.complete_after).then_some(self.complete_after);
        Follow { past, compacted, cursor: Cursor(last.max(compacted).max(Some(since))) }
    }
}

/// Where a watcher goes on that has seen everything up to `since`. `leader`: a revision of the leader from after it asked, when
/// there is a leader. What is ahead of the leader is of another history, which a backup took the place of: nothing of this one
/// was seen.
pub fn resume(since: EventPosition, leader: Option<u64>) -> EventPosition {
    match leader {
        Some(leader) if since.revision > leader => EventPosition::end_of(0),
        Some(_) | None => since,
    }
}

/// Those that are not are for sessions of agents and for handshakes.
fn is_for_people(event: &Event) -> bool {
    match event {
        Event::Run { .. }
        | Event::Stage { .. }
        | Event::Progress { .. }
        | Event::Installation { .. }
        | Event::Agent { .. } => true,
        Event::AgentWork { .. }
        | Event::AgentTargets { .. }
        | Event::AgentRunners { .. }
        | Event::AgentStanding { .. }
        | Event::Revoked(_)
        | Event::Superseded { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use trimaran_model::id::AgentName;
    use trimaran_model::run::Status;
    use trimaran_model::time::WallTime;

    use super::*;

    impl Kept for EventPosition {
        fn of(_: &Applied, position: EventPosition, _: &Event) -> Self {
            position
        }

        fn bytes(&self) -> usize {
            100
        }
    }

    /// An entry with an event of no one's interest and so many for people behind it.
    fn entry(revision: u64, events: usize) -> Applied {
        let work = Event::AgentWork { agent: AgentName::new("lab").expect("a name"), assignment: None };
        let run = Event::Run { run: "web#1".parse().expect("a run"), status: Status::Running };
        let events = std::iter::once(work).chain(std::iter::repeat_n(run, events)).collect();
        Applied { revision, wall: WallTime(0), events }
    }

    fn log_of(bounds: Bounds, entries: &[(u64, usize)]) -> EventLog<EventPosition> {
        let mut log = EventLog::new(10, bounds);
        for (revision, events) in entries {
            log.step(StateChange::Applied(&entry(*revision, *events)), &mut Vec::new());
        }
        log
    }

    fn past(follow: &Follow<EventPosition>) -> Vec<EventPosition> {
        follow.past.iter().map(|it| **it).collect()
    }

    fn position(text: &str) -> EventPosition {
        text.parse().expect("a position")
    }

    #[test]
    fn a_watcher_that_resumes_anywhere_gets_every_event_once() {
        let log = log_of(Bounds::default(), &[(11, 1), (12, 3), (14, 1)]);
        let all = log.follow(Some(EventPosition::end_of(10)));
        assert_eq!(all.compacted, None);
        assert_eq!(past(&all), ["11.1", "12.1", "12.2", "12.3", "14.1"].map(position));
        for (index, last) in past(&all).iter().enumerate() {
            let rest = log.follow(Some(*last));
            assert_eq!((rest.compacted, &rest.past[..]), (None, &all.past[index + 1..]));
        }
        assert_eq!(past(&log.follow(Some(position("12")))), [position("14.1")]);
    }

    #[test]
    fn a_watcher_that_is_ahead_takes_only_what_it_has_not_seen() {
        let mut log = log_of(Bounds::default(), &[(11, 1)]);
        let mut follow = log.follow(Some(position("12.1")));
        assert_eq!((follow.past.len(), follow.compacted), (0, None));
        let mut out = Vec::new();
        log.step(StateChange::Applied(&entry(12, 2)), &mut out);
        let mut taken = |it: &Output<EventPosition>| match it {
            Output::Publish { position, .. } => follow.cursor.takes(*position).then_some(*position),
            Output::EndWatches => None,
        };
        assert_eq!(out.iter().filter_map(&mut taken).collect::<Vec<_>>(), [position("12.2")]);
    }

    #[test]
    fn what_was_missed_is_compacted_and_what_is_late_of_it_is_not_shown() {
        let mut log = log_of(Bounds::default(), &[(11, 1)]);
        let mut out = Vec::new();
        log.step(StateChange::Missed { revision: 20 }, &mut out);
        // It was on its way here when the snapshot came.
        log.step(StateChange::Applied(&entry(12, 1)), &mut out);
        assert_eq!(out, [Output::EndWatches]);
        let follow = log.follow(Some(position("11.1")));
        assert_eq!((follow.past.len(), follow.compacted), (0, Some(position("20"))));
        log.step(StateChange::Applied(&entry(21, 1)), &mut out);
        assert_eq!(past(&log.follow(Some(position("20")))), [position("21.1")]);
    }

    #[test]
    fn the_ring_is_bounded_in_number_and_in_bytes() {
        for bounds in [Bounds { events: 3, bytes: 10_000 }, Bounds { events: 1000, bytes: 300 }] {
            let log = log_of(bounds, &[(11, 2), (12, 2), (13, 1)]);
            let follow = log.follow(Some(position("10")));
            assert_eq!(past(&follow), ["12.1", "12.2", "13.1"].map(position));
            assert_eq!(follow.compacted, Some(position("11.2")));
            assert_eq!(log.follow(follow.compacted).compacted, None);
        }
    }

    #[test]
    fn a_position_ahead_of_the_leader_is_of_another_history() {
        assert_eq!(resume(position("12.1"), Some(12)), position("12.1"));
        assert_eq!(resume(position("12.1"), None), position("12.1"), "no one knows better");
        assert_eq!(resume(position("12.1"), Some(11)), position("0"));
    }
}
