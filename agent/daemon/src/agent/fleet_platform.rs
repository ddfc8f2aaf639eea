//! Targets of hosts as a platform: calls and watches go to the loop, which owns the sessions of all runners; questions go
//! to the runners directly.
//!
//! Runners are the agent's and not a target's, so one loop serves all targets of hosts. It never waits for a host.
//! What hosts say while nothing works on an installation the loop judges as it comes, for all installations at once:
//! an observer of a single one has nothing to add.

use tokio::sync::{mpsc, oneshot};
use trimaran_agent_core::Permit;
use trimaran_agent_core::platform::{
    Answer, Connect, JudgmentSink, PartSink, Platform, PlatformError, Question, SnapshotSink, Standing,
};
use trimaran_host_core::fleet::{Fleet, GoalAck, HostObservation, SendGoal, Watched};
use trimaran_model::id::InstanceName;
use trimaran_model::reason::ReasonCode;
use trimaran_model::target::{PlatformKind, Target};
use trimaran_process::clock::boot_time;

use super::hosts::LiveRunners;
use super::{logs, running};

/// What a target of hosts asks of the loop.
pub(crate) enum FleetOrder {
    /// Dropped without an answer it is lost.
    Call { goal: SendGoal, permit: Permit, answer: oneshot::Sender<Answer<GoalAck>> },
    /// Shows each host now and at each change, until `ended` is closed.
    Watch { watched: Watched, watcher: Watcher },
}

/// Who watches hosts.
pub(crate) struct Watcher {
    show: Box<dyn Fn(HostObservation) + Send>,
    /// Closed with the watch.
    ended: oneshot::Sender<()>,
}

impl Watcher {
    pub(crate) fn show(&self, observation: HostObservation) {
        (self.show)(observation);
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.ended.is_closed()
    }
}

/// Makes the platforms of all targets of hosts.
#[derive(Clone)]
pub(crate) struct FleetPlatforms {
    pub(crate) orders: mpsc::UnboundedSender<FleetOrder>,
    pub(crate) runners: LiveRunners,
}

impl Connect<Fleet> for FleetPlatforms {
    type Platform = Self;

    fn connect(&self, target: &Target) -> Option<Result<Self, PlatformError>> {
        (target.platform.kind() == PlatformKind::Hosts).then(|| Ok(self.clone()))
    }
}

impl Platform<Fleet> for FleetPlatforms {
    async fn call(&self, goal: SendGoal, permit: Permit) -> Answer<GoalAck> {
        if !permit.allows(boot_time()) {
            return Answer::Unmade;
        }
        let (answer, answered) = oneshot::channel();
        if self.orders.send(FleetOrder::Call { goal, permit, answer }).is_err() {
            return Answer::Unmade;
        }
        answered.await.unwrap_or(Answer::Lost)
    }

    async fn watch(&self, watched: Watched, sink: impl SnapshotSink<HostObservation>) {
        let show = move |observation: HostObservation| {
            let host = observation.host.to_string();
            sink.show(&host, observation);
        };
        let (ended, watching) = oneshot::channel();
        let watcher = Watcher { show: Box::new(show), ended };
        // The loop is gone when it does not take it, and this agent with it.
        let _ = self.orders.send(FleetOrder::Watch { watched, watcher });
        let _ = watching.await;
        std::future::pending().await
    }

    async fn observe(&self, _: Standing, _: impl JudgmentSink) {
        std::future::pending().await
    }

    async fn query(&self, question: Question, answer: impl PartSink) -> Result<(), PlatformError> {
        let what = match question {
            Question::Logs { previous: true, .. } => "output of the process before: the log of a host is one",
            Question::Logs { instances, query, .. } => {
                // What is no name of a host has no lines here.
                let hosts = instances.iter().filter_map(InstanceName::host).collect();
                logs::ask_hosts(hosts, query, &self.runners, answer).await;
                return Ok(());
            }
            Question::Plan { .. } => "a plan: hosts have nothing to compare with",
            Question::SealingKey => "a key to seal secrets with",
            Question::Running { installation, hosts } => {
                running::ask_hosts(hosts, &installation, &self.runners, answer).await;
                return Ok(());
            }
        };
        let message = format!("targets of hosts have not {what}");
        Err(PlatformError { code: ReasonCode::UnsupportedWorkload, message })
    }
}
