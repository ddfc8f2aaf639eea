//! Jobs on the JobManager in memory: the suite, and the death of the JobManager at each call.

use trimaran_conformance::driver::flink::{FlinkModel, Kill, NEW, OLD, Story, THIRD, digest, release};
use trimaran_conformance::driver::{Faults, agent, check, play};
use trimaran_conformance::flink::deadly::Deadly;
use trimaran_conformance::flink::death::{Death, Moment, Mortal};
use trimaran_conformance::flink::lab::{Lab, ModelCluster};
use trimaran_conformance::flink::recording::{JARS, record};
use trimaran_conformance::flink::{
    Behaviour, INITIALIZING_TAKES, ModelJobManager, RESTART_TAKES, Setup, Version,
};
use trimaran_flink_core::ledger::Persisted;
use trimaran_model::action::{Action, Outcome};
use trimaran_model::pipeline::{FlinkRestore, UpgradeMode};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Millis;

#[test]
fn the_machine_of_a_job_conforms_on_a_first_deploy() {
    let tried = check(|| FlinkModel::new(Story::Deploy, None, true)).unwrap_or_else(|why| panic!("{why}"));
    assert!(tried.points >= 25 && tried.calls >= 8 && tried.runs > 2000, "{tried:?}");
}

#[test]
fn the_machine_of_a_job_conforms_on_an_upgrade_that_is_rolled_back() {
    let tried = check(|| FlinkModel::new(Story::Upgrade, None, true)).unwrap_or_else(|why| panic!("{why}"));
    assert!(tried.points >= 35 && tried.calls >= 12 && tried.runs > 2000, "{tried:?}");
}

/// Also where the agent dies, with its directory or without, between the orders of an upgrade and of its rollback: the
/// second order knows the savepoint that the first one had committed.
#[test]
fn the_machine_of_a_job_conforms_through_the_executor_of_an_agent() {
    let tried =
        agent::check(|| FlinkModel::new(Story::Upgrade, None, true)).unwrap_or_else(|why| panic!("{why}"));
    assert!(tried.points >= 40 && tried.calls >= 12 && tried.runs > 3000, "{tried:?}");
}

/// With high availability nothing that the JobManager does is ever lost: at each call, and at the moments behind it
/// in which a stop is in one of its states.
#[test]
fn a_jobmanager_that_dies_at_any_call_loses_no_record() {
    let calls =
        play(FlinkModel::new(Story::Upgrade, None, true), &Faults::default()).expect("no fault").calls;
    let mut runs = 0;
    for call in 1..=calls {
        for after in [0, 10, 30, 45, 60, 100, 200, 1500].map(Millis) {
            let kill = Some(Kill { call, after });
            let finished = play(FlinkModel::new(Story::Upgrade, kill, true), &Faults::default());
            if let Err(why) = finished {
                panic!("killed {after} behind call {call}: {why}");
            }
            runs += 1;
        }
    }
    assert!(runs > 100, "{runs}");
}

/// Without it the job may be gone: then no job runs and people are asked, or the upgrade was done; never two jobs.
#[test]
fn a_jobmanager_without_high_availability_ends_in_one_job_or_a_question() {
    let calls =
        play(FlinkModel::new(Story::Upgrade, None, false), &Faults::default()).expect("no fault").calls;
    let mut asked = 0;
    for call in 1..=calls {
        for after in [0, 10, 30, 45, 60, 100, 200, 1500].map(Millis) {
            let kill = Some(Kill { call, after });
            let finished = play(FlinkModel::new(Story::Upgrade, kill, false), &Faults::default());
            let finished = finished.unwrap_or_else(|why| panic!("killed {after} behind call {call}: {why}"));
            asked += u32::from(finished.outcome != Some(Outcome::Done));
        }
    }
    assert!(asked > 10, "{asked}");
}

/// The model says what the real ones say: the texts were recorded from them.
#[test]
fn the_model_answers_as_the_recordings() {
    for (version, name) in [(Version::V1_20, "1.20.5"), (Version::V2_3, "2.3.0")] {
        let mut jobmanager = ModelJobManager::new(Setup { version, high_availability: true, slots: 8 });
        let behaviours = [
            ("newuid", Behaviour::NewUid),
            ("mainthrows", Behaviour::MainThrows),
            ("noexecute", Behaviour::NoExecute),
            ("nomain", Behaviour::NoMain),
            ("notajar", Behaviour::NotAJar),
            ("crash", Behaviour::Crash { after: Millis::seconds(1) }),
        ];
        let number =
            |name: &str| u8::try_from(JARS.iter().position(|jar| *jar == name).expect("a jar")).expect("few");
        for (jar, behaviour) in behaviours {
            jobmanager.behave(digest(number(jar)), behaviour);
        }
        let jar = |name: &str| release(number(name)).jar;
        let text = record(&mut ModelCluster::new(jobmanager), &jar, 1, "file:/savepoints");
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../env/flink/recordings/");
        let recorded = std::fs::read_to_string(format!("{file}{name}.txt")).expect("it was recorded");
        assert_eq!(text, recorded, "{name}");
    }
}

