//! Stages: the nodes of a run's graph. What a stage is doing is one enum a kind, so that it can't have an assignment
//! and be paused, or be done and wait.

use trimaran_model::id::{
    AssignmentId, Attempt, Digest, EnvironmentName, Fence, HostName, Identity, RunId, StageName, TargetName,
};
use trimaran_model::pipeline::{ApproveOption, Batches, FlinkRestore, RollbackScope};
use trimaran_model::run::Status;
use trimaran_model::time::{Millis, Timestamp, WallTime};
use trimaran_model::why::{Reason, Why};

/// A node of a run's graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    pub run: RunId,
    /// Its place among the run's stages, from 0.
    pub index: u16,
    pub name: StageName,
    /// It begins when all of these let it.
    pub needs: Vec<Need>,
    pub kind: Kind,
    /// Why it does not move, or went back.
    pub reasons: Vec<Reason>,
    pub started: Option<WallTime>,
    pub finished: Option<WallTime>,
}

/// What a stage needs before it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// Every stage of an environment lets dependents start.
    Environment { environment: EnvironmentName },
    /// One stage does.
    Stage { stage: StageName },
}

/// The kind of a stage, with the state of the kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Deploy { deploy: Deploy },
    Approve { approve: Approve },
}

/// Brings one release to one target, in waves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deploy {
    pub target: TargetName,
    pub release: Digest,
    pub goal: Goal,
    pub bake: Millis,
    pub batches: Batches,
    /// Whether bad health makes the run go back.
    pub rollback_on_health: bool,
    pub scope: RollbackScope,
    pub direction: Direction,
    /// The state that a human chose for the job that is restored.
    pub restore_from: Option<FlinkRestore>,
    /// `None` before the first assignment.
    pub attempt: Option<AttemptState>,
    pub state: DeployState,
}

/// What a deploy is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// A new release, in the waves of the strategy.
    Release,
    /// An earlier release that a rollback run brings back, for this reason: one wave, capacity first.
    Restore { reason: Reason },
}

/// Whether a stage works on its release or against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Direction {
    Forward,
    Back { to: RollbackTarget, reason: Reason },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RollbackTarget {
    Restore {
        release: Digest,
    },
    /// There is nothing to go back to. `all`: instances that serve are ended too; otherwise the stage waits for a user
    /// where some do.
    Stop {
        all: bool,
    },
}

/// One try of a deploy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptState {
    pub number: Attempt,
    /// Of its last assignment.
    pub fence: Fence,
    /// Of its first one.
    pub since: Fence,
    /// Where the stage goes back to: fixed when the attempt begins.
    pub restore: Option<Digest>,
    /// Cumulative sizes, fixed when the attempt begins; the last one is all hosts.
    pub waves: Vec<u32>,
    /// The wave in progress or next, from 0.
    pub wave: u32,
    pub done: u32,
    pub total: u32,
    /// Hosts that failed in this attempt.
    pub failed: Vec<HostName>,
    /// Hosts that were left behind in it, since a user resumed it last.
    pub lost: Vec<HostName>,
}

/// What a deploy is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeployState {
    /// It could have an assignment and something holds it.
    Held {
        held: Held,
    },
    /// `None`: between two assignments, before the run is settled.
    Running {
        assignment: Option<AssignmentId>,
    },
    RollingBack {
        assignment: Option<AssignmentId>,
    },
    /// The agent that has the assignment is silent.
    Lost {
        assignment: AssignmentId,
    },
    Waiting {
        wait: Wait,
    },
    Done {
        end: End,
    },
}

/// Why a stage that has not begun, or is between two assignments, does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// What it needs is not done.
    Pending,
    /// It has its turn when others are done.
    Queued,
    Blocked,
}

/// What a deploy without an assignment waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// A user, after a fault.
    Resume { why: Why },
    /// The pause of the strategy, in cluster time.
    Pause { until: Timestamp },
}

/// Holds an environment until a user chooses an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approve {
    /// The first is the default.
    pub options: Vec<ApproveOption>,
    pub timeout: Millis,
    pub state: ApproveState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApproveState {
    Held {
        held: Held,
    },
    Open {
        expires: WallTime,
    },
    /// Chosen; takes effect when the run is settled.
    Decided {
        decision: Decision,
    },
    Done {
        end: End,
        decision: Option<Decision>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub option: ApproveOption,
    pub by: Identity,
    pub comment: String,
    pub at: WallTime,
}

/// How a stage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Succeeded,
    Failed,
    Stopped,
    Canceled,
    RolledBack,
    RollbackFailed,
}

impl End {
    pub const ALL: [Self; 6] = [
        Self::Succeeded,
        Self::Failed,
        Self::Stopped,
        Self::Canceled,
        Self::RolledBack,
        Self::RollbackFailed,
    ];

