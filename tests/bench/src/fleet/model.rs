//! The fleet loop alone: the real executor and the real driver on hosts in memory, which do at once what they are asked.
//!
//! What is timed is [`Executor::step`], from the assignment to its result. What a daemon has around it is measured by
//! `real`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use trimaran_agent_core::{Executor, Input, Output};
use trimaran_conformance::driver::samples;
use trimaran_host_core::fleet::{Fleet, GoalAck, HostObservation};
use trimaran_model::action::{Action, Wave};
use trimaran_model::amount::IntOrPercent;
use trimaran_model::assignment::{Assignment, HostAction, HostReport, HostState};
use trimaran_model::id::{AssignmentId, Attempt, Digest, Epoch, Fence, HostName, InstallationId};
use trimaran_model::target::{HostSettings, PlatformKind, Target, TargetClass, TargetPlatform};
use trimaran_model::time::{Millis, Timestamp};

use crate::report::{Report, percentile, time};

const SIZES: [usize; 4] = [100, 1_000, 10_000, 30_000];
/// A pass that takes longer is cut off.
const PASS_MAX: Duration = Duration::from_secs(30);
/// Virtual time from one input to the next: 10,000 inputs a second.
const INPUTS_PER_MILLISECOND: u64 = 10;
const OLD: Digest = Digest([1; 32]);
const NEW: Digest = Digest([2; 32]);
/// Of epoch 1: what runs, and the order.
const BEFORE: Fence = Fence(1 << 48 | 5);
const FENCE: Fence = Fence(1 << 48 | 10);

pub(crate) fn run(report: &mut Report) {
    for hosts in SIZES {
        let Pass { whole, mut inputs, longest, ended } = pass(hosts);
        inputs.sort_unstable();
        let count = u32::try_from(inputs.len()).expect("few inputs");
        let mean = inputs.iter().sum::<Duration>() / count.max(1);
        let bar = if hosts == 10_000 { "; bar 20 µs" } else { "" };
        report.add(
            format!("one input to the fleet loop, {hosts} hosts"),
            micros(mean),
            format!(
                "mean of {count}; p50 {}, p99 {}, max {} ({}){bar}",
                micros(percentile(&inputs, 50)),
                micros(percentile(&inputs, 99)),
                time(longest.0),
                longest.1
            ),
        );
        let end = if ended { "from the order to the result" } else { "cut off there, before its end" };
        report.add(
            format!("a whole pass of {hosts} hosts through the fleet loop"),
            time(whole),
            format!("{count} inputs, {end}"),
        );
    }
}

fn micros(time: Duration) -> String {
    format!("{:.2} µs", time.as_secs_f64() * 1e6)
}

struct Pass {
    /// The steps alone, and not the hosts.
    whole: Duration,
    /// By the input: its step.
    inputs: Vec<Duration>,
    /// The longest step, and of which input.
    longest: (Duration, &'static str),
    ended: bool,
}

/// One wave that brings a release to all hosts at once.
fn pass(hosts: usize) -> Pass {
    let names: Vec<HostName> = (0..hosts).map(name).collect();
    let mut world = World::new(&names);
    let began = Instant::now();
    let mut pass =
        Pass { whole: Duration::ZERO, inputs: Vec::new(), longest: (Duration::ZERO, ""), ended: false };
    world.inputs.push_back(Input::Assign(assignment(names.into_iter().collect())));
    while let Some(input) = world.inputs.pop_front()
        && began.elapsed() < PASS_MAX
    {
        let kind = kind(&input);
        let step = world.step(input);
        pass.inputs.push(step);
        if step > pass.longest.0 {
            pass.longest = (step, kind);
        }
        pass.whole += step;
        if world.ended {
            pass.ended = true;
            break;
        }
    }
    assert!(pass.ended || began.elapsed() >= PASS_MAX, "a wave of hosts that obey ends");
    pass
}

fn kind(input: &Input<Fleet>) -> &'static str {
    match input {
        Input::Assign(_) => "the order",
        Input::Observed { .. } => "what a host reports",
        Input::Reply { .. } => "a host's answer",
        Input::Written(_) => "a write that is durable",
        _ => "another input",
    }
}

struct World {
    executor: Executor<Fleet>,
    inputs: VecDeque<Input<Fleet>>,
    reports: BTreeMap<HostName, HostReport>,
    steps: u64,
    renewed: Timestamp,
    ended: bool,
}

impl World {
    /// An attached agent with a live lease, and hosts that run the old release.
    fn new(names: &[HostName]) -> Self {
        let old = |host: &HostName| (host.clone(), host_report(HostState::Healthy, Some(OLD), BEFORE));
        let mut world = Self {
            executor: Executor::new(Fleet),
            inputs: VecDeque::new(),
            reports: names.iter().map(old).collect(),
            steps: 0,
            renewed: Timestamp(0),
            ended: false,
        };
        world.step(Input::Attached { cluster: "bench".to_owned(), epoch: Epoch(1), incarnation: 1 });
        world.step(Input::Targets(vec![target()]));
        world.renew();
        while let Some(input) = world.inputs.pop_front() {
            world.step(input);
        }
        world
    }

