//! Live assignments, as agents get them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use trimaran_engine::full_key;
use trimaran_engine::state::agent::Agent;
use trimaran_engine::state::assignment::LiveAssignment;
use trimaran_engine::state::installation::Installation;
use trimaran_engine::state::pipeline::ReleaseEntry;
use trimaran_model::id::{AgentName, AssignmentId, InstallationId, RunId, StageName, TargetName};
use trimaran_model::target::Target;
use trimaran_wire::v1::agent::WireStanding;

use crate::cluster::{target, targets_known, targets_of};
use crate::host_standing::host_standing;
use crate::installations::is_undecided;
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
    if let Some(digest) = live.order.action.release() {
        let entry = release(rows, &digest);
        if entry.is_none() {
            // Whatever an assignment names is kept: without it the agent would have an order that it can't follow.
            rows.damaged(
                &full_key::<ReleaseEntry>(&digest),
                &"it is missing, and a live assignment needs it",
            );
        }
        live.order.release = entry.map(|entry| Arc::unwrap_or_clone(entry.release));
    }
    live
}

/// The targets of an agent, and those that moved to another one while it works there: it finishes what it began.
pub fn targets_served(rows: &dyn RowSource, agent: &AgentName) -> Vec<Target> {
    let live = all::<LiveAssignment>(rows).into_iter().filter(|live| live.agent == *agent);
    let worked: BTreeSet<TargetName> = live.map(|live| live.order.installation.target).collect();
    let served = |target: &Target| target.agent == *agent || worked.contains(&target.name);
    targets_known(rows).into_iter().filter(served).collect()
}

/// What should run on the targets of an agent, of every installation on which nothing works.
pub fn standing_of(rows: &dyn RowSource, agent: &AgentName) -> Vec<WireStanding> {
    let targets: BTreeMap<TargetName, Target> =
        targets_of(rows, agent).into_iter().map(|it| (it.name.clone(), it)).collect();
    let found = all::<Installation>(rows).into_iter();
    found.filter_map(|it| standing(rows, targets.get(&it.id.target)?, it)).collect()
}

/// Those of the given installations that are on targets of an agent and on which nothing works.
pub fn standing_among(
    rows: &dyn RowSource,
    agent: &AgentName,
    installations: &BTreeSet<InstallationId>,
) -> Vec<WireStanding> {
    let found = installations.iter().filter_map(|id| {
        let target = target(rows, &id.target).filter(|it| it.agent == *agent)?;
        standing(rows, &target, get::<Installation>(rows, id)?)
    });
    found.collect()
}

/// `None`: something works on it, or a restore left it undecided what should run.
fn standing(rows: &dyn RowSource, target: &Target, it: Installation) -> Option<WireStanding> {
    let stands = it.assignment.is_none() && !is_undecided(rows, &it.id);
    stands.then(|| WireStanding {
        installation: (&it.id).into(),
        fence: it.fence.0,
        release: it.current.map(|digest| digest.0),
        retained: it.retained().map(|digest| digest.0).collect::<BTreeSet<_>>().into_iter().collect(),
        committed: it.committed.as_ref().map(Into::into),
        hosts: host_standing(rows, target, &it).as_ref().map(Into::into),
    })
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
