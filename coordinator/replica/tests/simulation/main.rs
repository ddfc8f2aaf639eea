//! Clusters of replicas under faults, from seeds. Checked in every step: one leader a term, one history, no
//! acknowledgement before a majority of disks holds the entry, reads not older than what was acknowledged,
//! refused entries never applied; and after the faults that everything ends and all agree.

mod direct;
mod faults;
mod mutants;
mod random;
mod survivor;
mod toy;
mod world;

use bytes::Bytes;
use faults::{CALM, Faults};
use trimaran_replica::{Answer, Busy, Input, MemberChange, MembersRefusal, Settings};
use world::{Boundary, World, settings};

const ROUGH: Faults = Faults { loss: 50, delay_max: 30, write_max: 30, crash: 2500, cut: 4000, ..CALM };

fn rough(seed: u64, voters: u64) -> World {
    let mut world = World::new(seed, voters, settings(seed), ROUGH);
    world.run(30_000);
    world.heal(10_000);
    world
}

/// Seeds of a run of all tests.
const SWARM_SEEDS: u64 = 60;

/// One, three or five voters and two that may join, under a mix of faults that the seed draws.
fn swarm(seed: u64) -> World {
    let mut random = random::Random(seed ^ 0x5EED);
    let faults = Faults::swarm(&mut random);
    let voters = [1, 3, 3, 5][random.below(4) as usize];
    let mut world = World::growing(seed, voters, 2, settings(seed), faults);
    world.run(20_000);
    world.heal(20_000);
    world
}

#[test]
fn three_voters_survive_loss_partitions_and_crashes() {
    let (mut elections, mut installs, mut crashes, mut reads, mut acked) = (0, 0, 0, 0, 0);
    let mut refused = 0;
    for seed in 0..40 {
        let world = rough(seed, 3);
        elections += world.counts.elections;
        installs += world.counts.installs;
        refused += world.counts.refused_snapshots;
        crashes += world.counts.crashes;
        reads += world.counts.reads;
        acked += world.acked.len();
    }
    // The faults really happened and did not keep everything from happening.
    assert!(crashes > 300, "{crashes} crashes");
    assert!(elections > 100, "{elections} elections");
    assert!(installs > 10, "{installs} installed snapshots");
    assert!(refused > 0, "a broken chunk is refused, and its snapshot comes again");
    assert!(acked > 10_000, "{acked} acknowledged");
    assert!(reads > 3_000, "{reads} reads");
}

#[test]
fn a_single_voter_loses_nothing_at_power_loss() {
    let mut acked = 0;
    for seed in 0..60 {
        let faults = Faults { crash: 300, cut: 0, ..ROUGH };
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
    assert_eq!(world.counts.elections, 1);
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
                assert_eq!(world.counts.crashes, 1, "{voters} voters, {boundary:?} of write {write}");
                world.heal(5_000);
            }
        }
    }
}

#[test]
fn a_disk_that_stands_still_costs_no_leadership() {
    let mut world = World::new(11, 3, settings(11), CALM);
    world.run(5_000);
    let (leader, elections) = (world.leader(), world.counts.elections);
    world.slow.insert(leader, 20_000);
    world.slow.insert((leader + 1) % 3, 20_000);
    world.run(15_000);
    assert_eq!((world.leader(), world.counts.elections), (leader, elections));
    world.slow.clear();
    world.run(10_000);
    world.heal(1_000);
}

