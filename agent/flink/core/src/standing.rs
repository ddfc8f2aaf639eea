//! The health of an installation's job between orders: what an observer judges from the list of jobs, and from samples
//! where the list shows that something happened.
//!
//! At rest one list for all jobs of a cluster is enough: it has the state of each job, its tasks, and when its state last
//! changed. A sample is asked for when that is another time than before, and while something is wrong. Now and then only the
//! checkpoints are, which no list has: not of all jobs in the same moment.
//!
//! What ran at the end of its order is healthy until there is evidence against it. Failures count while they are younger than
//! [`PERIOD`], so that a job that fails once a day is healthy and one that fails over and over is not, however slowly.
//!
//! Deliberately not here: what follows from a judgment (the coordinators), and when the platform can't be seen.

use std::collections::{BTreeMap, VecDeque};

use trimaran_model::action::Failure;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Timestamp, WallTime};
use trimaran_model::verdict::Verdict;

use crate::call::{CheckpointCounts, JobOverview, JobState, Sample};
use crate::health::{SAME_CAUSE_MAX, SETTLED_AFTER, code_of, failure, is_platform};
use crate::id::FlinkId;
use crate::ledger::{JobRules, Ledger};

/// Failures are counted over this time.
const PERIOD: Millis = Millis::minutes(10);
/// So long without a failure, all tasks running: what was wrong is over.
const CALM: Millis = Millis::minutes(3);
/// A job may be restarting for so long before that shows.
const RESTART_MAX: Millis = Millis::seconds(10);
/// Not all tasks have run for so long: it is down, whatever it says.
const DOWN_AFTER: Millis = Millis::minutes(1);
/// Checkpoints of a job at rest are looked at this often.
const SAMPLE_INTERVAL: Millis = Millis::minutes(1);

/// What has to be asked of a job before it is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// The list says enough.
    Nothing,
    /// How many checkpoints completed and failed: [`StandingJob::count`].
    Checkpoints,
    /// All of it: [`StandingJob::sample`].
    Whole,
}

/// One job that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingJob {
    id: FlinkId,
    rules: JobRules,
    /// Failures up to this time are known; earlier ones are the business of the order that ended.
    counted: Option<WallTime>,
    failures: VecDeque<(Timestamp, ReasonCode, String)>,
    state: Option<JobState>,
    /// Since when not all tasks run.
    disturbed: Option<Timestamp>,
    /// Since when all tasks run.
    calm: Option<Timestamp>,
    absent: Option<Timestamp>,
    modified: Option<WallTime>,
    sampled: Option<Timestamp>,
    /// From there to the next look at its checkpoints.
    interval: Millis,
    /// Completed and failed checkpoints at the last completed one that was seen.
    checkpoints: Option<(u64, u64)>,
    failed_checkpoints: u64,
    checkpoint_failure: Option<String>,
    /// What was wrong and is not over yet.
    wrong: Option<Failure>,
}

impl StandingJob {
    /// The job of a ledger; `None` where none was begun.
    pub fn of(ledger: &Ledger) -> Option<Self> {
        let job = ledger.job.as_ref()?;
        Some(Self {
            id: job.id,
            rules: job.rules,
            counted: None,
            failures: VecDeque::new(),
            state: None,
            disturbed: None,
            calm: None,
            absent: None,
            modified: None,
            sampled: None,
            interval: first_interval(job.id),
            checkpoints: None,
            failed_checkpoints: 0,
            checkpoint_failure: None,
            wrong: None,
        })
    }

    pub fn id(&self) -> FlinkId {
        self.id
    }

    /// Takes what the list of jobs says; what is missing to judge it.
    pub fn see(&mut self, now: Timestamp, at: WallTime, jobs: &[JobOverview]) -> Question {
        self.counted.get_or_insert(at);
        let Some(job) = jobs.iter().find(|job| job.id == self.id) else {
            (self.state, self.calm) = (None, None);
            self.absent.get_or_insert(now);
            return Question::Nothing;
        };
        (self.state, self.absent) = (Some(job.state), None);
        let runs = job.state == JobState::Running && job.tasks.is_some_and(|it| it.all_run());
        // One whose input ends has done all that it was for.
        let is_well = runs || (self.rules.bounded && job.state == JobState::Finished);
        if is_well {
            self.disturbed = None;
            self.calm.get_or_insert(now);
        } else {
            self.calm = None;
            self.disturbed.get_or_insert(now);
        }
        let changed = self.modified.replace(job.modified) != Some(job.modified);
        if changed || !is_well || self.wrong.is_some() {
            return Question::Whole;
        }
        let is_due = self.sampled.is_none_or(|at| now - at >= self.interval);
        if is_due { Question::Checkpoints } else { Question::Nothing }
    }

