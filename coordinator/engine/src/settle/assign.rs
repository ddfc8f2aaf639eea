//! Orders for agents: one live assignment an installation, each with a larger fence than all before.

use trimaran_model::id::{Epoch, Fence};
use trimaran_model::pipeline::Amount;
use trimaran_model::reason::ReasonCode;
use trimaran_model::run::{RunKind, Status};
use trimaran_wire::v1::assignment::{WireAssignment, WireJob, WireWave};
use trimaran_wire::v1::common::{WireInstallation, WireReason, WireStage};
use trimaran_wire::v1::plan::{WirePlannedEnvironment, WirePlannedStage};
use trimaran_wire::v1::row::{self, WayBack};

use super::{set, stage_name};
use crate::event::Event;
use crate::state::{State, installation_key, status};

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

fn planned(run: &row::Run, stage: &row::Stage) -> Option<(WirePlannedEnvironment, WirePlannedStage)> {
    let environment = run.plan.environments.iter().find(|it| it.name == stage.environment)?;
    let target = stage.target.as_ref()?;
    let planned = environment.stages.iter().find(|it| it.target == *target)?;
    Some((environment.clone(), planned.clone()))
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
    let Some((environment, planned)) = planned(run, &stage) else { return };
    if let Some(assignment) = stage.assignment {
        return follow(state, run, index, assignment);
    }
    if stage.way_back.is_none() {
        if run.canceled_by.is_some() || run.rollback.is_some() || !is_open(run, &environment) {
            return;
        }
        if let Some(until) = stage.pause_until.filter(|until| *until > state.now().0) {
            let mut reason = state.reason(
                ReasonCode::WavePause,
                "the strategy pauses between waves".to_owned(),
                "wait",
                &[],
            );
            reason.next_check = Some(state.wall_of(until).0);
            return set(state, &mut run.stages[index], Status::Waiting, vec![reason]);
        }
    }
    if let Some(failure) = &stage.paused {
        let id = format!("{}#{}", run.id.pipeline, run.id.number);
        let clears = format!("trimaran resume {id}/{}", stage_name(&stage));
        let code = ReasonCode::from_name(&failure.code).unwrap_or(ReasonCode::PausedFault);
        let code = if code.as_str().starts_with("paused_") { code } else { ReasonCode::PausedFault };
        let message = match &failure.instance {
            Some(host) => format!("{host}: {}: {}", failure.code, failure.message),
            None => format!("{}: {}", failure.code, failure.message),
        };
        let reason = state.reason(code, message, &clears, &["operator", "admin"]);
        return set(state, &mut run.stages[index], Status::Waiting, vec![reason]);
    }
    match hold(state, run, &stage) {
        Some((to, reason)) => set(state, &mut run.stages[index], to, vec![reason]),
        None => assign(state, run, index, &planned),
    }
}

/// A stage with a live assignment: running, going back, or lost with its agent.
fn follow(state: &State, run: &mut row::Run, index: usize, assignment: u64) {
    let moving = if run.stages[index].way_back.is_some() { Status::RollingBack } else { Status::Running };
    let agent = state.assignments.get(&assignment).and_then(|row| state.agents.get(&row.agent));
    if run.canceled_by.is_some() {
        return;
    }
    match agent.filter(|agent| agent.lost) {
        Some(agent) => {
            let message = format!(
                "agent `{}` is silent; what runs keeps running, nothing else starts here",
                agent.name
            );
            let reason = state.reason(ReasonCode::AgentLost, message, "wait", &[]);
            set(state, &mut run.stages[index], Status::Lost, vec![reason]);
        }
        None => {
            let reasons =
                if moving == Status::RollingBack { run.stages[index].reasons.clone() } else { Vec::new() };
            let reasons =
                reasons.into_iter().filter(|it| it.code != ReasonCode::AgentLost.as_str()).collect();
            set(state, &mut run.stages[index], moving, reasons);
        }
    }
}

