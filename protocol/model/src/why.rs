//! Why something does not move, went back or is not deployed again: a code with typed parameters.
//!
//! Deliberately not here: sentences, the command that clears a reason, and who may run it. They are made where a
//! reason is shown, so that a better sentence changes nothing that is stored.

use crate::action::Failure;
use crate::id::{AgentName, EnvironmentName, Identity, RunId, StageName, TargetName};
use crate::pipeline::ApproveOption;
use crate::reason::ReasonCode;
use crate::run::Status;
use crate::time::WallTime;

/// Why a stage or run does not move, since when, and when that changes without an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    pub why: Why,
    pub since: WallTime,
    /// When it will be evaluated again; `None` when only an event clears it.
    pub next_check: Option<WallTime>,
}

/// Where a failure happened that names no instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The stage that has the reason.
    Here,
    Stage {
        stage: StageName,
    },
    Target {
        target: TargetName,
    },
}

/// One variant a sentence. Parameters are the names and numbers of the case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The run was created and not settled yet.
    NotSettled,
    /// Earlier environments are not done.
    After {
        environments: Vec<EnvironmentName>,
    },
    /// The environment's approval is not decided; the first option is the default.
    Approval {
        options: Vec<ApproveOption>,
    },
    ApprovalExpired,
    /// `first` is the oldest live run of the pipeline; `position` counts from 1.
    Concurrency {
        first: RunId,
        position: u32,
    },
    InstallationBusy {
        run: RunId,
        target: TargetName,
    },
    NoTarget {
        target: TargetName,
    },
    NoHosts {
        agent: AgentName,
        target: TargetName,
    },
    AgentNotConnected {
        agent: AgentName,
        target: TargetName,
    },
    /// `busy` installations are worked on.
    TargetParallel {
        target: TargetName,
        busy: u32,
    },
    AgentLost {
        agent: AgentName,
    },
    AgentHandover {
        agent: AgentName,
    },
    WavePause,
    /// A fault of the platform; a user resumes.
    Paused {
        failure: Failure,
    },
    /// The agent ended work that no one asked to end.
    Interrupted,
    /// `then`: what the agent reported at the end.
    Canceled {
        by: Identity,
        then: Option<Failure>,
    },
    /// The run goes back, and the stage is outside of the rollback's scope.
    OutsideScope {
        then: Option<Failure>,
    },
    /// As [`Why::OutsideScope`], of a stage that was idle when the rollback began.
    LeftAsItIs,
    /// The run goes back before the stage began.
    NeverStarts,
    /// Hosts in flight finish or revert; `by` is absent when the run goes back.
    Canceling {
        by: Option<Identity>,
    },
    UpstreamFailed {
        stage: StageName,
        status: Status,
    },
    RollbackChosen {
        by: Identity,
    },
    StopChosen {
        by: Identity,
    },
    RollbackRequested {
        by: Identity,
        comment: String,
    },
    /// A failure of the release.
    Failed {
        failure: Failure,
        place: Place,
    },
    /// Unhealthy in its bake, without a failure that says more.
    Unhealthy {
        target: TargetName,
    },
    /// The release that was to be restored failed.
    RevertFailed {
        failure: Failure,
    },
    RollbackCanceled,
    /// The failed release was stopped.
    NoEarlierRelease,
    /// A defect stopped the run at a revision of the log.
    Bug {
        run: RunId,
        revision: u64,
    },
    /// There is no earlier good release to go back to, and so many instances of a prod target still serve: a user
    /// decides whether they are ended.
    StillServing {
        instances: u32,
    },
    /// The cluster was restored from a backup and is not resumed.
    Observes,
    /// The cluster was restored from a backup: the run waits for a user, or with a place what runs there is not decided.
    Restored {
        stage: Option<StageName>,
    },
    /// A user decided after a restore that what runs is right.
    Adopted {
        by: Identity,
    },
    /// A user decided after a restore that what the state has is right.
    Reapplied {
        by: Identity,
    },
}

