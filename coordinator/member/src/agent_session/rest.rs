//! Reads that grow with the fleet. While changes come one after the other, each of them would be such a read; so one that
//! was made rests for some time, and what came in between is in the next one.

use trimaran_model::time::{Millis, Timestamp};

/// A rest is so many times as long as the read before it.
const REST: u64 = 9;

/// A read that is made again behind changes, and rests in between.
#[derive(Debug)]
pub(super) struct RestingRead {
    rest_min: Millis,
    /// What it finds may be something else since this revision.
    due: Option<u64>,
    rests_until: Timestamp,
    /// When the one that is in progress began.
    began: Option<Timestamp>,
}

impl RestingRead {
    pub(super) fn new(rest_min: Millis) -> Self {
        Self { rest_min, due: None, rests_until: Timestamp(0), began: None }
    }

    /// What it finds may be something else.
    pub(super) fn on_change(&mut self, revision: u64) {
        self.due = Some(revision);
    }

    /// When it is to be made: boot time.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.due.map(|_| self.rests_until)
    }

    /// The revision that it has to show, when it is due and the rest is over.
    pub(super) fn begin_when_due(&mut self, now: Timestamp) -> Option<u64> {
        (self.rests_until <= now).then(|| self.begin(now)).flatten()
    }

    /// As [`Self::begin_when_due`], but the rest ends now.
    pub(super) fn begin(&mut self, now: Timestamp) -> Option<u64> {
        let revision = self.due.take()?;
        self.began = Some(now);
        Some(revision)
    }

    /// It was made, by [`Self::begin`] or without it: then it needs no rest.
    pub(super) fn rest(&mut self, now: Timestamp) {
        if let Some(began) = self.began.take() {
            self.rests_until = now + Millis((now - began).0 * REST).max(self.rest_min);
        }
    }
}
