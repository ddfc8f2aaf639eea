//! One attached agent: its orders out, its reports in, and the answers that keep its lease.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::sync::{broadcast, oneshot};
use trimaran_engine::query;
use trimaran_engine::{Event, Outcome};
use trimaran_model::id::Identity;
use trimaran_model::limits::{AGENT_LOST_AFTER, AGENT_REPORTS_UNDER_WAY_MAX};
use trimaran_transport::{CloseCode, CloseReason, FrameSender, Session};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::agent::{AgentDown, AgentUp, Progress, ResultAnswer, RunnerEntry};
use trimaran_wire::v1::command::{Command, CommandBody};
use trimaran_wire::v1::common::WireIdentity;
use trimaran_wire::v1::row;

use crate::authorize::Verb;
use crate::node::{Applied, Proposed};
use crate::rows::View;
use crate::server::Server;
use crate::soft::AgentSoft;

/// Applied entries that are looked at together at most.
const APPLIED_TOGETHER_MAX: usize = 256;

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
    let address = listen.unwrap_or_else(|| session.remote_address().to_string());
    let held = held.iter().map(|held| (held.assignment, Sent { held: true, ..Sent::new(held.fence) }));
    let sent = held.collect();
    let under_way = VecDeque::new();
    let mut link = Link { server, session, sender, name, incarnation, sent, under_way, applied: None };
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
    /// Its result is on its way to the log.
    ended: bool,
}

impl Sent {
    fn new(fence: u64) -> Self {
        Self { fence, canceled: false, held: false, ended: false }
    }
}

/// What the agent is told once its report is in the log.
enum Report {
    Result { assignment: u64, fence: u64 },
    Failures { assignment: u64, failed: u32 },
    Verdict,
}

