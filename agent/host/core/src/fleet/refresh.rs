//! What a host is to the index of its assignment: a function of its record and of what is kept.
//!
//! Architecture invariant: whoever changes a host, its failure or its fault calls [`Phase::refresh`]. The tests recount
//! after each step.

use trimaran_model::action::{Action, Failure};
use trimaran_model::assignment::HostState;
use trimaran_model::id::HostName;
use trimaran_model::limits::HOST_LOST_AFTER;

#[cfg(test)]
use super::host_index::HostIndex;
use super::host_index::{Class, Entry, Need};
use super::host_state::{HostProgress, HostRecord};
use super::progress::weight;
use super::{Phase, Sent};

impl Phase {
    /// Puts a host where it belongs now.
    pub(super) fn refresh(&mut self, host: &HostName) {
        // A failure that a coordinator kept may be of a host that left the target meanwhile.
        let Some(record) = self.hosts.get(host) else { return };
        let entry = self.entry(host, record);
        self.index.put(host, entry);
    }

    /// The index as it is when all hosts are counted again.
    #[cfg(test)]
    pub(super) fn recounted(&self) -> HostIndex {
        let mut index = HostIndex::new(&self.assignment, &self.kept);
        for (host, record) in &self.hosts {
            index.calls.extend(record.calls().map(|call| (call, host.clone())));
            index.insert(host, self.entry(host, record));
        }
        index
    }

    fn entry(&self, host: &HostName, record: &HostRecord) -> Entry {
        let progress = record.progress(host, self.desired());
        let (has_failed, is_left_behind) = (self.has_failed(host), self.is_left_behind(host));
        let class = match &progress {
            // What it takes was paid for when it was left behind.
            progress if *progress != HostProgress::Done && is_left_behind => Class::LeftBehind,
            HostProgress::InFlight => Class::InFlight { begun: has_begun(record) },
            _ if has_failed => Class::Failed,
            HostProgress::Done => Class::Done,
            HostProgress::Open => Class::Open(self.index.turn(host, record.is_up()), self.need(record)),
            HostProgress::Unprepared(_) => {
                Class::Open(self.index.turn(host, record.is_up()), Need::OtherBytes)
            }
            HostProgress::Absent => Class::Absent,
            HostProgress::Elsewhere => Class::Elsewhere,
            HostProgress::Bad(_) => Class::Failed,
        };
        let waits = matches!(class, Class::InFlight { .. } | Class::Absent) && !record.connected;
        let limit = if waits { self.silence(host, record, &progress) } else { None };
        let waited_until = limit.map(|limit| record.since + limit);
        let can_be_lost = record.observed && !has_failed && self.lost_of(host).is_none();
        let misses_nothing = progress == HostProgress::Elsewhere && record.has_nothing();
        let is_down = progress != HostProgress::InFlight && !record.is_up() && !misses_nothing;
        let is_unknown = class == Class::Absent && !record.was_connected;
        Entry {
            class,
            observed: record.observed,
            failed: has_failed && !is_left_behind,
            down: is_down && class != Class::LeftBehind,
            weight: weight(self.status(host, record, &progress)),
            waited_until,
            silent_at: waited_until.filter(|_| can_be_lost),
            unknown_until: is_unknown.then(|| record.since + HOST_LOST_AFTER),
        }
    }

    /// The bytes of the release must be there before a slot is taken. What is brought back is there already.
    fn need(&self, record: &HostRecord) -> Need {
        let Action::Release(digest) = self.assignment.action else { return Need::Nothing };
        let report = record.report.as_ref();
        let is_there = report.is_some_and(|it| it.prepared == Some(digest) || it.current == Some(digest));
        match record.prepare {
            _ if is_there => Need::Nothing,
            Sent::No => Need::Bytes,
            Sent::Calling(_) | Sent::Uncertain | Sent::Accepted => Need::OrderedBytes,
        }
    }

    /// Failed before this assignment or in it.
    pub(crate) fn has_failed(&self, host: &HostName) -> bool {
        self.index.charges.has_failed(host)
    }

    pub(crate) fn failure_of(&self, host: &HostName) -> Option<&Failure> {
        self.kept.failures.get(self.index.charges.failure(host)?)
    }

    /// Why a host was left behind, when it was.
    pub(crate) fn lost_of(&self, host: &HostName) -> Option<&Failure> {
        self.kept.lost.get(self.lost_place(host)?)
    }

    pub(super) fn lost_place(&self, host: &HostName) -> Option<usize> {
        self.index.charges.lost(host)
    }
}

/// What ran there has made way.
fn has_begun(record: &HostRecord) -> bool {
    record.report.as_ref().is_some_and(|it| it.state == HostState::Updating)
}
