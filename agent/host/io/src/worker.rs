//! Runs the machine of one installation: executes its effects in order and feeds it the replies.
//!
//! One task an installation. `Persist` is awaited before anything that follows it; calls run beside the task and
//! end by their deadlines (`calls`). A journal that can't be written is tried again until it can, and a disk that
//! does not answer is waited for: until then nothing that follows happens, here and nowhere else on the host.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trimaran_agent_core::driver::{Driver as _, Effect, Found, Input};
use trimaran_host_core::host::{
    Admission, Call, EpochRefusal, HostEffect, HostMachine, Journal, Phase, Reply, Snapshot, StoredRelease,
    admit,
};
use trimaran_model::assignment::{HostGoal, HostReport};
use trimaran_model::id::{AssignmentId, Attempt, Epoch, Fence};
use trimaran_model::limits;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Timestamp;
use trimaran_process::{clock, failpoint};

use crate::calls::{Calls, Ended};
use crate::platform::Platform;
use crate::reports::Reports;

/// A journal that could not be written is tried again after this.
const PERSIST_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Why a goal was not taken.
#[derive(Debug, thiserror::Error)]
pub enum GoalRefused {
    #[error("fence {fence} is lower than {largest}, which this host has seen for the installation")]
    Fenced { fence: Fence, largest: Fence },
    #[error("fence {fence} belongs to assignment {assignment} here")]
    Mismatch { fence: Fence, assignment: AssignmentId },
    #[error(
        "its agent is of epoch {} of the cluster, and this host has seen epoch {}: was the cluster restored from a backup?",
        .epoch.0, .seen.0
    )]
    EarlierEpoch { epoch: Epoch, seen: Epoch },
    #[error("its agent is of another incarnation of the cluster, at the same epoch {}", .epoch.0)]
    OtherIncarnation { epoch: Epoch },
    #[error(
        "can't see which epoch of the cluster was obeyed here; remove the file `cluster` of the data directory to obey any"
    )]
    Cluster { source: io::Error },
    #[error("the order is of epoch {} of the cluster, and its agent of epoch {}", .epoch.0, .agent.0)]
    BeyondEpoch { epoch: Epoch, agent: Epoch },
    #[error("the host has {} installations, which is the most", limits::HOST_INSTALLATIONS_MAX)]
    TooMany,
    #[error("the goal could not be written to the host's disk")]
    Persist { source: io::Error },
    #[error("the installation does not answer; its disk may hang")]
    Busy,
    #[error("what is on the disk of the installation can't be used: {why}")]
    Broken { why: String },
    #[error("the host is being closed")]
    Closed,
}

impl From<EpochRefusal> for GoalRefused {
    fn from(refusal: EpochRefusal) -> Self {
        match refusal {
            EpochRefusal::Earlier { epoch, seen } => Self::EarlierEpoch { epoch, seen },
            EpochRefusal::OtherIncarnation { epoch } => Self::OtherIncarnation { epoch },
            EpochRefusal::Beyond { epoch, agent } => Self::BeyondEpoch { epoch, agent },
        }
    }
}

/// What the host asks of a worker.
pub(crate) enum Command {
    AcceptGoal {
        goal: Box<HostGoal>,
        claim: Claim,
        answer: oneshot::Sender<Result<(), GoalRefused>>,
    },
    /// A human's order on this machine: keeps the fence, and any order of the cluster that comes later wins.
    AcceptManualGoal {
        goal: Box<HostGoal>,
        answer: oneshot::Sender<Result<HostGoal, GoalRefused>>,
    },
    /// End what runs and start it again. False when nothing should run.
    Restart {
        answer: oneshot::Sender<bool>,
    },
    /// What is known now.
    Show {
        answer: oneshot::Sender<InstallationView>,
    },
}

/// A goal is either accepted by the worker or abandoned by the caller, and never both.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claim(Arc<AtomicBool>);

