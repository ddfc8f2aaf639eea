//! What a host does when nothing is in its way but the service itself.

use trimaran_conformance::host::{Behaviour, Fate, ModelHost};
use trimaran_host_core::host::{Exit, host_release};
use trimaran_model::assignment::{HostAction, HostReport, HostState};
use trimaran_model::pipeline::RestartOn;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Millis;

use crate::goals::{apply, digest, goal, prepare, release_with, restore};

/// A host where v1 runs, healthy; v2 behaves as given.
fn with_v1(v2: Behaviour) -> ModelHost {
    let mut host = ModelHost::new();
    host.behave(digest(1), Behaviour::Healthy { after: 100 });
    host.behave(digest(2), v2);
    host.open(&apply(1, 1)).expect("nothing kills it");
    let report = host.settle().expect("nothing kills it");
    assert_eq!((report.state, report.current), (HostState::Healthy, Some(digest(1))));
    host
}

fn report_after(host: &mut ModelHost, goal: &trimaran_model::assignment::HostGoal) -> HostReport {
    host.order(goal).expect("nothing kills it");
    let report = host.settle().expect("nothing kills it");
    assert_eq!(report.fence, goal.fence);
    assert!(host.leftovers().is_empty());
    report
}

#[test]
fn a_good_release_replaces_the_old_one_and_keeps_it_for_a_rollback() {
    let mut host = with_v1(Behaviour::Healthy { after: 100 });
    let report = report_after(&mut host, &apply(2, 2));
    assert_eq!((report.state, report.current, report.code), (HostState::Healthy, Some(digest(2)), None));
    assert_eq!(host.running(), [digest(2)]);
    assert_eq!(host.journal().stable_releases, [digest(2), digest(1)]);
    assert_eq!(host.starts.len(), 2);
}

#[test]
fn the_end_of_the_first_process_counts_more_than_an_answer_of_what_it_left() {
    let mut host = with_v1(Behaviour::LeavesWorker { after: 200, code: 7, worker: 60_000 });
    let report = report_after(&mut host, &apply(2, 2));
    assert_eq!((report.state, report.code), (HostState::Reverted, Some(ReasonCode::ProcessExited)));
    assert_eq!(report.message, "the process ended with exit code 7");
}

#[test]
fn an_answer_whose_process_is_not_known_counts_with_a_warning() {
    let mut host = with_v1(Behaviour::Unverified);
    let report = report_after(&mut host, &apply(2, 2));
    assert_eq!((report.state, report.current), (HostState::Healthy, Some(digest(2))));
    assert_eq!(report.code, Some(ReasonCode::ListenerUnknown));
    let report = report_after(&mut host, &apply(3, 1));
    assert_eq!((report.state, report.code), (HostState::Healthy, None), "the warning ends with its process");
}

#[test]
fn a_bad_release_goes_back_without_a_download_and_says_why() {
    let cases = [
        (Behaviour::Sick, ReasonCode::ProbeFailed),
        (Behaviour::HealthyUntil(2000), ReasonCode::ProbeFailed),
        (Behaviour::Flaps(1000), ReasonCode::ProbeFlap),
        (Behaviour::Exits { after: 1500, code: 3 }, ReasonCode::ProcessExited),
        (Behaviour::LeavesWorker { after: 1500, code: 7, worker: 60_000 }, ReasonCode::ProcessExited),
        (Behaviour::NotStartable, ReasonCode::StartFailed),
    ];
    for (behaviour, code) in cases {
        let mut host = with_v1(behaviour);
        let fetched = host.fetches;
        let before = host.now;
        let report = report_after(&mut host, &apply(2, 2));
        assert_eq!(report.state, HostState::Reverted, "{behaviour:?}");
        assert_eq!((report.code, report.current), (Some(code), Some(digest(1))), "{behaviour:?}");
        assert!(!report.message.is_empty());
        assert_eq!(host.running(), [digest(1)], "{behaviour:?}");
        assert_eq!(host.fetches, fetched + 1, "only the way forward fetches");
        assert!(host.now - before < Millis::seconds(26), "{behaviour:?} took {}", host.now - before);
        assert!(
            !host.reports.iter().any(|it| it.current == Some(digest(2)) && it.state == HostState::Healthy)
        );
    }
}

#[test]
fn without_an_earlier_release_a_bad_one_is_ended() {
    let mut host = ModelHost::new();
    host.behave(digest(2), Behaviour::Sick);
    host.open(&apply(1, 2)).expect("nothing kills it");
    let report = host.settle().expect("nothing kills it");
    assert_eq!((report.state, report.code), (HostState::Broken, Some(ReasonCode::ProbeFailed)));
    assert!(host.running().is_empty());
}

