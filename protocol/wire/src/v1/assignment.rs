//! Orders and reports of agents and hosts.

use std::sync::Arc;

use bincode::{Decode, Encode};
use trimaran_model::action::{Action, Commit, Failure, InstanceReport, Outcome, Wave};
use trimaran_model::assignment::{Assignment, HostAction, HostGoal, HostOrder, HostReport, HostState};
use trimaran_model::id::{AssignmentId, Attempt, Digest, Fence, ServiceName};
use trimaran_model::pipeline::IntOrPercent;
use trimaran_model::run::InstanceStatus;

use super::common::{WireInstallation, WireRun, WireStage, digests, name, reason_code, spelled};
use super::release::WireRelease;
use crate::codec::CodecError;

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireAssignment {
    pub id: u64,
    pub fence: u64,
    pub installation: WireInstallation,
    pub run: WireRun,
    pub stage: WireStage,
    pub attempt: u32,
    pub action: WireAction,
    pub release: Option<Arc<WireRelease>>,
    pub wave: WireWave,
    pub hosts: Vec<String>,
    pub keep: Vec<[u8; 32]>,
    pub committed: Option<WireCommit>,
}

/// What a driver commits: the frozen form of `model::action::Commit`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireCommit {
    pub assignment: u64,
    pub n: u32,
    pub body: Vec<u8>,
}

impl From<&Commit> for WireCommit {
    fn from(commit: &Commit) -> Self {
        Self { assignment: commit.assignment.0, n: commit.n, body: commit.body.clone() }
    }
}

