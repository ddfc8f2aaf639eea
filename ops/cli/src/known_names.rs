//! Names that the cluster knows, for the completion of arguments in a shell. A cluster that does not answer soon has none.

use std::time::Duration;

use clap_complete::engine::CompletionCandidate;
use trimaran_wire::document::{Document, RunList, RunnerList};
use trimaran_wire::v1::operator::OperatorBody;

use crate::remote::Remote;
use crate::ui::{Global, Ui};

/// How long a human who pressed a key may wait.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(300);
/// Newest runs that are offered.
const RUNS_MAX: u32 = 50;

/// Pipelines that have runs.
pub(crate) fn pipelines() -> Vec<CompletionCandidate> {
    candidates(newest_runs().into_iter().map(|(_, pipeline)| pipeline).collect())
}

/// Runs and pipelines: what stands for a run.
pub(crate) fn runs() -> Vec<CompletionCandidate> {
    candidates(newest_runs().into_iter().flat_map(|(run, pipeline)| [run, pipeline]).collect())
}

/// Hosts.
pub(crate) fn hosts() -> Vec<CompletionCandidate> {
    let list = ask::<RunnerList>(OperatorBody::RunnerList);
    candidates(list.into_iter().flat_map(|list| list.runners).map(|it| it.name).collect())
}

/// The newest runs with their pipelines.
fn newest_runs() -> Vec<(String, String)> {
    let list = ask::<RunList>(OperatorBody::RunList { pipeline: None, limit: RUNS_MAX });
    list.into_iter().flat_map(|list| list.runs).map(|run| (run.run, run.pipeline)).collect()
}

fn candidates(mut names: Vec<String>) -> Vec<CompletionCandidate> {
    names.sort();
    names.dedup();
    names.into_iter().map(CompletionCandidate::new).collect()
}

/// The context is the one of the environment or the one in use: what stands on the unfinished line is not known here.
fn ask<D: Document>(body: OperatorBody) -> Option<D> {
    let context = std::env::var("TRIMARAN_CONTEXT").ok();
    let remote = Remote::new(&Ui::new(Global { context, ..Global::default() })).ok()?;
    let answer = remote.block_on(async { tokio::time::timeout(ANSWER_TIMEOUT, remote.ask::<D>(body)).await });
    Some(answer.ok()?.ok()?.document)
}
