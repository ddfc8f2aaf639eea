//! One attached agent: its assignments out, its reports in, and the answers that keep its lease.
//!
//! Not here: what of its messages is believed (`border`), and which entries concern it (`agent_wakeups`).

mod assignments;
mod border;
mod contents;
mod report_queue;
mod reports;
mod verdict_queue;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use trimaran_engine::state::cluster::Cluster;
use trimaran_engine::{Outcome, Refusal};
use trimaran_member::Proposed;
use trimaran_model::id::{AgentName, Identity, InstallationId};
use trimaran_model::limits::{AGENT_LOST_AFTER, AGENT_MESSAGE_MEMORY_MAX};
use trimaran_query::{self as query, text};
use trimaran_transport::{CloseCode, CloseReason, FrameReceiver, FrameSender, SendError, Session};
use trimaran_wire::codec::{CodecError, Message as _};
use trimaran_wire::frame::Frame;
use trimaran_wire::v1::agent::{AgentDown, AgentUp, KnownCluster, RefusedCounts};
use trimaran_wire::v1::command::{Command, CommandBody};
use trimaran_wire::v1::common::WireIdentity;
use trimaran_wire::v1::target::WireTarget;

use self::assignments::StandingSent;
use self::report_queue::ReportQueue;
use self::verdict_queue::VerdictQueue;
use crate::agent_wakeups::Wakeup;
use crate::authorize::Verb;
use crate::damaged::Damaged;
use crate::rows::{Rows, View};
use crate::server::Server;
use crate::soft_state::AttachedAgent;

/// How often reports that wait for the disk or the log are tried again.
const RETRY_INTERVAL: std::time::Duration = std::time::Duration::from_millis(200);

/// Rows that are read where they are needed. What they name counts beside them, so they are very few.
const FEW_ROWS: usize = 4;

/// How often, and after which pause, an agent is reported as lost while there is no leader.
const LOST_ATTEMPTS: u32 = 200;
const LOST_PAUSE: std::time::Duration = std::time::Duration::from_millis(300);
/// How long the last message of a session may take to arrive.
const LAST_MESSAGE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);

/// Serves an agent until its session ends.
pub(crate) async fn serve(server: Server, session: Session) {
    let Some(identity) = session.identity().cloned() else { return };
    let Identity::Agent(name) = &identity else { return };
    if !server.refusals.check(&identity, Verb::Serve) {
        return session.close(CloseCode::Certificate, "only agents are served here");
    }
    let (agent, name) = (name.clone(), name.to_string());
    let Ok((sender, mut receiver)) = session.accept_stream().await else { return };
    let hello = hello(&server, &session, &mut receiver).await;
    let Some(AgentUp::Hello { incarnation, known, listen, held, platforms }) = hello else { return };
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
        verdicts: VerdictQueue::default(),
        revoked_sent: 0,
        standing_sent: None,
        targets_sent: None,
    };
    match link.attach(known, &address, platforms).await {
        Attach::Done(revision) => {
            tracing::info!(agent = link.name, incarnation, "attached");
            let contents = contents::serve(link.server.clone(), link.session.clone(), link.agent.clone());
            let contents = tokio::spawn(contents);
            if link.welcome(revision, known).await {
                link.work(&mut receiver).await;
            }
            contents.abort();
            drop(receiver);
            link.leave().await;
        }
        Attach::Later(unknown) => {
            link.session.close(CloseCode::Busy, "there is no leader now");
            link.forget();
            if unknown {
                drop(receiver);
                let Ended { server, agent, .. } = link.end();
                // It may be attached in the log and never come back.
                tokio::time::sleep(AGENT_LOST_AFTER.to_std()).await;
                report_lost_if_attached(&server, agent).await;
            }
        }
        Attach::OtherIncarnation(why) => link.refuse_other_incarnation(&why).await,
        Attach::Never(why) => {
            // The close says the same to an agent that does not get this.
            let _ = link.send(AgentDown::Superseded).await;
            link.session.close(CloseCode::Superseded, &why);
            link.forget();
        }
    }
}

