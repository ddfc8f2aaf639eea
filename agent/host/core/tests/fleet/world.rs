//! The clock, the network and the faults.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_model::assignment::HostGoal;
use trimaran_model::id::{Digest, HostName};
use trimaran_model::time::Timestamp;
use trimaran_wire::v1::agent::{AgentDown, AgentUp};

use crate::agent::Agent;
use crate::coordinator::Coordinator;
use crate::host::{Host, HostMessage};

pub(crate) const OLD: Digest = Digest([1; 32]);
pub(crate) const NEW: Digest = Digest([2; 32]);
/// Faults happen until then; afterwards everything has to end.
const ROUGH_UNTIL: u64 = 120_000;
const END_TIMEOUT: u64 = 900_000;
/// Notes that a violation shows.
const LOG_SHOWN: usize = 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Story {
    Good,
    /// The release fails on some hosts.
    Bad,
    /// An operator cancels in the middle.
    Canceled,
    /// What runs is restarted.
    Restarted,
}

/// A wiring with a bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    None,
    /// The lease counts from the receipt of an answer.
    LeaseFromReceipt,
    /// A host takes orders of a session that it has left.
    OldSession,
    /// Failures are acknowledged and not kept.
    ForgetsFailures,
    /// A host that is gone is not shown as gone.
    SilentDisconnect,
    /// Results are answered before they are taken.
    LosesResults,
}

impl Mutant {
    pub(crate) const ALL: [Self; 5] = [
        Self::LeaseFromReceipt,
        Self::OldSession,
        Self::ForgetsFailures,
        Self::SilentDisconnect,
        Self::LosesResults,
    ];
}

#[derive(Debug)]
pub(crate) enum Event {
    Dial { agent: usize },
    ToCoordinator { session: u64, message: AgentUp },
    ToAgent { agent: usize, session: u64, message: AgentDown },
    CoordinatorGone { agent: usize, session: u64 },
    Synced { agent: usize, sequence: u64 },
    Due { agent: usize },
    HostDials { host: HostName },
    FromHost { agent: usize, host: HostName, session: u64, message: HostMessage },
    ToHost { host: HostName, session: u64, sequence: u64, goal: HostGoal },
    HostGone { agent: usize, host: HostName, session: u64 },
    AgentGone { host: HostName, session: u64 },
    HostStep { host: HostName, generation: u64 },
    Resume,
    Cancel,
    Fault,
}

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) mutant: Mutant,
    pub(crate) coordinator: Coordinator,
    pub(crate) agents: Vec<Agent>,
    pub(crate) hosts: BTreeMap<HostName, Host>,
    /// Sessions that were not cut.
    pub(crate) sessions: BTreeSet<u64>,
    pub(crate) crashes: u32,
    pub(crate) starts: u32,
    pub(crate) trace: u64,
    pub(crate) violation: Option<String>,
    /// What happened, for a violation.
    log: Vec<String>,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    last_at: BTreeMap<u64, u64>,
    random: u64,
}

impl World {
    pub(crate) fn new(seed: u64, story: Story, mutant: Mutant) -> Self {
        let mut world = Self {
            now: 1_000_000,
            mutant,
            coordinator: Coordinator::default(),
            agents: Vec::new(),
            hosts: BTreeMap::new(),
            sessions: BTreeSet::new(),
            crashes: 0,
            starts: 0,
            trace: 0,
            violation: None,
            log: Vec::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            last_at: BTreeMap::new(),
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        };
        let count = 3 + world.below(8);
        for n in 1..=count {
            let name: HostName = format!("host-{n}").parse().expect("a name");
            let bad = story == Story::Bad && world.below(3) == 0;
            world.hosts.insert(name.clone(), Host::new(bad));
            world.after(100, Event::HostDials { host: name });
        }
        world.coordinator = Coordinator::new(&mut world, story == Story::Restarted);
        world.start_agent(Vec::new());
        if story == Story::Canceled {
            let at = 500 + world.below(15_000);
            world.after(at, Event::Cancel);
        }
        world.after(1_000, Event::Fault);
        world
    }

