//! The agent and its hosts as they run: the real executor with the driver of fleets, the real machines of hosts, and between
//! them and the coordinators the frames that cross the network. A coordinator's end is the session that the server runs.
//!
//! Faults: frames that are late, connections that are cut in one direction or both or that end, a process of the agent that
//! crashes, loses what it had not synced or its whole directory, or stands still while another one continues on a copy of its
//! directory; runners that crash, machines that lose power, services and their shims that die, releases that do not work on
//! some hosts, answers on a host that get lost. Each has a boot clock of its own.
//!
//! Checked on the way, by what comes out of each part alone: a host takes orders of fences that grow; an order reaches a host
//! only under a live lease and behind the durable record of its assignment; a launch is made once for its number, which is
//! durable ahead of it, and beside no other process; and what the parts refuse as impossible.
//!
//! Deliberately not here: jobs and clusters, keys, content that agents fetch.

mod agent;
mod fleet;
mod gateway;
mod network;
mod platform;
mod runner;
mod seen;

use std::collections::BTreeMap;

use trimaran_agent_core::driver::Input as HostInput;
use trimaran_host_core::host::{Reply, Snapshot};
use trimaran_member::agent_session::Input as SessionInput;
use trimaran_member::{Applied, MemberStatus, Proposed, StateChange};
use trimaran_model::hash::splitmix;
use trimaran_model::id::{CoordinatorName, Digest};
use trimaran_model::time::{Timestamp, WallTime};
use trimaran_wire::v1::command::Command;

use super::Asker;
use super::clock::Clock;
use crate::check::Rows;
use crate::plan;
use crate::random::Random;
use agent::Agent;
use gateway::{Attaches, Gateway};
use network::{Between, End, Network};
use runner::Host;

/// The agent's name.
const AGENT: &str = "lab";
/// Its hosts by the numbers of their tokens, as operators enrol them.
const HOSTS: [&str; 5] = ["h11", "h12", "h13", "h14", "h15"];
/// Something goes wrong about so often.
const FAULT_INTERVAL: u64 = 3000;
/// Versions whose releases may not work.
const VERSIONS_MAX: u64 = 40;

/// Something that happens to agents, hosts and connections.
pub(crate) enum SiteEvent {
    Frame {
        link: u64,
        to: End,
        bytes: Vec<u8>,
    },
    /// An end notices that its connection is over.
    Gone {
        link: u64,
        to: End,
        superseded: bool,
    },
    SessionDue {
        link: u64,
    },
    SessionAnswered {
        link: u64,
        number: u64,
        answer: Proposed,
    },
    Granted {
        link: u64,
        granted: SessionInput,
    },
    AgentStarts {
        file: Vec<u8>,
    },
    AgentDials {
        process: u64,
    },
    AgentDue {
        process: u64,
    },
    AgentSynced {
        process: u64,
        sequence: u64,
    },
    AgentContinues {
        process: u64,
    },
    RunnerStarts {
        host: usize,
    },
    RunnerDials {
        host: usize,
    },
    /// Of a process of the runner, by its number.
    HostSaved {
        host: usize,
        number: u64,
    },
    HostInput {
        host: usize,
        of: (u64, u64),
        input: HostInput<Reply, Snapshot>,
    },
    /// A service's process ends; with `true` its shim, too.
    ServiceDies {
        host: usize,
        shim_too: bool,
    },
    /// A coordinator looks for agents that no one serves.
    FindLost {
        node: usize,
    },
    Fault,
}

impl SiteEvent {
    /// The coordinator whose process has to run for it.
    fn of_coordinator(&self, site: &Site) -> Option<usize> {
        match self {
            Self::Frame { link, to, .. } | Self::Gone { link, to, .. } => {
                site.node_of(*link).filter(|_| *to == End::Listener)
            }
            Self::SessionDue { link } | Self::SessionAnswered { link, .. } | Self::Granted { link, .. } => {
                site.node_of(*link)
            }
            _ => None,
        }
    }