    pub fn status(self) -> Status {
        match self {
            Self::Succeeded => Status::Succeeded,
            Self::Failed => Status::Failed,
            Self::Stopped => Status::Stopped,
            Self::Canceled => Status::Canceled,
            Self::RolledBack => Status::RolledBack,
            Self::RollbackFailed => Status::RollbackFailed,
        }
    }
}

impl Held {
    pub fn status(self) -> Status {
        match self {
            Self::Pending => Status::Pending,
            Self::Queued => Status::Queued,
            Self::Blocked => Status::Blocked,
        }
    }
}

impl Deploy {
    pub fn status(&self) -> Status {
        match &self.state {
            DeployState::Held { held } => held.status(),
            DeployState::Running { .. } => Status::Running,
            DeployState::RollingBack { .. } => Status::RollingBack,
            DeployState::Lost { .. } => Status::Lost,
            DeployState::Waiting { .. } => Status::Waiting,
            DeployState::Done { end } => end.status(),
        }
    }

    /// The live assignment.
    pub fn assignment(&self) -> Option<AssignmentId> {
        match &self.state {
            DeployState::Running { assignment } | DeployState::RollingBack { assignment } => *assignment,
            DeployState::Lost { assignment } => Some(*assignment),
            DeployState::Held { .. } | DeployState::Waiting { .. } | DeployState::Done { .. } => None,
        }
    }

    pub fn is_back(&self) -> bool {
        matches!(self.direction, Direction::Back { .. })
    }

    pub fn is_done(&self) -> bool {
        matches!(self.state, DeployState::Done { .. })
    }

    /// Whether it brings an earlier release back, or stops what runs: in one wave, without a budget.
    pub fn restores(&self) -> bool {
        self.is_back() || matches!(self.goal, Goal::Restore { .. })
    }

    /// At work on `assignment`, or with `None` ready for one.
    pub(crate) fn work(&mut self, assignment: Option<AssignmentId>) {
        assert!(!self.is_done(), "a stage that is done has no work");
        self.state = match self.direction {
            Direction::Forward => DeployState::Running { assignment },
            Direction::Back { .. } => DeployState::RollingBack { assignment },
        };
    }

    /// The same work under another number and fence.
    pub(crate) fn reassign(&mut self, id: AssignmentId, number: Fence) {
        self.begun_mut().fence = number;
        match &mut self.state {
            DeployState::Running { assignment } | DeployState::RollingBack { assignment } => {
                *assignment = Some(id);
            }
            DeployState::Lost { assignment } => *assignment = id,
            DeployState::Held { .. } | DeployState::Waiting { .. } | DeployState::Done { .. } => {
                panic!("a stage with a live assignment is at work or lost")
            }
        }
    }

    /// The attempt of a stage that had an assignment.
    pub(crate) fn begun(&self) -> &AttemptState {
        self.attempt.as_ref().expect("an assignment begins the attempt")
    }

    pub(crate) fn begun_mut(&mut self) -> &mut AttemptState {
        self.attempt.as_mut().expect("an assignment begins the attempt")
    }

    /// When the pause between two waves ends, while nothing else holds the stage.
    pub(crate) fn pause_end(&self) -> Option<Timestamp> {
        match &self.state {
            DeployState::Waiting { wait: Wait::Pause { until } } => Some(*until),
            DeployState::Waiting { wait: Wait::Resume { .. } } | DeployState::Held { .. } => None,
            DeployState::Running { .. } | DeployState::RollingBack { .. } => None,
            DeployState::Lost { .. } | DeployState::Done { .. } => None,
        }
    }
}

impl Approve {
    pub fn status(&self) -> Status {
        match &self.state {
            ApproveState::Held { held } => held.status(),
            ApproveState::Open { .. } | ApproveState::Decided { .. } => Status::Waiting,
            ApproveState::Done { end, .. } => end.status(),
        }
    }

    pub fn decision(&self) -> Option<&Decision> {
        match &self.state {
            ApproveState::Decided { decision } => Some(decision),
            ApproveState::Done { decision, .. } => decision.as_ref(),
            ApproveState::Held { .. } | ApproveState::Open { .. } => None,
        }
    }

    /// When it expires, while no one has chosen.
    pub(crate) fn expiry(&self) -> Option<WallTime> {
        match &self.state {
            ApproveState::Open { expires } => Some(*expires),
            ApproveState::Held { .. } | ApproveState::Decided { .. } | ApproveState::Done { .. } => None,
        }
    }
}

impl Stage {
    pub fn status(&self) -> Status {
        match &self.kind {
            Kind::Deploy { deploy } => deploy.status(),
            Kind::Approve { approve } => approve.status(),
        }
    }

