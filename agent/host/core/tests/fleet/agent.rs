//! An agent's process: the real executor and fleet loop, wired like the daemon, on a disk with a volatile half.

use std::collections::BTreeMap;

use trimaran_agent_core::driver::CallId;
use trimaran_agent_core::{Executor, Input, Output};
use trimaran_host_core::fleet::{Fleet, GoalAck, HostObservation, SendGoal, Watched};
use trimaran_model::assignment::{Assignment, HostAction, HostGoal, HostReport};
use trimaran_model::id::{AssignmentId, Epoch, Fence, HostName};
use trimaran_model::limits::{HOST_LOST_AFTER, LEASE, LEASE_PING};
use trimaran_model::target::Target;
use trimaran_model::time::Timestamp;
use trimaran_wire::v1::agent::{AgentDown, AgentUp, KnownCluster};
use trimaran_wire::v1::agent_journal::JournalRecord;

use crate::host::HostMessage;
use crate::world::{Event, Mutant, World};

/// Runners are back within this time after a start of the agent.
const SETTLE: u64 = 6_000;
/// One order of so many is overtaken by the end of its session.
const LATE_ORDERS: u64 = 25;

pub(crate) struct Agent {
    pub(crate) alive: bool,
    /// SIGSTOP: nothing is read until then, and what came waits.
    pub(crate) paused_until: Option<u64>,
    /// The session with the coordinator.
    pub(crate) coordinator: Option<u64>,
    executor: Executor<Fleet>,
    incarnation: u64,
    /// The directory: what is durable, and what is being written.
    durable: Vec<JournalRecord>,
    writing: Vec<(u64, bool, Vec<JournalRecord>)>,
    hosts: BTreeMap<HostName, Seen>,
    watches: BTreeMap<AssignmentId, Watched>,
    started: u64,
    settles_at: u64,
    next_ping: u64,
    due_at: Option<u64>,
    /// The sending of the last ping that was answered: the truth of the lease.
    answered_at: u64,
    waiting: Vec<Event>,
}

#[derive(Default)]
struct Seen {
    session: Option<u64>,
    /// Since when it is connected or away.
    since: u64,
    report: Option<HostReport>,
    sequence: u64,
    asked: BTreeMap<u64, (AssignmentId, CallId, u64)>,
}

impl Agent {
    fn observation(&self, host: &HostName) -> Option<HostObservation> {
        let seen = self.hosts.get(host)?;
        Some(HostObservation {
            host: host.clone(),
            connected: seen.session.is_some(),
            since: Timestamp(seen.since),
            session: seen.session.unwrap_or(0),
            report: seen.report.clone(),
        })
    }

    /// Whether a host has connected to it, or has not waited for it long enough.
    pub(crate) fn knows(&self, host: &HostName, now: u64) -> bool {
        self.hosts.contains_key(host) || now < self.started + HOST_LOST_AFTER.0
    }

    fn show(&self, host: &HostName) -> Vec<Input<Fleet>> {
        let watching = self.watches.keys();
        watching
            .filter_map(|assignment| {
                Some(Input::Observed { assignment: *assignment, snapshot: self.observation(host)? })
            })
            .collect()
    }
}

impl World {
    /// Starts a process on a directory.
    pub(crate) fn start_agent(&mut self, durable: Vec<JournalRecord>) {
        let incarnation = self.below(u64::MAX);
        let executor = Executor::restore(Fleet, &durable).expect("its own journal");
        let agent = Agent {
            alive: true,
            paused_until: None,
            coordinator: None,
            executor,
            incarnation,
            durable,
            writing: Vec::new(),
            hosts: BTreeMap::new(),
            watches: BTreeMap::new(),
            started: self.now,
            settles_at: self.now + SETTLE,
            next_ping: u64::MAX,
            due_at: None,
            answered_at: 0,
            waiting: Vec::new(),
        };
        let index = self.agents.len();
        self.note(format!("agent {index} starts with {} records", agent.durable.len()));
        self.agents.push(agent);
        let mut out = Vec::new();
        let now = self.time();
        self.agents[index].executor.resume(now, &mut out);
        self.perform(index, out);
        let delay = self.below(500);
        self.after(delay, Event::Dial { agent: index });
        self.after(SETTLE, Event::Due { agent: index });
    }

