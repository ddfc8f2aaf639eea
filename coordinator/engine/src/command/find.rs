//! Runs and stages that a user names.

use trimaran_model::id::{RunId, StageName};
use trimaran_wire::v1::common::{WireRun, WireStage};

use super::convert::checked;
use crate::refusal::Refusal;
use crate::state::State;
use crate::state::run::RunGraph;

/// A run in memory; older ones are done.
pub(super) fn run(state: &State, wanted: &WireRun) -> Result<RunGraph, Refusal> {
    let run: RunId = checked(wanted.clone())?;
    if let Some(found) = state.graph(&run) {
        return Ok(found);
    }
    let last = state.pipelines.get(&run.pipeline).map_or(0, |pipeline| pipeline.runs);
    if (1..=last).contains(&run.number) {
        return Err(Refusal::RunDone { run, status: None });
    }
    Err(Refusal::NoRun { run })
}

/// The place of a stage of that name, when one was named.
pub(super) fn stage(graph: &RunGraph, wanted: Option<&WireStage>) -> Result<Option<usize>, Refusal> {
    let Some(wanted) = wanted else { return Ok(None) };
    let stage: StageName = checked(wanted.clone())?;
    let found = graph.find(&stage);
    found.map(Some).ok_or_else(|| Refusal::NoStage { run: graph.run.id.clone(), stage })
}