    pub fn is_done(&self) -> bool {
        self.status().is_done()
    }

    pub fn deploy(&self) -> Option<&Deploy> {
        match &self.kind {
            Kind::Deploy { deploy } => Some(deploy),
            Kind::Approve { .. } => None,
        }
    }

    pub fn approve(&self) -> Option<&Approve> {
        match &self.kind {
            Kind::Approve { approve } => Some(approve),
            Kind::Deploy { .. } => None,
        }
    }

    /// The deploy of a stage that has or had an assignment.
    pub(crate) fn deploy_mut(&mut self) -> &mut Deploy {
        match &mut self.kind {
            Kind::Deploy { deploy } => deploy,
            Kind::Approve { .. } => panic!("only deploys have assignments"),
        }
    }

    pub fn assignment(&self) -> Option<AssignmentId> {
        self.deploy().and_then(Deploy::assignment)
    }

    /// Whether anything was done for it: an assignment, or a choice.
    pub(crate) fn has_begun(&self) -> bool {
        match &self.kind {
            Kind::Deploy { deploy } => deploy.attempt.is_some(),
            Kind::Approve { approve } => approve.decision().is_some(),
        }
    }

    pub(crate) fn hold(&mut self, held: Held, reasons: Vec<Reason>) {
        match &mut self.kind {
            Kind::Deploy { deploy } => deploy.state = DeployState::Held { held },
            Kind::Approve { approve } => approve.state = ApproveState::Held { held },
        }
        self.reasons = reasons;
    }

    /// The stage is done; when is kept from the first end on.
    pub(crate) fn end(&mut self, end: End, reasons: Vec<Reason>, now: WallTime) {
        match &mut self.kind {
            Kind::Deploy { deploy } => deploy.state = DeployState::Done { end },
            Kind::Approve { approve } => {
                let decision = approve.decision().cloned();
                approve.state = ApproveState::Done { end, decision };
            }
        }
        self.reasons = reasons;
        self.finished.get_or_insert(now);
    }

    /// Moves a deploy to what its assignment says; the first start is kept.
    pub(crate) fn work(&mut self, assignment: Option<AssignmentId>, reasons: Vec<Reason>, now: WallTime) {
        self.deploy_mut().work(assignment);
        self.reasons = reasons;
        self.started.get_or_insert(now);
    }

    /// The agent that has the assignment is silent.
    pub(crate) fn lose(&mut self, assignment: AssignmentId, reasons: Vec<Reason>) {
        self.deploy_mut().state = DeployState::Lost { assignment };
        self.reasons = reasons;
    }

    /// A deploy waits between two assignments.
    pub(crate) fn wait(&mut self, wait: Wait, reason: Reason) {
        let deploy = self.deploy_mut();
        assert!(deploy.attempt.is_some() || deploy.is_back(), "only what has begun or goes back waits");
        deploy.state = DeployState::Waiting { wait };
        self.reasons = self.with_rollback_reason(vec![reason]);
    }

    /// An approval is open; the first time is its start.
    pub(crate) fn open(&mut self, approve: Approve, reason: Reason, now: WallTime) {
        self.kind = Kind::Approve { approve };
        self.reasons = vec![reason];
        self.started.get_or_insert(now);
    }

    /// A user chose an option of an open approval.
    pub(crate) fn decide(&mut self, decision: Decision) {
        match &mut self.kind {
            Kind::Approve { approve } => approve.state = ApproveState::Decided { decision },
            Kind::Deploy { .. } => panic!("only approvals are decided"),
        }
    }

    /// Turns a deploy around. What it worked on has been withdrawn.
    pub(crate) fn begin_rollback(&mut self, to: RollbackTarget, reason: Reason, now: WallTime) {
        let deploy = self.deploy_mut();
        assert!(!deploy.is_back(), "a stage goes back once");
        deploy.direction = Direction::Back { to, reason: reason.clone() };
        deploy.state = DeployState::RollingBack { assignment: None };
        (self.reasons, self.finished) = (vec![reason], None);
        self.started.get_or_insert(now);
    }

    /// `reasons`, and behind them why the stage goes back.
    pub(crate) fn with_rollback_reason(&self, mut reasons: Vec<Reason>) -> Vec<Reason> {
        match self.deploy() {
            Some(Deploy { direction: Direction::Back { reason, .. }, .. })
            | Some(Deploy { direction: Direction::Forward, goal: Goal::Restore { reason }, .. }) => {
                reasons.push(reason.clone());
            }
            Some(Deploy { direction: Direction::Forward, goal: Goal::Release, .. }) | None => {}
        }
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_is_a_status_that_is_done() {
        for end in End::ALL {
            assert!(end.status().is_done(), "{end:?}");
        }
    }
}
