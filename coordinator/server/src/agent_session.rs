//! One attached agent: its orders out, its reports in, and the answers that keep its lease.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use tokio::sync::broadcast;
use trimaran_engine::query;
use trimaran_engine::{Event, Outcome};
use trimaran_model::id::Identity;
use trimaran_model::limits::{AGENT_ASSIGNMENTS_MAX, AGENT_LOST_AFTER, RUNNER_SEEN_EVERY};
use trimaran_transport::{CloseCode, CloseReason, FrameSender, Session};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::agent::{
    AgentDown, AgentUp, AgentVerdict, Progress, RefusedCounts, ResultAnswer, RunnerEntry, RunnerState,
};
use trimaran_wire::v1::assignment::WireOutcome;
use trimaran_wire::v1::command::{Command, CommandBody};
use trimaran_wire::v1::common::WireIdentity;
use trimaran_wire::v1::row;

use crate::authorize::Verb;
use crate::node::{Applied, Proposed};
use crate::rows::View;
use crate::server::Server;
use crate::soft::AgentSoft;

/// How often a full disk is looked at again.
const ROOM_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// Serves an agent until its session ends.
pub(crate) async fn serve(server: Server, session: Session) {
    let Some(identity) = session.identity().cloned() else { return };
    let Identity::Agent(name) = &identity else { return };
    if !server.refusals.check(&identity, Verb::Serve) {
        return session.close(CloseCode::Certificate, "only agents are served here");
    }
    let name = name.to_string();
    let Ok((sender, mut receiver)) = session.accept_stream().await else { return };
    let hello = match receiver.next().await {
        Ok(Some(frame)) => AgentUp::from_frame(&frame),
        _ => return,
    };
    let Ok(AgentUp::Hello { incarnation, epoch, listen, held }) = hello else {
        return session.refuse_frame("a session of an agent starts with its hello");
    };
    let address = seen_address(listen, session.remote_address());
    let held =
        held.iter().map(|held| (held.assignment, Sent { fence: held.fence, canceled: false, held: true }));
    let sent = held.collect();
    let mut link = Link {
        server,
        session,
        sender,
        name,
        incarnation,
        sent,
        told: 0,
        applied: None,
        waiting: VecDeque::new(),
    };
    link.applied = Some(link.server.node.subscribe());
    match link.attach(epoch, &address).await {
        Attach::Done => {}
        Attach::Later => return link.session.close(CloseCode::Busy, "there is no leader now"),
        Attach::Never(why) => {
            let _ = link.send(AgentDown::Superseded).await;
            return link.session.close(CloseCode::Superseded, &why);
        }
    }
    tracing::info!(agent = link.name, incarnation, "attached");
    link.work(&mut receiver).await;
    link.leave().await;
}

/// Where peers reach the agent: what it listens on, or, where that is every address of its host, the one that
/// it came from.
fn seen_address(listen: Option<String>, remote: SocketAddr) -> String {
    // A socket of both families shows IPv4 in the form of IPv6.
    let from = SocketAddr::new(remote.ip().to_canonical(), remote.port());
    match listen.as_deref().map(str::parse::<SocketAddr>) {
        Some(Ok(listen)) if listen.ip().is_unspecified() => {
            SocketAddr::new(from.ip(), listen.port()).to_string()
        }
        Some(_) => listen.unwrap_or_default(),
        None => from.to_string(),
    }
}

enum Attach {
    Done,
    Later,
    Never(String),
}

struct Sent {
    fence: u64,
    /// Its end was asked for.
    canceled: bool,
    /// Known from the agent's journal; it is sent again, because the agent may have it in part only.
    held: bool,
}

struct Link {
    server: Server,
    session: Session,
    sender: FrameSender,
    name: String,
    incarnation: u64,
    /// Assignments that the agent has, by their number.
    sent: BTreeMap<u64, Sent>,
    /// The revision of the last thing that the agent told and the log took.
    told: u64,
    applied: Option<broadcast::Receiver<Applied>>,
    /// What the agent told while the disk was full, in order; answered when there is room again.
    waiting: VecDeque<AgentUp>,
}

