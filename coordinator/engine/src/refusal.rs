//! Refusals of commands: codes with typed parameters. A refusal is data that is stored with its request.
//!
//! Deliberately not here: sentences (`trimaran-query` makes them).

use trimaran_model::error_code::{self, ErrorCode};
use trimaran_model::id::{
    AgentName, CoordinatorName, Digest, EnvironmentName, Epoch, HostName, Identity, InstallationId,
    PipelineName, RunId, StageName, TargetName,
};
use trimaran_model::pipeline::ApproveOption;
use trimaran_model::run::Status;
use trimaran_model::time::WallTime;
use trimaran_model::why::Why;

/// Why a command changed nothing. Texts of the sender are cut to `limits::REFUSAL_TEXT_BYTES_MAX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A defect stopped the command at a revision of the log.
    Bug {
        revision: u64,
    },
    /// The change would make a row of table `table` larger than rows may be.
    RowTooLarge {
        table: u8,
        bytes: u64,
    },
    /// A value of the command is outside of its range.
    Malformed,
    RequestIdReused,
    RequestExpired,
    RequestFromFuture,
    RequestsFull,
    ClusterExists,
    NotAnAgent {
        identity: Identity,
    },
    NoAgent {
        agent: AgentName,
    },
    /// A later incarnation of the agent has attached.
    Superseded,
    OtherAgentServes,
    NoTarget {
        target: TargetName,
    },
    NoRunner {
        runner: HostName,
    },
    /// Another runner has the name, and a token for many replaces none.
    NameTaken {
        runner: HostName,
    },
    Quarantined {
        run: RunId,
        cause: Box<Why>,
    },
    QueueFull {
        pipeline: PipelineName,
        waiting: u32,
    },
    /// The plan needs content that is not stored whole.
    ContentMissing {
        content: Digest,
    },
    /// So many contents wait for a release that names them.
    ContentsFull {
        waiting: u32,
    },
    NoRun {
        run: RunId,
    },
    /// `status` is absent when the run has left memory.
    RunDone {
        run: RunId,
        status: Option<Status>,
    },
    NoStage {
        run: RunId,
        stage: StageName,
    },
    NotAnApproval {
        run: RunId,
        stage: StageName,
    },
    ApprovalExpired {
        stage: StageName,
        at: WallTime,
    },
    PlanChanged,
    UnknownOption {
        option: String,
        options: Vec<ApproveOption>,
    },
    AmbiguousStage {
        stages: Vec<StageName>,
    },
    AlreadyDecided {
        by: Identity,
        option: ApproveOption,
    },
    /// Of the run, or of one of its environments.
    NothingWaits {
        run: RunId,
        environment: Option<EnvironmentName>,
    },
    NothingPaused {
        run: RunId,
    },
    NothingDeployed {
        pipeline: PipelineName,
        environment: EnvironmentName,
    },
    NothingToRollBack {
        pipeline: PipelineName,
        environment: EnvironmentName,
    },
    ReleaseTooOld {
        pipeline: PipelineName,
        release: Digest,
    },
    ReleaseOfOtherTarget {
        release: Digest,
        version: String,
        target: TargetName,
    },
    /// A rollback from version `from` was asked for, and another one runs, or none.
    OtherReleaseRuns {
        pipeline: PipelineName,
        target: TargetName,
        version: Option<String>,
        from: String,
    },
    NotAName {
        text: String,
    },
    NotARole {
        text: String,
    },
    /// The runner's agent is not enrolled.
    AgentFirst {
        agent: AgentName,
    },
    TokensFull,
    TokenUnknown,
    /// So many incarnations of the agent took over from each other within an hour that no other one may now.
    ReplacedTooOften {
        agent: AgentName,
        retry_at: WallTime,
    },
    /// The identity has as many request ids as one may have; before this time none of them is forgotten.
    OwnRequestsFull {
        retry_at: WallTime,
    },
    /// A token with this hash was made before.
    TokenExists,
    /// The agent has seen `seen` as the epoch of another incarnation of this cluster, whose epoch is `epoch`.
    OtherIncarnation {
        agent: AgentName,
        epoch: Epoch,
        seen: Epoch,
    },
    /// The cluster was restored from a backup and is not resumed.
    Observes,
    NotObserving,
    /// An agent claims to have seen an epoch that is far above the cluster's; no one chose one.
    EpochClaimed {
        agent: AgentName,
        epoch: Epoch,
    },
    /// The epoch that was chosen is below this one, the first that no agent has seen.
    EpochTooLow {
        lowest: Epoch,
    },
    /// A restore left the installation undecided.
    Undecided {
        installation: InstallationId,
        environment: EnvironmentName,
    },
    NothingUndecided {
        installation: InstallationId,
        environment: EnvironmentName,
    },
    /// The state has no release of the installation.
    NothingToReapply {
        installation: InstallationId,
        environment: EnvironmentName,
    },
    /// The command needs a higher feature level than the cluster has.
    LevelTooLow {
        needed: u16,
        level: u16,
    },
    /// These coordinators do not support the feature level.
    LevelNotSupported {
        level: u16,
        members: Vec<CoordinatorName>,
    },
}