#[test]
fn a_rollback_that_fails_is_broken_and_recovers_automatically() {
    let mut host = with_v1(Behaviour::Sick);
    host.behave(digest(1), Behaviour::Sick);
    let report = report_after(&mut host, &apply(2, 2));
    assert_eq!((report.state, report.code), (HostState::Broken, Some(ReasonCode::RevertFailed)));
    assert!(report.message.contains("probe_failed"), "{}", report.message);
    assert_eq!(host.running(), [digest(1)], "what was good before is left running");
    host.behave(digest(1), Behaviour::Healthy { after: 0 });
    host.run_for(Millis::seconds(10)).expect("nothing kills it");
    assert_eq!(host.report().state, HostState::Reverted);
}

#[test]
fn what_can_not_be_prepared_touches_nothing() {
    let mut host = with_v1(Behaviour::Healthy { after: 0 });
    host.served = false;
    let report = report_after(&mut host, &apply(2, 2));
    assert_eq!((report.state, report.code), (HostState::Refused, Some(ReasonCode::FetchUnreachable)));
    host.served = true;
    host.foreign_port = true;
    let report = report_after(&mut host, &apply(3, 2));
    assert_eq!((report.state, report.code), (HostState::Refused, Some(ReasonCode::PreflightPort)));
    assert_eq!((host.running(), host.starts.len()), (vec![digest(1)], 1));
}

#[test]
fn prepare_disturbs_nothing_and_apply_then_needs_no_server() {
    let mut host = with_v1(Behaviour::Healthy { after: 0 });
    let report = report_after(&mut host, &prepare(2, 2));
    assert_eq!(
        (report.state, report.prepared),
        (HostState::Healthy, Some(digest(2))),
        "what runs is healthy"
    );
    assert_eq!((host.running(), host.starts.len()), (vec![digest(1)], 1));
    host.served = false;
    assert_eq!(report_after(&mut host, &apply(3, 2)).state, HostState::Healthy);
}

#[test]
fn a_host_where_nothing_runs_is_prepared() {
    let mut host = ModelHost::new();
    host.open(&prepare(1, 1)).expect("nothing kills it");
    let report = host.settle().expect("nothing kills it");
    assert_eq!((report.state, report.current), (HostState::Prepared, None));
}

#[test]
fn a_preparation_that_is_asked_for_again_goes_on() {
    let mut host = with_v1(Behaviour::Healthy { after: 0 });
    host.order(&prepare(2, 2)).expect("nothing kills it");
    host.run_for(Millis(50)).expect("nothing kills it");
    assert_eq!(host.report().state, HostState::Preparing);
    assert_eq!(report_after(&mut host, &prepare(3, 2)).prepared, Some(digest(2)));
    assert_eq!(host.fetches, 2, "v1 and v2, each once");
}

#[test]
fn a_service_is_verified_soon_after_it_could_be() {
    for after in [0, 40, 400, 4000] {
        let mut host = with_v1(Behaviour::Healthy { after });
        let began = host.now;
        assert_eq!(report_after(&mut host, &apply(2, 2)).state, HostState::Healthy);
        let wanted = after + host_release(&release_with(2, RestartOn::Failure).release).health.min_healthy.0;
        let took = (host.now - began).0;
        // Fetch, unpack, stop and start of the model, and an eighth of the time that the service took.
        let spent = took.saturating_sub(wanted);
        assert!(spent < 960 + 25 + after / 8, "{after}: {took} ms, {wanted} of them needed");
    }
}

#[test]
fn an_act_behind_its_own_preparation_waits_for_it() {
    let mut host = with_v1(Behaviour::Healthy { after: 0 });
    let mut first = prepare(2, 2);
    host.order(&first).expect("nothing kills it");
    host.run_for(Millis(50)).expect("nothing kills it");
    assert_eq!(host.report().state, HostState::Preparing);
    first.action = apply(2, 2).action;
    assert_eq!(report_after(&mut host, &first).state, HostState::Healthy);
    assert_eq!(host.fetches, 2, "v1 and v2, each once");
}

#[test]
fn restore_needs_no_server_and_ends_the_way_forward_again() {
    let mut host = with_v1(Behaviour::Healthy { after: 0 });
    report_after(&mut host, &apply(2, 2));
    host.served = false;
    let report = report_after(&mut host, &restore(3, 1));
    assert_eq!((report.state, report.current), (HostState::Healthy, Some(digest(1))));
    assert_eq!(host.journal().stable_releases, [digest(1)], "what was rolled back is no rollback target");
    let report = report_after(&mut host, &restore(4, 9));
    assert_eq!((report.state, report.code), (HostState::Refused, Some(ReasonCode::NothingToRestore)));
}