    /// The process of the agent that has to run for it.
    fn of_agent(&self, network: &Network) -> Option<u64> {
        match self {
            Self::AgentDials { process } | Self::AgentDue { process } | Self::AgentSynced { process, .. } => {
                Some(*process)
            }
            Self::Frame { link, to, .. } | Self::Gone { link, to, .. } => match network.between(*link)? {
                Between::Agent { process, .. } if *to == End::Dialer => Some(process),
                Between::Runner { agent, .. } if *to == End::Listener => Some(agent),
                _ => None,
            },
            _ => None,
        }
    }
}

/// What happened at a coordinator, for the site.
pub(crate) enum Notice {
    /// An entry was applied.
    Applied(Applied),
    /// A snapshot replaced the state up to a revision.
    Replaced(u64),
    Answered {
        link: u64,
        number: u64,
        answer: Proposed,
    },
    Crashed,
    /// A process that was paused continues.
    Continues,
}

/// What a coordinator whose process runs knows now.
pub(crate) struct View<'a> {
    pub(crate) name: CoordinatorName,
    pub(crate) clock: Clock,
    pub(crate) boot: Timestamp,
    pub(crate) wall: WallTime,
    pub(crate) status: MemberStatus,
    pub(crate) rows: &'a Rows,
    pub(crate) revision: u64,
}

/// The coordinators of a world, by their places, with its clock and its trace.
pub(crate) trait Coordinators {
    fn note(&mut self, what: std::fmt::Arguments<'_>);
    /// The site's event of this number comes so much later.
    fn plan(&mut self, delay: u64, number: u64);
    /// `None` while no process runs.
    fn view(&self, node: usize) -> Option<View<'_>>;
    fn is_paused(&self, node: usize) -> bool;
    fn propose(&mut self, node: usize, command: Command, asker: Asker);
    /// What happened at coordinators since this was asked last, by their places.
    fn notices(&mut self) -> Vec<(usize, Notice)>;
}

/// A site at a moment.
pub(crate) struct AtSite<'a> {
    now: u64,
    site: &'a mut Site,
    around: &'a mut dyn Coordinators,
}

/// Counts, so that a test can say that something happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SiteSeen {
    /// Results that the log took.
    pub results: usize,
    /// Starts of services.
    pub starts: usize,
    pub cuts: usize,
    /// Sessions of the agent with another coordinator than the one before.
    pub moves: usize,
    pub agent_crashes: usize,
    pub copies: usize,
    pub wiped: usize,
    pub runner_crashes: usize,
    pub power_losses: usize,
    pub services_killed: usize,
}

impl SiteSeen {
    pub fn add(&mut self, other: &Self) {
        self.results += other.results;
        self.starts += other.starts;
        self.cuts += other.cuts;
        self.moves += other.moves;
        self.agent_crashes += other.agent_crashes;
        self.copies += other.copies;
        self.wiped += other.wiped;
        self.runner_crashes += other.runner_crashes;
        self.power_losses += other.power_losses;
        self.services_killed += other.services_killed;
    }
}

/// Everything of a world that is not a coordinator.
pub(crate) struct Site {
    random: Random,
    drift_ppm: u64,
    rough: bool,
    events: BTreeMap<u64, SiteEvent>,
    last_event: u64,
    network: Network,
    /// Of the coordinators.
    gateways: Vec<Gateway>,
    /// The coordinator of each session.
    nodes: BTreeMap<u64, usize>,
    attaches: Attaches,
    /// What waits while a coordinator is paused.
    deferred: Vec<Vec<SiteEvent>>,
    agents: BTreeMap<u64, Agent>,
    processes: u64,
    /// The coordinator that was dialed last.
    agent_at: Option<usize>,
    /// When the last write of each process of the agent ends.
    synced_at: BTreeMap<u64, u64>,
    hosts: Vec<Host>,
    pub(crate) seen: SiteSeen,
}