struct Link {
    server: Server,
    session: Session,
    sender: FrameSender,
    name: String,
    incarnation: u64,
    /// Assignments that the agent has, by their number.
    sent: BTreeMap<u64, Sent>,
    /// Reports on their way to the log, in its order: an agent of many installations does not wait for one
    /// sync after another.
    under_way: VecDeque<(Report, oneshot::Receiver<Proposed>)>,
    applied: Option<broadcast::Receiver<Arc<Applied>>>,
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
                };
                self.server.soft.lock().agents.insert(self.name.clone(), soft);
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
        self.server.node.propose(self.command(body)).await
    }

    fn command(&self, body: CommandBody) -> Command {
        Command { identity: WireIdentity::Agent(self.name.clone()), request: None, body }
    }

    async fn send(&mut self, message: AgentDown) -> bool {
        self.sender.send(&message.to_frame()).await.is_ok()
    }

    async fn work(&mut self, receiver: &mut trimaran_transport::FrameReceiver) {
        let mut applied = self.applied.take().expect("set before the attach");
        loop {
            let room = self.under_way.len() < AGENT_REPORTS_UNDER_WAY_MAX;
            let go_on = tokio::select! {
                frame = receiver.next(), if room => {
                    let Ok(Some(frame)) = frame else { return };
                    match AgentUp::from_frame(&frame) {
                        Ok(message) => self.hear(message).await,
                        Err(error) => return self.session.refuse_frame(&error.to_string()),
                    }
                }
                answer = first_answer(&mut self.under_way) => self.reported(answer).await,
                event = applied.recv() => match event {
                    Ok(first) => self.react(first, &mut applied).await,
                    Err(broadcast::error::RecvError::Lagged(_)) => self.bring_up_to_date().await,
                    Err(broadcast::error::RecvError::Closed) => false,
                }
            };
            if !go_on {
                return;
            }
        }
    }

    /// Sends the inventory and what the state has for this agent and was not sent yet.
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
        let known = self.sent.keys().copied().collect();
        self.give(assignments, known).await
    }

    /// Sends what changed of these assignments.
    async fn look_at(&mut self, numbers: BTreeSet<u64>) -> bool {
        let assignments = View::new(&self.server.node).read(|rows| {
            query::assignments_among(rows, &self.name, &|id| self.sent.contains_key(&id), &numbers)
        });
        self.give(assignments, numbers).await
    }

    /// Sends live assignments that the agent does not have, and the end of those of `looked_at` that it has
    /// and that are not live any more.
    async fn give(&mut self, assignments: Vec<row::AssignmentRow>, looked_at: BTreeSet<u64>) -> bool {
        // What the agent has and the state has not any more was answered, or withdrawn while nobody listened.
        let live: BTreeSet<u64> = assignments.iter().map(|row| row.assignment.id).collect();
        for assignment in looked_at.difference(&live) {
            // The answer to its result says the same.
            if self.sent.get(assignment).is_none_or(|sent| sent.ended) {
                continue;
            }
            let Some(sent) = self.sent.remove(assignment) else { continue };
            self.server.soft.lock().progress.remove(assignment);
            if !self.send(AgentDown::Cancel { assignment: *assignment, fence: sent.fence }).await {
                return false;
            }
        }
        for row in assignments {
            let (id, fence) = (row.assignment.id, row.assignment.fence);
            if self.sent.get(&id).is_none_or(|sent| sent.held) {
                self.sent.insert(id, Sent::new(fence));
                if !self.send(AgentDown::Assign(row.assignment)).await {
                    return false;
                }
            }
            let asked = self.sent.get(&id).is_some_and(|sent| sent.canceled || sent.ended);
            if row.cancel && !asked {
                self.sent.insert(id, Sent { canceled: true, ..Sent::new(fence) });
                if !self.send(AgentDown::Cancel { assignment: id, fence }).await {
                    return false;
                }
            }
        }
        true
    }

    /// What applied entries mean for this session: this one and those that wait behind it are looked at
    /// together.
    async fn react(&mut self, first: Arc<Applied>, more: &mut broadcast::Receiver<Arc<Applied>>) -> bool {
        let (mut numbers, mut everything, mut revision) = (BTreeSet::new(), false, first.revision);
        let waiting = std::iter::from_fn(|| match more.try_recv() {
            Ok(applied) => Some(Some(applied)),
            Err(broadcast::error::TryRecvError::Lagged(_)) => Some(None),
            Err(_) => None,
        });
        for applied in std::iter::once(Some(first)).chain(waiting).take(APPLIED_TOGETHER_MAX) {
            let Some(applied) = applied else {
                everything = true;
                continue;
            };
            revision = applied.revision;
            for event in &applied.events {
                match event {
                    Event::AgentWork { agent, assignment } if *agent == self.name => {
                        everything |= assignment.is_none();
                        numbers.extend(*assignment);
                    }
                    Event::Superseded { agent, incarnation }
                        if *agent == self.name && *incarnation == self.incarnation =>
                    {
                        let _ = self.send(AgentDown::Superseded).await;
                        let why = "a later life of this agent has attached";
                        self.session.close(CloseCode::Superseded, why);
                        return false;
                    }
                    Event::AgentWork { .. } | Event::Superseded { .. } => {}
                    Event::Run { .. } | Event::Stage { .. } | Event::Progress { .. } => {}
                    Event::Installation { .. } | Event::Agent { .. } | Event::Revoked { .. } => {}
                }
            }
        }
        if !everything && numbers.is_empty() {
            return true;
        }
        self.server.node.wait_rows(revision).await;
        if everything { self.bring_up_to_date().await } else { self.look_at(numbers).await }
    }

    /// Takes a message; false ends the session.
    async fn hear(&mut self, message: AgentUp) -> bool {
        self.touch();
        match message {
            AgentUp::Hello { .. } => {
                self.session.refuse_frame("a second hello");
                false
            }
            AgentUp::Ping { sent_ms } => self.pong(sent_ms).await,
            AgentUp::Runners(states) => {
                let mine = View::new(&self.server.node).read(|rows| query::runners_of(rows, &self.name));
                let mut soft = self.server.soft.lock();
                for state in states.into_iter().filter(|it| mine.iter().any(|mine| mine.name == it.name)) {
                    soft.runners.insert(state.name.clone(), state);
                }
                true
            }
            AgentUp::Progress(progress) => {
                if self.has(progress.assignment, progress.fence) {
                    self.server.tell_progress(&progress);
                    self.server.soft.lock().progress.insert(progress.assignment, progress);
                }
                true
            }
            AgentUp::Failures(progress) => {
                self.failures(progress);
                true
            }
            AgentUp::Result { assignment, fence, outcome, progress } => {
                if let Some(sent) = self.sent.get_mut(&assignment) {
                    sent.ended = true;
                }
                let body = CommandBody::Result { assignment, fence, outcome, progress };
                self.report(Report::Result { assignment, fence }, body);
                true
            }
            AgentUp::Verdict { installation, fence, verdict, failure } => {
                self.report(Report::Verdict, CommandBody::Verdict { installation, fence, verdict, failure });
                true
            }
        }
    }

    /// Sends a report towards the log.
    fn report(&mut self, report: Report, body: CommandBody) {
        let answer = self.server.node.submit(self.command(body));
        self.under_way.push_back((report, answer));
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
    async fn pong(&mut self, sent_ms: u64) -> bool {
        if !self.server.node.pulse().borrow().leads() {
            return true;
        }
        let revoked = self.server.revoked.all();
        self.send(AgentDown::Pong { sent_ms, wall_ms: self.server.node.wall().0, revoked }).await
    }

    /// Failures are committed before the agent goes on: the budget survives the loss of the agent.
    fn failures(&mut self, progress: Progress) {
        let (assignment, failed) = (progress.assignment, progress.failed.len());
        if self.has(assignment, progress.fence) {
            self.server.tell_progress(&progress);
            self.server.soft.lock().progress.insert(assignment, progress.clone());
        }
        let failed = u32::try_from(failed).unwrap_or(u32::MAX);
        self.report(Report::Failures { assignment, failed }, CommandBody::Progress(progress));
    }

    /// The log has answered a report; the agent is told. What the log did not take, it repeats on its next
    /// session.
    async fn reported(&mut self, (report, proposed): (Report, Proposed)) -> bool {
        match (report, proposed) {
            (Report::Verdict, Proposed::Busy(_)) => false,
            (Report::Verdict, _) => true,
            (_, Proposed::NotLeader | Proposed::Busy(_) | Proposed::Indeterminate) => false,
            (Report::Failures { assignment, failed }, Proposed::Done { .. }) => {
                self.send(AgentDown::Committed { assignment, failed }).await
            }
            (Report::Result { assignment, fence }, Proposed::Done { outcome, .. }) => {
                let answer = match outcome {
                    Outcome::ResultTaken => ResultAnswer::Applied,
                    Outcome::ResultSuperseded { by } => ResultAnswer::Superseded { by },
                    _ => ResultAnswer::Unknown,
                };
                self.server.soft.lock().progress.remove(&assignment);
                self.sent.remove(&assignment);
                self.send(AgentDown::Answer { assignment, fence, answer }).await
            }
        }
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

/// The answer to the oldest report; never comes when there is none.
async fn first_answer(under_way: &mut VecDeque<(Report, oneshot::Receiver<Proposed>)>) -> (Report, Proposed) {
    let Some((_, answer)) = under_way.front_mut() else { return std::future::pending().await };
    let proposed = answer.await.unwrap_or(Proposed::Indeterminate);
    let (report, _) = under_way.pop_front().expect("it was in front");
    (report, proposed)
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