impl Why {
    /// The failure that it speaks of.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Paused { failure } | Self::Failed { failure, .. } | Self::RevertFailed { failure } => {
                Some(failure)
            }
            Self::Canceled { then, .. } | Self::OutsideScope { then } => then.as_ref(),
            Self::NotSettled | Self::After { .. } | Self::Approval { .. } | Self::ApprovalExpired => None,
            Self::Concurrency { .. } | Self::InstallationBusy { .. } | Self::TargetParallel { .. } => None,
            Self::NoTarget { .. } | Self::NoHosts { .. } | Self::AgentNotConnected { .. } => None,
            Self::AgentLost { .. } | Self::AgentHandover { .. } | Self::WavePause => None,
            Self::Interrupted | Self::LeftAsItIs | Self::NeverStarts | Self::Canceling { .. } => None,
            Self::UpstreamFailed { .. } | Self::RollbackChosen { .. } | Self::StopChosen { .. } => None,
            Self::RollbackRequested { .. } | Self::Unhealthy { .. } | Self::RollbackCanceled => None,
            Self::NoEarlierRelease | Self::Bug { .. } | Self::StillServing { .. } => None,
            Self::Observes | Self::Restored { .. } | Self::Adopted { .. } | Self::Reapplied { .. } => None,
        }
    }

    /// The run that has to move before.
    pub fn run_before(&self) -> Option<&RunId> {
        if let Self::Concurrency { first: run, .. } | Self::InstallationBusy { run, .. } = self {
            return Some(run);
        }
        None
    }

    /// The public code.
    pub fn code(&self) -> ReasonCode {
        match self {
            Self::NotSettled => ReasonCode::Settle,
            Self::After { .. } => ReasonCode::After,
            Self::Approval { .. } => ReasonCode::Approval,
            Self::ApprovalExpired => ReasonCode::ApprovalExpired,
            Self::Concurrency { .. } => ReasonCode::Concurrency,
            Self::InstallationBusy { .. } => ReasonCode::InstallationBusy,
            Self::NoTarget { .. } | Self::NoHosts { .. } => ReasonCode::NoHosts,
            Self::AgentNotConnected { .. } => ReasonCode::AgentNotConnected,
            Self::TargetParallel { .. } => ReasonCode::TargetParallel,
            Self::AgentLost { .. } => ReasonCode::AgentLost,
            Self::AgentHandover { .. } => ReasonCode::AgentHandover,
            Self::WavePause => ReasonCode::WavePause,
            Self::Paused { failure } if failure.code.is_pause() => failure.code,
            Self::Paused { .. } | Self::Interrupted => ReasonCode::PausedFault,
            Self::Canceled { .. } | Self::OutsideScope { .. } => ReasonCode::Canceled,
            Self::StopChosen { .. } | Self::RollbackCanceled => ReasonCode::Canceled,
            Self::LeftAsItIs | Self::NeverStarts | Self::UpstreamFailed { .. } => ReasonCode::UpstreamFailed,
            Self::Canceling { .. } => ReasonCode::Canceling,
            Self::RollbackChosen { .. } => ReasonCode::RolledBackByChoice,
            Self::RollbackRequested { .. } => ReasonCode::RollbackRequested,
            Self::Failed { failure, .. } => failure.code,
            Self::Unhealthy { .. } => ReasonCode::ProbeFailed,
            Self::RevertFailed { .. } => ReasonCode::RevertFailed,
            Self::NoEarlierRelease => ReasonCode::NoEarlierRelease,
            Self::Bug { .. } => ReasonCode::Bug,
            Self::StillServing { .. } => ReasonCode::PausedTraffic,
            Self::Observes | Self::Restored { .. } => ReasonCode::Restored,
            Self::Adopted { .. } => ReasonCode::Adopted,
            Self::Reapplied { .. } => ReasonCode::Reapplied,
        }
    }
}
