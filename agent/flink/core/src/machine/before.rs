//! The job before, which has ended, and may be there again.
//!
//! With high availability a JobManager writes a moment after it has shown the end of a job that it has ended. One that dies
//! in between begins that job again from its last checkpoint, beside whatever was begun since (seen with 1.20.5). It is
//! canceled wherever the list of jobs shows it: before a run, before an order that begins a job is done, and before a stop is.
//!
//! Not here: a job that comes back while its end is still waited for, which is the stop's or the cancel's own matter.

use trimaran_model::action::Outcome;
use trimaran_model::time::{Millis, Timestamp};

use super::Effects;
use super::phase::{Phase, Step};
use crate::call::JobOverview;
use crate::health::SETTLED_AFTER;

/// So long behind its end a job has ended for good: it takes a JobManager some milliseconds to write that down.
const ENDED_FOR_GOOD_AFTER: Millis = Millis::seconds(1);

impl Phase {
    /// Whether the job before is not there. One that is there is canceled first, and what asked asks again.
    pub(super) fn is_before_gone(&mut self, now: Timestamp, jobs: &[JobOverview]) -> bool {
        let Some(before) = self.kept.ledger.before else { return true };
        if !jobs.iter().any(|job| job.id == before && !job.state.is_terminal()) {
            self.before.gone_since.get_or_insert(now);
            return true;
        }
        self.before.gone_since = None;
        if self.kept.abort.is_some() && !self.is_in_between() {
            return true;
        }
        if self.before.canceled.is_none_or(|at| now - at >= SETTLED_AFTER) {
            self.before.asked_by = Some(self.step);
            self.go(Step::CancelBefore);
        } else {
            self.poll_later(now);
        }
        false
    }

    /// The cancel was sent, and perhaps received.
    pub(super) fn on_before_canceled(&mut self, now: Timestamp) {
        self.before.canceled = Some(now);
        self.go(self.before.asked_by.expect("it is canceled for a step"));
        self.poll_later(now);
    }

    /// The new job works: nothing else of the installation may.
    pub(super) fn has_to_ask_for_before(&mut self) -> bool {
        let has_to = self.kept.ledger.before.is_some() && !self.before.is_over;
        if has_to {
            self.go(Step::Before);
        }
        has_to
    }

    pub(super) fn on_before(&mut self, now: Timestamp, jobs: &[JobOverview], out: &mut Effects) {
        if self.is_before_gone(now, jobs) {
            self.before.is_over = true;
            self.on_healthy(now, out);
        }
    }

    /// A stop is done when the job stays away.
    pub(super) fn finish_stop(&mut self, now: Timestamp, out: &mut Effects) {
        let since = match self.kept.ledger.before {
            Some(_) => *self.before.gone_since.get_or_insert(now),
            None => return self.finish(Outcome::Done, out),
        };
        if now - since >= ENDED_FOR_GOOD_AFTER {
            return self.finish(Outcome::Done, out);
        }
        self.go(Step::Observe);
        self.pause = Some(since + ENDED_FOR_GOOD_AFTER);
    }
}
