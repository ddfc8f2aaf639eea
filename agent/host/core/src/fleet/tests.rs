//! Scripted hosts: each test says what hosts say, and checks what the fleet orders.

mod index;
mod restart;
pub(super) mod world;

use trimaran_agent_core::driver::Journaled;
use trimaran_agent_core::driver::{Driver, Effect, Found, Input};
use trimaran_model::action::{Action, Commit, Failure, Outcome, Wave};
use trimaran_model::assignment::{Assignment, HostReport, HostState};
use trimaran_model::id::{AssignmentId, Fence, HostName};
use trimaran_model::limits::{HOST_LOST_AFTER, HOST_SKIPPED_AFTER, HOSTS_PREPARED_AHEAD_MAX};
use trimaran_model::reason::ReasonCode;
use trimaran_model::run::InstanceStatus;
use trimaran_model::time::{Millis, Timestamp};

use super::{Fleet, GoalAck};
use world::*;

#[test]
fn bytes_come_first_then_one_host_after_the_other() {
    let mut world = World::new(assignment(Action::Release(NEW), 4, wave(3, 1, 0)));
    let orders = world.ordered();
    assert_eq!(orders.len(), 3, "the hosts of the wave and no other: {orders:?}");
    assert!(orders.iter().all(|order| order.action == "prepare"));
    world.orders = orders;
    let mut done = Vec::new();
    for _ in 0..3 {
        let acting = world.obey();
        assert_eq!(acting.len(), 1, "one slot");
        assert_eq!(world.status(&acting[0]), InstanceStatus::Updating);
        world.say_state(&acting[0], HostState::Healthy, NEW);
        done.extend(acting);
    }
    assert_eq!(world.outcome, Some(Outcome::Done));
    let progress = world.progress.expect("progress");
    assert_eq!((progress.done, progress.total), (3, 4));
    let order: Vec<HostName> =
        super::in_order(&"web".parse().unwrap(), &(1..=4).map(host).collect::<Vec<_>>())
            .into_iter()
            .take(3)
            .cloned()
            .collect();
    assert_eq!(done, order);
}

#[test]
fn hosts_of_later_waves_are_prepared_beside_the_wave_a_few_at_a_time() {
    let mut world = World::new(assignment(Action::Release(NEW), 40, wave(1, 1, 0)));
    let first = world.ordered();
    assert_eq!(first.len(), 1, "the wave's own host comes first: {first:?}");
    world.feed(Input::Reply(first[0].call, GoalAck::Accepted));
    world.say_prepared(&first[0].host);
    let ordered = world.ordered();
    assert_eq!(
        (ordered[0].host.clone(), ordered[0].action, ordered.len()),
        (first[0].host.clone(), "apply", 1)
    );
    world.say_state(&first[0].host, HostState::Updating, OLD);
    let ahead = world.ordered();
    assert_eq!(ahead.len(), HOSTS_PREPARED_AHEAD_MAX, "once the wave's own host has begun");
    assert!(ahead.iter().all(|order| order.action == "prepare"));
    for order in &ahead {
        world.feed(Input::Reply(order.call, GoalAck::Accepted));
    }
    assert!(world.ordered().is_empty());
    world.say_prepared(&ahead[0].host);
    let next = world.ordered();
    assert_eq!((next.len(), next[0].action), (1, "prepare"), "as one is done, the next one begins");
    world.say_state(&first[0].host, HostState::Healthy, NEW);
    assert_eq!(world.outcome, Some(Outcome::Done), "the wave does not wait for what is ahead of it");
}

