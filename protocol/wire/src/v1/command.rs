//! The replicated log: one entry holds a time and commands in order.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use trimaran_model::feature_level;

use super::agent::{AgentVerdict, Progress};
use super::assignment::WireOutcome;
use super::common::{WireIdentity, WireInstallation, WireRun, WireStage};
use super::plan::WirePlan;
use super::release::WireRelease;
use super::release_platforms::WireContent;
use super::target::WireTarget;
use crate::codec::{Message, kind};

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    /// Milliseconds of cluster time that the leader proposes; never moves the state's `now` back.
    pub now_ms: u64,
    pub commands: Vec<Command>,
}

impl Message for Entry {
    const KIND: u16 = kind::ENTRY;
    const VERSION: u16 = 1;
}

/// A command with who gave it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Command {
    pub identity: WireIdentity,
    /// For requests of operators: remembered with the outcome.
    pub request: Option<RequestKey>,
    pub body: CommandBody,
}

/// A request id and the digest of the request's body, which tells a repetition from a misuse.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RequestKey {
    pub id: [u8; 16],
    pub body_sha256: [u8; 32],
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum CommandBody {
    /// The first command of a cluster.
    Bootstrap {
        cluster: String,
        wall_ms: i64,
        /// Random; another one after every restore and recovery.
        incarnation: u64,
        admin_token_sha256: [u8; 32],
        admin: String,
    },
    /// A coordinator says who it is: at every start and when it changes.
    Member {
        name: String,
        raft_id: u64,
        /// Random id of the disk that this raft id is bound to.
        disk: [u8; 16],
        address: String,
        certificate_sha256: [u8; 32],
        /// The public key with which it signs certificates.
        issuer_sha256: [u8; 32],
        /// The lowest and the highest feature level that its build supports.
        levels: (u16, u16),
    },
    /// Time alone: timers that are due run.
    Advance,
    /// The leader drains the settle queue.
    Settle,
    /// Wall time becomes `now + offset_ms`. `jump` tells that a clock jumped, which alarms.
    WallOffset {
        offset_ms: i64,
        jump: bool,
    },
    /// Sets or clears an alarm of a member.
    Alarm {
        member: String,
        code: String,
        message: Option<String>,
    },

    // Operators.
    Apply {
        pipelines: Vec<PipelineSource>,
        targets: Vec<WireTarget>,
    },
    StartRun {
        source: Option<PipelineSource>,
        plan: WirePlan,
        overrides: Vec<String>,
        reason: String,
    },
    Approve {
        run: WireRun,
        stage: Option<WireStage>,
        option: Option<String>,
        plan_digest: Option<[u8; 32]>,
        comment: String,
    },
    Cancel {
        run: WireRun,
    },
    Resume {
        run: WireRun,
        stage: Option<WireStage>,
    },
    Rollback {
        pipeline: String,
        environment: String,
        to: Option<[u8; 32]>,
        /// The version that has to run now; any when absent.
        from: Option<String>,
        /// The state that a job on Flink begins from, a `FlinkRestore`; as its release says when absent.
        restore_from: Option<String>,
        reason: String,
        /// `traffic`.
        overrides: Vec<String>,
    },
    CreateToken {
        token_sha256: [u8; 32],
        grant: TokenGrant,
    },
    /// Changes enrolled runners; all of them, or none.
    Runners {
        names: Vec<String>,
        change: RunnerChange,
    },
    /// Refusals of one identity and verb in one minute; one audit record.
    Refusals {
        verb: String,
        object: String,
        count: u32,
    },

    // Enrolment, by any coordinator.
    UseToken {
        token_sha256: [u8; 32],
        spki_sha256: [u8; 32],
        /// What the newcomer calls itself: its name, where the token is for many.
        name: Option<String>,
    },

    // Agents, by the coordinator that serves them.
    Attach {
        incarnation: u64,
        coordinator: String,
        address: String,
        /// The highest epoch that the agent has seen, and the incarnation of the cluster that had it; 0 and 0 when
        /// it has seen none.
        epoch_seen: u16,
        incarnation_seen: u64,
        /// Each `PlatformKind` that it has a driver for.
        platforms: Vec<String>,
    },
    /// The session of this attach ended; `goodbye` says that the agent itself ended it and has no call in flight.
    /// Its last message came at `seen_ms`.
    Detach {
        attach: u64,
        goodbye: bool,
        seen_ms: i64,
    },
    /// No sign for `limits::AGENT_LOST_AFTER` since this attach.
    AgentLost {
        agent: String,
        attach: u64,
    },
    /// What a driver has to have in the log before it continues.
    Commit {
        n: u32,
        body: Vec<u8>,
        progress: Progress,
    },
    Result {
        assignment: u64,
        fence: u64,
        outcome: WireOutcome,
        progress: Progress,
    },
    Verdict(AgentVerdict),
    /// What the agent says of these runners of it.
    RunnersSeen {
        runners: BTreeMap<String, RunnerNews>,
    },
    /// A part of content that a later `StartRun` names. Repeated, it changes nothing; the first part begins anew what is not
    /// whole.
    PutContent {
        content: WireContent,
        part: u32,
        bytes: Vec<u8>,
    },
    /// What an operator does with a member. The first two travel with the change of replication's own members and are
    /// applied when it is in force.
    ChangeMember {
        change: WireMemberChange,
        raft_id: u64,
    },
    /// The member that is left of a lost quorum becomes the only one, in another incarnation of the cluster. It is applied
    /// by whoever recovers the data directory, and never travels.
    Recover {
        raft_id: u64,
        /// Random.
        incarnation: u64,
    },
    /// An operator takes a backup from this coordinator; one audit record.
    BackUp {
        coordinator: String,
    },
    /// The state is that of a backup: its member becomes the only one, and only observes. It is applied by whoever restores
    /// the data directory, and never travels.
    Restore {
        raft_id: u64,
    },
    /// An operator ends the observation after a restore: agents are served again, in another incarnation of the cluster.
    ResumeCluster {
        /// Chosen by what agents have seen when absent.
        epoch: Option<u16>,
        /// Random.
        incarnation: u64,
    },
    /// After a restore: `release` is what the installation's agent says that runs, and it is right.
    Adopt {
        installation: WireInstallation,
        environment: String,
        release: WireRelease,
    },
    /// After a restore: what the state has of the installation is right, and a run brings it there.
    Reapply {
        installation: WireInstallation,
        environment: String,
    },
    /// An operator raises the feature level to the highest that a member supports; every other one has to as well.
    Finalize,
}

