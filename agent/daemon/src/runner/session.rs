//! One session of a runner with its agent: goals in, answers and reports out.
//!
//! A goal that was begun to be taken is taken to its end before the next session greets: what a greeting says is
//! the whole truth, and no earlier order can change it afterwards.

use std::collections::BTreeMap;

use std::collections::{BTreeSet, VecDeque};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use trimaran_host::{GoalRefused, Host};
use trimaran_host_core::host::SeenCluster;
use trimaran_model::assignment::{HostGoal, HostReport};
use trimaran_model::id::{Epoch, InstallationId};
use trimaran_model::limits::SESSION_QUEUE_MAX;
use trimaran_model::reason::ReasonCode;
use trimaran_model::text::with_sources;
use trimaran_model::time::WallTime;
use trimaran_transport::{CloseCode, CloseReason, FrameSender, Session};
use trimaran_wire::codec::{CodecError, Message as _};
use trimaran_wire::v1::assignment::WireFailure;
use trimaran_wire::v1::runner::{RunnerDown, RunnerUp};

use super::logs;
use super::revoked_agents::RevokedAgents;
use crate::clock::ClusterClock;

/// What a runner says of itself.
pub(crate) struct Greeting {
    pub(crate) incarnation: u64,
    pub(crate) clock: ClusterClock,
    pub(crate) revoked: RevokedAgents,
    /// What its host is.
    pub(crate) facts: BTreeMap<String, String>,
}

/// Serves a session to its end and says how it ended.
pub(crate) async fn serve(
    session: &Session,
    host: &Host,
    reports: &mut mpsc::Receiver<HostReport>,
    greeting: &Greeting,
) -> CloseReason {
    let mut goals = Goals::new(host.clone());
    tokio::select! {
        () = talk(session, host, reports, greeting, &mut goals) => {}
        () = logs::answer(session, host) => {}
    }
    session.close(CloseCode::Done, "");
    goals.finish().await;
    session.closed().await
}

async fn talk(
    session: &Session,
    host: &Host,
    reports: &mut mpsc::Receiver<HostReport>,
    greeting: &Greeting,
    goals: &mut Goals,
) {
    let Ok((mut sender, mut receiver)) = session.open_stream().await else { return };
    // Older than what the greeting says.
    while reports.try_recv().is_ok() {}
    let hello = RunnerUp::Hello {
        incarnation: greeting.incarnation,
        address: host.address().to_string(),
        reports: host.reports().iter().map(Into::into).collect(),
        facts: greeting.facts.clone(),
    };
    if !send(&mut sender, hello).await {
        return;
    }
    loop {
        let message = tokio::select! {
            frame = receiver.next() => {
                let Ok(Some(frame)) = frame else { return };
                let read = match RunnerDown::from_frame(&frame) {
                    Ok(message) => on_message(message, host, goals, greeting).await,
                    Err(error) => Err(error),
                };
                match read {
                    Ok(()) => continue,
                    Err(error) => return session.refuse_frame(&error.to_string()),
                }
            }
            Some(report) = reports.recv() => match latest(host, &report) {
                Some(report) => RunnerUp::Report((&report).into()),
                None => continue,
            },
            (sequence, refused) = goals.next() => RunnerUp::Answer { sequence, refused },
        };
        if !send(&mut sender, message).await {
            return;
        }
    }
}

/// What the host says now of the installation of a report: a queue may hold what is not true any more.
fn latest(host: &Host, report: &HostReport) -> Option<HostReport> {
    host.reports().into_iter().find(|it| it.installation == report.installation)
}

async fn send(sender: &mut FrameSender, message: RunnerUp) -> bool {
    match sender.send(&message.to_frame()).await {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(%error, "a message was not sent");
            false
        }
    }
}

