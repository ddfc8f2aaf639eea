//! The begin of the next job: from which state, under which id, and what refusals mean.

use trimaran_model::action::{Action, Failure};

use trimaran_model::id::Digest;
use trimaran_model::limits::{COMMIT_BYTES_MAX, FLINK_UPLOAD_PATH_BYTES_MAX};
use trimaran_model::pipeline::UpgradeMode;
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::{FlinkFiles, FlinkRelease};
use trimaran_model::time::{Timestamp, WallTime};

use super::Effects;
use super::phase::{After, Left, Phase, Step};
use super::prepared::Uploaded;
use crate::call::{Call, Refusal, RefusalKind};
use crate::files::with_paths;
use crate::health::SETTLED_AFTER;
use crate::id::IdStep;
use crate::ledger::{Ending, JobRecord, JobRules, RunRequest, Standing, Start, StateKind, StateRef};
use crate::rest::run_request;
use crate::restore::{Choice, Processed, Situation, choose};

impl Phase {
    pub(super) fn release(&self) -> &FlinkRelease {
        self.ordered().expect("an order that begins a job was checked to have its release")
    }

    pub(super) fn digest(&self) -> Digest {
        self.order.action.release().expect("only a verification names no release, and it begins no job")
    }

    /// Chooses the state to go back to from a job that is left.
    pub(super) fn prepare_restore(&mut self, now: WallTime, out: &mut Effects) {
        if !self.has_uploads() {
            return;
        }
        if self.release().job.upgrade.mode == UpgradeMode::Stateless {
            return self.end_job(Ending::Cancel { then: Some(Start::Empty) }, out);
        }
        let Some(processed) = self.processed else { return self.go(Step::Measure) };
        let checkpoint = self.kept.ledger.checkpoint.clone();
        match self.choose(now, checkpoint.as_ref(), processed) {
            Choice::Savepoint { state, cost } => {
                let (job, began_from) = (self.job_id(), self.job().from.clone());
                let left = Left { job, began_from, to: state.path.clone(), cost, counting_since: None };
                self.note = Some(left.describe(cost.repeated));
                self.left = Some(left);
                self.end_job(Ending::Cancel { then: Some(Start::From(state)) }, out);
            }
            Choice::Latest { cost } => {
                self.note = Some(format!(
                    "continuing from the state of the version that is left: {}",
                    cost.describe()
                ));
                if self.prepared.cluster.is_none() {
                    return self.go(Step::Cluster);
                }
                self.stop_job(out);
            }
            Choice::Held { code, message } => self.fault(code, message, out),
        }
    }

    fn choose(&self, now: WallTime, checkpoint: Option<&StateRef>, processed: Processed) -> Choice {
        let ledger = &self.kept.ledger;
        let digest = self.digest();
        let began_from = ledger.job.as_ref().and_then(|job| match &job.from {
            Start::From(state) if state.of == digest => Some(state),
            Start::From(_) | Start::Empty => None,
        });
        choose(&Situation {
            now,
            rules: &self.release().job.rollback,
            from: self.order.restore_from,
            savepoint: ledger.state_of(digest).or(began_from),
            checkpoint,
            processed,
        })
    }

    /// What a job begins from when none runs; `None` when that is a human's choice.
    pub(super) fn start_for_next(&mut self, out: &mut Effects) -> Option<Start> {
        let next = self.kept.ledger.next.clone().unwrap_or(Start::Empty);
        let Start::From(state) = &next else { return Some(next) };
        if self.release().job.upgrade.mode == UpgradeMode::Stateless {
            return Some(Start::Empty);
        }
        let is_restore = matches!(self.order.action, Action::Restore(_));
        if !is_restore || state.of == self.digest() {
            return Some(next);
        }
        let now = self.seen.map_or(WallTime(0), |seen| seen.at);
        match self.choose(now, Some(state), self.processed.unwrap_or_default()) {
            Choice::Savepoint { state, cost } => {
                self.note = Some(format!("going back to the savepoint {}: {}", state.path, cost.describe()));
                Some(Start::From(state))
            }
            Choice::Latest { .. } => Some(next),
            Choice::Held { code, message } => {
                self.fault(code, message, out);
                None
            }
        }
    }

    /// Names the job and commits it, in one with the end of the job before.
    pub(super) fn submit(&mut self, start: Start, out: &mut Effects) {
        let id = self.kept.ledger.next_id(&self.order.installation, IdStep::Run);
        let Uploaded { jar, files, at } = self.uploaded();
        let request = run_request(jar, id, &self.to_run(), &files, &start);
        self.note_parallelism();
        let release = self.digest();
        let standing = Standing::Submitting(request);
        let rules = JobRules::from(&self.release().job);
        let jar_from = self.prepared.jar_from.clone().expect("a jar that is there came from somewhere");
        self.kept.ledger.job = Some(JobRecord { id, release, from: start, standing, rules, jar_from });
        self.run_at = Some(at);
        self.kept.ledger.next = None;
        self.absent_since = None;
        self.commit(After::Step(Step::Run), out);
    }

