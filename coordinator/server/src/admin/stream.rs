//! Answers that do not end: events of runs, and output of services.

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc::{self, Sender};
use trimaran_model::error_code;
use trimaran_model::event::EventPosition;
use trimaran_model::id::Identity;
use trimaran_model::limits::LOG_BATCHES_MAX;
use trimaran_query as query;
use trimaran_transport::{FrameSender, Session};
use trimaran_wire::codec::Message as _;
use trimaran_wire::frame::Frame;
use trimaran_wire::v1::agent::AgentQuery;
use trimaran_wire::v1::operator::{OperatorReply, Refusal};
use trimaran_wire::v1::runner::{LogLines, LogQuery};

use super::reply::{Answer, refusal, run_id, wait_linearizable};
use crate::damaged::Damaged;
use crate::events::{Follow, RenderedEvent, present_state};
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
    let Follow { past, compacted, mut live } = server.events.follow(since);
    let wanted = |event: &RenderedEvent| run.is_none() || event.run == run || event.run.is_none();
    if let Some((since, complete_after)) = since.zip(compacted) {
        let Ok(state) = state_since(server, identity, since, complete_after).await else { return };
        for event in state.iter().filter(|event| wanted(event)) {
            if !send(&mut sender, event).await {
                return;
            }
        }
    }
    let wanted = |event: &RenderedEvent| run.is_none() || event.run == run;
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
        if wanted(&event) && !send(&mut sender, &event).await {
            return;
        }
    }
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
    let reply = OperatorReply::Event { position, json: event.json.clone() };
    sender.send(&reply.to_frame()).await.is_ok()
}

/// What `logs` asks for.
pub(super) struct LogRequest<'a> {
    pub(super) run: &'a str,
    pub(super) stage: Option<&'a str>,
    pub(super) host: Option<&'a str>,
    pub(super) query: &'a LogQuery,
}

/// One agent's share of a question for logs.
struct Share {
    agent: String,
    hosts: Vec<String>,
    query: LogQuery,
}

/// Asks every agent whose hosts are concerned and passes their lines on. `None`: everything was sent.
pub(super) async fn logs(server: &Server, sender: &mut FrameSender, asked: LogRequest<'_>) -> Option<Answer> {
    if let Err(refusal) = wait_linearizable(server).await {
        return Some(Err(refusal));
    }
    let shares = match View::new(&server.node).read(|rows| shares(rows, &asked)) {
        Ok(Ok(shares)) => shares,
        Ok(Err(refusal)) => return Some(Err(refusal)),
        Err(damaged) => return Some(Err(damaged.into())),
    };
    let (lines_to, mut lines) = mpsc::channel(LOG_BATCHES_MAX);
    for share in shares {
        let session = server.soft_state.lock().agents.get(&share.agent).map(|agent| agent.session.clone());
        let Some(session) = session else { return Some(Err(agent_away(server, &share.agent))) };
        let lines_to = lines_to.clone();
        server.tasks.spawn(ask(session, share, lines_to));
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
async fn ask(session: Session, share: Share, lines_to: Sender<LogLines>) {
    let Share { agent, hosts, query } = share;
    let question = AgentQuery::Logs { hosts: hosts.clone(), query }.to_frame();
    if pass_on(&session, &question, &lines_to).await.is_some() {
        return;
    }
    for host in hosts {
        let missing = Some(format!("the session of agent `{agent}` broke off"));
        if lines_to.send(LogLines { host, lines: Vec::new(), missing }).await.is_err() {
            return;
        }
    }
}

/// `None`: the answer has no end.
async fn pass_on(session: &Session, question: &Frame, lines_to: &Sender<LogLines>) -> Option<()> {
    let mut answer = session.request(question).await.ok()?;
    while let Some(frame) = answer.next().await.ok()? {
        let batch = LogLines::from_frame(&frame).ok()?;
        if lines_to.send(batch).await.is_err() {
            return Some(());
        }
    }
    Some(())
}

/// An agent without a session: since when, and what to do.
fn agent_away(server: &Server, name: &str) -> Refusal {
    let known = match View::new(&server.node).read(|rows| query::agents(rows)) {
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

fn shares(rows: &crate::rows::Rows<'_>, asked: &LogRequest<'_>) -> Result<Vec<Share>, Refusal> {
    let id = run_id(asked.run)?;
    let run = query::stored_run(rows, &id)
        .ok_or_else(|| refusal(error_code::NOT_FOUND, format!("there is no run `{}`", asked.run)))?;
    let mut shares = Vec::new();
    for stage in &run.stages {
        let Some(deploy) = stage.deploy() else { continue };
        let name = deploy.target.as_str();
        if asked.stage.is_some_and(|wanted| wanted != stage.name.to_string()) {
            continue;
        }
        let Some(target) = query::targets(rows, Some(name)).targets.pop() else { continue };
        let fits = |host: &&String| asked.host.is_none_or(|wanted| wanted == *host);
        let hosts: Vec<String> = target.hosts.iter().filter(fits).cloned().collect();
        if hosts.is_empty() {
            continue;
        }
        let query = LogQuery {
            pipeline: id.pipeline.to_string(),
            target: name.to_owned(),
            run: Some(asked.run.to_owned()),
            // Also within the run: what it restored is of another release.
            release: Some(deploy.release.0),
            ..asked.query.clone()
        };
        shares.push(Share { agent: target.agent.clone(), hosts, query });
    }
    match (shares.is_empty(), asked.host, asked.stage) {
        (true, Some(host), _) => {
            Err(refusal(error_code::NOT_FOUND, format!("`{}` has no host `{host}`", asked.run)))
        }
        (true, None, Some(stage)) => {
            Err(refusal(error_code::NOT_FOUND, format!("`{}` has no stage `{stage}` with hosts", asked.run)))
        }
        _ => Ok(shares),
    }
}