async fn on_message(
    message: RunnerDown,
    host: &Host,
    goals: &mut Goals,
    greeting: &Greeting,
) -> Result<(), CodecError> {
    match message {
        RunnerDown::Welcome { wall_ms, epoch, incarnation, labels: _ } => {
            if let Some(wall_ms) = wall_ms {
                greeting.clock.set(WallTime(wall_ms));
            }
            goals.agent = SeenCluster { epoch: Epoch(epoch), incarnation };
            if let Err(refused) = host.greet(goals.agent).await {
                tracing::error!(error = with_sources(&refused), "orders of the agent will be refused");
            }
        }
        RunnerDown::Revoked { keys } => {
            let now = greeting.clock.now();
            if let Err(error) = greeting.revoked.add(now, &keys).await {
                tracing::error!(%error, "revoked keys of the agent can't be written");
            }
        }
        RunnerDown::Issuers { known, revoked } => {
            let now = greeting.clock.now();
            if let Err(error) = greeting.revoked.add_issuers(now, &known, &revoked).await {
                tracing::error!(%error, "keys of removed coordinators can't be written");
            }
        }
        RunnerDown::Goal { sequence, goal } => {
            if goals.waiting.len() >= SESSION_QUEUE_MAX {
                return Err(CodecError::value("more goals than this host can hold"));
            }
            goals.waiting.push_back((sequence, HostGoal::try_from(goal)?));
        }
    }
    Ok(())
}

/// Goals on their way into the host: of one installation one after the other, and none waits for another
/// installation, whose disk may hang.
struct Goals {
    host: Host,
    /// The state of the cluster that the agent of this session obeys.
    agent: SeenCluster,
    waiting: VecDeque<(u64, HostGoal)>,
    busy: BTreeSet<InstallationId>,
    taking: JoinSet<(InstallationId, u64, Option<WireFailure>)>,
}

impl Goals {
    fn new(host: Host) -> Self {
        let agent = SeenCluster::default();
        Self { host, agent, waiting: VecDeque::new(), busy: BTreeSet::new(), taking: JoinSet::new() }
    }

    /// The answer to one of the goals; waits while there is none. May be dropped and called again.
    async fn next(&mut self) -> (u64, Option<WireFailure>) {
        loop {
            self.begin();
            match self.taking.join_next().await {
                None => return std::future::pending().await,
                Some(Ok((installation, sequence, refused))) => {
                    self.busy.remove(&installation);
                    return (sequence, refused);
                }
                // Without an answer the agent ends the session, and the next one says what became of it.
                Some(Err(error)) => tracing::error!(%error, "a goal was not taken to its end"),
            }
        }
    }

    /// Begins whatever does not wait for an earlier goal of its installation.
    fn begin(&mut self) {
        for (sequence, goal) in std::mem::take(&mut self.waiting) {
            if !self.busy.insert(goal.installation.clone()) {
                self.waiting.push_back((sequence, goal));
                continue;
            }
            let (host, agent) = (self.host.clone(), self.agent);
            self.taking.spawn(async move {
                let installation = goal.installation.clone();
                let refused = host.accept_order(agent, goal).await.err();
                if let Some(refused) = &refused {
                    tracing::warn!(%installation, error = with_sources(refused), "an order was refused");
                }
                (installation, sequence, refused.map(|refused| failure(&refused)))
            });
        }
    }

    /// Drops what was not begun and ends what was.
    async fn finish(mut self) {
        self.waiting.clear();
        while self.taking.join_next().await.is_some() {}
    }
}

fn failure(refused: &GoalRefused) -> WireFailure {
    let code = match refused {
        GoalRefused::Fenced { .. } | GoalRefused::Mismatch { .. } => ReasonCode::Fenced,
        GoalRefused::EarlierEpoch { .. }
        | GoalRefused::OtherIncarnation { .. }
        | GoalRefused::BeyondEpoch { .. } => ReasonCode::OtherIncarnation,
        GoalRefused::Persist { .. }
        | GoalRefused::Cluster { .. }
        | GoalRefused::TooMany
        | GoalRefused::Busy
        | GoalRefused::Broken { .. } => ReasonCode::HostInternal,
        GoalRefused::Closed => ReasonCode::Interrupted,
    };
    let message = with_sources(refused);
    WireFailure { code: code.as_str().to_owned(), message, instance: None }
}
