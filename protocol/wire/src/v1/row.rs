//! Rows of the coordinators' state. The engine has types of its own and converts them in its `rows` modules.
//!
//! Rows hold codes and parameters, never sentences. Times named `_ms` are wall time in milliseconds since the Unix epoch;
//! times named `_at` and `_until` are milliseconds of cluster time.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

use super::agent::HostFinding;
use super::artifact::WireArtifact;
use super::assignment::{WireAssignment, WireCommit, WireFailure, WireInstance, WireIntOrPercent};
use super::command::{PipelineSource, TokenGrant};
use super::common::{WireIdentity, WireInstallation, WireRun, WireStage};
use super::plan::WireScope;
use super::release::WireRelease;
use super::release_platforms::WireContent;
use super::target::WireTarget;
use crate::codec::{Message, kind};

/// Numbers of the tables: the first byte of every key, and the kind of the value behind [`kind::ROWS`].
pub mod table {
    pub const META: u8 = 1;
    pub const MEMBER: u8 = 2;
    pub const ALARM: u8 = 3;
    pub const TARGET: u8 = 4;
    pub const PIPELINE: u8 = 5;
    pub const RUN: u8 = 6;
    pub const INSTALLATION: u8 = 7;
    pub const RELEASE: u8 = 8;
    pub const ASSIGNMENT: u8 = 9;
    pub const AGENT: u8 = 10;
    pub const RUNNER: u8 = 11;
    pub const TOKEN: u8 = 12;
    pub const REVOKED: u8 = 13;
    pub const REQUEST: u8 = 14;
    pub const QUARANTINE: u8 = 15;
    pub const SETTLE: u8 = 16;
    pub const OPERATOR: u8 = 17;
    /// Behind the runs: a stage belongs to one.
    pub const STAGE: u8 = 18;
    /// Uploads, and what releases need beside what stands in them.
    pub const CONTENT: u8 = 19;
    /// What a restore left to decide.
    pub const UNDECIDED: u8 = 20;
    /// Cold: written by `apply`, read by queries alone.
    pub const AUDIT: u8 = 32;
    /// Cold: runs that are done and left memory.
    pub const OLD_RUN: u8 = 33;
    /// Cold: releases that nothing in memory names any more.
    pub const OLD_RELEASE: u8 = 34;
    /// Cold: stages of runs in `OLD_RUN`.
    pub const OLD_STAGE: u8 = 35;
    /// Cold: the file of a pipeline, written when it changes.
    pub const SOURCE: u8 = 36;
    /// Cold: what was last reported of the instances of a stage.
    pub const INSTANCES: u8 = 37;
    /// Cold: the bytes of contents, in parts.
    pub const CONTENT_PART: u8 = 38;
}

macro_rules! rows {
    ($($type:ident $table:ident;)*) => {
        $(impl Message for $type {
            const KIND: u16 = kind::ROWS + table::$table as u16;
            const VERSION: u16 = 1;
        })*
    };
}

rows! {
    Meta META; Member MEMBER; Alarm ALARM; TargetRow TARGET; Pipeline PIPELINE; Run RUN;
    Installation INSTALLATION; ReleaseRow RELEASE; AssignmentRow ASSIGNMENT; Agent AGENT; Runner RUNNER;
    Token TOKEN; Revoked REVOKED; Request REQUEST; Quarantine QUARANTINE; Settle SETTLE; Operator OPERATOR;
    Stage STAGE; Audit AUDIT; Source SOURCE; Instances INSTANCES; ContentRow CONTENT; ContentPart CONTENT_PART;
    Undecided UNDECIDED;
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Meta {
    pub cluster: String,
    pub epoch: u16,
    /// Tells a restored or recovered cluster from the one before, beside the epoch.
    pub incarnation: u64,
    pub now_at: u64,
    /// Wall time is `now + offset`.
    pub offset_ms: i64,
    /// The last fence, assignment, run sequence, attach and revocation that were numbered.
    pub fence: u64,
    pub assignment: u64,
    pub sequence: u64,
    pub attach: u64,
    pub revocation: u64,
    pub audit_seq: u64,
    pub audit_hash: [u8; 32],
    pub level: u16,
}

/// A member by raft id, which is bound to one disk and never reused.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Member {
    pub raft_id: u64,
    pub disk: [u8; 16],
    pub name: String,
    pub address: String,
    pub certificate_sha256: [u8; 32],
    /// The public key with which it signs certificates.
    pub issuer_sha256: [u8; 32],
    /// Kept for ever: what it certified while it was a member stays known.
    pub removed: bool,
    /// The lowest and the highest feature level that its build supports.
    pub levels: (u16, u16),
}

