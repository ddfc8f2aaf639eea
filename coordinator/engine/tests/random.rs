//! The engine under random commands of operators, agents and clocks. `trimaran_sim::check` looks after every
//! entry; here a replay and a reload are compared from time to time, what a reason says clears it is done, and
//! in the end everything has to end.

mod driver;

use driver::Driver;
use trimaran_engine::mutant::{self, Mutant};

/// Steps of each seed; a few thousand in all.
const STEPS: usize = 500;
/// A deliberate defect shows itself within so many steps of one of the seeds.
const STEPS_TO_FIND: usize = 400;

#[test]
fn random_commands_keep_every_invariant() {
    let mut seen = driver::Seen::default();
    for seed in 0..8 {
        let mut driver = Driver::new(seed);
        driver.run(STEPS);
        driver.heal();
        seen.add(&driver.seen);
    }
    // The commands really did something.
    assert!(seen.runs > 100 && seen.rolled_back > 20 && seen.rollback_runs > 5, "{seen:?}");
    assert!(seen.paused > 30 && seen.cleared > 20 && seen.superseded > 0, "{seen:?}");
}

/// A quorum that is lost in the middle of anything: the work that was in progress goes on under a fence of the new epoch, and ends.
#[test]
fn a_recovery_in_the_middle_of_anything_goes_on_with_all_work() {
    let mut seen = driver::Seen::default();
    for seed in 500..506 {
        let mut driver = Driver::new(seed);
        driver.run_with_recoveries(STEPS);
        driver.heal();
        seen.add(&driver.seen);
    }
    assert!(seen.recoveries > 20 && seen.superseded > 0 && seen.defects == 0, "{seen:?}");
}

/// Backups that are restored in the middle of anything: nothing is ordered before the cluster is resumed, nor on an installation
/// before it is decided what should run there; then what users do ends everything.
#[test]
fn after_a_restore_nothing_is_ordered_before_it_is_decided_and_then_all_ends() {
    let mut seen = driver::Seen::default();
    for seed in 600..604 {
        let mut driver = Driver::new(seed);
        driver.run_with_restores(STEPS * 2);
        driver.heal();
        seen.add(&driver.seen);
    }
    assert!(seen.restores > 15 && seen.decided > 15 && seen.defects == 0, "{seen:?}");
}

#[test]
fn a_defect_in_a_command_or_in_settling_never_ends_the_engine() {
    for mutant in [Mutant::PanicInCommand, Mutant::PanicInSettle] {
        mutant::set(Some(mutant));
        let mut driver = Driver::new(77);
        driver.run(STEPS_TO_FIND);
        mutant::set(None);
        driver.heal();
        assert!(driver.seen.defects > 0, "{}", mutant.as_str());
    }
}

/// Each defect that a step of the engine can have is noticed by what is checked here.
#[test]
fn deliberate_defects_are_found() {
    let found = |mutant: Mutant| {
        (0..40).any(|seed| {
            let work = move || {
                mutant::set(Some(mutant));
                let mut driver = Driver::new(1000 + seed);
                driver.run(STEPS_TO_FIND);
                driver.heal();
            };
            std::thread::Builder::new().spawn(work).expect("a thread").join().is_err()
        })
    };
    let found_restoring = |mutant: Mutant| {
        (0..40).any(|seed| {
            let work = move || {
                mutant::set(Some(mutant));
                Driver::new(2000 + seed).run_with_restores(STEPS_TO_FIND);
            };
            std::thread::Builder::new().spawn(work).expect("a thread").join().is_err()
        })
    };
    for mutant in Mutant::ALL.iter().copied() {
        match mutant {
            Mutant::PanicInSettle | Mutant::PanicInCommand => {}
            // Of two incarnations the simulation of three coordinators knows.
            Mutant::ServeLaterIncarnation => {}
            // Of a process of an agent that another one follows the simulation of a whole site knows.
            Mutant::ServeSuperseded => {}
            Mutant::ServeWhileObserving => {
                assert!(found_restoring(mutant), "`{}` was not found", mutant.as_str())
            }
            other => assert!(found(other), "`{}` was not found", other.as_str()),
        }
    }
}
