//! The index of hosts under everything that can happen, progress that is made when it is sent, and what large waves keep.

use proptest::prelude::*;
use trimaran_agent_core::driver::{CallId, Driver, Effect, Found, Input, Journaled};
use trimaran_model::action::{Action, Failure, Wave};
use trimaran_model::assignment::{HostReport, HostState};
use trimaran_model::id::{Digest, Fence, HostName};
use trimaran_model::limits::PROGRESS_INTERVAL;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Timestamp};

use super::world::*;
use crate::fleet::{Fleet, GoalAck, HostObservation, Phase};

const HOSTS: usize = 6;

/// What happens to a fleet.
#[derive(Debug, Clone)]
enum Event {
    Says {
        host: usize,
        state: HostState,
        current: Option<Digest>,
        prepared: bool,
        fence: u64,
        code: Option<ReasonCode>,
    },
    Away(usize),
    Back(usize),
    Answered(u64, GoalAck),
    Lost(u64),
    Unmade(u64),
    Lease(bool),
    Committed,
    Abort,
    Passes(Millis),
}

fn event() -> impl Strategy<Value = Event> {
    let codes = [
        ReasonCode::ProbeFailed,
        ReasonCode::PreflightDisk,
        ReasonCode::HostLost,
        ReasonCode::HostNotConnected,
        ReasonCode::Fenced,
    ];
    let code = prop::sample::select(codes.to_vec());
    let digest = prop::option::of(prop::sample::select(vec![OLD, NEW]));
    let says = (
        1..=HOSTS,
        prop::sample::select(HostState::ALL.to_vec()),
        digest,
        any::<bool>(),
        prop::sample::select(vec![3, 8, FENCE.0, FENCE.0, FENCE.0]),
        prop::option::of(code.clone()),
    );
    let says = says.prop_map(|(host, state, current, prepared, fence, code)| Event::Says {
        host,
        state,
        current,
        prepared,
        fence,
        code,
    });
    let refused = (0..40u64, 1..=HOSTS, code).prop_map(|(call, name, code)| {
        let message = "no".to_owned();
        Event::Answered(
            call,
            GoalAck::Refused(Failure { code, message, instance: Some((&host(name)).into()) }),
        )
    });
    prop_oneof![
        12 => says,
        2 => (1..=HOSTS).prop_map(Event::Away),
        2 => (1..=HOSTS).prop_map(Event::Back),
        4 => (0..40u64).prop_map(|call| Event::Answered(call, GoalAck::Accepted)),
        2 => refused,
        1 => (0..40u64).prop_map(Event::Lost),
        1 => (0..40u64).prop_map(Event::Unmade),
        1 => any::<bool>().prop_map(Event::Lease),
        2 => Just(Event::Committed),
        1 => prop::bool::weighted(0.1).prop_map(|abort| if abort { Event::Abort } else { Event::Committed }),
        2 => (0..40_000u64).prop_map(|time| Event::Passes(Millis(time))),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => Just(Action::Release(NEW)),
        1 => Just(Action::Restore(OLD)),
        1 => Just(Action::Restart(OLD)),
        1 => Just(Action::Stop(NEW)),
        1 => Just(Action::Verify),
    ]
}

fn any_wave() -> impl Strategy<Value = Wave> {
    (0..=6u32, 1..=6u32, 0..=3u32, 0..=3u32, any::<bool>(), 1..=2u32, 0..=2usize, 0..=2usize).prop_map(
        |(count, unavailable, failures_left, lost_left, keep_serving, number, failed, lost)| Wave {
            number,
            lost_left,
            keep_serving,
            since: Fence(8),
            failed: (1..=failed).map(host).collect(),
            lost: (HOSTS - lost + 1..=HOSTS).map(host).collect(),
            ..wave(count, unavailable, failures_left)
        },
    )
}

