//! What the machine asks of its platform, and what it is answered: the vocabulary of Flink's REST API, made exact.
//!
//! Deliberately not here: how calls become requests and answers become replies (`rest`).

use trimaran_model::action::Failure;
use trimaran_model::release::Artifact;
use trimaran_model::time::{Millis, WallTime};

use crate::files::{FilePaths, ShippedFiles};
use crate::id::FlinkId;
use crate::ledger::{JarFrom, RunRequest};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// The cluster's version and slots. Answer: `Cluster`.
    Cluster,
    /// Bring a jar to the JobManager under this name, and the files of its release, unless it has them; `is_fresh`: files in
    /// any case. Answer: `Uploaded` or `Refused`.
    Upload { name: String, jar: Artifact, files: Option<ShippedFiles>, is_fresh: bool },
    /// What would become of a run, without running it. Runs the program's `main`. Answer: `Planned` or `Refused`.
    Plan(RunRequest),
    /// All jobs that the JobManager knows. Answer: `Jobs`.
    Jobs,
    /// A running job's tasks, with the state that each holds in its last checkpoint, and its checkpointing.
    /// Answer: `Topology` or `Gone`.
    Topology { job: FlinkId },
    /// Answer: `Sampled`.
    Sample { job: FlinkId },
    /// What a job has processed since it was run, over all its restarts, and its last checkpoint. Answer: `Measured`.
    Measure { job: FlinkId },
    /// How many checkpoints of a job have completed and failed. Answer: `Counted`.
    Checkpoints { job: FlinkId },
    /// The last completed checkpoint. Answer: `Checkpoint`.
    Checkpoint { job: FlinkId },
    /// Why a job failed. Answer: `Exception`.
    Exception { job: FlinkId },
    /// All failures of a job that the JobManager remembers, whole. Answer: `Failures`.
    Failures { job: FlinkId },
    /// Answer: `Accepted`.
    Stop { job: FlinkId, trigger: FlinkId, directory: String },
    /// What became of a stop, and of its job thereafter. Answer: `Stop`.
    StopStatus { job: FlinkId, trigger: FlinkId },
    /// Answer: `Accepted`.
    Cancel { job: FlinkId },
    /// Answer: `Started`, `Duplicate` or `Refused`.
    /// `at`: the JobManager that took the uploads is asked first.
    Run { job: FlinkId, request: RunRequest, at: Option<String> },
    /// The savepoints in a directory. Answer: `Savepoints`.
    List { directory: String },
}

/// What is answered to a [`Call`]. Each may also be answered with `Unreachable` or `Unavailable`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Cluster(Cluster),
    Uploaded {
        jar: String,
        from: JarFrom,
        files: FilePaths,
        /// The JobManager that has them.
        at: String,
    },
    Planned(Vec<Vertex>),
    Jobs {
        at: WallTime,
        jobs: Vec<JobOverview>,
    },
    Topology(Topology),
    Sampled(Sample),
    Measured(Measured),
    Counted(Option<CheckpointCounts>),
    Checkpoint(Option<CheckpointSeen>),
    Exception(Option<String>),
    Failures(Vec<FailureSeen>),
    Accepted,
    Stop {
        at: WallTime,
        trigger: TriggerState,
        job: Option<JobState>,
    },
    Started,
    Duplicate,
    Refused(Refusal),
    Savepoints(Vec<SavepointSeen>),
    /// The JobManager does not know the job.
    Gone,
    /// No JobManager has received it.
    Unreachable {
        message: String,
    },
    /// Nothing that can be used: none leads, or it answers with a fault of its own.
    Unavailable {
        message: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    pub version: String,
    /// Where savepoints of this target belong, without a slash at its end.
    pub savepoints: String,
    /// How old what the JobManager shows of a job may be.
    pub refresh_interval: Millis,
    pub slots_available: u32,
    pub accepts_jars: bool,
    /// What the file system of the savepoints has left, in bytes; `None` where this agent can't know.
    pub savepoint_bytes_free: Option<u64>,
}

/// A task of a job, which is a chain of operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vertex {
    /// Derived by Flink from the uid of the first operator.
    pub id: String,
    /// The operators, in Flink's words.
    pub operators: Vec<String>,
    pub parallelism: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    pub name: String,
    pub vertices: Vec<Vertex>,
    /// Ids of vertices that hold state in the last completed checkpoint; `None` when there was none.
    pub stateful: Option<Vec<String>>,
    /// What the last completed checkpoint has in all, in bytes; `None` when there was none.
    pub state_bytes: Option<u64>,
    /// `None`: the job makes no checkpoints.
    pub checkpointing: Option<Checkpointing>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpointing {
    pub timeout: Millis,
    /// Checkpoints stay when the job is canceled.
    pub retained: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobOverview {
    pub id: FlinkId,
    pub name: String,
    pub state: JobState,
    pub tasks: Option<Tasks>,
    /// When its state changed last.
    pub modified: WallTime,
}

/// As Flink names the states of a job. One that a later version adds is not terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobState {
    Running,
    Restarting,
    Finished,
    Failed,
    Canceled,
    /// Created, initializing, failing, cancelling, suspended, reconciling: on its way to another one.
    Between,
}