#[test]
fn what_can_not_be_prepared_ahead_counts_when_its_turn_comes() {
    let failure = |name: &HostName| Failure {
        code: ReasonCode::PreflightDisk,
        message: "full".to_owned(),
        instance: Some(name.into()),
    };
    for answers in [true, false] {
        let mut world = World::new(assignment(Action::Release(NEW), 2, wave(1, 1, 1)));
        let first = world.ordered().remove(0);
        world.say_prepared(&first.host);
        world.ordered();
        world.say_state(&first.host, HostState::Updating, OLD);
        let ahead = world.ordered().into_iter().find(|order| order.action == "prepare").expect("the other");
        if answers {
            world.feed(Input::Reply(ahead.call, GoalAck::Refused(failure(&ahead.host))));
        } else {
            let refused = report(HostState::Refused, Some(OLD), FENCE);
            let code = Some(ReasonCode::PreflightDisk);
            world.say(&ahead.host, HostReport { disruptive: false, code, ..refused });
        }
        assert_eq!((world.outcome.clone(), world.ordered()), (None, vec![]), "it is not this wave's matter");
        assert_eq!(world.status(&ahead.host), InstanceStatus::Waiting);
        // The first host fails within the budget, so the other one is next.
        world.say_failed(&first.host, HostState::Reverted, ReasonCode::ProbeFailed);
        assert_eq!(world.ended(), Some(("fault", ReasonCode::PreflightDisk)));
    }
}

#[test]
fn hosts_that_are_done_are_not_touched_again() {
    let mut world = World::silent(assignment(Action::Release(NEW), 3, wave(2, 1, 0)));
    for (n, current) in [(1, NEW), (2, OLD), (3, NEW)] {
        world.say(&host(n), report(HostState::Healthy, Some(current), Fence(5)));
    }
    assert_eq!(world.outcome, Some(Outcome::Done));
    assert!(world.orders.is_empty());
}

#[test]
fn a_host_that_is_down_takes_the_budget_and_needs_no_slot() {
    let mut world = World::silent(assignment(Action::Release(NEW), 4, wave(4, 1, 0)));
    for n in 1..=3 {
        world.say(&host(n), report(HostState::Healthy, Some(OLD), Fence(5)));
    }
    world.say(&host(4), report(HostState::Broken, Some(OLD), Fence(5)));
    world.feed(Input::LeaseBack);
    assert_eq!(world.obey(), [host(4)], "the broken host first, and no other beside it");
    world.say_state(&host(4), HostState::Healthy, NEW);
    assert_eq!(world.obey().len(), 1);
}

#[test]
fn a_host_that_is_away_over_the_budget_pauses_with_its_name() {
    let mut world = World::silent(assignment(Action::Release(NEW), 3, wave(3, 1, 0)));
    world.say(&host(1), report(HostState::Healthy, Some(OLD), Fence(5)));
    world.show(&host(2), false);
    world.say(&host(3), report(HostState::Healthy, Some(OLD), Fence(5)));
    world.feed(Input::LeaseBack);
    assert!(world.obey().is_empty());
    world.pass(Millis(HOST_LOST_AFTER.0 - 1));
    assert_eq!(world.outcome, None);
    world.pass(Millis(1));
    assert_eq!(world.ended(), Some(("fault", ReasonCode::HostNotConnected)));
    let Some(Outcome::Fault(failure)) = &world.outcome else { panic!("a fault") };
    assert!(failure.host() == Some(host(2)), "{failure:?}");
}

#[test]
fn a_first_deployment_goes_to_empty_hosts_within_the_slots() {
    let mut world = World::silent(assignment(Action::Release(NEW), 6, wave(6, 2, 0)));
    for n in 1..=6 {
        world.show(&host(n), true);
    }
    world.feed(Input::LeaseBack);
    let mut acting = world.obey();
    assert_eq!(acting.len(), 2);
    while let Some(name) = acting.pop() {
        world.say_state(&name, HostState::Healthy, NEW);
        acting.extend(world.obey());
        assert!(acting.len() <= 2);
    }
    assert_eq!(world.outcome, Some(Outcome::Done));
}

#[test]
fn a_failure_over_the_budget_ends_the_wave_when_nothing_is_in_flight() {
    let mut world = World::new(assignment(Action::Release(NEW), 4, wave(4, 2, 0)));
    let acting = world.obey();
    assert_eq!(acting.len(), 2);
    world.say_failed(&acting[0], HostState::Reverted, ReasonCode::ProbeFailed);
    assert_eq!((world.outcome.clone(), world.obey()), (None, vec![]), "the other host finishes first");
    world.say_state(&acting[1], HostState::Healthy, NEW);
    let Some(Outcome::Failed(failure)) = &world.outcome else { panic!("failed: {:?}", world.outcome) };
    assert_eq!(failure.code, ReasonCode::ProbeFailed);
    assert_eq!((failure.message.as_str(), failure.host().as_ref()), ("503", Some(&acting[0])));
    assert_eq!(world.status(&acting[0]), InstanceStatus::Reverted);
    assert_eq!(world.progress.expect("progress").failed, [acting[0].clone()]);
}

