//! Answers that do not end: events of runs, and output of services.

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc::{self, Sender};
use trimaran_member::{ReadAnswer, event_log};
use trimaran_model::error_code;
use trimaran_model::event::EventPosition;
use trimaran_model::id::Identity;
use trimaran_model::limits::{LOG_BATCHES_MAX, MESSAGE_BYTES_MAX};
use trimaran_model::target::PlatformKind;
use trimaran_model::text::cut;
use trimaran_query as query;
use trimaran_transport::{FrameReceiver, FrameSender};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::agent::{AgentAnswer, AgentQuery, AgentQuestion};
use trimaran_wire::v1::operator::{OperatorReply, Refusal};
use trimaran_wire::v1::runner::{LogLines, LogQuery};

use super::reply::{Answer, refusal, run_id, wait_linearizable};
use crate::damaged::Damaged;
use crate::events::{Follow, RenderedEvent, present_state};
use crate::peer::{AgentPath, agent_path, ask_agent};
use crate::rows::View;
use crate::server::Server;

/// Sends what came after a position, and then each event as it comes, until the watcher goes. With a run only what
/// is of it: what an agent or another run does to it shows in its stages.
pub(super) async fn watch(
    server: &Server,
    identity: &Identity,
    mut sender: FrameSender,
    run: Option<String>,
    since: Option<EventPosition>,
) {
    let since = match since {
        Some(since) => Some(resume_at(server, since).await),
        None => None,
    };
    let Follow { past, compacted, mut live, mut cursor } = server.events.follow(since);
    let run = run.as_deref();
    let wanted = |event: &RenderedEvent| run.is_none() || event.run.is_none() || event.run.as_deref() == run;
    if let Some((since, complete_after)) = since.zip(compacted) {
        let Ok(state) = state_since(server, identity, since, complete_after).await else { return };
        for event in state.iter().filter(|event| wanted(event)) {
            if !send(&mut sender, event).await {
                return;
            }
        }
    }
    let wanted = |event: &RenderedEvent| run.is_none() || event.run.as_deref() == run;
    for event in past.iter().filter(|event| wanted(event)) {
        if !send(&mut sender, event).await {
            return;
        }
    }
    loop {
        let next = tokio::select! {
            next = live.recv() => next,
            // A watcher that went away must not keep its stream until the next event.
            () = sender.stopped() => return,
        };
        let event = match next {
            Ok(event) => event,
            // Too slow: the stream ends and the watcher resumes from its last position.
            Err(RecvError::Lagged(_) | RecvError::Closed) => return,
        };
        // Live progress has no position.
        let new = event.position.is_none_or(|position| cursor.takes(position));
        if new && wanted(&event) && !send(&mut sender, &event).await {
            return;
        }
    }
}

/// Where a watcher goes on that comes from another coordinator, which may have been ahead of this one.
async fn resume_at(server: &Server, since: EventPosition) -> EventPosition {
    if since.revision <= server.node.store.applied() {
        return since;
    }
    let leader = match server.node.read_revision(false).await {
        ReadAnswer::At(revision) => Some(revision),
        ReadAnswer::NotLeader | ReadAnswer::Busy(_) => None,
    };
    event_log::resume(since, leader)
}

async fn state_since(
    server: &Server,
    identity: &Identity,
    since: EventPosition,
    complete_after: EventPosition,
) -> Result<Vec<RenderedEvent>, Damaged> {
    let (reader, wall) = (server.clone(), server.node.wall());
    let changed = move || {
        View::new(&reader.node).read(|rows| {
            // Of the revision itself only some events may have been seen.
            let runs = query::runs_changed(rows, since.revision.saturating_sub(1));
            present_state(since, complete_after, &runs, wall)
        })
    };
    server.reads.run(identity, changed).await
}

async fn send(sender: &mut FrameSender, event: &RenderedEvent) -> bool {
    let position = event.position.map(Into::into);
    let reply = OperatorReply::Event { position, json: event.json.to_string() };
    sender.send(&reply.to_frame()).await.is_ok()
}

/// What `logs` asks for.
pub(super) struct LogRequest {
    pub(super) run: String,
    pub(super) stage: Option<String>,
    pub(super) host: Option<String>,
    /// Of the process before the one that runs.
    pub(super) previous: bool,
    pub(super) query: LogQuery,
}

/// One agent's share of a question for logs.
struct Share {
    agent: String,
    /// All of the target when none is named.
    hosts: Vec<String>,
    previous: bool,
    query: LogQuery,
}

/// Asks every agent whose hosts or jobs are concerned and passes their lines on. `None`: everything was sent.
pub(super) async fn logs(
    server: &Server,
    identity: &Identity,
    sender: &mut FrameSender,
    asked: LogRequest,
) -> Option<Answer> {
    if let Err(refusal) = wait_linearizable(server, false).await {
        return Some(Err(refusal));
    }
    let reader = server.clone();
    let read = move || View::new(&reader.node).read(|rows| shares(rows, &asked));
    let shares = match server.reads.run(identity, read).await {
        Ok(Ok(shares)) => shares,
        Ok(Err(refusal)) => return Some(Err(refusal)),
        Err(damaged) => return Some(Err(damaged.into())),
    };
    let (lines_to, mut lines) = mpsc::channel(LOG_BATCHES_MAX);
    for share in shares {
        let Some(via) = agent_path(server, &share.agent).await else {
            return Some(Err(agent_away(server, identity, share.agent).await));
        };
        let lines_to = lines_to.clone();
        server.tasks.spawn(ask(server.clone(), via, share, lines_to));
    }
    drop(lines_to);
    while let Some(batch) = lines.recv().await {
        if sender.send(&OperatorReply::Logs(batch).to_frame()).await.is_err() {
            return None;
        }
    }
    None
}

