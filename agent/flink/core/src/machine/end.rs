//! The end of the running job: stopped with a savepoint, or canceled.
//!
//! A stop has three witnesses that may disagree: its trigger, the job, and the directory, which holds nothing else. Only a
//! job that is seen to have ended, or is gone for good, makes a savepoint the installation's state: a complete savepoint of
//! a job that goes on is older than what that job has processed since.

use trimaran_model::action::{Action, Outcome};
use trimaran_model::pipeline::OnStopFailure;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Timestamp, WallTime};

use super::Effects;
use super::phase::{After, BeforeSeen, LEASE_RETRY, Phase, Seen, Step, StopSeen};
use crate::call::{Call, CheckpointSeen, JobOverview, JobState, SavepointSeen, TriggerState};
use crate::health::SETTLED_AFTER;
use crate::id::IdStep;
use crate::ledger::{Ending, Start, StateKind, StateRef};

/// Between a stop that failed and the next try, longer by as much each time: a JobManager takes two heartbeats to notice a
/// TaskManager that is lost, and fails every stop until then.
const STOP_RETRY_DELAY: Millis = Millis::seconds(5);

impl Phase {
    /// Begins to end the job: in the log first.
    pub(super) fn end_job(&mut self, ending: Ending, out: &mut Effects) {
        let step = match &ending {
            Ending::Stop { .. } => Step::Stop,
            Ending::Cancel { .. } => Step::Cancel,
        };
        self.kept.ledger.ending = Some(ending);
        let StopSeen { failed, refused_since, .. } = self.stop;
        self.stop = StopSeen { failed, refused_since, ..StopSeen::default() };
        self.cancel_sent = None;
        self.commit(After::Step(step), out);
    }

    /// The order was canceled before anything was sent: the job runs on.
    pub(super) fn undo_ending(&mut self, out: &mut Effects) {
        self.kept.ledger.ending = None;
        self.uncommitted = true;
        self.finish(Outcome::Stopped, out);
    }

    /// The order wants the job that an earlier one was about to end, and it goes on.
    fn keep_job(&mut self, out: &mut Effects) {
        self.kept.ledger.ending = None;
        self.commit(After::Decide, out);
    }

    /// A stop with a number of its own, into a directory of its own.
    pub(super) fn stop_job(&mut self, out: &mut Effects) {
        let trigger = self.kept.ledger.next_id(&self.order.installation, IdStep::Stop);
        let (root, pipeline) = (self.savepoints(), &self.order.installation.pipeline);
        let (run, attempt) = (self.order.run.number, self.order.attempt.0);
        let directory = format!("{root}/{pipeline}/{run}-{attempt}-{}", self.kept.ledger.number);
        self.end_job(Ending::Stop { trigger, directory }, out);
    }

    /// Where savepoints belong: as the cluster says, or where the stop went that is made again by whoever took it over.
    fn savepoints(&self) -> String {
        let of_stop = match &self.kept.ledger.ending {
            Some(Ending::Stop { directory, .. }) => directory.rsplitn(3, '/').nth(2),
            Some(Ending::Cancel { .. }) | None => None,
        };
        let known = self.prepared.cluster.as_ref().map(|cluster| cluster.savepoints.as_str()).or(of_stop);
        known.expect("a stop is prepared by asking for the cluster, or made again").to_owned()
    }

    pub(super) fn stop_call(&self) -> Call {
        match self.ending() {
            Ending::Stop { trigger, directory } => {
                Call::Stop { job: self.job_id(), trigger: *trigger, directory: directory.clone() }
            }
            Ending::Cancel { .. } => unreachable!("a cancel has steps of its own"),
        }
    }

    pub(super) fn stop_status_call(&self) -> Call {
        match self.ending() {
            Ending::Stop { trigger, .. } => Call::StopStatus { job: self.job_id(), trigger: *trigger },
            Ending::Cancel { .. } => unreachable!("a cancel has steps of its own"),
        }
    }

