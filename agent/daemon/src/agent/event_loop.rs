//! The loop: inputs to the executor in the order in which they came, outputs performed in their order.
//!
//! What runners send is handled in `runner_events`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use trimaran_agent_core::platform::{Answer, Judgment, Standing};
use trimaran_agent_core::{Executor, Input, Output, Ownership};
use trimaran_host_core::fleet::health::{Enrolled, Health, Transition};
use trimaran_host_core::fleet::{HostObservation, Watched};
use trimaran_model::assignment::Assignment;
use trimaran_model::id::{AssignmentId, Epoch, Fence, HostName, InstallationId, TargetName};
use trimaran_model::limits::{
    DOWN_COUNTS_INTERVAL, LEASE_PING, RUNNERS_PER_MESSAGE_MAX, SESSION_QUEUE_MAX, UNGUARDED_CALL,
    VERDICTS_PER_MESSAGE_MAX,
};
use trimaran_model::report::Report;
use trimaran_model::target::{PlatformKind, Target};
use trimaran_model::time::{Millis, Timestamp, WallTime};
use trimaran_model::verdict::Verdict;
use trimaran_process::clock::boot_time;
use trimaran_targets::Happened;
use trimaran_transport::{CloseCode, Endpoint, Session};
use trimaran_wire::codec::CodecError;
use trimaran_wire::v1::agent::{
    AgentDown, AgentUp, AgentVerdict, KnownCluster, RefusedCounts, RunnerEntry, RunnerState, WireStanding,
};
use trimaran_wire::v1::assignment::WireAssignment;

use super::drivers::{AgentTargets, DRIVEN, Drivers};
use super::event::Event;
use super::fleet_platform::{FleetOrder, Watcher};
use super::hosts::Hosts;
use super::journal::{Action, Journal, unwritable};
use super::needed::NeededReleases;
use super::pages::Pages;
use super::refused_keys::RefusedKeys;
use crate::clock::{ClusterClock, instant_of};
use crate::dial;

/// A coordinator without a leader closes the session; one that sends nothing at all is left after this time.
const WELCOME_TIMEOUT: Millis = Millis::seconds(15);
/// Runners of an agent that was started again are back within this time, if they are there.
const RECONNECT_WINDOW: Millis = Millis::seconds(6);
/// When each runner was last seen is reported this often.
const RUNNERS_REPORT_INTERVAL: Millis = Millis::seconds(30);
/// Runners that came or left are reported together, this often.
const RUNNER_CHANGES_INTERVAL: Millis = Millis(50);
/// While the state may be another process's, this one asks so often whether it is its own again.
const OWNERSHIP_CHECK: Duration = Duration::from_millis(100);

/// Inputs of the executor between two looks at what came.
const INPUTS_PER_TURN: usize = 256;

/// Messages of assignments are put into a session's queue only while this much of it is free: at most 16 wait there.
const CAPACITY_BEHIND_MESSAGES: usize = SESSION_QUEUE_MAX - 16;

/// The owner of everything that the agent knows.
pub(crate) struct AgentLoop {
    executor: Executor<Drivers>,
    journal: Journal,
    pub(super) hosts: Hosts,
    pub(super) health: Health,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) clock: ClusterClock,
    pub(super) refused: RefusedKeys,
    /// Connected runners were not sent all of `refused` that concerns them.
    pub(super) runners_are_behind: bool,
    /// The state of the cluster that is obeyed: its epoch and incarnation.
    pub(super) cluster: (Epoch, u64),
    pages: Pages,
    listen: Option<String>,
    incarnation: u64,
    /// Nothing is done while another process may work with the state.
    ownership: Ownership,
    link: Option<Link>,
    /// The enrolled runners of this agent with their labels; `None` before a coordinator sent them.
    pub(super) inventory: Option<BTreeMap<HostName, Enrolled>>,
    /// The targets of this agent, as the executor has them.
    fleet: Vec<Target>,
    /// Who watches hosts, in the order in which they came.
    watchers: Vec<(Watched, Watcher)>,
    targets: AgentTargets,
    started: Timestamp,
    needed: NeededReleases,
    /// Until then a host that is not there may still come back from before this agent's start.
    reconnect_window_ends: Option<Timestamp>,
    /// Inputs that wait for the executor.
    pub(super) inputs: VecDeque<Input<Drivers>>,
    report_runners_at: Timestamp,
    /// Runners that came or left and were not reported, and when such ones were reported last.
    changed_runners: BTreeSet<HostName>,
    reported_runners_at: Timestamp,
    /// When hosts that are down were last counted for the coordinators.
    counted_at: Timestamp,
}

