//! A fleet whose hosts say what a test has them say, with what the fleet ordered, reported and made of it.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_agent_core::driver::{CallId, Driver, Effect, Input};
use trimaran_model::action::{Action, Failure, InstanceReport, Outcome, Progress, Wave};
use trimaran_model::amount::IntOrPercent;
use trimaran_model::assignment::{Assignment, HostAction, HostReport, HostState};
use trimaran_model::id::{AssignmentId, Attempt, Digest, Fence, HostName, InstallationId};
use trimaran_model::pipeline::{
    HealthCheck, Lifecycle, Probe, Process, Restart, RestartOn, Stop, StopSignal,
};
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::{Artifact, ArtifactLocation, HostRelease, Release, ReleaseWorkload};
use trimaran_model::run::InstanceStatus;
use trimaran_model::target::PlatformKind;
use trimaran_model::time::{Millis, Timestamp};

use crate::fleet::{Fleet, GoalAck, HostObservation, Phase};

pub(in crate::fleet) const OLD: Digest = Digest([1; 32]);
pub(in crate::fleet) const NEW: Digest = Digest([2; 32]);
pub(in crate::fleet) const FENCE: Fence = Fence(10);

pub(in crate::fleet) fn release() -> Release {
    let artifact = Artifact {
        name: "bundle".parse().unwrap(),
        version: "v2".into(),
        sha256: Digest([9; 32]),
        location: ArtifactLocation::Path("/srv/web.tar.zst".into()),
    };
    let process = Process::new(
        vec!["bin/web".into()],
        Stop { signal: StopSignal::Term, grace: Millis::seconds(5) },
        Restart { on: RestartOn::Failure, delay: Millis::seconds(1), max: 5, per: Millis::minutes(10) },
    );
    let health = HealthCheck::ready(
        Probe::get(8080, "/", Millis(500), Millis::seconds(2)),
        Millis::seconds(3),
        Millis::seconds(20),
    );
    Release {
        pipeline: "web".parse().unwrap(),
        target: "prod".parse().unwrap(),
        version: "v2".into(),
        workload: ReleaseWorkload::Host(HostRelease {
            bundle: artifact,
            process,
            health,
            lifecycle: Lifecycle::default(),
        }),
    }
}

pub(in crate::fleet) fn host(n: usize) -> HostName {
    format!("host-{n}").parse().unwrap()
}

pub(in crate::fleet) fn installation() -> InstallationId {
    InstallationId { pipeline: "web".parse().unwrap(), target: "prod".parse().unwrap() }
}

pub(in crate::fleet) fn assignment(action: Action, hosts: usize, wave: Wave) -> Assignment {
    Assignment {
        id: AssignmentId(7),
        fence: FENCE,
        installation: installation(),
        run: "web#2".parse().unwrap(),
        stage: "prod/prod".parse().unwrap(),
        attempt: Attempt(1),
        platform: PlatformKind::Hosts,
        action,
        release: Some(release()),
        wave,
        hosts: (1..=hosts).map(host).collect(),
        retained: BTreeSet::from([OLD, NEW]),
        committed: None,
        restore_from: None,
    }
}

pub(in crate::fleet) fn wave(target_count: u32, max_unavailable: u32, failures_left: u32) -> Wave {
    let max_unavailable = IntOrPercent::Count(max_unavailable);
    Wave { target_count, max_unavailable, failures_left, ..Wave::default() }
}

pub(in crate::fleet) fn report(state: HostState, current: Option<Digest>, fence: Fence) -> HostReport {
    HostReport {
        installation: installation(),
        fence,
        assignment: if fence == FENCE { AssignmentId(7) } else { AssignmentId(3) },
        disruptive: !matches!(state, HostState::Empty | HostState::Preparing | HostState::Prepared),
        state,
        current,
        prepared: None,
        code: None,
        message: String::new(),
        restarting: false,
    }
}

/// One order that the fleet sent and no one answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::fleet) struct Order {
    pub(super) call: CallId,
    pub(super) host: HostName,
    pub(super) action: &'static str,
}

/// A fleet with the hosts' reports and the orders so far.
pub(in crate::fleet) struct World {
    pub(super) phase: Phase,
    pub(super) now: Timestamp,
    pub(super) reports: BTreeMap<HostName, HostReport>,
    pub(super) orders: Vec<Order>,
    pub(super) commits: Vec<Progress>,
    pub(super) bodies: Vec<Vec<u8>>,
    /// As the next report has it, or the last one at the end.
    pub(super) progress: Option<Progress>,
    /// What was reported, and when.
    pub(super) reports_made: Vec<(Timestamp, Progress)>,
    pub(super) outcome: Option<Outcome>,
    pub(super) wake: Option<Timestamp>,
}

impl World {
    /// All hosts run the old release, healthy; the lease is live.
    pub(super) fn new(assignment: Assignment) -> Self {
        let mut world = Self::silent(assignment);
        for name in world.phase.assignment.hosts.clone() {
            world.reports.insert(name.clone(), report(HostState::Healthy, Some(OLD), Fence(5)));
            world.show(&name, true);
        }
        world.feed(Input::LeaseBack);
        world
    }