    pub(super) fn list_call(&self) -> Call {
        match self.ending() {
            Ending::Stop { directory, .. } => Call::List { directory: directory.clone() },
            Ending::Cancel { .. } => unreachable!("a cancel has steps of its own"),
        }
    }

    fn ending(&self) -> &Ending {
        self.kept.ledger.ending.as_ref().expect("the job is being ended")
    }

    /// It was sent, and perhaps received.
    pub(super) fn on_stop_sent(&mut self, now: Timestamp) {
        self.go(Step::StopStatus);
        self.poll_later(now);
    }

    pub(super) fn on_stop(
        &mut self,
        now: Timestamp,
        trigger: TriggerState,
        job: Option<JobState>,
        out: &mut Effects,
    ) {
        let since = *self.stop.since.get_or_insert(now);
        self.stop.job = job;
        if job.is_some() {
            self.absent_since = None;
        }
        let has_ended = job.is_none_or(JobState::is_terminal);
        match trigger {
            TriggerState::Saved { path } | TriggerState::Failed { path: Some(path), .. } => {
                if has_ended {
                    let at = self.stop.at.expect("it was asked about");
                    return self.stopped(path, at, out);
                }
                // It ends a moment later; one that does not was restarted in between.
                let since = *self.stop.goes_on_since.get_or_insert(now);
                if now - since < SETTLED_AFTER {
                    return self.poll_later(now);
                }
                self.stop_failed(now, "the savepoint was made and the job goes on".to_owned(), out);
            }
            TriggerState::NotReady { cause } if !has_ended => self.stop_refused(now, cause, out),
            // Whatever it was, a job in between refuses the next one too.
            TriggerState::Failed { cause, path: None } if job == Some(JobState::Between) => {
                self.stop_refused(now, cause, out);
            }
            TriggerState::Failed { cause, path: None } if !has_ended => self.stop_failed(now, cause, out),
            TriggerState::Failed { cause, path: None } | TriggerState::NotReady { cause } => {
                self.stop.cause = Some(cause);
                self.list_when_settled(now);
            }
            TriggerState::InProgress => {
                let timeout = self.ordered().map(|release| release.job.upgrade.timeout);
                if timeout.is_some_and(|timeout| now - since >= timeout) {
                    // It may still succeed: the next order finds it in the ledger.
                    let message =
                        format!("the stop of job {} is in progress for {}", self.job_id(), now - since);
                    return self.fault(ReasonCode::SavepointFailed, message, out);
                }
                self.poll_later(now);
            }
            TriggerState::Unknown => self.list_when_settled(now),
        }
    }

    /// Not all tasks run, as behind the end of a JobManager or of a TaskManager, so that every stop is refused: that is no
    /// try. The next one follows when they run. A job that does not get there in the time of the upgrade can't be stopped.
    fn stop_refused(&mut self, now: Timestamp, cause: String, out: &mut Effects) {
        if self.kept.abort.is_some() {
            return self.undo_ending(out);
        }
        self.stop.cause = Some(cause);
        self.stop.refused_since.get_or_insert(now);
        self.wait_for_tasks(now, out);
    }

    /// Asks for the tasks a moment later, unless that has gone on for too long or is of no use.
    fn wait_for_tasks(&mut self, now: Timestamp, out: &mut Effects) {
        let since = self.stop.refused_since.expect("tasks are waited for since a stop was refused");
        let timeout = self.ordered().map_or(Millis::ZERO, |release| release.job.upgrade.timeout);
        // A version that is left has to go in any case: a job that fails over and over is not waited for.
        let is_left =
            matches!(self.order.action, Action::Restore(_)) && self.stop.job != Some(JobState::Between);
        if is_left || now - since >= timeout {
            let cause = self.stop.cause.clone().expect("a refusal has a cause");
            return self.stop_failed(now, cause, out);
        }
        if self.step != Step::Tasks {
            self.go(Step::Tasks);
        }
        self.poll_later(now);
    }

