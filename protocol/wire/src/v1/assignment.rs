//! Orders and reports of agents and hosts.

use std::sync::Arc;

use bincode::{Decode, Encode};
use trimaran_model::action::{Action, BeganFrom, Commit, Failure, InstanceReport, Outcome, Wave};
use trimaran_model::amount::IntOrPercent;
use trimaran_model::assignment::{
    Assignment, HostAction, HostGoal, HostOrder, HostReport, HostStanding, HostState,
};
use trimaran_model::id::{AssignmentId, Attempt, Digest, Fence, ServiceName};
use trimaran_model::pipeline::FlinkRestore;
use trimaran_model::release::Release;
use trimaran_model::run::InstanceStatus;
use trimaran_model::target::PlatformKind;
use trimaran_model::time::WallTime;

use super::common::{WireInstallation, WireRun, WireStage, digests, name, platform, reason_code, spelled};
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
    /// A `PlatformKind`.
    pub platform: String,
    pub action: WireAction,
    pub release: Option<Arc<WireRelease>>,
    pub wave: WireWave,
    pub hosts: Vec<String>,
    pub retained: Vec<[u8; 32]>,
    pub committed: Option<WireCommit>,
    /// A `FlinkRestore`.
    pub restore_from: Option<String>,
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
    Scale { release: [u8; 32], instances: u32 },
    Restart([u8; 32]),
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireWave {
    pub number: u32,
    pub target_count: u32,
    pub max_unavailable: WireIntOrPercent,
    pub failures_left: u32,
    pub failed: Vec<String>,
    /// The fence of the attempt's first assignment.
    pub since: u64,
    pub lost_left: u32,
    pub lost: Vec<String>,
    pub keep_serving: bool,
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
            Action::Scale { release, instances } => Self::Scale { release: release.0, instances: *instances },
            Action::Restart(digest) => Self::Restart(digest.0),
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
            WireAction::Scale { release, instances } => Self::Scale { release: Digest(release), instances },
            WireAction::Restart(digest) => Self::Restart(Digest(digest)),
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
            since: wave.since.0,
            lost_left: wave.lost_left,
            lost: wave.lost.iter().map(ToString::to_string).collect(),
            keep_serving: wave.keep_serving,
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
            since: Fence(wire.since),
            lost_left: wire.lost_left,
            lost: wire.lost.iter().map(|host| name(host)).collect::<Result<_, _>>()?,
            keep_serving: wire.keep_serving,
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
            platform: assignment.platform.as_str().to_owned(),
            action: (&assignment.action).into(),
            release: assignment.release.as_ref().map(|release| Arc::new(release.into())),
            wave: (&assignment.wave).into(),
            hosts: assignment.hosts.iter().map(ToString::to_string).collect(),
            retained: digests(&assignment.retained),
            committed: assignment.committed.as_ref().map(Into::into),
            restore_from: assignment.restore_from.map(|from| from.as_str().to_owned()),
        }
    }
}

impl TryFrom<WireAssignment> for Assignment {
    type Error = CodecError;
    fn try_from(wire: WireAssignment) -> Result<Self, CodecError> {
        let platform = platform(&wire.platform)?;
        let release = wire.release.map(|it| Arc::unwrap_or_clone(it).try_into()).transpose()?;
        let release = release.map(|release| for_platform(release, platform)).transpose()?;
        Ok(Self {
            id: AssignmentId(wire.id),
            fence: Fence(wire.fence),
            installation: wire.installation.try_into()?,
            run: wire.run.try_into()?,
            stage: wire.stage.try_into()?,
            attempt: Attempt(wire.attempt),
            platform,
            action: wire.action.into(),
            release,
            wave: wire.wave.try_into()?,
            hosts: wire.hosts.iter().map(|host| name(host)).collect::<Result<_, _>>()?,
            retained: wire.retained.into_iter().map(Digest).collect(),
            committed: wire.committed.map(Into::into),
            restore_from: wire.restore_from.as_deref().map(flink_restore).transpose()?,
        })
    }
}

/// Reads which state a rollback begins from.
pub fn flink_restore(text: &str) -> Result<FlinkRestore, CodecError> {
    spelled(FlinkRestore::ALL.into_iter().find(|it| it.as_str() == text), "state to restore", text)
}

/// A release that its order can be about.
fn for_platform(release: Release, platform: PlatformKind) -> Result<Release, CodecError> {
    let of = release.workload.platform();
    if of == platform {
        return Ok(release);
    }
    Err(CodecError::value(format_args!(
        "a release for {} in an order for {}",
        of.as_str(),
        platform.as_str()
    )))
}

