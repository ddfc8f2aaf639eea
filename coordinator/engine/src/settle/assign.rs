//! Assignments: one live one an installation, each with a larger fence than all before.

use std::collections::BTreeSet;

use trimaran_model::action::{Action, Wave};
use trimaran_model::amount::IntOrPercent;
use trimaran_model::assignment::Assignment;
use trimaran_model::id::{AssignmentId, Attempt, Digest, Fence, HostName, InstallationId};
use trimaran_model::pipeline::Batches;
use trimaran_model::target::PlatformKind;

use super::store;
use crate::event::Event;
use crate::state::State;
use crate::state::assignment::LiveAssignment;
use crate::state::installation::{EndedAssignment, Installation};
use crate::state::run::RunGraph;
use crate::state::stage::{AttemptState, Deploy, Direction, Goal, RollbackTarget};

/// The largest share of a target that a rollback takes down at once, in percent.
const RESTORE_PERCENT: u8 = 33;

/// Gives a deploy that nothing holds its next assignment.
pub(super) fn assign(state: &mut State, graph: &mut RunGraph, index: usize) {
    let stage = &graph.stages[index];
    let mut deploy = stage.deploy().expect("only deploys are assigned").clone();
    let target = state.target(&deploy.target).expect("nothing holds a stage whose target exists").clone();
    let installation = InstallationId { pipeline: stage.run.pipeline.clone(), target: target.name.clone() };
    let hosts: BTreeSet<HostName> = state.hosts_of(&target).cloned().collect();
    let total = match target.platform.kind() {
        PlatformKind::Hosts => u32::try_from(hosts.len()).unwrap_or(u32::MAX),
        // The platform has the instances: one wave of one step, until its agent counts them.
        PlatformKind::Kubernetes | PlatformKind::Flink => 1,
    };
    begin_attempt(state, &mut deploy, &installation, total);
    begin_installation(state, graph, index, &installation, total);
    let (id, fence) = next_number(state);
    let attempt = deploy.begun_mut();
    attempt.fence = fence;
    if attempt.since == Fence::default() {
        attempt.since = fence;
    }
    let (action, release) = action(&deploy);
    let order = Assignment {
        id,
        fence,
        installation: installation.clone(),
        run: graph.run.id.clone(),
        stage: graph.stages[index].name.clone(),
        attempt: deploy.begun().number,
        platform: target.platform.kind(),
        action,
        release: None,
        wave: wave(&deploy, total),
        hosts,
        retained: retained(state, &installation, &deploy, release),
        committed: state.installations.get(&installation).and_then(|it| it.committed.clone()),
        restore_from: deploy.restore_from,
    };
    state.events.push(Event::AgentWork { agent: target.agent.clone(), assignment: Some(id) });
    state.assignments.put(LiveAssignment { agent: target.agent, order, cancel: false });
    state.installations.update(&installation, |it| it.assign(id, fence));
    let stage = &mut graph.stages[index];
    *stage.deploy_mut() = deploy;
    let reasons = stage.with_rollback_reason(Vec::new());
    stage.work(Some(id), reasons, state.wall());
}

/// Gives the work of a live assignment a new number and fence: agents obey no fence of an earlier epoch.
pub(crate) fn assign_again(state: &mut State, old: AssignmentId) {
    let live = state.assignments.get(&old).expect("the caller found it").clone();
    withdraw(state, old, Ending::Superseded);
    let (id, fence) = next_number(state);
    let LiveAssignment { agent, order, cancel } = live;
    let installation = order.installation.clone();
    // Of the last assignment that committed something, which may be the old one: its number says whose it is.
    let committed = state.installations.get(&installation).and_then(|it| it.committed.clone());
    let before = state.graph(&order.run).expect("the run of an assignment is in memory");
    let mut graph = before.clone();
    let index = graph.find(&order.stage).expect("an assignment names a stage of its run");
    graph.stages[index].deploy_mut().reassign(id, fence);
    store::store(state, &before, graph);
    state.installations.update(&installation, |it| it.assign(id, fence));
    state.events.push(Event::AgentWork { agent: agent.clone(), assignment: Some(id) });
    let order = Assignment { id, fence, committed, ..order };
    state.assignments.put(LiveAssignment { agent, order, cancel });
}

/// A fence that is larger than what every host of the installation has taken, without work: what is asked outside of runs has
/// it. While an assignment is live, its end brings one.
pub(crate) fn new_fence(state: &mut State, id: &InstallationId) {
    let Some(it) = state.installations.get(id).filter(|it| it.assignment.is_none()) else { return };
    let Some(agent) = state.target(&it.id.target).map(|target| target.agent.clone()) else { return };
    let (assignment, fence) = next_number(state);
    let ended = EndedAssignment { agent, assignment, fence, applied: true };
    state.installations.update(id, |it| {
        it.fence = fence;
        it.release_assignment(ended);
    });
}

/// The number and fence of the next assignment.
fn next_number(state: &mut State) -> (AssignmentId, Fence) {
    state.set_cluster(|cluster| {
        cluster.fence += u64::from(!mutant!(SameFence));
        cluster.assignment += 1;
    });
    let cluster = state.cluster();
    (AssignmentId(cluster.assignment), cluster.last_fence())
}

/// The first assignment begins the attempt: what the stage goes back to is fixed, and its waves.
fn begin_attempt(state: &State, deploy: &mut Deploy, id: &InstallationId, total: u32) {
    if deploy.attempt.is_none() {
        let before = state.installations.get(id);
        let restore = match mutant!(BackToUnbaked) {
            true => before.and_then(|it| it.current),
            false => before.and_then(Installation::rollback_target),
        };
        deploy.attempt = Some(AttemptState {
            number: Attempt(1),
            fence: Fence::default(),
            since: Fence::default(),
            restore,
            waves: wave_sizes(&deploy.batches, total),
            wave: 0,
            done: 0,
            total: 0,
            failed: Vec::new(),
            lost: Vec::new(),
        });
    }
    // The last wave is all hosts, also those that joined meanwhile.
    let last = deploy.begun_mut().waves.last_mut();
    *last.expect("an attempt has at least one wave") = total;
}

