//! Runs, stages and their statuses.
//!
//! Every status answers three questions, each with exactly one answer: is it done, does it let
//! dependents start, is it bad.

/// The status of a stage, and of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// What it needs is not done.
    Pending,
    /// Ready; held by concurrency or a lock, with a position.
    Queued,
    /// Ready; held by another gate.
    Blocked,
    /// Has a live assignment.
    Running,
    /// Has no assignment and needs an answer from outside: approval, timer, resume, restore.
    Waiting,
    /// Its agent is silent. Never a verdict.
    Lost,
    /// Rolling back.
    RollingBack,
    Succeeded,
    /// A failure that the author chose to ignore.
    Warned,
    Skipped,
    Failed,
    /// Ended by a rule: an approval that expired.
    Stopped,
    Canceled,
    RolledBack,
    RollbackFailed,
    /// A bug stopped it; it can be canceled.
    Broken,
}

impl Status {
    pub const ALL: [Self; 16] = [
        Self::Pending,
        Self::Queued,
        Self::Blocked,
        Self::Running,
        Self::Waiting,
        Self::Lost,
        Self::RollingBack,
        Self::Succeeded,
        Self::Warned,
        Self::Skipped,
        Self::Failed,
        Self::Stopped,
        Self::Canceled,
        Self::RolledBack,
        Self::RollbackFailed,
        Self::Broken,
    ];

    /// Nothing moves any more.
    pub fn is_done(self) -> bool {
        match self {
            Self::Pending | Self::Queued | Self::Blocked | Self::Running | Self::Waiting | Self::Lost => {
                false
            }
            Self::RollingBack => false,
            Self::Succeeded | Self::Warned | Self::Skipped | Self::Failed | Self::Stopped => true,
            Self::Canceled | Self::RolledBack | Self::RollbackFailed | Self::Broken => true,
        }
    }

    /// Stages that come after this one may start.
    pub fn lets_dependents_start(self) -> bool {
        match self {
            Self::Succeeded | Self::Warned | Self::Skipped => true,
            Self::Pending | Self::Queued | Self::Blocked | Self::Running | Self::Waiting | Self::Lost => {
                false
            }
            Self::RollingBack | Self::Failed | Self::Stopped | Self::Canceled => false,
            Self::RolledBack | Self::RollbackFailed | Self::Broken => false,
        }
    }

    /// A user should check.
    pub fn is_bad(self) -> bool {
        match self {
            Self::Failed | Self::Stopped | Self::RolledBack | Self::RollbackFailed | Self::Broken => true,
            Self::Pending | Self::Queued | Self::Blocked | Self::Running | Self::Waiting | Self::Lost => {
                false
            }
            Self::RollingBack | Self::Succeeded | Self::Warned | Self::Skipped | Self::Canceled => false,
        }
    }

    /// As JSON spells it: `rolled_back`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Queued => "queued",
            Self::Blocked => "blocked",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Lost => "lost",
            Self::RollingBack => "rolling_back",
            Self::Succeeded => "succeeded",
            Self::Warned => "warned",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Canceled => "canceled",
            Self::RolledBack => "rolled_back",
            Self::RollbackFailed => "rollback_failed",
            Self::Broken => "broken",
        }
    }

    /// Reads what [`Status::as_str`] writes.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// The exit code of a command that waited for a run with this status (INTERFACE 3).
    pub fn exit_code(self) -> Option<u8> {
        match self {
            Self::Succeeded | Self::Warned | Self::Skipped => Some(0),
            Self::Failed | Self::Stopped | Self::Broken | Self::RollbackFailed => Some(3),
            Self::RolledBack => Some(12),
            Self::Canceled => Some(13),
            Self::Pending | Self::Queued | Self::Blocked | Self::Running | Self::Waiting | Self::Lost => None,
            Self::RollingBack => None,
        }
    }
}

/// Why a run exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunKind {
    Deploy,
    /// Restores earlier releases; made by a failure in a bake or by `trimaran rollback`.
    Rollback,
    /// Takes what runs after a restore of the cluster into the state; made by `trimaran installation adopt`.
    Adopt,
    /// Brings back what a restored cluster knows; made by `trimaran installation reapply`.
    Reapply,
}

impl RunKind {
    pub const ALL: [Self; 4] = [Self::Deploy, Self::Rollback, Self::Adopt, Self::Reapply];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Rollback => "rollback",
            Self::Adopt => "adopt",
            Self::Reapply => "reapply",
        }
    }

    /// Whether such a run restores releases that are known, as its only work.
    pub fn restores(self) -> bool {
        match self {
            Self::Deploy => false,
            Self::Rollback | Self::Adopt | Self::Reapply => true,
        }
    }
}

/// The state of one instance (a host, a pod) in a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstanceStatus {
    /// Its turn has not come.
    Waiting,
    /// Fetching and unpacking: no disruption yet.
    Preparing,
    /// Between the stop of the old and the verified health of the new process.
    Updating,
    Healthy,
    Failed,
    /// Failed, and its earlier release runs again.
    Reverted,
    /// Failed, and nothing healthy runs on it.
    Broken,
    /// No sign of it.
    Lost,
    Stopped,
}

impl InstanceStatus {
    pub const ALL: [Self; 9] = [
        Self::Waiting,
        Self::Preparing,
        Self::Updating,
        Self::Healthy,
        Self::Failed,
        Self::Reverted,
        Self::Broken,
        Self::Lost,
        Self::Stopped,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Preparing => "preparing",
            Self::Updating => "updating",
            Self::Healthy => "healthy",
            Self::Failed => "failed",
            Self::Reverted => "reverted",
            Self::Broken => "broken",
            Self::Lost => "lost",
            Self::Stopped => "stopped",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_predicates_agree() {
        for status in Status::ALL {
            assert!(!status.lets_dependents_start() || status.is_done(), "{status:?}");
            assert!(!status.is_bad() || status.is_done(), "{status:?}");
            assert!(!(status.is_bad() && status.lets_dependents_start()), "{status:?}");
            assert_eq!(status.exit_code().is_some(), status.is_done(), "{status:?}");
            assert_eq!(Status::from_name(status.as_str()), Some(status));
        }
    }
}