fn lab(high_availability: bool, behaviours: &[(u8, Behaviour)]) -> Lab<ModelCluster> {
    let setup = Setup { version: Version::V2_3, high_availability, slots: 8 };
    let mut jobmanager = ModelJobManager::new(setup);
    for (n, behaviour) in behaviours {
        jobmanager.behave(digest(*n), *behaviour);
    }
    let releases = [OLD, NEW, THIRD].map(|n| (digest(n), release(n)));
    Lab::new(ModelCluster::new(jobmanager), releases.into())
}

/// Version 1 runs and has made checkpoints.
fn deployed(high_availability: bool, behaviours: &[(u8, Behaviour)]) -> Lab<ModelCluster> {
    let mut lab = lab(high_availability, behaviours);
    assert_eq!(lab.perform(Action::Release(digest(OLD))).outcome, Outcome::Done);
    lab.cluster.pass(Millis::seconds(5));
    lab
}

fn assert_whole(lab: &Lab<ModelCluster>) {
    assert_eq!(lab.cluster.jobmanager.missing(), None, "a record was lost");
    assert_eq!(lab.cluster.jobmanager.overlap(), None);
}

#[test]
fn an_upgrade_keeps_the_state_and_repeats_nothing() {
    let mut lab = deployed(true, &[]);
    let upgraded = lab.perform(Action::Release(digest(NEW)));
    assert_eq!(upgraded.outcome, Outcome::Done, "{:?}", upgraded.messages);
    let from = upgraded.began_from().expect("it began from a savepoint");
    assert!(from.starts_with("file:/savepoints/clicks/2-1-1/savepoint-"), "{from}");
    assert_whole(&lab);
    assert_eq!(lab.cluster.jobmanager.repeated(), 0);
}

/// Every bad version is recognized with its reason, and the earlier one runs again without a lost record.
#[test]
fn every_bad_version_goes_back() {
    let second = Millis::seconds(1);
    let cases = [
        (Behaviour::Crash { after: second }, ReasonCode::JobRestarts),
        (Behaviour::OpenThrows, ReasonCode::JobRestarts),
        (Behaviour::BadState, ReasonCode::JobRestarts),
        (Behaviour::CheckpointsFail, ReasonCode::CheckpointsFail),
        (Behaviour::Finite { records: 600 }, ReasonCode::JobEnded),
    ];
    for (behaviour, code) in cases {
        let mut lab = deployed(true, &[(NEW, behaviour)]);
        let failed = lab.perform(Action::Release(digest(NEW)));
        assert_eq!(failed.code(), Some(code), "{behaviour:?}: {:?}", failed.outcome);
        assert!(matches!(failed.outcome, Outcome::Failed(_)), "{behaviour:?}: {:?}", failed.outcome);
        assert!(failed.took < Millis::seconds(15), "{behaviour:?} took {}", failed.took);
        let savepoint = failed.began_from().expect("from the savepoint").to_owned();
        let restored = lab.perform(Action::Restore(digest(OLD)));
        assert_eq!(restored.outcome, Outcome::Done, "{behaviour:?}: {:?}", restored.messages);
        assert_eq!(restored.began_from(), Some(savepoint.as_str()), "{behaviour:?}");
        assert_eq!(lab.cluster.jobmanager.live_jobs().len(), 1);
        assert_whole(&lab);
    }
}

/// Whatever dies in whatever phase: one job afterwards, and no record lost. The same is played on real clusters.
#[test]
fn whatever_dies_in_any_phase_one_job_goes_on() {
    for high_availability in [true, false] {
        for death in Death::all() {
            let mut lab = lab(high_availability, &[]);
            let mut canceling = release(THIRD);
            canceling.job.upgrade.mode = UpgradeMode::LastCheckpoint;
            lab.add(digest(THIRD), canceling);
            let mut it = Deadly::new(lab, high_availability, [OLD, NEW, THIRD].map(digest));
            if it.play(death).is_none() {
                continue;
            }
            assert_eq!(it.lab.cluster.jobmanager.live_jobs().len(), 1, "{death:?}");
            assert_whole(&it.lab);
        }
    }
}

