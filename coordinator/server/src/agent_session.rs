//! One attached agent: its assignments out, its reports in, and the answers that keep its lease.
//!
//! Not here: what of its messages is believed (`border`), and which entries concern it (`agent_wakeups`).

mod assignments;
mod border;
mod report_queue;
mod reports;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use trimaran_engine::Outcome;
use trimaran_model::id::{AgentName, Identity, InstallationId};
use trimaran_model::limits::{AGENT_LOST_AFTER, AGENT_VERDICTS_WAITING_MAX};
use trimaran_query::{self as query, text};
use trimaran_transport::{CloseCode, CloseReason, FrameReceiver, FrameSender, SendError, Session};
use trimaran_wire::codec::{CodecError, Message as _};
use trimaran_wire::frame::Frame;
use trimaran_wire::v1::agent::{AgentDown, AgentUp, AgentVerdict, RefusedCounts};
use trimaran_wire::v1::command::{Command, CommandBody};
use trimaran_wire::v1::common::WireIdentity;

use self::report_queue::ReportQueue;
use crate::agent_wakeups::Wakeup;
use crate::authorize::Verb;
use crate::raft_loop::Proposed;
use crate::rows::View;
use crate::server::Server;
use crate::soft_state::AttachedAgent;

/// How often reports that wait for the disk or the log are tried again.
const RETRY_INTERVAL: std::time::Duration = std::time::Duration::from_millis(200);

/// Serves an agent until its session ends.
pub(crate) async fn serve(server: Server, session: Session) {
    let Some(identity) = session.identity().cloned() else { return };
    let Identity::Agent(name) = &identity else { return };
    if !server.refusals.check(&identity, Verb::Serve) {
        return session.close(CloseCode::Certificate, "only agents are served here");
    }
    let (agent, name) = (name.clone(), name.to_string());
    let Ok((sender, mut receiver)) = session.accept_stream().await else { return };
    let Ok(Some(frame)) = receiver.next().await else { return };
    let (incarnation, epoch, listen, held) = match read(&server, &frame) {
        Ok(AgentUp::Hello { incarnation, epoch, listen, held }) => (incarnation, epoch, listen, held),
        Ok(_) => return session.refuse_frame("a session of an agent starts with its hello"),
        Err(error) => return session.refuse_frame(&error.to_string()),
    };
    let address = seen_address(listen, session.remote_address());
    let held = held.iter().map(|held| (held.assignment, Sent { held: true, ..Sent::new(held.fence) }));
    let sent = held.collect();
    // Before the attach, so that nothing that is applied behind it is missed.
    let wakeup = server.agent_wakeups.register(&name, incarnation);
    let mut link = Link {
        server,
        session,
        sender,
        name,
        agent,
        incarnation,
        attach: 0,
        wakeup,
        sent,
        worked: BTreeSet::new(),
        answered: 0,
        reports: ReportQueue::default(),
        verdicts: VecDeque::new(),
        revoked_sent: 0,
    };
    match link.attach(epoch, &address).await {
        Attach::Done(revision) => {
            tracing::info!(agent = link.name, incarnation, "attached");
            if link.welcome(revision).await {
                link.work(&mut receiver).await;
            }
            link.leave().await;
        }
        Attach::Later(unknown) => {
            link.session.close(CloseCode::Busy, "there is no leader now");
            link.forget();
            if unknown {
                // It may be attached in the log and never come back.
                tokio::time::sleep(AGENT_LOST_AFTER.to_std()).await;
                report_lost(&link.server, link.name, incarnation).await;
            }
        }
        Attach::Never(why) => {
            // The close says the same to an agent that does not get this.
            let _ = link.send(AgentDown::Superseded).await;
            link.session.close(CloseCode::Superseded, &why);
            link.forget();
        }
    }
}

