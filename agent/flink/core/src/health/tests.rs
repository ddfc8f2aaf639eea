//! Jobs that obey a script, sampled each second as the machine does.

use proptest::prelude::*;

use super::*;
use crate::call::{CheckpointSeen, Tasks};

/// A job that fails after it ran for a while, and is restarted after a delay.
#[derive(Debug, Clone, Copy)]
struct Looping {
    runs_for: Millis,
    first_delay: Millis,
    /// Per cent by which each delay is longer than the one before.
    growth: u64,
    delay_max: Millis,
    /// Does each failure have a text of its own?
    own_causes: bool,
}

fn rules() -> FlinkHealth {
    FlinkHealth::default()
}

fn good(at: u64, completed: u64) -> Sample {
    Sample {
        at: WallTime(i64::try_from(at).expect("small")),
        state: Some(JobState::Running),
        tasks: Some(Tasks { running_or_finished: 2, total: 2 }),
        exceptions: Some(Vec::new()),
        checkpoints: Some(counts(completed, 0)),
        checkpointing_off: false,
    }
}

fn counts(completed: u64, failed: u64) -> CheckpointCounts {
    let last =
        (completed > 0).then(|| CheckpointSeen { path: Some("file:/chk".to_owned()), at: WallTime(0) });
    CheckpointCounts { completed, failed, last, failure: None }
}

/// Samples each second until there is a judgment.
fn judge(rules: FlinkHealth, bounded: bool, sample: impl Fn(u64) -> Option<Sample>) -> (Judgment, Millis) {
    let mut window = Window::of_new_job(Timestamp(0), rules, bounded);
    for second in 1..5000 {
        let now = Timestamp(second * 1000);
        match window.judge(now, sample(now.0).as_ref()) {
            Judgment::Open => {}
            judgment => return (judgment, Millis(now.0)),
        }
    }
    panic!("there is no judgment")
}

fn code(judgment: &Judgment) -> ReasonCode {
    match judgment {
        Judgment::Failed(failure) | Judgment::Fault(failure) => failure.code,
        other => panic!("{other:?}"),
    }
}

impl Looping {
    /// When it runs: from and to.
    fn runs(&self, until: u64) -> Vec<(u64, u64)> {
        let (mut at, mut delay, mut runs) = (100, self.first_delay.0, Vec::new());
        while at < until {
            runs.push((at, at + self.runs_for.0));
            at += self.runs_for.0 + delay;
            delay = (delay * (100 + self.growth) / 100).min(self.delay_max.0);
        }
        runs
    }

    fn sample(&self, at: u64) -> Sample {
        let runs = self.runs(at + 1);
        let is_running = runs.last().is_some_and(|(from, to)| (*from..*to).contains(&at));
        let ended = runs.iter().filter(|(_, to)| *to <= at).rev().take(16);
        let exceptions = ended.map(|(_, to)| ExceptionSeen {
            at: WallTime(i64::try_from(*to).expect("small")),
            cause: if self.own_causes { format!("record {to}") } else { "the same".to_owned() },
        });
        // It makes progress while it runs.
        let completed = runs.iter().map(|(from, to)| (at.min(*to).saturating_sub(*from)) / 1000).sum();
        Sample {
            state: Some(if is_running { JobState::Running } else { JobState::Restarting }),
            tasks: Some(Tasks { running_or_finished: if is_running { 2 } else { 0 }, total: 2 }),
            exceptions: Some(exceptions.collect()),
            checkpoints: Some(counts(completed, 0)),
            ..good(at, 0)
        }
    }
}

#[test]
fn a_good_job_is_healthy_at_the_end_of_its_window() {
    let (judgment, took) = judge(rules(), false, |at| Some(good(at, at / 1000)));
    assert_eq!(judgment, Judgment::Healthy);
    assert_eq!(took, Millis(rules().window.0 + 1000));
}

#[test]
fn running_without_running_tasks_is_nothing() {
    let tasks = Some(Tasks { running_or_finished: 1, total: 2 });
    let (judgment, took) = judge(rules(), false, |at| Some(Sample { tasks, ..good(at, 0) }));
    assert_eq!((code(&judgment), took), (ReasonCode::JobNotStarted, rules().start_timeout));
}

