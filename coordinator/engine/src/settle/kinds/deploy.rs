//! Deploys: held by their gates, by the strategy's pause, or by what they share with others; otherwise at work.

use trimaran_model::assignment::Assignment;
use trimaran_model::id::{AssignmentId, InstallationId, RunId};
use trimaran_model::target::PlatformKind;
use trimaran_model::why::{Reason, Why};

use crate::settle::{assign, gates, restored};
use crate::state::State;
use crate::state::agent::Agent;
use crate::state::run::{Run, RunGraph};
use crate::state::stage::{Deploy, DeployState, Direction, Held, RollbackTarget, Wait};

pub(super) fn advance(state: &mut State, graph: &mut RunGraph, index: usize) {
    let stage = &graph.stages[index];
    let deploy = stage.deploy().expect("the table of kinds picked it").clone();
    if let Some(assignment) = deploy.assignment() {
        return refresh_running(state, graph, index, assignment);
    }
    if !stage.has_begun() && !deploy.is_back() && (gates::hold(state, graph, index) || graph.run.is_ending())
    {
        return;
    }
    let stage = &mut graph.stages[index];
    if let Some(reason) = waits(state, &deploy) {
        stage.reasons = stage.with_rollback_reason(vec![reason]);
    } else if let Some(instances) = still_serving(state, &graph.run.id, &deploy) {
        let why = Why::StillServing { instances };
        stage.wait(Wait::Resume { why: why.clone() }, state.reason(why));
    } else if let Some((held, why)) = held_by_others(state, &graph.run, &deploy) {
        let reasons = stage.with_rollback_reason(vec![why]);
        stage.hold(held, reasons);
    } else {
        assign::assign(state, graph, index);
    }
}

/// A stage with a live assignment: running, going back, or lost with its agent.
fn refresh_running(state: &State, graph: &mut RunGraph, index: usize, assignment: AssignmentId) {
    let live = state.assignments.get(&assignment).expect("a stage names a live assignment");
    let agent = state.agents.get(&live.agent).expect("an agent that was assigned work is enrolled");
    let mut reasons = Vec::new();
    if agent.lost {
        reasons.push(state.reason(Why::AgentLost { agent: agent.name.clone() }));
    } else if let Some(reason) = handover(state, agent) {
        reasons.push(reason);
    }
    if live.cancel {
        reasons.push(state.reason(Why::Canceling { by: graph.run.canceled_by.clone() }));
    }
    let stage = &mut graph.stages[index];
    let reasons = stage.with_rollback_reason(reasons);
    if agent.lost {
        stage.lose(assignment, reasons);
    } else {
        stage.work(Some(assignment), reasons, state.wall());
    }
}

/// Where the platform has the instances as one whole, ending what does not serve ends all of it: while some serve, so
/// many as are given here, a user decides first. On hosts the agent looks at each; on Kubernetes it knows what others ran
/// before, and can bring it back.
fn still_serving(state: &State, run: &RunId, deploy: &Deploy) -> Option<u32> {
    let Direction::Back { to: RollbackTarget::Stop { all: false }, .. } = deploy.direction else {
        return None;
    };
    let is_agents = match state.target(&deploy.target)?.platform.kind() {
        PlatformKind::Hosts | PlatformKind::Kubernetes => true,
        PlatformKind::Flink => false,
    };
    let here = state.installation(run, &deploy.target);
    let installed = here.map_or(0, |it| it.desired.saturating_sub(it.down));
    let serving = deploy.attempt.as_ref().map_or(installed, |attempt| attempt.done);
    (!is_agents && serving > 0).then_some(serving)
}

fn handover(state: &State, agent: &Agent) -> Option<Reason> {
    let until = agent.handover(state.now())?;
    Some(state.reason_until(Why::AgentHandover { agent: agent.name.clone() }, until))
}

/// What the stage itself waits for between two assignments: the strategy's pause, or a user after a fault.
fn waits(state: &State, deploy: &Deploy) -> Option<Reason> {
    match &deploy.state {
        DeployState::Waiting { wait: Wait::Resume { why } } => Some(state.reason(why.clone())),
        DeployState::Waiting { wait: Wait::Pause { until } } if *until > state.now() => {
            Some(state.reason_until(Why::WavePause, *until))
        }
        DeployState::Waiting { .. } | DeployState::Held { .. } | DeployState::Running { .. } => None,
        DeployState::RollingBack { .. } | DeployState::Lost { .. } | DeployState::Done { .. } => None,
    }
}

/// What holds a stage that could have an assignment otherwise.
fn held_by_others(state: &State, run: &Run, deploy: &Deploy) -> Option<(Held, Reason)> {
    let name = &deploy.target;
    let held = |held, why| Some((held, state.reason(why)));
    let live = state.installation(&run.id, name).and_then(|it| it.assignment);
    if let Some(Assignment { run, .. }) = live.and_then(|live| state.order(live))
        && !mutant!(TwoAssignments)
    {
        let (run, target) = (run.clone(), name.clone());
        return held(Held::Queued, Why::InstallationBusy { run, target });
    }
    let here = InstallationId { pipeline: run.id.pipeline.clone(), target: name.clone() };
    if state.observes() {
        return held(Held::Blocked, Why::Observes);
    }
    if let Some(stage) = restored::undecided(state, &here) {
        return held(Held::Blocked, Why::Restored { stage: Some(stage) });
    }
    let Some(target) = state.target(name) else {
        return held(Held::Blocked, Why::NoTarget { target: name.clone() });
    };
    let (agent, target_name) = (target.agent.clone(), name.clone());
    // The target may have become one of another platform since the plan.
    let planned = state.releases.get(&deploy.release).map(|entry| entry.release.workload.platform());
    let needs_hosts = planned.unwrap_or(target.platform.kind()) == PlatformKind::Hosts;
    if needs_hosts && state.hosts_of(target).next().is_none() {
        return held(Held::Blocked, Why::NoHosts { agent, target: target_name });
    }
    let Some(connected) = state.agents.get(&agent).filter(|agent| agent.attached.is_some()) else {
        return held(Held::Blocked, Why::AgentNotConnected { agent, target: target_name });
    };
    if let Some(reason) = handover(state, connected) {
        return Some((Held::Blocked, reason));
    }
    let busy = state.assignments.index().by_target.count(name);
    let busy = u32::try_from(busy).unwrap_or(u32::MAX);
    if busy >= target.parallel {
        return held(Held::Queued, Why::TargetParallel { target: target_name, busy });
    }
    None
}