impl World {
    /// Plays an event; the steps check the index.
    fn play(&mut self, event: Event) {
        match event {
            Event::Says { host: number, state, current, prepared, fence, code } => {
                let prepared = prepared.then_some(NEW);
                let report = HostReport { prepared, code, ..report(state, current, Fence(fence)) };
                self.say(&host(number), report);
            }
            Event::Away(number) => self.show(&host(number), false),
            Event::Back(number) => self.show_again(&host(number)),
            Event::Answered(call, answer) => self.feed(Input::Reply(CallId(call), answer)),
            Event::Lost(call) => self.feed(Input::Lost(CallId(call))),
            Event::Unmade(call) => self.feed(Input::Unmade(CallId(call))),
            Event::Lease(true) => self.feed(Input::LeaseBack),
            Event::Lease(false) => self.feed(Input::LeaseLost),
            Event::Committed => {
                let n = u32::try_from(self.phase.kept.failures.len()).unwrap();
                self.feed(Input::Committed(n));
            }
            Event::Abort => self.feed(Input::Abort(ReasonCode::Fenced)),
            Event::Passes(time) => self.pass(time),
        }
    }

    /// A host is back with a session of its own.
    fn show_again(&mut self, name: &HostName) {
        let report = self.reports.get(name).cloned();
        let (since, session) = (self.now, 100 + self.now.0);
        let observation = HostObservation { host: name.clone(), connected: true, since, session, report };
        self.feed(Input::Observed(observation));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_index_is_what_a_recount_gives(
        action in action(),
        wave in any_wave(),
        events in prop::collection::vec(event(), 0..80),
        is_silent in prop::bool::weighted(0.2),
    ) {
        let order = assignment(action, HOSTS, wave);
        let mut world = if is_silent { World::silent(order) } else { World::new(order) };
        for event in events {
            if world.outcome.is_some() {
                break;
            }
            world.play(event);
        }
    }
}

#[test]
fn a_host_that_speaks_can_not_say_that_it_is_silent() {
    for code in [ReasonCode::HostLost, ReasonCode::HostNotConnected] {
        let wave = Wave { lost_left: 1, ..wave(1, 1, 1) };
        let mut world = World::new(assignment(Action::Release(NEW), 2, wave));
        let first = world.ordered().remove(0);
        let failure = Failure { code, message: "gone".to_owned(), instance: Some((&first.host).into()) };
        world.feed(Input::Reply(first.call, GoalAck::Refused(failure)));
        let charged = world.phase.kept.lost.first().or(world.phase.kept.failures.first());
        assert_eq!(charged.map(|it| it.code), Some(ReasonCode::HostInternal));
        assert_ne!(world.ordered()[0].host, first.host, "the wave goes on without it");

        let mut world =
            World::new(assignment(Action::Release(NEW), 2, Wave { lost_left: 1, ..wave_of_one() }));
        let first = world.ordered().remove(0);
        let said = HostReport { disruptive: false, ..report(HostState::Refused, Some(OLD), FENCE) };
        world.say(&first.host, HostReport { code: Some(code), ..said });
        assert_ne!(world.ordered()[0].host, first.host, "the wave goes on without it");
    }
}

fn wave_of_one() -> Wave {
    wave(1, 1, 1)
}

#[test]
fn progress_is_reported_as_often_as_it_is_sent_and_at_the_end() {
    let mut world = World::new(assignment(Action::Release(NEW), 20, wave(20, 20, 0)));
    assert_eq!(world.reports_made.len(), 1, "once all hosts were observed");
    let acting = world.obey();
    assert_eq!((acting.len(), world.reports_made.len()), (20, 1), "not again at once");
    world.pass(Millis(PROGRESS_INTERVAL.0 - 1));
    assert_eq!(world.reports_made.len(), 1);
    world.pass(Millis(1));
    let (at, progress) = world.reports_made.last().expect("reported").clone();
    assert_eq!((at, world.reports_made.len()), (Timestamp(0) + PROGRESS_INTERVAL, 2), "once for all of it");
    assert_eq!((progress.done, progress.instances.len()), (0, 20));
    world.pass(Millis::seconds(5));
    assert_eq!(world.reports_made.len(), 2, "nothing happened");
    for host in acting {
        world.say_state(&host, HostState::Healthy, NEW);
    }
    let (_, last) = world.reports_made.last().expect("reported");
    assert!(
        world.outcome.is_some() && last.done == 20,
        "what stands at the end is reported whenever that is"
    );
}

/// Bytes of all that a pass over the fleet persists, and the phase when half of the hosts were ordered.
fn persisted(hosts: usize) -> (usize, Phase, Vec<HostName>) {
    let order = assignment(Action::Restore(OLD), hosts, wave(u32::try_from(hosts).unwrap(), 1, 0));
    let mut out = Vec::new();
    let mut phase = Fleet.begin(Timestamp(0), &order, None, &mut out);
    let mut bytes = 0;
    let mut ordered = Vec::new();
    let mut half = None;
    let down = |number| HostObservation {
        host: host(number),
        connected: true,
        since: Timestamp(0),
        session: 1,
        report: Some(report(HostState::Degraded, Some(NEW), Fence(5))),
    };
    let mut inputs: std::collections::VecDeque<_> = (1..=hosts).map(|it| Input::Observed(down(it))).collect();
    inputs.push_back(Input::LeaseBack);
    while let Some(input) = inputs.pop_front() {
        let mut out = Vec::new();
        Fleet.step(&mut phase, Timestamp(0), input, &mut out);
        if out.iter().any(|effect| matches!(effect, Effect::Persist)) {
            bytes += Fleet.save(&phase).len();
        }
        for effect in out {
            let Effect::Call { call, .. } = effect else { continue };
            assert!(phase.kept.ordered.contains(&call.host), "it is kept as ordered before it is");
            ordered.push(call.host.clone());
            let healthy = report(HostState::Healthy, Some(OLD), FENCE);
            let done = HostObservation { report: Some(healthy), host: call.host, ..down(1) };
            inputs.push_back(Input::Observed(done));
        }
        if ordered.len() == hosts / 2 && half.is_none() {
            half = Some((phase.clone(), ordered.clone()));
        }
    }
    assert_eq!(ordered.len(), hosts);
    let (phase, ordered) = half.expect("it came by");
    (bytes, phase, ordered)
}

#[test]
fn what_a_wave_persists_grows_with_the_fleet_and_not_with_its_square() {
    let (small, ..) = persisted(500);
    let (large, ..) = persisted(2000);
    assert!(large < 6 * small, "{small} bytes for 500 hosts, {large} for 2,000");
}

#[test]
fn a_host_that_was_kept_and_not_ordered_is_ordered_after_a_crash() {
    let (_, phase, ordered) = persisted(400);
    let ahead = phase.kept.ordered.len() - ordered.len();
    assert!((1..=400 / 8).contains(&ahead), "{ahead} are kept ahead");
    let loaded = Fleet.load(&phase.assignment, &Fleet.save(&phase)).expect("its own bytes");
    let mut out = Vec::new();
    let mut phase = Fleet.begin(Timestamp(0), &phase.assignment, Some(Found::Resumed(loaded)), &mut out);
    let mut again = Vec::new();
    let mut inputs: Vec<_> = (1..=400)
        .map(|number| {
            let done = ordered.contains(&host(number));
            let said = match done {
                true => report(HostState::Healthy, Some(OLD), FENCE),
                false => report(HostState::Degraded, Some(NEW), Fence(5)),
            };
            let (since, session) = (Timestamp(0), 1);
            HostObservation { host: host(number), connected: true, since, session, report: Some(said) }
        })
        .map(Input::Observed)
        .collect();
    inputs.push(Input::LeaseBack);
    for input in inputs {
        Fleet.step(&mut phase, Timestamp(0), input, &mut out);
    }
    again.extend(out.into_iter().filter_map(|effect| match effect {
        Effect::Call { call, .. } => Some(call.host),
        _ => None,
    }));
    assert_eq!(again.len(), 1, "one slot, and no host holds it: {again:?}");
    assert!(!ordered.contains(&again[0]));
}
