//! The journal is lost or damaged, the host rebooted, the disk full.

use trimaran_conformance::disk::Loss;
use trimaran_conformance::host::{Behaviour, ModelHost, directory};
use trimaran_host_core::host::Exit;
use trimaran_model::assignment::HostState;
use trimaran_model::pipeline::RestartOn;
use trimaran_model::time::Millis;

use crate::goals::{apply, digest, goal, release_with};

fn with_v1_and_v2() -> ModelHost {
    let mut host = ModelHost::new();
    for n in [1, 2] {
        host.behave(digest(n), Behaviour::Healthy { after: 100 });
        let order = apply(u64::from(n), n);
        if n == 1 { host.open(&order) } else { host.order(&order) }.expect("nothing kills it");
        assert_eq!(host.settle().expect("nothing kills it").state, HostState::Healthy);
    }
    host
}

#[test]
fn a_damaged_journal_is_made_again_from_what_is_there() {
    let mut host = with_v1_and_v2();
    host.crash(Loss::Nothing);
    for name in ["state", "state.prev"] {
        host.disk.damage(&directory().join(name), b"not a journal");
    }
    host.open(&apply(2, 2)).expect("nothing kills it");
    let report = host.settle().expect("nothing kills it");
    assert_eq!((report.state, report.current), (HostState::Healthy, Some(digest(2))));
    assert_eq!(host.starts.len(), 2, "nothing is started again");
    assert_eq!(host.journal().stable_releases, [digest(2), digest(1)], "the rollback target is known again");
}

#[test]
fn a_damaged_journal_falls_back_to_the_one_before() {
    let mut host = with_v1_and_v2();
    host.crash(Loss::Nothing);
    host.disk.damage(&directory().join("state"), b"\0\0\0\0");
    host.open(&apply(2, 2)).expect("nothing kills it");
    let report = host.settle().expect("nothing kills it");
    assert_eq!((report.state, report.current), (HostState::Healthy, Some(digest(2))));
    assert_eq!((host.starts.len(), host.running()), (2, vec![digest(2)]));
}

#[test]
fn after_a_reboot_the_service_runs_again_whatever_its_policy() {
    for on in [RestartOn::Never, RestartOn::Failure, RestartOn::Always] {
        let mut host = ModelHost::new();
        let order = goal(1, trimaran_model::assignment::HostAction::Apply(release_with(1, on)));
        host.open(&order).expect("nothing kills it");
        host.settle().expect("nothing kills it");
        host.crash(Loss::Unsynced(0xff));
        assert!(host.running().is_empty());
        host.open(&order).expect("nothing kills it");
        host.run_for(Millis::seconds(10)).expect("nothing kills it");
        let blamed = host.reports.iter().filter_map(|report| report.code).find_map(|code| code.fault());
        assert_eq!(blamed, Some(trimaran_model::verdict::Fault::Platform), "{on:?}: not the release's fault");
        assert_eq!((host.report().state, host.starts.len()), (HostState::Healthy, 2), "{on:?}");
    }
}

#[test]
fn a_service_that_is_sick_after_a_reboot_is_blamed() {
    let mut host = with_v1_and_v2();
    host.crash(Loss::Unsynced(0xff));
    host.behave(digest(2), Behaviour::Sick);
    host.open(&apply(2, 2)).expect("nothing kills it");
    host.run_for(Millis::seconds(10)).expect("nothing kills it");
    let report = host.report();
    let code = Some(trimaran_model::reason::ReasonCode::ProbeFailed);
    assert_eq!((report.state, report.code), (HostState::Degraded, code));
}

#[test]
fn an_exit_that_no_one_watched_is_seen_when_the_runner_comes_back() {
    let mut host = with_v1_and_v2();
    host.crash(Loss::Nothing);
    host.kill_service(Exit::code(7));
    host.open(&apply(2, 2)).expect("nothing kills it");
    host.run_for(Millis(500)).expect("nothing kills it");
    let report = host.report();
    assert_eq!(report.state, HostState::Degraded);
    assert!(report.message.contains("exit code 7"), "{}", report.message);
    host.run_for(Millis::seconds(10)).expect("nothing kills it");
    assert_eq!((host.report().state, host.starts.len()), (HostState::Healthy, 3));
}

#[test]
fn a_process_that_does_not_end_holds_everything() {
    let mut host = with_v1_and_v2();
    host.unkillable = true;
    host.behave(digest(3), Behaviour::Healthy { after: 0 });
    host.order(&apply(3, 3)).expect("nothing kills it");
    let report = host.settle().expect("nothing kills it");
    assert_eq!(report.code, Some(trimaran_model::reason::ReasonCode::StopFailed));
    assert_eq!((host.running(), host.starts.len()), (vec![digest(2)], 2), "nothing is started beside it");
}

#[test]
fn a_switch_that_fails_goes_back() {
    let mut host = with_v1_and_v2();
    host.broken_switch = true;
    host.behave(digest(3), Behaviour::Healthy { after: 0 });
    host.order(&apply(3, 3)).expect("nothing kills it");
    let report = host.settle().expect("nothing kills it");
    assert_eq!((report.state, report.current), (HostState::Broken, Some(digest(2))), "{}", report.message);
    assert!(host.running().is_empty());
}

#[test]
fn a_full_disk_is_answered_by_making_room_once() {
    let mut host = with_v1_and_v2();
    host.behave(digest(3), Behaviour::Healthy { after: 0 });
    host.narrow = 1;
    host.order(&apply(3, 3)).expect("nothing kills it");
    assert_eq!(host.settle().expect("nothing kills it").state, HostState::Healthy);
    assert_eq!(host.fetches, 3, "what was fetched is kept");
    host.behave(digest(4), Behaviour::Healthy { after: 0 });
    host.narrow = 2;
    host.order(&apply(4, 4)).expect("nothing kills it");
    let report = host.settle().expect("nothing kills it");
    assert_eq!(report.state, HostState::Refused);
    assert_eq!(report.code, Some(trimaran_model::reason::ReasonCode::PreflightDisk));
    assert_eq!(host.running(), [digest(3)], "what ran keeps running");
}
