//! What follows from the ledger, from what the JobManager shows, and from what was prepared.

use trimaran_model::action::{Action, Outcome};
use trimaran_model::id::Digest;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Timestamp, WallTime};

use super::Effects;
use super::phase::{Phase, Seen, Step};
use crate::call::{Call, JobOverview, JobState, SavepointSeen};
use crate::health::SETTLED_AFTER;
use crate::id::{FlinkId, IdStep};
use crate::ledger::{Ending, JobRecord, Standing, Start, StateKind, StateRef};

impl Phase {
    /// The installation's job. Steps that ask for it are decided only where there is one.
    pub(super) fn job(&self) -> &JobRecord {
        self.kept.ledger.job.as_ref().expect("a step that speaks of a job has one")
    }

    pub(super) fn job_id(&self) -> FlinkId {
        self.job().id
    }

    pub(super) fn on_jobs(&mut self, now: Timestamp, at: WallTime, jobs: &[JobOverview], out: &mut Effects) {
        let own = self.kept.ledger.job.as_ref().map(|job| job.id);
        let job = jobs.iter().find(|job| Some(job.id) == own).map(|job| job.state);
        if job.is_some() {
            self.absent_since = None;
        } else {
            self.absent_since.get_or_insert(now);
        }
        self.prepared.note_foreign(jobs, [own, self.kept.ledger.before]);
        if !self.is_before_gone(now, jobs) {
            return;
        }
        self.seen = Some(Seen { at, job });
        self.decide(now, out);
    }

    pub(super) fn decide(&mut self, now: Timestamp, out: &mut Effects) {
        if self.kept.abort.is_some() && !self.is_in_between() {
            return;
        }
        let Some(seen) = self.seen else { return self.go(Step::Observe) };
        match (&self.kept.ledger.job, &self.kept.ledger.ending) {
            (Some(job), _) if job.is_submitting() => self.decide_submitting(now, seen, out),
            (Some(_), Some(Ending::Stop { .. })) => self.go(Step::StopStatus),
            (Some(_), Some(Ending::Cancel { .. })) => self.decide_canceling(now, seen, out),
            (Some(_), None) => self.decide_job(now, seen, out),
            (None, _) => self.decide_empty(now, out),
        }
    }

    fn decide_submitting(&mut self, now: Timestamp, seen: Seen, out: &mut Effects) {
        if seen.job.is_some() {
            let job = self.kept.ledger.job.as_mut().expect("it is being submitted");
            job.standing = Standing::Started;
            self.kept.ledger.checkpoint = None;
            self.run_lost_until = None;
            // Nothing waits for it; but it is in the log before the order ends.
            self.commit_without_waiting(out);
            return self.decide(now, out);
        }
        if self.run_lost_until.is_some_and(|until| now < until) {
            return self.observe_again(now);
        }
        let needs_uploads = self.prepared.uploads_are_gone && self.is_wanted(self.job().release);
        self.go(if needs_uploads { Step::Upload } else { Step::Run });
    }

    /// A job that is there, or was.
    fn decide_job(&mut self, now: Timestamp, seen: Seen, out: &mut Effects) {
        if let Some(message) = self.objection() {
            return self.fault(ReasonCode::OrderRefused, message, out);
        }
        let Some(state) = seen.job else { return self.decide_absent(now, out) };
        if self.job().standing == Standing::Lost {
            // A JobManager with high availability has brought it back.
            self.kept.ledger.job.as_mut().expect("it is there").standing = Standing::Started;
            self.uncommitted = true;
        }
        let release = self.job().release;
        if state.is_terminal() {
            let is_own = self.is_of_this_attempt() && self.keeps_job();
            let is_complete = state == JobState::Finished && self.is_bounded() && self.is_wanted(release);
            return if is_own || is_complete { self.verify(now, seen) } else { self.decide_over(out) };
        }
        match &self.order.action {
            Action::Stop(only) if *only == release => self.end_job(Ending::Cancel { then: None }, out),
            Action::Stop(_) => self.finish(Outcome::Done, out),
            Action::Release(wanted) | Action::Restore(wanted) if *wanted == release => self.verify(now, seen),
            Action::Verify => self.verify(now, seen),
            Action::Release(_) => self.prepare_upgrade(now, out),
            Action::Restore(_) => self.prepare_restore(seen.at, out),
            Action::Scale { .. } | Action::Restart(_) if self.keeps_job() => self.verify(now, seen),
            Action::Scale { .. } | Action::Restart(_) => self.prepare_upgrade(now, out),
        }
    }

