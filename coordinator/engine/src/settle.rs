//! Settling: a pure pass that moves a run as far as it can go now.
//!
//! Everything that holds a run is a reason on its stages; whatever changes a resource wakes the runs that may
//! wait for it. A defect met on the way parks the run ([`broken`]). One file a concern; what a stage of each kind does is
//! in [`kinds`].

mod assign;
pub(crate) mod assignment_result;
pub(crate) mod broken;
mod finish;
mod gates;
mod kinds;
mod partial;
pub(crate) mod restored;
pub(crate) mod rollback;
mod store;

use std::convert::Infallible;

use trimaran_model::id::RunId;
use trimaran_model::limits::SETTLE_RUNS_PER_ENTRY_MAX;
use trimaran_model::run::Status;

use crate::state::State;
use crate::state::run::RunGraph;
use crate::transaction::attempt;

pub use assign::wave_sizes;
pub(crate) use assign::{Ending, assign_again, new_fence, withdraw};
pub(crate) use store::store;

/// Settles queued runs, at most a bounded number; the rest waits for the next entry.
pub(crate) fn drain(state: &mut State) {
    for _ in 0..SETTLE_RUNS_PER_ENTRY_MAX {
        let Some(run) = state.settle.first_key() else { return };
        state.settle.remove(&run);
        let settled = attempt(state, |state| {
            settle(state, &run);
            Ok::<_, Infallible>(())
        });
        if settled.is_err() {
            broken::park(state, &run);
        }
    }
}

/// Moves one run until nothing more moves.
pub(crate) fn settle(state: &mut State, id: &RunId) {
    // A run that is done may have left memory while it was queued.
    let Some(before) = state.graph(id).filter(|graph| !graph.run.status.is_done()) else { return };
    if mutant!(PanicInSettle) && before.run.canceled_by.is_some() {
        panic!("the mutant of this name");
    }
    let mut graph = before.clone();
    // Each round moves at least one stage onward, and a stage has fewer moves than there are statuses.
    for _ in 0..graph.stages.len() * 4 + 4 {
        let round = graph.clone();
        advance(state, &mut graph);
        if graph == round {
            break;
        }
    }
    finish::update_run_status(state, &mut graph);
    let run = graph.run.clone();
    store::store(state, &before, graph);
    if run.status.is_done() {
        finish::end_run(state, &run);
    }
}

/// One round: what holds the whole run, then each stage in order.
fn advance(state: &mut State, graph: &mut RunGraph) {
    if restored::hold(state, graph) {
        return;
    }
    gates::evaluate_run(state, graph);
    if graph.run.status == Status::Queued {
        return;
    }
    for index in 0..graph.stages.len() {
        if !graph.stages[index].is_done() {
            kinds::advance(state, graph, index);
        }
    }
}
