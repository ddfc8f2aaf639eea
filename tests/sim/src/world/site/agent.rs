//! A process of the agent: the real executor with the driver of fleets, on a file that loses what was not synced, and its
//! session with the coordinator. Wired as the daemon wires them.
//!
//! Not here: the sessions of its hosts (`fleet`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use trimaran_agent_core::platform::Standing;
use trimaran_agent_core::{Executor, Input, Output, journal};
use trimaran_host_core::fleet::health::{Enrolled, Health, Transition};
use trimaran_host_core::fleet::{Fleet, Watched};
use trimaran_model::assignment::Assignment;
use trimaran_model::id::{AssignmentId, Epoch, Fence, HostName, InstallationId};
use trimaran_model::limits::{
    AGENT_FRAME_BYTES_MAX, DOWN_COUNTS_INTERVAL, LEASE, LEASE_PING, UNGUARDED_CALL, VERDICTS_PER_MESSAGE_MAX,
};
use trimaran_model::target::Target;
use trimaran_model::time::{Millis, Timestamp, WallTime};
use trimaran_wire::codec::Message as _;
use trimaran_wire::frame::Frame;
use trimaran_wire::v1::agent::{AgentDown, AgentUp, KnownCluster, RefusedCounts, WireStanding};
use trimaran_wire::v1::agent_journal::JournalRecord;

use super::network::{Between, End};
use super::seen::Seen;
use super::{AtSite, SiteEvent};
use crate::world::clock::Clock;

/// Runners of an agent that was started again are back within this time, if they are there.
const RECONNECT_WINDOW: Millis = Millis::seconds(6);
/// When each runner was last seen is reported this often.
const RUNNERS_REPORT_INTERVAL: Millis = Millis::seconds(30);

pub(crate) struct Agent {
    pub(super) executor: Executor<Fleet>,
    pub(super) health: Health,
    incarnation: u64,
    pub(super) clock: Clock,
    /// The file: what is durable, and what is being written.
    file: Vec<u8>,
    writing: VecDeque<(u64, Written)>,
    /// Assignments of which the file has the order, with their fences.
    durable: BTreeSet<(AssignmentId, Fence)>,
    /// The largest fence of each installation that was ever written to it.
    fences: BTreeMap<InstallationId, Fence>,
    pub(super) hosts: BTreeMap<HostName, Seen>,
    pub(super) watches: BTreeMap<AssignmentId, Watched>,
    pub(super) inventory: Option<BTreeMap<HostName, Enrolled>>,
    targets: Vec<Target>,
    /// The state of the cluster that is obeyed.
    pub(super) cluster: (Epoch, u64),
    /// The cluster's wall time, and when it was read.
    wall: (WallTime, Timestamp),
    link: Option<u64>,
    welcomed: bool,
    next_ping: Timestamp,
    pub(super) started: Timestamp,
    pub(super) reconnect_window_ends: Option<Timestamp>,
    report_runners_at: Timestamp,
    counted_at: Timestamp,
    /// When it is due, in true time.
    due: Option<u64>,
    /// True time of the sending of the last ping that this session answered: the truth of the lease.
    pub(super) answered_at: u64,
    pub(super) pings: BTreeMap<u64, u64>,
    /// What waits while it is paused.
    pub(super) paused: Option<Vec<SiteEvent>>,
}

/// One write of the file.
struct Written {
    replaces: bool,
    records: Vec<JournalRecord>,
}

impl Agent {
    pub(super) fn now(&self, now: u64) -> Timestamp {
        self.clock.at(now)
    }

    pub(super) fn wall(&self, now: Timestamp) -> WallTime {
        self.wall.0 + (now - self.wall.1)
    }

    pub(super) fn is_welcomed(&self) -> bool {
        self.link.is_some() && self.welcomed
    }

    /// Whether the order of an assignment is on the disk.
    pub(super) fn has_durable(&self, assignment: AssignmentId, fence: Fence) -> bool {
        self.durable.contains(&(assignment, fence))
    }

    /// What needs a lease is allowed only while a ping that was sent at most so long ago is answered, by true time.
    pub(super) fn check_lease(&self, now: u64) {
        // Clocks run a little too fast or too slow.
        let end = self.answered_at + LEASE.0 + LEASE.0 / 1000 + 1;
        assert!(self.answered_at > 0 && now <= end, "a call is allowed without a lease");
    }

    /// Only an order with a larger fence than all before it is written down.
    fn check_fences(&mut self, records: &[JournalRecord]) {
        for record in records {
            if let JournalRecord::Taken(taken) = record {
                let installation = InstallationId::try_from(taken.installation.clone()).expect("a name");
                let fence = Fence(taken.fence);
                let before = self.fences.insert(installation, fence);
                assert!(before < Some(fence), "the agent takes fence {fence} after {before:?}");
            }
        }
    }

