//! One attached agent: its assignments out, its reports in, and the answers that keep its lease.

mod assignments;
mod reports;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::broadcast;
use trimaran_engine::Outcome;
use trimaran_model::id::{AgentName, Identity, InstallationId};
use trimaran_model::limits::{AGENT_LOST_AFTER, AGENT_REPORTS_IN_FLIGHT_MAX};
use trimaran_query::{self as query, text};
use trimaran_transport::{CloseCode, CloseReason, FrameSender, Session};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::agent::{AgentDown, AgentUp, AgentVerdict, RefusedCounts};
use trimaran_wire::v1::command::{Command, CommandBody};
use trimaran_wire::v1::common::WireIdentity;

use self::reports::{InFlightReports, first_answer};
use crate::authorize::Verb;
use crate::raft_loop::{Applied, Proposed};
use crate::rows::View;
use crate::server::Server;
use crate::soft_state::AttachedAgent;

/// How often a full disk is checked again.
const DISK_CHECK_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);

/// Serves an agent until its session ends.
pub(crate) async fn serve(server: Server, session: Session) {
    let Some(identity) = session.identity().cloned() else { return };
    let Identity::Agent(name) = &identity else { return };
    if !server.refusals.check(&identity, Verb::Serve) {
        return session.close(CloseCode::Certificate, "only agents are served here");
    }
    let (agent, name) = (name.clone(), name.to_string());
    let Ok((sender, mut receiver)) = session.accept_stream().await else { return };
    let hello = match receiver.next().await {
        Ok(Some(frame)) => AgentUp::from_frame(&frame),
        _ => return,
    };
    let Ok(AgentUp::Hello { incarnation, epoch, listen, held }) = hello else {
        return session.refuse_frame("a session of an agent starts with its hello");
    };
    let address = seen_address(listen, session.remote_address());
    let held = held.iter().map(|held| (held.assignment, Sent { held: true, ..Sent::new(held.fence) }));
    let sent = held.collect();
    let mut link = Link {
        server,
        session,
        sender,
        name,
        agent,
        incarnation,
        attach: 0,
        sent,
        worked: BTreeSet::new(),
        answered: 0,
        in_flight: InFlightReports::new(),
        verdicts: VecDeque::new(),
        waiting: VecDeque::new(),
    };
    // Before the attach, so that nothing that is applied behind it is missed.
    let applied = link.server.node.subscribe();
    match link.attach(epoch, &address).await {
        Attach::Done => {}
        Attach::Later => return link.session.close(CloseCode::Busy, "there is no leader now"),
        Attach::Never(why) => {
            let _ = link.send(AgentDown::Superseded).await;
            return link.session.close(CloseCode::Superseded, &why);
        }
    }
    tracing::info!(agent = link.name, incarnation, "attached");
    link.work(&mut receiver, applied).await;
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
    /// Its result is on its way to the log.
    ended: bool,
}

impl Sent {
    fn new(fence: u64) -> Self {
        Self { fence, canceled: false, held: false, ended: false }
    }
}

