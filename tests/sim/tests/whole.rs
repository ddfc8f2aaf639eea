//! One coordinator, its agent and the agent's hosts as they run, under all faults, from seeds. All of
//! `cargo xtask sim --whole --seeds` plays more of the same.

use trimaran_sim::mutants;
use trimaran_sim::play::{Length, Played, first_found_whole, play_whole};
use trimaran_sim::world::Seen;
use trimaran_test_support::seed::drawn;

fn clean(seed: u64) -> Played {
    let played = play_whole(seed, Length::default(), None, false);
    if let Some(why) = &played.violation {
        panic!("seed {seed} violates: {why}\n{}", played.trace);
    }
    played
}

#[test]
fn orders_reach_hosts_once_and_everything_ends_as_the_last_release_says() {
    let mut all = Seen::default();
    for seed in 0..10 {
        all.add(&clean(seed).seen);
    }
    assert!(all.crashes > 20 && all.pauses > 10 && all.results > 40 && all.runs > 20, "{all:?}");
    let site = &all.site;
    assert!(site.starts > 100 && site.cuts > 30 && site.agent_crashes > 10, "{all:?}");
    assert!(site.copies > 3 && site.wiped > 3, "{all:?}");
    assert!(site.runner_crashes > 10 && site.power_losses > 3 && site.services_killed > 10, "{all:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    assert_eq!(clean(3).hash, clean(3).hash);
}

/// A few of them each day; `cargo xtask sim --mutants` plays all.
#[test]
fn deliberate_defects_are_found() {
    for name in drawn(&mutants::whole_names(), 3, 9) {
        let found = first_found_whole(name, 0..mutants::SEEDS_TO_FIND);
        assert!(found.is_some(), "`{name}` survives {} seeds", mutants::SEEDS_TO_FIND);
    }
}
