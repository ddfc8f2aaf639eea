//! The state of one order, and how it goes on: what is fed to it, what it waits for, and the call of each step.

use trimaran_agent_core::driver::{CallId, Effect, Found, FoundOf, Guard, Input};
use trimaran_model::action::{Failure, Outcome, Progress};
use trimaran_model::assignment::Assignment;
use trimaran_model::limits::{STEPS_REPORTED_MAX, UNGUARDED_CALL};
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::{FlinkRelease, ReleaseWorkload};
use trimaran_model::time::{Millis, Timestamp, WallTime};

use crate::call::{Call, JobState, Reply};
use crate::health::Window;
use crate::id::{AttemptKey, FlinkId};
use crate::journal::{Kept, ledger_from_bytes, ledger_to_bytes};
use crate::ledger::{Ledger, Start};
use crate::rest::curl;
use crate::restore::{Cost, Processed};

use super::prepared::Prepared;
use super::{Effects, Flink};

/// The first wait between two polls; it doubles up to [`POLL_MAX`].
const POLL_FIRST: Millis = Millis(25);
const POLL_MAX: Millis = Millis::seconds(1);
/// After an answer that can't be used.
const RETRY: Millis = Millis(500);
/// After a call that was not made.
pub(super) const LEASE_RETRY: Millis = Millis(200);
const READ: Millis = Millis::seconds(10);
/// Some hundred small questions, for a job of many parallel instances.
const MEASURE: Millis = Millis::seconds(30);
/// A plan runs the program's `main`.
const PLAN: Millis = Millis::minutes(5);
const UPLOAD: Millis = Millis::minutes(10);
/// For so long no JobManager may answer before a human is asked, while nothing was begun and after.
const UNREACHABLE_MAX: Millis = Millis::minutes(2);
const UNREACHABLE_IN_BETWEEN_MAX: Millis = Millis::minutes(10);

/// The state of one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    pub(crate) order: Assignment,
    pub(crate) kept: Kept,
    pub(super) step: Step,
    pub(super) lease: bool,
    pub(super) calling: Option<CallId>,
    pub(super) calls: u64,
    /// The step waits until then.
    pub(super) pause: Option<Timestamp>,
    pub(super) polls: u32,
    /// A commit that has to be in the log before anything goes on.
    pub(super) awaiting: Option<(u32, After)>,
    /// The ledger has changed since it was committed.
    pub(super) uncommitted: bool,
    pub(super) seen: Option<Seen>,
    pub(super) prepared: Prepared,
    pub(super) before: BeforeSeen,
    pub(super) stop: StopSeen,
    /// An answer to a run was lost: its `main` may still run. Until then only the list is asked.
    pub(super) run_lost_until: Option<Timestamp>,
    /// Which JobManager has the uploads of the run that is being submitted, as far as this agent has seen it.
    pub(super) run_at: Option<String>,
    pub(super) cancel_sent: Option<Timestamp>,
    pub(super) absent_since: Option<Timestamp>,
    pub(super) unavailable: Option<(Timestamp, String)>,
    pub(super) window: Option<Window>,
    pub(super) processed: Option<Processed>,
    /// The job that was left for a savepoint, until what it did was counted.
    pub(super) left: Option<Left>,
    pub(super) checkpoint_committed: Option<Timestamp>,
    /// What people should know of this order: costs, warnings.
    pub(super) note: Option<String>,
    /// What this agent has sent for it, each once.
    pub(super) sent: Vec<String>,
    pub(super) reported: Option<Progress>,
    pub(super) ended: bool,
}

/// What is asked next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Observe,
    Cluster,
    Upload,
    Plan,
    Topology,
    /// The last checkpoint of a job that is about to be stopped: what is left when everything else fails.
    LastCheckpoint,
    /// What a job that is left has done.
    Measure,
    Stop,
    StopStatus,
    /// Whether all tasks run, after a stop was refused because they did not.
    Tasks,
    List,
    /// What a job that is gone has left: the last checkpoint that was seen may have been replaced since.
    ListCheckpoints,
    Cancel,
    /// The last checkpoint of a job that has ended.
    FinalCheckpoint,
    Run,
    Verify,
    /// Whether the job before is there beside the new one.
    Before,
    CancelBefore,
    /// What a job that was left has done in all: exact, since it has ended.
    Count,
}