    /// SIGKILL; what was not synced may be lost. A new process starts soon, on the directory or on a new one.
    pub(crate) fn kill_agent(&mut self, index: usize, wipe: bool) {
        self.crashes += 1;
        self.end_agent(index);
        let half = self.below(2) == 0;
        let agent = &mut self.agents[index];
        let mut durable = std::mem::take(&mut agent.durable);
        if half && let Some((_, false, records)) = agent.writing.first() {
            // The write was complete, and no one was notified.
            durable.extend(records.clone());
        }
        self.start_agent(if wipe { Vec::new() } else { durable });
    }

    fn end_agent(&mut self, index: usize) {
        self.note(format!("agent {index} ends"));
        self.agents[index].alive = false;
        if let Some(session) = self.agents[index].coordinator.take() {
            self.sessions.remove(&session);
        }
        for (host, session) in self.sessions_with(index) {
            self.sessions.remove(&session);
            let delay = self.below(300);
            self.after(delay, Event::AgentGone { host, session });
        }
    }

    /// Hosts that believe to have a session with a process.
    fn sessions_with(&self, index: usize) -> Vec<(HostName, u64)> {
        let sessions = self.hosts.iter().filter_map(|(host, it)| Some((host, it.session?)));
        let mine = sessions.filter(|(_, (_, agent))| *agent == index);
        mine.map(|(host, (session, _))| (host.clone(), session)).collect()
    }

    /// The process is stopped, and a copy of its directory is started beside it.
    pub(crate) fn pause_and_copy(&mut self, index: usize) {
        self.crashes += 1;
        let until = self.now + 15_000 + self.below(40_000);
        self.note(format!("agent {index} is paused until {}", until - 1_000_000));
        self.agents[index].paused_until = Some(until);
        let copy = self.agents[index].durable.clone();
        for (host, session) in self.sessions_with(index) {
            // The hosts notice the silence; the paused process does when it continues.
            let silent = 12_000 + self.below(1_000);
            self.after(silent, Event::AgentGone { host: host.clone(), session });
            self.after(until - self.now, Event::HostGone { agent: index, host, session });
        }
        self.start_agent(copy);
        self.after(until - self.now, Event::Due { agent: index });
    }

    /// Whether a process reads what comes; a paused one reads it later.
    fn reads(&mut self, index: usize, event: impl FnOnce() -> Event) -> bool {
        let now = self.now;
        let agent = &mut self.agents[index];
        if !agent.alive {
            return false;
        }
        match agent.paused_until {
            Some(until) if until > now => {
                agent.waiting.push(event());
                false
            }
            Some(_) => {
                agent.paused_until = None;
                let waiting = std::mem::take(&mut agent.waiting);
                for event in waiting {
                    self.after(0, event);
                }
                self.after(0, event());
                false
            }
            None => true,
        }
    }

    pub(crate) fn dial(&mut self, index: usize) {
        if !self.agents[index].alive || self.agents[index].coordinator.is_some() {
            return;
        }
        let session = self.new_session();
        let now = self.now;
        let agent = &mut self.agents[index];
        (agent.coordinator, agent.next_ping) = (Some(session), now);
        let hello = AgentUp::Hello {
            incarnation: agent.incarnation,
            known: KnownCluster {
                epoch: agent.executor.epoch().0.0,
                incarnation: agent.executor.epoch().1,
                revoked: 0,
            },
            held: agent.executor.held(),
            listen: None,
            platforms: vec!["hosts".to_owned()],
        };
        self.up(index, hello);
        self.ping(index);
    }

    fn up(&mut self, index: usize, message: AgentUp) {
        let Some(session) = self.agents[index].coordinator else { return };
        self.send(session * 2 + 1, Event::ToCoordinator { session, message });
    }