impl Claim {
    /// True for the first one only.
    pub(crate) fn claim(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// One installation as it is now.
#[derive(Debug, Clone)]
pub struct InstallationView {
    pub report: HostReport,
    /// The goal that is worked on or was reached.
    pub goal: HostGoal,
    /// That goal has come to its end, and nothing waits behind it.
    pub settled: bool,
    /// The host was inspected since it was opened.
    pub inspected: bool,
    /// Whether a process of it runs.
    pub running: bool,
    /// What the probes of what runs say; `None` before any was answered.
    pub probe: Option<Result<(), String>>,
    /// What keeps anything from happening: the journal can't be written, or the host not inspected.
    pub obstacle: Option<String>,
    /// The release that `current` names.
    pub current: Option<StoredRelease>,
    /// Where a rollback by hand would lead.
    pub rollback_target: Option<StoredRelease>,
}

pub(crate) type Commands = mpsc::Sender<Command>;

pub(crate) struct Worker {
    platform: Arc<Platform>,
    phase: Phase,
    next: Option<HostGoal>,
    abort_requested: bool,
    effects: VecDeque<HostEffect>,
    calls: Calls<Reply>,
    watches: JoinSet<Snapshot>,
    /// Writes of the journal in their order, also when one was abandoned.
    saving: Arc<Mutex<()>>,
    wake_at: Option<Timestamp>,
    persist_failed: bool,
    /// Why the journal can't be written, as the last report says.
    journal_error: Option<String>,
    reports: Arc<Reports>,
}

/// Starts the task of an installation with the journal found or made.
pub(crate) fn spawn(
    platform: Arc<Platform>,
    journal: Journal,
    next: Option<HostGoal>,
    reports: Arc<Reports>,
    stop: CancellationToken,
) -> (Commands, tokio::task::JoinHandle<()>) {
    let (sender, receiver) = mpsc::channel(limits::HOST_COMMANDS_MAX);
    let goal = journal.goal.clone();
    let mut effects = Vec::new();
    let phase =
        HostMachine.begin(clock::boot_time(), &goal, Some(Found::Resumed(journal.into())), &mut effects);
    let worker = Worker {
        platform,
        phase,
        next,
        abort_requested: false,
        effects: effects.into(),
        calls: Calls::new(),
        watches: JoinSet::new(),
        saving: Arc::default(),
        wake_at: None,
        persist_failed: false,
        journal_error: None,
        reports,
    };
    (sender, tokio::spawn(worker.run(receiver, stop)))
}

impl Worker {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>, stop: CancellationToken) {
        loop {
            self.execute_effects().await;
            self.request_abort();
            if !self.effects.is_empty() && !self.persist_failed {
                continue;
            }
            let wake = async {
                match self.wake_at {
                    Some(at) => tokio::time::sleep((at - clock::boot_time()).to_std()).await,
                    None => std::future::pending().await,
                }
            };
            let again = async {
                if self.persist_failed {
                    tokio::time::sleep(PERSIST_RETRY_DELAY).await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            let input = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(command) = commands.recv() => { self.command(command).await; continue }
                Some(ended) = self.calls.next() => Some(match ended {
                    Ended::Answered(call, reply) => Input::Reply(call, reply),
                    Ended::Lost(call) => Input::Lost(call),
                }),
                Some(Ok(snapshot)) = self.watches.join_next() => Some(Input::Observed(snapshot)),
                () = wake => { self.wake_at = None; Some(Input::Due) }
                () = again => { self.persist_failed = false; None }
            };
            if let Some(input) = input {
                self.step(input);
            }
        }
    }

    fn step(&mut self, input: Input<Reply, Snapshot>) {
        let mut effects = Vec::new();
        HostMachine.step(&mut self.phase, clock::boot_time(), input, &mut effects);
        self.effects.extend(effects);
    }

    /// Executes effects until none is left or the journal can't be written.
    async fn execute_effects(&mut self) {
        while let Some(effect) = self.effects.pop_front() {
            match effect {
                Effect::Persist => {
                    failpoint::hit("before persist");
                    let mut saved = pin!(self.persist());
                    let soon = tokio::time::timeout(limits::HOST_CALL.to_std(), &mut saved).await;
                    let result = match soon {
                        Ok(result) => result,
                        Err(_) => {
                            self.report_journal_error(&ErrorKind::TimedOut.into());
                            saved.await
                        }
                    };
                    if let Err(error) = result {
                        self.persist_failed = true;
                        self.effects.push_front(Effect::Persist);
                        return self.report_journal_error(&error);
                    }
                    self.persist_failed = false;
                    if self.journal_error.take().is_some() {
                        self.publish();
                    }
                    failpoint::hit("after persist");
                }
                // In order with the calls around it, or a slot acquired just after could be released.
                Effect::Call { call: Call::ReleaseSlot, .. } => self.platform.release_slot().await,
                Effect::Call { id, call, deadline, guard: _ } => {
                    // A probe leaves no trace, so a death at one is a death beside it.
                    let traceless = matches!(call, Call::Probe { .. });
                    failpoint::hit_unless(traceless, "before call");
                    let platform = Arc::clone(&self.platform);
                    self.calls.start(id, deadline, async move {
                        let reply = platform.call(call).await;
                        failpoint::hit_unless(traceless, "after call");
                        reply
                    });
                }
                Effect::Watch(query) => {
                    let platform = Arc::clone(&self.platform);
                    self.watches.spawn(async move { platform.watch(query).await });
                }
                // The machine of a host commits nothing: its own disk is the truth.
                Effect::Report(_) | Effect::Commit { .. } => self.publish(),
                Effect::WakeAt(at) => self.wake_at = Some(at),
                Effect::Done(_) => self.begin_next().await,
            }
        }
    }

    /// The machine has made way: what is still in flight changes nothing and is dropped.
    async fn begin_next(&mut self) {
        self.calls.stop().await;
        if !self.phase.journal.step.is_disruptive() {
            // It may have been granted while the machine made way.
            self.platform.release_slot().await;
        }
        self.watches = JoinSet::new();
        self.wake_at = None;
        self.abort_requested = false;
        let goal = self.next.take().unwrap_or_else(|| self.phase.journal.goal.clone());
        let mut effects = Vec::new();
        let phase = self.phase.clone();
        let order = phase.journal.goal.clone();
        let found = Some(Found::Superseded { order, phase });
        self.phase = HostMachine.begin(clock::boot_time(), &goal, found, &mut effects);
        self.effects.extend(effects);
        self.publish();
    }

    fn persist(&self) -> impl Future<Output = io::Result<()>> + use<> {
        let wire = self.phase.journal.to_wire(self.next.as_ref());
        let (store, saving) = (self.platform.store.clone(), Arc::clone(&self.saving));
        async move {
            let in_order = saving.lock_owned().await;
            let save = move || {
                let _in_order = in_order;
                store.save(&wire)
            };
            tokio::task::spawn_blocking(save).await.map_err(io::Error::other)?
        }
    }

    /// Asks the machine to make way for a goal that waits.
    fn request_abort(&mut self) {
        let Some(next) = &self.next else { return };
        let Some(reason) = HostMachine.handover(&self.phase, next).abort_reason() else { return };
        if reason == ReasonCode::Interrupted && self.abort_requested {
            return;
        }
        self.abort_requested = true;
        self.step(Input::Abort(reason));
    }

    async fn command(&mut self, command: Command) {
        match command {
            // The caller has abandoned it: no one knows of it, so it is not accepted.
            Command::AcceptGoal { claim, .. } if !claim.claim() => {}
            Command::AcceptGoal { goal, claim: _, answer } => {
                let identity = self.next.as_ref().unwrap_or(&self.phase.journal.goal);
                let result = match admit(Some(identity), &goal) {
                    Admission::Take => self.accept(*goal).await,
                    Admission::Same => Ok(()),
                    Admission::Lower { largest } => Err(GoalRefused::Fenced { fence: goal.fence, largest }),
                    Admission::Mismatch { assignment } => {
                        Err(GoalRefused::Mismatch { fence: goal.fence, assignment })
                    }
                };
                // Whoever asked may have gone; the goal is accepted all the same.
                let _ = answer.send(result);
            }
            Command::AcceptManualGoal { mut goal, answer } => {
                let identity = self.next.as_ref().unwrap_or(&self.phase.journal.goal);
                goal.fence = identity.fence;
                goal.attempt = Attempt(identity.attempt.0.saturating_add(1));
                let result = self.accept((*goal).clone()).await.map(|()| *goal);
                let _ = answer.send(result);
            }
            Command::Restart { answer } => {
                let mut effects = Vec::new();
                let restarts = HostMachine.restart(&mut self.phase, clock::boot_time(), &mut effects);
                self.effects.extend(effects);
                let _ = answer.send(restarts);
            }
            Command::Show { answer } => {
                let _ = answer.send(self.show());
            }
        }
    }

    async fn accept(&mut self, goal: HostGoal) -> Result<(), GoalRefused> {
        let before = self.next.replace(goal);
        match tokio::time::timeout(limits::HOST_GOAL_TIMEOUT.to_std(), self.persist()).await {
            Ok(Ok(())) => {}
            Ok(Err(source)) => {
                self.next = before;
                return Err(GoalRefused::Persist { source });
            }
            Err(_) => {
                self.next = before;
                // It may still reach the disk: nothing else happens before that is undone.
                self.effects.push_front(Effect::Persist);
                return Err(GoalRefused::Busy);
            }
        }
        self.publish();
        Ok(())
    }

    fn report(&self) -> HostReport {
        self.phase.report_with(self.next.as_ref())
    }

    fn show(&self) -> InstallationView {
        let report = self.report();
        let stored = |digest| self.phase.stored(digest).cloned();
        InstallationView {
            goal: self.phase.journal.goal.clone(),
            settled: self.next.is_none() && self.effects.is_empty() && self.phase.is_settled(),
            inspected: self.phase.is_inspected(),
            running: self.phase.is_running(),
            probe: self.phase.probed(),
            obstacle: self
                .journal_error
                .clone()
                .or_else(|| self.phase.inspection_failure().map(|failure| failure.message.clone())),
            current: report.current.and_then(stored),
            rollback_target: self.phase.journal.rollback_target().and_then(stored),
            report,
        }
    }

    fn publish(&self) {
        self.reports.set(self.report());
    }

    fn report_journal_error(&mut self, error: &io::Error) {
        let message = format!("the journal can't be written, so nothing is done: {error}");
        self.journal_error = Some(message.clone());
        let mut report = self.report();
        report.code = Some(ReasonCode::HostInternal);
        report.message = message;
        self.reports.set(report);
    }
}
