//! Every driver keeps the contract, and the suite that says so finds defects.

mod flink;
mod flink_invariants;
mod flink_replace;

use trimaran_agent_core::driver::{Driver, Effect};
use trimaran_conformance::driver::assigned::AssignedModel;
use trimaran_conformance::driver::fleet::FleetModel;
use trimaran_conformance::driver::host::HostModel;
use trimaran_conformance::driver::job::{Defect, JobModel, Orders};
use trimaran_conformance::driver::kubernetes::KubernetesModel;
use trimaran_conformance::driver::{Faults, Model, Which, agent, check, play};
use trimaran_model::action::{Action, Outcome};
use trimaran_model::assignment::Assignment;
use trimaran_model::id::Digest;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Timestamp;
use trimaran_model::verdict::Fault;

#[test]
fn the_driver_of_jobs_conforms() {
    let tried = check(|| JobModel::new(None)).unwrap_or_else(|why| panic!("{why}"));
    assert!(tried.points >= 10 && tried.calls >= 2 && tried.runs > 200, "{tried:?}");
}

#[test]
fn the_driver_of_jobs_conforms_when_it_restarts_and_scales() {
    for orders in [Orders::RestartThenScale, Orders::ScaleThenRestart] {
        let tried =
            check(|| JobModel::ordering(orders, None)).unwrap_or_else(|why| panic!("{orders:?}: {why}"));
        assert!(tried.points >= 12 && tried.calls >= 3 && tried.runs > 250, "{orders:?}: {tried:?}");
    }
}

#[test]
fn a_restart_of_what_does_not_run_and_a_scale_without_slots_change_nothing() {
    for orders in [Orders::OfAnother, Orders::TooMany] {
        let finished = play(JobModel::ordering(orders, None), &Faults::default()).expect("it is refused");
        let Some(Outcome::Fault(why)) = finished.outcome else { panic!("{orders:?}: {finished:?}") };
        assert_eq!((why.code, finished.calls), (ReasonCode::OrderRefused, 1), "{orders:?}: {why:?}");
    }
}

#[test]
fn the_fleet_loop_conforms() {
    let tried = check(FleetModel::new).unwrap_or_else(|why| panic!("{why}"));
    assert!(tried.points >= 20 && tried.calls >= 6 && tried.runs > 500, "{tried:?}");
}

#[test]
fn the_fleet_loop_conforms_when_it_restarts_what_runs() {
    let tried = check(FleetModel::restarting).unwrap_or_else(|why| panic!("{why}"));
    assert!(tried.points >= 14 && tried.calls >= 3 && tried.runs > 300, "{tried:?}");
    let tried = check(FleetModel::restarting_a_release).unwrap_or_else(|why| panic!("{why}"));
    assert!(tried.points >= 20 && tried.calls >= 6 && tried.runs > 500, "{tried:?}");
}

#[test]
fn the_host_machine_conforms() {
    let tried = check(HostModel::new).unwrap_or_else(|why| panic!("{why}"));
    assert!(tried.points >= 20 && tried.calls >= 8 && tried.runs > 500, "{tried:?}");
}

#[test]
fn the_driver_of_kubernetes_conforms() {
    let tried = check(KubernetesModel::new).unwrap_or_else(|why| panic!("{why}"));
    assert!(tried.points >= 20 && tried.calls >= 7 && tried.runs > 500, "{tried:?}");
}

#[test]
fn the_driver_of_kubernetes_conforms_when_there_is_no_release_to_go_back_to() {
    let tried = check(KubernetesModel::first).unwrap_or_else(|why| panic!("{why}"));
    assert!(tried.points >= 20 && tried.calls >= 6 && tried.runs > 500, "{tried:?}");
}

#[test]
fn the_driver_of_kubernetes_deletes_pods_that_block_a_workload() {
    let tried = check(KubernetesModel::sticking).unwrap_or_else(|why| panic!("{why}"));
    assert!(tried.points >= 22 && tried.calls >= 8 && tried.runs > 500, "{tried:?}");
}

#[test]
fn the_driver_of_kubernetes_ends_what_serves_only_where_others_served_before() {
    for is_taken_over in [false, true] {
        let tried = check(|| KubernetesModel::first_that_serves(is_taken_over));
        let tried = tried.unwrap_or_else(|why| panic!("taken over {is_taken_over}: {why}"));
        assert!(tried.points >= 20 && tried.calls >= 6 && tried.runs > 500, "{tried:?}");
    }
}

#[test]
fn the_driver_of_kubernetes_conforms_when_releases_have_to_be_loaded() {
    let tried = check(AssignedModel::new).unwrap_or_else(|why| panic!("{why}"));
    assert!(tried.points >= 22 && tried.calls >= 9 && tried.runs > 500, "{tried:?}");
}

#[test]
fn the_driver_of_kubernetes_conforms_when_it_restarts_and_scales() {
    let tried = check(KubernetesModel::adjusting).unwrap_or_else(|why| panic!("{why}"));
    assert!(tried.points >= 8 && tried.calls >= 2 && tried.runs > 100, "{tried:?}");
    let tried = check(AssignedModel::adjusting).unwrap_or_else(|why| panic!("{why}"));
    assert!(tried.points >= 10 && tried.calls >= 3 && tried.runs > 150, "{tried:?}");
}

