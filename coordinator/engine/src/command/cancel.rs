//! `trimaran cancel`: nothing more starts; what is in flight finishes or reverts.

use trimaran_model::id::Identity;
use trimaran_model::run::Status;
use trimaran_wire::v1::common::WireRun;

use super::convert::{record, run_text};
use super::find;
use crate::audit::Record;
use crate::refusal::Refusal;
use crate::settle::broken;
use crate::state::State;
use crate::state::request::Outcome;

pub(super) fn run(state: &mut State, identity: &Identity, wanted: &WireRun) -> Result<Outcome, Refusal> {
    let mut graph = find::run(state, wanted)?;
    let (run, status) = (graph.run.id.clone(), graph.run.status);
    if status.is_done() && status != Status::Broken {
        return Err(Refusal::RunDone { run, status: Some(status) });
    }
    let by = graph.run.canceled_by.clone().unwrap_or_else(|| identity.clone());
    if status == Status::Broken {
        broken::cancel(state, &graph, &by);
    } else if graph.run.canceled_by.is_none() {
        graph.run.canceled_by = Some(by.clone());
        state.put_graph(graph);
        state.wake(&run);
    }
    Ok(Outcome::Decided { run, stage: None, decision: "canceled".to_owned(), by })
}

pub(super) fn audit(run: &WireRun) -> Record {
    record("cancel", run_text(run))
}