/// The first message of a session, which is a hello; the session of anything else is closed. Its frame is not kept: the
/// session may last for months.
async fn hello(server: &Server, session: &Session, receiver: &mut FrameReceiver) -> Option<AgentUp> {
    let frame = receiver.next().await.ok()??;
    match read(server, &frame) {
        Ok(hello @ AgentUp::Hello { .. }) => return Some(hello),
        Ok(_) => session.refuse_frame("a session of an agent starts with its hello"),
        Err(error) => session.refuse_frame(&error.to_string()),
    }
    None
}

/// A message of an agent that passed the border.
fn read(server: &Server, frame: &Frame) -> Result<AgentUp, CodecError> {
    border::check(AgentUp::from_frame_within::<AGENT_MESSAGE_MEMORY_MAX>(frame)?, server.node.wall())
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
    /// The agent knows another incarnation of this cluster, or this one is not sure to be the one that goes on.
    OtherIncarnation(String),
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
    verdicts: VerdictQueue,
    /// The agent knows the revoked keys that concern it up to this number.
    revoked_sent: u64,
    /// What the agent was sent of installations between their orders; `None`: not all of it yet.
    standing_sent: Option<StandingSent>,
    /// The targets that the agent was sent.
    targets_sent: Option<Vec<WireTarget>>,
}

/// A session that is over.
struct Ended {
    server: Server,
    session: Session,
    name: String,
    agent: AgentName,
    incarnation: u64,
    attach: u64,
}

impl Link {
    async fn attach(&mut self, known: KnownCluster, address: &str, platforms: Vec<String>) -> Attach {
        let body = CommandBody::Attach {
            incarnation: self.incarnation,
            coordinator: self.server.name.to_string(),
            address: address.to_owned(),
            epoch_seen: known.epoch,
            incarnation_seen: known.incarnation,
            platforms,
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
            Proposed::Done {
                outcome: Outcome::Refused(why @ (Refusal::OtherIncarnation { .. } | Refusal::Observes)),
                ..
            } => Attach::OtherIncarnation(text::refusal(&why)),
            Proposed::Done { outcome: Outcome::Refused(why), .. } => Attach::Never(text::refusal(&why)),
            Proposed::Done { .. } => Attach::Never("this agent can't attach".to_owned()),
            Proposed::NotLeader | Proposed::Busy(_) | Proposed::NoSpace => Attach::Later(false),
            Proposed::Refused(why) => {
                tracing::error!(agent = self.name, why, "the leader refused an attachment");
                Attach::Later(false)
            }
            Proposed::Indeterminate => Attach::Later(true),
        }
    }

    /// Sends what a new session starts with; false when it ended.
    async fn welcome(&mut self, revision: u64, known: KnownCluster) -> bool {
        self.server.node.wait_rows(revision).await;
        let agent = &self.agent;
        let read =
            View::new(&self.server.node).read(|rows| (query::cluster(rows), query::runners_of(rows, agent)));
        let Ok((cluster, runners)) = read else { return false };
        {
            // What an earlier incarnation said of its runners this one says again.
            let mut soft_state = self.server.soft_state.lock();
            for runner in runners {
                soft_state.runners.remove(runner.name.as_str());
            }
        }
        let Cluster { name, epoch, incarnation, .. } = cluster;
        // Numbers of another incarnation of the cluster say nothing here.
        self.revoked_sent = if known.incarnation == incarnation { known.revoked } else { 0 };
        let welcome = AgentDown::Welcome { cluster: name, epoch: epoch.0, incarnation, revision };
        self.send(welcome).await && self.send_revoked().await && self.bring_up_to_date().await
    }

    /// Ends the session of an agent that knows another incarnation of this cluster, or may come to know one.
    async fn refuse_other_incarnation(mut self, why: &str) {
        tracing::error!(agent = self.name, "{why}");
        self.forget();
        let own = View::new(&self.server.node).read(|rows| query::cluster(rows));
        if let Ok(Cluster { epoch, incarnation, .. }) = own {
            self.send(AgentDown::OtherIncarnation { epoch: epoch.0, incarnation }).await;
        }
        // A close would overtake the message; an agent that does not read it learns the same from the close.
        let sent = self.sender.finish_and_wait();
        let _ = tokio::time::timeout(LAST_MESSAGE_TIMEOUT, sent).await;
        // It dials again: a member of the other incarnation may answer.
        self.session.close(CloseCode::Busy, why);
    }