impl Link {
    async fn attach(&mut self, epoch_seen: u16, address: &str) -> Attach {
        let body = CommandBody::Attach {
            incarnation: self.incarnation,
            coordinator: self.server.name.to_string(),
            address: address.to_owned(),
            epoch_seen,
        };
        match self.propose(body).await {
            Proposed::Done { revision, outcome: Outcome::Attached } => {
                let soft = AgentSoft {
                    session: self.session.clone(),
                    incarnation: self.incarnation,
                    address: address.to_owned(),
                    last_seen: self.server.node.wall(),
                    refused: RefusedCounts::default(),
                };
                {
                    let mut all = self.server.soft.lock();
                    all.agents.insert(self.name.clone(), soft);
                    // Told again when there is still something.
                    all.held.remove(&self.name);
                }
                self.server.node.wait_rows(revision).await;
                let meta = View::new(&self.server.node).read(|rows| query::meta(rows));
                let welcome = AgentDown::Welcome { cluster: meta.cluster, epoch: meta.epoch, revision };
                if self.send(welcome).await && self.bring_up_to_date().await {
                    Attach::Done
                } else {
                    Attach::Later
                }
            }
            Proposed::Done { outcome: Outcome::Rejected(rejection), .. } => Attach::Never(rejection.message),
            Proposed::Done { .. } => Attach::Never("this agent can't attach".to_owned()),
            Proposed::NotLeader | Proposed::Busy(_) | Proposed::Indeterminate => Attach::Later,
        }
    }

    async fn propose(&self, body: CommandBody) -> Proposed {
        let name = WireIdentity::Agent(self.name.clone());
        self.server.node.propose(Command { identity: name, request: None, body }).await
    }

    async fn send(&mut self, message: AgentDown) -> bool {
        self.sender.send(&message.to_frame()).await.is_ok()
    }

