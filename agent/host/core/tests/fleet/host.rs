//! A model host: takes goals by their fence, needs time for everything, and counts its starts.

use std::collections::BTreeSet;

use trimaran_model::action::Failure;
use trimaran_model::assignment::{HostAction, HostGoal, HostReport, HostState};
use trimaran_model::id::{AssignmentId, Digest, Fence, HostName, InstallationId};
use trimaran_model::pipeline::{
    HealthCheck, Lifecycle, Probe, Process, Restart, RestartOn, Stop, StopSignal,
};
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::{Artifact, ArtifactLocation, HostRelease, Release, ReleaseWorkload};
use trimaran_model::time::Millis;

use crate::world::{Event, Mutant, NEW, OLD, World};

pub(crate) fn installation() -> InstallationId {
    InstallationId { pipeline: "web".parse().expect("a name"), target: "prod".parse().expect("a name") }
}

pub(crate) fn release() -> Release {
    let second = Millis::seconds(1);
    Release {
        pipeline: "web".parse().expect("a name"),
        target: "prod".parse().expect("a name"),
        version: "v2".into(),
        workload: ReleaseWorkload::Host(HostRelease {
            bundle: Artifact {
                name: "bundle".parse().expect("a name"),
                version: "v2".into(),
                sha256: NEW,
                location: ArtifactLocation::Path("/srv/web".into()),
            },
            process: Process::new(
                vec!["web".into()],
                Stop { signal: StopSignal::Term, grace: second },
                Restart { on: RestartOn::Never, delay: second, max: 0, per: second },
            ),
            health: HealthCheck::ready(Probe::get(80, "/", second, second), second, second),
            lifecycle: Lifecycle::default(),
        }),
    }
}

#[derive(Debug)]
pub(crate) enum HostMessage {
    Hello(HostReport),
    Report(HostReport),
    Answer { sequence: u64, refused: Option<Failure> },
}

pub(crate) struct Host {
    /// The new release does not work here.
    bad: bool,
    pub(crate) disk_full: bool,
    silent_until: u64,
    pub(crate) session: Option<(u64, usize)>,
    pub(crate) report: HostReport,
    goal: Option<HostGoal>,
    next: Option<HostGoal>,
    /// What ran before the goal at work.
    before: Digest,
    /// What ran before the preparation at work was degraded.
    sick: bool,
    generation: u64,
    /// Releases started for good or bad, by fence.
    started: BTreeSet<(Fence, bool)>,
    /// The fence of the last restart that ended well.
    restarted: Option<Fence>,
}

impl Host {
    pub(crate) fn new(bad: bool) -> Self {
        let report = HostReport {
            installation: installation(),
            fence: Fence(1),
            assignment: AssignmentId(0),
            disruptive: true,
            state: HostState::Healthy,
            current: Some(OLD),
            prepared: None,
            code: None,
            message: String::new(),
            restarting: false,
        };
        Self {
            bad,
            disk_full: false,
            silent_until: 0,
            session: None,
            report,
            goal: None,
            next: None,
            before: OLD,
            sick: false,
            generation: 0,
            started: BTreeSet::new(),
            restarted: None,
        }
    }

    fn moves_to(&self) -> Option<Digest> {
        match (&self.goal.as_ref()?.action, self.report.state) {
            (HostAction::Apply(order) | HostAction::Restore(order), HostState::Updating) => {
                Some(order.digest)
            }
            _ => None,
        }
    }
}

impl World {
    fn host(&mut self, name: &HostName) -> &mut Host {
        self.hosts.get_mut(name).expect("known")
    }

    pub(crate) fn host_dials(&mut self, name: &HostName) {
        let now = self.now;
        if self.host(name).session.is_some() {
            return;
        }
        let Some(agent) = self.current_agent().filter(|_| self.hosts[name].silent_until <= now) else {
            return self.after(500, Event::HostDials { host: name.clone() });
        };
        let session = self.new_session();
        let hello = HostMessage::Hello(self.hosts[name].report.clone());
        self.host(name).session = Some((session, agent));
        self.send(session * 2 + 1, Event::FromHost { agent, host: name.clone(), session, message: hello });
    }

    pub(crate) fn host_loses_agent(&mut self, name: &HostName, session: u64) {
        if self.host(name).session.is_some_and(|(current, _)| current == session) {
            self.host(name).session = None;
            let delay = self.below(800);
            self.after(delay, Event::HostDials { host: name.clone() });
        }
    }

    fn say(&mut self, name: &HostName, message: HostMessage) {
        let Some((session, agent)) = self.hosts[name].session else { return };
        self.send(session * 2 + 1, Event::FromHost { agent, host: name.clone(), session, message });
    }