    /// A number below `bound`, from the seed.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % bound.max(1)
    }

    pub(crate) fn after(&mut self, delay: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + delay, self.sequence), event);
    }

    /// A message of one direction of a session: delayed, in order.
    pub(crate) fn send(&mut self, channel: u64, event: Event) {
        let delay = if self.below(10) == 0 { self.below(4_000) } else { 1 + self.below(30) };
        let at = (self.now + delay).max(self.last_at.get(&channel).copied().unwrap_or(0));
        self.last_at.insert(channel, at);
        self.after(at - self.now, event);
    }

    pub(crate) fn time(&self) -> Timestamp {
        Timestamp(self.now)
    }

    pub(crate) fn new_session(&mut self) -> u64 {
        self.sequence += 1;
        self.sessions.insert(self.sequence);
        self.sequence
    }

    pub(crate) fn violate(&mut self, why: String) {
        let at = self.now - 1_000_000;
        self.violation.get_or_insert(format!("at {at} ms: {why}"));
    }

    fn last_notes(&self) -> String {
        self.log[self.log.len().saturating_sub(LOG_SHOWN)..].join("\n")
    }

    pub(crate) fn note(&mut self, what: String) {
        self.log.push(format!("{:>7} {what}", self.now - 1_000_000));
    }

    /// Plays the story to its end.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        let end = self.now + END_TIMEOUT;
        while self.coordinator.ended().is_none() {
            let Some(((at, _), event)) = self.queue.pop_first() else {
                return Err("nothing happens any more".to_owned());
            };
            self.now = at;
            if self.now > end {
                let (run, parts) = (self.coordinator.describe(), self.describe());
                return Err(format!("it does not end: {run}; {parts}\n{}", self.last_notes()));
            }
            self.trace = (self.trace ^ at).wrapping_mul(0x0100_0000_01b3);
            self.handle(event);
            if let Some(why) = self.violation.take() {
                return Err(format!("{why}\n{}", self.last_notes()));
            }
        }
        self.check_end()
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Dial { agent } => self.dial(agent),
            Event::ToCoordinator { session, message } => {
                if self.sessions.contains(&session) {
                    self.coordinator_receives(session, message);
                }
            }
            Event::ToAgent { agent, session, message } => self.agent_receives(agent, session, message),
            Event::CoordinatorGone { agent, session } => self.agent_loses_coordinator(agent, session),
            Event::Synced { agent, sequence } => self.synced(agent, sequence),
            Event::Due { agent } => self.due(agent),
            Event::HostDials { host } => self.host_dials(&host),
            Event::FromHost { agent, host, session, message } => {
                if self.sessions.contains(&session) {
                    self.agent_receives_from_host(agent, &host, session, message);
                }
            }
            Event::ToHost { host, session, sequence, goal } => {
                self.host_receives(&host, session, sequence, goal);
            }
            Event::HostGone { agent, host, session } => self.agent_loses_host(agent, &host, session),
            Event::AgentGone { host, session } => self.host_loses_agent(&host, session),
            Event::HostStep { host, generation } => self.host_steps(&host, generation),
            Event::Resume => self.resume_stage(),
            Event::Cancel => self.cancel_run(),
            Event::Fault => self.fault(),
        }
    }

    /// One of the things that go wrong.
    fn fault(&mut self) {
        if self.now > 1_000_000 + ROUGH_UNTIL {
            return self.heal();
        }
        let next = 300 + self.below(6_000);
        self.after(next, Event::Fault);
        let live = self.agents.iter().rposition(|agent| agent.alive && agent.paused_until.is_none());
        let hosts: Vec<HostName> = self.hosts.keys().cloned().collect();
        let pick = self.below(hosts.len() as u64);
        let host = &hosts[usize::try_from(pick).expect("small")];
        match (self.below(12), live) {
            (0..=2, Some(agent)) => self.kill_agent(agent, false),
            (3, Some(agent)) => self.kill_agent(agent, true),
            (4, Some(agent)) => self.pause_and_copy(agent),
            (5, Some(agent)) => self.cut_coordinator(agent),
            (6 | 7, _) => self.cut_host(host),
            (8, _) => self.host_falls_silent(host),
            (9, _) => self.host_degrades(host),
            (10, _) => self.hosts.get_mut(host).expect("known").disk_full = true,
            _ => {}
        }
    }

    /// Where everything stands, for a story that does not end.
    fn describe(&self) -> String {
        let hosts = self.hosts.iter().map(|(name, host)| {
            let report = &host.report;
            format!("{name} {:?} of {} session {:?}", report.state, report.fence.0 & 0xffff, host.session)
        });
        let agents = self.agents.iter().enumerate().filter(|(_, agent)| agent.alive);
        let agents = agents.map(|(index, agent)| format!("agent {index} session {:?}", agent.coordinator));
        hosts.chain(agents).collect::<Vec<_>>().join(", ")
    }

    fn heal(&mut self) {
        let hosts: Vec<HostName> = self.hosts.keys().cloned().collect();
        for host in hosts {
            self.host_recovers(&host);
        }
        for agent in &mut self.agents {
            agent.paused_until = agent.paused_until.map(|at| at.min(self.now));
        }
    }

    /// The latest agent process, which hosts and coordinator talk to.
    pub(crate) fn current_agent(&self) -> Option<usize> {
        self.agents.iter().rposition(|agent| agent.alive && agent.paused_until.is_none())
    }
}