    async fn work(&mut self, receiver: &mut trimaran_transport::FrameReceiver) {
        let mut applied = self.applied.take().expect("set before the attach");
        let mut room = tokio::time::interval(ROOM_EVERY);
        room.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                frame = receiver.next() => {
                    let Ok(Some(frame)) = frame else { return };
                    match AgentUp::from_frame(&frame) {
                        Ok(message) => if !self.hear(message).await { return },
                        Err(error) => return self.session.refuse_frame(&error.to_string()),
                    }
                }
                _ = room.tick(), if !self.waiting.is_empty() => {
                    if !self.hear_waiting().await { return }
                }
                event = applied.recv() => {
                    let go_on = match event {
                        Ok(applied) => self.react(&applied).await,
                        Err(broadcast::error::RecvError::Lagged(_)) => self.bring_up_to_date().await,
                        Err(broadcast::error::RecvError::Closed) => false,
                    };
                    if !go_on { return }
                }
            }
        }
    }

    /// Sends what the state has for this agent and was not sent yet.
    async fn bring_up_to_date(&mut self) -> bool {
        let name = self.name.clone();
        let (revision, runners, assignments) = View::new(&self.server.node).read(|rows| {
            let mine = query::assignments(rows, &name, &|id| self.sent.contains_key(&id));
            (rows.revision(), query::runners_of(rows, &name), mine)
        });
        let entry = |runner: row::Runner| RunnerEntry { name: runner.name, labels: runner.labels };
        let runners: Vec<RunnerEntry> = runners.into_iter().map(entry).collect();
        if !self.send(AgentDown::Inventory { revision, runners }).await {
            return false;
        }
        // What the agent has and the state has not any more was answered, or withdrawn while nobody listened.
        let live: BTreeSet<u64> = assignments.iter().map(|row| row.assignment.id).collect();
        let gone: Vec<u64> = self.sent.keys().copied().filter(|id| !live.contains(id)).collect();
        for assignment in gone {
            let Some(sent) = self.sent.remove(&assignment) else { continue };
            self.server.soft.lock().progress.remove(&assignment);
            if !self.send(AgentDown::Cancel { assignment, fence: sent.fence }).await {
                return false;
            }
        }
        for row in assignments {
            let (id, fence) = (row.assignment.id, row.assignment.fence);
            if self.sent.get(&id).is_none_or(|sent| sent.held) {
                self.sent.insert(id, Sent { fence, canceled: false, held: false });
                if !self.send(AgentDown::Assign(row.assignment)).await {
                    return false;
                }
            }
            let asked = self.sent.get(&id).is_some_and(|sent| sent.canceled);
            if row.cancel && !asked {
                self.sent.insert(id, Sent { fence, canceled: true, held: false });
                if !self.send(AgentDown::Cancel { assignment: id, fence }).await {
                    return false;
                }
            }
        }
        true
    }

    /// What an applied entry means for this session.
    async fn react(&mut self, applied: &Applied) -> bool {
        let mut work = false;
        for event in &applied.events {
            match event {
                Event::AgentWork { agent } => work |= *agent == self.name,
                Event::Superseded { agent, incarnation } => {
                    if *agent == self.name && *incarnation == self.incarnation {
                        let _ = self.send(AgentDown::Superseded).await;
                        self.session.close(CloseCode::Superseded, "a later life of this agent has attached");
                        return false;
                    }
                }
                Event::Run { .. } | Event::Stage { .. } | Event::Progress { .. } => {}
                Event::Installation { .. } | Event::Agent { .. } | Event::Revoked { .. } => {}
            }
        }
        if !work {
            return true;
        }
        self.server.node.wait_rows(applied.revision).await;
        self.bring_up_to_date().await
    }

    /// Takes a message; false ends the session.
    async fn hear(&mut self, message: AgentUp) -> bool {
        self.touch();
        let written = matches!(message, AgentUp::Failures(_) | AgentUp::Result { .. } | AgentUp::Verdicts(_));
        if written && (!self.waiting.is_empty() || self.server.room.is_full()) {
            // An agent that tells more than this tells it again on its next session.
            self.waiting.push_back(message);
            return self.waiting.len() <= AGENT_ASSIGNMENTS_MAX;
        }
        self.take(message).await
    }

    /// Takes what waited for room, as far as there is some now.
    async fn hear_waiting(&mut self) -> bool {
        while !self.server.room.is_full() {
            let Some(message) = self.waiting.pop_front() else { return true };
            if !self.take(message).await {
                return false;
            }
        }
        true
    }

    async fn take(&mut self, message: AgentUp) -> bool {
        match message {
            AgentUp::Hello { .. } => {
                self.session.refuse_frame("a second hello");
                false
            }
            AgentUp::Ping { sent_ms, refused } => self.pong(sent_ms, refused).await,
            AgentUp::Runners(states) => self.runners(states).await,
            AgentUp::Unknown(held) => {
                self.server.hold(&self.name, held);
                true
            }
            AgentUp::Progress(progress) => {
                if self.has(progress.assignment, progress.fence) {
                    self.server.tell_progress(&progress);
                    self.server.soft.lock().progress.insert(progress.assignment, progress);
                }
                true
            }
            AgentUp::Failures(progress) => self.failures(progress).await,
            AgentUp::Result { assignment, fence, outcome, progress } => {
                self.result((assignment, fence), outcome, progress).await
            }
            AgentUp::Verdicts(verdicts) => self.verdicts(verdicts).await,
        }
    }

    /// Who is connected is soft state; that a runner was ever seen, and about when, outlives everybody.
    async fn runners(&mut self, states: Vec<RunnerState>) -> bool {
        let mine = View::new(&self.server.node).read(|rows| query::runners_of(rows, &self.name));
        let mine: BTreeMap<&str, Option<i64>> =
            mine.iter().map(|row| (row.name.as_str(), row.seen_ms)).collect();
        let mut runners = BTreeMap::new();
        {
            let mut soft = self.server.soft.lock();
            for state in states {
                let Some(noted) = mine.get(state.name.as_str()) else { continue };
                let every = if state.connected { RUNNER_SEEN_EVERY } else { AGENT_LOST_AFTER };
                if noted.is_none_or(|noted| state.last_seen_ms - noted > every.0.cast_signed()) {
                    runners.insert(state.name.clone(), state.last_seen_ms);
                }
                soft.runners.insert(state.name.clone(), state);
            }
        }
        // What is not taken now is noted with the next message.
        if !runners.is_empty() && !self.server.room.is_full() {
            let _ = self.propose(CommandBody::RunnersSeen { runners }).await;
        }
        true
    }

    /// Only what the log does not say yet is written to it. What is not taken is repeated on the next session.
    async fn verdicts(&mut self, verdicts: Vec<AgentVerdict>) -> bool {
        for verdict in verdicts {
            self.server.node.wait_rows(self.told).await;
            let known = View::new(&self.server.node).read(|rows| query::says(rows, &verdict));
            if known {
                continue;
            }
            match self.propose(CommandBody::Verdict(verdict)).await {
                Proposed::Done { revision, .. } => self.told = revision,
                Proposed::NotLeader | Proposed::Busy(_) | Proposed::Indeterminate => return false,
            }
        }
        true
    }

    /// Whether the agent was given this assignment and may speak of it.
    fn has(&self, assignment: u64, fence: u64) -> bool {
        self.sent.get(&assignment).is_some_and(|sent| sent.fence == fence && !sent.held)
    }

    fn touch(&self) {
        let wall = self.server.node.wall();
        if let Some(agent) = self.server.soft.lock().agents.get_mut(&self.name) {
            agent.last_seen = wall;
        }
    }

    /// Keeps the agent's lease; without a leader this coordinator can't know what is true.
    async fn pong(&mut self, sent_ms: u64, refused: RefusedCounts) -> bool {
        if let Some(agent) = self.server.soft.lock().agents.get_mut(&self.name) {
            agent.refused = refused;
        }
        if !self.server.node.pulse().borrow().leads() {
            return true;
        }
        let revoked = self.server.revoked.all();
        self.send(AgentDown::Pong { sent_ms, wall_ms: self.server.node.wall().0, revoked }).await
    }

    /// Failures are committed before the agent goes on: the budget survives the loss of the agent.
    async fn failures(&mut self, progress: Progress) -> bool {
        let (assignment, failed) = (progress.assignment, progress.failed.len());
        if self.has(assignment, progress.fence) {
            self.server.tell_progress(&progress);
            self.server.soft.lock().progress.insert(assignment, progress.clone());
        }
        match self.propose(CommandBody::Progress(progress)).await {
            Proposed::Done { .. } => {
                let failed = u32::try_from(failed).unwrap_or(u32::MAX);
                self.send(AgentDown::Committed { assignment, failed }).await
            }
            // The agent repeats it on its next session.
            Proposed::NotLeader | Proposed::Busy(_) | Proposed::Indeterminate => false,
        }
    }

    async fn result(
        &mut self,
        (assignment, fence): (u64, u64),
        outcome: WireOutcome,
        progress: Progress,
    ) -> bool {
        let body = CommandBody::Result { assignment, fence, outcome, progress };
        let proposed = self.propose(body).await;
        if let Proposed::Done { revision, .. } = &proposed {
            self.told = *revision;
        }
        let answer = match proposed {
            Proposed::Done { outcome: Outcome::ResultTaken, .. } => ResultAnswer::Applied,
            Proposed::Done { outcome: Outcome::ResultSuperseded { by }, .. } => {
                ResultAnswer::Superseded { by }
            }
            Proposed::Done { .. } => ResultAnswer::Unknown,
            // The agent repeats it on its next session.
            Proposed::NotLeader | Proposed::Busy(_) | Proposed::Indeterminate => return false,
        };
        self.server.soft.lock().progress.remove(&assignment);
        self.sent.remove(&assignment);
        self.send(AgentDown::Answer { assignment, fence, answer }).await
    }

    /// The session is over: detached now, lost when it does not come back in time.
    async fn leave(self) {
        let Self { server, name, incarnation, session, .. } = self;
        let reason = session.close_reason();
        session.close(CloseCode::Done, "");
        {
            let mut soft = server.soft.lock();
            let ours = soft.agents.get(&name).is_some_and(|agent| agent.session.id() == session.id());
            if !ours {
                return;
            }
            soft.agents.remove(&name);
        }
        let ended = |code: &CloseCode| matches!(code, CloseCode::Done | CloseCode::Shutdown);
        let goodbye = matches!(&reason, Some(CloseReason::Peer { code, .. }) if ended(code));
        let identity = WireIdentity::Agent(name.clone());
        let body = CommandBody::Detach { incarnation, goodbye };
        // Without a leader the next one counts the agent as silent by itself.
        let _ = server.node.propose(Command { identity, request: None, body }).await;
        tracing::info!(agent = name, incarnation, goodbye, "detached");
        let rest = AGENT_LOST_AFTER.to_std().saturating_sub(session.silent_for());
        tokio::time::sleep(rest).await;
        lose(&server, name, incarnation).await;
    }
}

/// Tells the log that this life of an agent is lost, unless it came back meanwhile.
async fn lose(server: &Server, name: String, incarnation: u64) {
    if server.soft.lock().agents.contains_key(&name) {
        return;
    }
    let body = CommandBody::AgentLost { agent: name, incarnation };
    // Without a leader the next one counts the agent as silent by itself.
    let _ = server.node.propose(Command { identity: WireIdentity::System, request: None, body }).await;
}

/// Waits for the agents that an earlier life of this coordinator served: those that do not come back in time
/// are lost.
pub(crate) async fn expect_back(server: Server) {
    let mut pulse = server.node.pulse();
    if pulse.wait_for(|pulse| pulse.leads()).await.is_err() {
        return;
    }
    tokio::time::sleep(AGENT_LOST_AFTER.to_std()).await;
    for (name, incarnation) in View::new(&server.node).read(|rows| query::agents_to_expect(rows)) {
        lose(&server, name, incarnation).await;
    }
}