    fn note_durable(&mut self, records: &[JournalRecord]) {
        for record in records {
            if let JournalRecord::Taken(taken) = record {
                self.durable.insert((AssignmentId(taken.id), Fence(taken.fence)));
            }
        }
    }
}

impl AtSite<'_> {
    pub(super) fn agent(&mut self, process: u64) -> Option<&mut Agent> {
        self.site.agents.get_mut(&process)
    }

    /// Starts a process on a file.
    pub(crate) fn start_agent(&mut self, file: &[u8]) {
        let (now, site) = (self.now, &mut *self.site);
        let found = journal::decode(file).expect("a file that was appended to and synced in order");
        let executor = Executor::restore(Fleet, &found.records).expect("its own records");
        let clock = Clock::boot(now, site.drift_ppm, &mut site.random);
        let at = clock.at(now);
        let mut agent = Agent {
            cluster: executor.epoch(),
            executor,
            health: Health::default(),
            incarnation: site.random.number() | 1,
            clock,
            file: file[..found.good_bytes].to_vec(),
            writing: VecDeque::new(),
            durable: BTreeSet::new(),
            fences: BTreeMap::new(),
            hosts: BTreeMap::new(),
            watches: BTreeMap::new(),
            inventory: None,
            targets: Vec::new(),
            wall: (WallTime(0), at),
            link: None,
            welcomed: false,
            next_ping: at,
            started: at,
            reconnect_window_ends: Some(at + RECONNECT_WINDOW),
            report_runners_at: at,
            counted_at: at,
            due: None,
            answered_at: 0,
            pings: BTreeMap::new(),
            paused: None,
        };
        agent.note_durable(&found.records);
        agent.check_fences(&found.records);
        site.processes += 1;
        let process = site.processes;
        let mut out = Vec::new();
        agent.executor.resume(at, &mut out);
        site.agents.insert(process, agent);
        let delay = site.random.below(500);
        self.note(format_args!("agent {process} starts with {} records", found.records.len()));
        let inputs = self.perform_all(process, out);
        self.feed(process, inputs);
        self.site_after(delay, SiteEvent::AgentDials { process });
    }

    /// The process ends at any moment; what comes of its file.
    pub(crate) fn end_agent(&mut self, process: u64) -> Option<Vec<u8>> {
        let site = &mut *self.site;
        let agent = site.agents.remove(&process)?;
        let mut file = agent.file;
        // Of what was being written some bytes may be there; a new file is there as a whole or not.
        let mut unsynced = Vec::new();
        for (_, Written { replaces, records }) in agent.writing {
            if replaces {
                if unsynced.is_empty() && site.random.below(2) == 0 {
                    file = journal::encode(records);
                }
                break;
            }
            unsynced.extend(journal::encode(records));
        }
        let kept = site.random.below(unsynced.len() as u64 + 1);
        file.extend(&unsynced[..usize::try_from(kept).expect("few bytes")]);
        for link in site.network.open_at(End::Dialer, |it| it.is_of_agent(process)) {
            self.vanish(link, End::Dialer);
        }
        let runners = |it| matches!(it, Between::Runner { agent, .. } if agent == process);
        for link in self.site.network.open_at(End::Listener, runners) {
            self.vanish(link, End::Listener);
        }
        Some(file)
    }

    /// What the file would be if the process ended now: for a copy of its directory.
    pub(crate) fn file_of(&mut self, process: u64) -> Vec<u8> {
        self.agent(process).map(|agent| agent.file.clone()).unwrap_or_default()
    }

    pub(crate) fn agent_dials(&mut self, process: u64) {
        let (now, site) = (self.now, &mut *self.site);
        let Some(agent) = site.agents.get_mut(&process).filter(|it| it.link.is_none()) else { return };
        // Any of them; the next one when no one listens there.
        let node = usize::try_from(site.random.below(site.gateways.len() as u64)).expect("few");
        if self.around.view(node).is_none() {
            return self.site_after(500, SiteEvent::AgentDials { process });
        }
        let link = site.network.connect(Between::Agent { process, node });
        let before = site.nodes.insert(link, node);
        assert_eq!(before, None, "each session has its own number");
        site.seen.moves += usize::from(site.agent_at.replace(node).is_some_and(|before| before != node));
        let at = agent.now(now);
        (agent.link, agent.welcomed, agent.next_ping) = (Some(link), false, at + LEASE_PING);
        let (epoch, incarnation) = agent.executor.epoch();
        let hello = AgentUp::Hello {
            incarnation: agent.incarnation,
            known: KnownCluster { epoch: epoch.0, incarnation, revoked: 0 },
            held: agent.executor.held(),
            listen: None,
            platforms: vec!["hosts".to_owned()],
        };
        self.up(process, hello);
        // Answered behind everything that the coordinator has for this agent: from then on the lease is live.
        self.ping(process);
        self.plan_agent(process);
    }

    /// Sends a message to the coordinator.
    pub(super) fn up(&mut self, process: u64, message: AgentUp) {
        if let Some(link) = self.agent(process).and_then(|agent| agent.link) {
            self.send_frame(link, End::Dialer, &message.to_frame());
        }
    }

    fn ping(&mut self, process: u64) {
        let now = self.now;
        let Some(agent) = self.agent(process) else { return };
        let sent_ms = agent.now(now).0;
        agent.pings.insert(sent_ms, now);
        self.up(process, AgentUp::Ping { sent_ms, refused: RefusedCounts::default() });
    }

    /// The session with the coordinator is over. One that was superseded ends.
    pub(crate) fn agent_loses(&mut self, process: u64, link: u64, superseded: bool) {
        let site = &mut *self.site;
        let delay = 50 + site.random.below(2000);
        let Some(agent) = site.agents.get_mut(&process).filter(|it| it.link == Some(link)) else { return };
        if superseded {
            return self.end_superseded(process);
        }
        (agent.link, agent.welcomed, agent.answered_at) = (None, false, 0);
        agent.pings.clear();
        self.feed(process, vec![Input::Detached]);
        self.site_after(delay, SiteEvent::AgentDials { process });
    }

    fn end_superseded(&mut self, process: u64) {
        self.note(format_args!("agent {process} is superseded and ends"));
        let newest = self.site.agents.keys().next_back() == Some(&process);
        let file = self.end_agent(process);
        // A later incarnation is at work, or was: then whoever operates the agent starts it again.
        if newest {
            self.site_after(2000, SiteEvent::AgentStarts { file: file.unwrap_or_default() });
        }
    }

    pub(crate) fn agent_receives(&mut self, process: u64, link: u64, bytes: &[u8]) {
        let (frame, _) = Frame::decode(bytes, AGENT_FRAME_BYTES_MAX).expect("a frame of the coordinator");
        let message = AgentDown::from_frame(&frame).expect("a message of the coordinator");
        let now = self.now;
        let Some(agent) = self.agent(process).filter(|agent| agent.link == Some(link)) else { return };
        let input = match message {
            AgentDown::Welcome { cluster, epoch, incarnation, .. } => {
                return self.on_welcome(process, cluster, (Epoch(epoch), incarnation));
            }
            AgentDown::Inventory { runners, last, .. } => {
                assert!(last, "one page holds all");
                let entry = |it: trimaran_wire::v1::agent::RunnerEntry| {
                    let enrolled = Enrolled { labels: it.labels, cordoned: it.cordoned, drained: it.drained };
                    (it.name.parse().expect("a name"), enrolled)
                };
                agent.inventory = Some(runners.into_iter().map(entry).collect());
                self.on_fleet(process);
                return self.feed(process, Vec::new());
            }
            AgentDown::Targets { targets, last } => {
                assert!(last, "one page holds all");
                let target = |target| Target::try_from(target).expect("what was written");
                Input::Targets(targets.into_iter().map(target).collect())
            }
            AgentDown::Installations { installations, last, .. } => {
                assert!(last, "one page holds all");
                return self.on_standing(process, installations);
            }
            AgentDown::AssignHosts { .. } => panic!("one page holds all"),
            AgentDown::Assign(order) => Input::Assign(Assignment::try_from(order).expect("what was written")),
            AgentDown::Cancel { assignment, fence } => {
                Input::Cancel { assignment: AssignmentId(assignment), fence: Fence(fence) }
            }
            AgentDown::Answer { assignment, fence, answer } => {
                assert_ne!(
                    answer,
                    trimaran_wire::v1::agent::ResultAnswer::Unknown,
                    "the log does not know assignment {assignment}, which it gave"
                );
                Input::Answer { assignment: AssignmentId(assignment), fence: Fence(fence), answer }
            }
            AgentDown::Committed { assignment, n } => {
                Input::Committed { assignment: AssignmentId(assignment), n }
            }
            AgentDown::OtherIncarnation { .. } => panic!("the cluster has one incarnation"),
            AgentDown::Revoked { .. } => panic!("no key is revoked"),
            AgentDown::Pong { sent_ms, wall_ms } => {
                let at = agent.now(now);
                agent.wall = (WallTime(wall_ms), at);
                let sent = agent.pings.get(&sent_ms).copied();
                agent.answered_at = agent.answered_at.max(sent.expect("a ping of this session"));
                Input::PongReceived { sent: Timestamp(sent_ms) }
            }
            AgentDown::Superseded => return self.end_superseded(process),
        };
        self.feed(process, vec![input]);
    }

    /// The session is attached: it begins with what the coordinator may have missed.
    fn on_welcome(&mut self, process: u64, cluster: String, (epoch, incarnation): (Epoch, u64)) {
        let Some(agent) = self.agent(process) else { return };
        assert!(agent.executor.is_attachable(&cluster, epoch, incarnation), "there is one incarnation");
        if agent.executor.epoch() != (epoch, incarnation) {
            agent.health.forget_standing();
        }
        agent.welcomed = true;
        let known = std::mem::replace(&mut agent.cluster, (epoch, incarnation)) == (epoch, incarnation);
        let announced = agent.health.announced_verdicts();
        if !known {
            self.welcome_hosts(process);
        }
        self.send_all_runners(process);
        self.send_verdicts(process, announced);
        self.feed(process, vec![Input::Attached { cluster, epoch, incarnation }]);
    }

    fn on_standing(&mut self, process: u64, standing: Vec<WireStanding>) {
        for it in standing {
            let standing = Standing::try_from(it).expect("what was written");
            let now = self.now;
            let Some(agent) = self.agent(process) else { return };
            let change = agent.health.on_standing(agent.clock.at(now), standing);
            self.send_verdicts(process, change);
        }
        self.feed(process, Vec::new());
    }

    /// Targets or runners are others now.
    fn on_fleet(&mut self, process: u64) {
        let now = self.now;
        let Some(agent) = self.agent(process) else { return };
        let Some(inventory) = &agent.inventory else { return };
        let changes = agent.health.on_fleet(agent.clock.at(now), &agent.targets, inventory);
        self.send_verdicts(process, changes);
    }

    pub(super) fn send_verdicts(&mut self, process: u64, changes: impl IntoIterator<Item = Transition>) {
        let now = self.now;
        let Some(agent) = self.agent(process).filter(|agent| agent.is_welcomed()) else { return };
        let at = agent.now(now);
        let clock = (at, agent.wall(at));
        let verdicts: Vec<_> = changes.into_iter().map(|it| it.to_wire(clock)).collect();
        for chunk in verdicts.chunks(VERDICTS_PER_MESSAGE_MAX) {
            self.up(process, AgentUp::Verdicts(chunk.to_vec()));
        }
    }

    /// The file has what was written first.
    pub(crate) fn agent_synced(&mut self, process: u64, sequence: u64) {
        let Some(agent) = self.agent(process) else { return };
        let (written, Written { replaces, records }) = agent.writing.pop_front().expect("it is written");
        assert_eq!(written, sequence, "writes end in their order");
        agent.note_durable(&records);
        if replaces {
            agent.file.clear();
        }
        agent.file.extend(journal::encode(records));
        self.feed(process, vec![Input::Written(sequence)]);
    }

    pub(crate) fn agent_due(&mut self, process: u64) {
        let now = self.now;
        let Some(agent) = self.agent(process) else { return };
        if agent.due.is_none_or(|due| due > now) {
            return;
        }
        agent.due = None;
        let at = agent.now(now);
        let mut changes = agent.health.due(at);
        let settles = agent.reconnect_window_ends.take_if(|end| *end <= at).is_some();
        if settles {
            changes.extend(agent.health.settle(at));
        }
        if agent.counted_at + DOWN_COUNTS_INTERVAL <= at {
            agent.counted_at = at;
            changes.extend(agent.health.take_count_changes());
        }
        let pings = agent.link.is_some() && at >= agent.next_ping;
        if pings {
            agent.next_ping = at + LEASE_PING;
        }
        let reports = agent.report_runners_at <= at;
        self.close_overdue(process);
        if pings {
            self.ping(process);
        }
        self.send_verdicts(process, changes);
        let mut inputs = Vec::new();
        if settles {
            inputs.extend(self.show_all_watched(process));
        }
        if settles || reports {
            self.send_all_runners(process);
        }
        inputs.push(Input::Due);
        self.feed(process, inputs);
    }

    pub(super) fn send_all_runners(&mut self, process: u64) {
        let now = self.now;
        let Some(agent) = self.agent(process) else { return };
        agent.report_runners_at = agent.now(now) + RUNNERS_REPORT_INTERVAL;
        if agent.is_welcomed() {
            let states = self.runner_states(process);
            self.up(process, AgentUp::Runners(states));
        }
    }

    /// Feeds the executor until nothing waits.
    pub(super) fn feed(&mut self, process: u64, inputs: Vec<Input<Fleet>>) {
        let mut inputs = VecDeque::from(inputs);
        while let Some(input) = inputs.pop_front() {
            let now = self.now;
            let Some(agent) = self.agent(process) else { return };
            let mut out = Vec::new();
            agent.executor.step(agent.clock.at(now), input, &mut out);
            inputs.extend(self.perform_all(process, out));
        }
        self.converge(process);
        loop {
            let now = self.now;
            let Some(agent) = self.agent(process).filter(|agent| agent.link.is_some()) else { break };
            let Some(message) = agent.executor.next_message(agent.clock.at(now)) else { break };
            self.up(process, message);
        }
        self.plan_agent(process);
    }

    /// Asks hosts that are not as they should be, while a coordinator is known to see this agent.
    fn converge(&mut self, process: u64) {
        let now = self.now;
        let Some(agent) = self.agent(process) else { return };
        let at = agent.now(now);
        let Some(permit) = agent.executor.permit(at, UNGUARDED_CALL) else { return };
        agent.check_lease(now);
        for order in agent.health.converge(at) {
            self.send_goal(process, None, order, &permit);
        }
    }

    fn plan_agent(&mut self, process: u64) {
        let now = self.now;
        let Some(agent) = self.agent(process) else { return };
        let ping = agent.link.map(|_| agent.next_ping);
        let report = agent.is_welcomed().then_some(agent.report_runners_at);
        let counts = agent.health.has_count_changes().then(|| agent.counted_at + DOWN_COUNTS_INTERVAL);
        let hosts = agent.hosts.values().filter_map(Seen::next_deadline).min();
        let (executor, health) = (agent.executor.next_deadline(), agent.health.next_deadline());
        let all = [ping, report, counts, hosts, executor, health, agent.reconnect_window_ends];
        let Some(at) = all.into_iter().flatten().min() else { return };
        let at = agent.clock.true_time(at).max(now + 1);
        if agent.due.is_none_or(|due| at < due) {
            agent.due = Some(at);
            self.site_after(at - now, SiteEvent::AgentDue { process });
        }
    }

    fn perform_all(&mut self, process: u64, outputs: Vec<Output<Fleet>>) -> Vec<Input<Fleet>> {
        let mut inputs = Vec::new();
        for output in outputs {
            match output {
                Output::Write { sequence, records } => self.write(process, sequence, (false, records)),
                Output::Replace { sequence, records } => self.write(process, sequence, (true, records)),
                Output::Targets(targets) => {
                    if let Some(agent) = self.agent(process) {
                        agent.targets = targets;
                    }
                    self.on_fleet(process);
                }
                Output::Call { assignment, id, call, permit, .. } => {
                    inputs.extend(self.send_goal(process, Some((assignment, id)), call, &permit));
                }
                Output::Watch { assignment, query, .. } => {
                    if let Some(agent) = self.agent(process) {
                        agent.watches.insert(assignment, query);
                    }
                    inputs.extend(self.show_all(process, assignment));
                }
                Output::Unwatch { assignment } => {
                    if let Some(agent) = self.agent(process) {
                        agent.watches.remove(&assignment);
                    }
                }
                Output::Busy { installation } => {
                    if let Some(agent) = self.agent(process) {
                        agent.health.begin_assignment(&installation);
                    }
                }
                Output::Quiet { installation, fence } => {
                    let now = self.now;
                    let Some(agent) = self.agent(process) else { return inputs };
                    let change = agent.health.end_assignment(agent.clock.at(now), &installation, fence);
                    self.send_verdicts(process, change);
                }
                Output::Refused(refused) => self.note(format_args!("agent {process}: {refused}")),
            }
        }
        inputs
    }

    fn write(&mut self, process: u64, sequence: u64, (replaces, records): (bool, Vec<JournalRecord>)) {
        let (now, site) = (self.now, &mut *self.site);
        let delay = 1 + site.random.below(30);
        let Some(agent) = site.agents.get_mut(&process) else { return };
        if !replaces {
            agent.check_fences(&records);
        }
        agent.writing.push_back((sequence, Written { replaces, records }));
        let at = (now + delay).max(site.synced_at.get(&process).copied().unwrap_or(0));
        site.synced_at.insert(process, at);
        self.site_after(at - now, SiteEvent::AgentSynced { process, sequence });
    }
}
