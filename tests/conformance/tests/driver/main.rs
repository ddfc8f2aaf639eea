//! Every driver keeps the contract, and the suite that says so finds defects.

use trimaran_conformance::driver::check;
use trimaran_conformance::driver::fleet::FleetModel;
use trimaran_conformance::driver::host::HostModel;
use trimaran_conformance::driver::job::{Defect, JobModel};

#[test]
fn the_driver_of_jobs_conforms() {
    let tried = check(|| JobModel::new(None)).unwrap_or_else(|why| panic!("{why}"));
    assert!(tried.points >= 10 && tried.calls >= 2 && tried.runs > 200, "{tried:?}");
}

#[test]
fn the_fleet_loop_conforms() {
    let tried = check(FleetModel::new).unwrap_or_else(|why| panic!("{why}"));
    assert!(tried.points >= 20 && tried.calls >= 6 && tried.runs > 500, "{tried:?}");
}

#[test]
fn the_host_machine_conforms() {
    let tried = check(HostModel::new).unwrap_or_else(|why| panic!("{why}"));
    assert!(tried.points >= 20 && tried.calls >= 8 && tried.runs > 500, "{tried:?}");
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
