//! What a driver has to have in the log before it continues: the numbers, the budget that was used, and its body, which is
//! opaque here and is handed to whoever performs this assignment or the installation's next one.

use trimaran_model::action::Commit;
use trimaran_model::id::{AgentName, AssignmentId, Fence};
use trimaran_model::limits::COMMIT_BYTES_MAX;
use trimaran_wire::v1::agent::Progress;

use super::agent_report;
use crate::refusal::Refusal;
use crate::state::State;
use crate::state::request::Outcome;

pub(super) fn run(
    state: &mut State,
    agent: &AgentName,
    (n, body): (u32, &[u8]),
    reported: &Progress,
) -> Result<Outcome, Refusal> {
    let (assignment, fence) = (AssignmentId(reported.assignment), Fence(reported.fence));
    let Some(mut live) = agent_report::live(state, agent, assignment, fence) else {
        return Ok(Outcome::ReportUnknown);
    };
    if body.len() > COMMIT_BYTES_MAX {
        return Err(Refusal::Malformed);
    }
    let progress = agent_report::progress(reported, &live)?;
    let own = live.order.committed.as_ref().filter(|last| last.assignment == assignment);
    if own.is_none_or(|last| last.n < n) {
        let commit = Commit { assignment, n, body: body.to_vec() };
        live.order.committed = Some(commit.clone());
        state.installations.update(&live.order.installation, |it| it.committed = Some(commit));
    }
    live.charge(&progress.failed, &progress.lost);
    agent_report::store(state, &live, progress);
    state.assignments.put(live);
    Ok(Outcome::ReportApplied)
}
