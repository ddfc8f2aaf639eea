//! Reasons and refusals as rows have them.

use trimaran_model::why::{Place, Reason, Why};
use trimaran_wire::v1::row;

use super::convert::{frozen_enum, frozen_struct};
use crate::refusal::Refusal;

frozen_struct!(Reason => row::WireReason { why } { since: since_ms, next_check: next_check_ms });

frozen_enum!(Place => row::WirePlace { Here, Stage { stage }, Target { target } });

frozen_enum!(Why => row::WireWhy {
    NotSettled,
    After { environments },
    Approval { options },
    ApprovalExpired,
    Concurrency { first, position },
    InstallationBusy { run, target },
    NoTarget { target },
    NoHosts { agent, target },
    AgentNotConnected { agent, target },
    TargetParallel { target, busy },
    AgentLost { agent },
    AgentHandover { agent },
    WavePause,
    Paused { failure },
    Interrupted,
    Canceled { by, then },
    OutsideScope { then },
    LeftAsItIs,
    NeverStarts,
    Canceling { by },
    UpstreamFailed { stage, status },
    RollbackChosen { by },
    StopChosen { by },
    RollbackRequested { by, comment },
    Failed { failure, place },
    Unhealthy { target },
    RevertFailed { failure },
    RollbackCanceled,
    NoEarlierRelease,
    Bug { run, revision },
});

frozen_enum!(Refusal => row::WireRefusal {
    Bug { revision },
    RowTooLarge { table, bytes },
    Malformed,
    RequestIdReused,
    RequestExpired,
    RequestFromFuture,
    RequestsFull,
    ClusterExists,
    NotAnAgent { identity },
    NoAgent { agent },
    Superseded,
    OtherAgentServes,
    NoTarget { target },
    Quarantined { run, cause },
    QueueFull { pipeline, waiting },
    NoRun { run },
    RunDone { run, status },
    NoStage { run, stage },
    NotAnApproval { run, stage },
    ApprovalExpired { stage },
    PlanChanged,
    UnknownOption { option, options },
    AmbiguousStage { stages },
    AlreadyDecided { by, option },
    NothingWaits { run, environment },
    NothingPaused { run },
    NothingDeployed { pipeline, environment },
    NothingToRollBack { pipeline, environment },
    ReleaseTooOld { pipeline, release },
    ReleaseOfOtherTarget { release, version, target },
    NotAName { text },
    NotARole { text },
    AgentFirst { agent },
    TokensFull,
    TokenUnknown,
});
