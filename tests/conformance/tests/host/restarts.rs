//! Restarts that no end of a process asks for: by a liveness probe, by a user, and as an order.

use trimaran_conformance::disk::Loss;
use trimaran_conformance::host::{Behaviour, ModelHost};
use trimaran_host_core::host::Exit;
use trimaran_model::assignment::{HostAction, HostState};
use trimaran_model::pipeline::RestartOn;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Millis;

use crate::goals::{apply, digest, goal, release_that_runs, release_with};

/// A host where v1 runs, which has a liveness probe that fails from so many milliseconds after each start.
fn hanging(on: RestartOn, after: u64) -> ModelHost {
    let mut host = ModelHost::new();
    host.behave(release_that_runs(1, on).digest, Behaviour::Hangs { after });
    host.open(&goal(1, HostAction::Apply(release_that_runs(1, on)))).expect("nothing kills it");
    assert_eq!(host.settle().expect("nothing kills it").state, HostState::Healthy);
    host
}

#[test]
fn a_service_that_hangs_is_ended_and_started_again_as_its_policy_says() {
    let mut host = hanging(RestartOn::Failure, 5000);
    host.run_for(Millis::seconds(8)).expect("nothing kills it");
    assert_eq!(host.starts.len(), 2);
    assert!(host.reports.iter().any(|it| it.code == Some(ReasonCode::LivenessFailed)));
    host.run_for(Millis::minutes(5)).expect("nothing kills it");
    assert_eq!(host.starts.len(), 4, "three restarts in ten minutes");
    assert_eq!(host.running().len(), 1, "one that works badly is more than none");
    assert_eq!(
        (host.report().state, host.report().code),
        (HostState::Degraded, Some(ReasonCode::LivenessFailed))
    );
}

#[test]
fn without_a_policy_a_service_that_hangs_is_degraded_and_left_alone() {
    let mut host = hanging(RestartOn::Never, 5000);
    host.run_for(Millis::minutes(1)).expect("nothing kills it");
    assert_eq!((host.starts.len(), host.running().len()), (1, 1));
    assert_eq!(host.report().code, Some(ReasonCode::LivenessFailed));
}

#[test]
fn a_release_that_hangs_in_its_verification_goes_back() {
    let mut host = ModelHost::new();
    host.open(&apply(1, 1)).expect("nothing kills it");
    host.settle().expect("nothing kills it");
    let bad = release_that_runs(2, RestartOn::Failure);
    host.behave(bad.digest, Behaviour::Hangs { after: 0 });
    host.order(&goal(2, HostAction::Apply(bad))).expect("nothing kills it");
    let report = host.settle().expect("nothing kills it");
    assert_eq!((report.state, report.code), (HostState::Reverted, Some(ReasonCode::LivenessFailed)));
    assert_eq!(host.running(), [digest(1)]);
}

#[test]
fn a_restart_by_hand_follows_no_policy_and_counts_for_none() {
    let mut host = ModelHost::new();
    host.open(&goal(1, HostAction::Apply(release_with(1, RestartOn::Never)))).expect("nothing kills it");
    host.settle().expect("nothing kills it");
    let reported = host.reports.len();
    assert!(host.restart_by_hand().expect("nothing kills it"));
    host.run_for(Millis::seconds(8)).expect("nothing kills it");
    assert_eq!((host.starts.len(), host.report().state), (2, HostState::Healthy));
    assert!(host.journal().restarts.is_empty(), "the policy counts its own");
    let codes: Vec<_> = host.reports[reported..].iter().filter_map(|it| it.code).collect();
    assert!(codes.iter().all(|code| *code == ReasonCode::Interrupted), "no fault of the release: {codes:?}");
    host.kill_service(Exit::code(0));
    host.run_for(Millis::minutes(1)).expect("nothing kills it");
    assert_eq!(host.starts.len(), 2, "the next end is the policy's again");
}

#[test]
fn a_restart_by_hand_outlives_the_runner() {
    for on in [RestartOn::Failure, RestartOn::Always] {
        let order = goal(1, HostAction::Apply(release_with(1, on)));
        let mut points = 0;
        loop {
            let mut host = ModelHost::new();
            host.open(&order).expect("nothing kills it");
            host.settle().expect("nothing kills it");
            host.disk.crash_at(Some(points + 1));
            let played = host.restart_by_hand().and_then(|_| host.run_for(Millis::seconds(8)));
            if played.is_ok() {
                break;
            }
            points += 1;
            host.crash(Loss::Nothing);
            host.open(&order).expect("nothing kills it again");
            host.run_for(Millis::seconds(20)).expect("nothing kills it again");
            assert_eq!(host.report().state, HostState::Healthy, "{on:?}, point {points}");
            assert_eq!(host.running().len(), 1);
        }
        assert!(points > 5, "only {points} points were tried");
    }
}

#[test]
fn an_order_to_restart_is_verified_and_keeps_the_release() {
    let mut host = ModelHost::new();
    host.open(&apply(1, 1)).expect("nothing kills it");
    host.settle().expect("nothing kills it");
    host.order(&goal(2, HostAction::Restart)).expect("nothing kills it");
    let report = host.settle().expect("nothing kills it");
    assert_eq!((report.state, report.current), (HostState::Healthy, Some(digest(1))));
    assert_eq!((host.starts.len(), host.fetches), (2, 1));
    host.behave(digest(1), Behaviour::Sick);
    host.order(&goal(3, HostAction::Restart)).expect("nothing kills it");
    let report = host.settle().expect("nothing kills it");
    assert_eq!(report.state, HostState::Broken, "there is nothing else to go back to: {}", report.message);
    let mut empty = ModelHost::new();
    empty.open(&goal(1, HostAction::Restart)).expect("nothing kills it");
    assert_eq!(empty.settle().expect("nothing kills it").state, HostState::Empty);
}
