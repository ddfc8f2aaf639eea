//! What a host does around the stop and the start of a service: the order of it, what follows when one of it fails, and
//! that a crash at any point leaves no service out of its balancer.

use trimaran_conformance::disk::Loss;
use trimaran_conformance::host::{Behaviour, ModelHost};
use trimaran_host_core::host::{Exit, HostFailure, Reply};
use trimaran_model::assignment::{HostAction, HostGoal, HostOrder, HostReport, HostState};
use trimaran_model::id::Digest;
use trimaran_model::pipeline::{Reload, StopSignal};
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::ReleaseWorkload;
use trimaran_model::time::Millis;
use trimaran_wire::v1::release::WireRelease;

use crate::goals::{goal, release_with_lifecycle};

fn apply(fence: u64, n: u8) -> HostGoal {
    goal(fence, HostAction::Apply(release_with_lifecycle(n)))
}

fn digest(n: u8) -> Digest {
    release_with_lifecycle(n).digest
}

/// A host where v1 runs, with what was done for it forgotten.
fn with_v1(v2: Behaviour) -> ModelHost {
    let mut host = ModelHost::new();
    host.behave(digest(1), Behaviour::Healthy { after: 100 });
    host.behave(digest(2), v2);
    host.open(&apply(1, 1)).expect("nothing kills it");
    host.settle().expect("nothing kills it");
    assert_eq!(host.errands, start_of("v1"));
    host.errands.clear();
    host
}

fn give(host: &mut ModelHost, goal: &HostGoal) -> HostReport {
    host.order(goal).expect("nothing kills it");
    host.settle().expect("nothing kills it")
}

fn stop_of(version: &str) -> Vec<String> {
    let all = ["may_stop", "before_stop 0", "before_stop 1", "drain", "after_stop 0", "after_stop 1"];
    all.map(|what| format!("{what} {version}")).to_vec()
}

fn start_of(version: &str) -> Vec<String> {
    let hooks = ["before_start", "after_start", "after_healthy"];
    let hooks = hooks.iter().flat_map(|event| [0, 1].map(|place| format!("{event} {place} {version}")));
    hooks.chain([format!("undrain {version}")]).collect()
}

fn fails(code: ReasonCode) -> Reply {
    Reply::Failed(HostFailure::new(code, "it said no"))
}

#[test]
fn a_change_does_everything_in_its_order_and_of_the_right_release() {
    let mut host = with_v1(Behaviour::Healthy { after: 100 });
    let report = give(&mut host, &apply(2, 2));
    assert_eq!((report.state, report.current, report.code), (HostState::Healthy, Some(digest(2)), None));
    assert_eq!(host.errands, [stop_of("v1"), start_of("v2")].concat());
}

#[test]
fn a_stop_and_a_restart_do_their_part_of_it() {
    let mut host = with_v1(Behaviour::Sick);
    give(&mut host, &goal(2, HostAction::Restart));
    assert_eq!(host.errands, [stop_of("v1"), start_of("v1")].concat());
    host.errands.clear();
    let report = give(&mut host, &goal(3, HostAction::Stop { only: digest(1) }));
    assert_eq!((report.state, host.running()), (HostState::Stopped, vec![]));
    assert_eq!(host.errands, stop_of("v1"));
}

#[test]
fn a_restart_by_the_policy_does_none_of_it() {
    let mut host = with_v1(Behaviour::Sick);
    host.kill_service(Exit::code(1));
    host.run_for(Millis::seconds(10)).expect("nothing kills it");
    assert_eq!((host.report().state, host.errands.len()), (HostState::Healthy, 0));
}

#[test]
fn what_fails_before_the_stop_leaves_the_service_as_it_was() {
    for (what, code, undrains) in [
        ("before_stop 0", ReasonCode::HookFailed, false),
        ("before_stop 1", ReasonCode::HookTimeout, false),
        ("drain", ReasonCode::DrainFailed, true),
    ] {
        let mut host = with_v1(Behaviour::Healthy { after: 100 });
        host.bad_errands.insert(format!("{what} v1"), fails(code));
        let report = give(&mut host, &apply(2, 2));
        assert_eq!((report.state, report.code), (HostState::Reverted, Some(code)), "{what}");
        assert_eq!((report.current, host.running()), (Some(digest(1)), vec![digest(1)]), "{what}");
        assert_eq!(host.starts.len(), 1, "{what}: v1 was never stopped");
        let last = host.errands.last().expect("something was done");
        assert_eq!(*last == "undrain v1", undrains, "{what}: {:?}", host.errands);
        assert_eq!(report.message, "nothing was stopped: it said no");
    }
}