    fn ping(&mut self, index: usize) {
        let now = self.now;
        self.agents[index].next_ping = now + LEASE_PING.0;
        self.up(index, AgentUp::Ping { sent_ms: now, refused: Default::default() });
        self.after(LEASE_PING.0, Event::Due { agent: index });
    }

    pub(crate) fn cut_coordinator(&mut self, index: usize) {
        let Some(session) = self.agents[index].coordinator else { return };
        self.sessions.remove(&session);
        let delay = self.below(12_000);
        self.after(delay, Event::CoordinatorGone { agent: index, session });
    }

    pub(crate) fn agent_loses_coordinator(&mut self, index: usize, session: u64) {
        if !self.reads(index, || Event::CoordinatorGone { agent: index, session }) {
            return;
        }
        if self.agents[index].coordinator == Some(session) {
            self.agents[index].coordinator = None;
            self.feed(index, vec![Input::Detached]);
            let delay = self.below(2_000);
            self.after(delay, Event::Dial { agent: index });
        }
    }

    pub(crate) fn agent_receives(&mut self, index: usize, session: u64, message: AgentDown) {
        let paused = self.agents[index].paused_until.is_some();
        if (!self.sessions.contains(&session) && !paused) || self.agents[index].coordinator != Some(session) {
            return;
        }
        let later = message.clone();
        if !self.reads(index, || Event::ToAgent { agent: index, session, message: later }) {
            return;
        }
        let input = match message {
            AgentDown::Welcome { cluster, epoch, incarnation, .. } => {
                Input::Attached { cluster, epoch: Epoch(epoch), incarnation }
            }
            AgentDown::Targets { targets, .. } => {
                let target = |target| Target::try_from(target).expect("what was written");
                Input::Targets(targets.into_iter().map(target).collect())
            }
            AgentDown::Assign(assignment) => {
                Input::Assign(Assignment::try_from(assignment).expect("what was written"))
            }
            AgentDown::Cancel { assignment, fence } => {
                self.note(format!("agent {index} receives the cancel of {assignment}"));
                Input::Cancel { assignment: AssignmentId(assignment), fence: Fence(fence) }
            }
            AgentDown::Answer { assignment, fence, answer } => {
                Input::Answer { assignment: AssignmentId(assignment), fence: Fence(fence), answer }
            }
            AgentDown::Committed { assignment, n } => {
                Input::Committed { assignment: AssignmentId(assignment), n }
            }
            AgentDown::Pong { sent_ms, .. } => {
                self.agents[index].answered_at = self.agents[index].answered_at.max(sent_ms);
                let receipt = self.mutant == Mutant::LeaseFromReceipt;
                Input::PongReceived { sent: if receipt { self.time() } else { Timestamp(sent_ms) } }
            }
            AgentDown::Superseded => return self.end_agent(index),
            // The model coordinator sends assignments whole and revokes no key.
            AgentDown::Inventory { .. }
            | AgentDown::Installations { .. }
            | AgentDown::AssignHosts { .. }
            | AgentDown::Revoked { .. }
            | AgentDown::OtherIncarnation { .. } => return,
        };
        self.feed(index, vec![input]);
    }

    pub(crate) fn synced(&mut self, index: usize, sequence: u64) {
        if !self.reads(index, || Event::Synced { agent: index, sequence }) {
            return;
        }
        let agent = &mut self.agents[index];
        let (_, replaces, records) = agent.writing.remove(0);
        if replaces {
            agent.durable.clear();
        }
        agent.durable.extend(records);
        self.feed(index, vec![Input::Written(sequence)]);
    }

    pub(crate) fn due(&mut self, index: usize) {
        if !self.reads(index, || Event::Due { agent: index }) {
            return;
        }
        let now = self.now;
        let agent = &mut self.agents[index];
        agent.due_at = agent.due_at.filter(|at| *at > now);
        let mut inputs = Vec::new();
        if now >= agent.settles_at {
            agent.settles_at = u64::MAX;
            for assignment in agent.watches.keys().copied().collect::<Vec<_>>() {
                inputs.extend(self.show_all(index, assignment));
            }
        }
        self.close_overdue(index);
        if now >= self.agents[index].next_ping && self.agents[index].coordinator.is_some() {
            self.ping(index);
        }
        inputs.push(Input::Due);
        self.feed(index, inputs);
    }

