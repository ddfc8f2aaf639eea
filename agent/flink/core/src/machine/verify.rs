//! The window in which a job that was begun has to show that it works, and what a job that is left has done.

use trimaran_model::action::Outcome;
use trimaran_model::pipeline::FlinkHealth;
use trimaran_model::time::{Millis, Timestamp};

use super::Effects;
use super::phase::{Left, Phase, Seen, Step};
use crate::call::{JobState, Measured, Sample};
use crate::health::{Judgment, Window};
use crate::ledger::{Start, StateKind};
use crate::restore::{Cost, Precision, Processed, Records};

const SAMPLE_INTERVAL: Millis = Millis::seconds(1);
/// A new checkpoint is committed at most this often: what it is for, the loss of the JobManager, replays no more.
const CHECKPOINT_COMMITS: Millis = Millis::seconds(10);
/// What the JobManager shows of a job is as old as its `web.refresh-interval`, by default 3 s: for so long the end of a job
/// may not be shown.
const SHOWN_LATE_MAX: Millis = Millis::seconds(5);
const SHOWN_LATE_RETRY: Millis = Millis(500);

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
            Judgment::Healthy => self.on_healthy(now, out),
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

    /// What a job that is about to be left has processed, and its last checkpoint.
    pub(super) fn on_measured(&mut self, now: Timestamp, measured: Measured, out: &mut Effects) {
        if measured.state.is_none() {
            return self.observe_again(now);
        }
        let job = self.job();
        let time = match &job.from {
            Start::From(state) => measured.at - state.at,
            Start::Empty => Millis::ZERO,
        };
        self.processed = Some(Processed { records: records(&measured, &job.from), time });
        if let Some(state) = measured.last_checkpoint.and_then(|seen| self.checkpoint_ref(&seen)) {
            self.kept.ledger.checkpoint = Some(state);
            self.uncommitted = true;
        }
        self.decide(now, out);
    }

    /// The job works. What the one before it has processed is counted now that it has ended, and then the order is done.
    pub(super) fn on_healthy(&mut self, now: Timestamp, out: &mut Effects) {
        if self.has_to_ask_for_before() {
            return;
        }
        match &mut self.left {
            Some(left) if self.kept.abort.is_none() => {
                left.counting_since.get_or_insert(now);
                self.go(Step::Count);
            }
            Some(_) | None => self.finish(Outcome::Done, out),
        }
    }

    /// What the job that was left has processed; `None`: there is no answer.
    pub(super) fn on_counted(&mut self, now: Timestamp, measured: Option<&Measured>, out: &mut Effects) {
        let left = self.left.as_ref().expect("only then it is counted");
        let Some((measured, state)) = measured.and_then(|it| Some((it, it.state?))) else {
            // The JobManager is away, or was: whether the new job is still there comes first.
            self.left = None;
            return self.go(Step::Verify);
        };
        if !state.is_terminal() {
            // Shown as it was some seconds ago.
            let since = left.counting_since.expect("set before the first question");
            if now - since < SHOWN_LATE_MAX {
                self.pause = Some(now + SHOWN_LATE_RETRY);
                return;
            }
        }
        let repeated = records(measured, &left.began_from);
        self.note = Some(left.describe(repeated));
        self.left = None;
        self.finish(Outcome::Done, out);
    }
}

/// The numbers of a job that began from a state, and how exact they are.
fn records(measured: &Measured, from: &Start) -> Records {
    let Measured { at_sinks, at_sources, is_least, restarts, .. } = *measured;
    // A JobManager that was replaced counts anew, and begins with a checkpoint that it restores.
    let is_counted_anew = restarts == 0
        && measured.restored.is_some_and(|restored| match from {
            Start::Empty => restored.count > 0,
            Start::From(state) => {
                restored.count > 1 || (state.kind == StateKind::Savepoint && !restored.is_savepoint)
            }
        });
    let has_ended = measured.state.is_some_and(JobState::is_terminal);
    let precision = match is_least || is_counted_anew {
        true => Precision::AtLeast,
        false if has_ended => Precision::Exact,
        false => Precision::About,
    };
    Records { at_sinks, at_sources, precision }
}

impl Left {
    /// For people: where its successor began, and what that costs.
    pub(super) fn describe(&self, repeated: Records) -> String {
        let cost = Cost { repeated, ..self.cost };
        format!("going back to the savepoint {}: {}", self.to, cost.describe())
    }
}
