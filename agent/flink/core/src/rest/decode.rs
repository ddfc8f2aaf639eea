//! The fields of Flink's answers that are read. Others are ignored, so that a later version may add some.

use std::collections::BTreeMap;

use serde::Deserialize;
use trimaran_model::time::{Millis, WallTime};

use crate::call::{CheckpointSeen, Checkpointing, JobOverview, JobState, Tasks, Vertex};
use crate::id::FlinkId;

#[derive(Deserialize)]
pub(super) struct Config {
    #[serde(rename = "flink-version")]
    pub(super) version: String,
    #[serde(rename = "refresh-interval")]
    pub(super) refresh_interval: u64,
    pub(super) features: Features,
}

#[derive(Deserialize)]
pub(super) struct Features {
    #[serde(rename = "web-submit")]
    pub(super) web_submit: bool,
}

#[derive(Deserialize)]
pub(super) struct Overview {
    #[serde(rename = "slots-available")]
    pub(super) slots_available: u32,
}

#[derive(Deserialize)]
pub(super) struct Jars {
    pub(super) files: Vec<Jar>,
}

#[derive(Deserialize)]
pub(super) struct Jar {
    pub(super) id: String,
    pub(super) name: String,
}

#[derive(Deserialize)]
pub(super) struct Uploaded {
    pub(super) filename: String,
}

/// One line of the JobManager's configuration.
#[derive(Deserialize)]
pub(super) struct Setting {
    pub(super) key: String,
    pub(super) value: String,
}

#[derive(Deserialize)]
pub(super) struct Planned {
    pub(super) plan: Plan,
}

#[derive(Deserialize, Default)]
pub(super) struct Plan {
    #[serde(default)]
    pub(super) nodes: Vec<Node>,
}

#[derive(Deserialize)]
pub(super) struct Node {
    pub(super) id: String,
    #[serde(default)]
    pub(super) inputs: Vec<NodeInput>,
    #[serde(default)]
    parallelism: u32,
    #[serde(default)]
    description: String,
}

/// The node whose output it is.
#[derive(Deserialize)]
pub(super) struct NodeInput {
    pub(super) id: String,
}

impl From<Node> for Vertex {
    fn from(node: Node) -> Self {
        Self { id: node.id, operators: operators(&node.description), parallelism: node.parallelism }
    }
}

/// The names of chained operators. A plan draws a tree of them with line breaks (`a<br/>+- b<br/>`), a job joins them with
/// arrows (`a -> b`).
fn operators(text: &str) -> Vec<String> {
    let text = text.replace("<br/>", "\n").replace(" -> ", "\n").replace("&gt;", ">").replace("&lt;", "<");
    let bare = |line: &str| line.trim_matches([' ', ':', '+', '-', '|']).to_owned();
    text.lines().map(bare).filter(|name| !name.is_empty()).collect()
}

#[derive(Deserialize)]
pub(super) struct Jobs {
    pub(super) jobs: Vec<Job>,
}

#[derive(Deserialize)]
pub(super) struct Job {
    jid: String,
    name: String,
    state: String,
    #[serde(default)]
    tasks: Option<JobTasks>,
    #[serde(default, rename = "last-modification")]
    modified: i64,
}

#[derive(Deserialize)]
struct JobTasks {
    total: u32,
    #[serde(default)]
    running: u32,
    #[serde(default)]
    finished: u32,
}

impl From<JobTasks> for Tasks {
    fn from(tasks: JobTasks) -> Self {
        let running_or_finished = tasks.running + tasks.finished;
        Self { running_or_finished, total: tasks.total }
    }
}

impl Job {
    /// `None` for an id that is none.
    pub(super) fn overview(self) -> Option<JobOverview> {
        let id = FlinkId::parse(&self.jid)?;
        Some(JobOverview {
            id,
            name: self.name,
            state: JobState::from_name(&self.state),
            tasks: self.tasks.map(Into::into),
            modified: WallTime(self.modified),
        })
    }
}

#[derive(Deserialize)]
pub(super) struct Status {
    pub(super) status: String,
}

#[derive(Deserialize)]
pub(super) struct Detail {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) state: String,
    pub(super) vertices: Vec<DetailVertex>,
    #[serde(default)]
    pub(super) plan: Plan,
}

#[derive(Deserialize)]
pub(super) struct DetailVertex {
    id: String,
    name: String,
    pub(super) parallelism: u32,
    pub(super) tasks: TaskCounts,
}

impl From<DetailVertex> for Vertex {
    fn from(vertex: DetailVertex) -> Self {
        Self { id: vertex.id, operators: operators(&vertex.name), parallelism: vertex.parallelism }
    }
}

#[derive(Deserialize)]
pub(super) struct TaskCounts {
    #[serde(rename = "RUNNING", default)]
    pub(super) running: u32,
    #[serde(rename = "FINISHED", default)]
    pub(super) finished: u32,
}

