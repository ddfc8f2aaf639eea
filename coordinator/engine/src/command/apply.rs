//! Files into the state: targets and pipelines.

use trimaran_model::id::PipelineName;
use trimaran_model::target::Target;
use trimaran_wire::v1::command::PipelineSource;
use trimaran_wire::v1::target::WireTarget;

use super::convert::{checked, named, record};
use crate::audit::Record;
use crate::event::Event;
use crate::refusal::Refusal;
use crate::rows::cold;
use crate::state::State;
use crate::state::assignment::TargetEntry;
use crate::state::pipeline::Pipeline;
use crate::state::request::Outcome;

pub(super) fn run(
    state: &mut State,
    pipelines: &[PipelineSource],
    targets: &[WireTarget],
) -> Result<Outcome, Refusal> {
    for target in targets {
        let target: Target = checked(target.clone())?;
        let name = target.name.clone();
        serve(state, &target);
        state.targets.put(TargetEntry { target });
        state.wake_target(&name);
    }
    for source in pipelines {
        store_source(state, source)?;
    }
    Ok(Outcome::Applied {
        targets: targets.iter().map(|target| target.name.clone()).collect(),
        pipelines: pipelines.iter().map(|source| source.pipeline.clone()).collect(),
    })
}

/// The agents that serve the target, and served it, get its settings.
fn serve(state: &mut State, target: &Target) {
    let before = state.target(&target.name).filter(|before| *before != target).map(|it| it.agent.clone());
    let moved = before.filter(|agent| *agent != target.agent);
    for agent in std::iter::once(target.agent.clone()).chain(moved) {
        state.events.push(Event::AgentTargets { agent });
    }
}

/// Stores the file of a pipeline when it is another than the last one.
pub(super) fn store_source(state: &mut State, source: &PipelineSource) -> Result<(), Refusal> {
    let name: PipelineName = named(&source.pipeline)?;
    let (digest, row) = cold::source(source);
    let known = state.pipelines.get(&name).cloned();
    if known.as_ref().is_some_and(|known| known.source == Some(digest)) {
        return Ok(());
    }
    state.cold.push(row);
    state.pipelines.put(Pipeline { name, source: Some(digest), runs: known.map_or(0, |known| known.runs) });
    Ok(())
}

pub(super) fn audit(pipelines: &[PipelineSource], targets: &[WireTarget]) -> Record {
    let targets = targets.iter().map(|it| format!("target {}", it.name));
    let pipelines = pipelines.iter().map(|it| format!("pipeline {}", it.pipeline));
    record("apply", targets.chain(pipelines).collect::<Vec<_>>().join(", "))
}
