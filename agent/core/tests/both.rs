//! Two drivers in one executor: each order at its own, and what neither drives ends aloud.

use std::collections::BTreeSet;

use either::Either;
use trimaran_agent_core::both::Both;
use trimaran_agent_core::driver::{
    CallId, Driver, Effect, EffectOf, Found, FoundOf, Guard, Handover, Input, Journaled,
};
use trimaran_agent_core::unsupported::Unsupported;
use trimaran_model::action::{Action, Outcome, Progress, Wave};
use trimaran_model::assignment::{Assignment, Scope};
use trimaran_model::id::{AssignmentId, Attempt, Digest, Fence, InstallationId};
use trimaran_model::reason::ReasonCode;
use trimaran_model::target::PlatformKind;
use trimaran_model::time::{Millis, Timestamp};
use trimaran_wire::codec::CodecError;

/// Counts what it is fed; its first call says how much it found.
struct Counter(PlatformKind);

impl Driver for Counter {
    type Order = Assignment;
    type Phase = u8;
    type Call = (PlatformKind, u8);
    type Reply = u8;
    type Snapshot = u8;
    type Query = PlatformKind;
    type Progress = Progress;

    fn begin(
        &self,
        _: Timestamp,
        _: &Assignment,
        found: Option<FoundOf<Self>>,
        out: &mut Vec<EffectOf<Self>>,
    ) -> u8 {
        let found = found.map_or(0, Found::into_phase);
        out.push(Effect::Persist);
        out.push(Effect::Watch(self.0));
        let deadline = Millis::seconds(1);
        out.push(Effect::Call { id: CallId(1), call: (self.0, found), deadline, guard: Guard::Read });
        found
    }

    fn step(&self, phase: &mut u8, _: Timestamp, input: Input<u8, u8>, out: &mut Vec<EffectOf<Self>>) {
        match input {
            Input::Reply(_, by) | Input::Observed(by) => *phase += by,
            Input::Abort(_) => out.push(Effect::Done(Outcome::Stopped)),
            Input::Lost(_) | Input::Unmade(_) | Input::Due => {}
            Input::LeaseLost | Input::LeaseBack | Input::Committed(_) => {}
        }
    }

    fn accepts(&self, order: &Assignment) -> bool {
        order.platform == self.0
    }

    fn handover(&self, _: &u8, _: &Assignment) -> Handover {
        Handover::Later
    }
}

impl Journaled for Counter {
    fn save(&self, phase: &u8) -> Vec<u8> {
        vec![*phase]
    }

    fn load(&self, _: &Assignment, bytes: &[u8]) -> Result<u8, CodecError> {
        Ok(bytes[0])
    }
}

type Three = Both<Counter, Both<Counter, Unsupported>>;

const DRIVERS: Three = Both {
    first: Counter(PlatformKind::Hosts),
    second: Both { first: Counter(PlatformKind::Flink), second: Unsupported },
};

fn order(platform: PlatformKind) -> Assignment {
    let wave = Wave { target_count: 1, ..Wave::default() };
    Assignment {
        id: AssignmentId(1),
        fence: Fence(1),
        installation: InstallationId {
            pipeline: "web".parse().expect("a name"),
            target: "prod".parse().expect("a name"),
        },
        run: "web#1".parse().expect("a run"),
        stage: "prod/prod".parse().expect("a stage"),
        attempt: Attempt(1),
        platform,
        action: Action::Stop(Digest([1; 32])),
        release: None,
        wave,
        hosts: BTreeSet::new(),
        retained: BTreeSet::new(),
        committed: None,
        restore_from: None,
    }
}

fn begin(
    platform: PlatformKind,
    found: Option<FoundOf<Three>>,
) -> (<Three as Driver>::Phase, Vec<EffectOf<Three>>) {
    let mut out = Vec::new();
    let phase = DRIVERS.begin(Timestamp(0), &order(platform), found, &mut out);
    (phase, out)
}

fn called(out: &[EffectOf<Three>]) -> (PlatformKind, u8) {
    let call = out.iter().find_map(|effect| match effect {
        Effect::Call { call: Either::Left(call) | Either::Right(Either::Left(call)), .. } => Some(*call),
        _ => None,
    });
    call.expect("it calls")
}

#[test]
fn an_order_and_all_that_follows_stay_with_the_driver_of_its_platform() {
    let (mut phase, out) = begin(PlatformKind::Flink, None);
    assert_eq!(called(&out), (PlatformKind::Flink, 0));
    assert!(
        matches!(out[0], Effect::Persist)
            && matches!(out[1], Effect::Watch(Either::Right(Either::Left(PlatformKind::Flink))))
    );
    let mut out = Vec::new();
    DRIVERS.step(&mut phase, Timestamp(0), Input::Reply(CallId(1), Either::Right(Either::Left(2))), &mut out);
    DRIVERS.step(&mut phase, Timestamp(0), Input::Observed(Either::Right(Either::Left(3))), &mut out);
    assert_eq!(phase, Either::Right(Either::Left(5)));
    let bytes = DRIVERS.save(&phase);
    assert_eq!(DRIVERS.load(&order(PlatformKind::Flink), &bytes), Ok(phase));
    let (_, out) = begin(PlatformKind::Flink, Some(Found::Resumed(phase)));
    assert_eq!(called(&out), (PlatformKind::Flink, 5), "it finds what it left");
    assert_eq!(called(&begin(PlatformKind::Hosts, None).1), (PlatformKind::Hosts, 0));
    assert!(matches!(order(PlatformKind::Hosts).scope(), Scope::Hosts { .. }));
    assert_eq!(order(PlatformKind::Flink).scope(), Scope::Whole);
}

#[test]
fn a_phase_of_another_platform_is_finished_first_and_not_found() {
    let phase = Either::Left(7);
    assert_eq!(DRIVERS.handover(&phase, &order(PlatformKind::Hosts)), Handover::Later, "its own word");
    assert_eq!(DRIVERS.handover(&phase, &order(PlatformKind::Flink)), Handover::AfterChange);
    let found = Found::Superseded { order: order(PlatformKind::Hosts), phase };
    let (_, out) = begin(PlatformKind::Flink, Some(found));
    assert_eq!(called(&out), (PlatformKind::Flink, 0));
}

#[test]
fn what_no_driver_accepts_ends_with_a_fault_that_says_so() {
    let (_, out) = begin(PlatformKind::Kubernetes, None);
    let [Effect::Done(Outcome::Fault(failure))] = &out[..] else { panic!("{} effects", out.len()) };
    assert_eq!(failure.code, ReasonCode::UnsupportedWorkload);
    assert_eq!(failure.message, "this agent has no driver for workloads of `kubernetes`");
}
