//! Orders for agents: one live assignment an installation, each with a larger fence than all before.

use std::sync::Arc;

use trimaran_model::id::{Epoch, Fence};
use trimaran_model::limits::ENDED_ASSIGNMENTS_MAX;
use trimaran_model::pipeline::IntOrPercent;
use trimaran_model::reason::ReasonCode;
use trimaran_model::run::Status;
use trimaran_model::verdict::Verdict;
use trimaran_wire::v1::assignment::{WireAction, WireAssignment, WireWave};
use trimaran_wire::v1::common::{WireInstallation, WireReason, WireStage};
use trimaran_wire::v1::plan::{WirePlannedEnvironment, WirePlannedStage};
use trimaran_wire::v1::row::{self, RollbackTarget};

use super::rollback_target::rollback_target;
use super::{installation, message, planned, set, stage_name, with_rollback_reason};
use crate::event::Event;
use crate::state::{State, installation_key, is_rollback, run_name, status, works_on};

/// The largest share of a target that a way back takes down at once, in percent.
const RESTORE_PERCENT: u8 = 33;

/// Gives every stage that may move an assignment, or the reason why not.
pub(super) fn all(state: &mut State, run: &mut row::Run) {
    if run.status == Status::Queued.as_str() {
        return;
    }
    for index in 0..run.stages.len() {
        if run.stages[index].target.is_some() && !status(&run.stages[index].status).is_done() {
            one(state, run, index);
        }
    }
}

/// Whether the gates of the stage's environment are open.
fn is_open(run: &row::Run, environment: &WirePlannedEnvironment) -> bool {
    let well = |name: &String| {
        run.stages
            .iter()
            .filter(|it| it.environment == *name)
            .all(|it| status(&it.status).lets_dependents_start())
    };
    let approval = run.stages.iter().find(|it| it.environment == environment.name && it.target.is_none());
    environment.after.iter().all(well) && approval.is_none_or(|it| status(&it.status) == Status::Succeeded)
}

fn one(state: &mut State, run: &mut row::Run, index: usize) {
    let stage = run.stages[index].clone();
    let plan = Arc::clone(&run.plan);
    let Some((environment, planned)) = planned(&plan, &stage) else { return };
    if let Some(assignment) = stage.assignment {
        return follow(state, run, index, assignment);
    }
    if stage.pause_until.is_some_and(|until| until <= state.now().0) {
        run.stages[index].pause_until = None;
    }
    let ends = run.canceled_by.is_some() || run.rollback.is_some();
    if stage.rollback_target.is_none() && (ends || !is_open(run, environment)) {
        return;
    }
    if let Some((to, reason)) = pause(state, run, &stage).or_else(|| hold(state, run, &stage)) {
        let reasons = with_rollback_reason(&stage, vec![reason]);
        return set(state, &mut run.stages[index], to, reasons);
    }
    assign(state, run, index, planned);
}

/// A stage with a live assignment: running, going back, or lost with its agent.
fn follow(state: &State, run: &mut row::Run, index: usize, assignment: u64) {
    let Some(row) = state.assignments.get(&assignment) else { return };
    let stage = &run.stages[index];
    let mut to = if stage.rollback_target.is_some() { Status::RollingBack } else { Status::Running };
    let mut reasons = Vec::new();
    if let Some(agent) = state.agents.get(&row.agent) {
        if agent.lost {
            let message = format!(
                "agent `{}` is silent; what runs keeps running, nothing else starts here",
                agent.name
            );
            reasons.push(state.waits(ReasonCode::AgentLost, message));
            to = Status::Lost;
        } else if let Some(until) = handover(state, agent) {
            reasons.push(handover_reason(state, agent, until));
        }
    }
    if row.cancel {
        let message = match &run.canceled_by {
            Some(by) => format!("{by} canceled the run; hosts in flight finish or revert"),
            None => "the run goes back; hosts in flight finish or revert".to_owned(),
        };
        reasons.push(state.waits(ReasonCode::Canceling, message));
    }
    let reasons = with_rollback_reason(stage, reasons);
    set(state, &mut run.stages[index], to, reasons);
}

/// Until when an earlier life of the agent may have calls in flight.
fn handover(state: &State, agent: &row::Agent) -> Option<u64> {
    agent.handover_until.filter(|until| *until > state.now().0)
}

fn handover_reason(state: &State, agent: &row::Agent, until: u64) -> WireReason {
    let message = format!("calls of an earlier life of agent `{}` may still be in flight", agent.name);
    state.waits_until(ReasonCode::AgentHandover, message, until)
}

/// What the stage itself waits for between two assignments: the strategy's pause, or a human after a fault.
fn pause(state: &State, run: &row::Run, stage: &row::Stage) -> Option<(Status, WireReason)> {
    if let Some(failure) = &stage.paused {
        let clears = format!("trimaran resume {}/{}", run_name(&run.id), stage_name(stage));
        let code = ReasonCode::from_name(&failure.code).filter(|code| code.as_str().starts_with("paused_"));
        let code = code.unwrap_or(ReasonCode::PausedFault);
        return Some((Status::Waiting, state.asks(code, message(failure, &stage_name(stage), code), clears)));
    }
    let until = stage.pause_until.filter(|until| *until > state.now().0)?;
    let reason = state.waits_until(ReasonCode::WavePause, "the strategy pauses between waves", until);
    Some((Status::Waiting, reason))
}