    /// Takes a sample of the job.
    pub fn sample(&mut self, now: Timestamp, sample: &Sample) {
        let counted = self.counted.unwrap_or(sample.at);
        let exceptions = sample.exceptions.as_deref().unwrap_or_default();
        for exception in exceptions.iter().rev().filter(|it| it.at > counted) {
            self.failures.push_back((now, code_of(&exception.cause), exception.cause.clone()));
            self.calm = None;
        }
        self.counted = exceptions.iter().map(|it| it.at).max().max(Some(counted));
        self.count(now, sample.checkpoints.as_ref());
    }

    /// Takes what the job's checkpoints are.
    pub fn count(&mut self, now: Timestamp, checkpoints: Option<&CheckpointCounts>) {
        if self.sampled.replace(now).is_some() {
            self.interval = SAMPLE_INTERVAL;
        }
        if let Some(counts) = checkpoints {
            let (completed, failed) = (counts.completed, counts.failed);
            match self.checkpoints {
                // A JobManager that was restarted counts from zero.
                Some((last, at)) if completed == last && failed >= at => {
                    self.failed_checkpoints = failed - at;
                    self.checkpoint_failure.clone_from(&counts.failure);
                }
                _ => {
                    self.checkpoints = Some((completed, failed));
                    self.failed_checkpoints = 0;
                }
            }
        }
    }

    /// How it is, and what is wrong with it.
    pub fn judge(&mut self, now: Timestamp) -> (Verdict, Option<Failure>) {
        self.failures.retain(|(at, ..)| now - *at < PERIOD);
        if self.calm.is_some_and(|since| now - since >= CALM) {
            self.wrong = None;
            self.failures.clear();
        }
        if let Some(found) = self.evidence(now) {
            self.wrong = Some(found);
        }
        match &self.wrong {
            Some(failure) if failure.code == ReasonCode::JobLost => (Verdict::Missing, Some(failure.clone())),
            Some(failure) => (Verdict::Degraded, Some(failure.clone())),
            None if self.disturbed.or(self.absent).is_some_and(|since| now - since >= RESTART_MAX) => {
                (Verdict::Progressing, None)
            }
            None => (Verdict::Healthy, None),
        }
    }

    /// What speaks against it now.
    fn evidence(&self, now: Timestamp) -> Option<Failure> {
        if let Some(since) = self.absent {
            let message = format!("the JobManager does not know job {} any more", self.id);
            return (now - since >= SETTLED_AFTER).then(|| failure(ReasonCode::JobLost, message));
        }
        let last = self.failures.back().map(|(_, code, cause)| (*code, cause.as_str()));
        match self.state {
            Some(JobState::Finished) if self.rules.bounded => return None,
            Some(state) if state.is_terminal() => {
                let cause = last.map(|(_, cause)| format!(": {cause}")).unwrap_or_default();
                let message = format!("the job is {}{cause}", state.as_str());
                return Some(failure(ReasonCode::JobEnded, message));
            }
            _ => {}
        }
        let of_release = self.failures.iter().filter(|(_, code, _)| !is_platform(*code));
        let mut causes: BTreeMap<&str, u32> = BTreeMap::new();
        for (_, _, cause) in of_release.clone() {
            *causes.entry(cause).or_default() += 1;
        }
        let count = u32::try_from(of_release.count()).unwrap_or(u32::MAX);
        let is_again = causes.values().any(|times| *times >= SAME_CAUSE_MAX);
        if count > self.rules.max_restarts || is_again {
            let cause = last.map_or("without an exception", |(_, cause)| cause);
            let message = format!("{count} failures within {PERIOD}; the last: {cause}");
            return Some(failure(ReasonCode::JobRestarts, message));
        }
        if self.failed_checkpoints > u64::from(self.rules.max_failed_checkpoints) {
            let why = self.checkpoint_failure.as_deref().unwrap_or("no cause was named");
            let message = format!("{} checkpoints in a row failed: {why}", self.failed_checkpoints);
            return Some(failure(ReasonCode::CheckpointsFail, message));
        }
        let is_down = self.disturbed.is_some_and(|since| now - since >= DOWN_AFTER);
        is_down.then(|| {
            let (code, cause) = last.unwrap_or((ReasonCode::JobNotStarted, "no exception was seen"));
            let code = if is_platform(code) { code } else { ReasonCode::JobNotStarted };
            failure(code, format!("not all tasks run for more than {DOWN_AFTER}: {cause}"))
        })
    }
}

