//! What a job has processed: the records of all attempts of its first and last tasks, summed.
//!
//! Flink shows the counts of the present attempt of a task, and of each earlier one by its number, as long as it keeps
//! them (`jobmanager.execution.attempts-history-size`).

use trimaran_model::time::WallTime;

use super::decode;
use super::message::{Next, Response, Unusable, get, is_unknown_job};
use crate::call::{CheckpointSeen, JobState, Measured, Reply, Restored};
use crate::id::FlinkId;

/// Attempts that are asked for. A job of hundreds of parallel instances that fail over and over has more.
const ATTEMPTS_MAX: usize = 256;

/// A task at one end of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Source,
    Sink,
}

/// Sums of records, each `None` where a task's counts are not shown.
struct Sums {
    sources: Option<u64>,
    sinks: Option<u64>,
}

impl Sums {
    fn add(&mut self, end: End, counts: &decode::RecordCounts) {
        let (sum, more) = match end {
            End::Source => (&mut self.sources, counts.written),
            End::Sink => (&mut self.sinks, counts.read),
        };
        *sum = sum.map(|sum| sum.saturating_add(more));
    }
}

pub(super) fn measured(job: FlinkId, answers: &[Response]) -> Result<Next, Unusable> {
    let (detail, checkpoints, rest) = match answers {
        [] => return Ok(Next::Send(get(format!("/jobs/{job}")))),
        [detail] if is_unknown_job(detail) => return Ok(Next::Done(unknown(detail.at))),
        [_] => return Ok(Next::Send(get(format!("/jobs/{job}/checkpoints")))),
        [detail, checkpoints, rest @ ..] => (detail, checkpoints, rest),
    };
    let at = detail.at;
    let detail: decode::Detail = detail.read()?;
    // Where a job is of one task, nothing is passed on that could be counted.
    let ends = ends(&detail.plan.nodes).unwrap_or_default();
    if let Some((vertex, _)) = ends.get(rest.len()) {
        return Ok(Next::Send(get(format!("/jobs/{job}/vertices/{vertex}"))));
    }
    let (tasks, earlier) = rest.split_at(ends.len());
    let tasks: Vec<Option<decode::VertexDetail>> = tasks.iter().map(shown).collect::<Result<_, _>>()?;
    let attempts = earlier_attempts(&ends, &tasks);
    if let Some((_, path)) = attempts.iter().take(ATTEMPTS_MAX).nth(earlier.len()) {
        return Ok(Next::Send(get(format!("/jobs/{job}/vertices/{path}"))));
    }
    let known = |end| ends.iter().any(|(_, it)| *it == end) && tasks.iter().all(Option::is_some);
    let zero = |end| known(end).then_some(0);
    let mut sums = Sums { sources: zero(End::Source), sinks: zero(End::Sink) };
    for ((_, end), task) in ends.iter().zip(&tasks) {
        let subtasks = task.iter().flat_map(|task| &task.subtasks);
        subtasks.for_each(|it| sums.add(*end, &it.metrics));
    }
    let mut is_least = attempts.len() > earlier.len();
    for ((end, _), answer) in attempts.iter().zip(earlier) {
        match shown::<decode::SubtaskAttempt>(answer)? {
            Some(attempt) => sums.add(*end, &attempt.metrics),
            None => is_least = true,
        }
    }
    let subtasks = tasks.iter().flatten().flat_map(|task| &task.subtasks);
    let (last_checkpoint, restored) = states(checkpoints)?;
    Ok(Next::Done(Reply::Measured(Measured {
        at,
        state: Some(JobState::from_name(&detail.state)),
        at_sinks: sums.sinks,
        at_sources: sums.sources,
        is_least,
        restarts: subtasks.map(|it| it.attempt).max().unwrap_or(0),
        last_checkpoint,
        restored,
    })))
}

fn unknown(at: WallTime) -> Reply {
    Reply::Measured(Measured {
        at,
        state: None,
        at_sinks: None,
        at_sources: None,
        is_least: false,
        restarts: 0,
        last_checkpoint: None,
        restored: None,
    })
}

/// Ids of the first and the last tasks; `None` where one is both.
fn ends(nodes: &[decode::Node]) -> Option<Vec<(String, End)>> {
    let is_read = |id: &str| nodes.iter().flat_map(|node| &node.inputs).any(|input| input.id == id);
    let mut ends = Vec::new();
    for node in nodes {
        match (node.inputs.is_empty(), is_read(&node.id)) {
            (true, false) => return None,
            (true, true) => ends.push((node.id.clone(), End::Source)),
            (false, false) => ends.push((node.id.clone(), End::Sink)),
            (false, true) => {}
        }
    }
    Some(ends)
}

/// Attempts before the present ones: at which end, and where they are shown.
fn earlier_attempts(ends: &[(String, End)], tasks: &[Option<decode::VertexDetail>]) -> Vec<(End, String)> {
    let mut attempts = Vec::new();
    for ((vertex, end), task) in ends.iter().zip(tasks) {
        for it in task.iter().flat_map(|task| &task.subtasks) {
            let path = |n: u32| format!("{vertex}/subtasks/{}/attempts/{n}", it.subtask);
            attempts.extend((0..it.attempt).rev().map(|n| (*end, path(n))));
        }
    }
    attempts
}