/// What holds a stage that could have an assignment otherwise.
fn hold(state: &State, run: &row::Run, stage: &row::Stage) -> Option<(Status, WireReason)> {
    let name = stage.target.clone()?;
    let held = |to, code, message: String| Some((to, state.waits(code, message)));
    if let Some(live) = installation(state, run, stage).and_then(|it| it.assignment)
        && let Some(row) = state.assignments.get(&live)
        && !mutant!(TwoAssignments)
    {
        let message = format!("`{}` works on `{name}`", run_name(&row.assignment.run));
        return held(Status::Queued, ReasonCode::InstallationBusy, message);
    }
    let Some(target) = state.targets.get(&name) else {
        return held(Status::Blocked, ReasonCode::NoHosts, format!("there is no target `{name}`"));
    };
    let agent_name = target.target.agent.clone();
    if state.hosts_of(target).is_empty() {
        let message = format!("no enrolled runner of agent `{agent_name}` has the labels of target `{name}`");
        return held(Status::Blocked, ReasonCode::NoHosts, message);
    }
    let Some(agent) = state.agents.get(&agent_name).filter(|agent| agent.attached.is_some()) else {
        let message = format!("agent `{agent_name}` of target `{name}` is not connected");
        return held(Status::Blocked, ReasonCode::AgentNotConnected, message);
    };
    if let Some(until) = handover(state, agent) {
        return Some((Status::Blocked, handover_reason(state, agent, until)));
    }
    let busy = state.assignments.iter().filter(|row| row.assignment.installation.target == name).count();
    if busy >= target.target.parallel as usize {
        let message = format!("target `{name}` works on {busy} installations, as many as it allows");
        return held(Status::Queued, ReasonCode::TargetParallel, message);
    }
    None
}

fn assign(state: &mut State, run: &mut row::Run, index: usize, planned: &WirePlannedStage) {
    let Some(target) = state.targets.get(&planned.target).cloned() else { return };
    let hosts = state.hosts_of(&target);
    let total = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
    let installation = WireInstallation { pipeline: run.id.pipeline.clone(), target: planned.target.clone() };
    begin_stage(state, &mut run.stages[index], &installation, planned, total);
    let (action, digest) = action(run, index, planned);
    let stage = run.stages[index].clone();
    state.set_meta(|meta| {
        meta.fence += u64::from(!mutant!(SameFence));
        meta.assignment += 1;
    });
    let meta = state.meta();
    let fence = Fence::new(Epoch(meta.epoch), meta.fence).0;
    let wire_stage = WireStage { environment: stage.environment.clone(), target: stage.target.clone() };
    let assignment = WireAssignment {
        id: meta.assignment,
        fence,
        installation: installation.clone(),
        run: run.id.clone(),
        stage: wire_stage.clone(),
        attempt: stage.attempt,
        action,
        release: state.releases.get(&digest).map(|row| row.release.clone()),
        wave: wave(&stage, planned, total, is_rollback(run)),
        hosts,
        keep: keep(state, &installation, &stage, digest),
        committed: state
            .installations
            .get(&installation_key(&installation))
            .and_then(|it| it.committed.clone()),
    };
    let agent = target.target.agent;
    state.events.push(Event::AgentWork { agent: agent.clone(), assignment: Some(meta.assignment) });
    state.assignments.put(row::AssignmentRow { agent, assignment, cancel: false, stage: wire_stage });
    if let Some(it) = state.installations.get(&installation_key(&installation)) {
        let changed = row::Installation { assignment: Some(meta.assignment), fence, ..it.clone() };
        state.installations.put(changed);
    }
    let stage = &mut run.stages[index];
    (stage.assignment, stage.fence, stage.pause_until) = (Some(meta.assignment), fence, None);
    let to = if stage.rollback_target.is_some() { Status::RollingBack } else { Status::Running };
    let reasons = with_rollback_reason(stage, Vec::new());
    set(state, stage, to, reasons);
}

/// The first assignment begins the attempt: what the stage goes back to is fixed, and its waves.
fn begin_stage(
    state: &mut State,
    stage: &mut row::Stage,
    id: &WireInstallation,
    planned: &WirePlannedStage,
    total: u32,
) {
    let before = state.installations.get(&installation_key(id)).cloned();
    if stage.attempt == 0 {
        stage.attempt = 1;
        stage.restore = before.as_ref().and_then(rollback_target);
        if mutant!(BackToUnbaked) {
            stage.restore = before.as_ref().and_then(|it| it.current);
        }
        stage.waves = waves(planned, total);
    }
    // The last wave is all hosts, also those that came meanwhile.
    if let Some(last) = stage.waves.last_mut() {
        *last = total;
    }
    begin_installation(state, stage, id, before, total);
}

