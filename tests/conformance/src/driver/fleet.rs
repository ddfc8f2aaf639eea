//! The fleet loop with hosts that obey: one of them never becomes healthy with the new release and reverts, or does not come
//! back from its restart.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_agent_core::driver::Journaled as _;
use trimaran_host_core::fleet::{Fleet, GoalAck, HostObservation, Phase, SendGoal, Watched};
use trimaran_model::action::{Action, Commit, Outcome, Wave};
use trimaran_model::amount::IntOrPercent;
use trimaran_model::assignment::{Assignment, HostAction, HostReport, HostState};
use trimaran_model::id::{AssignmentId, Attempt, Digest, Fence, HostName, InstallationId};
use trimaran_model::reason::ReasonCode;
use trimaran_model::target::PlatformKind;
use trimaran_model::time::{Millis, Timestamp};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::agent_journal::FleetPhase;

use super::{Finished, Model, Which, samples};

const OLD: Digest = Digest([1; 32]);
const NEW: Digest = Digest([2; 32]);
const HOSTS: [&str; 3] = ["host-1", "host-2", "host-3"];
/// Reverts the new release, or does not come back from the first restart.
const SICK: &str = "host-2";
const PREPARE_TAKES: Millis = Millis(300);
const CHANGE_TAKES: Millis = Millis::seconds(1);

struct Host {
    report: HostReport,
    /// When the report changes, and to what.
    next: Option<(Timestamp, HostReport)>,
    /// Fences of the disruptive goals that it has accepted.
    accepted: BTreeSet<Fence>,
}

/// What the two orders are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Story {
    /// A release that its hosts leave again.
    Release,
    /// What runs is restarted, and then by a second order again.
    Restart,
    /// The release of a superseded deploy is restarted where it runs by then.
    RestartOfARelease,
}

pub struct FleetModel {
    story: Story,
    hosts: BTreeMap<HostName, Host>,
    watched: BTreeSet<HostName>,
    shown: BTreeMap<HostName, HostReport>,
}

fn installation() -> InstallationId {
    InstallationId { pipeline: "web".parse().expect("a name"), target: "prod".parse().expect("a name") }
}

fn healthy(digest: Digest, fence: Fence) -> HostReport {
    let order = (AssignmentId(fence.0), fence);
    samples::report(installation(), order, (HostState::Healthy, Some(digest)))
}

impl FleetModel {
    pub fn new() -> Self {
        Self::with(Story::Release)
    }

    pub fn restarting() -> Self {
        Self::with(Story::Restart)
    }

    pub fn restarting_a_release() -> Self {
        Self::with(Story::RestartOfARelease)
    }

    fn with(story: Story) -> Self {
        let host = |name: &str| {
            let report = healthy(OLD, Fence(0));
            (name.parse().expect("a name"), Host { report, next: None, accepted: BTreeSet::new() })
        };
        Self {
            story,
            hosts: HOSTS.into_iter().map(host).collect(),
            watched: BTreeSet::new(),
            shown: BTreeMap::new(),
        }
    }
}

impl Default for FleetModel {
    fn default() -> Self {
        Self::new()
    }
}

impl FleetModel {
    /// Whether the order restarted exactly the hosts that run the release, and all that can came back.
    fn are_restarted(&self, which: Which, release: Digest) -> bool {
        let fence = Fence(which as u64 + 1);
        self.hosts.iter().all(|(name, host)| {
            let stays_down = which == Which::First && name.as_str() == SICK;
            let state = if stays_down { HostState::Broken } else { HostState::Healthy };
            match host.report.current == Some(release) {
                true => host.accepted.contains(&fence) && host.report.state == state,
                false => !host.accepted.contains(&fence),
            }
        })
    }
}

impl Host {
    /// What is over by now.
    fn catch_up(&mut self, now: Timestamp) {
        if let Some((_, report)) = self.next.take_if(|(at, _)| *at <= now) {
            self.report = report;
        }
    }

    fn accept(&mut self, now: Timestamp, name: &HostName, call: &SendGoal) -> Result<GoalAck, String> {
        let goal = &call.goal;
        if goal.fence < self.report.fence {
            let failure = samples::failure(ReasonCode::Fenced, name);
            return Ok(GoalAck::Refused(failure));
        }
        let base = HostReport { fence: goal.fence, assignment: goal.assignment, ..self.report.clone() };
        let digest = goal.action.order().map(|order| order.digest);
        match &goal.action {
            HostAction::Prepare(_) => {
                self.report = HostReport { disruptive: false, ..base };
                let done = HostReport { prepared: digest, ..self.report.clone() };
                self.next = Some((now + PREPARE_TAKES, done));
            }
            HostAction::Apply(_) | HostAction::Restore(_) => {
                if !self.accepted.insert(goal.fence) {
                    return Err(format!("{name} was ordered a second time under {}", goal.fence));
                }
                self.report = HostReport { disruptive: true, state: HostState::Updating, ..base.clone() };
                let reverts = name.as_str() == SICK && digest == Some(NEW);
                let done = match reverts {
                    true => HostReport {
                        disruptive: true,
                        state: HostState::Reverted,
                        code: Some(ReasonCode::ProbeFailed),
                        ..base
                    },
                    false => {
                        HostReport { disruptive: true, state: HostState::Healthy, current: digest, ..base }
                    }
                };
                self.next = Some((now + CHANGE_TAKES, done));
            }
            HostAction::Restart => {
                if !self.accepted.insert(goal.fence) {
                    return Err(format!("{name} was restarted a second time under {}", goal.fence));
                }
                self.report = HostReport { disruptive: true, state: HostState::Updating, ..base.clone() };
                let stays_down = name.as_str() == SICK && goal.fence == Fence(1);
                let (state, code) = match stays_down {
                    true => (HostState::Broken, Some(ReasonCode::ProbeFailed)),
                    false => (HostState::Healthy, None),
                };
                self.next = Some((now + CHANGE_TAKES, HostReport { disruptive: true, state, code, ..base }));
            }
            HostAction::Stop { .. } | HostAction::Verify => {
                return Err("it was not asked for".to_owned());
            }
        }
        Ok(GoalAck::Accepted)
    }
}

