//! JSON documents that users' programs read (INTERFACE 4), as serde structs: written by coordinators, read by
//! the CLI for its tables. Fields may be added and never change their meaning; unknown ones are ignored.
//!
//! Times are RFC 3339 UTC with milliseconds, as text; durations are integers with the suffix `_ms`; fences
//! are strings; statuses are snake_case.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A document that names its own schema.
pub trait Document: Serialize + for<'a> Deserialize<'a> {
    const SCHEMA: &'static str;

    /// The JSON text with `schema` as its first field.
    fn to_json(&self) -> String {
        let mut object = serde_json::Map::new();
        object.insert("schema".to_owned(), Self::SCHEMA.into());
        if let serde_json::Value::Object(fields) =
            serde_json::to_value(self).expect("documents are plain data")
        {
            object.extend(fields);
        }
        serde_json::Value::Object(object).to_string()
    }

    /// Reads the JSON text of a document of this schema.
    fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

macro_rules! document {
    ($($type:ident $schema:literal;)*) => {
        $(impl Document for $type { const SCHEMA: &'static str = $schema; })*
    };
}

document! {
    RunDocument "trimaran.run/v1";
    RunList "trimaran.runs/v1";
    Why "trimaran.why/v1";
    StatusDocument "trimaran.status/v1";
    History "trimaran.history/v1";
    PlanDocument "trimaran.plan/v1";
    TargetList "trimaran.targets/v1";
    AgentList "trimaran.agents/v1";
    RunnerList "trimaran.runners/v1";
    ClusterStatus "trimaran.cluster/v1";
    AuditList "trimaran.audit/v1";
    GrantDocument "trimaran.grant/v1";
    TokenDocument "trimaran.token/v1";
    Applied "trimaran.applied/v1";
    Stored "trimaran.stored/v1";
    SealingKey "trimaran.sealing-key/v1";
    SourceDocument "trimaran.source/v1";
    Decision "trimaran.decision/v1";
    MemberChanged "trimaran.member_changed/v1";
    ClusterResumed "trimaran.cluster_resumed/v1";
    ClusterFinalized "trimaran.cluster_finalized/v1";
    RunnersChanged "trimaran.runners-changed/v1";
    BackupDocument "trimaran.backup/v1";
    BackupList "trimaran.backups/v1";
}

/// `run show`, and `deploy --detach` of the new run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunDocument {
    pub run: String,
    pub pipeline: String,
    pub kind: String,
    pub status: String,
    pub plan_digest: String,
    pub by: String,
    pub artifacts: Vec<ArtifactDocument>,
    pub created_at: String,
    pub finished_at: Option<String>,
    /// Why the run as a whole does not move: only while it waits for another run.
    pub reasons: Vec<ReasonDocument>,
    pub stages: Vec<StageDocument>,
    pub rollback: Option<RollbackDocument>,
    /// Of a run of kind rollback: the one whose release it takes back.
    pub caused_by: Option<String>,
    pub revision: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArtifactDocument {
    pub name: String,
    pub version: String,
    pub sha256: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageDocument {
    pub name: String,
    pub environment: String,
    pub target: Option<String>,
    pub status: String,
    pub attempt: u32,
    pub fence: Option<String>,
    pub wave: Option<WaveDocument>,
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
    pub reasons: Vec<ReasonDocument>,
    pub instances: Vec<InstanceDocument>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WaveDocument {
    pub number: u32,
    pub of: u32,
    #[serde(rename = "upto")]
    pub target_count: u32,
    pub done: u32,
    pub total: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReasonDocument {
    pub code: String,
    pub message: String,
    pub since: String,
    pub clears: String,
    pub who: Vec<String>,
    pub next_check: Option<String>,
    /// What a human has to do before the command of `clears` helps.
    #[serde(default)]
    pub first: Option<String>,
    /// The reason code of the failure that is behind this one.
    #[serde(default)]
    pub cause: Option<String>,
    /// The instance that failed.
    #[serde(default)]
    pub instance: Option<String>,
    /// The other run that this one waits for.
    #[serde(default)]
    pub run: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceDocument {
    pub name: String,
    pub status: String,
    pub release: Option<String>,
    pub code: Option<String>,
    pub message: String,
    /// Since when a live instance has this status and message, as the coordinator saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The state that a job on Flink began from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateDocument>,
    /// What was sent to the platform, as commands that do the same by hand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
}

/// The state of a job: `kind` is `savepoint`, `checkpoint` or `none`, which has no path and no time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateDocument {
    pub kind: String,
    pub path: Option<String>,
    /// When it was triggered.
    pub at: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RollbackDocument {
    pub cause: String,
    /// Release digest gone back to, `null` when there was none.
    pub to: Option<String>,
    /// The version of that release, `null` when it is not known any more.
    #[serde(default)]
    pub version: Option<String>,
}

/// `run list`: runs without their stages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunList {
    pub runs: Vec<RunSummary>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    pub run: String,
    pub pipeline: String,
    pub kind: String,
    pub status: String,
    pub plan_digest: String,
    pub by: String,
    pub artifacts: Vec<ArtifactDocument>,
    pub created_at: String,
    pub finished_at: Option<String>,
    pub rollback: Option<RollbackDocument>,
    pub caused_by: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Why {
    pub run: String,
    pub status: String,
    pub stages: Vec<WhyStage>,
    /// What came or comes back, and why.
    #[serde(default)]
    pub rollback: Option<RollbackDocument>,
    /// The run whose release a run of kind rollback leaves.
    #[serde(default)]
    pub caused_by: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WhyStage {
    pub name: String,
    pub status: String,
    pub reasons: Vec<ReasonDocument>,
}

/// `status` and `installation list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusDocument {
    pub installations: Vec<InstallationDocument>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstallationDocument {
    pub pipeline: String,
    pub environment: String,
    pub target: String,
    pub release: Option<String>,
    pub version: Option<String>,
    pub sha256: Option<String>,
    pub since: Option<String>,
    pub health: String,
    /// Why it is not healthy, or why its hosts have different releases: a reason code and its words. Null when
    /// there is nothing to say.
    #[serde(default)]
    pub code: Option<String>,
    #[serde(default)]
    pub message: Option<String>,
    pub run: Option<String>,
    /// The run brought the release by rolling back to it.
    #[serde(default)]
    pub by_rollback: bool,
    /// Hosts in all, on the release that was deployed last, and serving on any.
    pub desired: u32,
    pub updated: u32,
    pub ready: u32,
    pub available: u32,
    /// Hosts of the target that are not out of it, those whose runner is not connected, and those that have another release.
    #[serde(default)]
    pub members: u32,
    #[serde(default)]
    pub lost: u32,
    #[serde(default)]
    pub diverged: u32,
    /// The run that works on it now, or waits in the middle of it.
    #[serde(default)]
    pub in_progress: Option<String>,
    /// Since when its agent can't see the platform: everything else is as old. Null while it is seen.
    #[serde(default)]
    pub blind_since: Option<String>,
    /// Until when a failure still rolls back.
    pub bakes_until: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct History {
    pub entries: Vec<HistoryEntry>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    pub run: String,
    pub kind: String,
    pub environment: String,
    pub target: String,
    pub release: String,
    pub version: String,
    pub status: String,
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
    pub by: String,
    pub cause: Option<String>,
    /// The later run of kind rollback that took the release back, as after a failure in its bake.
    #[serde(default)]
    pub rolled_back_by: Option<String>,
    /// The state that the last job of the entry began from, on Flink: after a rollback that of the release that was
    /// restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateDocument>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanDocument {
    pub pipeline: String,
    pub plan_digest: String,
    pub artifacts: Vec<ArtifactDocument>,
    pub stages: Vec<PlanStage>,
    pub gates: Vec<PlanGate>,
    pub way_back: Vec<WayBack>,
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanStage {
    pub name: String,
    /// `create`, `update`, `none`.
    pub change: String,
    /// Version and release that run now; `null` for a first deploy.
    pub from: Option<PlanRelease>,
    pub to: PlanRelease,
    pub waves: Vec<PlanWave>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanRelease {
    pub release: String,
    pub version: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanWave {
    pub number: u32,
    /// Instances that run the release when the wave is done.
    #[serde(rename = "upto")]
    pub target_count: u32,
    pub of: u32,
    pub max_unavailable: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanGate {
    pub stage: String,
    pub kind: String,
    pub options: Vec<String>,
    pub timeout_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WayBack {
    pub stage: String,
    /// `reversible`, `compensated` (a first release is stopped) or `point_of_no_return`.
    pub kind: String,
    pub to: Option<PlanRelease>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetList {
    pub targets: Vec<TargetDocument>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetDocument {
    pub name: String,
    pub agent: String,
    pub class: String,
    pub platform: String,
    pub select: BTreeMap<String, String>,
    /// Of a target of Kubernetes.
    #[serde(default)]
    pub namespace: Option<String>,
    pub parallel: u32,
    pub hosts: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentList {
    pub agents: Vec<MachineDocument>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunnerList {
    pub runners: Vec<MachineDocument>,
}

/// An agent or a runner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MachineDocument {
    pub name: String,
    /// `connected`, `disconnected`, `lost` or `never_connected`.
    pub state: String,
    pub address: Option<String>,
    pub incarnation: Option<String>,
    pub last_seen: Option<String>,
    pub labels: BTreeMap<String, String>,
    /// The kinds of targets that an agent has drivers for; none of a runner.
    #[serde(default)]
    pub platforms: Vec<String>,
    /// The agent of a runner.
    pub agent: Option<String>,
    /// What the host of a runner is, as it says itself: `os`, `arch`, `kernel`, `boot`, `zone`.
    #[serde(default)]
    pub facts: BTreeMap<String, String>,
    /// A user took the runner out of its targets, or wants its services ended too.
    #[serde(default)]
    pub cordoned: bool,
    #[serde(default)]
    pub drained: bool,
    /// What an agent's own port refused, while it is connected.
    #[serde(default)]
    pub refused: Option<RefusedDocument>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterStatus {
    pub cluster_id: String,
    pub epoch: u16,
    /// 16 hexadecimal digits; others after every restore and recovery.
    pub incarnation: String,
    /// It was restored from a backup and orders nothing before it is resumed.
    #[serde(default)]
    pub observing: bool,
    pub leader: Option<String>,
    pub term: u64,
    pub revision: u64,
    /// Milliseconds of cluster time.
    pub now: u64,
    pub wall: String,
    /// What the cluster does follows it, and not the builds of its coordinators.
    pub feature_level: u16,
    /// What `cluster finalize` would raise it to; absent when it has what the newest build brings.
    pub next_feature_level: Option<NextLevelDocument>,
    pub members: Vec<MemberDocument>,
    pub alarms: Vec<AlarmDocument>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NextLevelDocument {
    pub level: u16,
    /// The coordinators that do not support it: it can't be raised while there are any.
    pub lacking: Vec<String>,
}

/// The feature levels that a build supports, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LevelsDocument {
    pub min: u16,
    pub max: u16,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberDocument {
    pub name: String,
    pub role: String,
    pub address: String,
    pub applied: u64,
    pub hash: HashDocument,
    pub first_index: u64,
    pub snapshot_index: u64,
    pub disk_free: u64,
    pub state: String,
    pub refused: RefusedDocument,
    /// As it said at its last start.
    pub feature_levels: LevelsDocument,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HashDocument {
    pub revision: u64,
    pub value: String,
}

/// What a port refused: connections and stray datagrams before they became sessions, and frames in sessions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RefusedDocument {
    pub handshakes: u64,
    pub frames: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlarmDocument {
    pub code: String,
    pub message: String,
    pub since: String,
    pub clears: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditList {
    pub records: Vec<AuditDocument>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditDocument {
    pub seq: u64,
    pub at: String,
    pub identity: String,
    pub verb: String,
    pub object: String,
    pub outcome: String,
    pub hash: String,
}

/// What the cluster says of a token that it knows by its hash; whoever made it adds the text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GrantDocument {
    pub name: String,
    pub expires_at: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenDocument {
    pub name: String,
    pub token: String,
    pub expires_at: String,
}

/// What `apply` changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    pub targets: Vec<String>,
    pub pipelines: Vec<String>,
}

/// The public key of a target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SealingKey {
    pub target: String,
    /// In hexadecimal digits.
    pub key: String,
}

/// How much of an upload is stored: all of its parts when nothing more has to be sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    pub parts: u32,
}

/// The stored file of a pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceDocument {
    pub pipeline: String,
    pub file: String,
    pub text: String,
}

/// What `runner remove|cordon|uncordon|drain|label` did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunnersChanged {
    pub runners: Vec<String>,
    /// `removed`, `cordoned`, `uncordoned`, `drained` or `labeled`.
    pub change: String,
}

/// What `approve`, `cancel` and `resume` did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    pub run: String,
    pub stage: Option<String>,
    /// `promote`, `canceled`, `resumed` …
    pub decision: String,
    pub by: String,
}

/// What `cluster promote|remove|transfer` did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberChanged {
    pub name: String,
    /// `promoted`, `removed` or `leads`.
    pub change: String,
    /// Coordinators with a vote from now on, and those without.
    pub voters: Vec<String>,
    pub learners: Vec<String>,
}

/// What `cluster resume` did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterResumed {
    pub epoch: u16,
    pub incarnation: String,
}

/// What `cluster finalize` did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterFinalized {
    pub feature_level: u16,
}

/// A backup whose every byte was checked: `cluster backup create|verify`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackupDocument {
    pub file: String,
    pub cluster_id: String,
    pub incarnation: String,
    pub epoch: u16,
    pub revision: u64,
    /// The cluster's wall time at the revision's view.
    pub at: String,
    /// Who made it.
    pub coordinator: String,
    pub build: String,
    pub rows: u64,
    pub bytes: u64,
    /// Of the whole file, as `sha256sum` prints it.
    pub sha256: String,
    /// As in `cluster status` of every member at this revision.
    pub hash: HashDocument,
}

/// `cluster backup list`, the newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackupList {
    pub backups: Vec<BackupListed>,
}

/// A file that begins as a backup does; what follows is not checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackupListed {
    pub file: String,
    pub cluster_id: String,
    pub incarnation: String,
    pub epoch: u16,
    pub revision: u64,
    pub at: String,
    pub coordinator: String,
    pub bytes: u64,
}

/// One line of `watch -o jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventDocument {
    pub schema: String,
    pub revision: u64,
    /// For `--since-revision`; none for live progress and for the state after `compacted`.
    #[serde(default)]
    pub position: Option<String>,
    pub at: String,
    /// `run`, `stage`, `instance`, `installation`, `agent`, `compacted`.
    pub event: String,
    pub run: Option<String>,
    pub stage: Option<String>,
    pub instance: Option<String>,
    pub status: Option<String>,
    pub message: Option<String>,
    pub reasons: Vec<ReasonDocument>,
}

/// One line of `logs -o jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogDocument {
    pub at: String,
    pub host: String,
    pub stream: String,
    /// The release whose process wrote it, `null` when that is not known.
    #[serde(default)]
    pub release: Option<String>,
    pub line: String,
}

/// RFC 3339 in UTC with milliseconds, of milliseconds since the Unix epoch (years 1970 to 9999).
pub fn rfc3339(wall: trimaran_model::time::WallTime) -> String {
    // Beyond what can be written is shown as the latest time that can.
    let shown = jiff::Timestamp::from_millisecond(wall.0.max(0)).unwrap_or(jiff::Timestamp::MAX);
    format!("{shown:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use trimaran_model::time::WallTime;

    #[test]
    fn times_print_as_rfc_3339() {
        assert_eq!(rfc3339(WallTime(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(WallTime(951_782_399_999)), "2000-02-28T23:59:59.999Z");
        assert_eq!(rfc3339(WallTime(951_782_400_000)), "2000-02-29T00:00:00.000Z");
        assert_eq!(rfc3339(WallTime(1_795_499_425_123)), "2026-11-24T05:50:25.123Z");
        assert_eq!(rfc3339(WallTime(4_102_444_799_000)), "2099-12-31T23:59:59.000Z");
    }

    #[test]
    fn a_document_starts_with_its_schema_and_ignores_new_fields() {
        let json = Applied { targets: vec!["a".into()], pipelines: vec![] }.to_json();
        assert!(json.starts_with(r#"{"schema":"trimaran.applied/v1","#), "{json}");
        let newer = json.replace("}", r#","later":1}"#);
        assert_eq!(Applied::from_json(&newer).expect("readable").targets, ["a"]);
    }
}