#[test]
fn stop_ends_only_the_release_it_names() {
    let mut host = with_v1(Behaviour::Healthy { after: 0 });
    let report = report_after(&mut host, &goal(2, HostAction::Stop { only: digest(2) }));
    assert_eq!((report.state, host.running()), (HostState::Healthy, vec![digest(1)]));
    let report = report_after(&mut host, &goal(3, HostAction::Stop { only: digest(1) }));
    assert_eq!((report.state, host.running()), (HostState::Stopped, vec![]));
    host.run_for(Millis::minutes(5)).expect("nothing kills it");
    assert!(host.running().is_empty(), "what was stopped stays stopped");
}

#[test]
fn the_same_release_again_is_verified_where_it_is() {
    let mut host = with_v1(Behaviour::Healthy { after: 0 });
    let before = host.now;
    assert_eq!(report_after(&mut host, &apply(2, 1)).state, HostState::Healthy);
    assert_eq!(host.starts.len(), 1, "nothing is started again");
    assert!(host.now - before >= Millis::seconds(3), "and its health was watched");
    assert_eq!(report_after(&mut host, &goal(3, HostAction::Verify)).state, HostState::Healthy);
    assert_eq!(host.starts.len(), 1);
}

#[test]
fn verify_of_a_sick_service_degrades_it_and_changes_nothing() {
    let mut host = with_v1(Behaviour::Healthy { after: 0 });
    host.behave(digest(1), Behaviour::Sick);
    let report = report_after(&mut host, &goal(2, HostAction::Verify));
    assert_eq!((report.state, report.code), (HostState::Degraded, Some(ReasonCode::ProbeFailed)));
    assert_eq!((host.running(), host.starts.len()), (vec![digest(1)], 1));
    let mut empty = ModelHost::new();
    empty.open(&goal(1, HostAction::Verify)).expect("nothing kills it");
    assert_eq!(empty.settle().expect("nothing kills it").state, HostState::Empty);
}

#[test]
fn a_service_that_fails_later_is_degraded_and_healthy_again() {
    let mut host = with_v1(Behaviour::Healthy { after: 0 });
    host.behave(digest(1), Behaviour::Sick);
    host.run_for(Millis::seconds(3)).expect("nothing kills it");
    assert_eq!(
        (host.report().state, host.report().code),
        (HostState::Degraded, Some(ReasonCode::ProbeFailed))
    );
    host.behave(digest(1), Behaviour::Healthy { after: 0 });
    host.run_for(Millis::seconds(2)).expect("nothing kills it");
    assert_eq!(host.report().state, HostState::Degraded, "not yet for long enough");
    host.run_for(Millis::seconds(3)).expect("nothing kills it");
    assert_eq!(host.report().state, HostState::Healthy);
    assert_eq!(host.starts.len(), 1, "a failing probe restarts nothing");
}

#[test]
fn restarts_follow_the_policy() {
    let crash = Exit::code(1);
    let fine = Exit::code(0);
    for (on, exit, starts) in [
        (RestartOn::Failure, crash, 2),
        (RestartOn::Failure, fine, 1),
        (RestartOn::Always, fine, 2),
        (RestartOn::Never, crash, 1),
    ] {
        let mut host = ModelHost::new();
        host.open(&goal(1, HostAction::Apply(release_with(1, on)))).expect("nothing kills it");
        host.settle().expect("nothing kills it");
        host.kill_service(exit);
        host.run_for(Millis(900)).expect("nothing kills it");
        assert_eq!(host.report().code, Some(ReasonCode::ProcessExited), "{on:?}");
        assert_eq!(host.starts.len(), 1, "{on:?}: not before the delay");
        host.run_for(Millis::seconds(10)).expect("nothing kills it");
        assert_eq!(host.starts.len(), starts, "{on:?}");
        let healthy = host.report().state == HostState::Healthy;
        assert_eq!(healthy, starts == 2, "{on:?}");
    }
}

#[test]
fn a_service_is_restarted_while_an_artifact_is_on_its_way() {
    let mut host = with_v1(Behaviour::Healthy { after: 0 });
    host.fates.insert(host.calls + 2, Fate::Delayed(60_000));
    host.order(&apply(2, 2)).expect("nothing kills it");
    host.run_for(Millis(100)).expect("nothing kills it");
    host.kill_service(Exit::code(1));
    host.run_for(Millis::seconds(10)).expect("nothing kills it");
    assert_eq!((host.report().state, host.running()), (HostState::Preparing, vec![digest(1)]));
    assert_eq!(host.settle().expect("nothing kills it").state, HostState::Healthy);
}

