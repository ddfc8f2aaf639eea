//! Between an operator and a coordinator: one request a stream.
//!
//! A reply is one frame, or for watches and logs a series that ends with the stream. What people's programs
//! read travels as a JSON document (`crate::document`), whose promise INTERFACE 4 makes.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use trimaran_model::error_code::ErrorCode;
use trimaran_model::event::EventPosition;
use trimaran_model::report::{Finding, Position, Report, Severity};

use super::command::{RunnerChange, WireMemberChange};
use super::release_platforms::{WireContent, WireFlinkFiles};
use super::runner::{LogLines, LogQuery};
use crate::codec::{Message, kind};

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct OperatorRequest {
    /// UUIDv7 for requests that change state; `None` for reads.
    pub request_id: Option<[u8; 16]>,
    pub body: OperatorBody,
}

impl Message for OperatorRequest {
    const KIND: u16 = kind::OPERATOR_REQUEST;
    const VERSION: u16 = 1;
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum OperatorBody {
    // Changes.
    Apply {
        files: Vec<SourceFile>,
    },
    Deploy(DeployRequest),
    Approve {
        run: String,
        stage: Option<String>,
        option: Option<String>,
        digest: Option<[u8; 32]>,
        comment: String,
    },
    Cancel {
        run: String,
    },
    Resume {
        run: String,
        stage: Option<String>,
    },
    Rollback {
        pipeline: String,
        environment: String,
        to: Option<String>,
        /// The version that has to run now; any when absent.
        from: Option<String>,
        /// The state that a job on Flink begins from, a `FlinkRestore`; as its release says when absent.
        restore_from: Option<String>,
        reason: String,
        /// `traffic`: where there is no earlier good release, what serves is ended too.
        overrides: Vec<String>,
    },
    /// A one-time token. Whoever asks has made it; its hash alone travels, and is all that the cluster ever keeps.
    Enroll {
        order: EnrollOrder,
        /// SHA-256 of the token's text.
        token_sha256: [u8; 32],
    },
    /// Changes enrolled runners.
    Runners {
        names: Vec<String>,
        change: RunnerChange,
    },
    // Reads: each answered with one document.
    Plan(DeployRequest),
    RollbackPlan {
        pipeline: String,
        environment: String,
        to: Option<String>,
    },
    RunShow {
        run: String,
    },
    RunList {
        pipeline: Option<String>,
        limit: u32,
    },
    Why {
        run: String,
        stage: Option<String>,
    },
    Status {
        pipeline: Option<String>,
    },
    History {
        pipeline: String,
        environment: Option<String>,
        limit: u32,
    },
    PipelineSource {
        pipeline: String,
    },
    TargetList {
        name: Option<String>,
    },
    AgentList,
    RunnerList,
    ClusterStatus,
    AuditList {
        since_seq: u64,
        limit: u32,
    },
    // Streams.
    Watch {
        run: Option<String>,
        since: Option<WirePosition>,
    },
    Logs {
        run: String,
        stage: Option<String>,
        host: Option<String>,
        /// Of the process before the one that runs.
        previous: bool,
        query: LogQuery,
    },
    /// A part of what a later `Deploy` names; answered by how many parts are stored, all when nothing has to be sent.
    PutContent {
        content: WireContent,
        part: u32,
        bytes: Vec<u8>,
    },
    /// The key to which secrets of a target are sealed: its agent answers.
    SealingKey {
        target: String,
    },
    /// What a deploy would change on the platforms of its targets: their agents compare.
    PlanDifference(DeployRequest),
    /// A read of what the asked coordinator has, however old: the document says as of when in `as_of`.
    Stale(StaleRead),
    /// A change: of the coordinators themselves.
    ChangeMember {
        name: String,
        change: WireMemberChange,
    },
    /// A read: the whole state at one revision, as the frames of a backup's file (`crate::backup`).
    Backup,
    /// A change: a cluster that was restored from a backup goes on.
    ResumeCluster {
        /// By what agents have seen when absent.
        epoch: Option<u16>,
    },
    /// A change: after a restore, what runs of an installation is right; its agent says what that is.
    Adopt {
        pipeline: String,
        environment: String,
        target: String,
    },
    /// A change: after a restore, what the cluster knows of an installation is right.
    Reapply {
        pipeline: String,
        environment: String,
        target: String,
    },
    /// A change: the feature level becomes the highest that every coordinator supports.
    Finalize,
}

/// The reads that are answered without a quorum.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum StaleRead {
    RunShow { run: String },
    RunList { pipeline: Option<String>, limit: u32 },
    Why { run: String, stage: Option<String> },
    Status { pipeline: Option<String> },
}

impl From<StaleRead> for OperatorBody {
    fn from(it: StaleRead) -> Self {
        match it {
            StaleRead::RunShow { run } => Self::RunShow { run },
            StaleRead::RunList { pipeline, limit } => Self::RunList { pipeline, limit },
            StaleRead::Why { run, stage } => Self::Why { run, stage },
            StaleRead::Status { pipeline } => Self::Status { pipeline },
        }
    }
}

impl OperatorBody {
    /// The same read without a quorum, where there is one.
    pub fn stale(self) -> Self {
        match self {
            Self::RunShow { run } => Self::Stale(StaleRead::RunShow { run }),
            Self::RunList { pipeline, limit } => Self::Stale(StaleRead::RunList { pipeline, limit }),
            Self::Why { run, stage } => Self::Stale(StaleRead::Why { run, stage }),
            Self::Status { pipeline } => Self::Stale(StaleRead::Status { pipeline }),
            other => other,
        }
    }

