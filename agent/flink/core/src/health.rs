//! Whether a job that was started is healthy: a judgment of what the JobManager shows, sample by sample.
//!
//! `RUNNING` says nothing: a job is `RUNNING` before a task of it runs, and one that fails over and over is `RUNNING` for
//! much of the time. What counts is evidence that only a working job gives: all tasks run, checkpoints complete, and
//! both for half of the window without a restart. What the JobManager does not show is unknown, and unknown is not
//! healthy: the window is extended, and in the end there was no evidence.
//!
//! Failures come from the exception history, counted by their times: its length says nothing, because it keeps the last
//! 16, and a JobManager that was restarted begins it anew. So it does with the counts of checkpoints, which are
//! compared with what they were at the last restart of either.
//!
//! Deliberately not here: when samples are made, and what follows from the judgment.

use std::collections::{BTreeMap, VecDeque};

use trimaran_model::action::Failure;
use trimaran_model::limits::INSTANCE_MESSAGE_BYTES_MAX;
use trimaran_model::pipeline::FlinkHealth;
use trimaran_model::reason::ReasonCode;
use trimaran_model::text::cut;
use trimaran_model::time::{Millis, Timestamp, WallTime};

use crate::call::{CheckpointCounts, ExceptionSeen, JobState, Sample};

/// Over this time a job has to be `RUNNING` for [`RUNNING_PERCENT_MIN`] of the samples.
const SHARE_PERIOD: Millis = Millis::seconds(30);
const RUNNING_PERCENT_MIN: usize = 90;
/// So many failures with one cause are no accident, whatever the budget.
pub(crate) const SAME_CAUSE_MAX: u32 = 3;
/// The least by which a window is extended when evidence is missing.
const EXTENSION_MIN: Millis = Millis::minutes(1);
/// A job that is not known for so long is lost: a JobManager that has just started may still be reading its jobs.
pub const SETTLED_AFTER: Millis = Millis::seconds(10);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgment {
    /// It may still become either.
    Open,
    Healthy,
    /// The release is bad.
    Failed(Failure),
    /// The platform is; the release may be good.
    Fault(Failure),
    /// The JobManager answers and does not know the job.
    Lost,
}

/// The window of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    rules: FlinkHealth,
    bounded: bool,
    began: Timestamp,
    /// When all tasks ran for the first time.
    started: Option<Timestamp>,
    /// Since when all tasks run without a restart.
    undisturbed: Option<Timestamp>,
    /// Newest failure that was counted.
    counted: WallTime,
    /// Failures of the job, and how often each cause was seen.
    failures: u32,
    causes: BTreeMap<String, u32>,
    /// Failures of the platform.
    platform_failures: u32,
    last_cause: Option<(ReasonCode, String)>,
    /// `RUNNING` or not, since the first start.
    states: VecDeque<(Timestamp, bool)>,
    /// Counts of checkpoints when the job was last undisturbed for the first time, and at the last completed one.
    base: Option<Base>,
    completed: u64,
    failed_in_a_row: u64,
    checkpoint_failure: Option<String>,
    unknown_since: Option<Timestamp>,
    last_sample: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Base {
    completed: u64,
    failed: u64,
}

impl Window {
    /// A job that was started for this release: every failure of it counts.
    pub fn of_new_job(now: Timestamp, rules: FlinkHealth, bounded: bool) -> Self {
        Self {
            rules,
            bounded,
            began: now,
            started: None,
            undisturbed: None,
            counted: WallTime(i64::MIN),
            failures: 0,
            causes: BTreeMap::new(),
            platform_failures: 0,
            last_cause: None,
            states: VecDeque::new(),
            base: None,
            completed: 0,
            failed_in_a_row: 0,
            checkpoint_failure: None,
            unknown_since: None,
            last_sample: None,
        }
    }

    /// A job that runs since before: only failures after `since` count.
    pub fn of_running_job(now: Timestamp, rules: FlinkHealth, bounded: bool, since: WallTime) -> Self {
        Self { counted: since, ..Self::of_new_job(now, rules, bounded) }
    }