    pub(super) fn run_call(&self) -> Call {
        match &self.job().standing {
            Standing::Submitting(request) => {
                Call::Run { job: self.job_id(), request: request.clone(), at: self.run_at.clone() }
            }
            Standing::Started | Standing::Lost => unreachable!("I2: a job that was seen is never run again"),
        }
    }

    /// The answer is lost, and `main` may run for longer than the wait for it: the list says whether it did.
    pub(super) fn on_run_lost(&mut self, now: Timestamp) {
        self.run_lost_until = Some(now + SETTLED_AFTER);
        // Whichever answers next: it says so when it has not the uploads.
        self.run_at = None;
        self.go(Step::Observe);
        self.poll_later(now);
    }

    pub(super) fn on_run_refused(&mut self, now: Timestamp, refusal: Refusal, out: &mut Effects) {
        let job = self.job().clone();
        if refusal.kind == RefusalKind::UploadGone && self.is_wanted(job.release) {
            // Of a jar that is gone `main` did not run, and one that is not given its files submits nothing: the id is free.
            return self.on_uploads_gone(now, out);
        }
        // No job of this id will run. One that failed to start has its id for good, so the next one gets another.
        self.kept.ledger.job = None;
        self.kept.ledger.next = Some(job.from.clone());
        self.uncommitted = true;
        if !self.is_wanted(job.release) {
            // It belonged to an order that was superseded.
            return self.commit(After::Decide, out);
        }
        if let Some(savepoint) = self.other_state(&refusal, &job.from) {
            self.note = Some(format!("{}: going back to {}", refusal.failure.message, savepoint.path));
            if self.prepared.uploaded.is_some() {
                return self.submit(Start::From(savepoint), out);
            }
            // An earlier agent has brought the jar and its files.
            self.kept.ledger.next = Some(Start::From(savepoint));
            return self.commit(After::Decide, out);
        }
        let failure = self.describe_refusal(refusal, &job.from);
        self.fail(failure, out);
    }

    /// A state that was written by the version to restore, when it can't read that of the one that is left.
    fn other_state(&self, refusal: &Refusal, tried: &Start) -> Option<StateRef> {
        let is_restore = matches!(self.order.action, Action::Restore(_));
        if !is_restore || refusal.kind != RefusalKind::State {
            return None;
        }
        let state = self.kept.ledger.state_of(self.digest())?;
        let now = self.seen.map_or(WallTime(0), |seen| seen.at);
        let is_allowed = now - state.at <= self.release().job.rollback.max_replay;
        (is_allowed && tried.path() != Some(state.path.as_str())).then(|| state.clone())
    }

    fn describe_refusal(&self, refusal: Refusal, from: &Start) -> Failure {
        let Failure { mut code, mut message, instance } = refusal.failure;
        if let Start::From(state) = from {
            message = format!("{message} (from the {} {})", state.kind.as_str(), state.path);
        }
        // A version that ran before and can't begin now: nothing else is left to go back to.
        if matches!(self.order.action, Action::Restore(_)) && code == ReasonCode::StateIncompatible {
            code = ReasonCode::StateChoice;
        }
        Failure { code, message, instance }
    }

    /// Jar and files were uploaded again for a job that is being submitted: the same id, with the jar's new name and the
    /// files' new places.
    pub(super) fn resubmit(&mut self, uploaded: Uploaded, out: &mut Effects) {
        let Uploaded { jar, files, at } = uploaded;
        self.run_at = Some(at);
        let job = self.kept.ledger.job.as_mut().expect("it is being submitted");
        let Standing::Submitting(RunRequest { body, .. }) = &job.standing else {
            unreachable!("I2: a job that was seen is never run again")
        };
        job.standing = Standing::Submitting(RunRequest { jar, body: with_paths(body, &files) });
        job.jar_from = self.prepared.jar_from.clone().expect("it was uploaded just now");
        self.commit(After::Step(Step::Run), out);
    }

    /// Whether what a run needs fits a commit.
    pub(super) fn is_small_enough(&self) -> bool {
        let state =
            StateRef { kind: StateKind::Savepoint, path: String::new(), at: WallTime(0), of: self.digest() };
        let id = crate::id::FlinkId([0; 16]);
        let longest = "x".repeat(FLINK_UPLOAD_PATH_BYTES_MAX);
        let names = self.release().files.iter().flat_map(FlinkFiles::iter).map(|(name, _)| name.to_owned());
        let files = names.map(|name| (name, longest.clone())).collect();
        let request = run_request(String::new(), id, self.release(), &files, &Start::From(state));
        request.body.len() <= COMMIT_BYTES_MAX / 2
    }
}
