//! The last lines that a failed instance wrote: they often say more than any verdict.

use std::time::Duration;

use trimaran_model::reason::ReasonCode;
use trimaran_model::run::RunKind;
use trimaran_wire::document::{ReasonDocument, RunDocument, StageDocument};
use trimaran_wire::v1::operator::{OperatorBody, OperatorReply};
use trimaran_wire::v1::runner::LogQuery;

use crate::remote::Remote;

/// Lines that are shown.
const LINES_MAX: u32 = 3;
/// How long the host may take to answer; its words are not worth a longer wait.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(1500);

/// What an instance wrote last, and where to find more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) run: String,
    pub(super) stage: String,
    pub(super) host: String,
    pub(super) lines: Vec<String>,
}

/// The output of the first instance whose process failed in the run; `None` when none did.
pub(super) fn of_failed_instance(remote: &Remote, run: &RunDocument) -> Option<Output> {
    let (stage, host) =
        run.stages.iter().find_map(|stage| Some((stage.name.clone(), failed_host(run, stage)?)))?;
    let query = LogQuery {
        pipeline: String::new(),
        target: String::new(),
        run: None,
        release: None,
        since_ms: None,
        tail: Some(LINES_MAX),
        follow: false,
    };
    let body = OperatorBody::Logs {
        run: run.run.clone(),
        stage: Some(stage.clone()),
        host: Some(host.clone()),
        previous: false,
        query,
    };
    let lines = remote.block_on(async { tokio::time::timeout(ANSWER_TIMEOUT, read(remote, body)).await });
    Some(Output { run: run.run.clone(), stage, host, lines: lines.unwrap_or_default() })
}

/// The first host of a stage whose process failed, by its instances or, once those are of the restored release, by the
/// stage's reasons.
fn failed_host(run: &RunDocument, stage: &StageDocument) -> Option<String> {
    if RunKind::ALL.iter().any(|kind| kind.restores() && run.kind == kind.as_str()) {
        // What failed is of the run before it.
        return None;
    }
    let of_instance = stage.instances.iter().find(|it| it.code.as_deref().is_some_and(is_of_process));
    let of_reason = || {
        let of_process = |it: &&ReasonDocument| it.cause.as_deref().is_some_and(is_of_process);
        stage.reasons.iter().filter(of_process).find_map(|it| it.instance.clone())
    };
    of_instance.map(|it| it.name.clone()).or_else(of_reason)
}

/// Whether a code speaks of a process that was started: only that one wrote something.
fn is_of_process(code: &str) -> bool {
    matches!(
        ReasonCode::from_name(code),
        Some(
            ReasonCode::ProcessExited
                | ReasonCode::ProbeFailed
                | ReasonCode::ProbeFlap
                | ReasonCode::StartFailed
                | ReasonCode::RevertFailed
        )
    )
}

/// The lines of one host; none when it can't be asked.
async fn read(remote: &Remote, body: OperatorBody) -> Vec<String> {
    let mut lines = Vec::new();
    let Ok(mut replies) = remote.client().stream(body).await else { return lines };
    while let Ok(Some(reply)) = replies.next().await {
        if let OperatorReply::Logs(batch) = reply {
            lines.extend(batch.lines.into_iter().map(|line| line.line));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn the_host_whose_process_failed_is_found_also_when_it_serves_again() {
        let mut run = samples::run("rolled_back");
        let reason = |code: &str, cause: &str, host: &str| ReasonDocument {
            cause: Some(cause.to_owned()),
            instance: Some(host.to_owned()),
            ..samples::reason(code, "")
        };
        run.stages[1].reasons = vec![reason("process_exited", "process_exited", "host-3")];
        let host = |run: &RunDocument| failed_host(run, &run.stages[1]);
        assert_eq!(host(&run).as_deref(), Some("host-3"));
        run.stages[1].instances =
            vec![samples::instance("host-4", "failed", Some("probe_failed"), "HTTP 404")];
        assert_eq!(host(&run).as_deref(), Some("host-4"));
        run.stages[1].instances = vec![samples::instance("host-4", "failed", Some("preflight_port"), "busy")];
        run.stages[1].reasons = vec![reason("paused_fault", "preflight_port", "host-4")];
        assert_eq!(host(&run), None, "nothing was started");
        run.stages[1].reasons = vec![reason("probe_failed", "probe_failed", "host-3")];
        run.kind = "rollback".to_owned();
        assert_eq!(host(&run), None, "it failed in the run before");
    }
}