    fn decide_absent(&mut self, now: Timestamp, out: &mut Effects) {
        let since = *self.absent_since.get_or_insert(now);
        if now - since < SETTLED_AFTER {
            return self.observe_again(now);
        }
        let is_checkpoint = |state: &StateRef| state.kind == StateKind::Checkpoint;
        let has_checkpoint = self.kept.ledger.checkpoint.as_ref().is_some_and(is_checkpoint);
        if has_checkpoint && !self.prepared.has_listed_checkpoints {
            return self.go(Step::ListCheckpoints);
        }
        let is_left = matches!(self.order.action, Action::Restore(_)) && !self.is_wanted(self.job().release);
        if is_left || self.job().standing == Standing::Lost || matches!(self.order.action, Action::Stop(_)) {
            let start = self.last_state();
            return self.over(start, out);
        }
        self.lose(out);
    }

    /// The directory of the last checkpoint that was seen: Flink makes each beside the one before.
    pub(super) fn list_checkpoints_call(&self) -> Call {
        let seen = self.kept.ledger.checkpoint.as_ref().expect("it was seen");
        let directory = seen.path.rsplit_once('/').map_or(seen.path.as_str(), |(directory, _)| directory);
        Call::List { directory: directory.to_owned() }
    }

    pub(super) fn on_checkpoints(&mut self, now: Timestamp, found: Vec<SavepointSeen>, out: &mut Effects) {
        self.prepared.has_listed_checkpoints = true;
        let newest = found.into_iter().filter(|it| it.is_complete).max_by_key(|it| it.modified);
        if let (Some(newest), Some(seen)) = (newest, &mut self.kept.ledger.checkpoint)
            && newest.path != seen.path
        {
            (seen.path, seen.at) = (newest.path, newest.modified);
            self.uncommitted = true;
        }
        self.decide(now, out);
    }

    /// The JobManager does not know the job any more. People are asked once; the next order continues.
    pub(super) fn lose(&mut self, out: &mut Effects) {
        let message = match self.last_state() {
            Start::From(StateRef { kind, path, .. }) => {
                format!(
                    "the job {} is gone; its last known state is the {} {path}",
                    self.job_id(),
                    kind.as_str()
                )
            }
            Start::Empty => format!("the job {} is gone, and it had completed no checkpoint", self.job_id()),
        };
        self.kept.ledger.job.as_mut().expect("it was lost").standing = Standing::Lost;
        self.kept.ledger.ending = None;
        self.uncommitted = true;
        self.fault(ReasonCode::JobLost, message, out);
    }

    /// A job has ended that was not ended by this machine.
    fn decide_over(&mut self, out: &mut Effects) {
        match self.prepared.final_state.clone() {
            Some(start) => self.over(start, out),
            None => self.go(Step::FinalCheckpoint),
        }
    }

    /// What is known without asking: the last checkpoint that was seen, otherwise what the job began from.
    pub(super) fn last_state(&self) -> Start {
        match &self.kept.ledger.checkpoint {
            Some(checkpoint) => Start::From(checkpoint.clone()),
            None => self.job().from.clone(),
        }
    }

    /// No job runs.
    fn decide_empty(&mut self, now: Timestamp, out: &mut Effects) {
        match &self.order.action {
            Action::Stop(_) => self.finish_stop(now, out),
            Action::Verify => {
                self.fault(ReasonCode::JobLost, "no job of this installation runs".to_owned(), out);
            }
            Action::Release(_) | Action::Restore(_) | Action::Scale { .. } | Action::Restart(_) => {
                if let Some(message) = self.objection() {
                    return self.fault(ReasonCode::OrderRefused, message, out);
                }
                if !self.is_prepared_to_begin(now, out) {
                    return;
                }
                match self.start_for_next(out) {
                    Some(start) => self.submit(start, out),
                    None => debug_assert!(self.ended || self.awaiting.is_some(), "it was held"),
                }
            }
        }
    }

    /// Whether the order wants a job of this release.
    pub(super) fn is_wanted(&self, release: Digest) -> bool {
        match &self.order.action {
            Action::Release(it) | Action::Restore(it) | Action::Restart(it) => *it == release,
            Action::Scale { release: it, .. } => *it == release,
            Action::Verify | Action::Stop(_) => false,
        }
    }

    pub(super) fn is_bounded(&self) -> bool {
        self.ordered().is_some_and(|release| release.job.bounded)
    }

    /// Whether the job was begun in this attempt: then its window is open.
    pub(super) fn is_of_this_attempt(&self) -> bool {
        let (ledger, id) = (&self.kept.ledger, self.job_id());
        let key = ledger.attempt.as_ref().expect("an order enters its attempt first");
        (1..=ledger.number).any(|n| FlinkId::derive(&self.order.installation, key, IdStep::Run, n) == id)
    }
}

impl JobRecord {
    pub(crate) fn is_submitting(&self) -> bool {
        matches!(self.standing, Standing::Submitting(_))
    }
}