struct Link {
    server: Server,
    session: Session,
    sender: FrameSender,
    name: String,
    agent: AgentName,
    incarnation: u64,
    /// The number of this session's attach, by which its end is reported.
    attach: u64,
    /// Assignments that the agent has, by their number.
    sent: BTreeMap<u64, Sent>,
    /// Pipelines and targets that had work in this session: a verdict on them may be older than the end of it.
    worked: BTreeSet<InstallationId>,
    /// The revision of the agent's last report that the log accepted.
    answered: u64,
    in_flight: InFlightReports,
    /// Verdicts that are compared with the state when its rows have what the agent was answered.
    verdicts: VecDeque<AgentVerdict>,
    /// What the agent reported while the disk was full, in order; answered when there is space again.
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
        let attachment = self.server.soft_state.attachment(&self.name).await;
        match self.propose(body).await {
            Proposed::Done { revision, outcome: Outcome::Attached { attach } } => {
                self.attach = attach;
                let soft_state = AttachedAgent {
                    session: self.session.clone(),
                    incarnation: self.incarnation,
                    address: address.to_owned(),
                    last_seen: self.server.node.wall(),
                    refused: RefusedCounts::default(),
                };
                {
                    let mut all = self.server.soft_state.lock();
                    all.agents.insert(self.name.clone(), soft_state);
                    // Reported again when there is still something.
                    all.held.remove(&self.name);
                }
                drop(attachment);
                self.server.node.wait_rows(revision).await;
                let cluster = View::new(&self.server.node).read(|rows| query::cluster(rows));
                let welcome = AgentDown::Welcome { cluster: cluster.name, epoch: cluster.epoch.0, revision };
                if self.send(welcome).await && self.bring_up_to_date().await {
                    Attach::Done
                } else {
                    Attach::Later
                }
            }
            Proposed::Done { outcome: Outcome::Refused(why), .. } => Attach::Never(text::refusal(&why)),
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

    async fn work(
        &mut self,
        receiver: &mut trimaran_transport::FrameReceiver,
        mut applied: broadcast::Receiver<Arc<Applied>>,
    ) {
        let mut disk_check = tokio::time::interval(DISK_CHECK_INTERVAL);
        disk_check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let more = self.in_flight.len() < AGENT_REPORTS_IN_FLIGHT_MAX;
            let open = tokio::select! {
                frame = receiver.next(), if more => {
                    let Ok(Some(frame)) = frame else { return };
                    match AgentUp::from_frame(&frame) {
                        Ok(message) => self.on_message(message).await,
                        Err(error) => return self.session.refuse_frame(&error.to_string()),
                    }
                }
                _ = disk_check.tick(), if more && !self.waiting.is_empty() => self.drain_deferred().await,
                answer = first_answer(&mut self.in_flight) => self.on_report_answer(answer).await,
                () = self.server.node.wait_rows(self.answered), if more && !self.verdicts.is_empty() => {
                    self.compare_verdicts();
                    true
                }
                event = applied.recv() => match event {
                    Ok(first) => self.on_applied(first, &mut applied).await,
                    Err(broadcast::error::RecvError::Lagged(_)) => self.bring_up_to_date().await,
                    Err(broadcast::error::RecvError::Closed) => false,
                }
            };
            if !open {
                return;
            }
        }
    }

    /// The session is over: detached now, lost when it does not come back in time.
    async fn leave(self) {
        let Self { server, name, incarnation, attach, session, .. } = self;
        let reason = session.close_reason();
        session.close(CloseCode::Done, "");
        let attachment = server.soft_state.attachment(&name).await;
        {
            let mut soft_state = server.soft_state.lock();
            let ours = soft_state.agents.get(&name).is_some_and(|agent| agent.session.id() == session.id());
            if !ours {
                return;
            }
            soft_state.agents.remove(&name);
        }
        let ended = |code: &CloseCode| matches!(code, CloseCode::Done | CloseCode::Shutdown);
        let goodbye = matches!(&reason, Some(CloseReason::Peer { code, .. }) if ended(code));
        let identity = WireIdentity::Agent(name.clone());
        let body = CommandBody::Detach { attach, goodbye };
        // Without a leader the next one counts the agent as silent automatically.
        let _ = server.node.propose(Command { identity, request: None, body }).await;
        drop(attachment);
        tracing::info!(agent = name, incarnation, goodbye, "detached");
        let rest = AGENT_LOST_AFTER.to_std().saturating_sub(session.silent_for());
        tokio::time::sleep(rest).await;
        report_lost(&server, name, attach).await;
    }
}

/// Reports to the log that an agent is lost since this attach, unless it came back meanwhile.
async fn report_lost(server: &Server, name: String, attach: u64) {
    let _attachment = server.soft_state.attachment(&name).await;
    if server.soft_state.lock().agents.contains_key(&name) {
        return;
    }
    let body = CommandBody::AgentLost { agent: name, attach };
    // Without a leader the next one counts the agent as silent automatically.
    let _ = server.node.propose(Command { identity: WireIdentity::System, request: None, body }).await;
}

/// Waits for the agents that an earlier incarnation of this coordinator served: those that do not come back in time
/// are lost.
pub(crate) async fn expect_back(server: Server) {
    let mut status = server.node.member_status();
    if status.wait_for(|status| status.leads()).await.is_err() {
        return;
    }
    tokio::time::sleep(AGENT_LOST_AFTER.to_std()).await;
    for (name, attach) in View::new(&server.node).read(|rows| query::agents_to_expect(rows)) {
        report_lost(&server, name.to_string(), attach).await;
    }
}