impl Site {
    pub(crate) fn new(seed: u64, coordinators: usize, now: u64, drift_ppm: u64, rough: bool) -> Self {
        let mut random = Random::new(seed ^ 0x517E_0000_0000_517E);
        let mut hosts = Vec::new();
        for name in HOSTS {
            let mut host = Host::new(name.parse().expect("a name"), now, drift_ppm, &mut random);
            for target in ["lab-staging", "lab-prod"] {
                for version in 0..VERSIONS_MAX {
                    let digest = release_of(target, version);
                    let of_version = splitmix(seed ^ splitmix(version));
                    // Some versions work nowhere, and some not on each host.
                    let bad = match of_version % 8 {
                        0 => true,
                        1 => random.below(3) == 0,
                        _ => false,
                    };
                    host.machine.set_bad(digest, rough && bad);
                }
            }
            hosts.push(host);
        }
        Self {
            random,
            drift_ppm,
            rough,
            events: BTreeMap::new(),
            last_event: 0,
            network: Network::default(),
            gateways: (0..coordinators).map(|_| Gateway::default()).collect(),
            nodes: BTreeMap::new(),
            attaches: Attaches::default(),
            deferred: (0..coordinators).map(|_| Vec::new()).collect(),
            agents: BTreeMap::new(),
            processes: 0,
            agent_at: None,
            synced_at: BTreeMap::new(),
            hosts,
            seen: SiteSeen::default(),
        }
    }

    /// The coordinator of a session of the agent.
    fn node_of(&self, link: u64) -> Option<usize> {
        self.nodes.get(&link).copied()
    }

    /// The process of the agent that hosts reach: the one that started last, unless it stands still.
    fn current_agent(&self) -> Option<u64> {
        let (process, agent) = self.agents.last_key_value()?;
        agent.paused.is_none().then_some(*process)
    }
}

/// The digest of a version's release on a target.
fn release_of(target: &str, version: u64) -> Digest {
    plan::release("web", target, &format!("v{version}")).digest()
}

impl<'a> AtSite<'a> {
    pub(crate) fn new(now: u64, site: &'a mut Site, around: &'a mut dyn Coordinators) -> Self {
        Self { now, site, around }
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.around.note(what);
    }

    fn site_after(&mut self, delay: u64, event: SiteEvent) {
        self.site.last_event += 1;
        let number = self.site.last_event;
        self.site.events.insert(number, event);
        self.around.plan(delay, number);
    }

    /// Everything starts, a moment after the coordinators.
    pub(crate) fn start(&mut self) {
        self.site_after(50, SiteEvent::AgentStarts { file: Vec::new() });
        for host in 0..HOSTS.len() {
            self.site_after(100, SiteEvent::RunnerStarts { host });
        }
        for node in 0..self.site.gateways.len() {
            self.site_after(1000, SiteEvent::FindLost { node });
        }
        self.site_after(FAULT_INTERVAL, SiteEvent::Fault);
    }

    /// The faults of agents, hosts and connections end.
    pub(crate) fn heal(&mut self) {
        self.site.rough = false;
        let paused = self.site.agents.iter().filter(|(_, it)| it.paused.is_some());
        let paused: Vec<u64> = paused.map(|(process, _)| *process).collect();
        for process in paused {
            self.site_after(0, SiteEvent::AgentContinues { process });
        }
    }

    /// Takes in what happened at the coordinators meanwhile.
    pub(crate) fn catch_up(&mut self) {
        loop {
            let notices = self.around.notices();
            if notices.is_empty() {
                return;
            }
            for (node, notice) in notices {
                self.on_notice(node, notice);
            }
        }
    }

    fn on_notice(&mut self, node: usize, notice: Notice) {
        match notice {
            Notice::Applied(applied) => self.route(node, StateChange::Applied(&applied)),
            Notice::Replaced(revision) => self.route(node, StateChange::Missed { revision }),
            Notice::Answered { link, number, answer } => {
                self.site_after(0, SiteEvent::SessionAnswered { link, number, answer });
            }
            Notice::Crashed => self.gateway_crashes(node),
            Notice::Continues => {
                for event in std::mem::take(&mut self.site.deferred[node]) {
                    self.site_after(0, event);
                }
            }
        }
    }