/// What the list of jobs said of the installation's job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) at: WallTime,
    pub(super) job: Option<JobState>,
}

/// A job that was left for a savepoint from before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) job: FlinkId,
    pub(super) began_from: Start,
    /// The savepoint, and what going back there costs as far as it was known while the job was at work.
    pub(super) to: String,
    pub(super) cost: Cost,
    pub(super) counting_since: Option<Timestamp>,
}

/// What is known of a stop in progress.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StopSeen {
    /// Stops of this order that failed while the job went on.
    pub(super) failed: u32,
    /// A stop of this order was refused because not all tasks run, the first one then.
    pub(super) refused_since: Option<Timestamp>,
    pub(super) since: Option<Timestamp>,
    /// When it was asked about for the first time: a moment behind its trigger.
    pub(super) at: Option<WallTime>,
    /// The savepoint is complete and the job goes on, since then.
    pub(super) goes_on_since: Option<Timestamp>,
    /// Why Flink says that it failed, and what became of the job.
    pub(super) cause: Option<String>,
    pub(super) job: Option<JobState>,
}

/// What this order knows of the job before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct BeforeSeen {
    /// It was not there any more, since then.
    pub(super) gone_since: Option<Timestamp>,
    pub(super) canceled: Option<Timestamp>,
    /// What asked for it, and goes on when it was canceled.
    pub(super) asked_by: Option<Step>,
    /// The new job works, and it was not there beside it.
    pub(super) is_over: bool,
}

/// What follows a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum After {
    Step(Step),
    Decide,
    End(Outcome),
}

impl Phase {
    pub(crate) fn begin(
        now: Timestamp,
        order: &Assignment,
        found: Option<FoundOf<Flink>>,
        out: &mut Effects,
    ) -> Self {
        let was_found = found.is_some();
        let kept = match found {
            Some(Found::Resumed(phase)) => phase.kept,
            Some(Found::Superseded { phase, .. }) => {
                Kept { abort: None, commits: 0, ledger: phase.kept.ledger }
            }
            None => Kept::default(),
        };
        let mut phase = Self::new(order.clone(), kept);
        let is_readable = phase.adopt_committed();
        phase.kept.ledger.enter(AttemptKey { run: order.run.clone(), attempt: order.attempt });
        out.push(Effect::Persist);
        if let Err(message) = is_readable {
            phase.fault(ReasonCode::OrderRefused, message, out);
        } else if let Some(failure) = phase.impossible() {
            phase.fail(failure, out);
        } else if was_found {
            // What the journal has may never have reached the log.
            phase.commit(After::Decide, out);
        }
        phase.advance(now, out);
        phase
    }

    /// A phase as it is before its order begins.
    pub(crate) fn new(order: Assignment, kept: Kept) -> Self {
        Self {
            order,
            kept,
            step: Step::Observe,
            lease: false,
            calling: None,
            calls: 0,
            pause: None,
            polls: 0,
            awaiting: None,
            uncommitted: false,
            seen: None,
            prepared: Prepared::default(),
            before: BeforeSeen::default(),
            stop: StopSeen::default(),
            run_lost_until: None,
            run_at: None,
            cancel_sent: None,
            absent_since: None,
            unavailable: None,
            window: None,
            processed: None,
            left: None,
            checkpoint_committed: None,
            note: None,
            sent: Vec::new(),
            reported: None,
            ended: false,
        }
    }

    /// Takes the ledger from the log where the log knows more than the journal.
    fn adopt_committed(&mut self) -> Result<(), String> {
        let Some(commit) = &self.order.committed else { return Ok(()) };
        let is_own = commit.assignment == self.order.id;
        let is_newer = if is_own { commit.n > self.kept.commits } else { self.kept == Kept::default() };
        if !is_newer {
            return Ok(());
        }
        let unreadable =
            |error| format!("what was committed for the job can't be read by this version: {error}");
        self.kept.ledger = ledger_from_bytes(&commit.body).map_err(unreadable)?;
        self.kept.commits = if is_own { commit.n } else { 0 };
        Ok(())
    }