#[test]
fn what_fails_behind_the_stop_goes_back_to_the_earlier_release() {
    for (what, drains_again) in [
        ("after_stop 1 v1", false),
        ("before_start 0 v2", false),
        ("after_start 1 v2", false),
        ("after_healthy 0 v2", false),
        ("undrain v2", true),
    ] {
        let mut host = with_v1(Behaviour::Healthy { after: 100 });
        host.bad_errands.insert(what.to_owned(), fails(ReasonCode::HookFailed));
        let report = give(&mut host, &apply(2, 2));
        assert_eq!(
            (report.state, report.code),
            (HostState::Reverted, Some(ReasonCode::HookFailed)),
            "{what}"
        );
        assert_eq!((report.current, host.running()), (Some(digest(1)), vec![digest(1)]), "{what}");
        assert_eq!(host.errands.last().map(String::as_str), Some("undrain v1"), "{what}");
        let drains = host.errands.iter().filter(|it| *it == "drain v2").count();
        assert_eq!(drains, usize::from(drains_again), "{what}: {:?}", host.errands);
    }
}

#[test]
fn a_bad_release_is_not_drained_and_the_earlier_one_takes_part_again() {
    for bad in [Behaviour::Sick, Behaviour::Exits { after: 20, code: 1 }, Behaviour::NotStartable] {
        let mut host = with_v1(bad);
        let report = give(&mut host, &apply(2, 2));
        assert_eq!((report.state, report.current), (HostState::Reverted, Some(digest(1))), "{bad:?}");
        assert!(!host.errands.contains(&"drain v2".to_owned()), "{:?}", host.errands);
        assert_eq!(host.errands.last().map(String::as_str), Some("undrain v1"));
    }
}

#[test]
fn a_drain_that_takes_too_long_is_a_warning() {
    let mut host = with_v1(Behaviour::Healthy { after: 100 });
    let warning = HostFailure::new(ReasonCode::DrainTimeout, "it did not end");
    host.bad_errands.insert("drain v1".to_owned(), Reply::Warned(warning));
    let report = give(&mut host, &apply(2, 2));
    assert_eq!((report.state, report.code), (HostState::Healthy, Some(ReasonCode::DrainTimeout)));
    assert_eq!((report.current, report.message.as_str()), (Some(digest(2)), "it did not end"));
}

#[test]
fn a_service_may_put_its_stop_off_until_a_deadline_and_a_rollback_does_not_ask() {
    let mut host = with_v1(Behaviour::Healthy { after: 100 });
    host.bad_errands.insert("may_stop v1".to_owned(), fails(ReasonCode::StopVetoed));
    let began = host.now;
    host.order(&apply(2, 2)).expect("nothing kills it");
    host.run_for(Millis::seconds(25)).expect("nothing kills it");
    assert_eq!(host.errands, ["may_stop v1"; 3], "asked every 10 s");
    assert_eq!(host.report().message, "waiting until the service allows its stop");
    let report = host.settle().expect("nothing kills it");
    assert_eq!((report.state, report.code), (HostState::Refused, Some(ReasonCode::StopVetoed)));
    assert_eq!((host.running(), host.starts.len()), (vec![digest(1)], 1));
    let took = host.now - began;
    assert!(Millis::minutes(1) <= took && took < Millis::seconds(75), "{took}");
    host.errands.clear();
    // The service changes its mind while it is waited for.
    host.order(&apply(3, 2)).expect("nothing kills it");
    host.run_for(Millis::seconds(15)).expect("nothing kills it");
    host.bad_errands.clear();
    let report = host.settle().expect("nothing kills it");
    assert_eq!((report.state, report.current), (HostState::Healthy, Some(digest(2))));
    host.errands.clear();
    host.bad_errands.insert("may_stop v2".to_owned(), fails(ReasonCode::StopVetoed));
    let report = give(&mut host, &goal(4, HostAction::Restore(release_with_lifecycle(1))));
    assert_eq!((report.state, report.current), (HostState::Healthy, Some(digest(1))));
    assert!(!host.errands.contains(&"may_stop v2".to_owned()));
}

#[test]
fn a_later_order_waits_for_a_hook_that_runs_and_goes_on_from_there() {
    let mut host = with_v1(Behaviour::Healthy { after: 100 });
    host.behave(digest(3), Behaviour::Healthy { after: 100 });
    host.errand_time = Millis::seconds(8);
    host.order(&apply(2, 2)).expect("nothing kills it");
    host.run_for(Millis::seconds(20)).expect("nothing kills it");
    let report = give(&mut host, &apply(3, 3));
    assert_eq!((report.state, report.current), (HostState::Healthy, Some(digest(3))));
    let of = |what: &str| host.errands.iter().filter(|it| *it == what).count();
    assert_eq!((of("before_stop 0 v1"), of("drain v1"), of("undrain v3")), (1, 1, 1), "{:?}", host.errands);
}

/// v1 with another color, to which a process of v1 can be reloaded.
fn reloaded(color: &str) -> HostOrder {
    let mut order = release_with_lifecycle(1);
    let ReleaseWorkload::Host(host) = &mut order.release.workload else { unreachable!("it is one") };
    host.process.reload = Some(Reload::Signal(StopSignal::Hup));
    host.process.environment.insert("COLOR".to_owned(), color.to_owned());
    order.digest = WireRelease::from(&order.release).digest();
    order
}