    pub(crate) fn on_event(&mut self, number: u64) {
        let site = &mut *self.site;
        let Some(event) = site.events.remove(&number) else { return };
        if let Some(node) = event.of_coordinator(site).filter(|node| self.around.is_paused(*node)) {
            return site.deferred[node].push(event);
        }
        if let Some(agent) = event.of_agent(&site.network).and_then(|it| site.agents.get_mut(&it))
            && let Some(waiting) = &mut agent.paused
        {
            return waiting.push(event);
        }
        match event {
            SiteEvent::Frame { link, to, bytes } => self.deliver(link, to, &bytes),
            SiteEvent::Gone { link, to, superseded } => self.gone(link, to, superseded),
            SiteEvent::SessionDue { link } => self.pump(link),
            SiteEvent::SessionAnswered { link, number, answer } => {
                self.session_answered(link, number, answer);
            }
            SiteEvent::Granted { link, granted } => self.granted(link, granted),
            SiteEvent::AgentStarts { file } => self.start_agent(&file),
            SiteEvent::AgentDials { process } => self.agent_dials(process),
            SiteEvent::AgentDue { process } => self.agent_due(process),
            SiteEvent::AgentSynced { process, sequence } => self.agent_synced(process, sequence),
            SiteEvent::AgentContinues { process } => self.agent_continues(process),
            SiteEvent::RunnerStarts { host } => self.start_runner(host),
            SiteEvent::RunnerDials { host } => self.runner_dials(host),
            SiteEvent::HostSaved { host, number } => self.runner_saved(host, number),
            SiteEvent::HostInput { host, of, input } => self.runner_input(host, of, input),
            SiteEvent::ServiceDies { host, shim_too } => self.service_dies(host, shim_too),
            SiteEvent::FindLost { node } => self.find_lost(node),
            SiteEvent::Fault => self.site_fault(),
        }
    }

    fn deliver(&mut self, link: u64, to: End, bytes: &[u8]) {
        let site = &mut *self.site;
        if !site.network.is_open(link, to) {
            return;
        }
        match (site.network.between(link), to) {
            (Some(Between::Agent { .. }), End::Listener) => self.gateway_receives(link, bytes),
            (Some(Between::Agent { process, .. }), End::Dialer) => self.agent_receives(process, link, bytes),
            (Some(Between::Runner { host, agent }), End::Listener) => {
                self.agent_receives_from_host(agent, host, link, bytes);
            }
            (Some(Between::Runner { host, .. }), End::Dialer) => self.runner_receives(host, link, bytes),
            (None, _) => {}
        }
    }

    fn gone(&mut self, link: u64, to: End, superseded: bool) {
        let between = self.site.network.between(link);
        if !self.notice_end(link, to) {
            return;
        }
        match (between, to) {
            (Some(Between::Agent { .. }), End::Listener) => self.gateway_loses(link),
            (Some(Between::Agent { process, .. }), End::Dialer) => {
                self.agent_loses(process, link, superseded)
            }
            (Some(Between::Runner { host, agent }), End::Listener) => {
                self.agent_loses_host(agent, host, link)
            }
            (Some(Between::Runner { host, .. }), End::Dialer) => self.runner_loses(host, link, superseded),
            (None, _) => {}
        }
    }

    fn agent_continues(&mut self, process: u64) {
        let Some(waiting) = self.agent(process).and_then(|agent| agent.paused.take()) else { return };
        self.note(format_args!("agent {process} continues"));
        for event in waiting {
            self.site_after(0, event);
        }
    }

