//! Restarts of a job and other parallelisms of it, on the JobManager in memory.

use trimaran_conformance::driver::flink::{FlinkModel, Kill, NEW, OLD, SCALED, Story, digest, release};
use trimaran_conformance::driver::{Faults, agent, check, play};
use trimaran_conformance::flink::lab::{Ended, Lab, ModelCluster};
use trimaran_conformance::flink::{Behaviour, ModelJobManager, Setup, Version};
use trimaran_model::action::{Action, Outcome};
use trimaran_model::pipeline::UpgradeMode;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Millis;

fn restart() -> Action {
    Action::Restart(digest(OLD))
}

fn scale(instances: u32) -> Action {
    Action::Scale { release: digest(OLD), instances }
}

#[test]
fn the_machine_of_a_job_conforms_on_a_restart_that_is_superseded_by_a_scale() {
    let tried = check(|| FlinkModel::new(Story::Restart, None, true)).unwrap_or_else(|why| panic!("{why}"));
    assert!(tried.points >= 35 && tried.calls >= 12 && tried.runs > 2000, "{tried:?}");
}

#[test]
fn the_machine_of_a_job_conforms_on_a_scale_that_is_superseded_by_a_restart() {
    let tried = check(|| FlinkModel::new(Story::Scale, None, true)).unwrap_or_else(|why| panic!("{why}"));
    assert!(tried.points >= 35 && tried.calls >= 12 && tried.runs > 2000, "{tried:?}");
}

#[test]
fn restarts_conform_through_the_executor_of_an_agent() {
    let tried =
        agent::check(|| FlinkModel::new(Story::Restart, None, true)).unwrap_or_else(|why| panic!("{why}"));
    assert!(tried.points >= 40 && tried.calls >= 12 && tried.runs > 3000, "{tried:?}");
}

#[test]
fn a_jobmanager_that_dies_at_any_call_of_a_restart_or_scale_loses_no_record() {
    for story in [Story::Restart, Story::Scale] {
        let calls = play(FlinkModel::new(story, None, true), &Faults::default()).expect("no fault").calls;
        for call in 1..=calls {
            for after in [0, 30, 60, 200, 1500].map(Millis) {
                let kill = Some(Kill { call, after });
                let finished = play(FlinkModel::new(story, kill, true), &Faults::default());
                if let Err(why) = finished {
                    panic!("{story:?}, killed {after} behind call {call}: {why}");
                }
            }
        }
    }
}

/// Version 1 runs and has made checkpoints.
fn deployed(high_availability: bool, behaviours: &[(u8, Behaviour)]) -> Lab<ModelCluster> {
    let setup = Setup { version: Version::V2_3, high_availability, slots: 8 };
    let mut jobmanager = ModelJobManager::new(setup);
    for (n, behaviour) in behaviours {
        jobmanager.behave(digest(*n), *behaviour);
    }
    let mut old = release(OLD);
    old.job.health.min_checkpoints = 0;
    let releases = [(digest(OLD), old), (digest(NEW), release(NEW))];
    let mut lab = Lab::new(ModelCluster::new(jobmanager), releases.into());
    assert_eq!(lab.perform(Action::Release(digest(OLD))).outcome, Outcome::Done);
    lab.cluster.pass(Millis::seconds(5));
    lab
}

/// The parallelism of the only job that runs.
fn parallelism(lab: &Lab<ModelCluster>) -> u32 {
    let live = lab.cluster.jobmanager.live_jobs();
    let [id] = live.as_slice() else { panic!("{live:?}") };
    lab.cluster.jobmanager.job(*id).expect("it runs").parallelism
}

fn assert_whole(lab: &Lab<ModelCluster>) {
    assert_eq!(lab.cluster.jobmanager.missing(), None, "a record was lost");
    assert_eq!(lab.cluster.jobmanager.overlap(), None);
}

/// An order that can't be done leaves the job as it runs, and says why.
fn assert_refused(lab: &mut Lab<ModelCluster>, action: Action, code: ReasonCode, words: &str) -> Ended {
    let running = lab.cluster.jobmanager.live_jobs();
    let refused = lab.perform(action);
    let Outcome::Fault(why) = &refused.outcome else { panic!("{:?}", refused.outcome) };
    assert_eq!(why.code, code, "{why:?}");
    assert!(why.message.contains(words), "{why:?}");
    assert_eq!(lab.cluster.jobmanager.live_jobs(), running);
    assert_whole(lab);
    refused
}

#[test]
fn a_restart_goes_on_from_a_savepoint_and_repeats_nothing() {
    let mut lab = deployed(true, &[]);
    let before = lab.cluster.jobmanager.live_jobs();
    for run in 2..=3 {
        let restarted = lab.perform(restart());
        assert_eq!(restarted.outcome, Outcome::Done, "{:?}", restarted.messages);
        let from = restarted.began_from().expect("from a savepoint");
        assert!(from.starts_with(&format!("file:/savepoints/clicks/{run}-1-1/savepoint-")), "{from}");
        lab.cluster.pass(Millis::seconds(2));
    }
    assert_ne!(lab.cluster.jobmanager.live_jobs(), before, "it is another job of the same release");
    assert_eq!((parallelism(&lab), lab.cluster.jobmanager.repeated()), (1, 0));
    assert_whole(&lab);
}

