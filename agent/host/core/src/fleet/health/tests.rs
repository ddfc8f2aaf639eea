//! Hosts say how they are; each test checks what of it is evidence, and what is asked of whom.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_agent_core::platform::Standing;
use trimaran_model::amount::IntOrPercent;
use trimaran_model::assignment::{HostAction, HostOrder, HostReport, HostStanding, HostState};
use trimaran_model::id::{AssignmentId, Digest, Fence, HostName, InstallationId};
use trimaran_model::reason::ReasonCode;
use trimaran_model::target::{HostSettings, OnLeave, Target, TargetClass, TargetPlatform};
use trimaran_model::time::{Millis, Timestamp};
use trimaran_model::verdict::Verdict;

use super::{Counts, Enrolled, Health, Transition};
use crate::fleet::SendGoal;
use crate::fleet::tests::world::{NEW, OLD, host, installation, release};

const FENCE: Fence = Fence(10);

/// A target of four hosts that serve `NEW`, known since a moment ago.
struct World {
    health: Health,
    now: Timestamp,
    enrolled: BTreeMap<HostName, Enrolled>,
    settings: HostSettings,
    last: Option<Transition>,
}

fn report(state: HostState, current: Option<Digest>, fence: Fence) -> HostReport {
    HostReport {
        installation: installation(),
        fence,
        assignment: AssignmentId(7),
        disruptive: true,
        state,
        current,
        prepared: None,
        code: None,
        message: "503".to_owned(),
        restarting: false,
    }
}

fn crashed() -> HostReport {
    let code = Some(ReasonCode::ProcessExited);
    HostReport { code, restarting: true, ..report(HostState::Degraded, Some(NEW), FENCE) }
}

fn standing(fence: Fence, digest: Digest) -> Standing {
    Standing {
        installation: installation(),
        fence,
        release: Some(digest),
        retained: BTreeSet::from([OLD, NEW]),
        committed: None,
        hosts: Some(HostStanding {
            assignment: AssignmentId(7),
            run: "web#2".parse().expect("a run"),
            releases: Some(BTreeSet::from([digest])),
            goal: Some(HostOrder { digest, release: release() }),
            max_failures: 0,
        }),
    }
}

impl World {
    fn new() -> Self {
        let mut world = Self::before_its_hosts(HostSettings::default());
        world.take(|health, now| health.on_standing(now, standing(FENCE, NEW)).into_iter().collect());
        for n in 1..=4 {
            world.hello(n, &[report(HostState::Healthy, Some(NEW), FENCE)]);
        }
        world.take(|health, now| health.settle(now));
        world.counts();
        world
    }

    fn before_its_hosts(settings: HostSettings) -> Self {
        let enrolled = (1..=4).map(|n| (host(n), labelled("prod"))).collect();
        let (health, now) = (Health::default(), Timestamp(1_000_000));
        let mut world = Self { health, now, enrolled, settings, last: None };
        world.fleet();
        world
    }

    fn take(&mut self, act: impl FnOnce(&mut Health, Timestamp) -> Vec<Transition>) {
        let now = self.now;
        let said = act(&mut self.health, now);
        self.last = said.last().cloned().or(self.last.take());
    }

    fn fleet(&mut self) {
        let platform = TargetPlatform::Hosts {
            select: BTreeMap::from([("group".to_owned(), "prod".to_owned())]),
            require_user: false,
            settings: self.settings.clone(),
        };
        let target = Target {
            name: installation().target,
            agent: "lab".parse().expect("a name"),
            class: TargetClass::Prod,
            platform,
            parallel: 64,
        };
        let enrolled = self.enrolled.clone();
        self.take(|health, now| health.on_fleet(now, &[target], &enrolled));
    }

    fn hello(&mut self, n: usize, reports: &[HostReport]) {
        self.take(|health, now| health.on_hello(now, &host(n), reports));
    }

    fn say(&mut self, n: usize, report: &HostReport) {
        self.take(|health, now| health.on_report(now, &host(n), report).into_iter().collect());
    }

    /// The latest numbers.
    fn counts(&mut self) -> Counts {
        self.take(|health, _| health.take_count_changes());
        self.last.as_ref().and_then(|it| it.hosts.clone()).expect("something was said")
    }