#[test]
fn a_host_that_reverts_has_failed_and_lets_no_other_one_begin() {
    let mut world = World::new(assignment(Action::Release(NEW), 5, wave(5, 2, 0)));
    let acting = world.obey();
    world.say_failed(&acting[0], HostState::Updating, ReasonCode::ProcessExited);
    world.say_state(&acting[1], HostState::Healthy, NEW);
    assert_eq!(
        (world.outcome.clone(), world.obey()),
        (None, vec![]),
        "it holds its slot, and no one follows"
    );
    assert_eq!(world.progress.clone().expect("progress").failed, [acting[0].clone()]);
    world.say_failed(&acting[0], HostState::Broken, ReasonCode::RevertFailed);
    let Some(Outcome::Failed(failure)) = &world.outcome else { panic!("failed: {:?}", world.outcome) };
    assert_eq!(failure.code, ReasonCode::RevertFailed, "how it ended");
    assert_eq!(failure.message, "503", "one host has failed");
}

#[test]
fn a_fault_of_the_platform_counts_when_the_host_has_reverted() {
    let mut world = World::new(assignment(Action::Release(NEW), 3, wave(3, 1, 1)));
    let acting = world.obey();
    world.say_failed(&acting[0], HostState::Updating, ReasonCode::PreflightDisk);
    assert!(world.obey().is_empty() && world.commits.is_empty(), "its slot is taken");
    world.say_failed(&acting[0], HostState::Reverted, ReasonCode::PreflightDisk);
    assert!(world.progress.expect("progress").failed.is_empty());
}

#[test]
fn a_failure_within_the_budget_is_committed_before_the_next_host_starts() {
    let mut world = World::new(assignment(Action::Release(NEW), 4, wave(2, 1, 1)));
    let first = world.obey();
    world.say_failed(&first[0], HostState::Reverted, ReasonCode::ProcessExited);
    assert_eq!(world.commits.len(), 1);
    assert_eq!(world.commits[0].failed, first);
    assert!(world.obey().is_empty(), "not before it is in the log");
    world.feed(Input::Committed(1));
    let mut done = 0;
    while let Some(name) = world.obey().pop() {
        assert_ne!(name, first[0], "a failed host is not touched again");
        world.say_state(&name, HostState::Healthy, NEW);
        done += 1;
    }
    assert_eq!((done, world.outcome.clone()), (2, Some(Outcome::Done)));
}

#[test]
fn a_fault_of_the_platform_pauses_and_is_no_failure() {
    let mut world = World::new(assignment(Action::Release(NEW), 3, wave(3, 1, 0)));
    let orders = world.ordered();
    world.feed(Input::Reply(orders[0].call, GoalAck::Accepted));
    world.say_failed(&orders[0].host, HostState::Refused, ReasonCode::PreflightDisk);
    assert_eq!(world.ended(), Some(("fault", ReasonCode::PreflightDisk)));
    assert!(world.progress.expect("progress").failed.is_empty());
}

#[test]
fn an_artifact_that_changed_fails_before_anything_is_touched() {
    let mut world = World::new(assignment(Action::Release(NEW), 3, wave(3, 1, 0)));
    let orders = world.ordered();
    world.say_failed(&orders[0].host, HostState::Refused, ReasonCode::FetchDigest);
    assert_eq!(world.ended(), Some(("failed", ReasonCode::FetchDigest)));
}

#[test]
fn without_a_lease_no_host_starts_and_those_in_flight_finish() {
    let mut world = World::new(assignment(Action::Release(NEW), 3, wave(3, 1, 0)));
    let first = world.obey();
    world.feed(Input::LeaseLost);
    world.say_state(&first[0], HostState::Healthy, NEW);
    assert!(world.obey().is_empty());
    world.pass(Millis::hours(1));
    assert_eq!(world.outcome, None, "a lost lease is no fault of the hosts");
    world.feed(Input::LeaseBack);
    assert_eq!(world.obey().len(), 1);
}