/// A message of an agent that passed the border.
fn read(server: &Server, frame: &Frame) -> Result<AgentUp, CodecError> {
    border::check(AgentUp::from_frame(frame)?, server.node.wall())
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
    /// In the log at this revision, and in the soft state: from here on every way out is [`Link::leave`].
    Done(u64),
    /// Not now; true when the log may have it all the same.
    Later(bool),
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
    /// What applied entries change for this session.
    wakeup: Arc<Wakeup>,
    /// Assignments that the agent has, by their number.
    sent: BTreeMap<u64, Sent>,
    /// Pipelines and targets that had work in this session: a verdict on them may be older than the end of it.
    worked: BTreeSet<InstallationId>,
    /// The revision of the agent's last report that the log accepted.
    answered: u64,
    reports: ReportQueue,
    /// Verdicts that are compared with the state when its rows have what the agent was answered.
    verdicts: VecDeque<AgentVerdict>,
    /// Revoked keys that the agent was sent, as a position in the coordinator's list.
    revoked_sent: usize,
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
                let attached = AttachedAgent {
                    session: self.session.clone(),
                    incarnation: self.incarnation,
                    address: address.to_owned(),
                    last_seen: self.server.node.wall(),
                    refused: RefusedCounts::default(),
                };
                {
                    let mut all = self.server.soft_state.lock();
                    all.agents.insert(self.name.clone(), attached);
                    // Reported again when there is still something.
                    all.held.remove(&self.name);
                }
                drop(attachment);
                Attach::Done(revision)
            }
            Proposed::Done { outcome: Outcome::Refused(why), .. } => Attach::Never(text::refusal(&why)),
            Proposed::Done { .. } => Attach::Never("this agent can't attach".to_owned()),
            Proposed::NotLeader | Proposed::Busy(_) => Attach::Later(false),
            Proposed::Indeterminate => Attach::Later(true),
        }
    }

    /// Sends what a new session starts with; false when it ended.
    async fn welcome(&mut self, revision: u64) -> bool {
        self.server.node.wait_rows(revision).await;
        let Ok(cluster) = View::new(&self.server.node).read(|rows| query::cluster(rows)) else {
            return false;
        };
        let welcome = AgentDown::Welcome { cluster: cluster.name, epoch: cluster.epoch.0, revision };
        self.send(welcome).await && self.send_revoked().await && self.bring_up_to_date().await
    }

    async fn propose(&self, body: CommandBody) -> Proposed {
        self.server.node.propose(self.command(body)).await
    }

    fn command(&self, body: CommandBody) -> Command {
        Command { identity: WireIdentity::Agent(self.name.clone()), request: None, body }
    }

    /// Sends a message; false when the session ended. One that is too long would be so in the next session too:
    /// it ends this one aloud, with the size in the close and in the log.
    async fn send(&mut self, message: AgentDown) -> bool {
        match self.sender.send(&message.to_frame()).await {
            Ok(()) => true,
            Err(error @ SendError::TooLong { .. }) => {
                tracing::error!(agent = self.name, %error, "a message to the agent is too long");
                self.session.close(CloseCode::Protocol, &error.to_string());
                false
            }
            Err(SendError::Closed(_) | SendError::Stopped(_) | SendError::Broken) => false,
        }
    }

    async fn work(&mut self, receiver: &mut FrameReceiver) {
        let mut retry = tokio::time::interval(RETRY_INTERVAL);
        retry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let wakeup = self.wakeup.clone();
        let mut revoked = self.server.revoked.watch();
        // Verdicts that were compared and have to wait are compared again after the next message or answer.
        let mut compared = false;
        loop {
            let verdicts = !std::mem::take(&mut compared) && !self.verdicts.is_empty();
            let capacity = self.reports.has_capacity() && self.verdicts.len() < AGENT_VERDICTS_WAITING_MAX;
            let open = tokio::select! {
                frame = receiver.next(), if capacity => {
                    let Ok(Some(frame)) = frame else { return };
                    match read(&self.server, &frame) {
                        Ok(message) => self.on_message(message).await,
                        Err(error) => return self.session.refuse_frame(&error.to_string()),
                    }
                }
                _ = retry.tick(), if self.reports.is_waiting() => {
                    self.reports.resume();
                    true
                }
                (queued, proposed) = self.reports.first_answer() => self.on_answer(queued, proposed).await,
                () = self.server.node.wait_rows(self.answered), if verdicts => {
                    compared = true;
                    self.compare_verdicts()
                }
                changes = wakeup.changed() => self.on_changes(changes).await,
                Ok(()) = revoked.changed() => self.send_revoked().await,
            };
            if !open {
                return;
            }
            self.propose_reports();
        }
    }

    /// The session gets no more wake-ups.
    fn forget(&self) {
        self.server.agent_wakeups.remove(&self.name, &self.wakeup);
    }

    /// The session is over: detached now, lost when it does not come back in time.
    async fn leave(self) {
        self.forget();
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
    let Ok(expected) = View::new(&server.node).read(|rows| query::agents_to_expect(rows)) else { return };
    for (name, attach) in expected {
        report_lost(&server, name.to_string(), attach).await;
    }
}