/// What is shown; `None` for what is not known any more.
fn shown<T: serde::de::DeserializeOwned>(answer: &Response) -> Result<Option<T>, Unusable> {
    if is_unknown_job(answer) { Ok(None) } else { answer.read().map(Some) }
}

/// The last checkpoint or savepoint, and what was restored; nothing of a job that makes none.
fn states(checkpoints: &Response) -> Result<(Option<CheckpointSeen>, Option<Restored>), Unusable> {
    let Some(decode::Checkpoints { counts, latest }) = shown(checkpoints)? else { return Ok((None, None)) };
    let is_savepoint = latest.restored.as_ref().is_some_and(|restored| restored.is_savepoint);
    Ok((latest.last(), Some(Restored { count: counts.restored, is_savepoint })))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: FlinkId = FlinkId([0xa1; 16]);

    fn answer(status: u16, body: &str) -> Response {
        Response { at: WallTime(7), by: String::new(), status, body: body.to_owned() }
    }

    /// Asks until there is a reply; the paths, and the reply.
    fn measure(pages: &dyn Fn(&str) -> Response) -> (Vec<String>, Measured) {
        let (mut answers, mut paths) = (Vec::new(), Vec::new());
        loop {
            match measured(JOB, &answers).expect("every answer can be used") {
                Next::Send(request) => {
                    let path = request.path.trim_start_matches(&format!("/jobs/{JOB}")).to_owned();
                    answers.push(pages(&path));
                    paths.push(path);
                }
                Next::Done(Reply::Measured(measured)) => return (paths, measured),
                Next::Done(other) => panic!("{other:?}"),
            }
        }
    }

    const DETAIL: &str = r#"{ "name": "demo", "state": "CANCELED", "vertices": [], "plan": { "nodes": [
        { "id": "c", "inputs": [{ "id": "b" }] }, { "id": "b", "inputs": [{ "id": "a" }] }, { "id": "a" }] } }"#;
    const CHECKPOINTS: &str = r#"{ "counts": { "restored": 3, "completed": 2, "failed": 0 },
        "latest": { "completed": null, "savepoint": null, "failed": null, "restored": { "is_savepoint": false } } }"#;

    fn attempt(attempt: u32, read: u64, written: u64) -> String {
        format!(
            r#"{{ "subtask": 0, "attempt": {attempt}, "metrics": {{ "read-records": {read}, "write-records": {written} }} }}"#
        )
    }

    #[test]
    fn the_attempts_of_the_first_and_the_last_tasks_are_summed() {
        let vertex = |it: String| answer(200, &format!(r#"{{ "subtasks": [{it}] }}"#));
        let (paths, measured) = measure(&|path| match path {
            "" => answer(200, DETAIL),
            "/checkpoints" => answer(200, CHECKPOINTS),
            "/vertices/c" => vertex(attempt(2, 51, 0)),
            "/vertices/a" => vertex(attempt(1, 0, 90)),
            "/vertices/c/subtasks/0/attempts/1" => answer(200, &attempt(1, 50, 0)),
            "/vertices/c/subtasks/0/attempts/0" => answer(200, &attempt(0, 40, 0)),
            "/vertices/a/subtasks/0/attempts/0" => answer(200, &attempt(0, 0, 70)),
            other => panic!("{other}"),
        });
        assert_eq!((measured.at_sinks, measured.at_sources), (Some(141), Some(160)));
        assert_eq!((measured.is_least, measured.restarts), (false, 2));
        assert_eq!(measured.state, Some(JobState::Canceled));
        assert_eq!(measured.restored, Some(Restored { count: 3, is_savepoint: false }));
        assert_eq!(paths.len(), 7);
    }

    #[test]
    fn what_is_not_kept_makes_the_sum_the_least() {
        let vertex = |it: String| answer(200, &format!(r#"{{ "subtasks": [{it}] }}"#));
        let many = u32::try_from(ATTEMPTS_MAX + 1).expect("few");
        for (restarts, asked) in [(1, 1), (many, ATTEMPTS_MAX)] {
            let (paths, measured) = measure(&|path| match path {
                "" => answer(200, DETAIL),
                "/checkpoints" => answer(404, "{}"),
                "/vertices/c" => vertex(attempt(restarts, 51, 0)),
                "/vertices/a" => vertex(attempt(0, 0, 90)),
                _ => answer(404, "{}"),
            });
            assert_eq!((measured.at_sinks, measured.is_least), (Some(51), true));
            assert_eq!(paths.len(), 4 + asked);
        }
    }

    #[test]
    fn of_a_job_of_one_task_no_number_is_known() {
        let detail = r#"{ "state": "RUNNING", "vertices": [], "plan": { "nodes": [{ "id": "a" }] } }"#;
        let (paths, measured) =
            measure(&|path| if path.is_empty() { answer(200, detail) } else { answer(200, CHECKPOINTS) });
        assert_eq!((measured.at_sinks, measured.at_sources, paths.len()), (None, None, 2));
        let (_, gone) = measure(&|_| answer(404, "{}"));
        assert_eq!(gone.state, None);
    }
}
