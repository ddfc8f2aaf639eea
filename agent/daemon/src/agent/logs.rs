//! The output of services: asked of the runners, passed on line by line.
//!
//! Nothing is kept here: a slow reader slows the runners down, and one that goes away ends them.

use tokio::task::JoinSet;
use tokio::time::timeout;
use trimaran_agent_core::platform::{Part, PartSink};
use trimaran_model::id::HostName;
use trimaran_model::limits::{LOG_HOST_WAIT, LOG_SESSIONS_MAX};
use trimaran_transport::Session;
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::runner::{LogLine, LogLines, LogQuery, RunnerQuery};

use super::hosts::LiveRunners;

/// Asks all of these hosts at once. Dropped, it ends the runners' streams.
pub(super) async fn ask_hosts(
    hosts: Vec<HostName>,
    query: LogQuery,
    runners: &LiveRunners,
    lines_to: impl PartSink,
) {
    let mut asking = JoinSet::new();
    for host in hosts {
        asking.spawn(ask(host, query.clone(), runners.clone(), lines_to.clone()));
    }
    while asking.join_next().await.is_some() {}
}

/// One host's lines, until the whole answer was read; with `follow` until no one reads any more. Continues with the
/// host's next session when one breaks, and says so when lines are missing.
async fn ask<S: PartSink>(host: HostName, query: LogQuery, runners: LiveRunners, lines_to: S) {
    let follow = query.follow;
    let mut asked = Asked { host, query, at_last: 0, lines_to };
    for attempt in 1.. {
        let waiting = timeout(LOG_HOST_WAIT.to_std(), runners.connected(&asked.host));
        let session = match waiting.await {
            Ok(session) => session,
            Err(_) => {
                asked.miss("its runner is not connected").await;
                if !follow {
                    return;
                }
                runners.connected(&asked.host).await
            }
        };
        match asked.read(&session).await {
            End::Whole | End::Broken if follow => {}
            End::Broken if attempt < LOG_SESSIONS_MAX => {}
            End::Whole | End::Unread => return,
            End::Broken => return asked.miss("its runner's session broke off").await,
        }
        // What ends an answer early ends its session, sooner or later.
        let _ = timeout(LOG_HOST_WAIT.to_std(), session.closed()).await;
    }
}

/// A question to one host, as far as it is answered.
struct Asked<S> {
    host: HostName,
    query: LogQuery,
    /// Lines passed on that have the time at which the question continues.
    at_last: usize,
    lines_to: S,
}

/// How the answer of one session ended.
enum End {
    Whole,
    Broken,
    /// No one wants the lines any more.
    Unread,
}

impl<S: PartSink> Asked<S> {
    async fn read(&mut self, session: &Session) -> End {
        let question = RunnerQuery::Logs(self.query.clone()).to_frame();
        let Ok(mut answer) = session.request(&question).await else { return End::Broken };
        let (resumed_at, mut again) = (self.query.since_ms, self.at_last);
        loop {
            let frame = match answer.next().await {
                Ok(Some(frame)) => frame,
                Ok(None) => return End::Whole,
                Err(_) => return End::Broken,
            };
            let Ok(mut batch) = LogLines::from_frame(&frame) else {
                session.refuse_frame("these are no lines of a log");
                return End::Broken;
            };
            batch.lines.retain(|line| {
                let known = again > 0 && Some(line.at_ms) == resumed_at;
                again -= usize::from(known);
                !known
            });
            self.note(&batch.lines);
            // Who reads knows the host by its certificate, not by what it says.
            let batch = LogLines { host: self.host.to_string(), missing: None, ..batch };
            if self.lines_to.put(Part::Logs(batch)).await.is_err() {
                return End::Unread;
            }
        }
    }

    /// What was passed on is left out by the next session.
    fn note(&mut self, lines: &[LogLine]) {
        let Some(last) = lines.last() else { return };
        let at_last = lines.iter().rev().take_while(|line| line.at_ms == last.at_ms).count();
        let continues = self.query.since_ms == Some(last.at_ms) && at_last == lines.len();
        self.at_last = if continues { self.at_last + at_last } else { at_last };
        (self.query.since_ms, self.query.tail) = (Some(last.at_ms), None);
    }

    async fn miss(&self, why: &str) {
        let missing = Some(why.to_owned());
        let batch = LogLines { host: self.host.to_string(), lines: Vec::new(), missing };
        // No one reads it when it can't be sent.
        let _ = self.lines_to.put(Part::Logs(batch)).await;
    }
}