    /// Judges with one more sample; `None` when the JobManager did not answer.
    pub fn judge(&mut self, now: Timestamp, sample: Option<&Sample>) -> Judgment {
        let Some(sample) = sample else { return self.judge_unseen(now) };
        self.last_sample = Some(now);
        let Some(state) = sample.state else {
            let since = *self.unknown_since.get_or_insert(now);
            return if now - since >= SETTLED_AFTER { Judgment::Lost } else { Judgment::Open };
        };
        self.unknown_since = None;
        let new_failures = self.count_failures(sample.exceptions.as_deref().unwrap_or_default());
        if state.is_terminal() {
            return self.judge_end(state);
        }
        self.observe_tasks(now, sample, state, new_failures > 0);
        self.observe_checkpoints(sample.checkpoints.as_ref());
        if let Some(judgment) = self.judge_failures() {
            return judgment;
        }
        if self.has_no_checkpoints(sample) {
            let message = "checkpointing is not enabled; with `min_checkpoints: 0` the job is judged without"
                .to_owned();
            return Judgment::Failed(failure(ReasonCode::CheckpointingOff, message));
        }
        match self.started {
            None => self.judge_start(now),
            Some(started) => self.judge_window(now, started),
        }
    }

    /// When the next judgment can differ because of time alone.
    fn judge_unseen(&self, now: Timestamp) -> Judgment {
        let seen = self.last_sample.unwrap_or(self.began);
        if now - seen < self.length_max() {
            return Judgment::Open;
        }
        let message = format!("the JobManager did not answer for {}", now - seen);
        Judgment::Fault(failure(ReasonCode::JobmanagerUnreachable, message))
    }

    fn judge_end(&self, state: JobState) -> Judgment {
        if state == JobState::Finished && self.bounded {
            return Judgment::Healthy;
        }
        match &self.last_cause {
            Some((code, cause)) if state == JobState::Failed && is_platform(*code) => {
                Judgment::Fault(failure(*code, cause.clone()))
            }
            Some((_, cause)) if state == JobState::Failed => {
                Judgment::Failed(failure(ReasonCode::JobEnded, format!("FAILED: {cause}")))
            }
            _ => Judgment::Failed(failure(ReasonCode::JobEnded, format!("the job is {}", state.as_str()))),
        }
    }

    /// Counts failures that are newer than those before; how many there were.
    fn count_failures(&mut self, newest_first: &[ExceptionSeen]) -> usize {
        let new: Vec<&ExceptionSeen> =
            newest_first.iter().filter(|exception| exception.at > self.counted).collect();
        for exception in new.iter().rev() {
            let code = code_of(&exception.cause);
            if is_platform(code) {
                self.platform_failures += 1;
            } else {
                self.failures += 1;
                *self.causes.entry(exception.cause.clone()).or_default() += 1;
            }
            self.last_cause = Some((code, exception.cause.clone()));
        }
        self.counted =
            new.iter().map(|exception| exception.at).max().unwrap_or(self.counted).max(self.counted);
        new.len()
    }

    fn observe_tasks(&mut self, now: Timestamp, sample: &Sample, state: JobState, has_failed: bool) {
        // Details are older than the state by up to the refresh interval: both have to say it.
        let all_run = sample.tasks.is_some_and(|it| it.all_run());
        let runs = state == JobState::Running && !has_failed;
        if runs && all_run {
            self.started.get_or_insert(now);
            if self.undisturbed.is_none() {
                self.undisturbed = Some(now);
                self.base = None;
            }
        } else if !runs || sample.tasks.is_some() {
            self.undisturbed = None;
        }
        if self.started.is_some() {
            self.states.push_back((now, state == JobState::Running));
            while self.states.front().is_some_and(|(at, _)| now - *at > SHARE_PERIOD) {
                self.states.pop_front();
            }
        }
    }

    fn observe_checkpoints(&mut self, counts: Option<&CheckpointCounts>) {
        let Some(counts) = counts.filter(|_| self.undisturbed.is_some()) else { return };
        let now = Base { completed: counts.completed, failed: counts.failed };
        // A JobManager that was restarted counts from zero.
        let is_behind = |base: Base| now.completed < base.completed || now.failed < base.failed;
        let base = match self.base.filter(|base| !is_behind(*base)) {
            Some(base) => base,
            None => {
                (self.completed, self.failed_in_a_row) = (0, 0);
                now
            }
        };
        let completed = now.completed - base.completed;
        if completed > 0 {
            self.completed += completed;
            self.base = Some(now);
            self.failed_in_a_row = 0;
        } else {
            self.base = Some(base);
            self.failed_in_a_row = now.failed - base.failed;
        }
        self.checkpoint_failure.clone_from(&counts.failure);
    }