    fn say_report(&mut self, name: &HostName) {
        let report = self.hosts[name].report.clone();
        self.say(name, HostMessage::Report(report));
    }

    pub(crate) fn host_receives(&mut self, name: &HostName, session: u64, sequence: u64, goal: HostGoal) {
        let current = self.hosts[name].session.is_some_and(|(current, _)| current == session);
        if !current && self.mutant != Mutant::OldSession {
            return;
        }
        let refused = self.admit(name, goal);
        self.say(name, HostMessage::Answer { sequence, refused });
    }

    fn admit(&mut self, name: &HostName, goal: HostGoal) -> Option<Failure> {
        let host = self.host(name);
        if goal.fence < host.report.fence {
            let message = format!("fence {} is lower than {}", goal.fence, host.report.fence);
            return Some(Failure { code: ReasonCode::Fenced, message, instance: None });
        }
        let known = host.next.as_ref().or(host.goal.as_ref());
        let prepares = |goal: &HostGoal| matches!(goal.action, HostAction::Prepare(_));
        if goal.fence == host.report.fence && !known.is_none_or(|known| prepares(known) && !prepares(&goal)) {
            return None;
        }
        (host.report.fence, host.report.assignment) = (goal.fence, goal.assignment);
        host.report.disruptive = !prepares(&goal);
        host.report.code = None;
        if host.report.state == HostState::Updating
            || host.report.state == HostState::Preparing && prepares(&goal)
        {
            host.next = Some(goal);
        } else {
            self.begin(name, goal);
        }
        self.say_report(name);
        None
    }

    fn begin(&mut self, name: &HostName, goal: HostGoal) {
        let action = goal.action.clone();
        let delay = match &action {
            HostAction::Prepare(_) => 50 + self.below(2_000),
            _ => 300 + self.below(4_000),
        };
        match &action {
            HostAction::Prepare(_) => {
                let host = self.host(name);
                host.sick = host.report.state == HostState::Degraded;
                host.report.state = HostState::Preparing;
            }
            HostAction::Apply(order) | HostAction::Restore(order) => {
                self.check_start(name, &goal, order.digest);
                let host = self.host(name);
                host.before = host.report.current.unwrap_or(OLD);
                host.report.state = HostState::Updating;
            }
            HostAction::Restart => {
                let current = self.hosts[name].report.current.unwrap_or(OLD);
                self.check_start(name, &goal, current);
                if self.hosts[name].restarted.is_some_and(|fence| fence >= self.attempt_since()) {
                    self.check_restart_again(name);
                }
                self.host(name).report.state = HostState::Updating;
            }
            HostAction::Stop { .. } | HostAction::Verify => {}
        }
        let host = self.host(name);
        host.goal = Some(goal);
        host.generation += 1;
        let generation = host.generation;
        self.after(delay, Event::HostStep { host: name.clone(), generation });
    }

    pub(crate) fn host_steps(&mut self, name: &HostName, generation: u64) {
        let host = self.host(name);
        if host.generation != generation {
            return;
        }
        let Some(goal) = host.goal.clone() else { return };
        let report = &mut host.report;
        match goal.action {
            HostAction::Prepare(_) if host.disk_full => {
                (report.state, report.code) = (HostState::Refused, Some(ReasonCode::PreflightDisk));
                // A user frees space.
                host.disk_full = false;
            }
            HostAction::Prepare(order) => {
                report.prepared = Some(order.digest);
                report.code = host.sick.then_some(ReasonCode::ProbeFailed);
                report.state = if host.sick { HostState::Degraded } else { HostState::Healthy };
            }
            HostAction::Apply(order) if host.bad && order.digest == NEW => {
                (report.state, report.current) = (HostState::Reverted, Some(host.before));
                report.code = Some(ReasonCode::ProbeFailed);
            }
            HostAction::Apply(order) | HostAction::Restore(order) => {
                (report.state, report.current) = (HostState::Healthy, Some(order.digest));
            }
            HostAction::Restart => {
                report.state = HostState::Healthy;
                host.restarted = Some(goal.fence);
            }
            HostAction::Stop { .. } | HostAction::Verify => {}
        }
        let (state, next) = (report.state.as_str(), host.next.take());
        self.note(format!("{name} is {state}"));
        if let Some(next) = next {
            self.host(name).report.code = None;
            self.begin(name, next);
        }
        self.say_report(name);
    }