/// A task of a job, with its parallel instances.
#[derive(Deserialize)]
pub(super) struct VertexDetail {
    pub(super) subtasks: Vec<SubtaskAttempt>,
}

/// One attempt of one instance of a task.
#[derive(Deserialize)]
pub(super) struct SubtaskAttempt {
    pub(super) subtask: u32,
    /// Counted from 0.
    pub(super) attempt: u32,
    #[serde(default)]
    pub(super) metrics: RecordCounts,
}

#[derive(Deserialize, Default)]
pub(super) struct RecordCounts {
    #[serde(rename = "read-records", default)]
    pub(super) read: u64,
    #[serde(rename = "write-records", default)]
    pub(super) written: u64,
}

#[derive(Deserialize)]
pub(super) struct Exceptions {
    #[serde(rename = "exceptionHistory")]
    pub(super) history: ExceptionHistory,
}

#[derive(Deserialize)]
pub(super) struct ExceptionHistory {
    pub(super) entries: Vec<ExceptionEntry>,
}

#[derive(Deserialize)]
pub(super) struct ExceptionEntry {
    pub(super) timestamp: i64,
    #[serde(default)]
    pub(super) stacktrace: String,
    #[serde(default, rename = "taskName")]
    pub(super) task_name: Option<String>,
    #[serde(default, rename = "taskManagerId")]
    pub(super) task_manager: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Checkpoints {
    pub(super) counts: Counts,
    #[serde(default)]
    pub(super) latest: Latest,
}

#[derive(Deserialize)]
pub(super) struct Counts {
    pub(super) restored: u64,
    pub(super) completed: u64,
    pub(super) failed: u64,
}

#[derive(Deserialize, Default)]
pub(super) struct Latest {
    pub(super) completed: Option<Completed>,
    pub(super) savepoint: Option<Completed>,
    pub(super) failed: Option<FailedCheckpoint>,
    pub(super) restored: Option<RestoredState>,
}

impl Latest {
    /// The newest checkpoint or savepoint that is complete.
    pub(super) fn last(self) -> Option<CheckpointSeen> {
        let both = self.completed.into_iter().chain(self.savepoint);
        both.map(CheckpointSeen::from).max_by_key(|it| it.at)
    }
}

#[derive(Deserialize)]
pub(super) struct RestoredState {
    #[serde(default)]
    pub(super) is_savepoint: bool,
}

#[derive(Deserialize)]
pub(super) struct Completed {
    pub(super) id: u64,
    external_path: Option<String>,
    trigger_timestamp: i64,
}

impl From<Completed> for CheckpointSeen {
    fn from(completed: Completed) -> Self {
        // What is not kept outside is named in brackets.
        let path = completed.external_path.filter(|path| !path.is_empty() && !path.starts_with('<'));
        Self { path, at: WallTime(completed.trigger_timestamp) }
    }
}

#[derive(Deserialize)]
pub(super) struct FailedCheckpoint {
    pub(super) failure_message: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct CheckpointDetails {
    pub(super) tasks: BTreeMap<String, CheckpointTask>,
}

#[derive(Deserialize)]
pub(super) struct CheckpointTask {
    pub(super) state_size: u64,
}

#[derive(Deserialize)]
pub(super) struct CheckpointConfig {
    timeout: u64,
    externalization: Externalization,
}

#[derive(Deserialize)]
struct Externalization {
    enabled: bool,
    delete_on_cancellation: bool,
}

impl From<CheckpointConfig> for Checkpointing {
    fn from(config: CheckpointConfig) -> Self {
        let Externalization { enabled, delete_on_cancellation } = config.externalization;
        Self { timeout: Millis(config.timeout), retained: enabled && !delete_on_cancellation }
    }
}

#[derive(Deserialize)]
pub(super) struct Trigger {
    pub(super) status: TriggerStatus,
    pub(super) operation: Option<Operation>,
}

#[derive(Deserialize)]
pub(super) struct TriggerStatus {
    pub(super) id: String,
}

#[derive(Deserialize)]
pub(super) struct Operation {
    pub(super) location: Option<String>,
    #[serde(rename = "failure-cause")]
    pub(super) failure_cause: Option<FailureCause>,
}

#[derive(Deserialize)]
pub(super) struct FailureCause {
    #[serde(rename = "stack-trace", default)]
    pub(super) stack_trace: String,
}

#[cfg(test)]
mod tests {
    use super::operators;

    #[test]
    fn chained_operators_of_a_plan_and_of_a_job_have_the_same_names() {
        let of_job = operators("counter -> out: Writer");
        assert_eq!(of_job, ["counter", "out: Writer"]);
        assert_eq!(operators("counter<br/>+- out: Writer<br/>"), of_job);
        assert_eq!(operators("counter<br/>:- out: Writer<br/>"), of_job);
    }
}