/// What an operator can do with a coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum WireMemberChange {
    /// A learner gets a vote.
    Promote,
    Remove,
    /// It becomes the leader.
    Transfer,
}

impl CommandBody {
    /// The feature level from which on it may stand in the log. What is new has the level that brings it.
    pub fn feature_level(&self) -> u16 {
        match self {
            Self::CreateToken { grant: TokenGrant::Runners { .. }, .. } => feature_level::MANY_RUNNERS,
            Self::Bootstrap { .. } | Self::Member { .. } | Self::ChangeMember { .. } | Self::Finalize => {
                feature_level::FIRST
            }
            Self::Advance | Self::Settle | Self::WallOffset { .. } | Self::Alarm { .. } => {
                feature_level::FIRST
            }
            Self::Apply { .. } | Self::StartRun { .. } | Self::Approve { .. } | Self::Cancel { .. } => {
                feature_level::FIRST
            }
            Self::Resume { .. }
            | Self::Rollback { .. }
            | Self::CreateToken { .. }
            | Self::UseToken { .. } => feature_level::FIRST,
            Self::Runners { .. } | Self::RunnersSeen { .. } | Self::Refusals { .. } => feature_level::FIRST,
            Self::Attach { .. } | Self::Detach { .. } | Self::AgentLost { .. } => feature_level::FIRST,
            Self::Commit { .. } | Self::Result { .. } | Self::Verdict(_) => feature_level::FIRST,
            Self::PutContent { .. } | Self::BackUp { .. } => feature_level::FIRST,
            Self::Recover { .. } | Self::Restore { .. } | Self::ResumeCluster { .. } => feature_level::FIRST,
            Self::Adopt { .. } | Self::Reapply { .. } => feature_level::FIRST,
        }
    }

    /// Whether it stops, undoes or decides what was begun: such changes have a reserve in each queue and table, so that
    /// no one is locked out by what made them necessary.
    pub fn has_reserve(&self) -> bool {
        matches!(
            self,
            Self::Cancel { .. }
                | Self::Rollback { .. }
                | Self::Approve { .. }
                | Self::Resume { .. }
                | Self::ResumeCluster { .. }
                | Self::Adopt { .. }
                | Self::Reapply { .. }
        )
    }
}

/// What a user changes of runners.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum RunnerChange {
    /// It is forgotten, and its key refused.
    Remove,
    /// It stays as it is and is no host of its targets any more.
    Cordon,
    /// It is a host of its targets again.
    Uncordon,
    /// As `Cordon`, and its services are ended.
    Drain,
    Label {
        set: BTreeMap<String, String>,
        remove: Vec<String>,
    },
}

/// What an agent says of one of its runners.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RunnerNews {
    pub connected: bool,
    /// Wall time of its last sign, when there was one.
    pub seen_ms: Option<i64>,
    /// What its host is; `None`: as before.
    pub facts: Option<BTreeMap<String, String>>,
}

/// A pipeline file as stored; compiled again by whoever needs it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PipelineSource {
    pub pipeline: String,
    pub owner: String,
    pub file: String,
    pub text: String,
}

/// What a one-time token lets its bearer become.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum TokenGrant {
    Agent {
        name: String,
    },
    Runner {
        name: String,
        agent: String,
        labels: BTreeMap<String, String>,
    },
    Operator {
        name: String,
        role: String,
    },
    Coordinator {
        name: String,
    },
    /// Runners whose names come from their hosts, so many of them.
    Runners {
        group: String,
        agent: String,
        labels: BTreeMap<String, String>,
        uses: u32,
        ttl_ms: u64,
    },
}