#[test]
fn the_driver_of_kubernetes_conforms_with_an_api_server_that_fails_now_and_then() {
    for seed in 1..=2 {
        check(|| KubernetesModel::failing(seed)).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

#[test]
fn every_defect_is_found_by_the_rule_that_it_breaks() {
    for defect in Defect::ALL {
        let why = check(|| JobModel::new(Some(defect))).expect_err("it must be found");
        let rule = match defect {
            Defect::ActsBeforePersist => "before the phase that names it was durable",
            Defect::IgnoresLostLease => "without a lease",
            Defect::RepeatsUnguardedCall | Defect::ForgetsFoundPhase => "written a second time",
            Defect::DropsAbort => "started after an abort",
        };
        assert!(why.contains(rule), "{defect:?}: {why}");
    }
}

#[test]
fn every_defect_is_found_in_a_restart_and_in_a_scale_too() {
    for orders in [Orders::RestartThenScale, Orders::ScaleThenRestart] {
        for defect in Defect::ALL {
            let model = || JobModel::ordering(orders, Some(defect));
            let why = check(model).expect_err("it must be found");
            let rule = match defect {
                Defect::ActsBeforePersist => "before the phase that names it was durable",
                Defect::IgnoresLostLease => "without a lease",
                Defect::RepeatsUnguardedCall => "written a second time",
                // Without its phase it finds that no job runs.
                Defect::ForgetsFoundPhase => "no job runs",
                Defect::DropsAbort => "started after an abort",
            };
            assert!(why.contains(rule), "{orders:?}, {defect:?}: {why}");
        }
    }
}

#[test]
fn drivers_conform_through_the_executor_of_an_agent() {
    for orders in [Orders::RestartThenScale, Orders::ScaleThenRestart] {
        let jobs = agent::check(|| JobModel::ordering(orders, None))
            .unwrap_or_else(|why| panic!("{orders:?}: {why}"));
        assert!(jobs.points >= 20 && jobs.calls >= 3 && jobs.runs > 900, "{orders:?}: {jobs:?}");
    }
    let jobs = agent::check(|| JobModel::new(None)).unwrap_or_else(|why| panic!("{why}"));
    assert!(jobs.points >= 20 && jobs.calls >= 2 && jobs.runs > 900, "{jobs:?}");
    let fleet = agent::check(FleetModel::new).unwrap_or_else(|why| panic!("{why}"));
    assert!(fleet.points >= 30 && fleet.calls >= 6 && fleet.runs > 1000, "{fleet:?}");
    let restarts = agent::check(FleetModel::restarting).unwrap_or_else(|why| panic!("{why}"));
    assert!(restarts.points >= 20 && restarts.calls >= 3 && restarts.runs > 500, "{restarts:?}");
    let assigned = agent::check(AssignedModel::new).unwrap_or_else(|why| panic!("{why}"));
    assert!(assigned.points >= 30 && assigned.calls >= 8 && assigned.runs > 1000, "{assigned:?}");
    let adjusted = agent::check(AssignedModel::adjusting).unwrap_or_else(|why| panic!("{why}"));
    assert!(adjusted.points >= 12 && adjusted.calls >= 3 && adjusted.runs > 200, "{adjusted:?}");
}

#[test]
fn a_refused_order_that_is_canceled_is_answered_whatever_the_driver() {
    agent::check_refused(JobModel::new(None)).unwrap_or_else(|why| panic!("{why}"));
    agent::check_refused(FleetModel::new()).unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn what_an_earlier_order_committed_is_missed_by_a_driver_that_forgets_it() {
    for defect in [Defect::ActsBeforePersist, Defect::RepeatsUnguardedCall, Defect::ForgetsFoundPhase] {
        agent::check(|| JobModel::new(Some(defect))).expect_err("it must be found");
    }
}

/// How an order ends that its driver does not do, before it touches anything.
fn refused<M: Model>(model: &M, action: &Action)
where
    M::Driver: Driver<Order = Assignment>,
{
    let order = Assignment { action: action.clone(), ..model.order(Which::First, None) };
    let mut out = Vec::new();
    model.driver().begin(Timestamp(1000), &order, None, &mut out);
    let ended = out.iter().find_map(|effect| match effect {
        Effect::Done(outcome) => Some(outcome),
        _ => None,
    });
    let Some(Outcome::Fault(why)) = ended else {
        panic!("{action:?} on {}: {ended:?}", order.platform.as_str())
    };
    assert!(why.code.fault() == Some(Fault::Platform) && !why.message.is_empty(), "{why:?}");
    let acts = out.iter().any(|effect| matches!(effect, Effect::Call { .. }));
    assert!(!acts, "{action:?} on {}", order.platform.as_str());
}

#[test]
fn an_order_to_scale_pauses_with_a_reason_on_hosts() {
    refused(&FleetModel::new(), &Action::Scale { release: Digest([1; 32]), instances: 3 });
}