#[test]
fn what_is_missing_is_unknown_and_never_healthy() {
    let without_checkpoints = |at| Some(Sample { checkpoints: None, ..good(at, 0) });
    let without_tasks =
        |at| Some(Sample { tasks: (at < 2000).then_some(good(at, 0).tasks).flatten(), ..good(at, 9) });
    let (judgment, took) = judge(rules(), false, without_checkpoints);
    assert!(matches!(judgment, Judgment::Fault(_)), "{judgment:?}");
    assert_eq!((code(&judgment), took.0), (ReasonCode::PausedUnknown, 2 * rules().window.0 + 1000));
    assert!(!matches!(judge(rules(), false, without_tasks).0, Judgment::Healthy));
    let (judgment, _) = judge(rules(), false, |_| None);
    assert_eq!(code(&judgment), ReasonCode::JobmanagerUnreachable);
}

#[test]
fn one_cause_three_times_is_enough() {
    let looping = Looping {
        runs_for: Millis(100),
        first_delay: Millis::seconds(1),
        growth: 0,
        delay_max: Millis::seconds(1),
        own_causes: false,
    };
    let (judgment, took) = judge(rules(), false, |at| Some(looping.sample(at)));
    assert_eq!(code(&judgment), ReasonCode::JobRestarts);
    assert!(took <= Millis::seconds(4), "{took}");
}

#[test]
fn the_default_backoff_of_flink_hides_nothing() {
    // 1 s, half as long again each time, at most a minute: a failure a minute in the end.
    let looping = Looping {
        runs_for: Millis::seconds(3),
        first_delay: Millis::seconds(1),
        growth: 50,
        delay_max: Millis::minutes(1),
        own_causes: true,
    };
    let (judgment, took) = judge(rules(), false, |at| Some(looping.sample(at)));
    assert_eq!(code(&judgment), ReasonCode::JobRestarts);
    assert!(took <= Millis::seconds(30), "{took}");
}

#[test]
fn a_job_may_fail_as_often_as_it_is_allowed() {
    let once = Looping {
        runs_for: Millis::minutes(1),
        first_delay: Millis::seconds(1),
        growth: 0,
        delay_max: Millis::seconds(1),
        own_causes: true,
    };
    // The first run ends after a minute, the second one goes on.
    let sample = |at: u64| {
        if at < 62_000 {
            once.sample(at)
        } else {
            Sample { exceptions: once.sample(62_000).exceptions, ..good(at, at / 1000) }
        }
    };
    assert_eq!(judge(rules(), false, |at| Some(sample(at))).0, Judgment::Healthy);
    let strict = FlinkHealth { max_restarts: 0, ..rules() };
    assert_eq!(code(&judge(strict, false, |at| Some(sample(at))).0), ReasonCode::JobRestarts);
}

#[test]
fn failing_checkpoints_are_a_failure_and_the_first_declined_one_is_none() {
    let failing = |at: u64| {
        let failure = Some("Checkpoint expired before completing.".to_owned());
        Some(Sample {
            checkpoints: Some(CheckpointCounts { failure, ..counts(1, at / 1000) }),
            ..good(at, 0)
        })
    };
    let (judgment, took) = judge(rules(), false, failing);
    assert_eq!(code(&judgment), ReasonCode::CheckpointsFail);
    assert!(took <= Millis::seconds(5), "{took}");
    let declined = |at: u64| Some(Sample { checkpoints: Some(counts(at / 1000, 1)), ..good(at, 0) });
    assert_eq!(judge(rules(), false, declined).0, Judgment::Healthy);
}