impl From<WireCommit> for Commit {
    fn from(wire: WireCommit) -> Self {
        Self { assignment: AssignmentId(wire.assignment), n: wire.n, body: wire.body }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum WireAction {
    Release([u8; 32]),
    Restore([u8; 32]),
    Verify,
    Stop([u8; 32]),
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireWave {
    pub number: u32,
    pub target_count: u32,
    pub max_unavailable: WireIntOrPercent,
    pub failures_left: u32,
    pub failed: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum WireIntOrPercent {
    Count(u32),
    Percent(u8),
}

impl From<IntOrPercent> for WireIntOrPercent {
    fn from(amount: IntOrPercent) -> Self {
        match amount {
            IntOrPercent::Count(n) => Self::Count(n),
            IntOrPercent::Percent(p) => Self::Percent(p),
        }
    }
}

impl From<WireIntOrPercent> for IntOrPercent {
    fn from(wire: WireIntOrPercent) -> Self {
        match wire {
            WireIntOrPercent::Count(n) => Self::Count(n),
            WireIntOrPercent::Percent(p) => Self::Percent(p),
        }
    }
}

impl From<&Action> for WireAction {
    fn from(action: &Action) -> Self {
        match action {
            Action::Release(digest) => Self::Release(digest.0),
            Action::Restore(digest) => Self::Restore(digest.0),
            Action::Verify => Self::Verify,
            Action::Stop(digest) => Self::Stop(digest.0),
        }
    }
}

impl From<WireAction> for Action {
    fn from(wire: WireAction) -> Self {
        match wire {
            WireAction::Release(digest) => Self::Release(Digest(digest)),
            WireAction::Restore(digest) => Self::Restore(Digest(digest)),
            WireAction::Verify => Self::Verify,
            WireAction::Stop(digest) => Self::Stop(Digest(digest)),
        }
    }
}

impl From<&Wave> for WireWave {
    fn from(wave: &Wave) -> Self {
        Self {
            number: wave.number,
            target_count: wave.target_count,
            max_unavailable: wave.max_unavailable.into(),
            failures_left: wave.failures_left,
            failed: wave.failed.iter().map(ToString::to_string).collect(),
        }
    }
}

impl TryFrom<WireWave> for Wave {
    type Error = CodecError;
    fn try_from(wire: WireWave) -> Result<Self, CodecError> {
        Ok(Self {
            number: wire.number,
            target_count: wire.target_count,
            max_unavailable: wire.max_unavailable.into(),
            failures_left: wire.failures_left,
            failed: wire.failed.iter().map(|host| name(host)).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&Assignment> for WireAssignment {
    fn from(assignment: &Assignment) -> Self {
        Self {
            id: assignment.id.0,
            fence: assignment.fence.0,
            installation: (&assignment.installation).into(),
            run: (&assignment.run).into(),
            stage: (&assignment.stage).into(),
            attempt: assignment.attempt.0,
            action: (&assignment.action).into(),
            release: assignment.release.as_ref().map(|release| Arc::new(release.into())),
            wave: (&assignment.wave).into(),
            hosts: assignment.hosts.iter().map(ToString::to_string).collect(),
            keep: digests(&assignment.keep),
            committed: assignment.committed.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<WireAssignment> for Assignment {
    type Error = CodecError;
    fn try_from(wire: WireAssignment) -> Result<Self, CodecError> {
        Ok(Self {
            id: AssignmentId(wire.id),
            fence: Fence(wire.fence),
            installation: wire.installation.try_into()?,
            run: wire.run.try_into()?,
            stage: wire.stage.try_into()?,
            attempt: Attempt(wire.attempt),
            action: wire.action.into(),
            release: wire.release.map(|it| Arc::unwrap_or_clone(it).try_into()).transpose()?,
            wave: wire.wave.try_into()?,
            hosts: wire.hosts.iter().map(|host| name(host)).collect::<Result<_, _>>()?,
            keep: wire.keep.into_iter().map(Digest).collect(),
            committed: wire.committed.map(Into::into),
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum WireOutcome {
    Done,
    Failed(WireFailure),
    Fault(WireFailure),
    Stopped,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireFailure {
    pub code: String,
    pub message: String,
    pub instance: Option<String>,
}

impl From<&Failure> for WireFailure {
    fn from(failure: &Failure) -> Self {
        Self {
            code: failure.code.as_str().to_owned(),
            message: failure.message.clone(),
            instance: failure.instance.as_ref().map(ToString::to_string),
        }
    }
}

impl TryFrom<WireFailure> for Failure {
    type Error = CodecError;
    fn try_from(wire: WireFailure) -> Result<Self, CodecError> {
        Ok(Self {
            code: reason_code(&wire.code)?,
            message: wire.message,
            instance: wire.instance.as_deref().map(name).transpose()?,
        })
    }
}

impl From<&Outcome> for WireOutcome {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::Done,
            Outcome::Failed(failure) => Self::Failed(failure.into()),
            Outcome::Fault(failure) => Self::Fault(failure.into()),
            Outcome::Stopped => Self::Stopped,
        }
    }
}

impl TryFrom<WireOutcome> for Outcome {
    type Error = CodecError;
    fn try_from(wire: WireOutcome) -> Result<Self, CodecError> {
        Ok(match wire {
            WireOutcome::Done => Self::Done,
            WireOutcome::Failed(failure) => Self::Failed(failure.try_into()?),
            WireOutcome::Fault(failure) => Self::Fault(failure.try_into()?),
            WireOutcome::Stopped => Self::Stopped,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireInstance {
    pub name: String,
    pub status: String,
    pub release: Option<[u8; 32]>,
    pub code: Option<String>,
    pub message: String,
}

impl From<&InstanceReport> for WireInstance {
    fn from(report: &InstanceReport) -> Self {
        Self {
            name: report.name.to_string(),
            status: report.status.as_str().to_owned(),
            release: report.release.map(|digest| digest.0),
            code: report.code.map(|code| code.as_str().to_owned()),
            message: report.message.clone(),
        }
    }
}

impl TryFrom<WireInstance> for InstanceReport {
    type Error = CodecError;
    fn try_from(wire: WireInstance) -> Result<Self, CodecError> {
        let status = InstanceStatus::ALL.into_iter().find(|status| status.as_str() == wire.status);
        Ok(Self {
            name: name(&wire.name)?,
            status: spelled(status, "instance status", &wire.status)?,
            release: wire.release.map(Digest),
            code: wire.code.as_deref().map(reason_code).transpose()?,
            message: wire.message,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireHostGoal {
    pub installation: WireInstallation,
    pub service: String,
    pub assignment: u64,
    pub fence: u64,
    pub run: WireRun,
    pub attempt: u32,
    pub action: WireHostAction,
    pub keep: Vec<[u8; 32]>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum WireHostAction {
    Prepare { digest: [u8; 32], release: WireRelease },
    Apply { digest: [u8; 32], release: WireRelease },
    Restore { digest: [u8; 32], release: WireRelease },
    Stop { only: [u8; 32] },
    Verify,
}

impl From<&HostAction> for WireHostAction {
    fn from(action: &HostAction) -> Self {
        let order = |order: &HostOrder| (order.digest.0, WireRelease::from(&order.release));
        match action {
            HostAction::Prepare(it) => {
                let (digest, release) = order(it);
                Self::Prepare { digest, release }
            }
            HostAction::Apply(it) => {
                let (digest, release) = order(it);
                Self::Apply { digest, release }
            }
            HostAction::Restore(it) => {
                let (digest, release) = order(it);
                Self::Restore { digest, release }
            }
            HostAction::Stop { only } => Self::Stop { only: only.0 },
            HostAction::Verify => Self::Verify,
        }
    }
}

impl TryFrom<WireHostAction> for HostAction {
    type Error = CodecError;
    fn try_from(wire: WireHostAction) -> Result<Self, CodecError> {
        let order = |digest, release: WireRelease| -> Result<HostOrder, CodecError> {
            Ok(HostOrder { digest: Digest(digest), release: release.try_into()? })
        };
        Ok(match wire {
            WireHostAction::Prepare { digest, release } => Self::Prepare(order(digest, release)?),
            WireHostAction::Apply { digest, release } => Self::Apply(order(digest, release)?),
            WireHostAction::Restore { digest, release } => Self::Restore(order(digest, release)?),
            WireHostAction::Stop { only } => Self::Stop { only: Digest(only) },
            WireHostAction::Verify => Self::Verify,
        })
    }
}

impl From<&HostGoal> for WireHostGoal {
    fn from(goal: &HostGoal) -> Self {
        Self {
            installation: (&goal.installation).into(),
            service: goal.service.to_string(),
            assignment: goal.assignment.0,
            fence: goal.fence.0,
            run: (&goal.run).into(),
            attempt: goal.attempt.0,
            action: (&goal.action).into(),
            keep: digests(&goal.keep),
        }
    }
}

impl TryFrom<WireHostGoal> for HostGoal {
    type Error = CodecError;
    fn try_from(wire: WireHostGoal) -> Result<Self, CodecError> {
        Ok(Self {
            installation: wire.installation.try_into()?,
            service: name::<ServiceName>(&wire.service)?,
            assignment: AssignmentId(wire.assignment),
            fence: Fence(wire.fence),
            run: wire.run.try_into()?,
            attempt: Attempt(wire.attempt),
            action: wire.action.try_into()?,
            keep: wire.keep.into_iter().map(Digest).collect(),
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireHostReport {
    pub installation: WireInstallation,
    pub fence: u64,
    pub assignment: u64,
    pub disruptive: bool,
    pub state: String,
    pub current: Option<[u8; 32]>,
    pub prepared: Option<[u8; 32]>,
    pub code: Option<String>,
    pub message: String,
}

impl From<&HostReport> for WireHostReport {
    fn from(report: &HostReport) -> Self {
        Self {
            installation: (&report.installation).into(),
            fence: report.fence.0,
            assignment: report.assignment.0,
            disruptive: report.disruptive,
            state: report.state.as_str().to_owned(),
            current: report.current.map(|digest| digest.0),
            prepared: report.prepared.map(|digest| digest.0),
            code: report.code.map(|code| code.as_str().to_owned()),
            message: report.message.clone(),
        }
    }
}

impl TryFrom<WireHostReport> for HostReport {
    type Error = CodecError;
    fn try_from(wire: WireHostReport) -> Result<Self, CodecError> {
        let state = HostState::ALL.into_iter().find(|state| state.as_str() == wire.state);
        Ok(Self {
            installation: wire.installation.try_into()?,
            fence: Fence(wire.fence),
            assignment: AssignmentId(wire.assignment),
            disruptive: wire.disruptive,
            state: spelled(state, "host state", &wire.state)?,
            current: wire.current.map(Digest),
            prepared: wire.prepared.map(Digest),
            code: wire.code.as_deref().map(reason_code).transpose()?,
            message: wire.message,
        })
    }
}
