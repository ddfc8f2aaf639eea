//! One coordinator or three, their agent and the agent's hosts as they run, under all faults, from seeds. All of
//! `cargo xtask sim --whole --seeds` and `--whole --coordinators 3 --seeds` play more of the same.

use trimaran_sim::cluster;
use trimaran_sim::mutants::{Finder, SEEDS_TO_FIND};
use trimaran_sim::play::{Length, Played, play_whole, play_whole_cluster};
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
fn with_three_coordinators_agents_go_to_another_one_and_everything_ends_as_the_last_release_says() {
    let mut all = cluster::Seen::default();
    for seed in 0..4 {
        let played = play_whole_cluster(seed, Length::default(), None, false);
        if let Some(why) = &played.violation {
            panic!("seed {seed} violates: {why}\n{}", played.trace);
        }
        all.add(&played.seen);
    }
    assert!(all.crashes > 20 && all.cuts > 20 && all.replaced > 3 && all.leaders > 10, "{all:?}");
    assert!(all.results > 10 && all.runs > 8, "{all:?}");
    let site = &all.site;
    assert!(site.starts > 30 && site.cuts > 8 && site.agent_crashes > 4 && site.moves > 8, "{all:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    assert_eq!(clean(3).hash, clean(3).hash);
}

/// A few of them each day; `cargo xtask sim --mutants` plays all.
#[test]
fn deliberate_defects_are_found() {
    for name in drawn(&Finder::Whole.names(), 3, 9) {
        let found = Finder::Whole.first(name, 0..SEEDS_TO_FIND);
        assert!(found.is_some(), "`{name}` survives {SEEDS_TO_FIND} seeds");
    }
}
