//! The window in which a job that was begun has to show that it works, and what a job that is left has done.

use trimaran_model::action::Outcome;
use trimaran_model::pipeline::FlinkHealth;
use trimaran_model::time::{Millis, Timestamp};

use super::Effects;
use super::phase::{Phase, Seen, Step};
use crate::call::Sample;
use crate::health::{Judgment, Window};
use crate::restore::Processed;

const SAMPLE_INTERVAL: Millis = Millis::seconds(1);
/// A new checkpoint is committed at most this often: what it is for, the loss of the JobManager, replays no more.
const CHECKPOINT_COMMITS: Millis = Millis::seconds(10);

impl Phase {
    /// A job of this attempt has its whole window; one that ran before only has to run.
    pub(super) fn verify(&mut self, now: Timestamp, seen: Seen) {
        let rules = self.ordered().map(|release| release.job.health.clone()).unwrap_or_default();
        let window = if self.is_of_this_attempt() {
            Window::of_new_job(now, rules, self.is_bounded())
        } else {
            let rules = FlinkHealth { window: Millis::ZERO, min_checkpoints: 0, ..rules };
            Window::of_running_job(now, rules, self.is_bounded(), seen.at)
        };
        self.window = Some(window);
        self.go(Step::Verify);
    }

    pub(super) fn on_sample(&mut self, now: Timestamp, sample: Option<&Sample>, out: &mut Effects) {
        let window = self.window.as_mut().expect("a verification begins with a window");
        let judgment = window.judge(now, sample);
        if let Some(sample) = sample {
            self.note_checkpoint(now, sample, out);
        }
        match judgment {
            Judgment::Open => {
                self.pause = Some(now + SAMPLE_INTERVAL);
                if self.kept.abort.is_some() {
                    // What was begun is finished: whether it works is the next order's question.
                    self.finish(Outcome::Stopped, out);
                }
            }
            Judgment::Healthy => self.finish(Outcome::Done, out),
            Judgment::Failed(failure) | Judgment::Fault(failure) => self.fail(failure, out),
            Judgment::Lost => self.observe_again(now),
        }
    }

    /// Remembers the last checkpoint, for when the JobManager forgets it.
    fn note_checkpoint(&mut self, now: Timestamp, sample: &Sample, out: &mut Effects) {
        let last = sample.checkpoints.as_ref().and_then(|counts| counts.last.as_ref());
        let Some(state) = last.and_then(|seen| self.checkpoint_ref(seen)) else { return };
        if self.kept.ledger.checkpoint.as_ref() == Some(&state) {
            return;
        }
        self.kept.ledger.checkpoint = Some(state);
        self.uncommitted = true;
        if self.checkpoint_committed.is_none_or(|at| now - at >= CHECKPOINT_COMMITS) {
            self.checkpoint_committed = Some(now);
            self.commit_without_waiting(out);
        }
    }

    /// What a job that is left has processed, and its last checkpoint.
    pub(super) fn on_measured(&mut self, now: Timestamp, sample: &Sample, out: &mut Effects) {
        if sample.state.is_none() {
            return self.observe_again(now);
        }
        let from = self.job().from.clone();
        let records = sample.tasks.map(|tasks| tasks.records_out);
        // A job restores once when it begins from a state, and at each restart.
        let (time, begun) = match from {
            crate::ledger::Start::From(state) => (sample.at - state.at, 1),
            crate::ledger::Start::Empty => (Millis::ZERO, 0),
        };
        let restored = sample.checkpoints.as_ref().map(|counts| counts.restored);
        let has_failed = sample.exceptions.as_ref().is_some_and(|failures| !failures.is_empty());
        let is_least = has_failed || restored.is_some_and(|restored| restored > begun);
        self.processed = Some(Processed { records, time, is_least });
        let last = sample.checkpoints.as_ref().and_then(|counts| counts.last.as_ref());
        if let Some(state) = last.and_then(|seen| self.checkpoint_ref(seen)) {
            self.kept.ledger.checkpoint = Some(state);
            self.uncommitted = true;
        }
        self.decide(now, out);
    }
}
