//! The loop: inputs to the executor in the order in which they came, outputs performed in their order.
//!
//! What runners send is handled in `runner_events`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use trimaran_agent_core::{Executor, Input, Output};
use trimaran_host_core::fleet::health::{Health, Transition};
use trimaran_host_core::fleet::{Fleet, HostObservation, Watched};
use trimaran_model::assignment::Assignment;
use trimaran_model::error_code;
use trimaran_model::id::{AssignmentId, Epoch, Fence, HostName, InstallationId};
use trimaran_model::limits::{
    DOWN_COUNTS_INTERVAL, LEASE_PING, RUNNERS_PER_MESSAGE_MAX, SESSION_QUEUE_MAX, VERDICTS_PER_MESSAGE_MAX,
};
use trimaran_model::report::Report;
use trimaran_model::time::{Millis, Timestamp, WallTime};
use trimaran_process::clock::boot_time;
use trimaran_transport::{CloseCode, Endpoint, RevokedKeys, Session};
use trimaran_wire::codec::CodecError;
use trimaran_wire::v1::agent::{AgentDown, AgentUp, AgentVerdict, RefusedCounts, RunnerEntry, RunnerState};

use super::event::Event;
use super::hosts::{Asked, Hosts};
use super::journal_file::{Action, JournalFile};
use super::pages::Pages;
use crate::clock::{ClusterClock, instant_of};
use crate::dial;

/// A coordinator without a leader closes the session; one that sends nothing at all is left after this time.
const WELCOME_TIMEOUT: Millis = Millis::seconds(15);
/// Runners of an agent that was started again are back within this time, if they are there.
const RECONNECT_WINDOW: Millis = Millis::seconds(6);
/// When each runner was last seen is reported this often.
const RUNNERS_REPORT_INTERVAL: Millis = Millis::seconds(30);

/// Messages of assignments are put into a session's queue only while this much of it is free: at most 16 wait there.
const ROOM_BEHIND_MESSAGES: usize = SESSION_QUEUE_MAX - 16;

