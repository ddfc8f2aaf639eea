//! What agents report: progress, results, and verdicts after the end of an assignment.

use trimaran_model::error_code;
use trimaran_model::limits::{INSTANCES_REPORTED_MAX, MESSAGE_BYTES_MAX};
use trimaran_model::reason::ReasonCode;
use trimaran_model::text::cut;
use trimaran_model::verdict::{Fault, Verdict};
use trimaran_wire::v1::agent::{AgentVerdict, Progress};
use trimaran_wire::v1::assignment::{WireCommit, WireFailure, WireInstance, WireOutcome};
use trimaran_wire::v1::row;

use crate::event::Event;
use crate::idempotency::{Outcome, Rejection, reject};
use crate::settle::{assignment_result, rollback, stage_name};
use crate::state::{State, installation_key, run_key};

/// The assignment that an agent speaks of, when it is live, its own, and of this fence.
fn live(state: &State, agent: &str, assignment: u64, fence: u64) -> Option<row::AssignmentRow> {
    let row = state.assignments.get(&assignment)?;
    (row.agent == agent && row.assignment.fence == fence).then(|| row.clone())
}

fn stage_of(run: &row::Run, assignment: u64) -> Option<usize> {
    run.stages.iter().position(|stage| stage.assignment == Some(assignment))
}

/// What a driver has to have in the log before it continues: the numbers, the budget that was used, and its body,
/// which is opaque here and is handed to whoever performs this assignment or the installation's next one.
pub(super) fn commit(
    state: &mut State,
    agent: &str,
    (n, body): (u32, &[u8]),
    progress: &Progress,
) -> Result<Outcome, Rejection> {
    let Some(mut row) = live(state, agent, progress.assignment, progress.fence) else {
        return Ok(Outcome::ResultUnknown);
    };
    note(state, &row, progress);
    let own = row.assignment.committed.as_ref().filter(|last| last.assignment == progress.assignment);
    if own.is_none_or(|last| last.n < n) {
        let commit = WireCommit { assignment: progress.assignment, n, body: body.to_vec() };
        if let Some(it) = state.installations.get(&installation_key(&row.assignment.installation)).cloned() {
            state.installations.put(row::Installation { committed: Some(commit.clone()), ..it });
        }
        row.assignment.committed = Some(commit);
        state.assignments.put(row.clone());
    }
    charge(state, row, &progress.failed);
    Ok(Outcome::ResultTaken)
}

/// What is left of the budget goes on with the assignment, so that a replaced agent can't spend it again.
fn charge(state: &mut State, mut row: row::AssignmentRow, failed: &[String]) {
    let wave = &mut row.assignment.wave;
    let counts = |host: &&String| row.assignment.hosts.contains(host) && !wave.failed.contains(host);
    let new: Vec<&String> = failed.iter().filter(counts).collect();
    if !new.is_empty() {
        wave.failures_left = wave.failures_left.saturating_sub(u32::try_from(new.len()).unwrap_or(u32::MAX));
        wave.failed.extend(new.into_iter().cloned());
        state.assignments.put(row);
    }
}

/// A failure as stored: what a host says has a bound.
fn bounded(failure: &WireFailure) -> WireFailure {
    WireFailure { message: shortened(&failure.message), ..failure.clone() }
}

fn shortened(message: &str) -> String {
    cut(message.to_owned(), MESSAGE_BYTES_MAX)
}

/// Takes numbers, failures and instances over into the stage and the installation. Hosts that the assignment
/// does not name are passed over: an agent may speak only of its own.
fn note(state: &mut State, row: &row::AssignmentRow, progress: &Progress) {
    let Some(mut run) = state.runs.get(&run_key(&row.assignment.run)).cloned() else { return };
    let Some(index) = stage_of(&run, row.assignment.id) else { return };
    let hosts = &row.assignment.hosts;
    let total = progress.total.min(u32::try_from(hosts.len()).unwrap_or(u32::MAX));
    let done = progress.done.min(total);
    let stage = &mut run.stages[index];
    (stage.done, stage.total) = (done, total);
    for host in progress.failed.iter().filter(|host| hosts.contains(host)) {
        if !stage.failed.contains(host) {
            stage.failed.push(host.clone());
        }
    }
    stage.failure = stage.failure.take().or_else(|| progress.failure.as_ref().map(bounded));
    let instances = progress.instances.iter().filter(|it| hosts.contains(&it.name));
    let shown = |it: &WireInstance| WireInstance { message: shortened(&it.message), ..it.clone() };
    stage.instances = instances.take(INSTANCES_REPORTED_MAX).map(shown).collect();
    let event = Event::Progress { run: run.id.clone(), stage: stage_name(stage), done, total };
    run.revision = state.revision;
    state.runs.put(run);
    state.events.push(event);
    if let Some(installation) = state.installations.get(&installation_key(&row.assignment.installation)) {
        let changed = row::Installation { desired: total, updated: done, ..installation.clone() };
        state.installations.put(changed);
    }
}

