//! The replicated log: one entry holds a time and commands in order.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

use super::agent::{AgentVerdict, Progress};
use super::assignment::WireOutcome;
use super::common::{WireIdentity, WireRun, WireStage};
use super::plan::WirePlan;
use super::target::WireTarget;
use crate::codec::{Message, kind};

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    /// Milliseconds of cluster life that the leader proposes; never moves the state's `now` back.
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
        admin_token_sha256: [u8; 32],
        admin: String,
    },
    /// A coordinator says who it is: at every start and when it changes.
    Member {
        name: String,
        raft_id: u64,
        address: String,
        certificate_sha256: [u8; 32],
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
        reason: String,
    },
    CreateToken {
        token_sha256: [u8; 32],
        grant: TokenGrant,
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
    },

    // Agents, by the coordinator that serves them.
    Attach {
        incarnation: u64,
        coordinator: String,
        address: String,
        epoch_seen: u16,
    },
    /// The session ended; `goodbye` says that the agent itself ended it and has no call in flight.
    Detach {
        incarnation: u64,
        goodbye: bool,
    },
    /// No sign for `limits::AGENT_LOST_AFTER`.
    AgentLost {
        agent: String,
        incarnation: u64,
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
    /// When these runners of the agent were last seen, in wall time.
    RunnersSeen {
        runners: BTreeMap<String, i64>,
    },
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
    Agent { name: String },
    Runner { name: String, agent: String, labels: BTreeMap<String, String> },
    Operator { name: String, role: String },
    Coordinator { name: String },
}