#[test]
fn an_abort_waits_for_hosts_in_flight() {
    let mut world = World::new(assignment(Action::Release(NEW), 3, wave(3, 1, 0)));
    let first = world.obey();
    world.feed(Input::Abort(ReasonCode::Canceled));
    assert_eq!((world.outcome.clone(), world.obey()), (None, vec![]));
    world.say_state(&first[0], HostState::Healthy, NEW);
    assert_eq!(world.outcome, Some(Outcome::Stopped));
}

#[test]
fn an_abort_after_a_restart_waits_for_hosts_that_did_not_report() {
    let mut world = World::silent(assignment(Action::Release(NEW), 2, wave(2, 1, 0)));
    world.feed(Input::Abort(ReasonCode::Canceled));
    world.say(&host(1), report(HostState::Healthy, Some(OLD), Fence(5)));
    assert_eq!(world.outcome, None);
    world.say_state(&host(2), HostState::Updating, OLD);
    assert_eq!(world.outcome, None);
    world.say_state(&host(2), HostState::Healthy, NEW);
    assert_eq!(world.outcome, Some(Outcome::Stopped));
}

#[test]
fn a_host_lost_in_flight_is_a_fault_and_one_that_comes_back_goes_on() {
    for comes_back in [true, false] {
        let mut world = World::new(assignment(Action::Release(NEW), 3, wave(1, 1, 0)));
        let first = world.obey();
        world.show(&first[0], false);
        world.pass(Millis(HOST_LOST_AFTER.0 - 1));
        if comes_back {
            world.say_state(&first[0], HostState::Updating, OLD);
            world.pass(Millis::seconds(10));
            world.say_state(&first[0], HostState::Healthy, NEW);
            assert_eq!(world.outcome, Some(Outcome::Done));
        } else {
            assert_eq!(world.status(&first[0]), InstanceStatus::Lost);
            assert_eq!(world.instance(&first[0]).code, Some(ReasonCode::HostNotConnected));
            world.pass(Millis(1));
            assert_eq!(world.ended(), Some(("fault", ReasonCode::HostLost)));
        }
    }
}

#[test]
fn a_lost_answer_holds_the_slot_until_the_host_has_spoken() {
    for took_it in [true, false] {
        let mut world = World::new(assignment(Action::Release(NEW), 3, wave(3, 1, 0)));
        for order in world.ordered() {
            world.say_prepared(&order.host);
        }
        let order = world.ordered().pop().expect("one host executes");
        world.show(&order.host, false);
        world.feed(Input::Lost(order.call));
        assert!(world.ordered().is_empty(), "it may have taken the order");
        if took_it {
            world.say_state(&order.host, HostState::Updating, OLD);
            assert!(world.ordered().is_empty());
            world.say_state(&order.host, HostState::Healthy, NEW);
            assert_ne!(world.ordered()[0].host, order.host);
        } else {
            world.say(&order.host, report(HostState::Healthy, Some(OLD), Fence(5)));
            let again = world.ordered();
            assert_eq!((again[0].host.clone(), again[0].action), (order.host, "prepare"));
        }
    }
}

#[test]
fn a_replacement_with_empty_memory_asks_the_hosts() {
    let mut world = World::silent(assignment(Action::Release(NEW), 4, wave(4, 1, 0)));
    world.feed(Input::LeaseBack);
    world.say_state(&host(1), HostState::Updating, OLD);
    world.say(&host(2), report(HostState::Healthy, Some(NEW), Fence(5)));
    world.say(&host(3), report(HostState::Healthy, Some(OLD), Fence(5)));
    assert!(world.obey().is_empty(), "one is in flight, and one has not reported");
    world.say_failed(&host(4), HostState::Reverted, ReasonCode::ProbeFailed);
    world.say_state(&host(1), HostState::Healthy, NEW);
    assert_eq!(world.ended(), Some(("failed", ReasonCode::ProbeFailed)), "the budget was spent before");
}