/// By `subject` and `code`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Alarm {
    pub subject: AlarmSubject,
    pub code: String,
    pub detail: AlarmDetail,
    pub since_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum AlarmSubject {
    Cluster,
    Member { name: String },
    Run { run: WireRun },
    Agent { name: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum AlarmDetail {
    /// A defect stopped a command or a timer.
    CommandBug {
        revision: u64,
    },
    RunBug {
        run: WireRun,
        revision: u64,
    },
    ClockJump,
    OtherIncarnation {
        epoch: u16,
        incarnation: u64,
    },
    /// What a member reports of itself, in its words.
    Reported {
        message: String,
    },
    /// The cluster was restored: it only observes, or so many installations and runs wait for a decision.
    Restored {
        observes: bool,
        installations: u32,
        runs: u32,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TargetRow {
    pub target: WireTarget,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Pipeline {
    pub name: String,
    /// SHA-256 of the encoded `Source`; `None`: no file was ever stored.
    pub source: Option<[u8; 32]>,
    /// Number of its last run.
    pub runs: u64,
}

/// The file of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Source {
    pub source: PipelineSource,
}

/// The head of a run; its stages are rows of their own.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Run {
    pub id: WireRun,
    /// Order of creation among all runs.
    pub sequence: u64,
    pub kind: String,
    pub plan: [u8; 32],
    pub artifacts: Vec<WireArtifact>,
    pub by: WireIdentity,
    /// What a user wrote beside the request.
    pub comment: String,
    /// Why a rollback run exists.
    pub cause: Option<WireWhy>,
    pub caused_by: Option<WireRun>,
    pub created_ms: i64,
    pub status: String,
    pub finished_ms: Option<i64>,
    pub reasons: Vec<WireReason>,
    pub rollback: Option<Rollback>,
    /// Who canceled it; it waits for what is in flight.
    pub canceled_by: Option<WireIdentity>,
    /// Revision of its last change.
    pub revision: u64,
}

/// The rollback inside of a run, and the first release that it restores.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Rollback {
    pub cause: WireWhy,
    pub to: Option<[u8; 32]>,
}

/// A node of a run's graph, by run and place in it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Stage {
    pub run: WireRun,
    pub index: u16,
    pub name: WireStage,
    pub needs: Vec<Need>,
    pub kind: StageKind,
    pub reasons: Vec<WireReason>,
    pub started_ms: Option<i64>,
    pub finished_ms: Option<i64>,
}

/// What a stage needs before it begins.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Need {
    /// Every stage of an environment.
    Environment {
        environment: String,
    },
    Stage {
        stage: WireStage,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum StageKind {
    Deploy { deploy: Deploy },
    Approve { approve: Approve },
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Deploy {
    pub target: String,
    pub release: [u8; 32],
    pub goal: Goal,
    pub bake_ms: u64,
    pub sizes: Vec<WireIntOrPercent>,
    pub max_unavailable: WireIntOrPercent,
    pub max_failures: WireIntOrPercent,
    pub max_lost: WireIntOrPercent,
    pub pause_between_ms: u64,
    pub rollback_on_health: bool,
    pub scope: WireScope,
    pub direction: Direction,
    /// A `FlinkRestore`.
    pub restore_from: Option<String>,
    pub attempt: Option<Attempt>,
    pub state: DeployState,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Goal {
    Release,
    Restore { reason: WireReason },
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Direction {
    Forward,
    Back { to: RollbackTarget, reason: WireReason },
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum RollbackTarget {
    Restore {
        release: [u8; 32],
    },
    /// There is nothing to go back to: the release is stopped, or only what of it does not serve.
    Stop {
        all: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Attempt {
    pub number: u32,
    /// The last one.
    pub fence: u64,
    /// The first one.
    pub since: u64,
    /// What the stage goes back to: the last stable release when it began, or what ran healthy.
    pub restore: Option<[u8; 32]>,
    /// Cumulative sizes, fixed when the attempt begins.
    pub waves: Vec<u32>,
    /// The wave in progress or next, from 0.
    pub wave: u32,
    pub done: u32,
    pub total: u32,
    pub failed: Vec<String>,
    /// Hosts that were left behind since the last resume.
    pub lost: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum DeployState {
    Held { held: Held },
    Running { assignment: Option<u64> },
    RollingBack { assignment: Option<u64> },
    Lost { assignment: u64 },
    Waiting { wait: Wait },
    Done { end: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Held {
    Pending,
    Queued,
    Blocked,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Wait {
    Resume { why: WireWhy },
    Pause { until: u64 },
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Approve {
    pub options: Vec<String>,
    pub timeout_ms: u64,
    pub state: ApproveState,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ApproveState {
    Held { held: Held },
    Open { expires: i64 },
    Decided { decision: Decision },
    Done { end: String, decision: Option<Decision> },
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Decision {
    pub option: String,
    pub by: WireIdentity,
    pub comment: String,
    pub at_ms: i64,
}

/// What was last reported of the instances of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Instances {
    pub instances: Vec<WireInstance>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Installation {
    pub id: WireInstallation,
    pub environment: String,
    /// What the last successful stage deployed, by which run, since when.
    pub current: Option<[u8; 32]>,
    pub run: Option<WireRun>,
    pub since_ms: i64,
    /// Releases that were healthy and baked, the last one first.
    pub stable_releases: Vec<[u8; 32]>,
    /// What ran healthy before `current`, baked or not: better than nothing when there is no stable release.
    pub previous: Option<[u8; 32]>,
    /// Until when a failure of `current` still goes back.
    pub bake_until: Option<u64>,
    pub assignment: Option<u64>,
    pub fence: u64,
    /// Assignments that ended, the last one at the end, so that a repeated result gets its answer again.
    pub ended: Vec<Ended>,
    pub health: String,
    pub failure: Option<WireFailure>,
    pub desired: u32,
    /// Hosts on the release of the last assignment: `current`, or with `mixed` the one that it names.
    pub updated: u32,
    /// Instances that do not serve, by the agent's last verdict.
    pub down: u32,
    /// Hosts by what they are, by the same verdict; see `agent::HostCounts`.
    pub members: u32,
    pub lost: u32,
    pub diverged: u32,
    pub crashes: u32,
    pub crash: Option<WireFailure>,
    pub findings: Vec<HostFinding>,
    /// Since when its agent can't see the platform.
    pub blind_since_ms: Option<i64>,
    /// While a stage works here: what the health becomes when it ends in mid-wave.
    pub was_healthy: bool,
    /// Some hosts have another release than `current`, because the run that deployed it ended before its end.
    pub mixed: Option<Mixed>,
    /// The last commit of its assignments, opaque: handed to the next one, which knows by its number whose it is.
    pub committed: Option<WireCommit>,
}

/// What the hosts that are not on `current` have.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Mixed {
    pub run: WireRun,
    pub release: [u8; 32],
    /// How many have it.
    pub hosts: u32,
    /// Why the stage ended, and which one it was.
    pub cause: Option<WireWhy>,
    pub stage: WireStage,
}

/// An assignment that is over.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Ended {
    pub agent: String,
    pub assignment: u64,
    pub fence: u64,
    /// Its result was applied; otherwise it was superseded.
    pub applied: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ReleaseRow {
    pub digest: [u8; 32],
    pub release: WireRelease,
}

/// Content that is being uploaded, or that a release names.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ContentRow {
    pub content: WireContent,
    /// So many of its parts are stored.
    pub parts: u32,
    /// Cluster time of its first part.
    pub begun_at: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ContentPart {
    pub bytes: Vec<u8>,
}

/// The order has no release: its content is in the release's row.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AssignmentRow {
    pub agent: String,
    pub order: WireAssignment,
    pub cancel: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Agent {
    pub name: String,
    /// SHA-256 of its public key, once enrolled.
    pub key: Option<[u8; 32]>,
    pub incarnation: Option<u64>,
    /// Incarnations that were replaced; they can't come back.
    pub superseded: Vec<Superseded>,
    /// The number of its last attach.
    pub attach: u64,
    /// The coordinator that serves it, by that attach.
    pub attached: Option<String>,
    pub address: Option<String>,
    /// Each `PlatformKind` that it has a driver for, by that attach.
    pub platforms: Vec<String>,
    pub lost: bool,
    /// Calls of this incarnation may be in flight until then, now that it is not attached; none after a goodbye.
    pub calls_until: Option<u64>,
    /// Calls of an earlier incarnation may be in flight until then: assignments wait.
    pub handover_until: Option<u64>,
    pub changed_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Runner {
    pub name: String,
    pub agent: String,
    pub labels: BTreeMap<String, String>,
    pub key: Option<[u8; 32]>,
    /// When it was connected, noted from time to time; `None`: never.
    pub seen_ms: Option<i64>,
    /// What its host is, as it says itself: `os`, `arch` and others.
    pub facts: BTreeMap<String, String>,
    /// A user took it out of its targets, or wants its services ended too.
    pub cordoned: bool,
    pub drained: bool,
    /// Since when it is not connected; `None`: it is, or its agent has not said.
    pub away_ms: Option<i64>,
    /// Its earlier keys that its agent alone refuses.
    pub revoked: Vec<RevokedId>,
}

/// An operator by name, with the key of the last enrolment.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Operator {
    pub name: String,
    pub role: String,
    pub key: [u8; 32],
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Token {
    pub sha256: [u8; 32],
    pub grant: TokenGrant,
    pub expires_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Revoked {
    pub until_ms: i64,
    pub number: u64,
    pub key: [u8; 32],
    pub audience: Audience,
}

/// Who refuses a revoked key beside the coordinators.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Audience {
    Coordinators,
    Agent { name: String },
    Agents,
    Issuer,
    Runners { agent: String },
}

/// An incarnation that was replaced, and when.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Superseded {
    pub incarnation: u64,
    pub at_ms: i64,
}

/// A revocation by the key of its row.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RevokedId {
    pub until_ms: i64,
    pub number: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Request {
    pub identity: WireIdentity,
    pub id: [u8; 16],
    pub body_sha256: [u8; 32],
    pub outcome: StoredOutcome,
    pub at_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum StoredOutcome {
    Run { run: WireRun },
    Decided { run: WireRun, stage: Option<WireStage>, decision: String, by: WireIdentity },
    Applied { targets: Vec<String>, pipelines: Vec<String> },
    Token { name: String, expires_ms: i64 },
    Runners { names: Vec<String>, change: String },
    Refused { refusal: WireRefusal },
    Nothing,
    Resumed { epoch: u16, incarnation: u64 },
    Finalized { level: u16 },
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Quarantine {
    pub pipeline: String,
    pub plan: [u8; 32],
    pub run: WireRun,
    pub cause: WireWhy,
    pub at_ms: i64,
}

/// A run that has to be settled.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Settle {
    pub run: WireRun,
}

/// By subject: what a restore left to decide.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Undecided {
    pub subject: UndecidedSubject,
    pub since_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum UndecidedSubject {
    /// It only observes.
    Cluster,
    Installation {
        installation: WireInstallation,
    },
    Run {
        run: WireRun,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Audit {
    pub seq: u64,
    pub at_ms: i64,
    pub identity: String,
    pub verb: String,
    pub object: String,
    pub outcome: String,
    pub hash: [u8; 32],
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireReason {
    pub why: WireWhy,
    pub since_ms: i64,
    pub next_check_ms: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum WirePlace {
    Here,
    Stage { stage: WireStage },
    Target { target: String },
}

/// `trimaran_model::why::Why`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum WireWhy {
    NotSettled,
    After { environments: Vec<String> },
    Approval { options: Vec<String> },
    ApprovalExpired,
    Concurrency { first: WireRun, position: u32 },
    InstallationBusy { run: WireRun, target: String },
    NoTarget { target: String },
    NoHosts { agent: String, target: String },
    AgentNotConnected { agent: String, target: String },
    TargetParallel { target: String, busy: u32 },
    AgentLost { agent: String },
    AgentHandover { agent: String },
    WavePause,
    Paused { failure: WireFailure },
    Interrupted,
    Canceled { by: WireIdentity, then: Option<WireFailure> },
    OutsideScope { then: Option<WireFailure> },
    LeftAsItIs,
    NeverStarts,
    Canceling { by: Option<WireIdentity> },
    UpstreamFailed { stage: WireStage, status: String },
    RollbackChosen { by: WireIdentity },
    StopChosen { by: WireIdentity },
    RollbackRequested { by: WireIdentity, comment: String },
    Failed { failure: WireFailure, place: WirePlace },
    Unhealthy { target: String },
    RevertFailed { failure: WireFailure },
    RollbackCanceled,
    NoEarlierRelease,
    Bug { run: WireRun, revision: u64 },
    StillServing { instances: u32 },
    Observes,
    Restored { stage: Option<WireStage> },
    Adopted { by: WireIdentity },
    Reapplied { by: WireIdentity },
}

/// The engine's refusals.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum WireRefusal {
    Bug { revision: u64 },
    RowTooLarge { table: u8, bytes: u64 },
    Malformed,
    RequestIdReused,
    RequestExpired,
    RequestFromFuture,
    RequestsFull,
    ClusterExists,
    NotAnAgent { identity: WireIdentity },
    NoAgent { agent: String },
    Superseded,
    OtherAgentServes,
    NoTarget { target: String },
    Quarantined { run: WireRun, cause: WireWhy },
    QueueFull { pipeline: String, waiting: u32 },
    NoRun { run: WireRun },
    RunDone { run: WireRun, status: Option<String> },
    NoStage { run: WireRun, stage: WireStage },
    NotAnApproval { run: WireRun, stage: WireStage },
    ApprovalExpired { stage: WireStage, at: i64 },
    PlanChanged,
    UnknownOption { option: String, options: Vec<String> },
    AmbiguousStage { stages: Vec<WireStage> },
    AlreadyDecided { by: WireIdentity, option: String },
    NothingWaits { run: WireRun, environment: Option<String> },
    NothingPaused { run: WireRun },
    NothingDeployed { pipeline: String, environment: String },
    NothingToRollBack { pipeline: String, environment: String },
    ReleaseTooOld { pipeline: String, release: [u8; 32] },
    ReleaseOfOtherTarget { release: [u8; 32], version: String, target: String },
    OtherReleaseRuns { pipeline: String, target: String, version: Option<String>, from: String },
    NotAName { text: String },
    NotARole { text: String },
    AgentFirst { agent: String },
    TokensFull,
    TokenUnknown,
    TokenExists,
    ReplacedTooOften { agent: String, retry_at: i64 },
    OwnRequestsFull { retry_at: i64 },
    OtherIncarnation { agent: String, epoch: u16, seen: u16 },
    NoRunner { runner: String },
    NameTaken { runner: String },
    ContentMissing { content: [u8; 32] },
    ContentsFull { waiting: u32 },
    Observes,
    NotObserving,
    EpochClaimed { agent: String, epoch: u16 },
    EpochTooLow { lowest: u16 },
    Undecided { installation: WireInstallation, environment: String },
    NothingUndecided { installation: WireInstallation, environment: String },
    NothingToReapply { installation: WireInstallation, environment: String },
    LevelTooLow { needed: u16, level: u16 },
    LevelNotSupported { level: u16, members: Vec<String> },
}
