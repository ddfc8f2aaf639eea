//! One coordinator under crashes, lost unsynced data, slow disks, pauses and wrong clocks, from seeds. All of
//! `cargo xtask sim --seeds` plays more of the same.

use trimaran_sim::mutants::{Finder, SEEDS_TO_FIND};
use trimaran_sim::play::{Length, Played, kept_seeds, play};
use trimaran_sim::world::{Faults, Seen};

fn clean(seed: u64, faults: Faults, length: Length) -> Played {
    let played = play(seed, faults, length, None, false);
    if let Some(why) = &played.violation {
        panic!("seed {seed} violates: {why}\n{}", played.trace);
    }
    played
}

#[test]
fn a_coordinator_that_crashes_loses_nothing_and_repeats_nothing() {
    let mut all = Seen::default();
    for seed in 0..40 {
        all.add(&clean(seed, Faults::ROUGH, Length::default()).seen);
    }
    assert!(all.crashes > 150 && all.pauses > 60 && all.agent_crashes > 8, "{all:?}");
    assert!(all.no_space > 40, "{all:?}");
    assert!(all.results > 300 && all.repeated > 50 && all.runs > 50, "{all:?}");
    assert!(all.watch.events > 10_000 && all.watch.compacted > 200, "{all:?}");
}

#[test]
fn seeds_that_found_something_once_are_clean() {
    for (seed, what) in kept_seeds("1") {
        let played = play(seed, Faults::ROUGH, Length::default(), None, false);
        assert!(played.violation.is_none(), "{what} is back, by seed {seed}: {:?}", played.violation);
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [3, 4] {
        let hash = || clean(seed, Faults::ROUGH, Length { rough_ms: 20_000, ..Length::default() }).hash;
        assert_eq!(hash(), hash());
    }
}

#[test]
fn a_disk_that_takes_seconds_only_makes_it_slow() {
    for seed in 100..103 {
        let faults = Faults { write_max: 4000, crash_every: 0, ..Faults::ROUGH };
        clean(seed, faults, Length { rough_ms: 120_000, ..Length::default() });
    }
}

#[test]
fn a_disk_that_forgets_what_it_synced_is_noticed() {
    let faults = Faults { forgets_sync: true, ..Faults::ROUGH };
    let found = (0..12).any(|seed| play(seed, faults, Length::default(), None, false).violation.is_some());
    assert!(found);
}

#[test]
fn deliberate_defects_are_found() {
    for name in Finder::One.names() {
        let found = Finder::One.first(name, 0..SEEDS_TO_FIND);
        assert!(found.is_some(), "`{name}` survives {SEEDS_TO_FIND} seeds");
    }
}