#[test]
fn a_failure_is_kept_over_a_crash() {
    let order = assignment(Action::Release(NEW), 4, wave(4, 1, 1));
    let mut world = World::new(order.clone());
    let first = world.obey();
    world.say_failed(&first[0], HostState::Reverted, ReasonCode::ProbeFailed);
    let found = Fleet.load(&order, &Fleet.save(&world.phase)).expect("its own bytes");
    let mut out = Vec::new();
    let phase = Fleet.begin(Timestamp(0), &order, Some(Found::Resumed(found)), &mut out);
    assert!(phase.has_failed(&first[0]));
    assert!(
        out.iter().any(|effect| matches!(effect, Effect::Commit { n: 1, .. })),
        "it may not be in the log yet"
    );
    assert!(out.iter().any(|effect| matches!(effect, Effect::Watch(_))), "the hosts are asked");
}

#[test]
fn what_was_committed_comes_back_with_the_order_to_an_agent_without_a_journal() {
    let order = assignment(Action::Release(NEW), 4, wave(4, 1, 1));
    let mut world = World::new(order.clone());
    let first = world.obey();
    world.say_failed(&first[0], HostState::Reverted, ReasonCode::ProbeFailed);
    let body = world.bodies.pop().expect("it was committed");
    let order = Assignment { committed: Some(Commit { assignment: order.id, n: 1, body }), ..order };
    let phase = Fleet.begin(Timestamp(0), &order, None, &mut Vec::new());
    assert!(phase.has_failed(&first[0]));
    // Another assignment's failures are of another attempt.
    let other = Assignment { id: AssignmentId(99), ..order };
    assert!(!Fleet.begin(Timestamp(0), &other, None, &mut Vec::new()).has_failed(&first[0]));
}

#[test]
fn a_failure_whose_cause_is_amended_is_committed_again() {
    let order = assignment(Action::Release(NEW), 4, wave(4, 1, 1));
    let mut world = World::new(order.clone());
    let first = world.obey().remove(0);
    world.say_failed(&first, HostState::Updating, ReasonCode::ProcessExited);
    world.feed(Input::Committed(1));
    assert_eq!(world.commits.len(), 1);
    world.say_failed(&first, HostState::Reverted, ReasonCode::ProbeFailed);
    assert_eq!(world.commits.len(), 2, "how its revert ended says more");
    assert!(world.obey().is_empty(), "not before that is in the log, too");
    let body = world.bodies.pop().expect("it was committed");
    let committed = Some(Commit { assignment: order.id, n: 2, body });
    let mut out = Vec::new();
    let phase = Fleet.begin(Timestamp(0), &Assignment { committed, ..order }, None, &mut out);
    let cause = phase.failure_of(&first).map(|failure| failure.code);
    assert_eq!(cause, Some(ReasonCode::ProbeFailed), "the agent that takes over knows it");
    let again = |effect: &_| matches!(effect, Effect::Commit { n: 2, .. });
    assert!(out.iter().any(again), "under the same number: it is in the log already");
    world.feed(Input::Committed(2));
    assert_eq!(world.obey().len(), 1, "the wave goes on");
}

#[test]
fn a_later_order_waits_for_answers_and_not_for_hosts() {
    let mut world = World::new(assignment(Action::Restore(NEW), 2, wave(2, 2, 0)));
    let orders = world.ordered();
    world.feed(Input::Abort(ReasonCode::Fenced));
    assert_eq!(world.outcome, None, "answers are on their way");
    for order in orders {
        world.feed(Input::Reply(order.call, GoalAck::Accepted));
    }
    assert_eq!(world.outcome, Some(Outcome::Stopped), "the hosts are still at work");
}

#[test]
fn a_release_that_degrades_on_a_host_that_is_done_is_a_failure() {
    let mut world = World::new(assignment(Action::Release(NEW), 3, wave(3, 1, 0)));
    let first = world.obey();
    world.say_state(&first[0], HostState::Healthy, NEW);
    world.obey();
    world.say_state(&first[0], HostState::Degraded, NEW);
    assert_eq!(world.outcome, None, "another host is in flight");
    let second = (1..=3).map(host).find(|name| world.status(name) == InstanceStatus::Updating);
    world.say_state(&second.expect("in flight"), HostState::Healthy, NEW);
    assert_eq!(world.ended(), Some(("failed", ReasonCode::ProbeFailed)));
}

