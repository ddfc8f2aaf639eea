//! Restarts: what runs the release is started anew, within the bounds of a wave, and nothing else is touched.

use trimaran_agent_core::driver::{Driver, Effect, Input};
use trimaran_model::action::{Action, Failure, Outcome, Wave};
use trimaran_model::assignment::{HostReport, HostState};
use trimaran_model::id::Fence;
use trimaran_model::limits::HOST_LOST_AFTER;
use trimaran_model::reason::ReasonCode;
use trimaran_model::run::InstanceStatus;
use trimaran_model::time::Timestamp;

use super::world::*;
use crate::fleet::{Fleet, GoalAck};

fn restart(hosts: u32, max_unavailable: u32, failures_left: u32) -> World {
    let wave = wave(hosts, max_unavailable, failures_left);
    World::new(assignment(Action::Restart(OLD), hosts as usize, wave))
}

#[test]
fn hosts_are_restarted_within_the_slots_and_each_is_seen_healthy_first() {
    let mut world = restart(5, 2, 0);
    let mut restarted = Vec::new();
    while world.outcome.is_none() {
        assert!(world.orders.iter().all(|order| order.action == "restart"), "{:?}", world.orders);
        let at_work = world.obey();
        let slots = if restarted.len() < 4 { 2 } else { 1 };
        assert_eq!(at_work.len(), slots, "as many as may be down: {at_work:?}");
        for name in at_work {
            assert_eq!(world.status(&name), InstanceStatus::Updating);
            restarted.push(name);
        }
        let [.., a, b] = restarted.as_slice() else { panic!("two of them") };
        for name in [a.clone(), b.clone()] {
            world.say_state(&name, HostState::Healthy, OLD);
        }
    }
    assert_eq!(world.outcome, Some(Outcome::Done));
    restarted.sort();
    assert_eq!(restarted, (1..=5).map(host).collect::<Vec<_>>());
    let progress = world.progress.expect("progress");
    assert_eq!((progress.done, progress.total), (5, 5));
}

#[test]
fn a_wave_restarts_no_more_hosts_than_it_wants() {
    let mut world = World::new(assignment(Action::Restart(OLD), 4, wave(1, 4, 0)));
    let at_work = world.obey();
    assert_eq!(at_work.len(), 1);
    world.say_state(&at_work[0], HostState::Healthy, OLD);
    assert_eq!((world.outcome, world.orders), (Some(Outcome::Done), vec![]));
}

#[test]
fn hosts_without_the_release_are_neither_asked_nor_waited_for() {
    let mut world = World::silent(assignment(Action::Restart(OLD), 4, wave(4, 1, 0)));
    world.say(&host(1), report(HostState::Healthy, Some(OLD), Fence(5)));
    world.say(&host(2), report(HostState::Healthy, Some(NEW), Fence(5)));
    world.say(&host(3), report(HostState::Stopped, Some(OLD), Fence(5)));
    world.show(&host(4), true);
    world.feed(Input::LeaseBack);
    assert_eq!(world.obey(), [host(1)], "a host that was ended, or never had it, takes no slot");
    world.say_state(&host(1), HostState::Healthy, OLD);
    assert_eq!((world.outcome.clone(), world.orders.len()), (Some(Outcome::Done), 0));
    let statuses = [2, 3, 4].map(|n| world.status(&host(n)));
    assert_eq!(statuses, [InstanceStatus::Healthy, InstanceStatus::Stopped, InstanceStatus::Stopped]);
    assert_eq!(world.progress.expect("progress").done, 1, "what runs another release was not restarted");
}

#[test]
fn a_broken_host_on_another_release_takes_a_slot() {
    let mut world = World::silent(assignment(Action::Restart(OLD), 2, wave(2, 1, 0)));
    world.say(&host(1), report(HostState::Healthy, Some(OLD), Fence(5)));
    world.say(&host(2), report(HostState::Broken, Some(NEW), Fence(5)));
    world.feed(Input::LeaseBack);
    assert!(world.obey().is_empty(), "two would be down");
    world.pass(HOST_LOST_AFTER);
    assert_eq!(world.ended(), Some(("fault", ReasonCode::BudgetPaused)));
}

#[test]
fn a_release_that_runs_nowhere_pauses_with_what_to_do() {
    let mut world = World::silent(assignment(Action::Restart(OLD), 2, wave(2, 1, 0)));
    world.say(&host(1), report(HostState::Healthy, Some(NEW), Fence(5)));
    assert_eq!(world.outcome, None, "not every host has spoken");
    world.say(&host(2), report(HostState::Stopped, Some(OLD), Fence(5)));
    let Some(Outcome::Fault(Failure { code, message, .. })) = &world.outcome else {
        panic!("{:?}", world.outcome)
    };
    assert_eq!(*code, ReasonCode::OrderRefused);
    assert!(message.contains("runs on no host of target `prod`"), "{message}");
    assert!(world.orders.is_empty());
}