/// What can be known before is known before: the running job does not stop for it.
#[test]
fn what_is_refused_leaves_the_running_job_alone() {
    let cases = [
        (Behaviour::NotAJar, ReasonCode::JarRefused),
        (Behaviour::NoMain, ReasonCode::JarRefused),
        (Behaviour::MainThrows, ReasonCode::JarRefused),
        (Behaviour::NoExecute, ReasonCode::JarRefused),
        (Behaviour::NewUid, ReasonCode::StateIncompatible),
    ];
    for (behaviour, code) in cases {
        let mut lab = deployed(true, &[(NEW, behaviour)]);
        let running = lab.cluster.jobmanager.live_jobs();
        let refused = lab.perform(Action::Release(digest(NEW)));
        assert_eq!(refused.code(), Some(code), "{behaviour:?}: {:?}", refused.outcome);
        assert_eq!(lab.cluster.jobmanager.live_jobs(), running, "{behaviour:?}");
        // The rollback finds what it wants, and changes nothing.
        let restored = lab.perform(Action::Restore(digest(OLD)));
        assert_eq!((restored.outcome, lab.cluster.jobmanager.live_jobs()), (Outcome::Done, running));
        assert!(restored.took < Millis::seconds(3), "{}", restored.took);
        assert_eq!(lab.cluster.jobmanager.repeated(), 0);
        assert_whole(&lab);
    }
}

#[test]
fn a_rollback_says_what_it_costs() {
    let mut lab = deployed(true, &[(NEW, Behaviour::Crash { after: Millis::seconds(1) })]);
    assert!(matches!(lab.perform(Action::Release(digest(NEW))).outcome, Outcome::Failed(_)));
    let before = lab.cluster.jobmanager.repeated();
    let restored = lab.perform(Action::Restore(digest(OLD)));
    let cost = restored.messages.iter().find(|message| message.contains("replays"));
    let cost = cost.unwrap_or_else(|| panic!("{:?}", restored.messages));
    assert!(
        cost.contains("going back to the savepoint") && cost.contains("records are processed again"),
        "{cost}"
    );
    assert!(lab.cluster.jobmanager.repeated() >= before);
    assert_whole(&lab);
}

/// Behind restarts too: what is said at the end is what the sink counts once the restored job is past it.
#[test]
fn repeated_records_are_counted_over_all_restarts_of_the_version_that_is_left() {
    let crash = |after| Behaviour::Crash { after };
    for behaviour in [crash(Millis(700)), crash(Millis(1500)), Behaviour::OpenThrows, Behaviour::BadState] {
        let mut lab = deployed(true, &[(NEW, behaviour)]);
        let mut next = release(NEW);
        next.job.health.window = Millis::seconds(10);
        lab.add(digest(NEW), next);
        let before = lab.cluster.jobmanager.repeated();
        assert!(matches!(lab.perform(Action::Release(digest(NEW))).outcome, Outcome::Failed(_)));
        let restored = lab.perform(Action::Restore(digest(OLD)));
        assert_eq!(restored.outcome, Outcome::Done, "{behaviour:?}: {:?}", restored.messages);
        lab.cluster.pass(Millis::seconds(30));
        let counted = lab.cluster.jobmanager.repeated() - before;
        let last = restored.messages.last().expect("there are messages");
        let exact = format!("({counted} records are processed again)");
        assert!(last.contains(&exact), "{behaviour:?}: {counted}: {:?}", restored.messages);
        assert_whole(&lab);
    }
}

/// Counts that the JobManager has forgotten are no numbers that are said.
#[test]
fn what_was_counted_before_a_failover_is_missing_in_the_number() {
    let mut lab = deployed(true, &[]);
    let mut next = release(NEW);
    next.job.health.window = Millis::seconds(20);
    lab.add(digest(NEW), next);
    assert_eq!(lab.perform(Action::Release(digest(NEW))).outcome, Outcome::Done);
    lab.cluster.kill();
    lab.cluster.pass(Millis(RESTART_TAKES.0 + 5000));
    let mut old = release(OLD);
    old.job.rollback.prefer = FlinkRestore::Savepoint;
    lab.add(digest(OLD), old);
    let restored = lab.perform(Action::Restore(digest(OLD)));
    assert_eq!(restored.outcome, Outcome::Done, "{:?}", restored.messages);
    let last = restored.messages.last().expect("there are messages");
    assert!(last.contains("at least") && last.contains("records are processed again"), "{last}");
    assert_whole(&lab);
}

