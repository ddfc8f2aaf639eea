//! Assignments: one live one an installation, each with a larger fence than all before.

use std::collections::BTreeSet;

use trimaran_model::action::{Action, Wave};
use trimaran_model::assignment::Assignment;
use trimaran_model::id::{AssignmentId, Attempt, Digest, Fence, HostName, InstallationId};
use trimaran_model::pipeline::{Batches, IntOrPercent};

use crate::event::Event;
use crate::state::State;
use crate::state::assignment::LiveAssignment;
use crate::state::installation::{EndedAssignment, Installation};
use crate::state::run::RunGraph;
use crate::state::stage::{AttemptState, Deploy, Direction, Goal, RollbackTarget};

/// The largest share of a target that a rollback takes down at once, in percent.
const RESTORE_PERCENT: u8 = 33;

/// Stable releases that a host keeps beside what runs and what is being deployed.
const STABLE_KEPT: usize = 2;

/// Gives a deploy that nothing holds its next assignment.
pub(super) fn assign(state: &mut State, graph: &mut RunGraph, index: usize) {
    let stage = &graph.stages[index];
    let mut deploy = stage.deploy().expect("only deploys are assigned").clone();
    let target = state.target(&deploy.target).expect("nothing holds a stage whose target exists").clone();
    let installation = InstallationId { pipeline: stage.run.pipeline.clone(), target: target.name.clone() };
    let hosts = state.hosts_of(&target);
    let total = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
    begin_attempt(state, &mut deploy, &installation, total);
    begin_installation(state, graph, index, &installation, total);
    let (id, fence) = next_number(state);
    deploy.begun_mut().fence = fence;
    let (action, release) = action(&deploy);
    let order = Assignment {
        id,
        fence,
        installation: installation.clone(),
        run: graph.run.id.clone(),
        stage: graph.stages[index].name.clone(),
        attempt: deploy.begun().number,
        action,
        release: None,
        wave: wave(&deploy, total),
        hosts: hosts.into_iter().collect::<BTreeSet<HostName>>(),
        keep: retained(state, &installation, &deploy, release),
        committed: state.installations.get(&installation).and_then(|it| it.committed.clone()),
    };
    state.events.push(Event::AgentWork { agent: target.agent.clone(), assignment: Some(id) });
    state.assignments.put(LiveAssignment { agent: target.agent, order, cancel: false });
    state.installations.update(&installation, |it| it.assign(id, fence));
    let stage = &mut graph.stages[index];
    *stage.deploy_mut() = deploy;
    let reasons = stage.with_rollback_reason(Vec::new());
    stage.work(Some(id), reasons, state.wall());
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
            restore,
            waves: wave_sizes(&deploy.batches, total),
            wave: 0,
            done: 0,
            total: 0,
            failed: Vec::new(),
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
        (Direction::Back { to: RollbackTarget::Stop, .. }, _) => {
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
            failures_left: 0,
            failed: Vec::new(),
        };
    }
    let budget = deploy.batches.max_failures.floor_of(total);
    let failed = if mutant!(ForgetFailures) { Vec::new() } else { attempt.failed.clone() };
    let count = u32::try_from(failed.len()).unwrap_or(u32::MAX);
    Wave {
        number: attempt.wave + 1,
        target_count: attempt.waves.get(attempt.wave as usize).map_or(total, |count| total.min(*count)),
        max_unavailable: IntOrPercent::Count(allowed),
        failures_left: budget.saturating_sub(count),
        failed,
    }
}

/// What a host must not remove: what is being deployed, what runs, and what rollbacks need.
fn retained(state: &State, id: &InstallationId, deploy: &Deploy, release: Digest) -> BTreeSet<Digest> {
    let mut keep = BTreeSet::from([release]);
    keep.extend(deploy.begun().restore);
    if let Some(it) = state.installations.get(id) {
        let stable = it.stable_releases.iter().take(STABLE_KEPT).copied();
        keep.extend(stable.chain(it.current).chain(it.previous));
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
    state.installations.update(&live.order.installation, |it| it.release_assignment(ended));
    state.wake_target(&live.order.installation.target);
}