#[test]
fn a_release_that_degraded_between_two_waves_is_a_failure_and_one_from_before_is_repaired() {
    for (number, wanted) in [(2, Some(("failed", ReasonCode::ProbeFailed))), (1, None)] {
        let wave = Wave { number, ..wave(2, 1, 0) };
        let mut world = World::silent(assignment(Action::Release(NEW), 3, wave));
        world.say(&host(1), report(HostState::Degraded, Some(NEW), Fence(5)));
        world.say(&host(2), report(HostState::Healthy, Some(OLD), Fence(5)));
        world.say(&host(3), report(HostState::Healthy, Some(OLD), Fence(5)));
        if world.outcome.is_none() {
            world.feed(Input::LeaseBack);
            assert_eq!(world.obey(), [host(1)], "what is down comes first");
        }
        assert_eq!(world.ended(), wanted);
    }
}

#[test]
fn a_restore_begins_with_what_is_down_and_leaves_alone_what_is_back() {
    let mut world = World::silent(assignment(Action::Restore(OLD), 4, wave(4, 1, 0)));
    world.say(&host(1), report(HostState::Healthy, Some(NEW), Fence(5)));
    world.say(&host(2), report(HostState::Reverted, Some(OLD), Fence(5)));
    world.say(&host(3), report(HostState::Degraded, Some(NEW), Fence(5)));
    world.say(&host(4), report(HostState::Healthy, Some(OLD), Fence(4)));
    world.feed(Input::LeaseBack);
    let order = world.ordered();
    assert_eq!((order.len(), order[0].action, order[0].host.clone()), (1, "restore", host(3)));
    world.say_state(&host(3), HostState::Updating, OLD);
    world.say_state(&host(3), HostState::Healthy, OLD);
    assert_eq!(world.ordered()[0].host, host(1));
    world.say_state(&host(1), HostState::Healthy, OLD);
    assert_eq!(world.outcome, Some(Outcome::Done));
}

#[test]
fn a_stop_ends_the_release_where_it_is_and_nowhere_else() {
    let mut world = World::silent(assignment(Action::Stop(NEW), 4, wave(4, 1, 0)));
    world.say(&host(1), report(HostState::Broken, Some(NEW), Fence(5)));
    world.say(&host(2), report(HostState::Healthy, Some(NEW), Fence(5)));
    world.say(&host(3), report(HostState::Reverted, Some(OLD), Fence(5)));
    world.show(&host(4), true);
    world.feed(Input::LeaseBack);
    let orders = world.ordered();
    assert_eq!(
        orders.iter().map(|it| (it.action, it.host.clone())).collect::<Vec<_>>(),
        [("stop", host(1)), ("stop", host(2))]
    );
    for n in [1, 2] {
        world.say(&host(n), report(HostState::Stopped, Some(NEW), FENCE));
    }
    assert_eq!(world.outcome, Some(Outcome::Done));
    assert_eq!(world.status(&host(1)), InstanceStatus::Stopped);
}

#[test]
fn a_verification_touches_nothing_and_judges_every_host() {
    for good in [true, false] {
        let mut world = World::new(assignment(Action::Verify, 2, wave(2, 1, 0)));
        let orders = world.ordered();
        assert_eq!(orders.iter().map(|it| it.action).collect::<Vec<_>>(), ["verify", "verify"]);
        world.say_state(&host(1), HostState::Healthy, OLD);
        world.say_state(&host(2), if good { HostState::Healthy } else { HostState::Degraded }, OLD);
        let wanted = if good { ("done", ReasonCode::Settle) } else { ("failed", ReasonCode::ProbeFailed) };
        assert_eq!(world.ended(), Some(wanted));
    }
}

#[test]
fn a_host_that_follows_a_later_order_ends_this_one() {
    let mut world = World::new(assignment(Action::Release(NEW), 2, wave(2, 1, 0)));
    world.say(&host(1), report(HostState::Updating, Some(OLD), Fence(11)));
    assert_eq!(world.ended(), Some(("fault", ReasonCode::Fenced)));
}

