//! One coordinator under crashes, lost unsynced data and slow disks, from seeds.

use trimaran_engine::mutant::{self, Mutant};
use trimaran_sim::world::{Faults, Seen, World};

fn play(seed: u64, faults: Faults, length: u64) -> Seen {
    let mut world = World::new(seed, faults);
    world.run(length);
    world.heal(120_000);
    world.seen
}

#[test]
fn a_coordinator_that_crashes_loses_nothing_and_repeats_nothing() {
    let mut all = Seen::default();
    for seed in 0..12 {
        let seen = play(seed, Faults::ROUGH, 60_000);
        all.crashes += seen.crashes;
        all.agent_crashes += seen.agent_crashes;
        all.entries += seen.entries;
        all.results += seen.results;
        all.repeated += seen.repeated;
        all.runs += seen.runs;
    }
    assert!(all.crashes > 100 && all.agent_crashes > 8, "{all:?}");
    assert!(all.results > 300 && all.repeated > 50 && all.runs > 50, "{all:?}");
}

#[test]
fn a_disk_that_takes_seconds_only_makes_it_slow() {
    for seed in 100..103 {
        play(seed, Faults { write_max: 4000, crash_every: 0, ..Faults::ROUGH }, 120_000);
    }
}

fn fails(work: impl Fn(u64) + Send + Copy + 'static) -> bool {
    (0..12)
        .any(|seed| std::thread::Builder::new().spawn(move || work(seed)).expect("a thread").join().is_err())
}

#[test]
fn a_disk_that_forgets_what_it_synced_is_noticed() {
    let faults = Faults { forgets_sync: true, ..Faults::ROUGH };
    assert!(fails(move |seed| {
        play(seed, faults, 30_000);
    }));
}

#[test]
fn deliberate_defects_of_the_engine_are_found() {
    for mutant in [Mutant::SameFence, Mutant::ForgetRequests, Mutant::NoWakeAfterRun] {
        let found = fails(move |seed| {
            mutant::set(Some(mutant));
            play(seed, Faults::ROUGH, 30_000);
        });
        assert!(found, "`{}` was not found", mutant.as_str());
    }
}
