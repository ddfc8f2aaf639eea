//! Answers of people to a run: approve, cancel, resume.

use trimaran_model::error_code;
use trimaran_model::id::Identity;
use trimaran_model::run::Status;
use trimaran_wire::v1::common::{WireRun, WireStage};
use trimaran_wire::v1::row;

use crate::idempotency::{Outcome, Rejection, reject};
use crate::settle::{broken, stage_name};
use crate::state::{State, run_key, run_name, status};

/// What was answered to an approval.
pub(super) struct Answer<'a> {
    pub(super) option: Option<&'a str>,
    pub(super) plan_digest: Option<[u8; 32]>,
    pub(super) comment: &'a str,
}

/// A run in memory; older ones are done.
fn find(state: &State, id: &WireRun) -> Result<row::Run, Rejection> {
    if let Some(found) = state.runs.get(&run_key(id)) {
        return Ok(found.clone());
    }
    let last = state.pipelines.get(&id.pipeline).map_or(0, |pipeline| pipeline.runs);
    let name = run_name(id);
    match id.number {
        number if number > 0 && number <= last => reject(error_code::RUN_DONE, format!("`{name}` is done")),
        _ => reject(error_code::NOT_FOUND, format!("there is no run `{name}`")),
    }
}

fn is_stage(stage: &row::Stage, wanted: &WireStage) -> bool {
    stage.environment == wanted.environment && stage.target == wanted.target
}

pub(super) fn approve(
    state: &mut State,
    identity: &Identity,
    id: &WireRun,
    wanted: Option<&WireStage>,
    answer: &Answer<'_>,
) -> Result<Outcome, Rejection> {
    let mut run = find(state, id)?;
    let index = waiting_approval(&run, wanted)?;
    // Time came before the commands of this entry: at its expiry the expiry wins.
    if run.stages[index].expires_ms.is_some_and(|at| at <= state.wall().0) && !mutant!(LateApproval) {
        let name = stage_name(&run.stages[index]);
        return reject(error_code::NOT_WAITING, format!("`{name}` has expired, so nothing waits any more"));
    }
    if answer.plan_digest.is_some_and(|digest| digest != run.plan.digest) {
        return reject(
            error_code::PLAN_CHANGED,
            "the digest that was given is not the digest of this run's plan",
        );
    }
    let environment = run.stages[index].environment.clone();
    let planned = run.plan.environments.iter().find(|it| it.name == environment);
    let options = planned.and_then(|it| it.approve.as_ref()).map(|it| it.options.clone()).unwrap_or_default();
    let first = options.first().cloned().unwrap_or_default();
    let option = answer.option.map_or(first, str::to_owned);
    if !options.contains(&option) {
        let message = format!("`{option}` is no option of this approval; there are: {}", options.join(", "));
        return reject(error_code::OPTION_UNKNOWN, message);
    }
    let by = identity.to_string();
    let decision = row::Decision {
        option: option.clone(),
        by: by.clone(),
        comment: answer.comment.to_owned(),
        at_ms: state.wall().0,
    };
    run.stages[index].decision = Some(decision);
    let stage = WireStage { environment, target: None };
    state.runs.put(run);
    state.wake(id);
    Ok(Outcome::Decided { run: id.clone(), stage: Some(stage), decision: option, by })
}

/// The one approval that waits, or the named one; otherwise says why there is none.
fn waiting_approval(run: &row::Run, wanted: Option<&WireStage>) -> Result<usize, Rejection> {
    if let Some(stage) = wanted.map(|wanted| stage_of(run, wanted)).transpose()?
        && stage.target.is_some()
    {
        let message = format!("`{}` of `{}` is no approval", stage_name(stage), run_name(&run.id));
        return reject(error_code::NOT_WAITING, message);
    }
    let approvals = || run.stages.iter().enumerate().filter(|(_, stage)| stage.target.is_none());
    let named = |stage: &row::Stage| wanted.is_none_or(|wanted| is_stage(stage, wanted));
    let open = |stage: &row::Stage| status(&stage.status) == Status::Waiting && stage.decision.is_none();
    let waiting: Vec<_> = approvals().filter(|(_, stage)| named(stage) && open(stage)).collect();
    match waiting.as_slice() {
        [(index, _)] => return Ok(*index),
        [_, ..] => {
            let names: Vec<_> = waiting.iter().map(|(_, stage)| stage_name(stage)).collect();
            return reject(error_code::AMBIGUOUS_STAGE, format!("several stages wait: {}", names.join(", ")));
        }
        [] => {}
    }
    let decided = approvals()
        .filter(|(_, stage)| named(stage))
        .filter_map(|(_, stage)| stage.decision.as_ref())
        .next_back();
    if let Some(decision) = decided {
        return reject(
            error_code::ALREADY_DECIDED,
            format!("{} chose `{}` already", decision.by, decision.option),
        );
    }
    if status(&run.status).is_done() {
        return reject(error_code::RUN_DONE, format!("`{}` is {}", run_name(&run.id), run.status));
    }
    let name = run_name(&run.id);
    let message = match wanted {
        Some(wanted) => format!("`{}/approve` of `{name}` does not wait now", wanted.environment),
        None => format!("no approval of `{name}` waits now"),
    };
    reject(error_code::NOT_WAITING, message)
}

/// The stage of that name, or the refusal of a name that is not there.
fn stage_of<'a>(run: &'a row::Run, wanted: &WireStage) -> Result<&'a row::Stage, Rejection> {
    let found = run.stages.iter().find(|stage| is_stage(stage, wanted));
    found.ok_or_else(|| {
        let target = wanted.target.as_deref().unwrap_or("approve");
        let message = format!("`{}` has no stage `{}/{target}`", run_name(&run.id), wanted.environment);
        Rejection { code: error_code::NOT_FOUND, message }
    })
}

pub(super) fn cancel(state: &mut State, identity: &Identity, id: &WireRun) -> Result<Outcome, Rejection> {
    let mut run = find(state, id)?;
    let by = identity.to_string();
    let canceled =
        |by: String| Outcome::Decided { run: id.clone(), stage: None, decision: "canceled".to_owned(), by };
    let now = status(&run.status);
    if now.is_done() && now != Status::Broken {
        return reject(error_code::RUN_DONE, format!("`{}` is {}", run_name(id), run.status));
    }
    let by = run.canceled_by.clone().unwrap_or(by);
    if now == Status::Broken {
        broken::cancel(state, &run, &by);
        return Ok(canceled(by));
    }
    if run.canceled_by.is_some() {
        return Ok(canceled(by));
    }
    run.canceled_by = Some(by.clone());
    state.runs.put(run);
    state.wake(id);
    Ok(canceled(by))
}

pub(super) fn resume(
    state: &mut State,
    identity: &Identity,
    id: &WireRun,
    wanted: Option<&WireStage>,
) -> Result<Outcome, Rejection> {
    let mut run = find(state, id)?;
    wanted.map(|wanted| stage_of(&run, wanted)).transpose()?;
    let paused: Vec<usize> = run
        .stages
        .iter()
        .enumerate()
        .filter(|(_, stage)| stage.paused.is_some() && wanted.is_none_or(|wanted| is_stage(stage, wanted)))
        .map(|(index, _)| index)
        .collect();
    if paused.is_empty() {
        return reject(error_code::NOT_WAITING, format!("no stage of `{}` is paused", run_name(id)));
    }
    for index in paused {
        run.stages[index].paused = None;
    }
    state.runs.put(run);
    state.wake(id);
    let by = identity.to_string();
    Ok(Outcome::Decided { run: id.clone(), stage: wanted.cloned(), decision: "resumed".to_owned(), by })
}
