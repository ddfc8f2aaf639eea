//! Calls as requests to Flink's REST API, and its answers as replies, without sending anything.
//!
//! An [`Exchange`] says which request comes next until it has a reply, so that one call may need several requests. Paths
//! and fields are those that 1.20 and 2.x share: `programArgsList`, never `programArgs`; `claimMode` is always
//! `NO_CLAIM`, since a claimed savepoint is deleted and can't be gone back to.
//!
//! What the API means is made exact here: `COMPLETED` is no success, a job that is unknown is a 404 or a 500, and the useful
//! part of an error is its last cause.
//!
//! Deliberately not here: sockets, addresses and credentials, the bytes of jars, directories.

mod cause;
mod curl;
mod decode;
mod measure;
mod message;
mod upload;

use serde_json::json;
use trimaran_model::release::FlinkRelease;
use trimaran_model::time::WallTime;

use message::{Unusable, get, is_unknown_job, post, unavailable};

pub use curl::curl;
pub use message::{Body, Method, Next, Request, Response};

use crate::call::{
    Call, CheckpointCounts, Cluster, ExceptionSeen, FailureSeen, JobState, Refusal, Reply, Sample, Tasks,
    Topology, TriggerState,
};
use crate::files::{self, FilePaths};
use crate::id::FlinkId;
use crate::ledger::{RunRequest, Start};

/// Exceptions that are asked for: one more than the JobManager keeps by default.
const EXCEPTIONS_MAX: u32 = 17;

/// One call in progress.
#[derive(Debug)]
pub struct Exchange {
    call: Call,
    /// Where savepoints of the target belong.
    savepoints: String,
    answers: Vec<Response>,
}

impl Exchange {
    /// `None` for a call that is none of the REST API.
    pub fn new(call: Call, savepoints: &str) -> Option<Self> {
        let savepoints = savepoints.trim_end_matches('/').to_owned();
        match call {
            Call::List { .. } => None,
            call => Some(Self { call, savepoints, answers: Vec::new() }),
        }
    }

    /// The first request, or the one that follows the answers so far.
    pub fn next(&mut self, answer: Option<Response>) -> Next {
        self.answers.extend(answer);
        match self.advance() {
            Ok(next) => next,
            Err(unusable) => Next::Done(unusable.into()),
        }
    }

    fn advance(&self) -> Result<Next, Unusable> {
        let answers = self.answers.as_slice();
        match &self.call {
            Call::Cluster => cluster(&self.savepoints, answers),
            Call::Upload { name, jar, files, is_fresh } => {
                let files = files.as_ref();
                upload::upload(&upload::Wanted { name, jar, files, is_fresh: *is_fresh }, answers)
            }
            Call::Plan(request) => plan(request, answers),
            Call::Jobs => one(answers, get("/jobs/overview"), jobs),
            Call::Topology { job } => topology(*job, answers),
            Call::Sample { job } => sample(*job, answers),
            Call::Measure { job } => measure::measured(*job, answers),
            Call::Checkpoints { job } => one(answers, get(format!("/jobs/{job}/checkpoints")), |answer| {
                Ok(Reply::Counted(counts(answer)?))
            }),
            Call::Checkpoint { job } => one(answers, get(format!("/jobs/{job}/checkpoints")), |answer| {
                Ok(Reply::Checkpoint(counts(answer)?.and_then(|counts| counts.last)))
            }),
            Call::Exception { job } => one(answers, exceptions_of(*job), |answer| {
                let entries = exceptions(answer)?.unwrap_or_default();
                Ok(Reply::Exception(entries.into_iter().next().map(|entry| entry.cause)))
            }),
            Call::Failures { job } => one(answers, exceptions_of(*job), failures),
            Call::Stop { job, trigger, directory } => {
                let body = json!({
                    "targetDirectory": directory,
                    "drain": false,
                    "formatType": "CANONICAL",
                    "triggerId": trigger.to_string(),
                });
                one(answers, post(format!("/jobs/{job}/stop"), &body), accepted)
            }
            Call::StopStatus { job, trigger } => stop_status(*job, *trigger, answers),
            Call::Cancel { job } => {
                let path = format!("/jobs/{job}?mode=cancel");
                one(answers, Request { method: Method::Patch, path, body: Body::None }, accepted)
            }
            Call::Run { request, .. } => one(answers, run(request, "run"), started),
            Call::List { .. } => unreachable!("no exchange is made of it"),
        }
    }
}

/// The body of a run. `files`: where the JobManager has those of the release.
pub fn run_request(
    jar: String,
    job: FlinkId,
    release: &FlinkRelease,
    files: &FilePaths,
    from: &Start,
) -> RunRequest {
    let mut body = json!({
        "jobId": job.to_string(),
        "programArgsList": release.job.args,
        "flinkConfiguration": release.job.config,
        "allowNonRestoredState": release.job.upgrade.allow_non_restored_state,
        "entryClass": release.job.entry_class,
    });
    files::add_to(&mut body, files);
    if let Some(parallelism) = release.job.parallelism {
        body["parallelism"] = json!(parallelism);
    }
    if let Some(path) = from.path() {
        body["savepointPath"] = json!(path);
        body["claimMode"] = json!("NO_CLAIM");
    }
    RunRequest { jar, body: body.to_string() }
}

