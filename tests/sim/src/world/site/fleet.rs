//! The hosts as a process of the agent sees them: their sessions, what each reported last, and the orders that wait for
//! an answer. Wired as the daemon wires them.

use std::collections::BTreeMap;

use trimaran_agent_core::driver::{CallId, Guard};
use trimaran_agent_core::{Input, Permit};
use trimaran_host_core::fleet::{Fleet, GoalAck, HostObservation, SendGoal};
use trimaran_model::action::Failure;
use trimaran_model::assignment::HostReport;
use trimaran_model::id::{AssignmentId, HostName, InstallationId};
use trimaran_model::limits::RUNNER_FRAME_BYTES_MAX;
use trimaran_model::time::Timestamp;
use trimaran_wire::codec::Message as _;
use trimaran_wire::frame::Frame;
use trimaran_wire::v1::agent::{AgentUp, RunnerState};
use trimaran_wire::v1::runner::{RunnerDown, RunnerUp};

use super::AtSite;
use super::agent::Agent;
use super::network::{Between, End};
use super::seen::{Asked, Seen};

impl Agent {
    fn observation(&self, host: &HostName, installation: &InstallationId) -> Option<HostObservation> {
        let seen = self.hosts.get(host)?;
        Some(HostObservation {
            host: host.clone(),
            connected: seen.link.is_some(),
            since: seen.since,
            session: seen.session,
            report: seen.reports.get(installation).cloned(),
        })
    }

    /// Shows a host to those who watch it.
    fn show(&self, host: &HostName) -> Vec<Input<Fleet>> {
        let watching = self.watches.iter().filter(|(_, watched)| watched.hosts.contains(host));
        let shown = watching.filter_map(|(assignment, watched)| {
            let snapshot = self.observation(host, &watched.installation)?;
            Some(Input::Observed { assignment: *assignment, snapshot })
        });
        shown.collect()
    }

    fn welcome(&self, host: &HostName, now: Timestamp) -> RunnerDown {
        let enrolled = self.inventory.as_ref().and_then(|inventory| inventory.get(host));
        let labels = enrolled.map(|it| it.labels.clone()).unwrap_or_default();
        let (epoch, incarnation) = self.cluster;
        RunnerDown::Welcome { labels, wall_ms: Some(self.wall(now).0), epoch: epoch.0, incarnation }
    }
}