#[test]
fn leadership_moves_on_command_within_a_few_heartbeats() {
    let mut world = World::new(12, 3, settings(12), CALM);
    world.run(5_000);
    let to = (world.leader() + 1) % 3;
    let id = to as u64 + 1;
    let before = world.leader();
    let waiter = world.ask(before, |waiter| Input::TransferLeader { waiter, to: id });
    world.run(100);
    assert_eq!(world.leader(), to);
    assert_eq!(world.answers[&waiter], Answer::LeaderChanged { leader: id });
    // Asked where no one leads, of the leader itself, of no one, and of one that can't hear.
    let ask = |to| move |waiter| Input::TransferLeader { waiter, to };
    let elsewhere = world.ask(before, ask(id));
    let itself = world.ask(to, ask(id));
    let unknown = world.ask(to, ask(9));
    world.crash(before);
    let deaf = world.ask(to, ask(before as u64 + 1));
    let second = world.ask(to, ask(before as u64 + 1));
    world.run(2_000);
    assert_eq!(world.answers[&elsewhere], Answer::NotLeader { hint: Some(id) });
    assert_eq!(world.answers[&itself], Answer::LeaderChanged { leader: id });
    assert_eq!(world.answers[&unknown], Answer::MembersRefused(MembersRefusal::NotAVoter(9)));
    assert_eq!(world.answers[&second], Answer::Busy(Busy::Transfer));
    assert_eq!(world.answers[&deaf], Answer::Busy(Busy::TransferTimedOut));
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
    assert!(
        world.counts.installs >= 2,
        "an empty disk gets a snapshot: {} {:?}",
        world.counts.installs,
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
    assert!(matches!(world.answers[&second], Answer::Busy(Busy::Members)));
    assert_eq!(world.answers[&third], Answer::NotLeader { hint: Some(leader as u64 + 1) });
    assert_eq!(world.replica(leader).status().members.voters.len(), 2);
}

#[test]
fn a_lost_member_is_replaced_in_one_step_and_a_refused_change_says_why() {
    let mut world = World::growing(15, 3, 1, settings(15), CALM);
    world.run(5_000);
    let leader = world.leader() as u64 + 1;
    let old = leader % 3 + 1;
    let refused = |world: &mut World, wanted, refusal| {
        assert_eq!(change(world, wanted), Answer::MembersRefused(refusal));
    };
    refused(&mut world, MemberChange::Remove(9), MembersRefusal::NotAMember(9));
    refused(&mut world, MemberChange::Remove(leader), MembersRefusal::IsLeader(leader));
    refused(&mut world, MemberChange::AddLearner(old), MembersRefusal::AlreadyAMember(old));
    refused(&mut world, MemberChange::Replace { old: 4, new: 5 }, MembersRefusal::NotAVoter(4));
    assert!(matches!(change(&mut world, MemberChange::AddLearner(4)), Answer::MembersChanged { .. }));
    let answer = change(&mut world, MemberChange::Replace { old, new: 4 });
    let Answer::MembersChanged { entry, reply } = answer else { panic!("{answer:?}") };
    assert!(
        entry.index > reply,
        "answered when the joint configuration is left, with the reply to the change"
    );
    let members = world.replica(world.leader()).status().members;
    assert!(
        members.voters_outgoing.is_empty() && members.voters.contains(&4) && !members.voters.contains(&old)
    );
    refused(&mut world, MemberChange::Remove(old), MembersRefusal::NotAMember(old));
    world.heal(1_000);
}

#[test]
fn the_last_voter_stays() {
    let mut world = World::growing(16, 1, 1, settings(16), CALM);
    world.run(1_000);
    assert!(matches!(change(&mut world, MemberChange::AddLearner(2)), Answer::MembersChanged { .. }));
    let answer = change(&mut world, MemberChange::Remove(1));
    assert_eq!(answer, Answer::MembersRefused(MembersRefusal::LastVoter(1)));
    world.heal(1_000);
}

#[test]
fn members_change_and_lose_disks_under_all_faults() {
    let mut sum = world::Counts::default();
    let mut acked = 0;
    for seed in 0..SWARM_SEEDS {
        let world = swarm(seed);
        acked += world.acked.len();
        sum.add(&world.counts);
    }
    // Each fault really happened, and did not keep everything from happening.
    assert!(acked > 5_000, "{acked} acknowledged");
    assert!(sum.wipes > 10 && sum.failed_writes > 10 && sum.transfers > 10, "{sum:?}");
    assert!(sum.members_changed > 50 && sum.replaced > 10 && sum.installs > 10, "{sum:?}");
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