/// `trimaran_model::assignment::HostStanding`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireHostStanding {
    pub assignment: u64,
    pub run: WireRun,
    pub releases: Option<Vec<[u8; 32]>>,
    pub goal: Option<WireHostOrder>,
    pub max_failures: u32,
}

/// A release with its digest.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireHostOrder {
    pub digest: [u8; 32],
    pub release: WireRelease,
}

impl From<&HostStanding> for WireHostStanding {
    fn from(it: &HostStanding) -> Self {
        let order = |it: &HostOrder| WireHostOrder { digest: it.digest.0, release: (&it.release).into() };
        Self {
            assignment: it.assignment.0,
            run: (&it.run).into(),
            releases: it.releases.as_ref().map(digests),
            goal: it.goal.as_ref().map(order),
            max_failures: it.max_failures,
        }
    }
}

impl TryFrom<WireHostStanding> for HostStanding {
    type Error = CodecError;
    fn try_from(wire: WireHostStanding) -> Result<Self, CodecError> {
        let order = |it: WireHostOrder| -> Result<HostOrder, CodecError> {
            let release = for_platform(it.release.try_into()?, PlatformKind::Hosts)?;
            Ok(HostOrder { digest: Digest(it.digest), release })
        };
        Ok(Self {
            assignment: AssignmentId(wire.assignment),
            run: wire.run.try_into()?,
            releases: wire.releases.map(|all| all.into_iter().map(Digest).collect()),
            goal: wire.goal.map(order).transpose()?,
            max_failures: wire.max_failures,
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
    pub began_from: Option<WireBeganFrom>,
    pub steps: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum WireBeganFrom {
    Nothing,
    Savepoint { path: String, at_ms: i64 },
    Checkpoint { path: String, at_ms: i64 },
}

impl From<&BeganFrom> for WireBeganFrom {
    fn from(from: &BeganFrom) -> Self {
        match from {
            BeganFrom::Nothing => Self::Nothing,
            BeganFrom::Savepoint { path, at } => Self::Savepoint { path: path.clone(), at_ms: at.0 },
            BeganFrom::Checkpoint { path, at } => Self::Checkpoint { path: path.clone(), at_ms: at.0 },
        }
    }
}

impl From<WireBeganFrom> for BeganFrom {
    fn from(wire: WireBeganFrom) -> Self {
        match wire {
            WireBeganFrom::Nothing => Self::Nothing,
            WireBeganFrom::Savepoint { path, at_ms } => Self::Savepoint { path, at: WallTime(at_ms) },
            WireBeganFrom::Checkpoint { path, at_ms } => Self::Checkpoint { path, at: WallTime(at_ms) },
        }
    }
}

impl From<&InstanceReport> for WireInstance {
    fn from(report: &InstanceReport) -> Self {
        Self {
            name: report.name.to_string(),
            status: report.status.as_str().to_owned(),
            release: report.release.map(|digest| digest.0),
            code: report.code.map(|code| code.as_str().to_owned()),
            message: report.message.clone(),
            began_from: report.began_from.as_ref().map(Into::into),
            steps: report.steps.clone(),
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
            began_from: wire.began_from.map(Into::into),
            steps: wire.steps,
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
    pub retained: Vec<[u8; 32]>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum WireHostAction {
    Prepare { digest: [u8; 32], release: WireRelease },
    Apply { digest: [u8; 32], release: WireRelease },
    Restore { digest: [u8; 32], release: WireRelease },
    Stop { only: [u8; 32] },
    Verify,
    Restart,
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
            HostAction::Restart => Self::Restart,
        }
    }
}

impl TryFrom<WireHostAction> for HostAction {
    type Error = CodecError;
    fn try_from(wire: WireHostAction) -> Result<Self, CodecError> {
        let order = |digest, release: WireRelease| -> Result<HostOrder, CodecError> {
            let release = for_platform(release.try_into()?, PlatformKind::Hosts)?;
            Ok(HostOrder { digest: Digest(digest), release })
        };
        Ok(match wire {
            WireHostAction::Prepare { digest, release } => Self::Prepare(order(digest, release)?),
            WireHostAction::Apply { digest, release } => Self::Apply(order(digest, release)?),
            WireHostAction::Restore { digest, release } => Self::Restore(order(digest, release)?),
            WireHostAction::Stop { only } => Self::Stop { only: Digest(only) },
            WireHostAction::Verify => Self::Verify,
            WireHostAction::Restart => Self::Restart,
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
            retained: digests(&goal.retained),
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
            retained: wire.retained.into_iter().map(Digest).collect(),
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
    /// The restart policy is about to have the process back.
    pub restarting: bool,
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
            restarting: report.restarting,
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
            restarting: wire.restarting,
        })
    }
}
