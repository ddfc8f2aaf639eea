//! What an agent is asked to do with an installation, and what it answers.

use crate::id::{AssignmentId, Digest, HostName};
use crate::pipeline::IntOrPercent;
use crate::reason::ReasonCode;
use crate::run::InstanceStatus;

/// One step of one installation. A rollback is a job with an earlier release, not another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Bring the release to the instances of a wave.
    Release(Digest),
    /// Bring an earlier release back: local bytes only where they exist, no approval, capacity first.
    Restore(Digest),
    /// Judge what runs and change nothing.
    Verify,
    /// End the service where the given release runs; the first release of all had nothing to go back to.
    Stop(Digest),
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
    /// Hosts that failed in this attempt before this assignment; never touched again by it.
    pub failed: Vec<HostName>,
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
    pub instance: Option<HostName>,
}

/// How far an assignment is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Instances on the assignment's release and healthy, of all that the stage has.
    pub done: u32,
    pub total: u32,
    /// Hosts that failed in this attempt, those before this assignment included.
    pub failed: Vec<HostName>,
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
    pub name: HostName,
    pub status: InstanceStatus,
    /// The release that runs there, if any does.
    pub release: Option<Digest>,
    pub code: Option<ReasonCode>,
    pub message: String,
}