pub(super) fn result(
    state: &mut State,
    agent: &str,
    (assignment, fence): (u64, u64),
    outcome: &WireOutcome,
    progress: &Progress,
) -> Result<Outcome, Rejection> {
    if let Some(row) = live(state, agent, assignment, fence) {
        let outcome = match outcome {
            WireOutcome::Failed(failure) => WireOutcome::Failed(bounded(failure)),
            WireOutcome::Fault(failure) => WireOutcome::Fault(bounded(failure)),
            WireOutcome::Done | WireOutcome::Stopped => outcome.clone(),
        };
        note(state, &row, progress);
        assignment_result::take(state, &row, &outcome);
        return Ok(Outcome::ResultTaken);
    }
    Ok(answer_again(state, agent, assignment, fence))
}

/// The answer to a result of an assignment that is not live, by what its installation remembers.
fn answer_again(state: &State, agent: &str, assignment: u64, fence: u64) -> Outcome {
    let same =
        |ended: &&row::Ended| ended.assignment == assignment && ended.fence == fence && ended.agent == agent;
    let found = state
        .installations
        .iter()
        .find_map(|it| it.ended.iter().find(same).map(|ended| (it.fence, ended.taken)));
    match found {
        Some((_, true)) => Outcome::ResultTaken,
        Some((by, false)) => Outcome::ResultSuperseded { by },
        None => Outcome::ResultUnknown,
    }
}

pub(super) fn verdict(state: &mut State, agent: &str, said: &AgentVerdict) -> Result<Outcome, Rejection> {
    let AgentVerdict { installation: id, fence, verdict, failure, down } = said;
    let Some(installation) = state.installations.get(&installation_key(id)).cloned() else {
        return Ok(Outcome::ResultUnknown);
    };
    let target = state.targets.get(&id.target);
    if target.is_none_or(|target| target.target.agent != agent) {
        return reject(error_code::DENIED, "another agent serves this installation");
    }
    let Some(judged) = Verdict::from_name(verdict) else {
        return reject(error_code::USAGE, format!("`{}` is no verdict", shortened(verdict)));
    };
    let idle = judged == Verdict::Healthy && !can_be_healthy(&installation);
    if installation.fence != *fence || installation.assignment.is_some() || idle {
        return Ok(Outcome::ResultUnknown);
    }
    let judged = judge(&installation, judged, *down);
    let failure = failure.as_ref().filter(|_| judged != Verdict::Healthy).map(bounded);
    state.installations.put(row::Installation {
        health: judged.as_str().to_owned(),
        failure: failure.clone(),
        down: (*down).min(installation.desired),
        ..installation.clone()
    });
    if installation.health != judged.as_str() {
        let health = judged.as_str().to_owned();
        state.events.push(Event::Installation { installation: id.clone(), health });
    }
    let fails = matches!(judged, Verdict::Degraded | Verdict::Missing);
    if fails && !platforms_fault(failure.as_ref()) && installation.bake_until.is_some() {
        rollback::after_success(state, &installation, failure.as_ref());
    }
    Ok(Outcome::ResultTaken)
}

/// Whether hosts that are not degraded make the installation healthy: not between two waves, where the stage says
/// how far it is, and not where nothing is installed. A stage that paused before it changed a host says nothing of
/// what runs there.
pub fn can_be_healthy(installation: &row::Installation) -> bool {
    let moves = installation.health == Verdict::Progressing.as_str() && installation.updated > 0;
    !moves && (installation.current.is_some() || installation.mixed.is_some())
}

/// A host that failed within its stage's budget makes nothing degraded; where the stage did not succeed it does.
fn judge(installation: &row::Installation, said: Verdict, down: u32) -> Verdict {
    let was_good = installation.health == Verdict::Healthy.as_str();
    match said {
        Verdict::Healthy if down > 0 && !was_good => Verdict::Degraded,
        other => other,
    }
}

/// Whether what made an installation unhealthy is no fault of its release: nothing goes back for it.
fn platforms_fault(failure: Option<&WireFailure>) -> bool {
    let code = failure.and_then(|failure| ReasonCode::from_name(&failure.code));
    code.and_then(ReasonCode::fault) == Some(Fault::Platform)
}