/// The owner of everything that the agent knows.
pub(crate) struct AgentLoop {
    executor: Executor<Fleet>,
    journal: JournalFile,
    pub(super) hosts: Hosts,
    pub(super) health: Health,
    endpoint: Arc<Endpoint>,
    pub(super) clock: ClusterClock,
    revoked: RevokedKeys,
    pages: Pages,
    listen: Option<String>,
    incarnation: u64,
    link: Option<Link>,
    /// The enrolled runners of this agent with their labels; `None` before a coordinator sent them.
    pub(super) inventory: Option<BTreeMap<HostName, BTreeMap<String, String>>>,
    watches: BTreeMap<AssignmentId, Watched>,
    /// Until then a host that is not there may still come back from before this agent's start.
    reconnect_window_ends: Option<Timestamp>,
    /// Inputs that wait for the executor.
    pub(super) inputs: VecDeque<Input<Fleet>>,
    report_runners_at: Timestamp,
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
        executor: Executor<Fleet>,
        journal: JournalFile,
        hosts: Hosts,
        endpoint: Arc<Endpoint>,
        clock: ClusterClock,
        revoked: RevokedKeys,
        listen: Option<String>,
        incarnation: u64,
    ) -> Self {
        Self {
            executor,
            journal,
            hosts,
            health: Health::default(),
            endpoint,
            clock,
            revoked,
            pages: Pages::default(),
            listen,
            incarnation,
            link: None,
            inventory: None,
            watches: BTreeMap::new(),
            reconnect_window_ends: Some(boot_time() + RECONNECT_WINDOW),
            inputs: VecDeque::new(),
            report_runners_at: Timestamp(0),
            counted_at: Timestamp(0),
        }
    }

    /// Runs until the process is asked to end or has to.
    pub(crate) async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        stop: &CancellationToken,
    ) -> Result<(), Report> {
        let mut written = self.journal.written();
        let mut out = Vec::new();
        self.executor.resume(boot_time(), &mut out);
        self.execute(out);
        self.work();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                changed = written.changed() => {
                    let now = written.borrow_and_update().clone();
                    if let Some(why) = now.failed.or(changed.err().map(|error| error.to_string())) {
                        let message = "the journal can't be written any more";
                        return Err(Report { cause: Some(why), ..Report::new(error_code::DATA_DIR, message) });
                    }
                    self.inputs.push_back(Input::Written(now.sequence));
                }
                event = events.recv() => match event {
                    Some(event) => self.take(event)?,
                    None => return Ok(()),
                },
                () = tokio::time::sleep_until(instant_of(self.next_deadline())) => self.due(),
                () = self.session_has_room() => {}
            }
            self.work();
        }
    }

    fn next_deadline(&self) -> Timestamp {
        let link = self.link.as_ref();
        let ping = link.map(|link| link.next_ping);
        let welcome = link.filter(|link| !link.welcomed).map(|link| link.since + WELCOME_TIMEOUT);
        let report = link.filter(|link| link.welcomed).map(|_| self.report_runners_at);
        let counts = self.health.has_count_changes().then(|| self.counted_at + DOWN_COUNTS_INTERVAL);
        let (executor, hosts) = (self.executor.next_deadline(), self.hosts.next_deadline());
        let deadlines = [ping, welcome, report, counts, self.reconnect_window_ends, executor, hosts];
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
            for assignment in self.watches.keys().copied().collect::<Vec<_>>() {
                self.observe_all(assignment);
            }
            let all = self.health.all_verdicts();
            self.send_verdicts(all);
        }
        if self.counted_at + DOWN_COUNTS_INTERVAL <= now {
            self.counted_at = now;
            let counts = self.health.take_count_changes();
            self.send_verdicts(counts);
        }
        if self.report_runners_at <= now {
            self.send_all_runners(now);
        }
        self.inputs.push_back(Input::Due);
    }

    /// Feeds the executor until nothing waits.
    fn work(&mut self) {
        while let Some(input) = self.inputs.pop_front() {
            let mut out = Vec::new();
            self.executor.step(boot_time(), input, &mut out);
            self.execute(out);
        }
        self.send_messages();
    }

    /// Sends the executor's messages as far as the session takes them: few wait in its queue, so that a ping is never
    /// behind many.
    fn send_messages(&mut self) {
        while let Some(link) = &self.link
            && link.out.capacity() > ROOM_BEHIND_MESSAGES
            && let Some(message) = self.executor.next_message(boot_time())
        {
            self.send(message);
        }
    }

    /// Comes when messages wait and the session takes one again.
    fn session_has_room(&self) -> impl Future<Output = ()> + use<> {
        let link = self.link.as_ref().filter(|_| self.executor.has_messages());
        let out = link.map(|link| link.out.clone());
        // It holds what is free while it waits; it is dropped before the loop sends anything.
        async move {
            let room = match &out {
                Some(out) => out.reserve_many(ROOM_BEHIND_MESSAGES + 1).await.is_ok(),
                None => false,
            };
            // One whose session has ended waits for the news of it.
            if !room {
                std::future::pending::<()>().await;
            }
        }
    }

    fn execute(&mut self, outputs: Vec<Output<Fleet>>) {
        for output in outputs {
            match output {
                Output::Write { sequence, records } => {
                    self.journal.submit(Action::Append { sequence, records })
                }
                Output::Replace { sequence, records } => {
                    self.journal.submit(Action::Replace { sequence, records });
                }
                Output::Call { assignment, id, call, permit } => {
                    match self.hosts.send_goal(call, (assignment, id), permit) {
                        Ok(()) => {}
                        Err(Some(reply)) => {
                            self.inputs.push_back(Input::Reply { assignment, call: id, reply })
                        }
                        Err(None) => self.inputs.push_back(Input::Lost { assignment, call: id }),
                    }
                }
                Output::Watch { assignment, query } => {
                    self.watches.insert(assignment, query);
                    self.observe_all(assignment);
                }
                Output::Unwatch { assignment } => drop(self.watches.remove(&assignment)),
                Output::Busy { installation } => self.health.begin_assignment(&installation),
                Output::Quiet { installation, fence } => {
                    let change = self.health.end_assignment(&installation, fence);
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
        self.send(AgentUp::Hello {
            incarnation: self.incarnation,
            epoch: self.executor.epoch().0,
            held: self.executor.held(),
            listen: self.listen.clone(),
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
            AgentDown::Welcome { cluster, epoch, .. } => {
                self.pages = Pages::default();
                if let Some(link) = &mut self.link {
                    link.welcomed = true;
                }
                self.inputs.push_back(Input::Attached { cluster, epoch: Epoch(epoch) });
                self.send_all_runners(boot_time());
                self.send_verdicts(self.health.announced_verdicts());
            }
            AgentDown::Inventory { runners, last, .. } => {
                if let Some(runners) = self.pages.add_runners(runners, last) {
                    self.on_inventory(runners);
                }
            }
            AgentDown::AssignHosts { assignment, hosts } => self.pages.add_hosts(assignment, hosts),
            AgentDown::Assign(assignment) => match Assignment::try_from(self.pages.complete(assignment)) {
                Ok(assignment) => self.inputs.push_back(Input::Assign(assignment)),
                Err(error) => self.refuse(&error),
            },
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
            AgentDown::Revoked(keys) => {
                if self.revoked.extend(keys) {
                    self.endpoint.close_revoked();
                }
            }
            AgentDown::Pong { sent_ms, wall_ms } => {
                self.clock.set(WallTime(wall_ms));
                self.inputs.push_back(Input::PongReceived { sent: Timestamp(sent_ms) });
            }
            AgentDown::Superseded => return Err(dial::superseded()),
        }
        Ok(())
    }

    /// A message of the coordinator that this build can't read.
    fn refuse(&self, error: &CodecError) {
        if let Some(link) = &self.link {
            tracing::error!(%error, "the coordinator sent what this agent does not understand");
            link.session.refuse_frame(&error.to_string());
        }
    }

    fn on_inventory(&mut self, runners: Vec<RunnerEntry>) {
        let entry = |runner: RunnerEntry| Some((runner.name.parse::<HostName>().ok()?, runner.labels));
        let inventory: BTreeMap<_, _> = runners.into_iter().filter_map(entry).collect();
        self.hosts.keep(|host| inventory.contains_key(host));
        let names: BTreeSet<HostName> = inventory.keys().cloned().collect();
        let changes = self.health.retain_hosts(&names);
        self.send_verdicts(changes);
        self.inventory = Some(inventory);
    }

    /// Shows a new watch all its hosts. One that is not known is shown when it comes, or as absent when it had
    /// time to come.
    fn observe_all(&mut self, assignment: AssignmentId) {
        let Some(Watched { installation, hosts }) = self.watches.get(&assignment) else { return };
        for host in hosts {
            let sight = self.hosts.sight(host, installation);
            let absent = || HostObservation { host: host.clone(), connected: false, report: None };
            let sight =
                if self.reconnect_window_ends.is_none() { Some(sight.unwrap_or_else(absent)) } else { sight };
            self.inputs.extend(sight.map(|snapshot| Input::Observed { assignment, snapshot }));
        }
    }

    /// Shows a host to those who watch it.
    pub(super) fn observe(&mut self, host: &HostName, installation: Option<&InstallationId>) {
        for (assignment, watched) in &self.watches {
            let concerned = installation.is_none_or(|installation| *installation == watched.installation);
            if concerned && watched.hosts.contains(host) {
                let sight = self.hosts.sight(host, &watched.installation);
                let assignment = *assignment;
                self.inputs.extend(sight.map(|snapshot| Input::Observed { assignment, snapshot }));
            }
        }
    }

    pub(super) fn fail_calls(&mut self, lost: Vec<Asked>) {
        let lost = lost.into_iter().map(|Asked { assignment, call, .. }| Input::Lost { assignment, call });
        self.inputs.extend(lost);
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
        if !self.is_welcomed() {
            return;
        }
        let verdicts: Vec<AgentVerdict> = changes.into_iter().map(wire_verdict).collect();
        for chunk in verdicts.chunks(VERDICTS_PER_MESSAGE_MAX) {
            self.send(AgentUp::Verdicts(chunk.to_vec()));
        }
    }

    pub(super) fn send_runner(&self, host: &HostName) {
        if self.is_welcomed() {
            let state = self.hosts.state(host, self.clock.now());
            self.send(AgentUp::Runners(state.into_iter().collect()));
        }
    }

    fn send_all_runners(&mut self, now: Timestamp) {
        self.report_runners_at = now + RUNNERS_REPORT_INTERVAL;
        if !self.is_welcomed() {
            return;
        }
        let wall = self.clock.now();
        let states: Vec<RunnerState> =
            self.hosts.names().iter().filter_map(|host| self.hosts.state(host, wall)).collect();
        for chunk in states.chunks(RUNNERS_PER_MESSAGE_MAX) {
            self.send(AgentUp::Runners(chunk.to_vec()));
        }
    }
}

fn wire_verdict(change: Transition) -> AgentVerdict {
    let Transition { installation, fence, verdict, failure, down } = change;
    tracing::info!(%installation, verdict = verdict.as_str(), down, "health");
    AgentVerdict {
        installation: (&installation).into(),
        fence: fence.0,
        verdict: verdict.as_str().to_owned(),
        failure: failure.as_ref().map(Into::into),
        down,
    }
}
