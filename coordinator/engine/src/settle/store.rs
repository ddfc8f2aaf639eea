//! Storing a run that changed, with what watchers see of it.

use trimaran_model::why::Reason;

use super::partial;
use crate::event::Event;
use crate::state::State;
use crate::state::run::RunGraph;
use crate::state::undecided::UndecidedSubject;

/// Stores the run when it changed and sends watchers what did.
pub(crate) fn store(state: &mut State, before: &RunGraph, mut graph: RunGraph) {
    keep_since(before, &mut graph);
    if graph == *before {
        return;
    }
    graph.run.revision = state.revision;
    for (old, new) in before.stages.iter().zip(&graph.stages) {
        if old.status() != new.status() || old.reasons != new.reasons {
            state.events.push(Event::Stage {
                run: graph.run.id.clone(),
                stage: new.name.clone(),
                status: new.status(),
                reasons: new.reasons.clone(),
            });
        }
    }
    partial::record(state, before, &graph);
    if before.run.status != graph.run.status {
        state.events.push(Event::Run { run: graph.run.id.clone(), status: graph.run.status });
    }
    if graph.run.status.is_done() {
        // There is nothing to resume any more.
        state.decide(&UndecidedSubject::Run { run: graph.run.id.clone() });
    }
    state.put_graph(graph);
}

/// A reason that is still the same has been so since it began.
fn keep_since(before: &RunGraph, graph: &mut RunGraph) {
    let keep = |old: &[Reason], new: &mut Vec<Reason>| {
        for reason in new {
            if let Some(known) = old.iter().find(|known| known.why == reason.why) {
                reason.since = known.since;
            }
        }
    };
    keep(&before.run.reasons, &mut graph.run.reasons);
    for (old, new) in before.stages.iter().zip(&mut graph.stages) {
        keep(&old.reasons, &mut new.reasons);
    }
}
