//! Each defect of [`Mutant`] is found by the simulation within [`SEEDS`] seeds: a simulation that lets one live proves
//! nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};

use trimaran_replica::mutant::{self, Mutant};

use crate::faults::{CALM, Faults};
use crate::swarm;
use crate::world::{World, settings};

const SEEDS: u64 = 200;

fn is_found(mutant: Mutant, run: impl Fn(u64)) {
    mutant::set(Some(mutant));
    let seed = (0..SEEDS).find(|seed| catch_unwind(AssertUnwindSafe(|| run(*seed))).is_err());
    mutant::set(None);
    let seed = seed.unwrap_or_else(|| panic!("{mutant:?} is not found in {SEEDS} seeds"));
    run(seed);
    println!("{mutant:?}: seed {seed}");
}

/// One test for each defect but two: [`Mutant::CampaignInFlight`] needs the loss of the only other voter in the middle of a
/// write, which `direct` plays, and [`Mutant::SyncOfFirst`] is the writer's, which the world of the coordinator finds.
macro_rules! found {
    ($($name:ident: $mutant:ident by $run:expr;)*) => {
        $(#[test]
        fn $name() {
            is_found(Mutant::$mutant, $run);
        })*

        #[test]
        fn no_defect_is_left_out() {
            let tested = [$(Mutant::$mutant,)* Mutant::CampaignInFlight, Mutant::SyncOfFirst];
            assert!(Mutant::ALL.iter().all(|mutant| tested.contains(mutant)));
        }
    };
}

found! {
    an_answer_before_the_sync: AnswerBeforeSync by |seed| drop(swarm(seed));
    a_leader_without_a_durable_term: LeadBeforeTerm by one_voter_and_a_learner;
    entries_without_a_sync: NoSyncOfEntries by |seed| drop(swarm(seed));
    votes_without_a_sync: NoSyncOfVotes by many_elections;
    a_read_without_a_quorum: ReadAlone by |seed| drop(swarm(seed));
    an_answer_for_another_entry: ReplyByIndex by |seed| drop(swarm(seed));
    a_snapshot_that_changes_nothing: KeepStateAtInstall by |seed| drop(swarm(seed));
    a_switch_to_rows_that_are_not_synced: SwitchUnsynced by |seed| drop(swarm(seed));
    a_change_that_only_the_leader_knows_of: AnswerUnconfirmed by a_change_and_the_loss_of_its_leader;
    members_that_are_not_written: ForgetMembers by |seed| drop(swarm(seed));
}

/// Five voters that hardly ever have a leader for long and are back at once after a crash.
fn many_elections(seed: u64) {
    let faults = Faults {
        loss: 200,
        delay_max: 60,
        write_max: 20,
        clock_rate: 100,
        crash: 150,
        down_max: 40,
        cut: 500,
        transfer: 150,
        ..CALM
    };
    let mut world = World::new(seed, 5, settings(seed), faults);
    world.run(20_000);
}

/// A voter with a slow disk that crashes often and leads as soon as it starts, and a learner that hears of it.
fn one_voter_and_a_learner(seed: u64) {
    use bytes::Bytes;
    use trimaran_replica::{Input, MemberChange};
    // Who is back may be met by the next crash while it writes its term.
    let faults = Faults { crash: 400, down_max: 600, delay_max: 10, ..CALM };
    let mut world = World::growing(seed, 1, 1, settings(seed), CALM);
    world.run(500);
    let change = MemberChange::AddLearner(2);
    world.ask(0, |waiter| Input::ChangeMember { waiter, change, context: Bytes::new() });
    world.run(1_000);
    world.set_faults(faults);
    world.slow.insert(0, 60);
    world.run(20_000);
    world.heal(2_000);
}

#[test]
fn a_change_that_was_answered_bears_the_loss_of_the_leader() {
    (0..40).for_each(a_change_and_the_loss_of_its_leader);
}

/// Two voters, and a third one that gets its vote or takes the place of the one that does not lead. As soon as that is
/// answered the leader is lost, with all that it sent: the others go on without it.
fn a_change_and_the_loss_of_its_leader(seed: u64) {
    use bytes::Bytes;
    use trimaran_replica::{Answer, Input, MemberChange};
    let faults = Faults { delay_max: 20, write_max: 20, ..CALM };
    let voters = 2 + seed % 2;
    let mut world = World::growing(seed, voters, 1, settings(seed), faults);
    world.run(4_000);
    let leader = world.leader();
    let new = voters + 1;
    let change = match voters {
        2 => MemberChange::AddVoter(new),
        _ => MemberChange::Replace { old: (leader as u64 + 1) % voters + 1, new },
    };
    for change in [MemberChange::AddLearner(new), change] {
        world.run(1_000);
        let waiter =
            world.ask(leader, |waiter| Input::ChangeMember { waiter, change, context: Bytes::new() });
        let answered = (0..2_000).any(|_| {
            world.run(1);
            world.answers.contains_key(&waiter)
        });
        assert!(answered && matches!(world.answers[&waiter], Answer::MembersChanged { .. }), "{change:?}");
    }
    if let MemberChange::Replace { old, .. } = change {
        world.lose(old as usize - 1);
    }
    world.lose(leader);
    world.heal(10_000);
}