    /// What was begun, and what the installation's job is.
    pub fn ledger(&self) -> &Ledger {
        &self.kept.ledger
    }

    pub(crate) fn step(&mut self, now: Timestamp, input: Input<Reply, ()>, out: &mut Effects) {
        if self.ended {
            return;
        }
        match input {
            Input::Reply(id, reply) if self.calling == Some(id) => {
                self.calling = None;
                self.on_reply(now, reply, out);
            }
            Input::Lost(id) if self.calling == Some(id) => {
                self.calling = None;
                self.on_lost(now, out);
            }
            Input::Unmade(id) if self.calling == Some(id) => {
                self.calling = None;
                self.pause = Some(now + LEASE_RETRY);
            }
            Input::Reply(..) | Input::Lost(_) | Input::Unmade(_) => {}
            Input::Observed(()) | Input::Due => {}
            Input::Abort(reason) => {
                // A later order is more urgent than a cancel.
                if self.kept.abort.is_none() || reason == ReasonCode::Fenced {
                    self.kept.abort = Some(reason);
                    out.push(Effect::Persist);
                    self.pause = None;
                }
            }
            Input::LeaseLost => self.lease = false,
            Input::LeaseBack => self.lease = true,
            Input::Committed(n) => self.on_committed(now, n, out),
        }
        self.advance(now, out);
    }

    /// Makes the call of the step, when nothing is waited for.
    fn advance(&mut self, now: Timestamp, out: &mut Effects) {
        if self.ended || self.calling.is_some() {
            return;
        }
        if self.kept.abort == Some(ReasonCode::Fenced) {
            // The later order gets the phase and goes on from its ledger.
            return self.done(Outcome::Stopped, out);
        }
        if self.awaiting.is_some() {
            return;
        }
        if self.kept.abort.is_some() && !self.is_in_between() {
            return self.finish(Outcome::Stopped, out);
        }
        self.report(out);
        if let Some(until) = self.pause {
            if now < until {
                return out.push(Effect::WakeAt(until));
            }
            self.pause = None;
        }
        let Some((call, deadline, guard)) = self.call() else { return };
        self.calls += 1;
        let id = CallId(self.calls);
        self.calling = Some(id);
        self.note_sent(&call);
        out.push(Effect::Call { id, call, deadline, guard });
    }

    /// Remembers what is sent for people who want to do the same by hand.
    fn note_sent(&mut self, call: &Call) {
        for command in curl(call) {
            if self.sent.len() < STEPS_REPORTED_MAX && !self.sent.contains(&command) {
                self.sent.push(command);
            }
        }
    }

    /// The call of the step; `None` while it has to wait for the lease.
    fn call(&self) -> Option<(Call, Millis, Guard)> {
        let read = |call| Some((call, READ, Guard::Read));
        match self.step {
            Step::Observe | Step::Tasks | Step::Before => read(Call::Jobs),
            Step::Cluster => read(Call::Cluster),
            Step::Upload => {
                let call = self.upload_call();
                let Call::Upload { name, .. } = &call else { unreachable!("it was made just now") };
                let guard = Guard::Idempotent(name.clone());
                Some((call, UPLOAD, guard))
            }
            Step::Plan => Some((Call::Plan(self.planned_request()), PLAN, Guard::Read)),
            Step::Topology => read(Call::Topology { job: self.job_id() }),
            Step::LastCheckpoint | Step::FinalCheckpoint => read(Call::Checkpoint { job: self.job_id() }),
            Step::Verify => read(Call::Sample { job: self.job_id() }),
            Step::Measure => Some((Call::Measure { job: self.job_id() }, MEASURE, Guard::Read)),
            Step::Count => {
                let job = self.left.as_ref().expect("a job that was left is counted").job;
                Some((Call::Measure { job }, MEASURE, Guard::Read))
            }
            Step::StopStatus => read(self.stop_status_call()),
            Step::List => read(self.list_call()),
            Step::ListCheckpoints => read(self.list_checkpoints_call()),
            Step::Stop | Step::Cancel | Step::CancelBefore | Step::Run => {
                let call = match self.step {
                    Step::Stop => self.stop_call(),
                    Step::Cancel => Call::Cancel { job: self.job_id() },
                    Step::CancelBefore => {
                        let job = self.kept.ledger.before.expect("it was seen");
                        Call::Cancel { job }
                    }
                    _ => self.run_call(),
                };
                self.lease.then_some((call, UNGUARDED_CALL, Guard::Unguarded))
            }
        }
    }