#[test]
fn another_parallelism_stays_for_restarts_and_goes_with_the_next_release() {
    let mut lab = deployed(true, &[]);
    let scaled = lab.perform(scale(SCALED));
    assert_eq!(scaled.outcome, Outcome::Done, "{:?}", scaled.messages);
    assert!(scaled.began_from().is_some_and(|from| from.contains("/savepoint-")), "{:?}", scaled.ledger.job);
    assert_eq!(parallelism(&lab), SCALED);
    let running = lab.cluster.jobmanager.live_jobs();
    assert_eq!(lab.perform(scale(SCALED)).outcome, Outcome::Done);
    assert_eq!(lab.cluster.jobmanager.live_jobs(), running, "it has that parallelism already");
    assert_eq!(lab.perform(restart()).outcome, Outcome::Done);
    assert_eq!(parallelism(&lab), SCALED);
    assert_eq!(lab.perform(Action::Release(digest(NEW))).outcome, Outcome::Done);
    assert_eq!(parallelism(&lab), 1, "as the release says");
    assert_eq!(lab.perform(Action::Restore(digest(OLD))).outcome, Outcome::Done);
    assert_eq!(parallelism(&lab), 1);
    assert_whole(&lab);
}

#[test]
fn a_restart_takes_the_steps_that_the_upgrade_of_its_release_names() {
    let mut lab = deployed(true, &[]);
    let mut canceling = release(OLD);
    canceling.job.upgrade.mode = UpgradeMode::LastCheckpoint;
    lab.add(digest(OLD), canceling);
    let restarted = lab.perform(restart());
    assert_eq!(restarted.outcome, Outcome::Done, "{:?}", restarted.messages);
    assert!(restarted.began_from().is_some_and(|from| from.starts_with("file:/checkpoints/")));
    assert_whole(&lab);
}

#[test]
fn what_can_not_be_restarted_or_scaled_goes_on() {
    let mut lab = deployed(true, &[]);
    let other = Action::Restart(digest(NEW));
    assert_refused(&mut lab, other, ReasonCode::OrderRefused, "the job is of release");
    let other = Action::Scale { release: digest(NEW), instances: 2 };
    assert_refused(&mut lab, other, ReasonCode::OrderRefused, "the job is of release");
    assert_refused(&mut lab, scale(0), ReasonCode::OrderRefused, "at least 1");
    let wide = assert_refused(&mut lab, scale(9), ReasonCode::SlotsMissing, "needs 9 task slots");
    assert!((Millis::seconds(15)..Millis::seconds(20)).contains(&wide.took), "{}", wide.took);
    assert_eq!(wide.ledger.scaled, None, "nothing is remembered of it");
}

#[test]
fn a_program_that_chooses_its_parallelism_is_not_restarted_for_nothing() {
    let mut lab = deployed(true, &[(OLD, Behaviour::OwnParallelism)]);
    assert_refused(&mut lab, scale(4), ReasonCode::OrderRefused, "chooses its parallelism itself");
}

#[test]
fn where_nothing_runs_there_is_nothing_to_restart() {
    let mut lab = deployed(true, &[]);
    lab.forget();
    for action in [restart(), scale(2)] {
        let refused = lab.perform(action);
        assert_eq!(refused.code(), Some(ReasonCode::OrderRefused), "{:?}", refused.outcome);
        assert_eq!(refused.ledger.job, None);
    }
}

#[test]
fn a_job_that_can_not_be_stopped_keeps_running() {
    let mut lab = deployed(true, &[(OLD, Behaviour::Slow { takes: Millis::seconds(3) })]);
    assert_refused(
        &mut lab,
        restart(),
        ReasonCode::SavepointFailed,
        "could not be stopped and keeps running",
    );
}

/// A job that went with its JobManager begins again from its last checkpoint, after people were asked.
#[test]
fn a_lost_job_is_restarted_from_its_last_checkpoint() {
    let mut lab = deployed(false, &[]);
    lab.cluster.kill();
    let lost = lab.perform(restart());
    assert_eq!(lost.code(), Some(ReasonCode::JobLost), "{:?}", lost.outcome);
    assert!(lab.cluster.jobmanager.live_jobs().is_empty());
    let restarted = lab.perform(restart());
    assert_eq!(restarted.outcome, Outcome::Done, "{:?}", restarted.messages);
    assert!(restarted.began_from().is_some_and(|from| from.starts_with("file:/checkpoints/")));
    assert_whole(&lab);
}
