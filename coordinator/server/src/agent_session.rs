//! The I/O of one attached agent: its stream, the log's answers, reads of rows, and what viewers see of it.
//!
//! Not here: what the session does (`trimaran_member::agent_session`), and which entries concern it (`agent_wakeups`).

mod contents;
mod notes;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use trimaran_member::Proposed;
use trimaran_member::agent_session::{
    AgentSession, Changes, Close, Greeting, Input, Moment, Output, Question, border,
};
use trimaran_model::id::{AgentName, Identity};
use trimaran_model::limits::{AGENT_MESSAGE_MEMORY_MAX, REVOKED_PER_MESSAGE_MAX};
use trimaran_model::time::{Millis, Timestamp};
use trimaran_process::clock;
use trimaran_transport::{CloseCode, CloseReason, FrameReceiver, FrameSender, SendError, Session};
use trimaran_wire::codec::{CodecError, Message as _};
use trimaran_wire::frame::Frame;
use trimaran_wire::v1::agent::{AgentDown, AgentUp};

use crate::agent_attachments::SessionTurn;
use crate::agent_wakeups::Mailbox;
use crate::authorize::Verb;
use crate::rows::View;
use crate::server::Server;

/// How long the last message of a session may take to arrive.
const LAST_MESSAGE_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves an agent until its session ends.
pub(crate) async fn serve(server: Server, session: Session) {
    let Some(identity) = session.identity().cloned() else { return };
    let Identity::Agent(agent) = &identity else { return };
    if !server.refusals.check(&identity, Verb::Serve) {
        return session.close(CloseCode::Certificate, "only agents are served here");
    }
    let Ok((sender, mut receiver)) = session.accept_stream().await else { return };
    let Some(greeting) = greeting(&server, &session, &mut receiver).await else { return };
    let address = seen_address(greeting.listen.clone(), session.remote_address());
    let incarnation = greeting.incarnation;
    let core = AgentSession::new(agent.clone(), server.name.clone(), greeting, address.clone());
    // Before the attach, so that nothing that is applied behind it is missed.
    let mailbox = server.agent_wakeups.register(agent.clone(), incarnation);
    let (sender, contents) = (Some(sender), None);
    let connection = Connection { session, sender, receiver, mailbox, contents, incarnation, address };
    Link::new(server, agent.clone(), Some(connection)).run(core).await;
}

/// Reports to the log that an agent is lost since this attach, unless it came back meanwhile. While there is no leader
/// it is reported again.
pub(crate) async fn report_lost(server: &Server, agent: AgentName, attach: u64) {
    let core = AgentSession::of_lost(agent.clone(), server.name.clone(), attach, clock::boot_time());
    Link::new(server.clone(), agent, None).run(core).await;
}