impl Model for FleetModel {
    type Driver = Fleet;

    fn driver(&self) -> &Fleet {
        &Fleet
    }

    fn order(&self, which: Which, committed: Option<Commit>) -> Assignment {
        let number = which as u64 + 1;
        // What the log has of this order's failures is not charged twice.
        let own = committed.as_ref().filter(|commit| commit.assignment.0 == number);
        let failed: Vec<HostName> = own.map(|_| SICK.parse().expect("a name")).into_iter().collect();
        let (action, release) = match (self.story, which) {
            (Story::Release | Story::RestartOfARelease, Which::First) => {
                (Action::Release(NEW), Some(samples::release()))
            }
            (Story::Release, Which::Second) => (Action::Restore(OLD), Some(samples::release())),
            (Story::Restart, _) => (Action::Restart(OLD), None),
            (Story::RestartOfARelease, Which::Second) => (Action::Restart(NEW), None),
        };
        Assignment {
            id: AssignmentId(number),
            fence: Fence(number),
            installation: installation(),
            run: "web#2".parse().expect("a run"),
            stage: "prod/prod".parse().expect("a stage"),
            attempt: Attempt(1),
            platform: PlatformKind::Hosts,
            action,
            release,
            wave: Wave {
                number: 1,
                target_count: 3,
                // The one that stays down takes one.
                max_unavailable: IntOrPercent::Count(if self.story == Story::Restart { 2 } else { 1 }),
                failures_left: 1 - u32::try_from(failed.len()).expect("one at most"),
                failed,
                ..Wave::default()
            },
            hosts: HOSTS.into_iter().map(|name| name.parse().expect("a name")).collect(),
            retained: BTreeSet::from([OLD, NEW]),
            committed,
            restore_from: None,
        }
    }

    fn save(&self, phase: &Phase) -> Vec<u8> {
        Fleet.save(phase)
    }

    fn load(&self, order: &Assignment, bytes: &[u8]) -> Phase {
        Fleet.load(order, bytes).expect("its own bytes")
    }

    fn call(&mut self, now: Timestamp, _: Which, call: SendGoal) -> Result<(GoalAck, Millis), String> {
        let host = self.hosts.get_mut(&call.host).expect("a host of the target");
        host.catch_up(now);
        Ok((host.accept(now, &call.host, &call)?, Millis(10)))
    }

    fn watch(&mut self, query: Watched) {
        // A new watch is shown everything.
        self.watched = query.hosts;
        self.shown.clear();
    }

    fn observations(&mut self, now: Timestamp) -> Vec<HostObservation> {
        let mut changed = Vec::new();
        for (name, host) in &mut self.hosts {
            host.catch_up(now);
            if self.watched.contains(name) && self.shown.get(name) != Some(&host.report) {
                self.shown.insert(name.clone(), host.report.clone());
                let report = Some(host.report.clone());
                changed.push(HostObservation {
                    host: name.clone(),
                    connected: true,
                    since: now,
                    session: 1,
                    report,
                });
            }
        }
        changed
    }

    fn next_change(&self, _: Timestamp) -> Option<Timestamp> {
        self.hosts.values().filter_map(|host| host.next.as_ref()).map(|(at, _)| *at).min()
    }

    fn crashed(&mut self) {
        self.watched.clear();
        self.shown.clear();
    }

    fn is_covered(&self, durable: Option<&Phase>, call: &SendGoal) -> bool {
        if matches!(call.goal.action, HostAction::Prepare(_)) {
            return true;
        }
        let kept = durable.map(|phase| FleetPhase::from_bytes(&Fleet.save(phase)).expect("its own bytes"));
        kept.is_some_and(|kept| kept.ordered.iter().any(|name| name == call.host.as_str()))
    }

    fn needs_lease(&self, call: &SendGoal) -> bool {
        !matches!(call.goal.action, HostAction::Prepare(_))
    }

    fn starts(&self, _: &SendGoal) -> bool {
        true
    }

    fn verify(&self, finished: &Finished, _: &Phase) -> Result<(), String> {
        let current: Vec<Option<Digest>> = self.hosts.values().map(|host| host.report.current).collect();
        let is_as_wanted = match (self.story, finished.which) {
            (Story::Release | Story::RestartOfARelease, Which::First) => {
                current == [Some(NEW), Some(OLD), Some(NEW)]
            }
            (Story::Release, Which::Second) => current == [Some(OLD); 3],
            (Story::Restart, which) => self.are_restarted(which, OLD),
            (Story::RestartOfARelease, which) => self.are_restarted(which, NEW),
        };
        // The deploy may have been superseded before it had brought its release anywhere.
        let runs_nowhere = self.story == Story::RestartOfARelease && !current.contains(&Some(NEW));
        match &finished.outcome {
            Some(Outcome::Done) if is_as_wanted => Ok(()),
            Some(Outcome::Stopped) if finished.canceled => Ok(()),
            Some(Outcome::Fault(why)) if runs_nowhere && why.code == ReasonCode::OrderRefused => Ok(()),
            other => Err(format!("it ended with {other:?}, and the hosts have {current:?}")),
        }
    }
}