impl Refusal {
    /// The public code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Bug { .. } | Self::RowTooLarge { .. } | Self::ClusterExists => error_code::BUG,
            Self::Malformed | Self::NotAName { .. } | Self::NotARole { .. } => error_code::USAGE,
            Self::TokenExists => error_code::USAGE,
            Self::RequestIdReused => error_code::REQUEST_ID_REUSED,
            Self::RequestExpired => error_code::REQUEST_EXPIRED,
            Self::RequestFromFuture => error_code::REQUEST_FUTURE,
            Self::RequestsFull | Self::TokensFull => error_code::BUSY,
            Self::OwnRequestsFull { .. } | Self::ReplacedTooOften { .. } => error_code::QUOTA,
            Self::NotAnAgent { .. } | Self::OtherAgentServes => error_code::DENIED,
            Self::Superseded => error_code::IDENTITY,
            Self::OtherIncarnation { .. } => error_code::OTHER_INCARNATION,
            Self::NoTarget { .. } => error_code::TARGET_UNKNOWN,
            Self::Quarantined { .. } => error_code::QUARANTINED,
            Self::QueueFull { .. } => error_code::QUEUE_FULL,
            Self::NoAgent { .. } | Self::AgentFirst { .. } | Self::NoRunner { .. } => error_code::NOT_FOUND,
            Self::ContentMissing { .. } => error_code::CONTENT_MISSING,
            Self::ContentsFull { .. } => error_code::BUSY,
            Self::NoRun { .. } | Self::NoStage { .. } | Self::NothingDeployed { .. } => error_code::NOT_FOUND,
            Self::ReleaseTooOld { .. } | Self::ReleaseOfOtherTarget { .. } => error_code::NOT_FOUND,
            Self::RunDone { .. } => error_code::RUN_DONE,
            Self::NotAnApproval { .. } | Self::ApprovalExpired { .. } => error_code::NOT_WAITING,
            Self::NothingWaits { .. } | Self::NothingPaused { .. } => error_code::NOT_WAITING,
            Self::PlanChanged => error_code::PLAN_CHANGED,
            Self::UnknownOption { .. } => error_code::OPTION_UNKNOWN,
            Self::AmbiguousStage { .. } => error_code::AMBIGUOUS_STAGE,
            Self::AlreadyDecided { .. } => error_code::ALREADY_DECIDED,
            Self::NothingToRollBack { .. } => error_code::NOTHING_TO_ROLL_BACK,
            Self::OtherReleaseRuns { .. } => error_code::OTHER_RELEASE_RUNS,
            Self::Observes => error_code::OBSERVES,
            Self::NotObserving | Self::NothingUndecided { .. } => error_code::NOT_OBSERVING,
            Self::EpochClaimed { .. } | Self::EpochTooLow { .. } => error_code::EPOCH,
            Self::Undecided { .. } => error_code::UNDECIDED,
            Self::NothingToReapply { .. } => error_code::NOTHING_TO_ROLL_BACK,
            Self::LevelTooLow { .. } | Self::LevelNotSupported { .. } => error_code::FEATURE_LEVEL,
            Self::TokenUnknown | Self::NameTaken { .. } => error_code::TOKEN_UNKNOWN,
        }
    }
}