/// The session with a coordinator.
struct Link {
    session: Session,
    out: mpsc::Sender<AgentUp>,
    since: Timestamp,
    welcomed: bool,
    next_ping: Timestamp,
}

impl AgentLoop {
    #[expect(clippy::too_many_arguments, reason = "the parts of one process, wired once")]
    pub(crate) fn new(
        executor: Executor<Drivers>,
        journal: Journal,
        hosts: Hosts,
        targets: AgentTargets,
        needed: NeededReleases,
        endpoint: Arc<Endpoint>,
        clock: ClusterClock,
        refused: RefusedKeys,
        listen: Option<String>,
        incarnation: u64,
        ownership: Ownership,
    ) -> Self {
        Self {
            cluster: executor.epoch(),
            executor,
            journal,
            hosts,
            health: Health::default(),
            endpoint,
            clock,
            refused,
            runners_are_behind: false,
            pages: Pages::default(),
            listen,
            incarnation,
            ownership,
            link: None,
            inventory: None,
            fleet: Vec::new(),
            watchers: Vec::new(),
            targets,
            started: boot_time(),
            needed,
            reconnect_window_ends: Some(boot_time() + RECONNECT_WINDOW),
            inputs: VecDeque::new(),
            report_runners_at: Timestamp(0),
            changed_runners: BTreeSet::new(),
            reported_runners_at: Timestamp(0),
            counted_at: Timestamp(0),
        }
    }