#[test]
fn a_host_that_was_changed_by_hand_after_it_took_the_order_is_a_fault() {
    let mut world = World::new(assignment(Action::Release(NEW), 2, wave(1, 1, 0)));
    let first = world.obey();
    world.say_state(&first[0], HostState::Healthy, OLD);
    assert_eq!(world.ended(), Some(("fault", ReasonCode::Interrupted)));
}

#[test]
fn an_order_that_waits_for_its_turn_on_the_host_holds_its_slot() {
    let mut world = World::new(assignment(Action::Release(NEW), 3, wave(3, 1, 0)));
    for order in world.ordered() {
        world.say_prepared(&order.host);
    }
    let order = world.ordered().pop().expect("one host executes");
    let waits = HostReport { disruptive: true, ..report(HostState::Preparing, Some(OLD), FENCE) };
    world.say(&order.host, waits.clone());
    world.show(&order.host, false);
    world.feed(Input::Lost(order.call));
    world.say(&order.host, waits);
    assert!(world.ordered().is_empty(), "it is about to go down");
    assert_eq!(world.status(&order.host), InstanceStatus::Updating);
}

#[test]
fn an_order_without_hosts_or_without_its_release_pauses() {
    let world = World::silent(assignment(Action::Release(NEW), 0, wave(0, 1, 0)));
    assert_eq!(world.ended(), Some(("fault", ReasonCode::NoHosts)));
    let without = Assignment { release: None, ..assignment(Action::Release(NEW), 1, wave(1, 1, 0)) };
    assert_eq!(World::silent(without).ended(), Some(("fault", ReasonCode::HostInternal)));
}

/// A wave that leaves so many hosts behind.
fn leaving(hosts: u32, max_unavailable: u32, lost_left: u32) -> Wave {
    Wave { lost_left, ..wave(hosts, max_unavailable, 0) }
}

#[test]
fn a_host_with_a_fault_of_its_own_is_left_behind_and_one_too_many_pauses() {
    let mut world = World::new(assignment(Action::Release(NEW), 4, leaving(4, 1, 1)));
    let first = world.obey().remove(0);
    world.say_failed(&first, HostState::Refused, ReasonCode::PreflightPort);
    assert_eq!(world.outcome, None);
    assert_eq!(world.status(&first), InstanceStatus::Failed);
    let second = world.obey().remove(0);
    assert_ne!(first, second);
    let progress = world.progress.clone().expect("progress");
    assert_eq!((progress.lost, progress.failed), (vec![first.clone()], vec![]));
    world.say_failed(&second, HostState::Refused, ReasonCode::PreflightPort);
    assert_eq!(world.ended(), Some(("fault", ReasonCode::PreflightPort)));
    let Some(Outcome::Fault(failure)) = &world.outcome else { panic!("a fault") };
    assert!(failure.message.contains("2 hosts can't go on"), "{failure:?}");
}

#[test]
fn a_host_that_falls_silent_in_its_work_is_left_behind_and_the_wave_goes_on() {
    let mut world = World::new(assignment(Action::Release(NEW), 3, leaving(3, 1, 1)));
    let first = world.obey().remove(0);
    world.show(&first, false);
    world.pass(HOST_LOST_AFTER);
    assert_eq!(world.status(&first), InstanceStatus::Lost);
    assert_eq!(world.instance(&first).code, Some(ReasonCode::HostLost));
    for _ in 0..2 {
        let next = world.obey().remove(0);
        world.say_state(&next, HostState::Healthy, NEW);
    }
    assert_eq!(world.outcome, Some(Outcome::Done), "its slot was given to the others");
    assert_eq!(world.progress.expect("progress").lost, [first]);
}

#[test]
fn a_host_that_was_silent_and_is_back_is_asked_like_any_other() {
    let mut world = World::new(assignment(Action::Release(NEW), 2, leaving(2, 1, 1)));
    let first = world.obey().remove(0);
    world.show(&first, false);
    world.pass(HOST_LOST_AFTER);
    let second = world.obey().remove(0);
    world.say_state(&first, HostState::Healthy, NEW);
    world.say_state(&second, HostState::Healthy, NEW);
    assert_eq!(world.outcome, Some(Outcome::Done));
    assert_eq!(world.progress.expect("progress").done, 2);
}