    /// Reads rows on a thread for long reads. A damaged view ends the process.
    async fn read_rows<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Rows<'_>) -> T + Send + 'static,
    ) -> Result<T, Damaged> {
        let (reader, identity) = (self.server.clone(), Identity::Agent(self.agent.clone()));
        let read = move || View::new(&reader.node).read(query);
        self.server.agent_reads.run(&identity, read).await
    }

    /// Reads a few rows by their keys: `count` of them, with what they name. Where they are few that takes less time than
    /// to hand it to another thread.
    async fn read_some<T: Send + 'static>(
        &self,
        count: usize,
        query: impl FnOnce(&Rows<'_>) -> T + Send + 'static,
    ) -> Result<T, Damaged> {
        match count <= FEW_ROWS {
            true => View::new(&self.server.node).read(query),
            false => self.read_rows(query).await,
        }
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
        loop {
            let capacity = self.reports.has_capacity() && self.verdicts.has_capacity();
            let due = self.verdicts.is_due();
            // Whatever comes now may let those that wait go on, but for a comparison, which says that itself.
            self.verdicts.on_progress();
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
                () = self.server.node.wait_rows(self.answered), if due => self.compare_verdicts(),
                changes = wakeup.changed() => self.on_changes(changes).await,
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

    /// What is left of the session: what waited in its queues and streams is gone.
    fn end(self) -> Ended {
        let Self { server, session, name, agent, incarnation, attach, .. } = self;
        Ended { server, session, name, agent, incarnation, attach }
    }

    /// The session is over: detached now, lost when it does not come back in time.
    async fn leave(self) {
        self.forget();
        let Ended { server, name, incarnation, attach, session, .. } = self.end();
        let reason = session.close_reason();
        session.close(CloseCode::Done, "");
        let attachment = server.soft_state.attachment(&name).await;
        let seen = {
            let mut soft_state = server.soft_state.lock();
            let ours = soft_state.agents.get(&name).filter(|agent| agent.session.id() == session.id());
            let Some(seen) = ours.map(|agent| agent.last_seen) else { return };
            soft_state.agents.remove(&name);
            seen
        };
        let ended = |code: &CloseCode| matches!(code, CloseCode::Done | CloseCode::Shutdown);
        let goodbye = matches!(&reason, Some(CloseReason::Peer { code, .. }) if ended(code));
        let identity = WireIdentity::Agent(name.clone());
        let body = CommandBody::Detach { attach, goodbye, seen_ms: seen.0 };
        // Without a leader the next one counts the agent as silent automatically.
        let _ = server.node.propose(Command { identity, request: None, body }).await;
        drop(attachment);
        tracing::info!(agent = name, incarnation, goodbye, "detached");
        let rest = AGENT_LOST_AFTER.to_std().saturating_sub(session.silent_for());
        // Its buffers and keys: an agent may come and go many times within that time.
        drop(session);
        tokio::time::sleep(rest).await;
        report_lost(&server, name, attach).await;
    }
}

/// Reports to the log that an agent is lost since this attach, unless it came back meanwhile. While there is no leader
/// it is reported again.
pub(crate) async fn report_lost(server: &Server, name: String, attach: u64) {
    for _ in 0..LOST_ATTEMPTS {
        {
            let _attachment = server.soft_state.attachment(&name).await;
            if server.soft_state.lock().agents.contains_key(&name) {
                return;
            }
            let body = CommandBody::AgentLost { agent: name.clone(), attach };
            let command = Command { identity: WireIdentity::System, request: None, body };
            if matches!(server.node.propose(command).await, Proposed::Done { .. }) {
                return;
            }
        }
        tokio::time::sleep(LOST_PAUSE).await;
    }
}

/// An attach of this agent here may be in the log, though its session never began.
async fn report_lost_if_attached(server: &Server, name: AgentName) {
    let (reader, wanted) = (server.clone(), name.clone());
    let read = move || View::new(&reader.node).read(|rows| query::agents_to_expect(rows));
    let Ok(expected) = server.agent_reads.run(&Identity::Agent(name), read).await else { return };
    let here = |it: &query::ExpectedAgent| it.name == wanted && it.attached.as_ref() == Some(&server.name);
    if let Some(agent) = expected.into_iter().find(here) {
        report_lost(server, agent.name.to_string(), agent.attach).await;
    }
}