    /// Runs until the process is asked to end or has to.
    pub(crate) async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        mut fleet_orders: mpsc::UnboundedReceiver<FleetOrder>,
        stop: &CancellationToken,
    ) -> Result<(), Report> {
        let mut written = self.journal.written();
        if !self.is_owned(stop).await {
            return Ok(());
        }
        let mut out = Vec::new();
        self.executor.resume(boot_time(), &mut out);
        self.execute(out);
        self.work();
        loop {
            if !self.is_owned(stop).await {
                return Ok(());
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                changed = written.changed() => {
                    let now = written.borrow_and_update().clone();
                    if let Some(report) = now.failed.or(changed.err().map(|error| unwritable(&error))) {
                        return Err(report);
                    }
                    self.inputs.push_back(Input::Written(now.sequence));
                }
                event = events.recv() => match event {
                    Some(event) => self.take(event)?,
                    None => return Ok(()),
                },
                () = tokio::time::sleep_until(instant_of(self.next_deadline())) => self.due(),
                Some(order) = fleet_orders.recv() => self.on_fleet_order(order),
                () = self.targets.changed() => self.take_found(),
                () = self.session_has_capacity() => {}
                () = std::future::ready(()), if !self.inputs.is_empty() => {}
            }
            self.work();
        }
    }

    /// Waits until the state is this process's; whether it goes on then.
    async fn is_owned(&self, stop: &CancellationToken) -> bool {
        while !self.ownership.is_live(boot_time()) && !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(OWNERSHIP_CHECK) => {}
            }
        }
        !stop.is_cancelled()
    }

    fn next_deadline(&self) -> Timestamp {
        let link = self.link.as_ref();
        let ping = link.map(|link| link.next_ping);
        let welcome = link.filter(|link| !link.welcomed).map(|link| link.since + WELCOME_TIMEOUT);
        let report = link.filter(|link| link.welcomed).map(|_| self.report_runners_at);
        let runners = self.reported_runners_at + RUNNER_CHANGES_INTERVAL;
        let runners = (!self.changed_runners.is_empty() && self.is_welcomed()).then_some(runners);
        let counts = self.health.has_count_changes().then(|| self.counted_at + DOWN_COUNTS_INTERVAL);
        let away = self.health.next_deadline();
        let (executor, hosts) = (self.executor.next_deadline(), self.hosts.next_deadline());
        let window = self.reconnect_window_ends;
        let deadlines = [ping, welcome, report, runners, counts, away, window, executor, hosts];
        deadlines.into_iter().flatten().min().unwrap_or(boot_time() + Millis::minutes(1))
    }

    fn due(&mut self) {
        let now = boot_time();
        self.hosts.close_overdue(now);
        if let Some(link) = &mut self.link {
            if !link.welcomed && now >= link.since + WELCOME_TIMEOUT {
                link.session.close(CloseCode::Silent, "there was no welcome");
            }
            if now >= link.next_ping {
                link.next_ping = now + LEASE_PING;
                self.ping(now);
            }
        }
        if self.reconnect_window_ends.take_if(|at| *at <= now).is_some() {
            for (watched, watcher) in &self.watchers {
                self.show_all(watched, watcher);
            }
            let changes = self.health.settle(now);
            self.send_verdicts(changes);
            self.send_all_runners(now);
        }
        let changes = self.health.due(now);
        self.send_verdicts(changes);
        if self.counted_at + DOWN_COUNTS_INTERVAL <= now {
            self.counted_at = now;
            let counts = self.health.take_count_changes();
            self.send_verdicts(counts);
        }
        if self.report_runners_at <= now {
            self.send_all_runners(now);
        }
        if self.reported_runners_at + RUNNER_CHANGES_INTERVAL <= now {
            self.send_changed_runners(now);
        }
        self.catch_up_runners();
        self.inputs.push_back(Input::Due);
    }

    /// Feeds the executor with what waits, at most so much that what comes meanwhile does not wait for long.
    fn work(&mut self) {
        for _ in 0..INPUTS_PER_TURN {
            let Some(input) = self.inputs.pop_front() else { break };
            let mut out = Vec::new();
            self.executor.step(boot_time(), input, &mut out);
            self.execute(out);
        }
        if self.inputs.is_empty() {
            self.converge();
        }
        self.send_messages();
    }

    /// Asks hosts that are not as they should be, while a coordinator is known to see this agent.
    fn converge(&mut self) {
        let now = boot_time();
        let Some(permit) = self.executor.permit(now, UNGUARDED_CALL) else { return };
        for order in self.health.converge(now) {
            tracing::info!(host = order.host.as_str(), installation = %order.goal.installation, "asked to join or leave");
            // What it says of the order shows whether it took it.
            let (answer, _) = oneshot::channel();
            self.hosts.send_goal(order, permit.clone(), answer);
        }
    }

    /// Targets or runners are others now.
    fn on_fleet(&mut self) {
        let Some(inventory) = &self.inventory else { return };
        let changes = self.health.on_fleet(boot_time(), &self.fleet, inventory);
        self.send_verdicts(changes);
    }

    /// Sends the executor's messages as far as the session takes them: few wait in its queue, so that a ping is never
    /// behind many.
    fn send_messages(&mut self) {
        while let Some(link) = &self.link
            && link.out.capacity() > CAPACITY_BEHIND_MESSAGES
            && let Some(message) = self.executor.next_message(boot_time())
        {
            self.send(message);
        }
    }

    /// Comes when messages wait and the session takes one again.
    fn session_has_capacity(&self) -> impl Future<Output = ()> + use<> {
        let link = self.link.as_ref().filter(|_| self.executor.has_messages());
        let out = link.map(|link| link.out.clone());
        // It holds what is free while it waits; it is dropped before the loop sends anything.
        async move {
            let capacity = match &out {
                Some(out) => out.reserve_many(CAPACITY_BEHIND_MESSAGES + 1).await.is_ok(),
                None => false,
            };
            // One whose session has ended waits for the news of it.
            if !capacity {
                std::future::pending::<()>().await;
            }
        }
    }

    fn execute(&mut self, outputs: Vec<Output<Drivers>>) {
        for output in outputs {
            match output {
                Output::Write { sequence, records } => {
                    self.journal.submit(Action::Append { sequence, records })
                }
                Output::Replace { sequence, records } => {
                    self.journal.submit(Action::Replace { sequence, records });
                }
                Output::Targets(targets) => {
                    self.fleet.clone_from(&targets);
                    self.targets.set_targets(targets);
                    self.on_fleet();
                }
                Output::Call { assignment, target, id, call, permit } => {
                    self.targets.call(assignment, &target, id, call, permit);
                }
                Output::Watch { assignment, target, query } => self.targets.watch(assignment, target, query),
                Output::Unwatch { assignment } => self.targets.unwatch(assignment),
                Output::Busy { installation } => {
                    self.targets.busy(&installation);
                    self.health.begin_assignment(&installation);
                }
                Output::Quiet { installation, fence } => {
                    self.targets.quiet(&installation, fence);
                    // What it is now the coordinators say, and then its health is announced.
                    let change = self.health.end_assignment(boot_time(), &installation, fence);
                    self.send_verdicts(change);
                }
                Output::Refused(refused) => tracing::warn!("{refused}"),
            }
        }
    }

    /// Puts a message into the session's queue. One that does not take it any more is closed.
    fn send(&self, message: AgentUp) {
        if let Some(link) = &self.link
            && link.out.try_send(message).is_err()
        {
            link.session.close(CloseCode::Busy, "the coordinator does not read");
        }
    }

    fn take(&mut self, event: Event) -> Result<(), Report> {
        match event {
            Event::Connected { session, out } => self.on_connected(session, out),
            Event::FromCoordinator { session, message } => {
                if self.is_linked_by(session) {
                    return self.on_message(message);
                }
            }
            Event::Disconnected { session } => {
                if self.is_linked_by(session) {
                    self.link = None;
                    self.inputs.push_back(Input::Detached);
                }
            }
            Event::Ended(report) => return Err(report),
            Event::Runner { host, event } => self.on_runner_event(&host, event),
        }
        Ok(())
    }

    fn on_connected(&mut self, session: Session, out: mpsc::Sender<AgentUp>) {
        let now = boot_time();
        self.link = Some(Link { session, out, since: now, welcomed: false, next_ping: now + LEASE_PING });
        let (epoch, incarnation) = self.executor.epoch();
        self.send(AgentUp::Hello {
            incarnation: self.incarnation,
            known: KnownCluster { epoch: epoch.0, incarnation, revoked: self.refused.up_to(incarnation) },
            held: self.executor.held(),
            listen: self.listen.clone(),
            platforms: DRIVEN.iter().map(|platform| platform.as_str().to_owned()).collect(),
        });
        // Answered behind everything that the coordinator has for this agent: from then on the lease is live.
        self.ping(now);
    }

    fn ping(&self, now: Timestamp) {
        let refused = self.endpoint.counters().refused();
        let refused = RefusedCounts { handshakes: refused.handshakes, frames: refused.frames };
        self.send(AgentUp::Ping { sent_ms: now.0, refused });
    }

    fn on_message(&mut self, message: AgentDown) -> Result<(), Report> {
        match message {
            AgentDown::Welcome { cluster, epoch, incarnation, .. } => {
                self.on_welcome(cluster, Epoch(epoch), incarnation);
            }
            AgentDown::Inventory { runners, last, .. } => {
                if let Some(runners) = self.pages.add_runners(runners, last) {
                    self.on_inventory(runners);
                }
            }
            AgentDown::Targets { targets, last } => {
                if let Some(targets) = self.pages.add_targets(targets, last) {
                    match targets.into_iter().map(Target::try_from).collect() {
                        Ok(targets) => self.inputs.push_back(Input::Targets(targets)),
                        Err(error) => self.refuse(&error),
                    }
                }
            }
            AgentDown::Installations { installations, whole, last } => {
                if let Some(standing) = self.pages.add_standing(installations, last) {
                    self.on_standing(standing, whole);
                }
            }
            AgentDown::AssignHosts { assignment, hosts } => self.pages.add_hosts(assignment, hosts),
            AgentDown::Assign(order) => self.on_order(order),
            AgentDown::Cancel { assignment, fence } => {
                let assignment = AssignmentId(assignment);
                self.inputs.push_back(Input::Cancel { assignment, fence: Fence(fence) });
            }
            AgentDown::Answer { assignment, fence, answer } => {
                let (assignment, fence) = (AssignmentId(assignment), Fence(fence));
                self.inputs.push_back(Input::Answer { assignment, fence, answer });
            }
            AgentDown::Committed { assignment, n } => {
                self.inputs.push_back(Input::Committed { assignment: AssignmentId(assignment), n });
            }
            AgentDown::OtherIncarnation { epoch, .. } => self.refuse_cluster(epoch),
            AgentDown::Revoked { up_to, keys, issuers } => {
                self.on_revoked(up_to, &keys, issuers);
            }
            AgentDown::Pong { sent_ms, wall_ms } => {
                self.clock.set(WallTime(wall_ms));
                self.inputs.push_back(Input::PongReceived { sent: Timestamp(sent_ms) });
            }
            AgentDown::Superseded => return Err(dial::superseded()),
        }
        Ok(())
    }

    /// The session is attached: it begins with what the coordinator may have missed.
    fn on_welcome(&mut self, cluster: String, epoch: Epoch, incarnation: u64) {
        if !self.executor.is_attachable(&cluster, epoch, incarnation) {
            return self.refuse_cluster(epoch.0);
        }
        self.pages = Pages::default();
        if self.executor.epoch() != (epoch, incarnation) {
            // What should run is said anew by each incarnation: one that was restored may not know yet.
            self.health.forget_standing();
            self.targets.set_standing(Vec::new(), true);
        }
        if let Some(link) = &mut self.link {
            link.welcomed = true;
        }
        self.inputs.push_back(Input::Attached { cluster, epoch, incarnation });
        self.obey((epoch, incarnation));
        self.send_all_runners(boot_time());
        self.send_verdicts(self.health.announced_verdicts());
        let judged_so_far = self.targets.judgments().into_iter();
        self.send_judgments(judged_so_far.map(|(standing, judgment)| self.judged(standing, judgment)));
    }

    /// The coordinator is of another incarnation of the cluster than the one that gave this agent its orders: nothing is done
    /// for it, what runs stays, and other coordinators are dialed.
    fn refuse_cluster(&self, epoch: u16) {
        let (seen, incarnation) = self.executor.epoch();
        tracing::error!(
            epoch,
            seen = seen.0,
            incarnation,
            "the coordinator is of another incarnation of this cluster (restored from a backup, or a copy); it is not obeyed"
        );
        if let Some(link) = &self.link {
            link.session.close(CloseCode::Busy, "this agent knows another incarnation of the cluster");
        }
    }

    /// A message of the coordinator that this build can't read.
    fn refuse(&self, error: &CodecError) {
        if let Some(link) = &self.link {
            tracing::error!(%error, "the coordinator sent what this agent does not understand");
            link.session.refuse_frame(&error.to_string());
        }
    }

    fn on_order(&mut self, order: WireAssignment) {
        match Assignment::try_from(self.pages.complete(order)) {
            Ok(order) => {
                self.needed.add_order(&order);
                self.inputs.push_back(Input::Assign(order));
            }
            Err(error) => self.refuse(&error),
        }
    }

    fn on_standing(&mut self, standing: Vec<WireStanding>, whole: bool) {
        let mut standing: Vec<Standing> = match standing.into_iter().map(Standing::try_from).collect() {
            Ok(standing) => standing,
            Err(error) => return self.refuse(&error),
        };
        for it in &mut standing {
            if it.hosts.is_some() {
                let change = self.health.on_standing(boot_time(), it.clone());
                self.send_verdicts(change);
                // No observer needs it.
                it.hosts = None;
            }
        }
        let is_hosts = |target: &TargetName| {
            let target = self.executor.target(target);
            target.is_none_or(|it| it.platform.kind() == PlatformKind::Hosts)
        };
        self.needed.set_standing(&standing, whole, is_hosts);
        self.targets.set_standing(standing, whole);
    }

    fn on_inventory(&mut self, runners: Vec<RunnerEntry>) {
        let entry = |runner: RunnerEntry| {
            let RunnerEntry { name, labels, cordoned, drained } = runner;
            Some((name.parse::<HostName>().ok()?, Enrolled { labels, cordoned, drained }))
        };
        let inventory: BTreeMap<_, _> = runners.into_iter().filter_map(entry).collect();
        self.hosts.keep(|host| inventory.contains_key(host));
        self.inventory = Some(inventory);
        self.on_fleet();
    }

    /// What platforms found goes to the executor, in its order.
    fn take_found(&mut self) {
        for found in self.targets.take() {
            match found {
                Happened::Answered { assignment, call, answer } => self.inputs.push_back(match answer {
                    Answer::Reply(reply) => Input::Reply { assignment, call, reply },
                    Answer::Lost => Input::Lost { assignment, call },
                    Answer::Unmade => Input::Unmade { assignment, call },
                }),
                Happened::Observed { assignment, snapshot } => {
                    self.inputs.push_back(Input::Observed { assignment, snapshot });
                }
                Happened::Judged { standing, judgment } => {
                    self.send_judgments([self.judged(standing, judgment)]);
                }
            }
        }
    }

    fn on_fleet_order(&mut self, order: FleetOrder) {
        match order {
            FleetOrder::Call { goal, permit, answer } => self.hosts.send_goal(goal, permit, answer),
            FleetOrder::Watch { watched, watcher } => {
                self.watchers.retain(|(_, watcher)| !watcher.is_gone());
                self.show_all(&watched, &watcher);
                self.watchers.push((watched, watcher));
            }
        }
    }

    /// Shows a new watch all its hosts. One that is not known is shown when it comes, or as absent when it had
    /// time to come.
    fn show_all(&self, Watched { installation, hosts }: &Watched, watcher: &Watcher) {
        for host in hosts {
            let known = self.hosts.observation(host, installation);
            let absent = || HostObservation {
                host: host.clone(),
                connected: false,
                since: self.started,
                session: 0,
                report: None,
            };
            let observation =
                if self.reconnect_window_ends.is_none() { Some(known.unwrap_or_else(absent)) } else { known };
            if let Some(observation) = observation {
                watcher.show(observation);
            }
        }
    }

    /// Shows a host to those who watch it.
    pub(super) fn observe(&mut self, host: &HostName, installation: Option<&InstallationId>) {
        self.watchers.retain(|(_, watcher)| !watcher.is_gone());
        for (watched, watcher) in &self.watchers {
            let concerned = installation.is_none_or(|installation| *installation == watched.installation);
            if concerned
                && watched.hosts.contains(host)
                && let Some(observation) = self.hosts.observation(host, &watched.installation)
            {
                watcher.show(observation);
            }
        }
    }

    /// Whether this is the session with a coordinator, and not an earlier one.
    fn is_linked_by(&self, session: u64) -> bool {
        self.link.as_ref().is_some_and(|link| link.session.id() == session)
    }

    /// Whether a coordinator listens.
    fn is_welcomed(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.welcomed)
    }

    pub(super) fn send_verdicts(&self, changes: impl IntoIterator<Item = Transition>) {
        let clock = (boot_time(), self.clock.now());
        self.send_judgments(changes.into_iter().map(|it| wire_verdict(it, clock)));
    }

    fn send_judgments(&self, verdicts: impl IntoIterator<Item = AgentVerdict>) {
        if !self.is_welcomed() {
            return;
        }
        let verdicts: Vec<AgentVerdict> = verdicts.into_iter().collect();
        for chunk in verdicts.chunks(VERDICTS_PER_MESSAGE_MAX) {
            self.send(AgentUp::Verdicts(chunk.to_vec()));
        }
    }

    /// A judgment of a platform's observer.
    fn judged(&self, standing: Standing, judgment: Judgment) -> AgentVerdict {
        let Standing { installation, fence, .. } = standing;
        let Judgment { verdict, failure, down, blind_since } = judgment;
        // What can't be seen is not known, whatever it was before.
        let verdict = if blind_since.is_some() { Verdict::Unknown } else { verdict };
        let wall = self.clock.now();
        let blind_since_ms = blind_since.map(|at| wall.0 - (boot_time() - at).0.cast_signed());
        let change = Transition { installation, fence, verdict, failure, down, hosts: None };
        AgentVerdict { blind_since_ms, ..wire_verdict(change, (boot_time(), wall)) }
    }

    /// A runner came or left.
    pub(super) fn report_runner(&mut self, host: &HostName) {
        self.changed_runners.insert(host.clone());
    }

    fn send_changed_runners(&mut self, now: Timestamp) {
        if !self.is_welcomed() {
            return;
        }
        let wall = self.clock.now();
        let changed = std::mem::take(&mut self.changed_runners);
        let states: Vec<RunnerState> =
            changed.iter().filter_map(|host| self.hosts.state(host, wall)).collect();
        if !states.is_empty() {
            self.reported_runners_at = now;
        }
        for chunk in states.chunks(RUNNERS_PER_MESSAGE_MAX) {
            self.send(AgentUp::Runners(chunk.to_vec()));
        }
    }

    fn send_all_runners(&mut self, now: Timestamp) {
        self.report_runners_at = now + RUNNERS_REPORT_INTERVAL;
        if !self.is_welcomed() {
            return;
        }
        self.changed_runners.clear();
        let wall = self.clock.now();
        let mut states: Vec<RunnerState> =
            self.hosts.names().iter().filter_map(|host| self.hosts.state(host, wall)).collect();
        if self.reconnect_window_ends.is_none() {
            // Those that did not come in the time that they had are away, too.
            let enrolled = self.inventory.iter().flat_map(|inventory| inventory.keys());
            states.extend(enrolled.filter(|host| !self.hosts.knows(host)).map(Hosts::never_seen));
        }
        for chunk in states.chunks(RUNNERS_PER_MESSAGE_MAX) {
            self.send(AgentUp::Runners(chunk.to_vec()));
        }
    }
}

fn wire_verdict(change: Transition, clock: (Timestamp, WallTime)) -> AgentVerdict {
    let Transition { installation, verdict, down, .. } = &change;
    tracing::info!(%installation, verdict = verdict.as_str(), down, "health");
    change.to_wire(clock)
}