    fn verdict(&mut self) -> Verdict {
        self.counts();
        self.last.as_ref().expect("something was said").verdict
    }

    fn converge(&mut self) -> Vec<(HostName, &'static str)> {
        let asked = |SendGoal { host, goal }: SendGoal| {
            assert_eq!(goal.fence, FENCE, "no deploy's decision is undone");
            let action = match &goal.action {
                HostAction::Apply(order) if order.digest == NEW => "apply",
                HostAction::Stop { .. } => "stop",
                other => panic!("{other:?}"),
            };
            (host, action)
        };
        self.health.converge(self.now).into_iter().map(asked).collect()
    }

    fn pass(&mut self, time: Millis) {
        self.now = self.now + time;
        self.take(|health, now| health.due(now));
    }
}

fn labelled(group: &str) -> Enrolled {
    let labels = BTreeMap::from([("group".to_owned(), group.to_owned())]);
    Enrolled { labels, ..Enrolled::default() }
}

fn codes(counts: &Counts) -> Vec<(HostName, ReasonCode)> {
    counts.findings.iter().map(|it| (it.host.clone(), it.code)).collect()
}

#[test]
fn all_hosts_serve_and_nothing_is_asked() {
    let mut world = World::new();
    let counts = world.counts();
    assert_eq!((counts.members, counts.updated, counts.settled), (4, 4, true));
    assert_eq!(world.last.as_ref().map(|it| (it.verdict, it.down)), Some((Verdict::Healthy, 0)));
    assert!(world.converge().is_empty());
}

#[test]
fn a_host_that_left_the_target_is_a_finding_and_no_evidence() {
    let mut world = World::new();
    world.enrolled.insert(host(3), labelled("other"));
    world.fleet();
    world.say(
        3,
        &HostReport {
            code: Some(ReasonCode::ProcessExited),
            ..report(HostState::Degraded, Some(OLD), FENCE)
        },
    );
    assert_eq!(world.verdict(), Verdict::Healthy);
    let counts = world.counts();
    assert_eq!((counts.members, counts.updated, counts.degraded), (3, 3, 0));
    assert_eq!(codes(&counts), [(host(3), ReasonCode::Orphan)]);
}

#[test]
fn another_release_is_diverged_and_no_evidence_against_this_one() {
    let mut world = World::new();
    world.say(2, &report(HostState::Degraded, Some(OLD), FENCE));
    assert_eq!(world.verdict(), Verdict::Healthy);
    let counts = world.counts();
    assert_eq!((counts.diverged, counts.degraded, counts.updated), (1, 0, 3));
    assert_eq!(codes(&counts), [(host(2), ReasonCode::Diverged)]);
}

#[test]
fn no_fence_above_the_coordinators_is_learned() {
    let mut world = World::new();
    world.say(2, &report(HostState::Degraded, Some(NEW), Fence(u64::MAX)));
    assert_eq!(world.verdict(), Verdict::Healthy);
    assert_eq!(world.last.as_ref().map(|it| it.fence), Some(FENCE));
    world.say(1, &report(HostState::Degraded, Some(NEW), FENCE));
    assert_eq!(world.last.as_ref().map(|it| (it.verdict, it.fence)), Some((Verdict::Degraded, FENCE)));
}

#[test]
fn a_process_that_is_about_to_be_back_is_distinguished_from_one_that_is_not_and_counted() {
    let mut world = World::new();
    world.say(1, &crashed());
    let counts = world.counts();
    assert_eq!((counts.mending, counts.degraded, counts.crashes), (1, 0, 1));
    assert_eq!(counts.crash.and_then(|it| it.host()), Some(host(1)));
    world.say(1, &report(HostState::Healthy, Some(NEW), FENCE));
    let counts = world.counts();
    assert_eq!((counts.mending, counts.crashes, world.verdict()), (0, 1, Verdict::Healthy));
    world.say(1, &HostReport { restarting: false, ..crashed() });
    assert_eq!(world.counts().degraded, 1, "its policy gave up");
}

