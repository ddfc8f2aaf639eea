//! The table of kinds: what a stage of each kind does when its run is settled. One file a kind.

mod approve;
mod deploy;

use crate::state::State;
use crate::state::run::RunGraph;
use crate::state::stage::Kind;

/// Moves the stage at `index`, which is not done, as far as it can go now.
pub(super) fn advance(state: &mut State, graph: &mut RunGraph, index: usize) {
    match graph.stages[index].kind {
        Kind::Deploy { .. } => deploy::advance(state, graph, index),
        Kind::Approve { .. } => approve::advance(state, graph, index),
    }
}