    fn now(&self) -> Timestamp {
        Timestamp(1_000_000 + self.steps / INPUTS_PER_MILLISECOND)
    }

    fn renew(&mut self) {
        self.renewed = self.now();
        self.step(Input::PongReceived { sent: self.renewed });
    }

    /// One step, and what follows from it; the time that the executor took.
    fn step(&mut self, input: Input<Fleet>) -> Duration {
        self.steps += 1;
        let now = self.now();
        let mut out = Vec::new();
        let began = Instant::now();
        self.executor.step(now, input, &mut out);
        let took = began.elapsed();
        for output in out {
            self.perform(output);
        }
        while let Some(message) = self.executor.next_message(now) {
            self.ended |= matches!(message, trimaran_wire::v1::agent::AgentUp::Result { .. });
        }
        if self.executor.next_deadline().is_some_and(|at| at <= now) {
            self.inputs.push_back(Input::Due);
        }
        if now >= self.renewed + Millis::seconds(2) {
            self.renew();
        }
        took
    }

    fn perform(&mut self, output: Output<Fleet>) {
        match output {
            Output::Write { sequence, .. } | Output::Replace { sequence, .. } => {
                self.inputs.push_back(Input::Written(sequence));
            }
            Output::Watch { assignment, query, .. } => {
                for host in &query.hosts {
                    let snapshot = self.observation(host);
                    self.inputs.push_back(Input::Observed { assignment, snapshot });
                }
            }
            Output::Call { assignment, id, call, .. } => {
                let reply = GoalAck::Accepted;
                self.inputs.push_back(Input::Reply { assignment, call: id, reply });
                for report in obeyed(&call.goal.action) {
                    self.reports.insert(call.host.clone(), report);
                    let snapshot = self.observation(&call.host);
                    self.inputs.push_back(Input::Observed { assignment, snapshot });
                }
            }
            Output::Unwatch { .. } | Output::Targets(_) | Output::Refused(_) => {}
            Output::Busy { .. } | Output::Quiet { .. } => {}
        }
    }

    fn observation(&self, host: &HostName) -> HostObservation {
        let report = self.reports.get(host).cloned();
        HostObservation { host: host.clone(), connected: true, since: Timestamp(0), session: 1, report }
    }
}

/// What a host reports of an order, one after the other.
fn obeyed(action: &HostAction) -> Vec<HostReport> {
    let fence = FENCE;
    let plain = |state, current| HostReport { disruptive: false, ..host_report(state, current, fence) };
    match action {
        HostAction::Prepare(_) => vec![
            plain(HostState::Preparing, Some(OLD)),
            HostReport { prepared: Some(NEW), ..plain(HostState::Healthy, Some(OLD)) },
        ],
        _ => vec![
            host_report(HostState::Updating, Some(OLD), fence),
            host_report(HostState::Updating, Some(NEW), fence),
            host_report(HostState::Healthy, Some(NEW), fence),
        ],
    }
}

fn host_report(state: HostState, current: Option<Digest>, fence: Fence) -> HostReport {
    samples::report(installation(), (AssignmentId(7), fence), (state, current))
}

fn name(number: usize) -> HostName {
    format!("host-{number}").parse().expect("a name")
}

fn installation() -> InstallationId {
    InstallationId { pipeline: "web".parse().expect("a name"), target: "prod".parse().expect("a name") }
}

fn target() -> Target {
    let platform = TargetPlatform::Hosts {
        select: BTreeMap::new(),
        settings: HostSettings::default(),
        require_user: false,
    };
    Target {
        name: installation().target,
        agent: "cell".parse().expect("a name"),
        class: TargetClass::Prod,
        platform,
        parallel: 1,
    }
}

fn assignment(hosts: BTreeSet<HostName>) -> Assignment {
    let all = u32::try_from(hosts.len()).expect("few hosts");
    let max_unavailable = IntOrPercent::Percent(100);
    Assignment {
        id: AssignmentId(7),
        fence: FENCE,
        installation: installation(),
        run: "web#2".parse().expect("a run"),
        stage: "prod/prod".parse().expect("a stage"),
        attempt: Attempt(1),
        platform: PlatformKind::Hosts,
        action: Action::Release(NEW),
        release: Some(samples::release()),
        wave: Wave { number: 1, target_count: all, max_unavailable, ..Wave::default() },
        hosts,
        retained: BTreeSet::from([OLD, NEW]),
        committed: None,
        restore_from: None,
    }
}
