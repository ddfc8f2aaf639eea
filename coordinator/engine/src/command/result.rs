//! An assignment ended. The answer is the same however often the agent repeats it.

use trimaran_model::id::{AgentName, AssignmentId, Fence};
use trimaran_wire::v1::agent::Progress;
use trimaran_wire::v1::assignment::WireOutcome;

use super::agent_report;
use crate::refusal::Refusal;
use crate::settle::assignment_result;
use crate::state::State;
use crate::state::installation::EndedAssignment;
use crate::state::request::Outcome;

pub(super) fn run(
    state: &mut State,
    agent: &AgentName,
    (assignment, fence): (u64, u64),
    reported: &WireOutcome,
    progress: &Progress,
) -> Result<Outcome, Refusal> {
    let (id, fence) = (AssignmentId(assignment), Fence(fence));
    let Some(live) = agent_report::live(state, agent, id, fence) else {
        return Ok(answer_again(state, agent, id, fence));
    };
    let outcome = agent_report::outcome(reported)?;
    let progress = agent_report::progress(progress, &live)?;
    agent_report::store(state, &live, progress);
    assignment_result::apply(state, &live, &outcome);
    Ok(Outcome::ReportApplied)
}

/// The answer to a result of an assignment that is not live, by what its installation remembers.
fn answer_again(state: &State, agent: &AgentName, id: AssignmentId, fence: Fence) -> Outcome {
    let same =
        |ended: &&EndedAssignment| ended.assignment == id && ended.fence == fence && ended.agent == *agent;
    let mut installations =
        state.installations.index().ended.of(&id).filter_map(|it| state.installations.get(it));
    let found =
        installations.find_map(|it| it.ended.iter().find(same).map(|ended| (it.fence, ended.applied)));
    match found {
        Some((_, true)) => Outcome::ReportApplied,
        Some((by, false)) => Outcome::ResultSuperseded { by },
        None => Outcome::ReportUnknown,
    }
}
