//! Executor and fleet loop under faults, from seeds: model hosts, a model coordinator, one virtual clock.
//!
//! Sessions are cut and delayed; agents are killed, paused, copied beside their paused original, and lose their
//! directory or what was not synced; hosts vanish, degrade and have full disks. Checked at every start of a
//! release on a host, and of a restart: not more hosts down by us than allowed, not more on the release than the wave wants, no
//! host twice under one fence, no start under a withdrawn fence, no spent budget spent again. After the faults
//! every run has to end, and each host has to be where the run's end says.
//!
//! Wrong wirings ([`Mutant`]) must be found, so that this test is tested itself.

mod agent;
mod coordinator;
mod host;
mod world;

use world::{Mutant, Story, World};

/// One run of a story; the error names what was violated.
fn play(seed: u64, story: Story, mutant: Mutant) -> Result<World, String> {
    let mut world = World::new(seed, story, mutant);
    world.run().map_err(|why| format!("seed {seed}, {story:?}: {why}"))?;
    Ok(world)
}

fn seeds(story: Story, seeds: std::ops::Range<u64>) {
    let (mut ends, mut crashes, mut starts) = (std::collections::BTreeMap::new(), 0, 0);
    for seed in seeds {
        let world = play(seed, story, Mutant::None).unwrap_or_else(|why| panic!("{why}"));
        *ends.entry(world.coordinator.ended().expect("it ended")).or_insert(0u32) += 1;
        crashes += world.crashes;
        starts += world.starts;
    }
    // The faults really happened and did not keep everything from happening.
    assert!(crashes > 100 && starts > 200, "{crashes} crashes, {starts} starts");
    let wanted = match story {
        Story::Good | Story::Restarted => "succeeded",
        Story::Bad => "rolled_back",
        Story::Canceled => "canceled",
    };
    assert!(ends.get(wanted).is_some_and(|count| *count > 50), "{story:?}: {ends:?}");
}

#[test]
fn a_good_release_reaches_every_host_under_faults() {
    seeds(Story::Good, 0..150);
}

#[test]
fn a_bad_release_goes_back_under_faults() {
    seeds(Story::Bad, 1000..1150);
}

#[test]
fn a_canceled_run_ends_and_starts_nothing_more() {
    seeds(Story::Canceled, 2000..2150);
}

#[test]
fn every_host_is_restarted_once_under_faults() {
    seeds(Story::Restarted, 3000..3150);
}

#[test]
fn the_same_seed_gives_the_same_story() {
    for seed in [3, 1003] {
        let trace = || play(seed, Story::Bad, Mutant::None).expect("no violation").trace;
        assert_eq!(trace(), trace());
    }
}

/// A journal that loses what it said to hold is none of them: hosts are the truth, and a wiped directory is one of
/// the faults anyway.
#[test]
fn wrong_wirings_are_found() {
    for mutant in Mutant::ALL {
        let found = (0..4000).find_map(|seed| {
            let story = if seed % 2 == 0 { Story::Bad } else { Story::Good };
            play(seed, story, mutant).err()
        });
        assert!(found.is_some(), "{mutant:?} passes for right");
    }
}
