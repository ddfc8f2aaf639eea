//! Live assignments, as agents get them.

use std::collections::BTreeSet;
use std::sync::Arc;

use trimaran_engine::state::agent::Agent;
use trimaran_engine::state::assignment::LiveAssignment;
use trimaran_model::action::Action;
use trimaran_model::id::{AgentName, AssignmentId, RunId, StageName};

use crate::rows::{RowSource, all, get, release, stored_run};

/// Live assignments of an agent that may be sent to this incarnation of it. While calls of an earlier one may be in
/// flight, these are only the ones that it `holds` in its journal already.
pub fn assignments(
    rows: &dyn RowSource,
    agent: &AgentName,
    holds: &dyn Fn(AssignmentId) -> bool,
) -> Vec<LiveAssignment> {
    let may = may_be_sent(rows, agent, holds);
    let found = all::<LiveAssignment>(rows).into_iter().filter(may);
    found.map(|live| with_release(rows, live)).collect()
}

/// Those of the given assignments that are live and may be sent to this incarnation of the agent.
pub fn assignments_among(
    rows: &dyn RowSource,
    agent: &AgentName,
    holds: &dyn Fn(AssignmentId) -> bool,
    numbers: &BTreeSet<AssignmentId>,
) -> Vec<LiveAssignment> {
    let may = may_be_sent(rows, agent, holds);
    let found = numbers.iter().filter_map(|number| get::<LiveAssignment>(rows, number)).filter(may);
    found.map(|live| with_release(rows, live)).collect()
}

fn may_be_sent(
    rows: &dyn RowSource,
    agent: &AgentName,
    holds: &dyn Fn(AssignmentId) -> bool,
) -> impl Fn(&LiveAssignment) -> bool {
    let waits = get::<Agent>(rows, agent).is_some_and(|it| it.handover_until.is_some());
    move |live| live.agent == *agent && (!waits || holds(live.order.id))
}

/// An order names its release; what an agent gets has the content too.
fn with_release(rows: &dyn RowSource, mut live: LiveAssignment) -> LiveAssignment {
    let digest = match &live.order.action {
        Action::Release(digest) | Action::Restore(digest) | Action::Stop(digest) => Some(*digest),
        Action::Verify => None,
    };
    let entry = digest.and_then(|digest| release(rows, &digest));
    live.order.release = entry.map(|entry| Arc::unwrap_or_clone(entry.release));
    live
}

/// A live assignment by its number, without its release.
pub fn assignment(rows: &dyn RowSource, number: AssignmentId) -> Option<LiveAssignment> {
    get(rows, &number)
}

/// The live assignments of a run's stages.
pub fn live_assignments(rows: &dyn RowSource, run: &RunId) -> Vec<(StageName, AssignmentId)> {
    let stages = stored_run(rows, run).map(|it| it.stages).unwrap_or_default();
    stages.into_iter().filter_map(|stage| Some((stage.name.clone(), stage.assignment()?))).collect()
}