/// A host where [`reloaded`] blue runs.
fn with_blue() -> ModelHost {
    let mut host = ModelHost::new();
    for color in ["blue", "red"] {
        host.behave(reloaded(color).digest, Behaviour::Healthy { after: 100 });
    }
    host.open(&goal(1, HostAction::Apply(reloaded("blue")))).expect("nothing kills it");
    host.settle().expect("nothing kills it");
    host.errands.clear();
    host
}

#[test]
fn another_configuration_alone_is_reloaded_without_a_stop() {
    let mut host = with_blue();
    let red = reloaded("red");
    let report = give(&mut host, &goal(2, HostAction::Apply(red.clone())));
    assert_eq!((report.state, report.current, report.code), (HostState::Healthy, Some(red.digest), None));
    assert_eq!((host.starts.len(), host.current()), (1, Some(red.digest)), "nothing was started again");
    assert_eq!(host.errands, ["reload v1", "after_healthy 0 v1", "after_healthy 1 v1", "undrain v1"]);
    // What its policy starts again later is the new one.
    host.kill_service(Exit::code(1));
    host.run_for(Millis::seconds(10)).expect("nothing kills it");
    assert_eq!(host.starts.last().map(|(_, digest)| *digest), Some(red.digest));
    let report = give(&mut host, &goal(3, HostAction::Apply(release_with_lifecycle(1))));
    assert_eq!(
        (report.state, host.starts.len()),
        (HostState::Healthy, 3),
        "without `reload` it is restarted"
    );
}

#[test]
fn a_reload_that_fails_restarts_the_earlier_release() {
    let mut host = with_blue();
    host.bad_errands.insert("reload v1".to_owned(), fails(ReasonCode::ReloadFailed));
    let report = give(&mut host, &goal(2, HostAction::Apply(reloaded("red"))));
    assert_eq!((report.state, report.code), (HostState::Reverted, Some(ReasonCode::ReloadFailed)));
    assert_eq!((report.current, host.starts.len()), (Some(reloaded("blue").digest), 2));
}

#[test]
fn a_crash_in_a_reload_ends_with_the_new_release() {
    for loss in [Loss::Nothing, Loss::Unsynced(0)] {
        let mut points = 0;
        for point in 1.. {
            let mut host = with_blue();
            let red = goal(2, HostAction::Apply(reloaded("red")));
            host.disk.crash_at(Some(point));
            let ended = match host.order(&red) {
                Ok(()) => host.settle(),
                Err(died) => Err(died),
            };
            if ended.is_ok() {
                break;
            }
            points += 1;
            host.crash(loss);
            host.open(&red).expect("nothing kills it again");
            host.settle().expect("nothing kills it again");
            host.run_for(Millis::seconds(10)).expect("nothing kills it again");
            let report = host.report();
            assert_eq!((report.state, report.current), (HostState::Healthy, Some(reloaded("red").digest)));
            assert_eq!(host.running().len(), 1, "{loss:?} {point}");
            if loss == Loss::Nothing {
                assert_eq!(host.starts.len(), 1, "{point}: it is not restarted");
            }
        }
        assert!(points > 15, "only {points} points were tried");
    }
}

/// Every crash point of a change, under several losses: the release that runs in the end takes part.
#[test]
fn a_crash_at_any_point_leaves_no_service_left_out() {
    for bad in [Behaviour::Healthy { after: 100 }, Behaviour::Sick] {
        for (loss, step) in [(Loss::Nothing, 1), (Loss::Unsynced(0), 7), (Loss::Unsynced(0x55), 11)] {
            let mut points = 0;
            for point in (1..).step_by(step) {
                let mut host = with_v1(bad);
                host.disk.crash_at(Some(point));
                let ended = match host.order(&apply(2, 2)) {
                    Ok(()) => host.settle(),
                    Err(died) => Err(died),
                };
                if ended.is_ok() {
                    break;
                }
                points += 1;
                host.crash(loss);
                host.open(&apply(2, 2)).expect("nothing kills it again");
                host.settle().expect("nothing kills it again");
                host.run_for(Millis::seconds(10)).expect("nothing kills it again");
                let expected = if bad == Behaviour::Sick { 1 } else { 2 };
                let report = host.report();
                assert_eq!(host.running(), [digest(expected)], "{bad:?} {loss:?} {point}: {report:?}");
                let last = host.errands.iter().rev().find(|it| it.contains("drain"));
                let wanted = format!("undrain v{expected}");
                // Before anything was drained there is nothing to undo.
                let fine = last.is_none() || last == Some(&wanted);
                assert!(fine, "{bad:?} {loss:?} {point}: {:?}", host.errands);
            }
            assert!(points > 60 / step, "only {points} points were tried");
        }
    }
}