    /// Whether it changes nothing: it needs no request id and leaves no record. Total, so that a new request is one or
    /// the other.
    pub fn is_read(&self) -> bool {
        match self {
            Self::PutContent { .. } => false,
            Self::Apply { .. } | Self::Deploy(_) | Self::Approve { .. } | Self::Cancel { .. } => false,
            Self::Resume { .. } | Self::Rollback { .. } | Self::Enroll { .. } => false,
            Self::ChangeMember { .. } | Self::Runners { .. } => false,
            Self::ResumeCluster { .. } | Self::Adopt { .. } | Self::Reapply { .. } | Self::Finalize => false,
            Self::Plan(_) | Self::RollbackPlan { .. } | Self::RunShow { .. } | Self::RunList { .. } => true,
            Self::Why { .. } | Self::Status { .. } | Self::History { .. } | Self::PipelineSource { .. } => {
                true
            }
            Self::TargetList { .. } | Self::AgentList | Self::RunnerList | Self::ClusterStatus => true,
            Self::SealingKey { .. } | Self::PlanDifference(_) => true,
            Self::AuditList { .. } | Self::Watch { .. } | Self::Logs { .. } | Self::Stale(_) => true,
            Self::Backup => true,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SourceFile {
    pub name: String,
    pub text: Vec<u8>,
}

/// A plan or a deploy: of a pipeline that the cluster knows, or of a file, which is stored with the run.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct DeployRequest {
    pub pipeline: Option<String>,
    pub file: Option<SourceFile>,
    pub artifacts: BTreeMap<String, ArtifactVersion>,
    /// The manifests of a Kubernetes workload, rendered: uploaded before a deploy.
    pub manifests: Option<WireContent>,
    /// The files of a job on Flink: uploaded before a deploy, as one content.
    pub files: Option<WireFlinkFiles>,
    /// Refuse when the plan has another digest.
    pub plan_digest: Option<[u8; 32]>,
    /// `quarantine`, `window`, `freeze`, `restored`.
    pub overrides: Vec<String>,
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ArtifactVersion {
    pub version: String,
    pub sha256: Option<[u8; 32]>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum EnrollOrder {
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
    /// Runners whose names come from their hosts, so many of them within this time.
    Runners {
        group: String,
        agent: String,
        labels: BTreeMap<String, String>,
        uses: u32,
        ttl_ms: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum OperatorReply {
    /// A document, and the revision of the state that it shows or made.
    Document {
        revision: u64,
        json: String,
    },
    Refused(Refusal),
    /// Of `Watch`: one event; the JSON of one line. Without a position it can't be resumed from.
    Event {
        position: Option<WirePosition>,
        json: String,
    },
    /// The next part of a document that is longer than one frame; the last one is a `Document`.
    Part(String),
    /// Of `Logs`.
    Logs(LogLines),
    /// Of `PlanDifference`: some lines about one target, in order; `missing`: why no more come. `code` is the `ReasonCode` of
    /// the target's agent for that, where it is the agent that says so.
    Difference {
        target: String,
        lines: Vec<String>,
        missing: Option<String>,
        code: Option<String>,
    },
    /// Of `Backup`: the next frame of the file, with its head.
    Backup(Vec<u8>),
}

impl Message for OperatorReply {
    const KIND: u16 = kind::OPERATOR_REPLY;
    const VERSION: u16 = 1;
}

/// A position among all events; see [`EventPosition`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct WirePosition {
    pub revision: u64,
    pub ordinal: u32,
}

impl From<EventPosition> for WirePosition {
    fn from(it: EventPosition) -> Self {
        Self { revision: it.revision, ordinal: it.ordinal }
    }
}

impl From<WirePosition> for EventPosition {
    fn from(it: WirePosition) -> Self {
        Self { revision: it.revision, ordinal: it.ordinal }
    }
}

/// An error for the user; `code` is of the catalogue in `trimaran_model::error_code`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Refusal {
    pub code: u16,
    pub message: String,
    pub cause: Option<String>,
    pub help: Option<String>,
    /// Every diagnostic of a file that was refused.
    pub diagnostics: Vec<WireDiagnostic>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireDiagnostic {
    pub code: u16,
    pub warning: bool,
    pub message: String,
    pub file: String,
    pub line: u32,
    pub column: u32,
    pub length: u32,
    pub help: String,
}

impl From<&Finding> for WireDiagnostic {
    fn from(it: &Finding) -> Self {
        Self {
            code: it.code.0,
            warning: it.severity == Severity::Warning,
            message: it.message.clone(),
            file: it.file.clone(),
            line: it.line,
            column: it.column,
            length: it.length,
            help: it.help.clone(),
        }
    }
}

impl From<WireDiagnostic> for Finding {
    fn from(it: WireDiagnostic) -> Self {
        Self {
            code: ErrorCode(it.code),
            severity: if it.warning { Severity::Warning } else { Severity::Error },
            message: it.message,
            file: it.file,
            line: it.line,
            column: it.column,
            length: it.length,
            help: it.help,
        }
    }
}

/// The position of a report is the one of its first error.
impl From<&Report> for Refusal {
    fn from(it: &Report) -> Self {
        Self {
            code: it.code.0,
            message: it.message.clone(),
            cause: it.cause.clone(),
            help: it.help.clone(),
            diagnostics: it.findings.iter().map(WireDiagnostic::from).collect(),
        }
    }
}

impl From<Refusal> for Report {
    fn from(it: Refusal) -> Self {
        let findings: Vec<Finding> = it.diagnostics.into_iter().map(Finding::from).collect();
        let first = findings.iter().find(|it| it.severity == Severity::Error);
        let position =
            first.map(|it| Box::new(Position { file: it.file.clone(), line: it.line, column: it.column }));
        Self {
            code: ErrorCode(it.code),
            message: it.message,
            cause: it.cause,
            help: it.help,
            position,
            findings,
        }
    }
}