    /// No host has reported.
    pub(super) fn silent(assignment: Assignment) -> Self {
        let mut out = Vec::new();
        let phase = Fleet.begin(Timestamp(0), &assignment, None, &mut out);
        let mut world = Self {
            phase,
            now: Timestamp(0),
            reports: BTreeMap::new(),
            orders: Vec::new(),
            commits: Vec::new(),
            bodies: Vec::new(),
            progress: None,
            reports_made: Vec::new(),
            outcome: None,
            wake: None,
        };
        world.take(out);
        world
    }

    pub(super) fn take(&mut self, out: crate::fleet::Effects) {
        for effect in out {
            assert!(self.outcome.is_none(), "nothing follows the end: {effect:?}");
            match effect {
                Effect::Call { id, call, .. } => {
                    let action = match call.goal.action {
                        HostAction::Prepare(_) => "prepare",
                        HostAction::Apply(_) => "apply",
                        HostAction::Restore(_) => "restore",
                        HostAction::Restart => "restart",
                        HostAction::Stop { .. } => "stop",
                        HostAction::Verify => "verify",
                    };
                    self.orders.push(Order { call: id, host: call.host, action });
                }
                Effect::Report(progress) => {
                    self.progress = Some(progress.clone());
                    self.reports_made.push((self.now, progress));
                }
                Effect::Commit { body, progress, .. } => {
                    self.commits.push(progress);
                    self.bodies.push(body);
                }
                Effect::Done(outcome) => self.outcome = Some(outcome),
                Effect::WakeAt(at) => self.wake = Some(at),
                Effect::Persist | Effect::Watch(_) => {}
            }
        }
    }

    pub(super) fn feed(&mut self, input: Input<GoalAck, HostObservation>) {
        let mut out = Vec::new();
        Fleet.step(&mut self.phase, self.now, input, &mut out);
        assert_eq!(self.phase.index, self.phase.recounted(), "the index is what a recount gives");
        self.take(out);
        if self.outcome.is_none() && self.phase.index.all_observed() {
            self.progress = Some(self.phase.progress());
        }
    }

    pub(super) fn show(&mut self, name: &HostName, connected: bool) {
        let report = self.reports.get(name).cloned();
        let since = self.now;
        let session = u64::from(connected || report.is_some());
        self.feed(Input::Observed(HostObservation { host: name.clone(), connected, since, session, report }));
    }

    pub(super) fn say(&mut self, name: &HostName, report: HostReport) {
        self.reports.insert(name.clone(), report);
        self.show(name, true);
    }

    pub(super) fn say_state(&mut self, name: &HostName, state: HostState, current: Digest) {
        self.say(name, report(state, Some(current), FENCE));
    }

    pub(super) fn say_prepared(&mut self, name: &HostName) {
        let current = self.reports.get(name).and_then(|report| report.current);
        let state = if current.is_some() { HostState::Healthy } else { HostState::Prepared };
        self.say(
            name,
            HostReport { disruptive: false, prepared: Some(NEW), ..report(state, current, FENCE) },
        );
    }

    pub(super) fn say_failed(&mut self, name: &HostName, state: HostState, code: ReasonCode) {
        let report =
            HostReport { code: Some(code), message: "503".into(), ..report(state, Some(OLD), FENCE) };
        self.say(name, report);
    }

    /// Takes the orders that were given since.
    pub(super) fn ordered(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    /// Answers all orders with `Accepted`; prepared hosts say so. Returns who was ordered to execute.
    pub(super) fn obey(&mut self) -> Vec<HostName> {
        let mut acting = Vec::new();
        while !self.orders.is_empty() {
            for order in self.ordered() {
                self.feed(Input::Reply(order.call, GoalAck::Accepted));
                if order.action == "prepare" {
                    self.say_prepared(&order.host);
                } else {
                    self.say_state(&order.host, HostState::Updating, OLD);
                    acting.push(order.host);
                }
            }
        }
        acting
    }

    pub(super) fn pass(&mut self, time: Millis) {
        let until = self.now + time;
        while let Some(at) = self.wake.take_if(|at| *at <= until) {
            self.now = at;
            self.feed(Input::Due);
        }
        self.now = until;
    }

    /// How the assignment ended, and by which code when by one.
    pub(super) fn ended(&self) -> Option<(&'static str, ReasonCode)> {
        match self.outcome.as_ref()? {
            Outcome::Done => Some(("done", ReasonCode::Settle)),
            Outcome::Stopped => Some(("stopped", ReasonCode::Settle)),
            Outcome::Failed(Failure { code, .. }) => Some(("failed", *code)),
            Outcome::Fault(Failure { code, .. }) => Some(("fault", *code)),
        }
    }

    pub(super) fn status(&self, name: &HostName) -> InstanceStatus {
        self.instance(name).status
    }

    pub(super) fn instance(&self, name: &HostName) -> &InstanceReport {
        let instances = &self.progress.as_ref().expect("progress").instances;
        instances.iter().find(|it| it.name == *name).expect("named")
    }
}