    fn on_reply(&mut self, now: Timestamp, reply: Reply, out: &mut Effects) {
        match reply {
            Reply::Unavailable { .. } | Reply::Unreachable { .. } if self.step == Step::Count => {
                return self.on_counted(now, None, out);
            }
            Reply::Unavailable { message } => return self.on_unavailable(now, message, out),
            // Nothing was received: the same again does no harm.
            Reply::Unreachable { message } if !matches!(self.step, Step::Verify | Step::Before) => {
                return self.retry(now, message, out);
            }
            Reply::Unreachable { message } => return self.on_unavailable(now, message, out),
            _ => {}
        }
        self.unavailable = None;
        match (self.step, reply) {
            (Step::Observe, Reply::Jobs { at, jobs }) => self.on_jobs(now, at, &jobs, out),
            (Step::Stop, Reply::Accepted) => self.on_stop_sent(now),
            (Step::StopStatus, Reply::Stop { at, trigger, job }) => {
                self.stop.at.get_or_insert(at);
                self.on_stop(now, trigger, job, out);
            }
            (Step::List, Reply::Savepoints(savepoints)) => self.on_savepoints(now, savepoints, out),
            (Step::ListCheckpoints, Reply::Savepoints(found)) => self.on_checkpoints(now, found, out),
            // They can't be listed: the one that was seen has to do.
            (Step::ListCheckpoints, Reply::Refused(_)) => self.on_checkpoints(now, Vec::new(), out),
            (Step::Cancel, Reply::Accepted) => self.on_cancel_sent(now),
            (Step::CancelBefore, Reply::Accepted) => self.on_before_canceled(now),
            (Step::Before, Reply::Jobs { jobs, .. }) => self.on_before(now, &jobs, out),
            (Step::FinalCheckpoint, Reply::Checkpoint(seen)) => self.on_final_checkpoint(now, seen, out),
            (Step::Run, Reply::Started | Reply::Duplicate) => self.observe_again(now),
            (Step::Run, Reply::Refused(refusal)) => self.on_run_refused(now, refusal, out),
            (Step::Verify, Reply::Sampled(sample)) => self.on_sample(now, Some(&sample), out),
            (Step::Tasks, Reply::Jobs { jobs, .. }) => self.on_tasks(now, &jobs, out),
            (Step::Measure, Reply::Measured(measured)) => self.on_measured(now, measured, out),
            (Step::Count, Reply::Measured(measured)) => self.on_counted(now, Some(&measured), out),
            (_, reply) => self.on_prepared(now, reply, out),
        }
    }

    /// The answer can't come any more.
    fn on_lost(&mut self, now: Timestamp, out: &mut Effects) {
        match self.step {
            Step::Stop => self.on_stop_sent(now),
            Step::Cancel => self.on_cancel_sent(now),
            Step::CancelBefore => self.on_before_canceled(now),
            Step::Run => self.on_run_lost(now),
            Step::Count => self.on_counted(now, None, out),
            _ => self.on_unavailable(now, "the JobManager did not answer in time".to_owned(), out),
        }
    }

    fn on_unavailable(&mut self, now: Timestamp, message: String, out: &mut Effects) {
        match self.step {
            Step::Stop => self.on_stop_sent(now),
            Step::Cancel => self.on_cancel_sent(now),
            Step::CancelBefore => self.on_before_canceled(now),
            // The JobManager is away, or was: whether the new job is still there comes first.
            Step::Before => self.go(Step::Verify),
            Step::Run => self.on_run_lost(now),
            Step::Verify => self.on_sample(now, None, out),
            _ => {}
        }
        if !self.ended && self.awaiting.is_none() {
            self.retry(now, message, out);
        }
    }