#[test]
fn evidence_waits_for_what_the_coordinators_say_and_is_not_taken_while_they_work() {
    let mut world = World::new();
    world.health.begin_assignment(&installation());
    world.last = None;
    world.say(1, &report(HostState::Degraded, Some(NEW), Fence(11)));
    assert_eq!(world.health.end_assignment(world.now, &installation(), Fence(11)), None);
    world.take(|health, _| health.take_count_changes());
    assert_eq!(world.last, None, "what the assignment left is not known yet");
    world.take(|health, now| health.on_standing(now, standing(Fence(11), NEW)).into_iter().collect());
    assert_eq!(world.last.as_ref().map(|it| (it.verdict, it.fence)), Some((Verdict::Degraded, Fence(11))));
    let late = world.health.on_standing(world.now, standing(FENCE, OLD));
    assert_eq!(late, None, "what was said before the last assignment is passed over");

    world.health.begin_assignment(&installation());
    world.say(1, &report(HostState::Healthy, Some(NEW), Fence(12)));
    assert_eq!(world.health.on_standing(world.now, standing(Fence(12), NEW)), None, "it is not over here");
    let said = world.health.end_assignment(world.now, &installation(), Fence(12)).expect("all is known");
    assert_eq!((said.verdict, said.fence), (Verdict::Healthy, Fence(12)));
}

#[test]
fn what_a_host_invents_is_forgotten_with_its_next_greeting() {
    let mut world = World::new();
    let known = world.health.installations.len();
    for round in 0..3 {
        let invented = |n: usize| HostReport {
            installation: InstallationId {
                pipeline: format!("app-{round}-{n}").parse().expect("a name"),
                ..installation()
            },
            ..report(HostState::Degraded, Some(NEW), Fence(u64::MAX))
        };
        world.last = None;
        world.hello(1, &(0..200).map(invented).collect::<Vec<_>>());
        assert_eq!(world.health.installations.len(), known + 200);
        assert_eq!(
            world.health.installations[&installation()].fence,
            FENCE,
            "no fence is learnt from a host"
        );
        assert!(world.health.converge(world.now).iter().all(|it| it.goal.installation == installation()));
    }
}

#[test]
fn before_every_host_had_time_to_speak_bad_news_alone_are_announced() {
    let mut world = World::before_its_hosts(HostSettings::default());
    world.take(|health, now| health.on_standing(now, standing(FENCE, NEW)).into_iter().collect());
    world.hello(1, &[report(HostState::Healthy, Some(NEW), FENCE)]);
    assert_eq!(world.last, None);
    world.hello(2, &[report(HostState::Degraded, Some(NEW), FENCE)]);
    let said = world.last.clone().expect("bad news");
    assert_eq!((said.verdict, said.hosts.map(|it| it.settled)), (Verdict::Degraded, Some(false)));
    world.take(|health, now| health.settle(now));
    let counts = world.counts();
    assert_eq!((counts.settled, counts.lost, counts.updated), (true, 2, 1));
}

#[test]
fn silence_is_counted_and_no_verdict_and_ends_the_membership_in_time() {
    let mut world = World::new();
    world.take(|health, now| health.on_away(now, &host(4)));
    assert_eq!(world.verdict(), Verdict::Healthy);
    let counts = world.counts();
    assert_eq!((counts.lost, counts.members, counts.updated), (1, 4, 3));
    assert_eq!(codes(&counts), [(host(4), ReasonCode::HostNotConnected)]);
    assert_eq!(world.health.next_deadline(), Some(world.now + Millis::minutes(10)));
    world.pass(Millis::minutes(10));
    let counts = world.counts();
    assert_eq!((counts.lost, counts.members), (0, 3));
    assert_eq!(codes(&counts), [(host(4), ReasonCode::HostNotConnected)], "it is shown all the same");
    world.hello(4, &[report(HostState::Healthy, Some(NEW), FENCE)]);
    assert_eq!(world.counts().updated, 4);
}

#[test]
fn who_joins_gets_the_release_a_few_at_once_and_counts_when_it_is_healthy() {
    let mut world = World::new();
    for n in 5..=30 {
        world.enrolled.insert(host(n), labelled("prod"));
    }
    world.fleet();
    (5..=30).for_each(|n| world.hello(n, &[]));
    let first = world.converge();
    assert_eq!(first.len(), 3, "10% of 30: {first:?}");
    assert!(world.converge().is_empty());
    let counts = world.counts();
    assert_eq!((counts.members, counts.updated), (30, 4), "none counts before it is healthy");
    let (name, action) = first[0].clone();
    assert_eq!(action, "apply");
    let n = (5..=30).find(|n| host(*n) == name).expect("one that joined");
    world.say(n, &report(HostState::Preparing, None, FENCE));
    assert!(world.converge().is_empty());
    world.say(n, &report(HostState::Healthy, Some(NEW), FENCE));
    assert_eq!(world.converge().len(), 1, "the next one");
    assert_eq!(world.counts().updated, 5);
}

