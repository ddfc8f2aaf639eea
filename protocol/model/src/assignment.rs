//! Orders: what the coordinators ask of an agent, and what a fleet agent asks of one host.

use std::collections::BTreeSet;

use crate::action::{Action, Commit, Wave};
use crate::id::{
    AssignmentId, Attempt, Digest, Fence, HostName, InstallationId, RunId, ServiceName, StageName,
};
use crate::pipeline::FlinkRestore;
use crate::reason::ReasonCode;
use crate::release::Release;
use crate::target::PlatformKind;

/// The replicated order "this agent performs `action` of this attempt on this installation".
///
/// An equal fence is the same assignment; a larger one supersedes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    pub id: AssignmentId,
    pub fence: Fence,
    pub installation: InstallationId,
    pub run: RunId,
    pub stage: StageName,
    pub attempt: Attempt,
    /// Of the target: decides on the driver.
    pub platform: PlatformKind,
    pub action: Action,
    /// The content of the release that `action` names; `None` for `Verify`.
    pub release: Option<Release>,
    /// Which hosts, and how many may be down. Read it by [`Assignment::scope`]: an assignment of a whole installation
    /// has one wave of one step.
    pub wave: Wave,
    /// The hosts of the target, by name, as enrolled at this revision; none where the platform itself has the instances.
    /// Grows with the fleet: what does not fit one frame is sent in pages ahead of the assignment.
    pub hosts: BTreeSet<HostName>,
    /// Releases of this installation that a host must not remove: what a rollback needs.
    pub retained: BTreeSet<Digest>,
    /// The last commit of this assignment, or of an earlier one of the installation that this one superseded.
    pub committed: Option<Commit>,
    /// The state that a human chose for a rollback of a job on Flink; `None`: as the release says.
    pub restore_from: Option<FlinkRestore>,
}

/// What of an installation one assignment may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// A wave of hosts, of all that the target has.
    Hosts { wave: &'a Wave, hosts: &'a BTreeSet<HostName> },
    /// All of it at once: the platform replaces the instances.
    Whole,
}

impl Assignment {
    pub fn scope(&self) -> Scope<'_> {
        match self.platform {
            PlatformKind::Hosts => Scope::Hosts { wave: &self.wave, hosts: &self.hosts },
            PlatformKind::Kubernetes | PlatformKind::Flink => Scope::Whole,
        }
    }
}

/// What stands on hosts while nothing works on an installation: what the reports of its hosts are measured against, and what
/// a host that joins or returns gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostStanding {
    /// The assignment that has the largest fence of the installation.
    pub assignment: AssignmentId,
    /// The run that brought the release.
    pub run: RunId,
    /// The releases that may run there; `None`: any, because an attempt is between two assignments.
    pub releases: Option<BTreeSet<Digest>>,
    /// What a host gets that has nothing of it, or an earlier release; `None`: nothing for now.
    pub goal: Option<HostOrder>,
    /// Hosts that may fail to join before no other one is asked.
    pub max_failures: u32,
}

/// What a fleet agent asks of one host. The host drives its own steps and reports each change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostGoal {
    pub installation: InstallationId,
    pub service: ServiceName,
    pub assignment: AssignmentId,
    pub fence: Fence,
    pub run: RunId,
    pub attempt: Attempt,
    pub action: HostAction,
    /// Releases that the host must not remove: what a rollback needs.
    pub retained: BTreeSet<Digest>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostAction {
    /// Fetch, verify and unpack the release; touch nothing that runs. Holds no disruption slot.
    Prepare(HostOrder),
    /// Make the release run: prepare what is missing, stop, switch, start, verify. A failure goes back to
    /// the release that ran before.
    Apply(HostOrder),
    /// As `Apply` with an earlier release: bytes on the host are used first.
    Restore(HostOrder),
    /// End the service and leave it ended, when `only` runs (or is current).
    Stop { only: Digest },
    /// Probe what runs for the length of a verification and report; change nothing.
    Verify,
    /// End what runs and start the same release again, verified as a deploy is.
    Restart,
}

impl HostAction {
    /// The release that is to run or to be prepared.
    pub fn order(&self) -> Option<&HostOrder> {
        match self {
            Self::Prepare(order) | Self::Apply(order) | Self::Restore(order) => Some(order),
            Self::Stop { .. } | Self::Verify | Self::Restart => None,
        }
    }

    /// Whether it touches what runs; a `Prepare` does not.
    pub fn is_disruptive(&self) -> bool {
        match self {
            Self::Prepare(_) => false,
            Self::Apply(_) | Self::Restore(_) | Self::Stop { .. } | Self::Verify | Self::Restart => true,
        }
    }
}

/// A release with its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostOrder {
    pub digest: Digest,
    pub release: Release,
}

/// What one host says of one installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostReport {
    pub installation: InstallationId,
    /// The largest fence that the host has accepted for this installation, and its assignment.
    pub fence: Fence,
    pub assignment: AssignmentId,
    /// The goal of `fence` is more than a `Prepare`: while `state` does not say how it ended, the host is about
    /// to touch what runs.
    pub disruptive: bool,
    pub state: HostState,
    /// The release that `current` names, running or not.
    pub current: Option<Digest>,
    /// A release that is unpacked and verified and could be switched to.
    pub prepared: Option<Digest>,
    /// Cause of a failure in this state.
    pub code: Option<ReasonCode>,
    /// The cause in the system's or service's words; at most `limits::MESSAGE_BYTES_MAX`.
    pub message: String,
    /// The process ended, and its restart policy is about to have it back: it is started again soon, or was started and is
    /// not healthy yet.
    pub restarting: bool,
}

/// Where a host is with the goal of its `fence`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostState {
    /// Nothing was ever deployed.
    Empty,
    /// Fetching or unpacking; what ran keeps running.
    Preparing,
    /// A `Prepare` is done, and nothing runs. Where a service runs its health is said instead.
    Prepared,
    /// Between the stop of the old process and the verified health of the new one.
    Updating,
    /// What should run now runs, and was healthy for `min_healthy`: the goal's release, or what ran before a
    /// `Prepare`.
    Healthy,
    /// Was healthy, and its probe fails or its process ended since.
    Degraded,
    /// The goal failed before anything that runs was touched.
    Refused,
    /// The goal failed and the earlier release runs again, healthy.
    Reverted,
    /// The goal failed and nothing healthy runs.
    Broken,
    /// Ended on purpose.
    Stopped,
}

impl HostState {
    pub const ALL: [Self; 10] = [
        Self::Empty,
        Self::Preparing,
        Self::Prepared,
        Self::Updating,
        Self::Healthy,
        Self::Degraded,
        Self::Refused,
        Self::Reverted,
        Self::Broken,
        Self::Stopped,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Preparing => "preparing",
            Self::Prepared => "prepared",
            Self::Updating => "updating",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Refused => "refused",
            Self::Reverted => "reverted",
            Self::Broken => "broken",
            Self::Stopped => "stopped",
        }
    }
}