/// Passes an agent's lines on. When its session breaks off, lines of any of its hosts may be missing.
async fn ask(server: Server, path: AgentPath, share: Share, lines_to: Sender<LogLines>) {
    let Share { agent, mut hosts, previous, query } = share;
    let target = query.target.clone();
    let question = AgentQuestion::Logs { instances: hosts.clone(), previous, query };
    let query = AgentQuery { target: target.clone(), question };
    let passed = match ask_agent(&server, &path, &agent, query).await {
        Some((question, answer)) => {
            question.finish();
            pass_on(answer, &lines_to).await
        }
        None => None,
    };
    let why = match passed {
        Some(Passed::On) => return,
        Some(Passed::Refused(why)) => why,
        None => format!("the session of agent `{agent}` broke off"),
    };
    if hosts.is_empty() {
        hosts.push(target);
    }
    for host in hosts {
        let missing = Some(why.clone());
        if lines_to.send(LogLines { host, lines: Vec::new(), missing }).await.is_err() {
            return;
        }
    }
}

/// How an answer with an end ended.
enum Passed {
    On,
    /// Why the agent does not answer, or not any more.
    Refused(String),
}

/// `None`: the answer has no end.
async fn pass_on(mut answer: FrameReceiver, lines_to: &Sender<LogLines>) -> Option<Passed> {
    while let Some(frame) = answer.next().await.ok()? {
        let batch = match AgentAnswer::from_frame(&frame).ok()? {
            AgentAnswer::Logs(batch) => batch,
            AgentAnswer::Refused { message, .. } => {
                return Some(Passed::Refused(cut(message, MESSAGE_BYTES_MAX)));
            }
            // No part of this answer: the agent is not to be trusted with the rest.
            AgentAnswer::Plan(_) | AgentAnswer::SealingKey(_) | AgentAnswer::Running(_) => return None,
        };
        if lines_to.send(batch).await.is_err() {
            return Some(Passed::On);
        }
    }
    Some(Passed::On)
}

/// An agent without a session: since when, and what to do.
pub(super) async fn agent_away(server: &Server, identity: &Identity, name: String) -> Refusal {
    let reader = server.clone();
    let read = move || View::new(&reader.node).read(|rows| query::agents(rows));
    let known = match server.reads.run(identity, read).await {
        Ok(list) => list.agents,
        Err(damaged) => return damaged.into(),
    };
    let since = known.into_iter().find(|agent| agent.name == name).and_then(|agent| agent.last_seen);
    let cause = match since {
        Some(since) => {
            format!("agent `{name}` has had no session since {since}, so its hosts can't be asked")
        }
        None => format!("agent `{name}` was never connected, so its hosts can't be asked"),
    };
    let help = format!("start agent `{name}` again, or `trimaran agent enroll {name}` for its replacement");
    Refusal {
        cause: Some(cause),
        help: Some(help),
        ..refusal(error_code::AGENT_AWAY, format!("agent `{name}` is not connected"))
    }
}

fn shares(rows: &crate::rows::Rows<'_>, asked: &LogRequest) -> Result<Vec<Share>, Refusal> {
    let id = run_id(&asked.run)?;
    let run = query::stored_run(rows, &id)
        .ok_or_else(|| refusal(error_code::NOT_FOUND, format!("there is no run `{}`", asked.run)))?;
    let mut shares = Vec::new();
    for stage in &run.stages {
        let Some(deploy) = stage.deploy() else { continue };
        let name = deploy.target.as_str();
        if asked.stage.as_ref().is_some_and(|wanted| *wanted != stage.name.to_string()) {
            continue;
        }
        let Some(target) = query::targets(rows, Some(name)).targets.pop() else { continue };
        let fits = |host: &&String| asked.host.as_ref().is_none_or(|wanted| wanted == *host);
        let hosts: Vec<String> = target.hosts.iter().filter(fits).cloned().collect();
        // Where the platform has the instances its agent alone knows them.
        let is_whole =
            query::target(rows, &deploy.target).is_some_and(|it| it.platform.kind() != PlatformKind::Hosts);
        let hosts = if is_whole { asked.host.iter().cloned().collect() } else { hosts };
        if hosts.is_empty() && !is_whole {
            continue;
        }
        let query = LogQuery {
            pipeline: id.pipeline.to_string(),
            target: name.to_owned(),
            run: Some(asked.run.clone()),
            // Also within the run: what it restored is of another release.
            release: Some(deploy.release.0),
            ..asked.query.clone()
        };
        let previous = asked.previous;
        shares.push(Share { agent: target.agent.clone(), hosts, previous, query });
    }
    match (shares.is_empty(), &asked.host, &asked.stage) {
        (true, Some(host), _) => {
            Err(refusal(error_code::NOT_FOUND, format!("`{}` has no host `{host}`", asked.run)))
        }
        (true, None, Some(stage)) => {
            Err(refusal(error_code::NOT_FOUND, format!("`{}` has no stage `{stage}` with hosts", asked.run)))
        }
        _ => Ok(shares),
    }
}
