//! Rows of the coordinators' state. The engine keeps these structs in memory as they are stored.
//!
//! Times named `_ms` are wall time in milliseconds since the Unix epoch; times named `_at` and `_until` are milliseconds of
//! cluster life.

use std::collections::BTreeMap;
use std::sync::Arc;

use bincode::{Decode, Encode};

use super::assignment::{WireAssignment, WireCommit, WireFailure, WireInstance};
use super::command::{PipelineSource, TokenGrant};
use super::common::{WireIdentity, WireInstallation, WireReason, WireRun, WireStage};
use super::plan::WirePlan;
use super::release::WireRelease;
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
    /// Cold: written by `apply`, read by queries alone.
    pub const AUDIT: u8 = 32;
    /// Cold: runs that are done and left memory.
    pub const OLD_RUN: u8 = 33;
    /// Cold: releases that nothing in memory names any more.
    pub const OLD_RELEASE: u8 = 34;
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
    Token TOKEN; Revoked REVOKED; Request REQUEST; Quarantine QUARANTINE; Settle SETTLE; Operator OPERATOR; Audit AUDIT;
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Meta {
    pub cluster: String,
    pub epoch: u16,
    pub now_at: u64,
    /// Wall time is `now + offset`.
    pub offset_ms: i64,
    /// The last fence, assignment and run sequence that were given out.
    pub fence: u64,
    pub assignment: u64,
    pub sequence: u64,
    pub audit_seq: u64,
    pub audit_hash: [u8; 32],
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Member {
    pub name: String,
    pub raft_id: u64,
    pub address: String,
    pub certificate_sha256: [u8; 32],
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Alarm {
    pub member: String,
    pub code: String,
    pub message: String,
    pub since_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TargetRow {
    pub target: WireTarget,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Pipeline {
    pub name: String,
    pub source: Option<PipelineSource>,
    /// Number of its last run.
    pub runs: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Run {
    pub id: WireRun,
    /// Order of creation among all runs.
    pub sequence: u64,
    pub kind: String,
    pub status: String,
    /// Shared: a plan is the large part of a run and never changes.
    pub plan: Arc<WirePlan>,
    pub by: String,
    pub reason: String,
    pub created_ms: i64,
    pub finished_ms: Option<i64>,
    pub reasons: Vec<WireReason>,
    pub stages: Vec<Stage>,
    pub rollback: Option<Rollback>,
    pub caused_by: Option<WireRun>,
    /// Who canceled it; it waits for what is in flight.
    pub canceled_by: Option<String>,
    /// Revision of its last change.
    pub revision: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Rollback {
    pub cause: String,
    pub to: Option<[u8; 32]>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Stage {
    pub environment: String,
    /// `None`: the approval of the environment.
    pub target: Option<String>,
    pub status: String,
    pub attempt: u32,
    pub started_ms: Option<i64>,
    pub finished_ms: Option<i64>,
    pub reasons: Vec<WireReason>,
    /// Cumulative sizes, fixed when the stage starts.
    pub waves: Vec<u32>,
    /// The wave under way or next, from 0.
    pub wave: u32,
    pub done: u32,
    pub total: u32,
    pub failed: Vec<String>,
    pub failure: Option<WireFailure>,
    pub instances: Vec<WireInstance>,
    pub assignment: Option<u64>,
    pub fence: u64,
    /// The last good release when the stage began, or what ran healthy: where it goes back to.
    pub restore: Option<[u8; 32]>,
    /// What the stage is doing beyond its own release.
    pub rollback_target: Option<RollbackTarget>,
    /// Why it goes back; stays when it has.
    pub rollback_reason: Option<WireReason>,
    /// Stopped by a fault until somebody resumes it.
    pub paused: Option<WireFailure>,
    /// The next wave starts not before this moment of cluster life.
    pub pause_until: Option<u64>,
    /// Of an approval: when it expires.
    pub expires_ms: Option<i64>,
    pub decision: Option<Decision>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum RollbackTarget {
    Restore([u8; 32]),
    /// There is nothing to go back to: the release is stopped.
    Stop,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Decision {
    pub option: String,
    pub by: String,
    pub comment: String,
    pub at_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Installation {
    pub id: WireInstallation,
    pub environment: String,
    /// What the last successful stage brought, by which run, since when.
    pub current: Option<[u8; 32]>,
    pub run: Option<WireRun>,
    pub since_ms: i64,
    /// Releases that were healthy and baked, the last one first.
    pub stable_releases: Vec<[u8; 32]>,
    /// What ran healthy before `current`, baked or not: better than nothing when there is no good release.
    pub before: Option<[u8; 32]>,
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
    /// Hosts that are not healthy, by the agent's last verdict.
    pub down: u32,
    /// Some hosts have another release than `current`, because the run that brought it ended early.
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
    /// Why the run ended.
    pub cause: String,
}

/// An assignment that is over.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Ended {
    pub agent: String,
    pub assignment: u64,
    pub fence: u64,
    /// Its result was taken; otherwise it was superseded.
    pub taken: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ReleaseRow {
    pub digest: [u8; 32],
    pub release: Arc<WireRelease>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AssignmentRow {
    pub agent: String,
    pub assignment: WireAssignment,
    pub cancel: bool,
    pub stage: WireStage,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Agent {
    pub name: String,
    /// SHA-256 of its public key, once enrolled.
    pub key: Option<[u8; 32]>,
    pub incarnation: Option<u64>,
    /// Lives that were replaced; they can't come back.
    pub superseded: Vec<u64>,
    /// The coordinator that serves it.
    pub attached: Option<String>,
    pub address: Option<String>,
    pub lost: bool,
    /// Calls of this life may be in flight until then, now that it is not attached; none after a goodbye.
    pub calls_until: Option<u64>,
    /// Calls of an earlier life may be in flight until then: assignments wait.
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
    pub used: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Revoked {
    pub key: [u8; 32],
    pub at_ms: i64,
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
    Run(WireRun),
    Decided { run: WireRun, stage: Option<WireStage>, decision: String, by: String },
    Applied { targets: Vec<String>, pipelines: Vec<String> },
    Token { name: String, expires_ms: i64 },
    Rejected { code: u16, message: String },
    Nothing,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Quarantine {
    pub pipeline: String,
    pub plan: [u8; 32],
    pub run: WireRun,
    pub cause: String,
    pub at_ms: i64,
}

/// A run that has to be settled.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Settle {
    pub run: WireRun,
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