    /// The step again a moment later; a human is asked when that has gone on for long.
    fn retry(&mut self, now: Timestamp, message: String, out: &mut Effects) {
        if self.step == Step::Run {
            // A JobManager that was away may have begun the job before again.
            self.go(Step::Observe);
        }
        let (since, _) = *self.unavailable.get_or_insert((now, message.clone()));
        self.unavailable = Some((since, message.clone()));
        self.pause = Some(now + RETRY);
        let max = if self.is_in_between() { UNREACHABLE_IN_BETWEEN_MAX } else { UNREACHABLE_MAX };
        if now - since >= max && self.step != Step::Verify {
            self.fault(ReasonCode::JobmanagerUnreachable, message, out);
        }
    }

    fn on_committed(&mut self, now: Timestamp, n: u32, out: &mut Effects) {
        let Some((_, after)) = self.awaiting.take_if(|(wanted, _)| *wanted <= n) else { return };
        match after {
            // It was not sent yet.
            After::Step(Step::Stop | Step::Cancel) if self.kept.abort.is_some() => self.undo_ending(out),
            After::Step(step) => self.go(step),
            After::Decide => self.decide(now, out),
            After::End(outcome) => self.done(outcome, out),
        }
    }

    pub(super) fn go(&mut self, step: Step) {
        (self.step, self.polls) = (step, 0);
    }

    /// Asks for the jobs again, later each time.
    pub(super) fn observe_again(&mut self, now: Timestamp) {
        self.step = Step::Observe;
        self.poll_later(now);
    }

    pub(super) fn poll_later(&mut self, now: Timestamp) {
        let wait = POLL_FIRST.0.saturating_mul(1 << self.polls.min(16)).min(POLL_MAX.0);
        self.polls += 1;
        self.pause = Some(now + Millis(wait));
    }

    /// Writes the ledger down and commits it; `after` follows when it is in the log.
    pub(super) fn commit(&mut self, after: After, out: &mut Effects) {
        let n = self.commit_without_waiting(out);
        self.awaiting = Some((n, after));
    }

    pub(super) fn commit_without_waiting(&mut self, out: &mut Effects) -> u32 {
        self.kept.commits += 1;
        self.uncommitted = false;
        let n = self.kept.commits;
        out.push(Effect::Persist);
        let body = ledger_to_bytes(&self.kept.ledger);
        let progress = self.progress();
        self.reported = Some(progress.clone());
        out.push(Effect::Commit { n, body, progress });
        n
    }

    /// Ends the order when all of the ledger is in the log.
    pub(super) fn finish(&mut self, outcome: Outcome, out: &mut Effects) {
        if self.uncommitted {
            return self.commit(After::End(outcome), out);
        }
        self.done(outcome, out);
    }

    pub(super) fn done(&mut self, outcome: Outcome, out: &mut Effects) {
        self.ended = true;
        self.report(out);
        out.push(Effect::Done(outcome));
    }

    /// Ends with a failure of the release or of the platform, as its reason says.
    pub(super) fn fail(&mut self, failure: Failure, out: &mut Effects) {
        let is_platform = failure.code.fault() == Some(trimaran_model::verdict::Fault::Platform);
        let outcome = if is_platform { Outcome::Fault(failure) } else { Outcome::Failed(failure) };
        self.finish(outcome, out);
    }

    pub(super) fn fault(&mut self, code: ReasonCode, message: String, out: &mut Effects) {
        self.finish(Outcome::Fault(Failure { code, message, instance: None }), out);
    }

    /// The job that is ordered; `None` for an order that begins none.
    pub(super) fn ordered(&self) -> Option<&FlinkRelease> {
        match &self.order.release.as_ref()?.workload {
            ReleaseWorkload::Flink(release) => Some(release),
            ReleaseWorkload::Host(_) | ReleaseWorkload::Kubernetes(_) => None,
        }
    }

    /// Something was begun that has to be brought to an end: an ending, a run, or the time between them.
    pub(super) fn is_in_between(&self) -> bool {
        let Ledger { job, ending, next, .. } = &self.kept.ledger;
        let is_submitting = job.as_ref().is_some_and(|job| job.is_submitting());
        let is_gap = job.is_none() && next.is_some() && self.kept.commits > 0;
        ending.is_some() || is_submitting || is_gap
    }
}
