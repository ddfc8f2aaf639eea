//! Clusters of replicas under faults, from seeds. Checked in every step: one leader a term, one history, no
//! acknowledgement before a majority of disks holds the entry, reads not older than what was acknowledged,
//! refused entries never applied; and after the faults that everything ends and all agree.

mod toy;
mod world;

use trimaran_replica::Settings;
use world::{Faults, World, settings};

const ROUGH: Faults =
    Faults { loss: 50, delay_max: 30, write_max: 30, crash_every: 2500, partition_every: 4000 };
const CALM: Faults = Faults { loss: 0, delay_max: 5, write_max: 5, crash_every: 0, partition_every: 0 };

fn rough(seed: u64, voters: u64) -> World {
    let mut world = World::new(seed, voters, settings(seed), ROUGH);
    world.run(30_000);
    world.heal(10_000);
    world
}

#[test]
fn three_voters_survive_loss_partitions_and_crashes() {
    let (mut elections, mut installs, mut crashes, mut reads, mut acked) = (0, 0, 0, 0, 0);
    for seed in 0..40 {
        let world = rough(seed, 3);
        elections += world.elections;
        installs += world.installs;
        crashes += world.crashes;
        reads += world.reads;
        acked += world.acked.len();
    }
    // The faults really happened and did not keep everything from happening.
    assert!(crashes > 300, "{crashes} crashes");
    assert!(elections > 100, "{elections} elections");
    assert!(installs > 10, "{installs} installed snapshots");
    assert!(acked > 10_000, "{acked} acknowledged");
    assert!(reads > 3_000, "{reads} reads");
}

#[test]
fn a_single_voter_loses_nothing_at_power_loss() {
    let mut acked = 0;
    for seed in 0..60 {
        let faults = Faults { crash_every: 300, partition_every: 0, ..ROUGH };
        let mut world = World::new(seed, 1, settings(seed), faults);
        world.run(20_000);
        world.heal(1_000);
        acked += world.acked.len();
    }
    assert!(acked > 1_000, "{acked} acknowledged");
}

#[test]
fn two_voters_agree() {
    for seed in 100..110 {
        rough(seed, 2);
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [1, 7] {
        assert_eq!(rough(seed, 3).trace, rough(seed, 3).trace);
    }
    assert_ne!(rough(1, 3).trace, rough(2, 3).trace);
}

#[test]
fn a_single_voter_leads_without_an_election_timeout() {
    let mut world = World::new(5, 1, settings(5), CALM);
    world.run(20);
    assert_eq!(world.elections, 1);
    assert!(world.replica(0).role().leader == Some(1));
}

#[test]
fn the_log_is_cut_below_a_synced_mark_and_a_restart_finds_the_rest() {
    let mut world = World::new(3, 1, settings(3), CALM);
    world.run(5_000);
    let status = world.replica(0).status();
    assert!(status.first > 100, "cut up to {}", status.first);
    assert!(status.snapshot.index >= status.first + 9, "kept entries below the mark");
    assert!(status.applied.index - status.snapshot.index <= 50);
    let loaded = world.store(0).load();
    assert!(loaded.compacted.index <= loaded.snapshot.index);
    let hash = status.hash;
    world.crash(0);
    world.run(3_100);
    assert!(world.replica(0).status().applied >= status.applied);
    assert_ne!(hash, 0);
    world.heal(100);
}

#[test]
fn settings_follow_the_times_of_the_operator() {
    use trimaran_model::time::Millis;
    let settings = Settings::new(1, 0).with_times(Millis(100), Millis(1000));
    assert_eq!((settings.heartbeat_ticks, settings.election_ticks, settings.election_ticks_max), (2, 20, 30));
    let settings = Settings::new(1, 0).with_times(Millis(1), Millis(1));
    assert_eq!((settings.heartbeat_ticks, settings.election_ticks, settings.election_ticks_max), (1, 2, 3));
}