/// What holds a stage that could have an assignment otherwise.
fn hold(state: &State, run: &row::Run, stage: &row::Stage) -> Option<(Status, WireReason)> {
    let name = stage.target.clone()?;
    let target = state.targets.get(&name)?;
    let agent_name = target.target.agent.clone();
    let blocked = |code, message: String| Some((Status::Blocked, state.reason(code, message, "wait", &[])));
    if let Some(live) = state.installation(&run.id.pipeline, &name).and_then(|it| it.assignment)
        && let Some(row) = state.assignments.get(&live)
        && row.assignment.run != run.id
    {
        let other = &row.assignment.run;
        let message = format!("`{}#{}` works on `{name}`", other.pipeline, other.number);
        return Some((Status::Queued, state.reason(ReasonCode::InstallationBusy, message, "wait", &[])));
    }
    if state.hosts_of(target).is_empty() {
        let message = format!("no enrolled runner of agent `{agent_name}` has the labels of target `{name}`");
        return blocked(ReasonCode::PausedNoHosts, message);
    }
    let agent = state.agents.get(&agent_name);
    let Some(agent) = agent.filter(|agent| agent.attached.is_some()) else {
        return blocked(
            ReasonCode::AgentNotConnected,
            format!("agent `{agent_name}` of target `{name}` is not connected"),
        );
    };
    if let Some(until) = agent.handover_until.filter(|until| *until > state.now().0) {
        let message = format!("calls of the earlier life of agent `{agent_name}` may still be in flight");
        let mut reason = state.reason(ReasonCode::AgentHandover, message, "wait", &[]);
        reason.next_check = Some(state.wall_of(until).0);
        return Some((Status::Blocked, reason));
    }
    let busy = state.assignments.iter().filter(|row| row.assignment.installation.target == name).count();
    if busy >= target.target.parallel as usize {
        let message = format!("target `{name}` works on {busy} installations, as many as it allows");
        return Some((Status::Queued, state.reason(ReasonCode::TargetParallel, message, "wait", &[])));
    }
    None
}

fn assign(state: &mut State, run: &mut row::Run, index: usize, planned: &WirePlannedStage) {
    let target = state.targets.get(&planned.target).cloned().expect("hold() saw the target");
    let hosts = state.hosts_of(&target);
    let total = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
    begin_installation(state, run, &run.stages[index].clone(), total);
    let stage = &mut run.stages[index];
    if stage.attempt == 0 {
        stage.attempt = 1;
    }
    if stage.waves.is_empty() {
        stage.waves = waves(planned, total);
    }
    let (job, digest) = job(run, index, planned);
    let stage = run.stages[index].clone();
    state.set_meta(|meta| {
        meta.fence += 1;
        meta.assignment += 1;
    });
    let meta = state.meta();
    let fence = Fence::new(Epoch(meta.epoch), meta.fence).0;
    let installation = WireInstallation { pipeline: run.id.pipeline.clone(), target: planned.target.clone() };
    let wire_stage = WireStage { environment: stage.environment.clone(), target: stage.target.clone() };
    let assignment = WireAssignment {
        id: meta.assignment,
        fence,
        installation: installation.clone(),
        run: run.id.clone(),
        stage: wire_stage.clone(),
        attempt: stage.attempt,
        job,
        release: state.releases.get(&digest).map(|row| row.release.clone()),
        wave: wave(&stage, planned, total, run.kind == RunKind::Rollback.as_str()),
        hosts,
        keep: keep(state, &installation, digest),
    };
    let row = row::AssignmentRow {
        agent: target.target.agent.clone(),
        assignment,
        cancel: false,
        stage: wire_stage,
    };
    state.events.push(Event::AgentWork { agent: row.agent.clone() });
    state.assignments.put(row);
    if let Some(it) = state.installations.get(&installation_key(&installation)) {
        let changed = row::Installation { assignment: Some(meta.assignment), fence, ..it.clone() };
        state.installations.put(changed);
    }
    let stage = &mut run.stages[index];
    (stage.assignment, stage.fence) = (Some(meta.assignment), fence);
    stage.pause_until = None;
    let back = stage.way_back.is_some();
    let reasons = if back { stage.reasons.clone() } else { Vec::new() };
    set(state, stage, if back { Status::RollingBack } else { Status::Running }, reasons);
}