/// Another incarnation of the cluster: what the one before wanted is not for hosts that join, nor for those that differ from it.
#[test]
fn what_stands_is_forgotten_until_it_is_said_again() {
    let mut world = World::new();
    world.enrolled.insert(host(5), labelled("prod"));
    world.fleet();
    world.health.forget_standing();
    world.hello(5, &[]);
    world.say(1, &report(HostState::Healthy, Some(OLD), Fence(5)));
    world.pass(Millis::minutes(1));
    assert!(world.converge().is_empty(), "no one says what should run");
    assert!(world.health.announced_verdicts().is_empty() && !world.health.has_count_changes());
    world.take(|health, now| health.on_standing(now, standing(FENCE, NEW)).into_iter().collect());
    world.fleet();
    assert_eq!(world.converge(), [(host(5), "apply")]);
}

#[test]
fn a_release_that_fails_on_who_joins_stops_joining_and_says_nothing_against_the_others() {
    let mut world = World::new();
    world.settings.join_parallel = IntOrPercent::Count(1);
    for n in [5, 6] {
        world.enrolled.insert(host(n), labelled("prod"));
    }
    world.fleet();
    world.hello(5, &[]);
    world.hello(6, &[]);
    assert_eq!(world.converge(), [(host(5), "apply")]);
    world.say(
        5,
        &HostReport { code: Some(ReasonCode::ProcessExited), ..report(HostState::Broken, None, FENCE) },
    );
    assert_eq!(world.verdict(), Verdict::Healthy);
    assert_eq!(codes(&world.counts()), [(host(5), ReasonCode::JoinFailed)]);
    assert!(world.converge().is_empty(), "the budget is spent");
}

#[test]
fn who_returns_catches_up_and_who_failed_in_the_deploy_is_left_alone() {
    let mut world = World::new();
    world.take(|health, now| health.on_away(now, &host(1)));
    world.hello(1, &[report(HostState::Healthy, Some(OLD), Fence(5))]);
    world.say(2, &report(HostState::Reverted, Some(OLD), FENCE));
    assert_eq!(world.converge(), [(host(1), "apply")]);
    world.pass(Millis::seconds(31));
    assert_eq!(world.converge(), [(host(1), "apply")], "it did not take the order");
    world.say(1, &report(HostState::Healthy, Some(NEW), FENCE));
    assert!(world.converge().is_empty());
    assert_eq!(codes(&world.counts()), [(host(2), ReasonCode::Diverged)]);
}

#[test]
fn services_of_a_host_that_leaves_are_ended_where_the_target_or_a_user_says_so() {
    let moved = labelled("other");
    let drained = Enrolled { drained: true, ..labelled("prod") };
    let cordoned = Enrolled { cordoned: true, ..labelled("prod") };
    for (enrolled, on_leave, ends) in [
        (moved.clone(), None, false),
        (moved.clone(), Some(OnLeave::Stop), true),
        (moved, Some(OnLeave::Keep), false),
        (drained.clone(), None, true),
        (drained, Some(OnLeave::Keep), false),
        (cordoned, Some(OnLeave::Stop), false),
    ] {
        let mut world = World::new();
        world.settings.on_leave = on_leave;
        // The coordinators gave the installation a new fence when the host left.
        world.say(3, &report(HostState::Healthy, Some(NEW), Fence(9)));
        world.enrolled.insert(host(3), enrolled.clone());
        world.fleet();
        assert_eq!(world.converge(), if ends { vec![(host(3), "stop")] } else { vec![] }, "{enrolled:?}");
        assert_eq!(codes(&world.counts()), [(host(3), ReasonCode::Orphan)], "it is listed until then");
        world.say(3, &report(HostState::Stopped, Some(NEW), FENCE));
        assert!(codes(&world.counts()).is_empty());
    }
}
