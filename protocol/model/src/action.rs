//! What an agent is asked to do with an installation, and what it answers.

use crate::amount::IntOrPercent;
use crate::id::{AssignmentId, Digest, Fence, HostName, InstanceName};
use crate::reason::ReasonCode;
use crate::run::InstanceStatus;
use crate::time::WallTime;

/// One step of one installation. A rollback is an action with an earlier release, not another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Bring the release to the instances of a wave.
    Release(Digest),
    /// Bring an earlier release back: local bytes only where they exist, no approval, capacity first.
    Restore(Digest),
    /// Judge what runs and change nothing.
    Verify,
    /// Run so many instances of the release that runs already, no other change.
    Scale { release: Digest, instances: u32 },
    /// Start the instances of the release that runs already anew, within the wave's bounds.
    Restart(Digest),
    /// End the service where the given release runs; the first release of all had nothing to go back to.
    Stop(Digest),
}

impl Action {
    /// The release that the action is about; a verification judges whatever runs.
    pub fn release(&self) -> Option<Digest> {
        match self {
            Self::Release(release) | Self::Restore(release) | Self::Restart(release) => Some(*release),
            Self::Stop(release) | Self::Scale { release, .. } => Some(*release),
            Self::Verify => None,
        }
    }
}

/// The hosts that one assignment may touch and how many may be down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wave {
    /// From 1.
    pub number: u32,
    /// Hosts that run the release when the wave is done, counted from the first wave.
    pub target_count: u32,
    pub max_unavailable: IntOrPercent,
    /// Further failed hosts that the wave survives.
    pub failures_left: u32,
    /// Hosts that failed in this attempt before this assignment; never touched again by it. At most
    /// `limits::INSTANCES_REPORTED_MAX`: a host whose last order is of fence `since` or a later one says so itself.
    pub failed: Vec<HostName>,
    /// The fence of the attempt's first assignment.
    pub since: Fence,
    /// Further hosts that the wave leaves behind: silent ones, and those that can't do it by a fault of their own.
    pub lost_left: u32,
    /// Hosts that were left behind in this attempt before this assignment. They are tried again, and cost nothing more.
    pub lost: Vec<HostName>,
    /// Whether a stop ends only what does not serve, and pauses where something still does.
    pub keep_serving: bool,
}

impl Default for Wave {
    /// A first wave of no host, with nothing to spend.
    fn default() -> Self {
        Self {
            number: 1,
            target_count: 0,
            max_unavailable: IntOrPercent::Count(1),
            failures_left: 0,
            failed: Vec::new(),
            since: Fence::default(),
            lost_left: 0,
            lost: Vec::new(),
            keep_serving: false,
        }
    }
}

/// How an assignment ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// A failure of the release.
    Failed(Failure),
    /// A fault of the platform: paused, no rollback.
    Fault(Failure),
    /// Canceled or superseded before its end; hosts in flight were finished or reverted.
    Stopped,
}

/// The first cause, in the platform's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: ReasonCode,
    pub message: String,
    pub instance: Option<InstanceName>,
}

impl Failure {
    /// Whether it is of this host.
    pub fn is_of(&self, host: &HostName) -> bool {
        self.instance.as_ref().is_some_and(|instance| instance == host)
    }

    /// The host that it is of; `None`: of none, or of an instance that is no host.
    pub fn host(&self) -> Option<HostName> {
        self.instance.as_ref()?.host()
    }
}

/// How far an assignment is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Instances on the assignment's release and healthy, of all that the stage has.
    pub done: u32,
    pub total: u32,
    /// Hosts that failed in this attempt, those before this assignment included.
    pub failed: Vec<HostName>,
    /// Hosts that were left behind in this attempt, those before this assignment included.
    pub lost: Vec<HostName>,
    /// The first failure of this assignment.
    pub failure: Option<Failure>,
    /// At most `limits::INSTANCES_REPORTED_MAX`, failures first.
    pub instances: Vec<InstanceReport>,
}

/// What a driver had committed before a call whose effect must not be forgotten: opaque to the coordinators, which
/// keep the one with the largest `n` and hand it to whoever performs the installation's next assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The assignment whose driver made it.
    pub assignment: AssignmentId,
    /// Counts the commits of that assignment, from 1.
    pub n: u32,
    /// In an envelope of the driver's journal; at most `limits::COMMIT_BYTES_MAX`.
    pub body: Vec<u8>,
}

/// One instance as reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceReport {
    pub name: InstanceName,
    pub status: InstanceStatus,
    /// The release that runs there, if any does.
    pub release: Option<Digest>,
    pub code: Option<ReasonCode>,
    pub message: String,
    /// The state that it began from; `None` for instances without one of their own, and before they begin.
    pub began_from: Option<BeganFrom>,
    /// What was sent to the platform, as commands that do the same by hand, in order; at most
    /// `limits::STEPS_REPORTED_MAX`. [`JOBMANAGER`] stands for an address in them.
    pub steps: Vec<String>,
}

/// Stands for the URL of a JobManager in [`InstanceReport::steps`].
pub const JOBMANAGER: &str = "$JOBMANAGER";

/// The state that a job began from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BeganFrom {
    /// No state: the job began anew.
    Nothing,
    /// A savepoint that was triggered at this time, by the platform's clock.
    Savepoint { path: String, at: WallTime },
    /// A retained checkpoint.
    Checkpoint { path: String, at: WallTime },
}

impl BeganFrom {
    /// The public spelling of its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Savepoint { .. } => "savepoint",
            Self::Checkpoint { .. } => "checkpoint",
        }
    }

    /// The path and time of a state.
    pub fn state(&self) -> Option<(&str, WallTime)> {
        match self {
            Self::Nothing => None,
            Self::Savepoint { path, at } | Self::Checkpoint { path, at } => Some((path, *at)),
        }
    }
}
