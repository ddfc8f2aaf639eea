//! The last lines that a failed instance wrote: they often say more than any verdict.

use std::time::Duration;

use trimaran_wire::document::{InstanceDocument, RunDocument};
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

/// The output of the first instance that failed in the run; `None` when none did.
pub(super) fn of_failed_instance(remote: &Remote, run: &RunDocument) -> Option<Output> {
    let failed = |it: &&InstanceDocument| matches!(it.status.as_str(), "failed" | "broken" | "reverted");
    let (stage, instance) =
        run.stages.iter().find_map(|stage| Some((stage, stage.instances.iter().find(failed)?)))?;
    let (stage, host) = (stage.name.clone(), instance.name.clone());
    let query = LogQuery {
        pipeline: String::new(),
        target: String::new(),
        run: None,
        since_ms: None,
        tail: Some(LINES_MAX),
        follow: false,
    };
    let body = OperatorBody::Logs {
        run: run.run.clone(),
        stage: Some(stage.clone()),
        host: Some(host.clone()),
        query,
    };
    let lines = remote.block_on(async { tokio::time::timeout(ANSWER_TIMEOUT, read(remote, body)).await });
    Some(Output { run: run.run.clone(), stage, host, lines: lines.unwrap_or_default() })
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