#[test]
fn a_host_that_does_not_come_back_is_a_failure_in_its_words() {
    for (failures_left, ends) in [(0, Some(("failed", ReasonCode::ProbeFailed))), (1, None)] {
        let mut world = restart(3, 1, failures_left);
        let sick = world.obey().remove(0);
        world.say_failed(&sick, HostState::Broken, ReasonCode::ProbeFailed);
        assert_eq!(world.ended(), ends);
        assert_eq!(world.status(&sick), InstanceStatus::Broken);
        if ends.is_some() {
            let Some(Outcome::Failed(failure)) = &world.outcome else { panic!("a failure") };
            assert!(failure.message.contains("503") && failure.is_of(&sick), "{failure:?}");
            continue;
        }
        assert_eq!((world.commits.len(), world.orders.len()), (1, 0), "in the log before the next one");
        world.feed(Input::Committed(1));
        // The broken host uses up what may be down.
        assert!(world.obey().is_empty());
        world.pass(HOST_LOST_AFTER);
        assert_eq!(world.ended(), Some(("fault", ReasonCode::BudgetPaused)));
    }
}

#[test]
fn a_host_that_degrades_behind_its_restart_is_a_failure_and_one_from_before_is_restarted_first() {
    let mut world = World::silent(assignment(Action::Restart(OLD), 2, wave(2, 1, 0)));
    world.say(&host(1), report(HostState::Healthy, Some(OLD), Fence(5)));
    world.say(&host(2), report(HostState::Degraded, Some(OLD), Fence(5)));
    world.feed(Input::LeaseBack);
    assert_eq!(world.obey(), [host(2)], "what is down already needs no slot");
    world.say_state(&host(2), HostState::Healthy, OLD);
    assert_eq!(world.obey(), [host(1)]);
    world.say_failed(&host(2), HostState::Degraded, ReasonCode::ProbeFailed);
    world.say_state(&host(1), HostState::Healthy, OLD);
    assert_eq!(world.ended(), Some(("failed", ReasonCode::ProbeFailed)));
}

#[test]
fn an_agent_that_knows_nothing_any_more_restarts_no_host_twice() {
    let mut world = World::silent(assignment(Action::Restart(OLD), 3, wave(3, 3, 0)));
    world.say(&host(1), report(HostState::Healthy, Some(OLD), FENCE));
    world.say(&host(2), report(HostState::Updating, Some(OLD), FENCE));
    world.say(&host(3), report(HostState::Healthy, Some(OLD), Fence(5)));
    world.feed(Input::LeaseBack);
    assert_eq!(world.obey(), [host(3)]);
    world.say_state(&host(2), HostState::Healthy, OLD);
    world.say_state(&host(3), HostState::Healthy, OLD);
    assert_eq!((world.outcome, world.orders), (Some(Outcome::Done), vec![]));
}

#[test]
fn the_next_assignment_of_an_attempt_restarts_only_who_was_not_restarted_in_it() {
    let second = Wave { number: 2, since: Fence(7), ..wave(3, 3, 0) };
    let mut world = World::silent(assignment(Action::Restart(OLD), 3, second));
    world.say(&host(1), report(HostState::Healthy, Some(OLD), Fence(7)));
    world.say(&host(2), report(HostState::Healthy, Some(OLD), Fence(6)));
    // It was asked to prepare something and not to restart.
    let prepared = report(HostState::Healthy, Some(OLD), Fence(8));
    world.say(&host(3), HostReport { disruptive: false, ..prepared });
    world.feed(Input::LeaseBack);
    let mut asked = world.obey();
    asked.sort();
    assert_eq!(asked, [host(2), host(3)]);
}

#[test]
fn a_host_that_degraded_behind_its_restart_is_restarted_again_when_its_attempt_is_resumed() {
    let resumed = Wave { since: Fence(7), ..wave(2, 1, 0) };
    let mut world = World::silent(assignment(Action::Restart(OLD), 2, resumed));
    world.say(&host(1), report(HostState::Degraded, Some(OLD), Fence(7)));
    world.say(&host(2), report(HostState::Healthy, Some(OLD), Fence(7)));
    world.feed(Input::LeaseBack);
    assert_eq!(world.obey(), [host(1)]);
    world.say_state(&host(1), HostState::Healthy, OLD);
    assert_eq!(world.outcome, Some(Outcome::Done));
}