    /// One of the things that go wrong.
    fn site_fault(&mut self) {
        let site = &mut *self.site;
        if !site.rough {
            return;
        }
        let next = 200 + site.random.below(2 * FAULT_INTERVAL);
        let host = usize::try_from(site.random.below(HOSTS.len() as u64)).expect("few");
        let (kind, agent) = (site.random.below(16), site.current_agent());
        match (kind, agent) {
            (0 | 1, Some(process)) => self.crash_agent(process, false),
            (2, Some(process)) => self.crash_agent(process, true),
            (3, Some(process)) => self.copy_agent(process),
            (4..=6, Some(process)) => self.cut(|it| it.is_of_agent(process)),
            (7..=9, _) => self.cut(|it| matches!(it, Between::Runner { host: its, .. } if its == host)),
            (10 | 11, _) => {
                self.site.seen.runner_crashes += 1;
                self.note(format_args!("the runner of {} crashes", HOSTS[host]));
                self.crash_runner(host, false);
            }
            (12, _) => {
                self.site.seen.power_losses += 1;
                self.note(format_args!("{} loses power", HOSTS[host]));
                self.crash_runner(host, true);
            }
            (13 | 14, _) => self.service_dies(host, kind == 14),
            _ => {}
        }
        self.site_after(next, SiteEvent::Fault);
    }

    fn service_dies(&mut self, host: usize, shim_too: bool) {
        self.site.seen.services_killed += 1;
        self.note(format_args!("the service on {} dies", HOSTS[host]));
        self.kill_service(host, shim_too);
    }

    /// While a result is on its way to the log, what is healthy elsewhere may not be any more.
    fn fault_beside_result(&mut self) {
        let random = &mut self.site.random;
        if self.site.rough && random.below(3) == 0 {
            let host = usize::try_from(random.below(HOSTS.len() as u64)).expect("few");
            let (delay, shim_too) = (random.below(300), random.below(4) == 0);
            self.site_after(delay, SiteEvent::ServiceDies { host, shim_too });
        }
    }

    fn crash_agent(&mut self, process: u64, wipe: bool) {
        let Some(file) = self.end_agent(process) else { return };
        let site = &mut *self.site;
        site.seen.agent_crashes += 1;
        site.seen.wiped += usize::from(wipe);
        let delay = 20 + site.random.below(2000);
        self.note(format_args!("agent {process} crashes, its disk lost: {wipe}"));
        self.site_after(delay, SiteEvent::AgentStarts { file: if wipe { Vec::new() } else { file } });
    }

    /// The process stands still, and another one continues on a copy of its directory.
    fn copy_agent(&mut self, process: u64) {
        let file = self.file_of(process);
        let site = &mut *self.site;
        site.seen.copies += 1;
        let (copy, length) = (500 + site.random.below(3000), 1000 + site.random.below(25_000));
        let Some(agent) = self.agent(process) else { return };
        agent.paused = Some(Vec::new());
        self.note(format_args!("agent {process} stands still for {length} ms, and a copy starts"));
        self.site_after(copy, SiteEvent::AgentStarts { file });
        self.site_after(length, SiteEvent::AgentContinues { process });
    }

    fn cut(&mut self, wanted: impl Fn(Between) -> bool) {
        let site = &mut *self.site;
        let Some(link) = site.network.open_at(End::Dialer, wanted).pop() else { return };
        site.seen.cuts += 1;
        let directions = [[true, false], [false, true], [true, true]];
        let directions = *site.random.pick(&directions).expect("there are some");
        self.note(format_args!("connection {link} is cut: {directions:?}"));
        self.cut_link(link, directions);
    }
}

impl Site {
    /// Every host of a target serves this release and nothing else; what happened.
    pub(crate) fn check_end(&mut self, version: &str) -> SiteSeen {
        for (place, host) in self.hosts.iter().enumerate() {
            let target = if place == 0 { "lab-staging" } else { "lab-prod" };
            let digest = plan::release("web", target, version).digest();
            assert_eq!(host.machine.running(), [digest], "what runs on {} in the end", host.name);
            assert_eq!(host.reported(), Some(digest), "what {} reports in the end", host.name);
        }
        self.seen.starts = self.hosts.iter().map(|host| host.machine.starts.len()).sum();
        self.seen.clone()
    }
}