/// A state that the version to go back to can't take is left for its own savepoint, also by an agent that finds the run begun.
#[test]
fn a_state_that_does_not_fit_is_left_for_the_own_savepoint_whoever_sends_the_run() {
    let mortals = [Mortal::Agent, Mortal::AgentAndDisk];
    let deaths = mortals.map(|of| Death { at: Persisted::Submitting, of, moment: Moment::BeforeCall });
    for deaths in [&deaths[..0], &deaths[..1], &deaths[1..]] {
        let mut lab = deployed(true, &[(NEW, Behaviour::NewUid)]);
        let (mut next, mut old) = (release(NEW), release(OLD));
        next.job.upgrade.allow_non_restored_state = true;
        old.job.rollback.prefer = FlinkRestore::LastCheckpoint;
        lab.add(digest(NEW), next);
        lab.add(digest(OLD), old);
        let upgraded = lab.perform(Action::Release(digest(NEW)));
        assert_eq!(upgraded.outcome, Outcome::Done, "{:?}", upgraded.messages);
        let savepoint = upgraded.began_from().expect("it began from a savepoint").to_owned();
        let (restored, left) = lab.perform_while(Action::Restore(digest(OLD)), deaths);
        assert!(left.is_empty(), "{left:?} did not happen");
        assert_eq!(restored.outcome, Outcome::Done, "{deaths:?}: {:?}", restored.messages);
        assert_eq!(restored.began_from(), Some(savepoint.as_str()), "{deaths:?}: {:?}", restored.messages);
    }
}

/// The job can't be stopped: nothing is submitted, it keeps running, and the stage pauses.
#[test]
fn a_stop_that_fails_leaves_the_job_running() {
    for behaviour in [Behaviour::Slow { takes: Millis::seconds(3) }, Behaviour::CheckpointsFail] {
        let mut lab = lab(true, &[(OLD, behaviour)]);
        let mut old = release(OLD);
        old.job.health.min_checkpoints = 0;
        lab.add(digest(OLD), old);
        assert_eq!(lab.perform(Action::Release(digest(OLD))).outcome, Outcome::Done);
        let running = lab.cluster.jobmanager.live_jobs();
        let stopped = lab.perform(Action::Release(digest(NEW)));
        assert_eq!(stopped.code(), Some(ReasonCode::SavepointFailed), "{behaviour:?}: {:?}", stopped.outcome);
        assert!(matches!(stopped.outcome, Outcome::Fault(_)));
        assert_eq!(lab.cluster.jobmanager.live_jobs(), running);
        assert_whole(&lab);
    }
}

/// Behind a failover a job refuses every stop, first while it is in between and then while it is `RUNNING` and its tasks are
/// not: that uses no try up, however few there are.
#[test]
fn a_job_that_has_just_come_back_is_stopped_when_all_its_tasks_run() {
    let between = Millis(RESTART_TAKES.0 + 100);
    let running = Millis(RESTART_TAKES.0 + INITIALIZING_TAKES.0 + 100);
    for after in [between, running] {
        let mut lab = deployed(true, &[]);
        let mut next = release(NEW);
        next.job.upgrade.retries = 0;
        lab.add(digest(NEW), next);
        lab.cluster.kill();
        lab.cluster.pass(after);
        let upgraded = lab.perform(Action::Release(digest(NEW)));
        assert_eq!(upgraded.outcome, Outcome::Done, "{after}: {:?}", upgraded.messages);
        let waited = "waiting for all tasks to run";
        assert!(upgraded.messages.iter().any(|it| it.contains(waited)), "{after}: {:?}", upgraded.messages);
        assert!(upgraded.began_from().is_some_and(|path| path.contains("/savepoint-")), "{after}");
        assert_whole(&lab);
    }
}

/// More slots than there are: people are asked, a moment later, since TaskManagers may be about to come.
#[test]
fn slots_that_are_missing_are_waited_for_a_moment() {
    let mut lab = deployed(true, &[]);
    let running = lab.cluster.jobmanager.live_jobs();
    let mut wide = release(NEW);
    wide.job.parallelism = Some(50);
    lab.add(digest(NEW), wide);
    let refused = lab.perform(Action::Release(digest(NEW)));
    assert_eq!(refused.code(), Some(ReasonCode::SlotsMissing), "{:?}", refused.outcome);
    assert!((Millis::seconds(15)..Millis::seconds(20)).contains(&refused.took), "{}", refused.took);
    assert_eq!(lab.cluster.jobmanager.live_jobs(), running);
    assert_whole(&lab);
}