    /// A host that does not answer in time loses its session.
    fn close_overdue(&mut self, index: usize) {
        let now = self.now;
        let late = |seen: &Seen| seen.asked.values().any(|(_, _, until)| *until <= now);
        let hosts = self.agents[index].hosts.iter().filter(|(_, seen)| late(seen));
        let hosts: Vec<(HostName, u64)> =
            hosts.filter_map(|(host, seen)| Some((host.clone(), seen.session?))).collect();
        for (host, session) in hosts {
            self.sessions.remove(&session);
            self.after(0, Event::HostGone { agent: index, host: host.clone(), session });
            self.after(1, Event::AgentGone { host, session });
        }
    }

    fn show_all(&self, index: usize, assignment: AssignmentId) -> Vec<Input<Fleet>> {
        let agent = &self.agents[index];
        let Some(watched) = agent.watches.get(&assignment) else { return Vec::new() };
        let absent = |host: &HostName| HostObservation {
            host: host.clone(),
            connected: false,
            since: Timestamp(agent.started),
            session: 0,
            report: None,
        };
        let settled = agent.settles_at == u64::MAX;
        let sights =
            watched.hosts.iter().filter_map(|host| agent.observation(host).or(settled.then(|| absent(host))));
        sights.map(|snapshot| Input::Observed { assignment, snapshot }).collect()
    }

    fn feed(&mut self, index: usize, inputs: Vec<Input<Fleet>>) {
        let mut inputs: std::collections::VecDeque<_> = inputs.into();
        while let Some(input) = inputs.pop_front() {
            let mut out = Vec::new();
            let now = self.time();
            self.agents[index].executor.step(now, input, &mut out);
            inputs.extend(self.perform(index, out));
            while let Some(message) = self.agents[index].executor.next_message(now) {
                self.up(index, message);
            }
        }
        self.plan_due(index);
    }

    fn plan_due(&mut self, index: usize) {
        let Some(at) = self.agents[index].executor.next_deadline() else { return };
        let at = at.0.max(self.now + 1);
        if self.agents[index].due_at.is_none_or(|planned| planned > at) {
            self.agents[index].due_at = Some(at);
            self.after(at - self.now, Event::Due { agent: index });
        }
    }

    fn perform(&mut self, index: usize, outputs: Vec<Output<Fleet>>) -> Vec<Input<Fleet>> {
        let mut inputs = Vec::new();
        for output in outputs {
            match output {
                Output::Write { sequence, records } => self.write(index, (sequence, false, records)),
                Output::Replace { sequence, records } => self.write(index, (sequence, true, records)),
                Output::Call { assignment, id, call, .. } => {
                    if !self.send_goal(index, (assignment, id), call) {
                        inputs.push(Input::Lost { assignment, call: id });
                    }
                }
                Output::Watch { assignment, query, .. } => {
                    self.agents[index].watches.insert(assignment, query);
                    inputs.extend(self.show_all(index, assignment));
                }
                Output::Unwatch { assignment } => drop(self.agents[index].watches.remove(&assignment)),
                Output::Targets(_) | Output::Busy { .. } | Output::Quiet { .. } | Output::Refused(_) => {}
            }
        }
        inputs
    }

    fn write(&mut self, index: usize, action: (u64, bool, Vec<JournalRecord>)) {
        let sequence = action.0;
        self.agents[index].writing.push(action);
        // Channels of disks lie behind those of sessions.
        let channel = u64::MAX - index as u64;
        self.send(channel, Event::Synced { agent: index, sequence });
    }