fn run(request: &RunRequest, verb: &str) -> Request {
    let path = format!("/jars/{}/{verb}", request.jar);
    Request { method: Method::Post, path, body: Body::Json(request.body.clone()) }
}

fn exceptions_of(job: FlinkId) -> Request {
    get(format!("/jobs/{job}/exceptions?maxExceptions={EXCEPTIONS_MAX}"))
}

/// A call of one request.
fn one(
    answers: &[Response],
    request: Request,
    read: impl FnOnce(&Response) -> Result<Reply, Unusable>,
) -> Result<Next, Unusable> {
    match answers {
        [] => Ok(Next::Send(request)),
        [answer, ..] => read(answer).map(Next::Done),
    }
}

fn cluster(savepoints: &str, answers: &[Response]) -> Result<Next, Unusable> {
    let [config, overview, ..] = answers else {
        let path = if answers.is_empty() { "/config" } else { "/overview" };
        return Ok(Next::Send(get(path)));
    };
    let config: decode::Config = config.read()?;
    let overview: decode::Overview = overview.read()?;
    Ok(Next::Done(Reply::Cluster(Cluster {
        version: config.version,
        savepoints: savepoints.to_owned(),
        refresh_interval: trimaran_model::time::Millis(config.refresh_interval),
        slots_available: overview.slots_available,
        accepts_jars: config.features.web_submit,
        // No JobManager knows.
        savepoint_bytes_free: None,
    })))
}

fn plan(request: &RunRequest, answers: &[Response]) -> Result<Next, Unusable> {
    one(answers, run(request, "plan"), |answer| {
        if !answer.is_success() {
            return Err(refused(answer));
        }
        let planned: decode::Planned = answer.read()?;
        Ok(Reply::Planned(planned.plan.nodes.into_iter().map(Into::into).collect()))
    })
}

fn jobs(answer: &Response) -> Result<Reply, Unusable> {
    let list: decode::Jobs = answer.read()?;
    Ok(Reply::Jobs { at: answer.at, jobs: list.jobs.into_iter().filter_map(|job| job.overview()).collect() })
}

fn topology(job: FlinkId, answers: &[Response]) -> Result<Next, Unusable> {
    let (detail, config, checkpoints) = match answers {
        [] => return Ok(Next::Send(get(format!("/jobs/{job}")))),
        [detail] if is_unknown_job(detail) => return Ok(Next::Done(Reply::Gone)),
        [_] => return Ok(Next::Send(get(format!("/jobs/{job}/checkpoints/config")))),
        [_, _] => return Ok(Next::Send(get(format!("/jobs/{job}/checkpoints")))),
        [detail, config, checkpoints, ..] => (detail, config, checkpoints),
    };
    let last = if checkpoints.is_success() {
        checkpoints.read::<decode::Checkpoints>()?.latest.completed.map(|it| it.id)
    } else {
        None
    };
    let state = match (last, answers.get(3)) {
        (None, _) => None,
        (Some(id), None) => {
            return Ok(Next::Send(get(format!("/jobs/{job}/checkpoints/details/{id}"))));
        }
        (Some(_), Some(details)) => state_in(details),
    };
    let (stateful, state_bytes) = state.unzip();
    let checkpointing = match config.status {
        404 => None,
        _ => Some(config.read::<decode::CheckpointConfig>()?.into()),
    };
    let detail: decode::Detail = detail.read()?;
    let name = detail.name.clone();
    let vertices = detail.vertices.into_iter().map(Into::into).collect();
    Ok(Next::Done(Reply::Topology(Topology { name, vertices, stateful, state_bytes, checkpointing })))
}

/// The vertices that hold state, and how much they hold. A checkpoint that was replaced meanwhile says nothing.
fn state_in(details: &Response) -> Option<(Vec<String>, u64)> {
    let details: decode::CheckpointDetails = details.read().ok()?;
    let bytes = details.tasks.values().fold(0, |sum: u64, task| sum.saturating_add(task.state_size));
    let holds = |(id, task): (String, decode::CheckpointTask)| (task.state_size > 0).then_some(id);
    Some((details.tasks.into_iter().filter_map(holds).collect(), bytes))
}

/// The state of a job; `None`: it is not known.
fn job_state(answer: &Response) -> Result<Option<JobState>, Unusable> {
    if is_unknown_job(answer) {
        return Ok(None);
    }
    let status: decode::Status = answer.read()?;
    Ok(Some(JobState::from_name(&status.status)))
}

fn exceptions(answer: &Response) -> Result<Option<Vec<ExceptionSeen>>, Unusable> {
    if is_unknown_job(answer) {
        return Ok(None);
    }
    let history: decode::Exceptions = answer.read()?;
    let seen = |entry: decode::ExceptionEntry| ExceptionSeen {
        at: WallTime(entry.timestamp),
        cause: cause::of_stack_trace(&entry.stacktrace),
    };
    Ok(Some(history.history.entries.into_iter().map(seen).collect()))
}