    /// The invariants at the start of a release.
    fn check_start(&mut self, name: &HostName, goal: &HostGoal, digest: Digest) {
        self.starts += 1;
        let assignment = self.coordinator.given[&goal.assignment].clone();
        let first = self.host(name).started.insert((goal.fence, digest == NEW));
        if !first {
            self.violate(format!("{name} starts twice under fence {}", goal.fence));
        }
        let others = || self.hosts.iter().filter(|(other, _)| *other != name);
        let down = others().filter(|(_, host)| host.report.state == HostState::Updating).count();
        let allowed = self.coordinator.max_unavailable as usize;
        if down + 1 > allowed {
            return self.violate(format!("{name} is taken down beside {down} others, {allowed} allowed"));
        }
        if digest != NEW {
            return;
        }
        // Who has started with nothing can't know of a host that says nothing for longer than it waits.
        let agent = self.hosts[name].session.map_or(0, |(_, agent)| agent);
        let known = |other: &HostName| self.agents[agent].knows(other, self.now);
        let on_new = |host: &Host| host.report.current == Some(NEW) || host.moves_to() == Some(NEW);
        let count = others().filter(|(other, host)| on_new(host) && known(other)).count() + 1;
        // A host that was left behind in the middle of its work may have the release beside those that the wave wants.
        let left_behind = self.coordinator.max_lost as usize;
        if count > assignment.wave.target_count as usize + left_behind {
            self.violate(format!(
                "{count} hosts on the release, the wave wants {}",
                assignment.wave.target_count
            ));
        }
        let failed = self
            .hosts
            .values()
            .filter(|host| host.report.state == HostState::Reverted && host.report.current == Some(OLD));
        let spent = failed.count();
        if spent > self.coordinator.max_failures as usize + allowed {
            self.violate(format!("{name} starts although {spent} hosts have failed"));
        }
        let acknowledged = &self.coordinator.acknowledged;
        if acknowledged.contains(name) || acknowledged.len() > self.coordinator.max_failures as usize {
            self.violate(format!("{name} starts although these failed: {acknowledged:?}"));
        }
        let later = self.coordinator.given.keys().next_back().copied();
        if later > Some(goal.assignment)
            && !self.is_live(goal.assignment)
            && self.hosts[name].started.iter().any(|(fence, new)| *fence > goal.fence && !new)
        {
            self.violate(format!("{name} starts the release after its rollback"));
        }
    }

    /// What was restarted well in this attempt is restarted again only where it degraded since.
    fn check_restart_again(&mut self, name: &HostName) {
        if self.hosts[name].report.state == HostState::Healthy {
            self.violate(format!("{name} was restarted in this attempt and serves, and is restarted again"));
        }
    }

    pub(crate) fn cut_host(&mut self, name: &HostName) {
        let Some((session, agent)) = self.hosts[name].session else { return };
        self.sessions.remove(&session);
        let (near, far) = (self.below(12_000), self.below(12_000));
        self.after(near, Event::HostGone { agent, host: name.clone(), session });
        self.after(far, Event::AgentGone { host: name.clone(), session });
    }

    pub(crate) fn host_falls_silent(&mut self, name: &HostName) {
        self.cut_host(name);
        let until = self.now + 5_000 + self.below(60_000);
        self.host(name).silent_until = until;
    }

    /// What runs there fails for a while.
    pub(crate) fn host_degrades(&mut self, name: &HostName) {
        let host = self.host(name);
        if host.report.state == HostState::Healthy && host.report.current == Some(OLD) {
            (host.report.state, host.report.code) = (HostState::Degraded, Some(ReasonCode::ProbeFailed));
            self.say_report(name);
        }
    }

    /// A user repairs it.
    pub(crate) fn host_recovers(&mut self, name: &HostName) {
        let host = self.host(name);
        host.disk_full = false;
        if host.report.state == HostState::Degraded {
            (host.report.state, host.report.code) = (HostState::Healthy, None);
            self.say_report(name);
        }
    }

    /// Each host is where the end of the run says.
    pub(crate) fn check_end(&mut self) -> Result<(), String> {
        let on =
            |digest: Digest| self.hosts.values().filter(|host| host.report.current == Some(digest)).count();
        let total = self.hosts.len();
        let (failed, lost) = (self.coordinator.failed.len(), self.coordinator.lost.len());
        let restarts = self.coordinator.restarts;
        let restarted = self.hosts.values().filter(|host| host.restarted.is_some()).count();
        let right = match self.coordinator.ended() {
            Some("succeeded") if restarts => {
                on(OLD) == total
                    && restarted + failed + lost >= total
                    && failed <= self.coordinator.max_failures as usize
            }
            Some("succeeded") => {
                on(NEW) + failed + lost >= total && failed <= self.coordinator.max_failures as usize
            }
            // Who was away gets it when it returns, outside of runs.
            Some("rolled_back") => on(OLD) + lost >= total,
            _ => true,
        };
        let why = || {
            format!("{:?} with {} new, {} old, {failed} failed", self.coordinator.ended(), on(NEW), on(OLD))
        };
        if right { Ok(()) } else { Err(why()) }
    }
}