#[test]
fn a_jobmanager_that_begins_to_count_anew_is_no_recovery_and_no_failure() {
    let half = rules().window.0 / 2;
    let sample = |at: u64| Some(good(at, if at < half { at / 1000 } else { (at - half) / 1000 }));
    let (judgment, took) = judge(rules(), false, sample);
    assert_eq!((judgment, took), (Judgment::Healthy, Millis(rules().window.0 + 1000)));
    // Failures before it count on, although its history is empty.
    let looping = |at: u64| {
        let exceptions = [(1, 1), (2, 2), (3, 3)]
            .map(|(n, s)| ExceptionSeen { at: WallTime(s * 60_000), cause: format!("{n}") });
        let seen: Vec<_> = exceptions
            .into_iter()
            .filter(|it| it.at.0 <= i64::try_from(at).expect("small"))
            .rev()
            .take(1)
            .collect();
        Some(Sample { exceptions: Some(seen), ..good(at, at / 1000) })
    };
    assert_eq!(code(&judge(rules(), false, looping).0), ReasonCode::JobRestarts);
}

#[test]
fn an_end_is_a_success_only_of_a_bounded_job() {
    let ended = |state| move |at| Some(Sample { state: Some(state), ..good(at, 0) });
    assert_eq!(judge(rules(), true, ended(JobState::Finished)).0, Judgment::Healthy);
    for (bounded, state) in
        [(false, JobState::Finished), (true, JobState::Failed), (true, JobState::Canceled)]
    {
        assert_eq!(code(&judge(rules(), bounded, ended(state)).0), ReasonCode::JobEnded);
    }
}

#[test]
fn missing_slots_and_lost_taskmanagers_are_no_fault_of_the_release() {
    for (cause, expected) in [
        (
            "org.apache.flink.runtime.jobmanager.scheduler.NoResourceAvailableException: Slot request",
            ReasonCode::SlotsMissing,
        ),
        (
            "java.util.concurrent.TimeoutException: Heartbeat of TaskManager with id tm1 timed out.",
            ReasonCode::TaskmanagerLost,
        ),
    ] {
        let sample = |at: u64| {
            let exceptions = (0..at / 10_000).rev().map(|n| ExceptionSeen {
                at: WallTime(i64::try_from(n).expect("small")),
                cause: cause.to_owned(),
            });
            let tasks = Some(Tasks { running_or_finished: 0, total: 2 });
            Some(Sample { exceptions: Some(exceptions.collect()), tasks, ..good(at, 0) })
        };
        let (judgment, _) = judge(rules(), false, sample);
        assert!(matches!(judgment, Judgment::Fault(_)), "{judgment:?}");
        assert_eq!(code(&judgment), expected);
    }
}

#[test]
fn a_job_that_is_not_known_for_a_while_is_lost() {
    let (judgment, took) = judge(rules(), false, |at| {
        Some(Sample { state: (at < 5000).then_some(JobState::Running), ..good(at, 0) })
    });
    assert_eq!((judgment, took), (Judgment::Lost, Millis(5000 + SETTLED_AFTER.0)));
}

#[test]
fn a_job_without_checkpoints_says_so_at_once() {
    let off = |at| Some(Sample { checkpoints: None, checkpointing_off: true, ..good(at, 0) });
    assert_eq!(code(&judge(rules(), false, off).0), ReasonCode::CheckpointingOff);
    let without = FlinkHealth { min_checkpoints: 0, ..rules() };
    assert_eq!(judge(without, false, off).0, Judgment::Healthy);
}

proptest! {
    /// Whatever its rhythm: a job that goes on failing within half of the window never becomes healthy.
    #[test]
    fn a_job_that_fails_again_and_again_never_becomes_healthy(
        runs_for in 50u64..140_000,
        first_delay in 0u64..10_000,
        growth in 0u64..200,
        delay_max in 1000u64..60_000,
        own_causes: bool,
        max_restarts in 0u32..5,
    ) {
        let looping = Looping {
            runs_for: Millis(runs_for),
            first_delay: Millis(first_delay.min(delay_max)),
            growth,
            delay_max: Millis(delay_max),
            own_causes,
        };
        prop_assume!(runs_for + delay_max < rules().window.0 / 2);
        let rules = FlinkHealth { max_restarts, ..rules() };
        let (judgment, _) = judge(rules, false, |at| Some(looping.sample(at)));
        prop_assert!(matches!(judgment, Judgment::Failed(_)), "{judgment:?}");
    }
}