/// The first message of a session, which is a hello; the session of anything else is closed. Its frame is not kept: the
/// session may last for months.
async fn greeting(server: &Server, session: &Session, receiver: &mut FrameReceiver) -> Option<Greeting> {
    let frame = receiver.next().await.ok()??;
    match read(server, &frame).map(Greeting::of) {
        Ok(Some(greeting)) => return Some(greeting),
        Ok(None) => session.refuse_frame("a session of an agent starts with its hello"),
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

/// What a session has while its connection lasts.
struct Connection {
    session: Session,
    /// Until the last message is sent.
    sender: Option<FrameSender>,
    receiver: FrameReceiver,
    /// What applied entries change for this session.
    mailbox: Mailbox,
    /// The streams that fetch content, once the session is attached.
    contents: Option<AbortHandle>,
    incarnation: u64,
    address: String,
}

/// Everything that a session works with.
struct Link {
    server: Server,
    agent: AgentName,
    connection: Option<Connection>,
    /// The connection has ended, and the session is to be notified of it.
    closed: Option<Input>,
    /// For coming and going.
    turn: SessionTurn,
    /// Proposals in flight with their numbers; the log answers the oldest first.
    answers: VecDeque<(u64, oneshot::Receiver<Proposed>)>,
}

impl Link {
    fn new(server: Server, agent: AgentName, connection: Option<Connection>) -> Self {
        let turn = server.agent_attachments.session(agent.clone());
        Self { server, agent, connection, closed: None, turn, answers: VecDeque::new() }
    }

    async fn run(mut self, mut core: AgentSession) {
        let mut input = Input::Begin;
        loop {
            let mut outputs = VecDeque::from(self.step(&mut core, input));
            while let Some(output) = outputs.pop_front() {
                if let Some(answer) = self.perform(output).await {
                    outputs.extend(self.step(&mut core, answer));
                }
            }
            if core.is_over() {
                return;
            }
            input = self.next_input(&core).await;
        }
    }

    fn step(&self, core: &mut AgentSession, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        let member = self.server.node.member_status();
        let moment =
            Moment { boot: clock::boot_time(), wall: self.server.node.wall(), member: &member.borrow() };
        core.step(moment, input, &mut out);
        out
    }

    /// Performs an output, and gives what comes of it at once.
    async fn perform(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Send(message) => self.send(message).await,
            Output::Propose { number, command } => {
                self.answers.push_back((number, self.server.node.submit(command)));
            }
            Output::Acquire => return Some(Input::Acquired(self.turn.acquire().await)),
            Output::Release => self.turn.release(),
            Output::Ask { revision, question } => return Box::pin(self.ask(revision, question)).await,
            Output::AskRevoked { after } => {
                let revocations = &self.server.revocations;
                let (up_to, keys) = revocations.after(&self.agent, after, REVOKED_PER_MESSAGE_MAX);
                return Some(Input::Revoked { up_to, keys, issuers: revocations.keys.issuers() });
            }
            Output::Close { code, why, flush } => Box::pin(self.close(code, &why, flush)).await,
            Output::Note(note) => self.note(note),
        }
        None
    }

    /// Reads rows on a thread for long reads, a few rows where they are needed. Of a damaged view nothing is said, and the
    /// process ends.
    async fn ask(&mut self, revision: u64, question: Question) -> Option<Input> {
        self.server.node.wait_rows(revision).await;
        let (reader, agent) = (self.server.clone(), self.agent.clone());
        let is_short = question.is_short();
        let read = move || {
            let answer =
                |rows: &crate::rows::Rows<'_>| question.answer(rows, rows.revision(), &agent, &reader.name);
            View::new(&reader.node).read(answer)
        };
        let answered = match is_short {
            true => read(),
            false => self.server.agent_reads.run(&Identity::Agent(self.agent.clone()), read).await,
        };
        match answered {
            Ok(answer) => Some(Input::Found(answer)),
            Err(_) => {
                self.hang_up(CloseCode::Done, "");
                None
            }
        }
    }

    /// Sends a message. One that is too long would be so in the next session too: it ends this one aloud, with the size in
    /// the close and in the log.
    async fn send(&mut self, message: AgentDown) {
        let sender = self.connection.as_mut().and_then(|connection| connection.sender.as_mut());
        let Some(sender) = sender else { return };
        match sender.send(&message.to_frame()).await {
            Ok(()) => {}
            Err(error @ SendError::TooLong { .. }) => {
                tracing::error!(agent = self.agent.as_str(), %error, "a message to the agent is too long");
                self.hang_up(CloseCode::Protocol, &error.to_string());
            }
            Err(SendError::Closed(_) | SendError::Stopped(_) | SendError::Broken) => {
                self.hang_up(CloseCode::Done, "");
            }
        }
    }

    async fn close(&mut self, code: Close, why: &str, flush: bool) {
        tracing::info!(agent = self.agent.as_str(), why, "the session is closed");
        let Some(connection) = &mut self.connection else { return };
        if flush && let Some(sender) = connection.sender.take() {
            // Who does not read it is not waited for.
            let _ = tokio::time::timeout(LAST_MESSAGE_TIMEOUT, sender.finish_and_wait()).await;
        }
        match code {
            Close::Busy => self.hang_up(CloseCode::Busy, why),
            Close::Superseded => self.hang_up(CloseCode::Superseded, why),
            Close::Done => self.hang_up(CloseCode::Done, why),
            Close::Protocol => {
                connection.session.refuse_frame(why);
                self.hang_up(CloseCode::Done, "");
            }
        }
    }

    /// The connection is over, also when it was before: its buffers and keys go now, since an agent may come and go many times
    /// before it counts as lost.
    fn hang_up(&mut self, code: CloseCode, why: &str) {
        let Some(connection) = self.connection.take() else { return };
        let Connection { session, contents, .. } = connection;
        let reason = session.close_reason();
        session.close(code, why);
        if let Some(contents) = contents {
            contents.abort();
        }
        self.answers.clear();
        let ended = |code: &CloseCode| matches!(code, CloseCode::Done | CloseCode::Shutdown);
        let goodbye = matches!(&reason, Some(CloseReason::Peer { code, .. }) if ended(code));
        let silent = Millis(u64::try_from(session.silent_for().as_millis()).unwrap_or(u64::MAX));
        self.closed = Some(Input::Closed { goodbye, silent });
    }

    async fn next_input(&mut self, core: &AgentSession) -> Input {
        loop {
            if let Some(closed) = self.closed.take() {
                return closed;
            }
            let Self { server, connection, answers, .. } = self;
            let (receiver, mailbox) = match connection {
                Some(connection) => (Some(&mut connection.receiver), Some(&connection.mailbox)),
                None => (None, None),
            };
            let rows = core.awaits_rows();
            let frame = tokio::select! {
                frame = received(receiver), if core.takes_messages() => frame,
                (number, answer) = first(answers) => return Input::Answered { number, answer },
                () = shown(server, rows), if rows.is_some() => return Input::RowsReached,
                changes = changed(mailbox), if core.is_attached() => return Input::Changed(changes),
                () = due(core.next_deadline()) => return Input::Due,
            };
            match frame.map(|frame| read(server, &frame)) {
                Some(Ok(message)) => {
                    self.touch();
                    return Input::Message(message);
                }
                Some(Err(error)) => Box::pin(self.close(Close::Protocol, &error.to_string(), false)).await,
                None => self.hang_up(CloseCode::Done, ""),
            }
        }
    }
}

/// The next frame; `None` at the end of the stream. Never comes without a connection.
async fn received(receiver: Option<&mut FrameReceiver>) -> Option<Frame> {
    match receiver {
        Some(receiver) => receiver.next().await.ok().flatten(),
        None => std::future::pending().await,
    }
}

/// The answer to the oldest proposal; never comes when there is none. May be dropped and called again.
async fn first(answers: &mut VecDeque<(u64, oneshot::Receiver<Proposed>)>) -> (u64, Proposed) {
    let Some((_, answer)) = answers.front_mut() else { return std::future::pending().await };
    let proposed = answer.await.unwrap_or(Proposed::Indeterminate);
    let (number, _) = answers.pop_front().expect("it was in front");
    (number, proposed)
}

/// Comes when views show a revision.
async fn shown(server: &Server, revision: Option<u64>) {
    server.node.wait_rows(revision.unwrap_or(0)).await;
}

async fn changed(mailbox: Option<&Mailbox>) -> Changes {
    match mailbox {
        Some(mailbox) => mailbox.changed().await,
        None => std::future::pending().await,
    }
}

async fn due(at: Option<Timestamp>) {
    match at {
        Some(at) => tokio::time::sleep((at - clock::boot_time()).to_std()).await,
        None => std::future::pending().await,
    }
}