#[test]
fn what_an_earlier_order_is_doing_on_a_host_is_waited_for() {
    let mut world = World::silent(assignment(Action::Restart(NEW), 2, wave(2, 2, 0)));
    world.say(&host(1), report(HostState::Updating, Some(OLD), Fence(5)));
    world.say(&host(2), report(HostState::Healthy, Some(NEW), Fence(5)));
    world.feed(Input::LeaseBack);
    assert_eq!(world.obey(), [host(2)]);
    world.say_state(&host(2), HostState::Healthy, NEW);
    assert_eq!(world.outcome, None, "the release may be on its way to the other one");
    world.say(&host(1), report(HostState::Healthy, Some(NEW), Fence(5)));
    assert_eq!(world.obey(), [host(1)]);
    world.say_state(&host(1), HostState::Healthy, NEW);
    assert_eq!(world.outcome, Some(Outcome::Done));
}

#[test]
fn a_lost_answer_holds_the_slot_and_a_host_that_was_ended_meanwhile_gives_it_back() {
    let mut world = restart(2, 1, 0);
    let order = world.ordered().remove(0);
    world.feed(Input::Lost(order.call));
    assert!(world.orders.is_empty(), "it may have taken the order");
    // A user ended the service before the order came: the host had nothing to restart.
    world.say_state(&order.host, HostState::Stopped, OLD);
    let next = world.obey();
    assert_eq!(next.len(), 1);
    assert_ne!(next[0], order.host);
    world.say_state(&next[0], HostState::Healthy, OLD);
    assert_eq!(world.outcome, Some(Outcome::Done));
}

#[test]
fn an_abort_starts_no_further_host_and_waits_for_the_one_at_work() {
    let mut world = restart(3, 1, 0);
    let at_work = world.obey().remove(0);
    world.feed(Input::Abort(ReasonCode::Canceled));
    assert_eq!((world.outcome.clone(), world.orders.len()), (None, 0));
    world.say_state(&at_work, HostState::Healthy, OLD);
    assert_eq!((world.outcome, world.orders.len()), (Some(Outcome::Stopped), 0));
}

#[test]
fn an_order_is_kept_before_it_is_sent_and_needs_the_lease() {
    let mut out = Vec::new();
    let order = assignment(Action::Restart(OLD), 1, wave(1, 1, 0));
    let mut phase = Fleet.begin(Timestamp(0), &order, None, &mut out);
    let mut world = restart(1, 1, 0);
    let sent = world.ordered();
    assert_eq!(sent.len(), 1);
    // Without a lease the same host is not asked.
    let report = Some(report(HostState::Healthy, Some(OLD), Fence(5)));
    let observed = crate::fleet::HostObservation {
        host: host(1),
        connected: true,
        since: Timestamp(0),
        session: 1,
        report,
    };
    out.clear();
    Fleet.step(&mut phase, Timestamp(0), Input::Observed(observed), &mut out);
    assert!(!out.iter().any(|effect| matches!(effect, Effect::Call { .. })), "{out:?}");
    out.clear();
    Fleet.step(&mut phase, Timestamp(0), Input::LeaseBack, &mut out);
    let kinds: Vec<&str> = out
        .iter()
        .filter_map(|effect| match effect {
            Effect::Persist => Some("persist"),
            Effect::Call { .. } => Some("call"),
            _ => None,
        })
        .collect();
    assert_eq!(kinds, ["persist", "call"]);
}

#[test]
fn a_refused_order_is_a_failure_of_its_host() {
    let mut world = restart(2, 1, 0);
    let order = world.ordered().remove(0);
    let refused = Failure {
        code: ReasonCode::StartFailed,
        message: "no".to_owned(),
        instance: Some((&order.host).into()),
    };
    world.feed(Input::Reply(order.call, GoalAck::Refused(refused)));
    assert_eq!(world.ended(), Some(("failed", ReasonCode::StartFailed)));
}

#[test]
fn a_fleet_is_not_scaled_by_an_order() {
    let world = World::new(assignment(Action::Scale { release: OLD, instances: 5 }, 3, wave(3, 1, 0)));
    let Some(Outcome::Fault(Failure { code, message, .. })) = &world.outcome else {
        panic!("{:?}", world.outcome)
    };
    assert_eq!(*code, ReasonCode::OrderRefused);
    assert!(message.contains("add or remove hosts") && world.orders.is_empty(), "{message}");
}