#[test]
fn restarts_are_bounded_and_go_on_when_time_has_passed() {
    let mut host = with_v1(Behaviour::Healthy { after: 0 });
    host.behave(digest(1), Behaviour::Exits { after: 2000, code: 1 });
    host.run_for(Millis::minutes(9)).expect("nothing kills it");
    assert_eq!(host.starts.len(), 4, "one start and three restarts in ten minutes");
    assert_eq!(host.report().state, HostState::Degraded);
    host.run_for(Millis::minutes(3)).expect("nothing kills it");
    assert!(host.starts.len() > 4, "the window has moved");
}

#[test]
fn a_release_does_not_pay_for_the_restarts_of_the_one_before() {
    let mut host = with_v1(Behaviour::Healthy { after: 0 });
    host.behave(digest(1), Behaviour::Exits { after: 2000, code: 1 });
    host.run_for(Millis::seconds(30)).expect("nothing kills it");
    assert_eq!((host.report().state, host.starts.len()), (HostState::Degraded, 4), "no restart is left");
    assert_eq!(report_after(&mut host, &apply(2, 2)).state, HostState::Healthy);
    host.kill_service(Exit::code(1));
    host.run_for(Millis::seconds(5)).expect("nothing kills it");
    assert_eq!((host.running(), host.starts.len()), (vec![digest(2)], 6), "started and restarted");
}

#[test]
fn a_later_goal_takes_over_in_the_middle() {
    let mut host = with_v1(Behaviour::Sick);
    host.order(&apply(2, 2)).expect("nothing kills it");
    host.run_for(Millis::seconds(3)).expect("nothing kills it");
    assert_eq!((host.report().state, host.running()), (HostState::Updating, vec![digest(2)]));
    let before = host.now;
    let report = report_after(&mut host, &restore(3, 1));
    assert_eq!((report.state, report.current), (HostState::Healthy, Some(digest(1))));
    assert!(host.now - before < Millis::seconds(6), "it did not wait for the end of the first one");
    assert_eq!(host.starts.len(), 3);
}

#[test]
fn a_later_goal_for_the_same_release_goes_on_where_the_first_one_is() {
    let mut host = with_v1(Behaviour::Healthy { after: 100 });
    host.order(&apply(2, 2)).expect("nothing kills it");
    host.run_for(Millis::seconds(2)).expect("nothing kills it");
    assert_eq!(host.running(), [digest(2)]);
    assert_eq!(report_after(&mut host, &apply(3, 2)).state, HostState::Healthy);
    assert_eq!(host.starts.len(), 2, "it is not started again");
}

#[test]
fn a_later_goal_that_has_to_be_fetched_waits_for_a_safe_place() {
    let mut host = with_v1(Behaviour::Sick);
    host.behave(digest(3), Behaviour::Healthy { after: 0 });
    host.order(&apply(2, 2)).expect("nothing kills it");
    host.run_for(Millis::seconds(3)).expect("nothing kills it");
    let report = report_after(&mut host, &apply(3, 3));
    assert_eq!((report.state, report.current), (HostState::Healthy, Some(digest(3))));
    let order: Vec<_> = host.starts.iter().map(|(_, digest)| *digest).collect();
    assert_eq!(order, [digest(1), digest(2), digest(1), digest(3)], "v1 was back before v3 was fetched");
}

#[test]
fn time_that_no_one_watched_is_neither_health_nor_failure() {
    let mut host = with_v1(Behaviour::Healthy { after: 100 });
    host.order(&apply(2, 2)).expect("nothing kills it");
    host.run_for(Millis::seconds(2)).expect("nothing kills it");
    host.pause(Millis::minutes(10));
    let before = host.now;
    let report = host.settle().expect("nothing kills it");
    assert_eq!(report.state, HostState::Healthy, "{}", report.message);
    assert!(host.now - before >= Millis::seconds(3), "the pause does not count as health");
}

#[test]
fn old_releases_are_removed_and_what_is_needed_is_kept() {
    let mut host = with_v1(Behaviour::Healthy { after: 0 });
    for n in 2..=6 {
        host.behave(digest(n), Behaviour::Healthy { after: 0 });
        let mut order = apply(u64::from(n), n);
        order.retained.insert(digest(1));
        report_after(&mut host, &order);
    }
    let kept: Vec<_> = (1..=6).filter(|n| host_has(&host, *n)).collect();
    assert_eq!(kept, [1, 5, 6], "current, previous good, and what the goal keeps");
}

fn host_has(host: &ModelHost, n: u8) -> bool {
    let tree = host.disk.tree(&trimaran_conformance::host::directory());
    tree.iter().any(|path| path.contains(&digest(n).short()) && path.ends_with('/'))
}
