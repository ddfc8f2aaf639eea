//! Clusters of replicas under faults, from seeds. Checked in every step: one leader a term, one history, no
//! acknowledgement before a majority of disks holds the entry, reads not older than what was acknowledged,
//! refused entries never applied; and after the faults that everything ends and all agree.

mod direct;
mod toy;
mod world;

use bytes::Bytes;
use trimaran_replica::{Answer, Input, MemberChange, Settings};
use world::{Boundary, Faults, World, settings};

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
    assert!(status.snapshot.index >= status.first + 9, "kept entries below the snapshot position");
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

#[test]
fn a_crash_at_every_boundary_of_every_write_loses_nothing() {
    for voters in [1, 3] {
        for boundary in [Boundary::Before, Boundary::During, Boundary::After] {
            for write in (1..40).chain((40..160).step_by(if voters == 1 { 3 } else { 11 })) {
                let seed = write as u64;
                let mut world = World::new(seed, voters, settings(seed), CALM);
                world.crash_at = Some((write, boundary));
                world.run(4_000);
                assert_eq!(world.crashes, 1, "{voters} voters, {boundary:?} of write {write}");
                world.heal(5_000);
            }
        }
    }
}

#[test]
fn a_disk_that_stands_still_costs_no_leadership() {
    let mut world = World::new(11, 3, settings(11), CALM);
    world.run(5_000);
    let (leader, elections) = (world.leader(), world.elections);
    world.slow.insert(leader, 20_000);
    world.slow.insert((leader + 1) % 3, 20_000);
    world.run(15_000);
    assert_eq!((world.leader(), world.elections), (leader, elections));
    world.slow.clear();
    world.run(10_000);
    world.heal(1_000);
}

#[test]
fn leadership_moves_on_command_within_a_few_heartbeats() {
    let mut world = World::new(12, 3, settings(12), CALM);
    world.run(5_000);
    let to = (world.leader() + 1) % 3;
    world.step_node(world.leader(), Input::TransferLeader { to: to as u64 + 1 });
    world.run(100);
    assert_eq!(world.leader(), to);
    world.heal(1_000);
}

fn change(world: &mut World, change: MemberChange) -> Answer<u64> {
    let leader = world.leader();
    let waiter = world.ask(leader, |waiter| Input::ChangeMember { waiter, change, context: Bytes::new() });
    world.run(2_000);
    world.answers.remove(&waiter).expect("an answer")
}

#[test]
fn one_grows_to_three_and_a_member_leaves() {
    let mut world = World::growing(13, 1, 2, settings(13), CALM);
    world.run(3_000);
    for id in [2, 3] {
        assert!(matches!(change(&mut world, MemberChange::AddLearner(id)), Answer::MembersChanged { .. }));
        assert!(matches!(change(&mut world, MemberChange::AddVoter(id)), Answer::MembersChanged { .. }));
    }
    world.set_voters(3);
    assert!(
        world.installs >= 2,
        "an empty disk gets a snapshot: {} {:?}",
        world.installs,
        world.replica(0).status()
    );
    assert_eq!(world.replica(0).status().members.voters.len(), 3);
    world.crash(0);
    world.run(10_000);
    world.heal(1_000);
    // A change is refused while another one is in progress, and nowhere but at the leader.
    let leader = world.leader();
    let ask = |change| move |waiter| Input::ChangeMember { waiter, change, context: Bytes::new() };
    let other = (leader + 1) % 3;
    let away = MemberChange::Remove(other as u64 + 1);
    let first = world.ask(leader, ask(away));
    let second = world.ask(leader, ask(MemberChange::AddLearner(9)));
    let third = world.ask(other, ask(MemberChange::AddLearner(9)));
    world.run(2_000);
    assert!(matches!(world.answers[&first], Answer::MembersChanged { .. }));
    assert!(matches!(world.answers[&second], Answer::Busy(trimaran_replica::Busy::Members)));
    assert_eq!(world.answers[&third], Answer::NotLeader { hint: Some(leader as u64 + 1) });
    assert_eq!(world.replica(leader).status().members.voters.len(), 2);
}

#[test]
fn many_large_entries_at_once_fit_into_frames() {
    let mut world = World::new(14, 3, settings(14), CALM);
    world.run(5_000);
    let leader = world.leader();
    let mut data = vec![b'x'; 900_000];
    data[1] = b'=';
    let ask = |data: Bytes| move |waiter| Input::Propose { waiter, data };
    let waiters: Vec<_> = (0..12).map(|_| world.ask(leader, ask(data.clone().into()))).collect();
    world.run(5_000);
    for waiter in waiters {
        assert!(matches!(world.answers[&waiter], Answer::Applied { .. }), "{:?}", world.answers[&waiter]);
    }
}