/// The installation's row; a release that still bakes there is replaced and never becomes good.
fn begin_installation(state: &mut State, run: &row::Run, stage: &row::Stage, total: u32) {
    let target = stage.target.clone().unwrap_or_default();
    let id = WireInstallation { pipeline: run.id.pipeline.clone(), target };
    let known = state.installations.get(&installation_key(&id)).cloned();
    let row = known.unwrap_or(row::Installation {
        id,
        environment: stage.environment.clone(),
        current: None,
        run: None,
        since_ms: state.wall().0,
        good: Vec::new(),
        bake_until: None,
        assignment: None,
        fence: 0,
        health: "progressing".to_owned(),
        failure: None,
        desired: total,
        updated: 0,
    });
    let row = row::Installation {
        environment: stage.environment.clone(),
        bake_until: None,
        health: "progressing".to_owned(),
        failure: None,
        desired: total,
        ..row
    };
    state.installations.put(row);
}

/// Cumulative sizes on `total` hosts: rounded up, growing, the last one all of them.
pub(crate) fn waves(planned: &WirePlannedStage, total: u32) -> Vec<u32> {
    let mut waves: Vec<u32> = Vec::new();
    for size in &planned.sizes {
        let upto = Amount::from(*size).ceil_of(total).max(1);
        if waves.last().is_none_or(|last| upto > *last) {
            waves.push(upto);
        }
    }
    if waves.last() != Some(&total) {
        waves.push(total);
    }
    waves
}

fn job(run: &row::Run, index: usize, planned: &WirePlannedStage) -> (WireJob, [u8; 32]) {
    match &run.stages[index].way_back {
        Some(WayBack::Restore(digest)) => (WireJob::Restore(*digest), *digest),
        Some(WayBack::Stop) => (WireJob::Stop(planned.release_digest), planned.release_digest),
        None if run.kind == RunKind::Rollback.as_str() => {
            (WireJob::Restore(planned.release_digest), planned.release_digest)
        }
        None => (WireJob::Release(planned.release_digest), planned.release_digest),
    }
}

fn wave(stage: &row::Stage, planned: &WirePlannedStage, total: u32, rollback_run: bool) -> WireWave {
    let allowed = Amount::from(planned.max_unavailable).floor_of(total).max(1);
    if stage.way_back.is_some() || rollback_run {
        let restore = Amount::Percent(RESTORE_PERCENT).floor_of(total).max(allowed);
        return WireWave {
            number: 1,
            upto: total,
            max_unavailable: Amount::Count(restore).into(),
            failures_left: 0,
            failed: Vec::new(),
        };
    }
    let budget = Amount::from(planned.max_failures).floor_of(total);
    let failed = u32::try_from(stage.failed.len()).unwrap_or(u32::MAX);
    WireWave {
        number: stage.wave + 1,
        upto: stage.waves.get(stage.wave as usize).copied().unwrap_or(total),
        max_unavailable: Amount::Count(allowed).into(),
        failures_left: budget.saturating_sub(failed),
        failed: stage.failed.clone(),
    }
}

/// What a host must not remove: the way back and what is on its way.
fn keep(state: &State, installation: &WireInstallation, digest: [u8; 32]) -> Vec<[u8; 32]> {
    let mut keep = vec![digest];
    if let Some(it) = state.installations.get(&installation_key(installation)) {
        keep.extend(it.good.iter().take(2).copied().chain(it.current));
    }
    keep.sort_unstable();
    keep.dedup();
    keep
}

/// Asks for the end of an assignment; its result still comes.
pub(crate) fn ask_to_cancel(state: &mut State, assignment: u64) {
    let Some(row) = state.assignments.get(&assignment).cloned() else { return };
    if !row.cancel {
        state.events.push(Event::AgentWork { agent: row.agent.clone() });
        state.assignments.put(row::AssignmentRow { cancel: true, ..row });
    }
}

/// Takes an assignment back: a larger fence follows, or nothing has to be done any more.
pub(crate) fn withdraw(state: &mut State, assignment: u64) {
    let Some(row) = state.assignments.remove(&assignment) else { return };
    state.events.push(Event::AgentWork { agent: row.agent.clone() });
    let key = installation_key(&row.assignment.installation);
    if let Some(it) = state.installations.get(&key).filter(|it| it.assignment == Some(assignment)) {
        let changed = row::Installation { assignment: None, ..it.clone() };
        state.installations.put(changed);
    }
    let (agent, target) = (row.agent, row.assignment.installation.target);
    state.wake_where(|run| run.stages.iter().any(|stage| stage.target.as_ref() == Some(&target)));
    state.wake_agent(&agent);
}