impl AtSite<'_> {
    fn host_name(&mut self, host: usize) -> HostName {
        self.site.hosts[host].name.clone()
    }

    /// A frame of a runner arrives.
    pub(crate) fn agent_receives_from_host(&mut self, process: u64, host: usize, link: u64, bytes: &[u8]) {
        let (frame, _) = Frame::decode(bytes, RUNNER_FRAME_BYTES_MAX).expect("a frame of the runner");
        let message = RunnerUp::from_frame(&frame).expect("a message of the runner");
        let (name, now) = (self.host_name(host), self.now);
        let Some(agent) = self.agent(process) else { return };
        let at = agent.now(now);
        if let RunnerUp::Hello { incarnation, address, reports, .. } = message {
            let reports: Vec<HostReport> =
                reports.into_iter().map(|it| it.try_into().expect("what was written")).collect();
            return self.on_hello(process, (host, link), (incarnation, address), reports);
        }
        let wall = agent.wall(at);
        let Some(seen) = agent.hosts.get_mut(&name).filter(|seen| seen.link == Some(link)) else { return };
        seen.last_seen = wall;
        match message {
            RunnerUp::Report(report) => {
                let report = HostReport::try_from(report).expect("what was written");
                seen.reports.insert(report.installation.clone(), report.clone());
                let change = agent.health.on_report(at, &name, &report);
                let inputs = agent.show(&name);
                self.send_verdicts(process, change);
                self.feed(process, inputs);
            }
            RunnerUp::Answer { sequence, refused } => {
                let Some(Asked { call: Some((assignment, call)), .. }) = seen.asked.remove(&sequence) else {
                    return;
                };
                let refused = refused.map(|it| Failure {
                    instance: Some((&name).into()),
                    ..Failure::try_from(it).expect("what was written")
                });
                let reply = refused.map_or(GoalAck::Accepted, GoalAck::Refused);
                self.feed(process, vec![Input::Reply { assignment, call, reply }]);
            }
            RunnerUp::Hello { .. } => {}
        }
    }

    fn on_hello(
        &mut self,
        process: u64,
        (host, link): (usize, u64),
        (incarnation, address): (u64, String),
        reports: Vec<HostReport>,
    ) {
        let (name, now) = (self.host_name(host), self.now);
        let Some(agent) = self.agent(process) else { return };
        if agent.inventory.as_ref().is_some_and(|inventory| !inventory.contains_key(&name)) {
            // It may have enrolled a moment ago, before this agent is notified.
            return self.close_link(link, End::Listener, false);
        }
        // The old session and its calls end before the new one speaks.
        if let Some(old) = agent.hosts.get(&name).and_then(|seen| seen.link) {
            self.close_link(old, End::Listener, false);
            self.agent_loses_host(process, host, old);
        }
        let Some(agent) = self.agent(process) else { return };
        let at = agent.now(now);
        let wall = agent.wall(at);
        let seen = agent.hosts.entry(name.clone()).or_default();
        (seen.link, seen.session, seen.since) = (Some(link), link, at);
        (seen.incarnation, seen.address, seen.last_seen) = (incarnation, address, wall);
        (seen.sequence, seen.asked) = (0, BTreeMap::new());
        seen.reports = reports.iter().map(|it| (it.installation.clone(), it.clone())).collect();
        let welcome = agent.welcome(&name, at);
        let changes = agent.health.on_hello(at, &name, &reports);
        let inputs = agent.show(&name);
        self.send_frame(link, End::Listener, &welcome.to_frame());
        self.send_verdicts(process, changes);
        self.send_runner(process, &name);
        self.feed(process, inputs);
    }

    /// A host's session is over: its calls are lost.
    pub(crate) fn agent_loses_host(&mut self, process: u64, host: usize, link: u64) {
        let (name, now) = (self.host_name(host), self.now);
        let Some(agent) = self.agent(process) else { return };
        let at = agent.now(now);
        let Some(seen) = agent.hosts.get_mut(&name).filter(|seen| seen.link == Some(link)) else { return };
        (seen.link, seen.since) = (None, at);
        let lost = std::mem::take(&mut seen.asked);
        let mut inputs = agent.show(&name);
        let calls = lost.into_values().filter_map(|asked| asked.call);
        inputs.extend(calls.map(|(assignment, call)| Input::Lost { assignment, call }));
        let changes = agent.health.on_away(at, &name);
        self.send_verdicts(process, changes);
        self.send_runner(process, &name);
        self.feed(process, inputs);
    }

    /// A host that does not answer an order in time loses its session: the next one shows the truth.
    pub(super) fn close_overdue(&mut self, process: u64) {
        let (now, site) = (self.now, &mut *self.site);
        let Some(agent) = site.agents.get(&process) else { return };
        let at = agent.now(now);
        let late = |seen: &Seen| seen.next_deadline().is_some_and(|until| until <= at);
        let late: Vec<u64> =
            agent.hosts.values().filter(|seen| late(seen)).filter_map(|seen| seen.link).collect();
        for link in late {
            if let Some(Between::Runner { host, .. }) = self.site.network.between(link) {
                self.close_link(link, End::Listener, false);
                self.agent_loses_host(process, host, link);
            }
        }
    }

    /// Sends an order. A host without a session loses it.
    pub(super) fn send_goal(
        &mut self,
        process: u64,
        call: Option<(AssignmentId, CallId)>,
        give: SendGoal,
        permit: &Permit,
    ) -> Option<Input<Fleet>> {
        let now = self.now;
        let lost = call.map(|(assignment, call)| Input::Lost { assignment, call });
        let agent = self.agent(process)?;
        let at = agent.now(now);
        if !permit.allows(at) {
            return call.map(|(assignment, call)| Input::Unmade { assignment, call });
        }
        if *permit.guard() == Guard::Unguarded {
            agent.check_lease(now);
        }
        if let Some((assignment, _)) = call {
            let durable = agent.has_durable(assignment, give.goal.fence);
            assert!(durable, "{} gets an order of assignment {assignment}, which is not durable", give.host);
        }
        let Some(seen) = agent.hosts.get_mut(&give.host) else { return lost };
        let Some(link) = seen.link else { return lost };
        seen.sequence += 1;
        let sequence = seen.sequence;
        seen.asked.insert(sequence, Asked { call, until: permit.until() });
        let message = RunnerDown::Goal { sequence, goal: (&*give.goal).into() };
        self.note(format_args!(
            "agent {process} orders {} under fence {}",
            give.host,
            give.goal.fence.0 & 0xffff_ffff
        ));
        self.send_frame(link, End::Listener, &message.to_frame());
        None
    }

    /// Shows a new watch all its hosts. One that is not known is shown when it comes, or as absent when it had
    /// time to come.
    pub(super) fn show_all(&mut self, process: u64, assignment: AssignmentId) -> Vec<Input<Fleet>> {
        let Some(agent) = self.agent(process) else { return Vec::new() };
        let Some(watched) = agent.watches.get(&assignment) else { return Vec::new() };
        let settled = agent.reconnect_window_ends.is_none();
        let absent = |host: &HostName| HostObservation {
            host: host.clone(),
            connected: false,
            since: agent.started,
            session: 0,
            report: None,
        };
        let shown = watched.hosts.iter().filter_map(|host| {
            agent.observation(host, &watched.installation).or_else(|| settled.then(|| absent(host)))
        });
        shown.map(|snapshot| Input::Observed { assignment, snapshot }).collect()
    }

    pub(super) fn show_all_watched(&mut self, process: u64) -> Vec<Input<Fleet>> {
        let watches = self.agent(process).map(|agent| agent.watches.keys().copied().collect::<Vec<_>>());
        watches.unwrap_or_default().into_iter().flat_map(|it| self.show_all(process, it)).collect()
    }

    /// Hosts are notified of the state of the cluster that is obeyed, ahead of the orders that follow from it.
    pub(super) fn welcome_hosts(&mut self, process: u64) {
        let now = self.now;
        let Some(agent) = self.agent(process) else { return };
        let at = agent.now(now);
        let welcome = |(host, seen): (&HostName, &Seen)| Some((seen.link?, agent.welcome(host, at)));
        let messages: Vec<_> = agent.hosts.iter().filter_map(welcome).collect();
        for (link, message) in messages {
            self.send_frame(link, End::Listener, &message.to_frame());
        }
    }

    /// Which runners are there, for the coordinators.
    pub(super) fn runner_states(&mut self, process: u64) -> Vec<RunnerState> {
        let Some(agent) = self.agent(process) else { return Vec::new() };
        let mut states: Vec<_> = agent.hosts.iter().map(|(host, seen)| state(host, Some(seen))).collect();
        if agent.reconnect_window_ends.is_none() {
            // Those that did not come in the time that they had are away, too.
            let enrolled = agent.inventory.iter().flat_map(|inventory| inventory.keys());
            let never = enrolled.filter(|host| !agent.hosts.contains_key(*host));
            states.extend(never.map(|host| state(host, None)));
        }
        states
    }

    fn send_runner(&mut self, process: u64, host: &HostName) {
        let Some(agent) = self.agent(process).filter(|agent| agent.is_welcomed()) else { return };
        let state = state(host, agent.hosts.get(host));
        self.up(process, AgentUp::Runners(vec![state]));
    }
}

fn state(host: &HostName, seen: Option<&Seen>) -> RunnerState {
    RunnerState {
        name: host.to_string(),
        connected: seen.is_some_and(|seen| seen.link.is_some()),
        incarnation: seen.map_or(0, |seen| seen.incarnation),
        address: seen.map(|seen| seen.address.clone()).unwrap_or_default(),
        last_seen_ms: seen.map_or(0, |seen| seen.last_seen.0),
        facts: BTreeMap::new(),
    }
}