/// Failures with their stack traces, the oldest first.
fn failures(answer: &Response) -> Result<Reply, Unusable> {
    if is_unknown_job(answer) {
        return Ok(Reply::Failures(Vec::new()));
    }
    let history: decode::Exceptions = answer.read()?;
    let seen = |entry: decode::ExceptionEntry| FailureSeen {
        at: WallTime(entry.timestamp),
        task: entry.task_name,
        task_manager: entry.task_manager,
        stack_trace: entry.stacktrace,
    };
    Ok(Reply::Failures(history.history.entries.into_iter().rev().map(seen).collect()))
}

/// What is known of a job's checkpoints; `None`: nothing, or it makes none.
fn counts(answer: &Response) -> Result<Option<CheckpointCounts>, Unusable> {
    if is_unknown_job(answer) {
        return Ok(None);
    }
    let decode::Checkpoints { counts, mut latest } = answer.read()?;
    let failure = latest.failed.take().and_then(|failed| failed.failure_message);
    let decode::Counts { completed, failed, .. } = counts;
    Ok(Some(CheckpointCounts { completed, failed, last: latest.last(), failure }))
}

fn sample(job: FlinkId, answers: &[Response]) -> Result<Next, Unusable> {
    let (status, exceptions_answer, checkpoints, detail) = match answers {
        [] => return Ok(Next::Send(get(format!("/jobs/{job}/status")))),
        [_] => return Ok(Next::Send(exceptions_of(job))),
        [_, _] => return Ok(Next::Send(get(format!("/jobs/{job}/checkpoints")))),
        [_, _, _] => return Ok(Next::Send(get(format!("/jobs/{job}")))),
        [status, exceptions, checkpoints, detail, ..] => (status, exceptions, checkpoints, detail),
    };
    let state = job_state(status)?;
    let tasks = match is_unknown_job(detail) {
        true => None,
        false => Some(tasks(detail.read()?)),
    };
    Ok(Next::Done(Reply::Sampled(Sample {
        at: status.at,
        state,
        tasks,
        exceptions: exceptions(exceptions_answer)?,
        checkpoints: counts(checkpoints)?,
        checkpointing_off: checkpoints.status == 404 && checkpoints.body.contains("not been enabled"),
    })))
}

fn tasks(detail: decode::Detail) -> Tasks {
    let mut tasks = Tasks::default();
    for vertex in detail.vertices {
        tasks.total += vertex.parallelism;
        tasks.running_or_finished += vertex.tasks.running + vertex.tasks.finished;
    }
    tasks
}

fn accepted(answer: &Response) -> Result<Reply, Unusable> {
    if answer.is_success() || is_unknown_job(answer) {
        // What became of it, and whether there is such a job, is asked for anyway.
        return Ok(Reply::Accepted);
    }
    Err(unavailable(answer))
}

fn stop_status(job: FlinkId, trigger: FlinkId, answers: &[Response]) -> Result<Next, Unusable> {
    let (poll, overview) = match answers {
        [] => return Ok(Next::Send(get(format!("/jobs/{job}/savepoints/{trigger}")))),
        // The job is asked for after its trigger: what the trigger says must be true of the job by then.
        [_] => return Ok(Next::Send(get("/jobs/overview"))),
        [poll, overview, ..] => (poll, overview),
    };
    let trigger = match poll.status {
        404 => TriggerState::Unknown,
        _ => trigger_state(poll.read()?),
    };
    let list: decode::Jobs = overview.read()?;
    let job = list.jobs.into_iter().filter_map(|it| it.overview()).find(|it| it.id == job);
    Ok(Next::Done(Reply::Stop { at: poll.at, trigger, job: job.map(|job| job.state) }))
}

fn trigger_state(poll: decode::Trigger) -> TriggerState {
    let operation = match (poll.status.id.as_str(), poll.operation) {
        ("COMPLETED", Some(operation)) => operation,
        _ => return TriggerState::InProgress,
    };
    match (operation.location, operation.failure_cause) {
        (Some(path), _) => TriggerState::Saved { path },
        (None, cause) => {
            let trace = cause.map(|cause| cause.stack_trace).unwrap_or_default();
            let (cause, path) = (cause::of_stack_trace(&trace), cause::created_savepoint(&trace));
            match path {
                None if cause::is_not_ready(&cause) => TriggerState::NotReady { cause },
                path => TriggerState::Failed { cause, path },
            }
        }
    }
}

fn started(answer: &Response) -> Result<Reply, Unusable> {
    if answer.is_success() {
        return Ok(Reply::Started);
    }
    // 1.20 speaks of a job, 2.x of an application.
    if answer.body.contains("DuplicateJobSubmissionException")
        || answer.body.contains("DuplicateApplicationSubmissionException")
    {
        return Ok(Reply::Duplicate);
    }
    Err(refused(answer))
}

/// An answer that is no success, to a plan or a run.
fn refused(answer: &Response) -> Unusable {
    match cause::refusal(answer.status, &answer.body) {
        Some((kind, failure)) => Unusable::Refused(Refusal { kind, failure }),
        None => unavailable(answer),
    }
}