#[test]
fn a_host_that_is_gone_for_long_takes_no_slot_and_is_not_waited_for() {
    let mut order = assignment(Action::Release(NEW), 3, leaving(3, 1, 1));
    order.wave.lost = vec![host(3)];
    order.wave.lost_left = 0;
    let mut world = World::silent(order);
    for n in [1, 2] {
        world.say(&host(n), report(HostState::Healthy, Some(OLD), Fence(5)));
    }
    world.show(&host(3), false);
    world.feed(Input::LeaseBack);
    for _ in 0..2 {
        let next = world.obey();
        assert_eq!(next.len(), 1, "an earlier wave paid for the one that is gone");
        world.say_state(&next[0], HostState::Healthy, NEW);
    }
    assert_eq!(world.outcome, Some(Outcome::Done));
}

#[test]
fn what_goes_back_waits_a_moment_for_hosts_that_are_away_and_never_for_all() {
    let mut world = World::new(assignment(Action::Restore(OLD), 2, leaving(2, 2, 2)));
    assert_eq!(world.outcome, Some(Outcome::Done), "all are back already");
    for all in [false, true] {
        world = World::silent(assignment(Action::Restore(OLD), 2, leaving(2, 2, 2)));
        for n in [1, 2] {
            world.say(&host(n), report(HostState::Healthy, Some(NEW), Fence(5)));
        }
        world.show(&host(2), false);
        if all {
            world.show(&host(1), false);
        }
        world.feed(Input::LeaseBack);
        if !all {
            assert_eq!(world.obey(), [host(1)]);
            world.say_state(&host(1), HostState::Healthy, OLD);
            assert_eq!(world.outcome, None);
        }
        world.pass(HOST_SKIPPED_AFTER);
        let wanted = if all { ("fault", ReasonCode::HostNotConnected) } else { ("done", ReasonCode::Settle) };
        assert_eq!(world.ended(), Some(wanted));
    }
}

#[test]
fn a_failure_of_an_earlier_wave_counts_although_no_list_names_its_host() {
    let wave = Wave { number: 2, since: Fence(5), ..wave(3, 1, 0) };
    let mut world = World::silent(assignment(Action::Release(NEW), 3, wave));
    for n in [1, 2] {
        world.say(&host(n), report(HostState::Healthy, Some(OLD), Fence(4)));
    }
    let failed = report(HostState::Reverted, Some(OLD), Fence(5));
    world.say(&host(3), HostReport { code: Some(ReasonCode::ProbeFailed), ..failed });
    assert_eq!(world.ended(), Some(("failed", ReasonCode::ProbeFailed)));
}

#[test]
fn where_what_serves_is_kept_the_rest_is_stopped_and_a_user_is_asked() {
    for serves in [true, false] {
        let wave = Wave { keep_serving: true, ..leaving(2, 2, 2) };
        let mut world = World::silent(assignment(Action::Stop(NEW), 2, wave));
        let state = if serves { HostState::Healthy } else { HostState::Degraded };
        world.say(&host(1), report(state, Some(NEW), Fence(5)));
        world.say(&host(2), report(HostState::Broken, Some(NEW), Fence(5)));
        world.feed(Input::LeaseBack);
        let stopped = world.obey();
        assert_eq!(stopped.contains(&host(1)), !serves, "{stopped:?}");
        for name in stopped {
            world.say(&name, report(HostState::Stopped, Some(NEW), FENCE));
        }
        let wanted = if serves { ("fault", ReasonCode::PausedTraffic) } else { ("done", ReasonCode::Settle) };
        assert_eq!(world.ended(), Some(wanted));
    }
}

#[test]
fn a_host_that_was_silent_and_comes_back_unable_is_left_behind_for_what_it_paid() {
    let mut world = World::new(assignment(Action::Release(NEW), 2, leaving(2, 1, 1)));
    let first = world.obey().remove(0);
    world.show(&first, false);
    world.pass(HOST_LOST_AFTER);
    let second = world.obey().remove(0);
    world.say_failed(&first, HostState::Refused, ReasonCode::PreflightDisk);
    assert_eq!(world.outcome, None, "nothing more is spent");
    world.say_state(&second, HostState::Healthy, NEW);
    assert_eq!(world.outcome, Some(Outcome::Done));
}