/// A job whose tasks never run together is not waited for without end.
#[test]
fn a_job_that_never_runs_whole_is_waited_for_as_long_as_the_upgrade_may_take() {
    let mut lab = lab(true, &[(OLD, Behaviour::OpenThrows)]);
    assert!(matches!(lab.perform(Action::Release(digest(OLD))).outcome, Outcome::Failed(_)));
    let mut next = release(NEW);
    next.job.upgrade.timeout = Millis::seconds(20);
    lab.add(digest(NEW), next);
    let stopped = lab.perform(Action::Release(digest(NEW)));
    let Outcome::Fault(failure) = &stopped.outcome else { panic!("{:?}", stopped.outcome) };
    assert_eq!(failure.code, ReasonCode::SavepointFailed);
    assert!(failure.message.contains("Not all required tasks"), "{}", failure.message);
    let long = Millis::seconds(20)..Millis::seconds(40);
    assert!(long.contains(&stopped.took), "{}", stopped.took);
}

#[test]
fn a_directory_that_can_not_be_written_is_named_and_nothing_stops() {
    let mut lab = deployed(true, &[]);
    lab.cluster.jobmanager.disk_is_broken = true;
    let running = lab.cluster.jobmanager.live_jobs();
    let stopped = lab.perform(Action::Release(digest(NEW)));
    let Outcome::Fault(failure) = &stopped.outcome else { panic!("{:?}", stopped.outcome) };
    assert_eq!(failure.code, ReasonCode::SavepointFailed);
    assert!(failure.message.contains("Failed to create savepoint directory"), "{}", failure.message);
    assert_eq!(lab.cluster.jobmanager.live_jobs(), running);
}

/// Without high availability a JobManager that dies takes its jobs along: people are asked once, with the path, and the
/// next order continues from there.
#[test]
fn a_job_that_is_lost_with_its_jobmanager_continues_after_a_human_was_asked() {
    let mut lab = deployed(false, &[]);
    lab.cluster.kill();
    let lost = lab.perform(Action::Release(digest(NEW)));
    let Outcome::Fault(failure) = &lost.outcome else { panic!("{:?}", lost.outcome) };
    assert_eq!(failure.code, ReasonCode::JobLost);
    assert!(failure.message.contains("file:/checkpoints/"), "{}", failure.message);
    assert!(lab.cluster.jobmanager.live_jobs().is_empty());
    let resumed = lab.perform(Action::Release(digest(NEW)));
    assert_eq!(resumed.outcome, Outcome::Done, "{:?}", resumed.messages);
    assert!(resumed.began_from().is_some_and(|path| path.starts_with("file:/checkpoints/")));
    assert_whole(&lab);
}

/// The JobManager was restarted, and with it the directory of uploads: the jar comes from the agent's store again.
#[test]
fn jars_that_the_jobmanager_has_lost_are_brought_again() {
    let mut lab = deployed(true, &[]);
    let (brought, held) =
        ("the jar comes from the store of the agent", "the jar is the one that the JobManager holds");
    lab.cluster.jobmanager.lose_uploads();
    let mut go = |action, loses, says: &str| {
        let ended = lab.perform(action);
        assert_eq!(ended.outcome, Outcome::Done);
        // Also when all is done.
        assert!(ended.messages.last().is_some_and(|it| it.contains(says)), "{says}: {:?}", ended.messages);
        if loses {
            lab.cluster.jobmanager.lose_uploads();
        }
    };
    go(Action::Release(digest(NEW)), true, brought);
    go(Action::Restore(digest(OLD)), false, brought);
    go(Action::Release(digest(NEW)), false, brought);
    go(Action::Restore(digest(OLD)), false, held);
    assert_whole(&lab);
}

#[test]
fn savepoints_of_the_history_stay_where_they_are() {
    let mut lab = deployed(true, &[]);
    let mut paths = Vec::new();
    for n in [NEW, THIRD, OLD, NEW] {
        let ended = lab.perform(Action::Release(digest(n)));
        assert_eq!(ended.outcome, Outcome::Done);
        paths.push(ended.began_from().expect("from a savepoint").to_owned());
        lab.cluster.pass(Millis::seconds(3));
    }
    for path in &paths {
        assert!(lab.cluster.jobmanager.savepoint(path).is_some_and(|it| it.is_complete), "{path}");
    }
    assert_eq!(lab.cluster.jobmanager.repeated(), 0);
}