/// The installation's row; a release that still bakes there is replaced and never becomes good.
fn begin_installation(
    state: &mut State,
    stage: &row::Stage,
    id: &WireInstallation,
    before: Option<row::Installation>,
    total: u32,
) {
    let row = before.unwrap_or(row::Installation {
        id: id.clone(),
        environment: stage.environment.clone(),
        current: None,
        run: None,
        since_ms: state.wall().0,
        stable_releases: Vec::new(),
        before: None,
        bake_until: None,
        assignment: None,
        fence: 0,
        ended: Vec::new(),
        health: String::new(),
        failure: None,
        desired: total,
        updated: 0,
        down: 0,
        mixed: None,
        committed: None,
    });
    state.installations.put(row::Installation {
        environment: stage.environment.clone(),
        bake_until: None,
        health: Verdict::Progressing.as_str().to_owned(),
        failure: None,
        desired: total,
        down: 0,
        ..row
    });
}

/// Cumulative sizes on `total` hosts: rounded up, growing, the last one all of them.
pub fn waves(planned: &WirePlannedStage, total: u32) -> Vec<u32> {
    let mut waves: Vec<u32> = Vec::new();
    for size in &planned.sizes {
        let target_count = IntOrPercent::from(*size).ceil_of(total).max(1);
        if waves.last().is_none_or(|last| target_count > *last) {
            waves.push(target_count);
        }
    }
    if waves.last() != Some(&total) {
        waves.push(total);
    }
    waves
}

fn action(run: &row::Run, index: usize, planned: &WirePlannedStage) -> (WireAction, [u8; 32]) {
    match &run.stages[index].rollback_target {
        Some(RollbackTarget::Restore(digest)) => (WireAction::Restore(*digest), *digest),
        Some(RollbackTarget::Stop) => (WireAction::Stop(planned.release_digest), planned.release_digest),
        None if is_rollback(run) => (WireAction::Restore(planned.release_digest), planned.release_digest),
        None => (WireAction::Release(planned.release_digest), planned.release_digest),
    }
}

fn wave(stage: &row::Stage, planned: &WirePlannedStage, total: u32, rollback_run: bool) -> WireWave {
    let allowed = IntOrPercent::from(planned.max_unavailable).floor_of(total).max(1);
    if stage.rollback_target.is_some() || rollback_run {
        let restore = IntOrPercent::Percent(RESTORE_PERCENT).floor_of(total).max(allowed);
        return WireWave {
            number: 1,
            target_count: total,
            max_unavailable: IntOrPercent::Count(restore).into(),
            failures_left: 0,
            failed: Vec::new(),
        };
    }
    let budget = IntOrPercent::from(planned.max_failures).floor_of(total);
    let failed = if mutant!(ForgetFailures) { Vec::new() } else { stage.failed.clone() };
    let count = u32::try_from(failed.len()).unwrap_or(u32::MAX);
    WireWave {
        number: stage.wave + 1,
        target_count: stage
            .waves
            .get(stage.wave as usize)
            .map_or(total, |target_count| total.min(*target_count)),
        max_unavailable: IntOrPercent::Count(allowed).into(),
        failures_left: budget.saturating_sub(count),
        failed,
    }
}

/// What a host must not remove: what is on its way, what runs, and the ways back.
fn keep(
    state: &State,
    installation: &WireInstallation,
    stage: &row::Stage,
    digest: [u8; 32],
) -> Vec<[u8; 32]> {
    let mut keep = vec![digest];
    keep.extend(stage.restore);
    if let Some(it) = state.installations.get(&installation_key(installation)) {
        keep.extend(it.stable_releases.iter().take(2).copied().chain(it.current).chain(it.before));
    }
    keep.sort_unstable();
    keep.dedup();
    keep
}

/// Asks for the end of an assignment; its result still comes.
pub(crate) fn ask_to_cancel(state: &mut State, assignment: u64) {
    let Some(row) = state.assignments.get(&assignment).cloned() else { return };
    if !row.cancel {
        state.events.push(Event::AgentWork { agent: row.agent.clone(), assignment: Some(assignment) });
        state.assignments.put(row::AssignmentRow { cancel: true, ..row });
    }
}

/// How an assignment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Its result was taken.
    Taken,
    /// A larger fence follows.
    Superseded,
}

/// Takes a live assignment out of the state.
pub(crate) fn withdraw(state: &mut State, assignment: u64, end: End) {
    let Some(row) = state.assignments.remove(&assignment) else { return };
    state.events.push(Event::AgentWork { agent: row.agent.clone(), assignment: Some(assignment) });
    let key = installation_key(&row.assignment.installation);
    if let Some(mut it) = state.installations.get(&key).cloned() {
        it.assignment = it.assignment.filter(|live| *live != assignment);
        it.ended.push(row::Ended {
            agent: row.agent.clone(),
            assignment,
            fence: row.assignment.fence,
            taken: end == End::Taken,
        });
        if it.ended.len() > ENDED_ASSIGNMENTS_MAX {
            it.ended.remove(0);
        }
        state.installations.put(it);
    }
    let target = row.assignment.installation.target;
    state.wake_where(|run| works_on(run, &target));
}