/// Jobs that are observed since the same moment, as behind the start of an agent, are looked at one after the other.
fn first_interval(id: FlinkId) -> Millis {
    Millis(SAMPLE_INTERVAL.0 - SAMPLE_INTERVAL.0 * u64::from(id.0[0]) / 256)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{ExceptionSeen, Tasks};

    const ID: FlinkId = FlinkId([7; 16]);

    fn standing(rules: JobRules) -> StandingJob {
        use crate::ledger::{JarFrom, JobRecord, Standing, Start};
        use trimaran_model::id::Digest;
        let job = JobRecord {
            id: ID,
            release: Digest([1; 32]),
            from: Start::Empty,
            standing: Standing::Started,
            rules,
            jar_from: JarFrom::Store,
        };
        StandingJob::of(&Ledger { job: Some(job), ..Ledger::default() }).expect("it has a job")
    }

    fn rules() -> JobRules {
        JobRules { bounded: false, max_restarts: 2, max_failed_checkpoints: 3 }
    }

    fn seconds(n: u64) -> Timestamp {
        Timestamp(n * 1000)
    }

    fn wall(at: Timestamp) -> WallTime {
        WallTime(i64::try_from(at.0).expect("small"))
    }

    fn listed(state: JobState, running: u32, modified: Timestamp) -> JobOverview {
        let tasks = Tasks { running_or_finished: running, total: 2 };
        JobOverview { id: ID, name: "demo".to_owned(), state, tasks: Some(tasks), modified: wall(modified) }
    }

    fn sample(at: Timestamp, exceptions: &[(Timestamp, &str)]) -> Sample {
        let seen =
            |(at, cause): &(Timestamp, &str)| ExceptionSeen { at: wall(*at), cause: (*cause).to_owned() };
        Sample {
            at: wall(at),
            state: Some(JobState::Running),
            tasks: None,
            exceptions: Some(exceptions.iter().rev().map(seen).collect()),
            checkpoints: None,
            checkpointing_off: false,
        }
    }

    fn see(
        job: &mut StandingJob,
        now: Timestamp,
        state: JobState,
        running: u32,
        modified: Timestamp,
    ) -> Question {
        job.see(now, wall(now), &[listed(state, running, modified)])
    }

    #[test]
    fn a_job_at_rest_is_healthy_and_asked_for_once_a_minute() {
        let mut job = standing(rules());
        let (mut samples, mut counts) = (0, 0);
        for n in (0..600).step_by(5) {
            match see(&mut job, seconds(n), JobState::Running, 2, seconds(0)) {
                Question::Whole => {
                    job.sample(seconds(n), &sample(seconds(n), &[]));
                    samples += 1;
                }
                Question::Checkpoints => {
                    job.count(seconds(n), None);
                    counts += 1;
                }
                Question::Nothing => {}
            }
            assert_eq!(job.judge(seconds(n)), (Verdict::Healthy, None));
        }
        assert_eq!((samples, samples + counts), (1, 10));
    }

    /// Otherwise two hundred requests leave at once.
    #[test]
    fn jobs_that_are_observed_since_the_same_moment_are_not_all_looked_at_in_the_same_one() {
        let first_look = |n: u8| {
            let mut job = standing(rules());
            (job.id, job.interval) = (FlinkId([n; 16]), first_interval(FlinkId([n; 16])));
            let look = |job: &mut StandingJob, at: u64| {
                let overview = JobOverview { id: job.id, ..listed(JobState::Running, 2, seconds(0)) };
                job.see(seconds(at), wall(seconds(at)), &[overview])
            };
            assert_eq!(look(&mut job, 0), Question::Whole);
            job.count(seconds(0), None);
            let mut moments = (5..=60).step_by(5);
            moments.find(|at| look(&mut job, *at) == Question::Checkpoints).expect("within a minute")
        };
        let mut moments = BTreeMap::new();
        for n in (0..=255_u8).map(first_look) {
            *moments.entry(n).or_insert(0) += 1;
        }
        assert!(moments.len() >= 12 && moments.values().all(|count| *count <= 24), "{moments:?}");
    }

    #[test]
    fn a_crash_loop_that_runs_at_each_look_is_degraded_and_stays_so_until_it_is_calm() {
        let mut job = standing(rules());
        see(&mut job, seconds(0), JobState::Running, 2, seconds(0));
        job.sample(seconds(0), &sample(seconds(0), &[]));
        let mut failures = Vec::new();
        let mut recognized = None;
        for n in (5..60).step_by(5) {
            failures.push((seconds(n - 1), "java.lang.IllegalStateException: x"));
            let look = see(&mut job, seconds(n), JobState::Running, 2, seconds(n - 1));
            assert_eq!(look, Question::Whole, "its state has changed");
            job.sample(seconds(n), &sample(seconds(n), &failures));
            if let (Verdict::Degraded, Some(failure)) = job.judge(seconds(n)) {
                assert_eq!(failure.code, ReasonCode::JobRestarts);
                recognized.get_or_insert(n);
            }
        }
        assert_eq!(recognized, Some(15), "the third failure of one cause");
        for (n, wanted) in [(60, Verdict::Degraded), (230, Verdict::Degraded), (245, Verdict::Healthy)] {
            see(&mut job, seconds(n), JobState::Running, 2, seconds(54));
            job.sample(seconds(n), &sample(seconds(n), &failures));
            assert_eq!(job.judge(seconds(n)).0, wanted, "{n}");
        }
    }

    #[test]
    fn failures_that_are_rare_or_of_the_platform_are_no_evidence_against_it() {
        let mut job = standing(rules());
        see(&mut job, seconds(0), JobState::Running, 2, seconds(0));
        let mut failures = Vec::new();
        for n in (300..3600).step_by(300) {
            failures.push((seconds(n), "java.lang.IllegalStateException: once in five minutes"));
            see(&mut job, seconds(n + 5), JobState::Running, 2, seconds(n + 2));
            job.sample(seconds(n + 5), &sample(seconds(n + 5), &failures));
            assert_eq!(job.judge(seconds(n + 5)).0, Verdict::Healthy, "{n}");
            see(&mut job, seconds(n + 100), JobState::Running, 2, seconds(n + 2));
            job.judge(seconds(n + 100));
        }
        let mut job = standing(rules());
        see(&mut job, seconds(0), JobState::Running, 2, seconds(0));
        let lost = [10, 20, 30, 40].map(|n| (seconds(n), "Heartbeat of TaskManager with id a timed out."));
        see(&mut job, seconds(45), JobState::Restarting, 0, seconds(40));
        job.sample(seconds(45), &sample(seconds(45), &lost));
        assert_eq!(job.judge(seconds(45)).0, Verdict::Healthy);
        see(&mut job, seconds(60), JobState::Restarting, 0, seconds(40));
        assert_eq!(job.judge(seconds(60)).0, Verdict::Progressing);
        see(&mut job, seconds(110), JobState::Restarting, 0, seconds(40));
        let (verdict, failure) = job.judge(seconds(110));
        assert_eq!(
            (verdict, failure.expect("a cause").code),
            (Verdict::Degraded, ReasonCode::TaskmanagerLost)
        );
    }

    #[test]
    fn a_job_that_ends_or_is_gone_is_named() {
        let mut job = standing(rules());
        see(&mut job, seconds(0), JobState::Running, 2, seconds(0));
        see(&mut job, seconds(5), JobState::Failed, 0, seconds(4));
        job.sample(seconds(5), &sample(seconds(5), &[(seconds(4), "java.lang.Error: y")]));
        let (verdict, failure) = job.judge(seconds(5));
        let failure = failure.expect("a cause");
        assert_eq!((verdict, failure.code), (Verdict::Degraded, ReasonCode::JobEnded));
        assert!(failure.message.contains("FAILED: java.lang.Error: y"), "{}", failure.message);
        let mut bounded = standing(JobRules { bounded: true, ..rules() });
        see(&mut bounded, seconds(0), JobState::Finished, 2, seconds(0));
        assert_eq!(bounded.judge(seconds(30)).0, Verdict::Healthy);
        let mut gone = standing(rules());
        for (n, wanted) in [(0, Verdict::Healthy), (8, Verdict::Healthy), (12, Verdict::Missing)] {
            assert_eq!(gone.see(seconds(n), wall(seconds(n)), &[]), Question::Nothing);
            assert_eq!(gone.judge(seconds(n)).0, wanted, "{n}");
        }
    }

    #[test]
    fn checkpoints_that_fail_in_a_row_are_evidence_and_one_that_completes_ends_it() {
        let mut job = standing(rules());
        let counts = |completed, failed| {
            let counts = CheckpointCounts {
                completed,
                failed,
                failure: Some("Checkpoint expired before completing.".to_owned()),
                ..CheckpointCounts::default()
            };
            Some(counts)
        };
        see(&mut job, seconds(0), JobState::Running, 2, seconds(0));
        for (n, counted, wanted) in [
            (0, counts(5, 1), Verdict::Healthy),
            (60, counts(5, 4), Verdict::Healthy),
            (120, counts(5, 5), Verdict::Degraded),
            (180, counts(6, 5), Verdict::Healthy),
            // After a restart of the JobManager.
            (240, counts(0, 0), Verdict::Healthy),
        ] {
            see(&mut job, seconds(n), JobState::Running, 2, seconds(0));
            job.sample(seconds(n), &Sample { checkpoints: counted, ..sample(seconds(n), &[]) });
            assert_eq!(job.judge(seconds(n)).0, wanted, "{n}");
        }
    }
}