    fn send_goal(
        &mut self,
        index: usize,
        (assignment, call): (AssignmentId, CallId),
        give: SendGoal,
    ) -> bool {
        let disruptive = !matches!(give.goal.action, HostAction::Prepare(_));
        if disruptive && self.now >= self.agents[index].answered_at + LEASE.0 {
            self.violate(format!("{} is ordered to execute without a lease", give.host));
        }
        let until = self.now + 10_000;
        let Some(seen) = self.agents[index].hosts.get_mut(&give.host) else { return false };
        let Some(session) = seen.session else { return false };
        seen.sequence += 1;
        let sequence = seen.sequence;
        seen.asked.insert(sequence, (assignment, call, until));
        let (host, goal) = (give.host, HostGoal::clone(&give.goal));
        self.note(format!(
            "agent {index} orders {host} to {} under {}",
            action(&goal.action),
            goal.fence.0 & 0xffff
        ));
        if self.below(LATE_ORDERS) == 0 {
            // It is on its way while the session ends, which both ends notice long before it arrives.
            let (near, far, late) = (self.below(200), self.below(200), 1_500 + self.below(4_000));
            self.sessions.remove(&session);
            self.after(near, Event::HostGone { agent: index, host: host.clone(), session });
            self.after(far, Event::AgentGone { host: host.clone(), session });
            self.after(late, Event::ToHost { host, session, sequence, goal });
        } else {
            self.send(session * 2, Event::ToHost { host, session, sequence, goal });
        }
        self.after(10_000, Event::Due { agent: index });
        true
    }

    pub(crate) fn agent_receives_from_host(
        &mut self,
        index: usize,
        host: &HostName,
        session: u64,
        message: HostMessage,
    ) {
        let now = self.now;
        let agent = &mut self.agents[index];
        if !agent.alive || agent.paused_until.is_some() {
            return;
        }
        if let HostMessage::Hello(report) = message {
            let (state, fence) = (report.state.as_str(), report.fence.0 & 0xffff);
            self.note(format!("agent {index} is greeted by {host}, {state} under {fence}"));
            self.agent_loses_session(index, host);
            let seen = self.agents[index].hosts.entry(host.clone()).or_default();
            (seen.session, seen.since, seen.report) = (Some(session), now, Some(report));
            let inputs = self.agents[index].show(host);
            return self.feed(index, inputs);
        }
        let Some(seen) = agent.hosts.get_mut(host).filter(|seen| seen.session == Some(session)) else {
            return;
        };
        let inputs = match message {
            HostMessage::Report(report) => {
                seen.report = Some(report);
                agent.show(host)
            }
            HostMessage::Answer { sequence, refused } => {
                let asked = seen.asked.remove(&sequence);
                let reply = refused.map_or(GoalAck::Accepted, GoalAck::Refused);
                asked
                    .map(|(assignment, call, _)| Input::Reply { assignment, call, reply })
                    .into_iter()
                    .collect()
            }
            HostMessage::Hello(_) => Vec::new(),
        };
        self.feed(index, inputs);
    }

    pub(crate) fn agent_loses_host(&mut self, index: usize, host: &HostName, session: u64) {
        let current = self.agents[index].hosts.get(host).is_some_and(|seen| seen.session == Some(session));
        if self.agents[index].alive && current {
            self.agent_loses_session(index, host);
        }
    }

    fn agent_loses_session(&mut self, index: usize, host: &HostName) {
        let (silent, now) = (self.mutant == Mutant::SilentDisconnect, self.now);
        let Some(seen) = self.agents[index].hosts.get_mut(host) else { return };
        if seen.session.take().is_none() {
            return;
        }
        seen.since = now;
        let lost = std::mem::take(&mut seen.asked);
        self.note(format!("agent {index} loses {host}"));
        let mut inputs = if silent { Vec::new() } else { self.agents[index].show(host) };
        inputs.extend(lost.into_values().map(|(assignment, call, _)| Input::Lost { assignment, call }));
        self.feed(index, inputs);
    }
}

fn action(action: &HostAction) -> &'static str {
    match action {
        HostAction::Prepare(_) => "prepare",
        HostAction::Apply(_) => "apply",
        HostAction::Restore(_) => "restore",
        HostAction::Stop { .. } => "stop",
        HostAction::Verify => "verify",
        HostAction::Restart => "restart",
    }
}
