//! What agents report, checked and within bounds, and how a stage takes progress over.
//!
//! An agent may speak only of its own assignments, and where these name hosts only of them.

use trimaran_model::action::{Failure, InstanceReport, Outcome, Progress};
use trimaran_model::assignment::Scope;
use trimaran_model::id::{AgentName, AssignmentId, Fence, HostName, InstanceName};
use trimaran_model::limits::{INSTALLATION_INSTANCES_MAX, INSTANCES_REPORTED_MAX, MESSAGE_BYTES_MAX};
use trimaran_model::text::cut;
use trimaran_wire::v1::agent;
use trimaran_wire::v1::assignment::{WireFailure, WireOutcome};

use super::convert::checked;
use crate::event::Event;
use crate::refusal::Refusal;
use crate::rows::cold;
use crate::state::State;
use crate::state::assignment::LiveAssignment;

/// The assignment that an agent speaks of, when it is live, its own, and of this fence.
pub(super) fn live(
    state: &State,
    agent: &AgentName,
    id: AssignmentId,
    fence: Fence,
) -> Option<LiveAssignment> {
    let live = state.assignments.get(&id)?;
    (live.agent == *agent && live.order.fence == fence).then(|| live.clone())
}

/// A failure with its message within the bound.
pub(super) fn failure(wire: &WireFailure) -> Result<Failure, Refusal> {
    let failure: Failure = checked(wire.clone())?;
    Ok(Failure { message: bounded(failure.message), ..failure })
}

pub(super) fn bounded(message: String) -> String {
    cut(message, MESSAGE_BYTES_MAX)
}

pub(super) fn outcome(wire: &WireOutcome) -> Result<Outcome, Refusal> {
    Ok(match wire {
        WireOutcome::Done => Outcome::Done,
        WireOutcome::Failed(wire) => Outcome::Failed(failure(wire)?),
        WireOutcome::Fault(wire) => Outcome::Fault(failure(wire)?),
        WireOutcome::Stopped => Outcome::Stopped,
    })
}

/// Progress of the hosts that the assignment names; others are passed over.
pub(super) fn progress(wire: &agent::Progress, live: &LiveAssignment) -> Result<Progress, Refusal> {
    let mut progress: Progress = checked(wire.clone())?;
    let most = match live.order.scope() {
        Scope::Hosts { hosts, .. } => {
            progress.failed.retain(|host| hosts.contains(host));
            progress.lost.retain(|host| hosts.contains(host));
            let is_host = |name: &InstanceName| name.host().is_some_and(|host| hosts.contains(&host));
            progress.instances.retain(|instance| is_host(&instance.name));
            u32::try_from(hosts.len()).unwrap_or(u32::MAX)
        }
        // Its instances are the platform's, which alone knows them; none is charged to a wave.
        Scope::Whole => {
            progress.failed.clear();
            progress.lost.clear();
            INSTALLATION_INSTANCES_MAX
        }
    };
    progress.total = progress.total.min(most);
    progress.done = progress.done.min(progress.total);
    progress.instances.truncate(INSTANCES_REPORTED_MAX);
    for instance in &mut progress.instances {
        instance.message = bounded(std::mem::take(&mut instance.message));
    }
    Ok(progress)
}

/// Stores numbers, failed hosts and instances with the stage and the installation.
pub(super) fn store(state: &mut State, live: &LiveAssignment, progress: Progress) {
    let Progress { done, total, failed, lost, instances, .. } = progress;
    let mut graph = state.graph(&live.order.run).expect("the run of an assignment is in memory");
    let index = graph.find(&live.order.stage).expect("an assignment names a stage of its run");
    let stage = &mut graph.stages[index];
    let attempt = stage.deploy_mut().begun_mut();
    (attempt.done, attempt.total) = (done, total);
    let new: Vec<HostName> = failed.into_iter().filter(|host| !attempt.failed.contains(host)).collect();
    attempt.failed.extend(new);
    let new: Vec<HostName> = lost.into_iter().filter(|host| !attempt.lost.contains(host)).collect();
    attempt.lost.extend(new);
    let (run, name, place) = (graph.run.id.clone(), stage.name.clone(), stage.index);
    store_instances(state, live, place, instances);
    graph.run.revision = state.revision;
    state.put_graph(graph);
    state.events.push(Event::Progress { run, stage: name, done, total });
    state.installations.update(&live.order.installation, |it| (it.desired, it.updated) = (total, done));
}

fn store_instances(state: &mut State, live: &LiveAssignment, place: u16, instances: Vec<InstanceReport>) {
    state.cold.push(cold::instances(&live.order.run, place, instances));
}
