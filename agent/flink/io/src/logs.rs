//! What a run's jobs failed of, as lines: the exception history of the JobManager, which has the time, the task and the
//! stack trace of each failure.
//!
//! What jobs print themselves stays with the TaskManagers, whose output is that of all their jobs at once, without times.

use std::time::Duration;

use trimaran_agent_core::platform::{Answer, Part, PartSink, PlatformError, Unread};
use trimaran_flink_core::call::{Call, FailureSeen, Reply};
use trimaran_flink_core::id::FlinkId;
use trimaran_model::id::{InstallationId, InstanceName, RunId};
use trimaran_model::limits::MESSAGE_BYTES_MAX;
use trimaran_model::reason::ReasonCode;
use trimaran_model::text::cut;
use trimaran_wire::v1::runner::{LogLine, LogLines, LogQuery};

use crate::target::{FlinkTarget, JarSource};

/// How often a JobManager is asked for new failures.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);
/// Lines in one part.
const LINES_MAX: usize = 500;

/// What is asked for, read.
struct Asked {
    installation: InstallationId,
    run: RunId,
    /// Ids of jobs; all of the run's when it is empty.
    jobs: Vec<FlinkId>,
    query: LogQuery,
}

/// Answers with the failures of the run's jobs, and with `follow` of each one that comes.
pub(crate) async fn answer<J: JarSource>(
    target: &FlinkTarget<J>,
    instances: &[InstanceName],
    query: LogQuery,
    answer: &impl PartSink,
) -> Result<(), PlatformError> {
    let asked = asked(instances, query)?;
    let mut since = asked.query.since_ms;
    let mut tail = asked.query.tail;
    loop {
        let mut found = Vec::new();
        for job in jobs(target, &asked).await? {
            found.extend(failures(target, job).await?.into_iter().map(|failure| (job, failure)));
        }
        found.retain(|(_, failure)| since.is_none_or(|since| failure.at.0 >= since));
        found.sort_by_key(|(_, failure)| failure.at);
        since = found.last().map(|(_, failure)| failure.at.0 + 1).or(since);
        if send(&asked, &found, tail.take(), answer).await.is_err() || !asked.query.follow {
            return Ok(());
        }
        tokio::time::sleep(FOLLOW_INTERVAL).await;
    }
}

fn asked(instances: &[InstanceName], query: LogQuery) -> Result<Asked, PlatformError> {
    let unusable = |message: String| PlatformError { code: ReasonCode::OrderRefused, message };
    let (pipeline, target) = (query.pipeline.parse(), query.target.parse());
    let (Ok(pipeline), Ok(target)) = (pipeline, target) else {
        return Err(unusable("a question for logs without a pipeline and a target".to_owned()));
    };
    let run = query.run.as_deref().and_then(|run| run.parse().ok());
    let run = run.ok_or_else(|| unusable("output of jobs is asked for by their run".to_owned()))?;
    let id = |name: &InstanceName| {
        FlinkId::parse(name.as_str()).ok_or_else(|| unusable(format!("`{name}` is no id of a job")))
    };
    let jobs = instances.iter().map(id).collect::<Result<_, _>>()?;
    Ok(Asked { installation: InstallationId { pipeline, target }, run, jobs, query })
}

/// The jobs of the run that the JobManager knows.
async fn jobs<J: JarSource>(target: &FlinkTarget<J>, asked: &Asked) -> Result<Vec<FlinkId>, PlatformError> {
    let Reply::Jobs { jobs, .. } = ask(target, Call::Jobs).await? else { return Err(silent("an answer")) };
    let is_asked = |id: &FlinkId| match asked.jobs.is_empty() {
        true => id.is_of_run(&asked.installation, &asked.run),
        false => asked.jobs.contains(id),
    };
    Ok(jobs.into_iter().map(|job| job.id).filter(is_asked).collect())
}

async fn failures<J: JarSource>(
    target: &FlinkTarget<J>,
    job: FlinkId,
) -> Result<Vec<FailureSeen>, PlatformError> {
    match ask(target, Call::Failures { job }).await? {
        Reply::Failures(failures) => Ok(failures),
        _ => Err(silent("an answer")),
    }
}

async fn ask<J: JarSource>(target: &FlinkTarget<J>, call: Call) -> Result<Reply, PlatformError> {
    match target.perform(call, || true).await {
        Answer::Reply(Reply::Unreachable { message } | Reply::Unavailable { message }) => {
            Err(silent(&message))
        }
        Answer::Reply(reply) => Ok(reply),
        Answer::Lost | Answer::Unmade => Err(silent("no answer")),
    }
}

fn silent(message: &str) -> PlatformError {
    PlatformError {
        code: ReasonCode::JobmanagerUnreachable,
        message: format!("the JobManager can't be asked: {message}"),
    }
}

/// Sends the lines of failures, the last `tail` of them when it is set.
async fn send(
    asked: &Asked,
    found: &[(FlinkId, FailureSeen)],
    tail: Option<u32>,
    answer: &impl PartSink,
) -> Result<(), Unread> {
    let mut all: Vec<(String, LogLine)> = Vec::new();
    for (job, failure) in found {
        let host = failure.task_manager.clone().unwrap_or_else(|| job.to_string());
        let lines = lines(*job, failure, asked.query.release);
        all.extend(lines.into_iter().map(|line| (host.clone(), line)));
    }
    let skipped =
        tail.map_or(0, |tail| all.len().saturating_sub(usize::try_from(tail).unwrap_or(usize::MAX)));
    let mut rest = &all[skipped..];
    while let Some((host, _)) = rest.first() {
        let same = rest.iter().take(LINES_MAX).take_while(|(other, _)| other == host).count();
        let (part, behind) = rest.split_at(same);
        let lines = part.iter().map(|(_, line)| line.clone()).collect();
        answer.put(Part::Logs(LogLines { host: host.clone(), lines, missing: None })).await?;
        rest = behind;
    }
    Ok(())
}

/// A head that names job and task, and the stack trace.
fn lines(job: FlinkId, failure: &FailureSeen, release: Option<[u8; 32]>) -> Vec<LogLine> {
    let what = match &failure.task {
        Some(task) => format!("job {job}: task {task} failed"),
        None => format!("job {job} failed"),
    };
    let text = std::iter::once(what).chain(failure.stack_trace.lines().map(str::to_owned));
    let line = |line: String| LogLine {
        at_ms: failure.at.0,
        stderr: true,
        release,
        line: cut(line, MESSAGE_BYTES_MAX),
    };
    text.map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use trimaran_model::time::WallTime;

    #[test]
    fn a_failure_is_its_task_and_its_stack_trace() {
        let failure = FailureSeen {
            at: WallTime(7),
            task: Some("counter (1/1)".to_owned()),
            task_manager: None,
            stack_trace: "java.lang.IllegalStateException: fail-after\n\tat A.b(A.java:1)\n".to_owned(),
        };
        let lines = lines(FlinkId([1; 16]), &failure, None);
        let text: Vec<&str> = lines.iter().map(|line| line.line.as_str()).collect();
        assert_eq!(text.len(), 3);
        assert!(text[0].ends_with("task counter (1/1) failed") && text[1].contains("fail-after"), "{text:?}");
        assert!(lines.iter().all(|line| line.stderr && line.at_ms == 7));
    }
}
