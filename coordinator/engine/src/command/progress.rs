//! Hosts failed: committed before the agent goes on, so that a replaced agent can't spend the budget again.

use trimaran_model::id::{AgentName, AssignmentId, Fence};
use trimaran_wire::v1::agent::Progress;

use super::agent_report;
use crate::refusal::Refusal;
use crate::state::State;
use crate::state::request::Outcome;

pub(super) fn run(state: &mut State, agent: &AgentName, reported: &Progress) -> Result<Outcome, Refusal> {
    let (id, fence) = (AssignmentId(reported.assignment), Fence(reported.fence));
    let Some(mut live) = agent_report::live(state, agent, id, fence) else {
        return Ok(Outcome::ReportUnknown);
    };
    let progress = agent_report::progress(reported, &live)?;
    live.charge(&progress.failed);
    agent_report::store(state, &live, progress);
    state.assignments.put(live);
    Ok(Outcome::ReportApplied)
}