    /// The tasks of a job whose stop was refused.
    pub(super) fn on_tasks(&mut self, now: Timestamp, jobs: &[JobOverview], out: &mut Effects) {
        if self.kept.abort.is_some() {
            return self.undo_ending(out);
        }
        let id = self.job_id();
        let job = jobs.iter().find(|job| job.id == id);
        self.stop.job = job.map(|job| job.state);
        // The list is not cached, unlike the details of a job.
        let all_run = job.and_then(|job| job.tasks).is_some_and(|it| it.all_run());
        match self.stop.job {
            Some(JobState::Running) if all_run => self.stop_job(out),
            Some(state) if !state.is_terminal() => self.wait_for_tasks(now, out),
            // Its end has one way to be found out.
            Some(_) | None => self.go(Step::StopStatus),
        }
    }

    /// The directory speaks when the trigger does not; but not of a job that may only not have come back yet.
    fn list_when_settled(&mut self, now: Timestamp) {
        if self.stop.job.is_none() {
            let since = *self.absent_since.get_or_insert(now);
            if now - since < SETTLED_AFTER {
                return self.poll_later(now);
            }
        }
        self.go(Step::List);
    }

    pub(super) fn on_savepoints(
        &mut self,
        now: Timestamp,
        savepoints: Vec<SavepointSeen>,
        out: &mut Effects,
    ) {
        let complete = savepoints.into_iter().filter(|it| it.is_complete).max_by_key(|it| it.modified);
        let goes_on = self.stop.job.is_some_and(|job| !job.is_terminal());
        match complete {
            _ if goes_on && self.kept.abort.is_some() => self.undo_ending(out),
            _ if goes_on && self.keeps_job() => self.keep_job(out),
            Some(_) if goes_on => {
                // The JobManager was restarted behind it: the job has processed records since.
                self.stop_job(out);
            }
            Some(savepoint) => self.stopped(savepoint.path, savepoint.modified, out),
            // Never received, or forgotten before it made anything: the same again does no harm.
            None if goes_on => {
                self.go(Step::Stop);
                self.pause = Some(now + LEASE_RETRY);
            }
            None => self.ended_without_savepoint(out),
        }
    }

    fn stopped(&mut self, path: String, at: WallTime, out: &mut Effects) {
        let state = StateRef { kind: StateKind::Savepoint, path, at, of: self.job().release };
        self.kept.ledger.add_state(state.clone());
        self.over(Start::From(state), out);
    }

    /// The job goes on after a stop.
    fn stop_failed(&mut self, now: Timestamp, cause: String, out: &mut Effects) {
        if self.kept.abort.is_some() {
            return self.undo_ending(out);
        }
        if self.keeps_job() {
            return self.keep_job(out);
        }
        self.stop.failed += 1;
        let Some(release) = self.ordered() else {
            return self.end_job(Ending::Cancel { then: None }, out);
        };
        let upgrade = release.job.upgrade.clone();
        if matches!(self.order.action, Action::Restore(_)) {
            // It has to go in any case.
            return self.end_job(Ending::Cancel { then: None }, out);
        }
        if self.stop.failed <= upgrade.retries {
            self.pause = Some(now + Millis(STOP_RETRY_DELAY.0 * u64::from(self.stop.failed)));
            return self.stop_job(out);
        }
        match upgrade.on_stop_failure {
            OnStopFailure::Fail => {}
            OnStopFailure::LastCheckpoint => return self.end_job(Ending::Cancel { then: None }, out),
            OnStopFailure::Stateless => {
                return self.end_job(Ending::Cancel { then: Some(Start::Empty) }, out);
            }
        }
        let message = format!("job {} could not be stopped and keeps running: {cause}", self.job_id());
        self.kept.ledger.ending = None;
        self.uncommitted = true;
        self.fault(ReasonCode::SavepointFailed, message, out);
    }