impl JobState {
    /// Reads Flink's spelling.
    pub fn from_name(name: &str) -> Self {
        match name {
            "RUNNING" => Self::Running,
            "RESTARTING" => Self::Restarting,
            "FINISHED" => Self::Finished,
            "FAILED" => Self::Failed,
            "CANCELED" => Self::Canceled,
            _ => Self::Between,
        }
    }

    /// It never processes a record again.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Canceled)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Restarting => "RESTARTING",
            Self::Finished => "FINISHED",
            Self::Failed => "FAILED",
            Self::Canceled => "CANCELED",
            Self::Between => "in transition",
        }
    }
}

/// What the JobManager shows of a job at one moment. What it does not show is `None`: unknown, and no evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    pub at: WallTime,
    /// `None`: it does not know the job.
    pub state: Option<JobState>,
    pub tasks: Option<Tasks>,
    /// The newest first. The JobManager keeps the last 16.
    pub exceptions: Option<Vec<ExceptionSeen>>,
    pub checkpoints: Option<CheckpointCounts>,
    /// The job makes no checkpoints, as far as the JobManager says: it says the same of jobs that have ended.
    pub checkpointing_off: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tasks {
    pub running_or_finished: u32,
    pub total: u32,
}

impl Tasks {
    /// All of the job's tasks are at work, or done.
    pub fn all_run(self) -> bool {
        self.total > 0 && self.running_or_finished == self.total
    }
}

/// What a job has processed. Flink counts each attempt of a task, keeps the counts of those that have ended, and forgets them
/// with the JobManager. Counts of a task at work are some seconds old, counts of one that has ended are exact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    pub at: WallTime,
    /// As old as what the JobManager shows of a job; `None`: it does not know the job.
    pub state: Option<JobState>,
    /// Records that came to the last tasks, in which the sinks are; `None`: Flink does not show it, as of a job of one task.
    pub at_sinks: Option<u64>,
    /// Records that the first tasks, in which the sources are, have passed on; `None`: as above.
    pub at_sources: Option<u64>,
    /// There were more: attempts are missing whose counts are not kept any more.
    pub is_least: bool,
    /// How often a task was started again, at most.
    pub restarts: u32,
    pub last_checkpoint: Option<CheckpointSeen>,
    /// How often a state was restored, the one that the job began from included, and whether the last one was a savepoint.
    pub restored: Option<Restored>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    pub count: u64,
    pub is_savepoint: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExceptionSeen {
    pub at: WallTime,
    /// The innermost cause.
    pub cause: String,
}

/// A failure with its stack trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureSeen {
    pub at: WallTime,
    /// The task that failed, in Flink's words; none for a failure of the whole job.
    pub task: Option<String>,
    /// The TaskManager on which it ran.
    pub task_manager: Option<String>,
    pub stack_trace: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckpointCounts {
    pub completed: u64,
    pub failed: u64,
    pub last: Option<CheckpointSeen>,
    pub failure: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointSeen {
    /// Where it is; `None` when it is not kept outside of the JobManager.
    pub path: Option<String>,
    pub at: WallTime,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TriggerState {
    InProgress,
    /// Flink's `COMPLETED` with a location. Whether the job stopped is another question.
    Saved {
        path: String,
    },
    /// Flink's `COMPLETED` with a cause. `path`: a savepoint was made nevertheless.
    Failed {
        cause: String,
        path: Option<String>,
    },
    /// Flink's `COMPLETED` with a cause that says that it never began: not all tasks run at the moment. Nothing was
    /// written and nothing restarted, and it is refused until they do.
    NotReady {
        cause: String,
    },
    /// The JobManager does not know it: it never received it, or has forgotten it.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavepointSeen {
    pub path: String,
    /// It has its `_metadata`.
    pub is_complete: bool,
    pub modified: WallTime,
}

/// Why a jar was not accepted, planned or run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub kind: RefusalKind,
    pub failure: Failure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The JobManager does not have the jar any more, or a file that was uploaded for the job.
    UploadGone,
    /// The jar or the program: the same again gives the same.
    Jar,
    /// The state does not fit the program.
    State,
    /// The state is not there.
    StateMissing,
    /// Where the jar is fetched from, or the agent's own disk.
    Platform,
}