    fn judge_failures(&self) -> Option<Judgment> {
        let restarts = |cause: &str| {
            let message = format!("{} failures since it was started; the last: {cause}", self.failures);
            Judgment::Failed(failure(ReasonCode::JobRestarts, message))
        };
        if let Some((cause, _)) = self.causes.iter().find(|(_, times)| **times >= SAME_CAUSE_MAX) {
            return Some(restarts(cause));
        }
        let last = self.last_cause.as_ref().map_or("without an exception", |(_, cause)| cause.as_str());
        if self.failures > self.rules.max_restarts {
            return Some(restarts(last));
        }
        let running = self.states.iter().filter(|(_, runs)| *runs).count();
        let is_whole = self.states.front().zip(self.states.back());
        let is_whole =
            is_whole.is_some_and(|((first, _), (last, _))| *last - *first >= Millis(SHARE_PERIOD.0 * 9 / 10));
        if is_whole && running * 100 < self.states.len() * RUNNING_PERCENT_MIN && self.platform_failures == 0
        {
            return Some(restarts(last));
        }
        if self.failed_in_a_row > u64::from(self.rules.max_failed_checkpoints) {
            let why = self.checkpoint_failure.as_deref().unwrap_or("no cause was named");
            let message = format!("{} checkpoints in a row failed: {why}", self.failed_in_a_row);
            return Some(Judgment::Failed(failure(ReasonCode::CheckpointsFail, message)));
        }
        None
    }

    fn has_no_checkpoints(&self, sample: &Sample) -> bool {
        sample.checkpointing_off && self.undisturbed.is_some() && self.rules.min_checkpoints > 0
    }

    fn judge_start(&self, now: Timestamp) -> Judgment {
        if now - self.began < self.rules.start_timeout {
            return Judgment::Open;
        }
        let (code, cause) = match &self.last_cause {
            Some((code, cause)) if is_platform(*code) => (*code, cause.clone()),
            Some((_, cause)) => (ReasonCode::JobNotStarted, cause.clone()),
            None => (ReasonCode::JobNotStarted, "no exception was seen".to_owned()),
        };
        let message = format!("not all tasks ran within {}: {cause}", self.rules.start_timeout);
        let failure = failure(code, message);
        if is_platform(code) { Judgment::Fault(failure) } else { Judgment::Failed(failure) }
    }

    fn judge_window(&self, now: Timestamp, started: Timestamp) -> Judgment {
        let (window, enough) = (self.rules.window, u64::from(self.rules.min_checkpoints));
        let calm = self.undisturbed.map(|since| now - since);
        let is_calm = calm.is_some_and(|calm| calm.0 * 2 >= window.0);
        if now - started >= window && is_calm && self.completed >= enough {
            return Judgment::Healthy;
        }
        if now - started < self.length_max() {
            return Judgment::Open;
        }
        if let (None, Some((code, cause))) = (calm, &self.last_cause)
            && is_platform(*code)
        {
            return Judgment::Fault(failure(*code, cause.clone()));
        }
        if calm.is_some() && self.base.is_some() && self.completed < enough {
            let message =
                format!("{} of {enough} checkpoints completed in {}", self.completed, now - started);
            return Judgment::Failed(failure(ReasonCode::CheckpointsFail, message));
        }
        if !is_calm && let Some((_, cause)) = &self.last_cause {
            let message = format!("it was restarted again and again; the last failure: {cause}");
            return Judgment::Failed(failure(ReasonCode::JobRestarts, message));
        }
        let message = format!("the JobManager showed no evidence of its health for {}", now - started);
        Judgment::Fault(failure(ReasonCode::PausedUnknown, message))
    }

    /// How long a judgment may take once the job has started.
    fn length_max(&self) -> Millis {
        let window = self.rules.window.0;
        Millis((2 * window).max(window + EXTENSION_MIN.0))
    }
}

/// What a cause speaks of. Texts are Flink's.
pub(crate) fn code_of(cause: &str) -> ReasonCode {
    const LOST: [&str; 5] = [
        "Heartbeat of TaskManager",
        "is no longer reachable",
        "TaskManagerDisconnected",
        "Connection unexpectedly closed by remote task manager",
        "Lost connection to task manager",
    ];
    if cause.contains("NoResourceAvailableException")
        || cause.contains("Could not acquire the minimum required resources")
    {
        ReasonCode::SlotsMissing
    } else if LOST.iter().any(|text| cause.contains(text)) {
        ReasonCode::TaskmanagerLost
    } else {
        ReasonCode::JobRestarts
    }
}

pub(crate) fn is_platform(code: ReasonCode) -> bool {
    code.fault() == Some(trimaran_model::verdict::Fault::Platform)
}

pub(crate) fn failure(code: ReasonCode, message: String) -> Failure {
    Failure { code, message: cut(message, INSTANCE_MESSAGE_BYTES_MAX), instance: None }
}

#[cfg(test)]
mod tests;
