//! Questions of a coordinator for the output of services: passed on to the runners, answered line by line.
//!
//! Nothing is kept here: a slow reader slows the runners down, and one that goes away ends them.

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use trimaran_model::id::HostName;
use trimaran_model::limits::LOG_BATCHES_MAX;
use trimaran_transport::{FrameReceiver, FrameSender, Session};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::agent::AgentQuery;
use trimaran_wire::v1::runner::{LogLines, LogQuery, RunnerQuery};

use super::hosts::LiveRunners;

/// Serves the streams that the coordinator opens, until the session ends. Streams are bounded by the session.
pub(crate) async fn answer(session: &Session, runners: &LiveRunners) {
    let mut questions = JoinSet::new();
    loop {
        tokio::select! {
            stream = session.accept_stream() => {
                let Ok((sender, receiver)) = stream else { return };
                questions.spawn(one(session.clone(), sender, receiver, runners.clone()));
            }
            Some(_) = questions.join_next() => {}
        }
    }
}

async fn one(session: Session, mut sender: FrameSender, mut receiver: FrameReceiver, runners: LiveRunners) {
    let Ok(Some(frame)) = receiver.next().await else { return };
    let (hosts, query) = match AgentQuery::from_frame(&frame) {
        Ok(AgentQuery::Logs { hosts, query }) => (hosts, query),
        Err(error) => return session.refuse_frame(&error.to_string()),
    };
    let (lines_to, mut lines) = mpsc::channel(LOG_BATCHES_MAX);
    let mut asking = JoinSet::new();
    for host in hosts.iter().filter_map(|host| host.parse::<HostName>().ok()) {
        asking.spawn(ask(host, query.clone(), runners.clone(), lines_to.clone()));
    }
    drop(lines_to);
    loop {
        tokio::select! {
            batch = lines.recv() => {
                let Some(batch) = batch else { break };
                if sender.send(&batch.to_frame()).await.is_err() { return }
            }
            // Whoever asked has gone: dropping the tasks tells the runners.
            () = sender.stopped() => return,
        }
    }
    sender.finish();
}

/// One host's lines. With `follow` it goes on with the host's next session.
async fn ask(host: HostName, mut query: LogQuery, runners: LiveRunners, lines_to: mpsc::Sender<LogLines>) {
    loop {
        let changed = runners.changed.notified();
        let Some(session) = runners.get(&host) else {
            if !query.follow {
                return;
            }
            changed.await;
            continue;
        };
        if let Ok(mut answer) = session.request(&RunnerQuery::Logs(query.clone()).to_frame()).await {
            while let Ok(Some(frame)) = answer.next().await {
                let Ok(batch) = LogLines::from_frame(&frame) else {
                    return session.refuse_frame("these are no lines of a log");
                };
                // What was shown is not shown again by the next session.
                if let Some(last) = batch.lines.last() {
                    (query.since_ms, query.tail) = (Some(last.at_ms + 1), None);
                }
                // Who reads knows the host by its certificate, not by what it says.
                let batch = LogLines { host: host.to_string(), ..batch };
                if lines_to.send(batch).await.is_err() {
                    return;
                }
            }
        }
        if !query.follow {
            return;
        }
        session.closed().await;
    }
}