    /// The job is gone, and its savepoint was not finished.
    fn ended_without_savepoint(&mut self, out: &mut Effects) {
        let may_replay = match (&self.order.action, self.ordered()) {
            (Action::Release(_) | Action::Scale { .. } | Action::Restart(_), Some(release)) => {
                release.job.upgrade.on_stop_failure != OnStopFailure::Fail
            }
            (Action::Stop(_) | Action::Restore(_), _) => true,
            (Action::Verify | Action::Release(_) | Action::Scale { .. } | Action::Restart(_), _) => false,
        };
        if may_replay {
            let start = self.last_state();
            return self.over(start, out);
        }
        let Ending::Stop { directory, .. } = self.ending() else { unreachable!("a stop was listed") };
        let cause =
            self.stop.cause.clone().unwrap_or_else(|| "the JobManager has forgotten the stop".to_owned());
        let last = match self.last_state() {
            Start::From(state) => format!("the last state before is {}", state.path),
            Start::Empty => "there is no state before it".to_owned(),
        };
        let message = format!(
            "job {} ended without a finished savepoint in {directory} ({cause}); {last}",
            self.job_id()
        );
        self.kept.ledger.job.as_mut().expect("it was stopped").standing = crate::ledger::Standing::Lost;
        self.kept.ledger.ending = None;
        self.uncommitted = true;
        self.fault(ReasonCode::JobLost, message, out);
    }

    pub(super) fn on_cancel_sent(&mut self, now: Timestamp) {
        self.cancel_sent = Some(now);
        self.step = Step::Observe;
        self.polls = 0;
        self.poll_later(now);
    }

    pub(super) fn decide_canceling(&mut self, now: Timestamp, seen: Seen, out: &mut Effects) {
        match seen.job {
            // After a crash: a cancel that had been received would show.
            Some(JobState::Running | JobState::Restarting)
                if self.kept.abort.is_some() && self.cancel_sent.is_none() =>
            {
                self.undo_ending(out);
            }
            Some(state) if !state.is_terminal() => {
                let is_fresh = self.cancel_sent.is_some_and(|at| now - at < SETTLED_AFTER);
                if is_fresh { self.observe_again(now) } else { self.go(Step::Cancel) }
            }
            None if self.absent_since.is_none_or(|since| now - since < SETTLED_AFTER) => {
                self.observe_again(now);
            }
            _ => {
                let Ending::Cancel { then } = self.ending() else { unreachable!("a cancel was decided") };
                match then.clone().or_else(|| self.prepared.final_state.clone()) {
                    Some(start) => self.over(start, out),
                    None => self.go(Step::FinalCheckpoint),
                }
            }
        }
    }

    pub(super) fn on_final_checkpoint(
        &mut self,
        now: Timestamp,
        seen: Option<CheckpointSeen>,
        out: &mut Effects,
    ) {
        let start = match seen.and_then(|seen| self.checkpoint_ref(&seen)) {
            Some(state) => Start::From(state),
            None => self.last_state(),
        };
        self.prepared.final_state = Some(start);
        self.decide(now, out);
    }

    /// A checkpoint of the installation's job that is kept outside of the JobManager.
    pub(super) fn checkpoint_ref(&self, seen: &CheckpointSeen) -> Option<StateRef> {
        let path = seen.path.clone()?;
        Some(StateRef { kind: StateKind::Checkpoint, path, at: seen.at, of: self.job().release })
    }

    /// The job has ended, and its state is known: the next one begins with the same commit, when it can.
    pub(super) fn over(&mut self, start: Start, out: &mut Effects) {
        let ledger = &mut self.kept.ledger;
        let was_chosen = ledger.ending.take().is_some();
        (ledger.before, ledger.checkpoint) = (ledger.job.take().map(|job| job.id), None);
        self.before = BeforeSeen::default();
        (self.prepared.final_state, self.absent_since) = (None, None);
        ledger.next = Some(start.clone());
        self.uncommitted = true;
        self.seen = self.seen.map(|seen| Seen { job: None, ..seen });
        if was_chosen && self.prepared.uploaded.is_some() {
            return self.submit(start, out);
        }
        self.commit(After::Decide, out);
    }
}