fn begin_installation(state: &mut State, graph: &RunGraph, index: usize, id: &InstallationId, total: u32) {
    let environment = &graph.stages[index].name.environment;
    let known = state.installations.get(id).cloned();
    let mut it = known.unwrap_or_else(|| Installation::new(id.clone(), environment.clone(), state.wall()));
    it.begin(environment, total);
    state.installations.put(it);
}

/// Cumulative sizes of the waves on `total` hosts: rounded up, growing, the last one all of them.
pub fn wave_sizes(batches: &Batches, total: u32) -> Vec<u32> {
    let mut waves: Vec<u32> = Vec::new();
    for size in &batches.sizes {
        let count = size.ceil_of(total).max(1);
        if waves.last().is_none_or(|last| count > *last) {
            waves.push(count);
        }
    }
    if waves.last() != Some(&total) {
        waves.push(total);
    }
    waves
}

/// What the agent does, and the release that it is about.
fn action(deploy: &Deploy) -> (Action, Digest) {
    match (&deploy.direction, &deploy.goal) {
        (Direction::Back { to: RollbackTarget::Restore { release }, .. }, _) => {
            (Action::Restore(*release), *release)
        }
        (Direction::Back { to: RollbackTarget::Stop { .. }, .. }, _) => {
            (Action::Stop(deploy.release), deploy.release)
        }
        (Direction::Forward, Goal::Restore { .. }) => (Action::Restore(deploy.release), deploy.release),
        (Direction::Forward, Goal::Release) => (Action::Release(deploy.release), deploy.release),
    }
}

fn wave(deploy: &Deploy, total: u32) -> Wave {
    let attempt = deploy.begun();
    let allowed = deploy.batches.max_unavailable.floor_of(total).max(1);
    if deploy.restores() {
        let restore = IntOrPercent::Percent(RESTORE_PERCENT).floor_of(total).max(allowed);
        return Wave {
            number: 1,
            target_count: total,
            max_unavailable: IntOrPercent::Count(restore),
            // It waits for no host that is away, and for none that can't: these get it when they can.
            lost_left: total,
            keep_serving: matches!(
                deploy.direction,
                Direction::Back { to: RollbackTarget::Stop { all: false }, .. }
            ),
            ..Wave::default()
        };
    }
    let budget = deploy.batches.max_failures.floor_of(total);
    let failed = if mutant!(ForgetFailures) { Vec::new() } else { attempt.failed.clone() };
    let count = u32::try_from(failed.len()).unwrap_or(u32::MAX);
    let lost = u32::try_from(attempt.lost.len()).unwrap_or(u32::MAX);
    Wave {
        number: attempt.wave + 1,
        target_count: attempt.waves.get(attempt.wave as usize).map_or(total, |count| total.min(*count)),
        max_unavailable: IntOrPercent::Count(allowed),
        failures_left: budget.saturating_sub(count),
        failed,
        since: attempt.since,
        lost_left: deploy.batches.lost_of(total).saturating_sub(lost),
        lost: attempt.lost.clone(),
        keep_serving: false,
    }
}

/// What a host must not remove: what is being deployed, what runs, and what rollbacks need.
fn retained(state: &State, id: &InstallationId, deploy: &Deploy, release: Digest) -> BTreeSet<Digest> {
    let mut keep = BTreeSet::from([release]);
    keep.extend(deploy.begun().restore);
    if let Some(it) = state.installations.get(id) {
        keep.extend(it.retained());
    }
    keep
}

/// Asks for the end of an assignment; its result still comes.
pub(crate) fn ask_to_cancel(state: &mut State, assignment: AssignmentId) {
    let live = state.assignments.get(&assignment).expect("a stage names a live assignment");
    if !live.cancel {
        let agent = live.agent.clone();
        state.assignments.update(&assignment, |live| live.cancel = true);
        state.events.push(Event::AgentWork { agent, assignment: Some(assignment) });
    }
}

/// Whether a host of the order is none of its target any more.
fn has_left(state: &State, order: &Assignment) -> bool {
    let Some(target) = state.target(&order.installation.target) else { return false };
    let stays = |host: &HostName| state.runners.get(host).is_some_and(|runner| runner.is_host_of(target));
    !order.hosts.iter().all(stays)
}

/// How an assignment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Its result was applied.
    Applied,
    /// A larger fence follows.
    Superseded,
}

/// Removes a live assignment from the state.
pub(crate) fn withdraw(state: &mut State, assignment: AssignmentId, ending: Ending) {
    let live = state.assignments.remove(&assignment).expect("only live assignments are withdrawn");
    state.events.push(Event::AgentWork { agent: live.agent.clone(), assignment: Some(assignment) });
    let ended = EndedAssignment {
        agent: live.agent,
        assignment,
        fence: live.order.fence,
        applied: ending == Ending::Applied,
    };
    // Its target may have moved to another agent meanwhile.
    let agent = state.target(&live.order.installation.target).map(|target| &target.agent);
    if agent.is_some_and(|agent| *agent != ended.agent) {
        // The earlier agent kept the target for this work.
        state.events.push(Event::AgentWork { agent: ended.agent.clone(), assignment: None });
    }
    state.installations.update(&live.order.installation, |it| it.release_assignment(ended));
    if ending == Ending::Applied && has_left(state, &live.order) {
        new_fence(state, &live.order.installation);
    }
    state.wake_target(&live.order.installation.target);
}
