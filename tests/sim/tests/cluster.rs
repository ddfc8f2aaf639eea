//! Three coordinators under crashes, pauses, cuts and wrong clocks, from seeds. All of `cargo xtask sim --coordinators 3`
//! plays more of the same.

use trimaran_member::DiskLevel;
use trimaran_sim::cluster::{Cluster, NetworkFaults, Seen};
use trimaran_sim::mutants::{Finder, SEEDS_TO_FIND};
use trimaran_sim::play::{ClusterPlayed, Length, Losses, kept_seeds, play_cluster, play_cluster_losing};
use trimaran_sim::trace::Trace;
use trimaran_sim::world::Faults;

fn clean(seed: u64) -> ClusterPlayed {
    let played = play_cluster(seed, Length::default(), None, false);
    if let Some(why) = &played.violation {
        panic!("seed {seed} violates: {why}\n{}", played.trace);
    }
    played
}

#[test]
fn three_coordinators_lose_nothing_and_repeat_nothing() {
    let mut all = Seen::default();
    for seed in 0..20 {
        all.add(&clean(seed).seen);
    }
    assert!(all.crashes > 50 && all.pauses > 20 && all.cuts > 50 && all.leaders > 40, "{all:?}");
    assert!(all.forwarded > 500 && all.snapshots > 5 && all.reads > 500, "{all:?}");
    assert!(all.replaced > 10 && all.transfers > 10 && all.removals_refused > 3, "{all:?}");
    assert!(all.results > 100 && all.repeated > 20 && all.runs > 20, "{all:?}");
    assert!(all.no_space > 40, "{all:?}");
    assert!(all.watch.events > 4000 && all.watch.compacted > 100 && all.watch.ahead > 50, "{all:?}");
}

/// All disks but one are lost for good, twice, under all other faults: what was answered is there, what was in progress ends, and
/// agents get no order that they would refuse.
#[test]
fn of_a_lost_quorum_the_one_with_the_most_goes_on_alone_and_nothing_that_was_answered_is_lost() {
    let mut all = Seen::default();
    for seed in 0..12 {
        let length = Length { rough_ms: 12_000, ..Length::default() };
        let losses = Losses { quorums: 2, ..Losses::default() };
        let played = play_cluster_losing(seed, length, losses, None, false);
        if let Some(why) = &played.violation {
            panic!("seed {seed} violates: {why}\n{}", played.trace);
        }
        all.add(&played.seen);
    }
    assert!(all.recoveries > 10 && all.replaced > 30, "{all:?}");
    assert!(all.results > 50 && all.repeated > 5 && all.runs > 10, "{all:?}");
}

/// All disks are lost, and a backup is restored twice, under all other faults: no agent gets an order before the cluster is
/// resumed and the installation decided, nor one of an earlier incarnation, and everything ends.
#[test]
fn a_backup_that_is_restored_twice_orders_nothing_before_it_is_decided_and_no_earlier_incarnation_is_obeyed()
{
    let mut all = Seen::default();
    for seed in 0..12 {
        let length = Length { rough_ms: 16_000, ..Length::default() };
        let losses = Losses { disks: 2, ..Losses::default() };
        let played = play_cluster_losing(seed, length, losses, None, false);
        if let Some(why) = &played.violation {
            panic!("seed {seed} violates: {why}\n{}", played.trace);
        }
        all.add(&played.seen);
    }
    assert!(all.restores > 20 && all.earlier_incarnations > 20, "{all:?}");
    assert!(all.results > 50 && all.runs > 10, "{all:?}");
}

/// Coordinators of two builds, each upgraded and taken back, under all other faults: none meets what it does not know.
#[test]
fn coordinators_of_two_builds_work_at_the_older_level_until_it_is_raised() {
    let mut all = Seen::default();
    for seed in 0..20 {
        let losses = Losses { builds: true, ..Losses::default() };
        let played = play_cluster_losing(seed, Length::default(), losses, None, false);
        if let Some(why) = &played.violation {
            panic!("seed {seed} violates: {why}\n{}", played.trace);
        }
        all.add(&played.seen);
    }
    assert!(all.builds > 100 && all.level_refused > 200, "{all:?}");
    assert!(all.finalized > 20 && all.tokens_for_many > 40, "{all:?}");
}

#[test]
fn a_command_of_the_next_level_that_reaches_the_build_before_is_found() {
    for name in Finder::Mixed.names() {
        let found = Finder::Mixed.first(name, 0..SEEDS_TO_FIND);
        assert!(found.is_some(), "`{name}` survives {SEEDS_TO_FIND} seeds");
    }
}

#[test]
fn an_agent_that_is_served_by_an_earlier_incarnation_is_found() {
    for name in Finder::Restored.names() {
        let found = Finder::Restored.first(name, 0..SEEDS_TO_FIND);
        assert!(found.is_some(), "`{name}` survives {SEEDS_TO_FIND} seeds");
    }
}

#[test]
fn a_leader_with_little_space_hands_over_to_one_with_more_and_to_no_other() {
    let faults = Faults { write_max: 5, ..Faults::NONE };
    let mut world = Cluster::new(7, faults, NetworkFaults::NONE, Trace::new(false));
    let leader = |world: &mut Cluster, length| {
        world.run(length);
        world.leader().expect("one leads")
    };
    // One may be started late.
    let first = leader(&mut world, 25_000);
    world.set_disk(first, DiskLevel::Low);
    let second = leader(&mut world, 12_000);
    assert_ne!(first, second);
    world.set_disk(second, DiskLevel::Full);
    let third = leader(&mut world, 24_000);
    assert!(third != first && third != second, "the one with enough leads: {third}");
    world.set_disk(third, DiskLevel::Low);
    assert_eq!(leader(&mut world, 24_000), third, "no other has more");
    world.set_disk(third, DiskLevel::Full);
    assert_eq!(leader(&mut world, 24_000), first, "little is more than none");
}

#[test]
fn seeds_that_found_something_once_are_clean() {
    let quorum = Losses { quorums: 1, ..Losses::default() };
    let of = |world, losses| kept_seeds(world).into_iter().map(move |(seed, what)| (seed, what, losses));
    for (seed, what, losses) in of("3", Losses::default()).chain(of("3/lost-quorum", quorum)) {
        let played = play_cluster_losing(seed, Length::default(), losses, None, false);
        assert!(played.violation.is_none(), "{what} is back, by seed {seed}: {:?}", played.violation);
    }
}

#[test]
fn a_leader_whose_disk_hangs_hands_over_and_what_it_had_in_progress_is_done_once() {
    let faults = Faults { write_max: 5, ..Faults::NONE };
    for seed in 0..3 {
        let mut world = Cluster::new(seed, faults, NetworkFaults::NONE, Trace::new(false));
        // One may be started late.
        world.run(25_000);
        let first = world.leader().expect("one leads");
        world.hang_disk(first, true);
        world.run(5000);
        let second = world.leader().expect("another one leads");
        assert_ne!(first, second, "seed {seed}");
        world.run(5000);
        assert_eq!(world.leader(), Some(second), "seed {seed}: a disk that hangs disturbs no one any more");
        world.hang_disk(first, false);
        world.heal(60_000);
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    assert_eq!(clean(3).hash, clean(3).hash);
}

#[test]
fn deliberate_defects_are_found() {
    for name in Finder::Three.names() {
        let found = Finder::Three.first(name, 0..SEEDS_TO_FIND);
        assert!(found.is_some(), "`{name}` survives {SEEDS_TO_FIND} seeds");
    }
}
